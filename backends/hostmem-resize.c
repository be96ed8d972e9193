/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * To grow is a small creation: see that the file is long enough, map, advise,
 * bind, lock, populate.  "size" comes last: until then nobody knows of the new
 * part, and a failure takes it back.  To shrink goes the other way round, in
 * one step for all who look at the memory: nobody needs the part, it is
 * unmapped, its storage is given back.
 *
 * Memory without room moves, in the first step, as what follows can fail and
 * has to find it in its place.  Whoever begins to hold the backend after that
 * knows the new address; then a failure leaves it there, of the old size.
 *
 * Populates wait, and a resize waits for them: populate_lock.  Who discards or
 * looks keeps the memory in its place for that long, and a resize from changing
 * it: extent_lock.
 */
#include "backends/hostmem-snapshot.h"
#include "backends/hostmem-lock.h"
#include "util/align.h"
#include "util/error.h"
#include "util/os.h"
#include "util/size.h"
#include "util/thread.h"

/* One change of the size. */
typedef struct {
    HostmemBackend *backend;
    guint64 size;       /* bytes, that it shall have */
    guint64 length;     /* bytes to map: whole pages */
    guint64 old_length; /* bytes that are mapped */
    char *what;         /* "the file of memory-backend-memfd 'm0'" */
    char *name;
    HmMappingOptions options;
    guint64 file_length; /* see hm_backing_grow() */
    gboolean moved;
    HmMapping before; /* when it has moved */
    gsize fresh;      /* and where nothing is set of the mapping any more */
} Resize;

static void resize_clear(Resize *self)
{
    hm_mapping_clear(&self->before);
    g_free(self->what);
    g_free(self->name);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Resize, resize_clear)

/* What is asked for */

static gboolean refuse_size(HostmemBackend *self, guint64 size, const char *why,
                            GError **error)
{
    const char *type = hostmem_object_get_type_name(HOSTMEM_OBJECT(self));

    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "property 'size' of %s doesn't take value "
                        "'%" G_GUINT64_FORMAT "'%s",
                        type, size, why);
}

static gboolean check_size(HostmemBackend *self, guint64 size, GError **error)
{
    const gsize page_size = self->backing.page_size;
    g_autofree char *why = NULL;
    g_autofree char *text = NULL;

    if (!size) {
        return refuse_size(self, size, "", error);
    }
    if (self->max_size && size > self->max_size) {
        text = hm_size_format(self->max_size);
        why = g_strdup_printf(": 'max-size' is %s", text);
        return refuse_size(self, size, why, error);
    }
    if (size > HM_BACKEND_MAX_SIZE) {
        return refuse_size(self, size, ": no host has that much memory", error);
    }
    if (self->guest_addr > G_MAXINT64 - (gint64)size) {
        return refuse_size(self, size, ": 'guest-addr' is too high for it",
                           error);
    }
    if (!HOSTMEM_BACKEND_GET_CLASS(self)->any_size &&
        !hm_is_aligned(size, page_size)) {
        text = hm_size_format(page_size);
        why = g_strdup_printf(": it must be multiple of %s", text);
        return refuse_size(self, size, why, error);
    }
    return TRUE;
}

/* The job goes through the memory as it was when it began. */
static gboolean check_job(HostmemBackend *self, GError **error)
{
    g_autoptr(HostmemJob) job = hostmem_backend_get_job(self);
    g_autofree char *what = NULL;

    if (!job || hostmem_job_is_over(job)) {
        return TRUE;
    }
    what = hm_object_describe(HOSTMEM_OBJECT(self));
    return hm_set_error(error, HOSTMEM_ERROR_BUSY,
                        "cannot resize %s: a job populates it; wait for its "
                        "end, or cancel it",
                        what);
}

/* None begins before we are done: we have change_lock. */
static gboolean check_shot(HostmemBackend *self, GError **error)
{
    g_autofree char *what = NULL;

    if (!hm_backend_is_shot(self)) {
        return TRUE;
    }
    what = hm_object_describe(HOSTMEM_OBJECT(self));
    return hm_set_error(error, HOSTMEM_ERROR_BUSY,
                        "cannot resize %s: a snapshot of it is being taken; "
                        "wait for its end, or cancel it",
                        what);
}

