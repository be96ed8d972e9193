/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * A populate gathers what the mapping is (facts), lets the planner choose the
 * steps, and has the engine run them over worker threads.  Around that stand
 * two safeguards.  Room is asked for before the first page, beside what other
 * populates have been promised, and again before each chunk, because running
 * into a limit of RAM is not an error but a kill.  And where the kernel
 * refuses nevertheless, its errno says nothing ("Bad address" for a full
 * tmpfs): the same question, asked once more, names the limit.
 *
 * What is there already needs no room: only missing bytes are asked for.
 */
#include "backends/hostmem.h"
#include "util/error.h"
#include "util/hostcaps.h"
#include "util/numa.h"
#include "util/os.h"
#include "util/size.h"
#include "util/thread.h"

/* Less than this does not repay a thread. */
#define MIN_SHARE (64 * HM_MIB)

/* One populate of one range. */
typedef struct {
    HostmemBackend *backend;
    HmRange range;
    const HmPopulateHow *how;
    HmProgress own; /* for who does not count elsewhere */
    HmProgress *progress;
    HmPreallocPlan plan;
    HmRangeList *holes;   /* offsets from the start of @range */
    gboolean rolled_back; /* the holes are empty again */
    gboolean check;
    guint threads;
    gboolean tune;                 /* "threads" is the most, not an order */
    HostmemThreadContext *context; /* (nullable) */
    HmIdset *cpus;                 /* to bind workers to; NULL: do not */
    HmPreflight *preflight;
    guint64 promised; /* bytes that there is room for */
} Populate;

static void populate_clear(Populate *self)
{
    /* First: others may ask how much of its promise is left. */
    g_clear_pointer(&self->preflight, hm_preflight_free);
    g_clear_pointer(&self->holes, g_array_unref);
    g_clear_object(&self->context);
    g_clear_pointer(&self->cpus, hm_idset_free);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Populate, populate_clear)

/* Is there room? */

/* A private mapping of a file fills RAM, not the file. */
static gboolean is_private_copy(const HostmemBackend *backend)
{
    return backend->backing.fd >= 0 && !backend->backing.shared;
}

static HmPreflight *new_preflight(HostmemBackend *backend, gboolean reserved)
{
    g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(backend));
    /* Only "bind" is a limit; the other policies fall back to other nodes. */
    gboolean bound = backend->policy == HOSTMEM_POLICY_BIND;
    HmPreflightRequest request = {
        .kind = backend->backing.kind,
        .page_size = backend->backing.page_size,
        .nodes = bound ? backend->nodes : NULL,
        .fd = backend->backing.fd,
        .private_copy = is_private_copy(backend),
        .reserved = reserved,
        .what = what,
        .where = backend->backing.path,
    };

    return hm_preflight_new(&request);
}

static gboolean takes_huge_pages(const HostmemBackend *backend)
{
    return backend->backing.kind == HM_MEM_HUGETLB && backend->reserve;
}

/* Whether populating makes pages that stay: to read a file makes none. */
static gboolean takes_room(const HostmemBackend *backend, gboolean readable)
{
    const HmBacking *backing = &backend->backing;

    return !readable || backing->fd < 0 ||
           (backing->shared && !backing->readonly);
}

gboolean hm_backend_preflight(HostmemBackend *self, GError **error)
{
    gboolean readable = self->prealloc_state == HOSTMEM_PREALLOC_STATE_READABLE;
    gboolean populates = self->prealloc && takes_room(self, readable);
    guint64 bytes = self->backing.length;
    g_autoptr(HmPreflight) room = NULL;

    if (!self->prealloc_check || !(populates || takes_huge_pages(self))) {
        return TRUE;
    }
    bytes -= MIN(bytes, hm_backing_backed_size(&self->backing, NULL));
    room = new_preflight(self, FALSE);
    if (hm_preflight_check(room, bytes, error)) {
        return TRUE;
    }
    g_prefix_error(error, self->prealloc
                              ? "preallocating memory failed: "
                              : "unable to map backing store for guest RAM: ");
    return FALSE;
}

/* Bytes of the range without storage; of a part, as far as its holes tell. */
static guint64 missing_bytes(const Populate *self)
{
    const HostmemBackend *backend = self->backend;
    const guint64 length = backend->mapping.length;
    guint64 backed =
        hm_backing_backed_size(&backend->backing, backend->mapping.addr);
    guint64 absent = length - MIN(length, backed);

    if (self->range.length < length) {
        return MIN(absent, hm_range_list_total(self->holes));
    }
    return absent;
}

