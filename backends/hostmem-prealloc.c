/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * "prealloc" brings all of the memory to "prealloc-state" within
 * "prealloc-deadline".  With "prealloc-async" the caller waits only until the
 * memory is backed, so that no later touch fails for lack of storage; the page
 * tables are filled by a job.  Private memory, and memory that is mapped
 * read-only, is populated by the job alone: the first has no backed state, and
 * the second has what its file has.
 *
 * While a job runs the backend is in somebody's hands, who may have written
 * anywhere.  So a job never gives pages back, whatever happens to it.
 *
 * "prealloc" reads as on from when it is asked for until a job has to stop
 * early.
 */
#include "backends/hostmem-image.h"
#include "backends/hostmem.h"
#include "util/error.h"
#include "util/os.h"
#include "util/thread.h"

static const HmPreallocState states[] = {
    [HOSTMEM_PREALLOC_STATE_BACKED] = HM_STATE_BACKED,
    [HOSTMEM_PREALLOC_STATE_READABLE] = HM_STATE_READABLE,
    [HOSTMEM_PREALLOC_STATE_WRITABLE] = HM_STATE_WRITABLE,
};

static const HmPriority priorities[] = {
    [HOSTMEM_PREALLOC_PRIORITY_NORMAL] = HM_PRIORITY_NORMAL,
    [HOSTMEM_PREALLOC_PRIORITY_LOW] = HM_PRIORITY_LOW,
    [HOSTMEM_PREALLOC_PRIORITY_IDLE] = HM_PRIORITY_IDLE,
};

/* Settings, and whether they go together */

/* Returns: whether it is to be done in a job */
static gboolean read_settings(HostmemBackend *self, HmPopulateHow *how)
{
    g_autoptr(GMutexLocker) locker =
        g_mutex_locker_new(&HOSTMEM_OBJECT(self)->value_lock);
    *how = (HmPopulateHow){
        .state = states[self->prealloc_state],
        .priority = priorities[self->prealloc_priority],
        .time_limit = (gint64)self->prealloc_deadline * G_USEC_PER_SEC,
    };
    return self->prealloc_async;
}

/* Whether storage can be had before the page tables. */
static gboolean has_backed_state(const HostmemBackend *self)
{
    return self->backing.shared || self->backing.kind == HM_MEM_HUGETLB;
}

static gboolean check_backed(HostmemBackend *self, GError **error)
{
    g_autofree char *what = NULL;

    if (has_backed_state(self)) {
        return TRUE;
    }
    what = hm_object_describe(HOSTMEM_OBJECT(self));
    return hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                        "'prealloc-state=backed' is not possible for %s: "
                        "private memory has no backed state",
                        what);
}

static gboolean check(HostmemBackend *self, HmPreallocState state,
                      GError **error)
{
    if (!self->reserve) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "'prealloc=on' and 'reserve=off' are incompatible");
    }
    if (state != HM_STATE_READABLE && !hm_backend_check_writable(self, error)) {
        return FALSE;
    }
    return state != HM_STATE_BACKED || check_backed(self, error);
}

/* Doing it */

static gboolean populate_from(HostmemBackend *self, guint64 offset,
                              const HmPopulateHow *how,
                              GCancellable *cancellable, GError **error)
{
    const HmRange range = {offset, self->mapping.length - offset};

    return hm_backend_populate_range(self, &range, how, cancellable, error);
}

static gboolean populate_all(HostmemBackend *self, const HmPopulateHow *how,
                             GCancellable *cancellable, GError **error)
{
    return populate_from(self, 0, how, cancellable, error);
}

/* Under change_lock. */
static void note_stop(HostmemBackend *self, const GError *why)
{
    HostmemObject *object = HOSTMEM_OBJECT(self);
    g_autofree char *what = hm_object_describe(object);

    if (!g_error_matches(why, G_IO_ERROR, G_IO_ERROR_CANCELLED)) {
        g_message("%s: %s", what, why->message);
    }
    g_mutex_lock(&object->value_lock);
    self->prealloc = FALSE;
    g_mutex_unlock(&object->value_lock);
}