static gboolean check(HostmemBackend *self, guint64 size, GError **error)
{
    g_autofree char *what = NULL;

    if (self->loan || self->backing.borrowed) {
        what = hm_object_describe(HOSTMEM_OBJECT(self));
        return hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                            "cannot resize %s: its memory comes from a pool",
                            what);
    }
    return check_size(self, size, error) && check_job(self, error) &&
           check_shot(self, error);
}

static void resize_init(Resize *self, HostmemBackend *backend, guint64 size)
{
    g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(backend));

    *self = (Resize){
        .backend = backend,
        .size = size,
        .old_length = backend->mapping.length,
        .what = backend->backing.path
                    ? g_strdup_printf("backing store %s", backend->backing.path)
                    : g_strdup_printf("the file of %s", what),
        .name = hm_backend_block_name(backend),
    };
    self->options = hm_backend_mapping_options(backend, self->name);
    /* No overflow: the size was checked. */
    hm_align_up(size, backend->backing.page_size, &self->length);
}

static void store_size(const Resize *self)
{
    HostmemBackend *backend = self->backend;
    g_autoptr(GMutexLocker) locker =
        g_mutex_locker_new(&HOSTMEM_OBJECT(backend)->value_lock);

    backend->size = self->size;
}

/* More: the memory */

static gboolean has_room(const Resize *self)
{
    return self->length <= hm_mapping_room(&self->backend->mapping);
}

static gboolean check_room(const Resize *self, HostmemResizeFlags flags,
                           GError **error)
{
    HostmemBackend *backend = self->backend;
    g_autofree char *what = NULL;
    g_autofree char *room = NULL;

    if (has_room(self) ||
        (flags & HOSTMEM_RESIZE_MAY_MOVE && !backend->max_size)) {
        return TRUE;
    }
    what = hm_object_describe(HOSTMEM_OBJECT(backend));
    room = hm_size_format(hm_mapping_room(&backend->mapping));
    return hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                        "cannot make %s larger than %s where it is: it was "
                        "created without max-size",
                        what, room);
}

/* Of huge pages, for the kernel asks no cgroup; what else is taken is asked for
 * when it is populated. */
static gboolean preflight(const Resize *self, GError **error)
{
    HostmemBackend *backend = self->backend;
    const guint64 more = self->length - self->old_length;

    return hm_backend_check_lock_limit(backend, more, error) &&
           (!hm_backend_takes_huge_pages(backend) ||
            hm_backend_preflight_bytes(backend, more, error));
}

static gboolean map_more(Resize *self, GError **error)
{
    HostmemBackend *backend = self->backend;

    if (has_room(self)) {
        return hm_mapping_grow(&backend->mapping, &backend->backing,
                               &self->options, error);
    }
    self->moved =
        hm_mapping_move(&backend->mapping, &backend->backing, &self->options,
                        &self->before, &self->fresh, error);
    return self->moved;
}

static gboolean extend_locked(Resize *self, GError **error)
{
    HostmemBackend *backend = self->backend;
    g_autoptr(GRWLockWriterLocker) locker =
        g_rw_lock_writer_locker_new(&backend->extent_lock);

    if (!hm_backing_grow(&backend->backing, self->length, self->what,
                         &self->file_length, error)) {
        return FALSE;
    }
    if (!map_more(self, error)) {
        hm_backing_undo_grow(&backend->backing, self->old_length,
                             self->file_length);
        return FALSE;
    }
    hm_backend_set_parts(backend);
    return TRUE;
}

static gboolean extend(Resize *self, GError **error)
{
    gboolean ok;

    if (has_room(self)) {
        return extend_locked(self, error);
    }
    if (!hm_backend_begin_move(self->backend, error)) {
        return FALSE;
    }
    ok = extend_locked(self, error);
    hm_backend_end_change(self->backend);
    return ok;
}

/* Returns: whether it is where it was */
static gboolean unmap_more(Resize *self, gboolean may_move)
{
    HmMapping *mapping = &self->backend->mapping;

    if (may_move) {
        return hm_mapping_move_back(mapping, &self->before, self->old_length);
    }
    hm_mapping_undo_grow(mapping, self->old_length);
    return !self->moved;
}