/* An HmLeftFunc.  The file tells what fallocate has taken ahead of the pages;
 * to ask about private pages would take too long here. */
static guint64 populate_left(gpointer data)
{
    const Populate *self = data;
    const HmBacking *backing = &self->backend->backing;
    guint64 done = hm_progress_done(self->progress);
    guint64 left = self->range.length - MIN(self->range.length, done);

    if (backing->shared) {
        guint64 backed = hm_backing_backed_size(backing, NULL);

        left = MIN(left, backing->length - MIN(backing->length, backed));
    }
    return MIN(left, self->promised);
}

static gboolean promise(Populate *self, guint64 bytes, GError **error)
{
    self->promised = bytes;
    return hm_preflight_promise(self->preflight, bytes, populate_left, self,
                                error);
}

/* What there is to do never needs more than what is missing. */
static gboolean populate_promise(Populate *self, GError **error)
{
    guint64 missing;

    if (promise(self, self->range.length, NULL)) {
        return TRUE;
    }
    missing = MIN(self->range.length, missing_bytes(self));
    if (!missing || promise(self, missing, error)) {
        return TRUE;
    }
    g_prefix_error(error, "preallocating memory failed: ");
    return FALSE;
}

/*
 * An HmRoomFunc.  The other workers are on their way to as much, which shows
 * nowhere yet; but all together need no more than what is missing.
 */
static gboolean populate_room(guint64 bytes, gpointer data, GError **error)
{
    Populate *self = data;
    guint64 all;

    if (!g_uint64_checked_mul(&all, bytes, self->threads) ||
        all > self->range.length) {
        all = self->range.length;
    }
    if (hm_preflight_check(self->preflight, all, NULL)) {
        return TRUE;
    }
    all = MIN(all, missing_bytes(self));
    if (!all || hm_preflight_check(self->preflight, all, error)) {
        return TRUE;
    }
    g_prefix_error(error, "preallocating memory failed: ");
    return FALSE;
}

/*
 * The pool of huge pages refuses, and kills nobody.  Its count falls before the
 * page that was taken is seen in the file, so that with an exact pool the other
 * workers' pages would seem to be missing.
 */
static gboolean asks_for_room(const Populate *self)
{
    return self->check && self->backend->backing.kind != HM_MEM_HUGETLB;
}

/* How many workers, and where they run */

static HmIdset *context_cpus(HostmemThreadContext *context)
{
    g_autoptr(HmIdset) cpus = hm_idset_new();

    if (hm_os_get_affinity(hostmem_thread_context_get_thread_id(context),
                           cpus)) {
        return hm_numa_allowed_cpus();
    }
    return g_steal_pointer(&cpus);
}

/* Allowed CPUs next to the memory; NULL when that is no restriction. */
static HmIdset *near_cpus(const HostmemBackend *backend, const HmIdset *allowed)
{
    g_autoptr(HmIdset) cpus = NULL;

    if (!backend->nodes) {
        return NULL;
    }
    cpus = hm_numa_cpus_of(backend->nodes);
    hm_idset_intersect(cpus, allowed);
    return hm_idset_is_empty(cpus) ? NULL : g_steal_pointer(&cpus);
}

static guint auto_threads(const HmIdset *cpus, guint64 length)
{
    guint usable = MIN(hm_idset_count(cpus), hm_numa_cpu_quota());
    guint64 worthwhile = length / MIN_SHARE;

    return (guint)CLAMP(worthwhile, 1, MAX(usable, 1));
}

static void populate_choose_workers(Populate *self)
{
    g_autoptr(HmIdset) allowed =
        self->context ? context_cpus(self->context) : hm_numa_allowed_cpus();

    if (!self->context) {
        self->cpus = near_cpus(self->backend, allowed);
    }
    self->tune = !self->threads;
    if (self->tune) {
        self->threads =
            auto_threads(self->cpus ? self->cpus : allowed, self->range.length);
    }
}

/* A HmSpawnFunc. */
static GThread *spawn_from_context(const char *name, GThreadFunc func,
                                   gpointer data, gpointer spawn_data,
                                   GError **error)
{
    return hostmem_thread_context_spawn(spawn_data, name, func, data, error);
}