/* "prealloc" did not do all.  Waits for change_lock: a change that has just
 * turned it on has to store that first. */
static void prealloc_stopped(HostmemBackend *self, const GError *why)
{
    HostmemObject *object = HOSTMEM_OBJECT(self);

    g_mutex_lock(&object->change_lock);
    note_stop(self, why);
    g_mutex_unlock(&object->change_lock);
    hm_object_state_changed(object);
}

/* A HmJobFunc. */
static gboolean run_job(HostmemJob *job, gpointer data, GError **error)
{
    HostmemBackend *self = data;
    GError *why = NULL;
    HmPopulateHow how;

    read_settings(self, &how);
    how.background = TRUE;
    how.keep = TRUE;
    how.progress = hm_job_get_progress(job);
    if (populate_from(self, self->job_from, &how, hm_job_get_cancellable(job),
                      &why)) {
        return TRUE;
    }
    prealloc_stopped(self, why);
    g_propagate_error(error, why);
    return FALSE;
}

/* (transfer full) (nullable) */
static HostmemJob *replace_job(HostmemBackend *self, HostmemJob *job)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->report_lock);
    HostmemJob *old = self->job;

    self->job = job;
    return old;
}

void hm_backend_end_job(HostmemBackend *self)
{
    g_autoptr(HostmemJob) job = replace_job(self, NULL);

    if (job) {
        hm_job_end(job);
    }
}

gboolean hm_backend_start_job(HostmemBackend *self, guint64 offset,
                              GError **error)
{
    g_autoptr(HostmemJob) job = hm_job_new(
        HOSTMEM_OBJECT(self), HM_JOB_PREALLOC, self->mapping.length - offset);

    hm_backend_end_job(self);
    self->job_from = offset;
    if (!hm_job_start(job, run_job, self, error)) {
        return FALSE;
    }
    replace_job(self, g_steal_pointer(&job));
    return TRUE;
}

/* Returns: whether its storage comes first, and the rest is left to a job */
static gboolean is_backed_first(HostmemBackend *self)
{
    return has_backed_state(self) && self->writable;
}

static gboolean back(HostmemBackend *self, GCancellable *cancellable,
                     GError **error)
{
    const HmPopulateHow how = {.state = HM_STATE_BACKED};

    return !is_backed_first(self) ||
           populate_all(self, &how, cancellable, error);
}

gboolean hm_backend_prealloc(HostmemBackend *self, GCancellable *cancellable,
                             GError **error)
{
    HmPopulateHow how;
    gboolean in_job = read_settings(self, &how);

    if (!check(self, how.state, error)) {
        return FALSE;
    }
    if (!in_job || how.state == HM_STATE_BACKED) {
        return populate_all(self, &how, cancellable, error);
    }
    return back(self, cancellable, error) &&
           hm_backend_start_job(self, 0, error);
}

/* What it grows by */

gboolean hm_backend_prealloc_more(HostmemBackend *self, const HmRange *range,
                                  gboolean *job, GCancellable *cancellable,
                                  GError **error)
{
    g_autoptr(GError) why = NULL;
    HmPopulateHow how;

    *job = read_settings(self, &how) && self->prealloc &&
           how.state != HM_STATE_BACKED;
    if (!self->prealloc || (*job && !is_backed_first(self))) {
        return TRUE;
    }
    if (*job) {
        how = (HmPopulateHow){.state = HM_STATE_BACKED};
    }
    if (hm_backend_populate_locked(self, range, &how, cancellable, &why)) {
        return TRUE;
    }
    if (g_error_matches(why, HOSTMEM_ERROR, HOSTMEM_ERROR_TIMED_OUT)) {
        note_stop(self, why);
        return TRUE;
    }
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
}

/* In creation */

/* Whether a job populates it once it is created. */
static gboolean wants_job(HostmemBackend *self)
{
    HmPopulateHow how;

    return self->prealloc && read_settings(self, &how) &&
           how.state != HM_STATE_BACKED;
}