static gboolean take_back_locked(Resize *self, gboolean may_move)
{
    HostmemBackend *backend = self->backend;
    g_autoptr(GRWLockWriterLocker) locker =
        g_rw_lock_writer_locker_new(&backend->extent_lock);
    gboolean in_place = unmap_more(self, may_move);

    hm_backing_undo_grow(&backend->backing, self->old_length,
                         self->file_length);
    hm_backend_set_parts(backend);
    return in_place;
}

static void take_back(Resize *self)
{
    HostmemBackend *backend = self->backend;
    gboolean may_move = self->moved && hm_backend_begin_move(backend, NULL);
    g_autofree char *what = NULL;

    if (!take_back_locked(self, may_move)) {
        what = hm_object_describe(HOSTMEM_OBJECT(backend));
        g_message("%s: it has its old size again, but stays at its new address",
                  what);
    }
    if (may_move) {
        hm_backend_end_change(backend);
    }
}

/* More: its properties */

/* What moved took them along, for the new part too or for what there was; or it
 * was mapped anew. */
static HmRange fresh_range(const Resize *self)
{
    const guint64 from =
        self->moved ? MIN(self->fresh, self->old_length) : self->old_length;

    return (HmRange){from, self->length - from};
}

/* The policy of shared memory is the file's, for what was there of it. */
static gboolean set_properties(const Resize *self, const HmRange *range,
                               GError **error)
{
    HostmemBackend *backend = self->backend;

    if (self->moved && self->fresh == self->length) {
        return hm_backend_bind_file(backend, range, error);
    }
    hm_backend_advise_range(backend, range, backend->huge_advised);
    return hm_backend_bind_range(backend, range, error) &&
           hm_backend_lock_range(backend, range, error);
}

static gboolean complete(const Resize *self, GCancellable *cancellable,
                         GError **error)
{
    HostmemBackend *backend = self->backend;
    const HmRange range = fresh_range(self);
    gboolean job;

    return set_properties(self, &range, error) &&
           hm_backend_prealloc_more(backend, &range, &job, cancellable,
                                    error) &&
           (!job || hm_backend_start_job(backend, range.offset, error));
}

static gboolean grow(Resize *self, HostmemResizeFlags flags,
                     GCancellable *cancellable, GError **error)
{
    if (!check_room(self, flags, error) || !preflight(self, error) ||
        !extend(self, error)) {
        return FALSE;
    }
    if (!complete(self, cancellable, error)) {
        take_back(self);
        return FALSE;
    }
    store_size(self);
    return TRUE;
}

/* Less */

/* Returns: whether what was unmapped is there again, as it was */
static gboolean map_again(const Resize *self)
{
    HostmemBackend *backend = self->backend;
    const HmRange range = {self->length, self->old_length - self->length};

    return hm_mapping_grow(&backend->mapping, &backend->backing, &self->options,
                           NULL) &&
           set_properties(self, &range, NULL);
}

/*
 * A hole gives back pages of a pool, but not the reservation of those that were
 * never touched: that goes with the page that has taken its place.
 */
static void take_reserved(const Resize *self)
{
    HostmemBackend *backend = self->backend;
    const HmBacking *backing = &backend->backing;

    if (hm_backend_takes_huge_pages(backend) && backing->shared &&
        backing->sealed) {
        hm_os_allocate(backing->fd, backing->offset + self->length,
                       self->old_length - self->length);
    }
}

static gboolean cut(const Resize *self, GError **error)
{
    HostmemBackend *backend = self->backend;
    g_autoptr(GError) why = NULL;

    if (!hm_mapping_shrink(&backend->mapping, self->length, error)) {
        return FALSE;
    }
    take_reserved(self);
    if (hm_backing_shrink(&backend->backing, self->length, self->what, &why)) {
        return TRUE;
    }
    if (map_again(self)) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    /* Neither way goes: what is unmapped is not there, so it counts as given
     * up, and only its storage stays. */
    g_message("%s", why->message);
    hm_mapping_undo_grow(&backend->mapping, self->length);
    backend->backing.length = self->length;
    return TRUE;
}