/* Report */

static void report_begin(const Populate *self)
{
    HostmemBackend *backend = self->backend;
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&backend->report_lock);

    backend->progress = self->progress;
    backend->started_us = hm_os_now();
    backend->report = (HostmemPreallocReport){
        .method = self->plan.method,
        .reason = self->plan.reason,
        .threads = self->threads,
        .total = self->range.length,
        .running = TRUE,
    };
}

static void log_choice(const Populate *self)
{
    g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(self->backend));
    g_autofree char *size = hm_size_format(self->range.length);

    g_info("%s: %s by %s, threads: %u; %s", what, size, self->plan.method,
           self->threads, self->plan.reason);
}

static void report_end(const Populate *self, const HmPreallocResult *result,
                       const HmPlacement *placement)
{
    HostmemBackend *backend = self->backend;
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&backend->report_lock);

    backend->progress = NULL;
    backend->report.running = FALSE;
    backend->report.done = result->populated;
    backend->report.threads = result->threads;
    backend->report.elapsed_us = result->elapsed_us;
    backend->report.sampled = placement->sampled;
    backend->report.misplaced = placement->misplaced;
}

void hostmem_backend_get_report(HostmemBackend *self,
                                HostmemPreallocReport *report)
{
    g_autoptr(GMutexLocker) locker = NULL;

    g_return_if_fail(HOSTMEM_IS_BACKEND(self) && report);

    locker = g_mutex_locker_new(&self->report_lock);
    *report = self->report;
    if (report->running) {
        report->done = MIN(hm_progress_done(self->progress), report->total);
        report->elapsed_us = hm_os_now() - self->started_us;
    }
}

/* The run */

static void populate_read_settings(Populate *self)
{
    HostmemBackend *backend = self->backend;
    g_autoptr(GMutexLocker) locker =
        g_mutex_locker_new(&HOSTMEM_OBJECT(backend)->value_lock);

    self->threads = backend->prealloc_threads;
    self->check = backend->prealloc_check;
    if (backend->prealloc_context) {
        self->context =
            HOSTMEM_THREAD_CONTEXT(g_object_ref(backend->prealloc_context));
    }
}

static HmRangeList *find_holes(const HostmemBackend *backend,
                               const HmRange *range)
{
    HmRangeList *holes =
        hm_backing_holes(&backend->backing, backend->mapping.addr, range);

    for (guint i = 0; i < holes->len; i++) {
        g_array_index(holes, HmRange, i).offset -= range->offset;
    }
    return holes;
}

static void populate_init(Populate *self, HostmemBackend *backend,
                          const HmRange *range, const HmPopulateHow *how)
{
    self->backend = backend;
    self->range = *range;
    self->how = how;
    self->progress = how->progress ? how->progress : &self->own;
    hm_progress_start(self->progress, range->length);
    self->holes = find_holes(backend, range);
    self->preflight = new_preflight(backend, takes_huge_pages(backend));
    populate_read_settings(self);
    self->check &= takes_room(backend, how->state == HM_STATE_READABLE);
    populate_choose_workers(self);
}

static gboolean populate_plan(Populate *self, GError **error)
{
    const HostmemBackend *backend = self->backend;
    HmPreallocFacts facts = {
        .kind = backend->backing.kind,
        .shared = backend->backing.shared,
        .writable = backend->writable,
        .own_tmpfs = backend->backing.own_tmpfs,
        .state = self->how->state,
        .page_size = backend->backing.page_size,
        .length = self->range.length,
        .threads = self->threads,
        .caps = *hm_hostcaps_get(),
        .thp = hm_hostcaps_thp(),
        .shmem_thp = hm_hostcaps_shmem_thp(),
    };

    facts.use_thp = backend->thp != HOSTMEM_OFF;
    return hm_prealloc_plan(&facts, &self->plan, error);
}

/* An HmRollBackFunc: whoever holds the memory may have written to it. */
static gboolean populate_may_roll_back(gpointer data)
{
    Populate *self = data;

    if (self->how->keep) {
        return FALSE;
    }
    self->rolled_back = hm_object_begin_rollback(HOSTMEM_OBJECT(self->backend));
    if (self->rolled_back) {
        g_atomic_int_set(&self->backend->reserved, FALSE);
    }
    return self->rolled_back;
}