gboolean hm_backend_prepare_prealloc(HostmemBackend *self, GError **error)
{
    const HmRange all = {0, self->mapping.length};
    HmPopulateHow how;

    if (hm_backend_is_restored(self)) {
        hm_backend_read_saved_job(self);
        return TRUE;
    }
    if (!self->prealloc) {
        return TRUE;
    }
    read_settings(self, &how);
    if (!check(self, how.state, error)) {
        return FALSE;
    }
    if (wants_job(self)) {
        if (!is_backed_first(self)) {
            return TRUE;
        }
        how = (HmPopulateHow){.state = HM_STATE_BACKED};
    }
    self->pending = hm_populate_new(self, &all, &how, error);
    return self->pending != NULL;
}

/* Memory that is populated in part is of use; whoever reads "prealloc" sees
 * that it is not all. */
static gboolean finish(HostmemBackend *self, GError **error)
{
    g_autoptr(HmPopulate) done = g_steal_pointer(&self->pending);
    g_autoptr(GError) why = done ? hm_populate_steal_error(done) : NULL;

    if (why) {
        prealloc_stopped(self, why);
    }
    return !wants_job(self) || hm_backend_start_job(self, 0, error);
}

/* (transfer container) (element-type HmPopulate): @backends of each in
 * @owners. */
static GPtrArray *list_pending(GPtrArray *backends, GPtrArray *owners)
{
    GPtrArray *pending = g_ptr_array_new();

    for (guint i = 0; i < backends->len; i++) {
        HostmemBackend *backend = g_ptr_array_index(backends, i);

        if (backend->pending) {
            g_ptr_array_add(pending, backend->pending);
            g_ptr_array_add(owners, backend);
        }
    }
    return pending;
}

static gboolean run_pending(GPtrArray *backends, GCancellable *cancellable,
                            HostmemBackend **culprit, GError **error)
{
    g_autoptr(GPtrArray) owners = g_ptr_array_new();
    g_autoptr(GPtrArray) pending = list_pending(backends, owners);
    guint failed;

    if (!pending->len || hm_populate_run_all(pending, cancellable, &failed)) {
        return TRUE;
    }
    *culprit = g_ptr_array_index(owners, failed);
    g_propagate_error(error, hm_populate_steal_error((*culprit)->pending));
    return FALSE;
}