static gboolean shrink_locked(const Resize *self, GError **error)
{
    HostmemBackend *backend = self->backend;
    g_autoptr(GRWLockWriterLocker) locker =
        g_rw_lock_writer_locker_new(&backend->extent_lock);

    if (self->length < self->old_length) {
        if (!cut(self, error)) {
            return FALSE;
        }
        hm_backend_set_parts(backend);
    }
    store_size(self);
    return TRUE;
}

static gboolean shrink(const Resize *self, GError **error)
{
    gboolean ok;

    if (!hm_backend_begin_shrink(self->backend, self->size, error)) {
        return FALSE;
    }
    ok = shrink_locked(self, error);
    hm_backend_end_change(self->backend);
    return ok;
}

/* Either */

gboolean hm_backend_resize(HostmemBackend *self, guint64 size,
                           HostmemResizeFlags flags, GCancellable *cancellable,
                           GError **error)
{
    g_autoptr(GMutexLocker) locker = NULL;
    g_auto(Resize) resize = {0};

    if (g_cancellable_set_error_if_cancelled(cancellable, error) ||
        !check(self, size, error)) {
        return FALSE;
    }
    locker = g_mutex_locker_new(&self->populate_lock);
    resize_init(&resize, self, size);
    if (resize.length > resize.old_length) {
        return grow(&resize, flags, cancellable, error);
    }
    if (size < self->size) {
        return shrink(&resize, error);
    }
    store_size(&resize); /* more of its last page */
    return TRUE;
}

static gboolean check_ready(HostmemBackend *self, GError **error)
{
    g_autofree char *what = NULL;

    if (hm_object_is_complete(HOSTMEM_OBJECT(self))) {
        return TRUE;
    }
    what = hm_object_describe(HOSTMEM_OBJECT(self));
    return hm_set_error(error, HOSTMEM_ERROR_BUSY, "%s is still being created",
                        what);
}

gboolean hostmem_backend_resize(HostmemBackend *self, guint64 size,
                                HostmemResizeFlags flags,
                                GCancellable *cancellable, GError **error)
{
    HostmemObject *object = HOSTMEM_OBJECT(self);
    gboolean ok;

    g_return_val_if_fail(HOSTMEM_IS_BACKEND(self), FALSE);

    if (!check_ready(self, error)) {
        return FALSE;
    }
    g_mutex_lock(&object->change_lock);
    ok = hm_backend_resize(self, size, flags, cancellable, error);
    g_mutex_unlock(&object->change_lock);
    if (ok) {
        hm_object_state_changed(object);
    }
    return ok;
}

/* Without waiting */

typedef struct {
    guint64 size;
    HostmemResizeFlags flags;
} Request;

static gpointer resize_main(gpointer data)
{
    g_autoptr(GTask) task = data;
    const Request *request = g_task_get_task_data(task);
    GError *error = NULL;

    if (hostmem_backend_resize(g_task_get_source_object(task), request->size,
                               request->flags, g_task_get_cancellable(task),
                               &error)) {
        g_task_return_boolean(task, TRUE);
    } else {
        g_task_return_error(task, error);
    }
    return NULL;
}

void hostmem_backend_resize_async(HostmemBackend *self, guint64 size,
                                  HostmemResizeFlags flags,
                                  GCancellable *cancellable,
                                  GAsyncReadyCallback callback,
                                  gpointer user_data)
{
    const Request request = {size, flags};
    GError *cause = NULL;
    GThread *thread;
    GTask *task;

    g_return_if_fail(HOSTMEM_IS_BACKEND(self));

    task = g_task_new(self, cancellable, callback, user_data);
    g_task_set_source_tag(task, hostmem_backend_resize_async);
    g_task_set_check_cancellable(task, FALSE); /* it may be done by then */
    g_task_set_task_data(task, g_memdup2(&request, sizeof(request)), g_free);
    thread = hm_thread_new("hostmem-resize", resize_main, task, &cause);
    if (!thread) {
        g_task_return_error(task, cause);
        g_object_unref(task);
        return;
    }
    g_thread_unref(thread);
}

gboolean hostmem_backend_resize_finish(HostmemBackend *self,
                                       GAsyncResult *result, GError **error)
{
    g_return_val_if_fail(g_task_is_valid(result, self), FALSE);

    return g_task_propagate_boolean(G_TASK(result), error);
}