/* An HmVerifyFunc. */
static gboolean populate_verify(gpointer data, GError **error)
{
    const Populate *self = data;

    return self->how->state == HM_STATE_BACKED ||
           hm_backend_verify_thp(self->backend, &self->range, error);
}

static void populate_end_rollback(const Populate *self)
{
    if (self->rolled_back) {
        hm_object_end_rollback(HOSTMEM_OBJECT(self->backend));
    }
}

/* What was discarded of huge pages has no reservation any more, and where such
 * pages are no file tells: what could not be had is taken for new. */
static gboolean has_room(Populate *self, guint64 bytes, GError **error)
{
    g_autoptr(HmPreflight) pool = NULL;

    if (self->backend->backing.kind != HM_MEM_HUGETLB) {
        return hm_preflight_check(self->preflight, bytes, error);
    }
    pool = new_preflight(self->backend, FALSE);
    return hm_preflight_check(pool, bytes, error);
}

/*
 * Replace the kernel's errno by the limit that was hit, where one can be
 * found.  What the engine gave back has to fit again.
 */
static void populate_diagnose(Populate *self, const HmPreallocFailure *failure,
                              GError **error)
{
    guint64 left = self->range.length - failure->done;
    g_autoptr(GError) limit = NULL;

    if (failure->err != EFAULT && failure->err != ENOMEM &&
        failure->err != ENOSPC) {
        return;
    }
    if (self->rolled_back) {
        left = MAX(left, hm_range_list_total(self->holes));
    }
    if (self->backend->backing.kind != HM_MEM_HUGETLB) {
        left = MIN(left, missing_bytes(self));
    }
    if (left && !has_room(self, left, &limit)) {
        g_clear_error(error);
        g_propagate_prefixed_error(error, g_steal_pointer(&limit),
                                   "preallocating memory failed: ");
    }
}

static gboolean populate_execute(Populate *self, GCancellable *cancellable,
                                 GError **error)
{
    HostmemBackend *backend = self->backend;
    HmPreallocRegion region = {
        .addr = backend->mapping.addr + self->range.offset,
        .length = self->range.length,
        .page_size = backend->backing.page_size,
        .kind = backend->backing.kind,
        .shared = backend->backing.shared,
        .fd = backend->backing.fd,
        .fd_offset = backend->backing.offset + self->range.offset,
        .plan = &self->plan,
        .holes = self->holes,
    };
    HmPreallocOptions options = {
        .threads = self->threads,
        .tune = self->tune,
        .spawn = self->context ? spawn_from_context : NULL,
        .spawn_data = self->context,
        .cpus = self->cpus,
        .priority = self->how->priority,
        .deadline = self->how->deadline,
        .room = asks_for_room(self) ? populate_room : NULL,
        .room_data = self,
        .verify = populate_verify,
        .verify_data = self,
        .may_roll_back = populate_may_roll_back,
        .roll_back_data = self,
        .progress = self->progress,
    };
    HmPreallocFailure failure = {0};
    HmPreallocResult result = {0};
    HmPlacement placement = {0};
    gboolean ok;

    log_choice(self);
    report_begin(self);
    ok = hm_prealloc_run(&region, &options, cancellable, &result, &failure,
                         error);
    populate_end_rollback(self);
    if (ok) {
        placement = hm_backend_look_at_placement(backend, &self->range);
    } else {
        populate_diagnose(self, &failure, error);
    }
    report_end(self, &result, &placement);
    return ok;
}

gboolean hm_backend_populate_range(HostmemBackend *self, const HmRange *range,
                                   const HmPopulateHow *how,
                                   GCancellable *cancellable, GError **error)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->populate_lock);
    g_auto(Populate) run = {0};

    if (g_cancellable_set_error_if_cancelled(cancellable, error)) {
        return FALSE;
    }
    populate_init(&run, self, range, how);
    return populate_plan(&run, error) &&
           (!run.check || populate_promise(&run, error)) &&
           populate_execute(&run, cancellable, error);
}

gboolean hm_backend_check_writable(HostmemBackend *self, GError **error)
{
    g_autofree char *what = NULL;

    if (self->writable) {
        return TRUE;
    }
    what = hm_object_describe(HOSTMEM_OBJECT(self));
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "cannot preallocate %s: its memory is read-only", what);
}

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