static gboolean finish_all(GPtrArray *backends, HostmemBackend **culprit,
                           GError **error)
{
    for (guint i = 0; i < backends->len; i++) {
        *culprit = g_ptr_array_index(backends, i);
        if (!finish(*culprit, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean fill_all(GPtrArray *backends, GCancellable *cancellable,
                         HostmemBackend **culprit, GError **error)
{
    for (guint i = 0; i < backends->len; i++) {
        *culprit = g_ptr_array_index(backends, i);
        if (!hm_backend_fill_last(*culprit, cancellable, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* Nobody shall find some of those that are ready together. */
static gboolean publish_all(GPtrArray *backends, HostmemBackend **culprit,
                            GError **error)
{
    for (guint i = 0; i < backends->len; i++) {
        *culprit = g_ptr_array_index(backends, i);
        if (!hm_backend_publish(*culprit, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

gboolean hm_backends_finish(GPtrArray *backends, GCancellable *cancellable,
                            HostmemBackend **culprit, GError **error)
{
    if (run_pending(backends, cancellable, culprit, error) &&
        fill_all(backends, cancellable, culprit, error) &&
        finish_all(backends, culprit, error) &&
        publish_all(backends, culprit, error)) {
        return TRUE;
    }
    for (guint i = 0; i < backends->len; i++) {
        hm_backend_undo(g_ptr_array_index(backends, i));
    }
    return FALSE;
}

/* Of what another process has left */

/* Its time was over long ago, or nobody cares. */
static void prepare_restored(HostmemBackend *self)
{
    const HmRange all = {0, self->mapping.length};
    g_autoptr(GError) why = NULL;
    HmPopulateHow how;

    if (!self->prealloc || self->resumes) {
        return;
    }
    read_settings(self, &how);
    how.time_limit = 0;
    how.keep = TRUE;
    if (check(self, how.state, &why)) {
        self->pending = hm_populate_new(self, &all, &how, &why);
    }
    if (why) {
        prealloc_stopped(self, why);
    }
}

/* Who failed leaves the run, and the others begin again: what they have done
 * is there. */
static void run_restored(GPtrArray *backends, GCancellable *cancellable)
{
    g_autoptr(GError) why = NULL;
    HostmemBackend *culprit;

    for (guint i = 0; i < backends->len; i++) {
        prepare_restored(g_ptr_array_index(backends, i));
    }
    while (!run_pending(backends, cancellable, &culprit, &why)) {
        prealloc_stopped(culprit, why);
        g_clear_error(&why);
        for (guint i = 0; i < backends->len; i++) {
            HostmemBackend *backend = g_ptr_array_index(backends, i);

            g_clear_pointer(&backend->pending, hm_populate_free);
        }
        for (guint i = 0; i < backends->len; i++) {
            prepare_restored(g_ptr_array_index(backends, i));
        }
    }
}

void hm_backends_finish_restored(GPtrArray *backends, GCancellable *cancellable)
{
    run_restored(backends, cancellable);
    for (guint i = 0; i < backends->len; i++) {
        HostmemBackend *backend = g_ptr_array_index(backends, i);
        g_autoptr(GError) why = NULL;

        g_clear_pointer(&backend->pending, hm_populate_free);
        if (backend->resumes && !hm_backend_start_job(backend, 0, &why)) {
            prealloc_stopped(backend, why);
        }
    }
}

HostmemJob *hostmem_backend_get_job(HostmemBackend *self)
{
    g_autoptr(GMutexLocker) locker = NULL;

    g_return_val_if_fail(HOSTMEM_IS_BACKEND(self), NULL);

    locker = g_mutex_locker_new(&self->report_lock);
    if (!self->job || hostmem_job_get_status(self->job) == HOSTMEM_JOB_NULL) {
        return NULL;
    }
    return g_object_ref(self->job);
}

/* A range, for whoever asks */

gboolean hostmem_backend_populate(HostmemBackend *self, guint64 offset,
                                  guint64 length, GCancellable *cancellable,
                                  GError **error)
{
    const HmPopulateHow how = {.state = HM_STATE_WRITABLE};
    HmRange range;

    g_return_val_if_fail(HOSTMEM_IS_BACKEND(self), FALSE);

    return hm_backend_check_range(self, "populate", offset, length, &range,
                                  error) &&
           hm_backend_check_writable(self, error) &&
           hm_backend_populate_range(self, &range, &how, cancellable, error);
}

/* Without waiting */

static gpointer populate_main(gpointer data)
{
    g_autoptr(GTask) task = data;
    const HmRange *range = g_task_get_task_data(task);
    GError *error = NULL;

    if (hostmem_backend_populate(g_task_get_source_object(task), range->offset,
                                 range->length, g_task_get_cancellable(task),
                                 &error)) {
        g_task_return_boolean(task, TRUE);
    } else {
        g_task_return_error(task, error);
    }
    return NULL;
}

void hostmem_backend_populate_async(HostmemBackend *self, guint64 offset,
                                    guint64 length, GCancellable *cancellable,
                                    GAsyncReadyCallback callback,
                                    gpointer user_data)
{
    const HmRange range = {offset, length};
    GError *cause = NULL;
    GThread *thread;
    GTask *task;

    g_return_if_fail(HOSTMEM_IS_BACKEND(self));

    task = g_task_new(self, cancellable, callback, user_data);
    g_task_set_source_tag(task, hostmem_backend_populate_async);
    g_task_set_check_cancellable(task, FALSE); /* all may be done by then */
    g_task_set_task_data(task, g_memdup2(&range, sizeof(range)), g_free);
    thread = hm_thread_new("hostmem-populate", populate_main, task, &cause);
    if (!thread) {
        g_task_return_error(task, cause);
        g_object_unref(task);
        return;
    }
    g_thread_unref(thread);
}

gboolean hostmem_backend_populate_finish(HostmemBackend *self,
                                         GAsyncResult *result, GError **error)
{
    g_return_val_if_fail(g_task_is_valid(result, self), FALSE);

    return g_task_propagate_boolean(G_TASK(result), error);
}
