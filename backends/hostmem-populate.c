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

/* Less than this does not repay one thread more. */
#define MIN_SHARE (64 * HM_MIB)
/* Nor this a thread at all, or to ask the host anew each time: see
 * hostmem-room.c. */
#define SMALL (16 * HM_MIB)
/* Room that small chunks are found at a time, and how long it is believed. */
#define ROOM_BYTES (64 * HM_MIB)
#define ROOM_US    10000

/* One populate of one range. */
typedef struct {
    HostmemBackend *backend;
    HmRange range;
    const HmPopulateHow *how;
    HmProgress own; /* for who does not count elsewhere */
    HmProgress *progress;
    HmPreallocPlan plan;
    gboolean small;
    HmRangeList *holes;   /* (nullable): offsets from the start of @range */
    gboolean rolled_back; /* the holes are empty again */
    gboolean check;
    guint threads;
    gboolean tune;                 /* "threads" is the most, not an order */
    HostmemThreadContext *context; /* (nullable) */
    HmIdset *cpus;                 /* to bind workers to; NULL: do not */
    HmPreflight *preflight;        /* (nullable): made at need */
    guint64 promised;              /* bytes that there is room for */
    guint64 found;   /* bytes that populate_room() found besides */
    gint64 found_us; /* hm_os_now() of that */
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

static HmRangeList *find_holes(const Populate *self)
{
    const HostmemBackend *backend = self->backend;
    HmRangeList *holes = hm_backing_holes(&backend->backing,
                                          backend->mapping.addr, &self->range);

    for (guint i = 0; i < holes->len; i++) {
        g_array_index(holes, HmRange, i).offset -= self->range.offset;
    }
    return holes;
}

static HmPreflight *populate_preflight(Populate *self)
{
    if (!self->preflight) {
        self->preflight = hm_backend_new_preflight(
            self->backend, hm_backend_takes_huge_pages(self->backend));
    }
    return self->preflight;
}

/* Bytes of the range without storage; of a part, as far as its holes tell. */
static guint64 missing_bytes(Populate *self)
{
    const HostmemBackend *backend = self->backend;
    const guint64 length = backend->mapping.length;
    guint64 backed =
        hm_backing_backed_size(&backend->backing, backend->mapping.addr);
    guint64 absent = length - MIN(length, backed);

    if (self->range.length < length) {
        if (!self->holes) {
            self->holes = find_holes(self);
        }
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
    return hm_preflight_promise(populate_preflight(self), bytes, populate_left,
                                self, error);
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

/* Huge pages of a pool are refused by the kernel, exactly, and kill nobody. */
static gboolean populate_ask(Populate *self, GError **error)
{
    HostmemBackend *backend = self->backend;

    if (!self->check) {
        return TRUE;
    }
    if (!self->small) {
        hm_series_end(&backend->series); /* its promise is for us, too */
        return populate_promise(self, error);
    }
    return backend->backing.kind == HM_MEM_HUGETLB ||
           hm_series_take(&backend->series, backend, self->range.length,
                          NULL) ||
           populate_promise(self, error);
}

/* For chunks to come; FALSE: they are large, or it is getting tight. */
static gboolean find_more_room(Populate *self, guint64 bytes)
{
    gint64 now = hm_os_now();

    self->found = 0;
    if (bytes >= ROOM_BYTES ||
        !hm_preflight_check(populate_preflight(self), ROOM_BYTES, NULL)) {
        return FALSE;
    }
    self->found = ROOM_BYTES;
    self->found_us = now;
    return TRUE;
}

/*
 * An HmRoomFunc.  The other workers are on their way to as much, which shows
 * nowhere yet; but all together need no more than what is missing.
 */
static gboolean populate_room(guint64 bytes, gpointer data, GError **error)
{
    Populate *self = data;
    guint64 all;

    if (bytes <= self->found && hm_os_now() < self->found_us + ROOM_US) {
        self->found -= bytes;
        return TRUE;
    }
    if (!g_uint64_checked_mul(&all, bytes, self->threads) ||
        all > self->range.length) {
        all = self->range.length;
    }
    if (find_more_room(self, all)) {
        self->found -= bytes;
        return TRUE;
    }
    if (hm_preflight_check(populate_preflight(self), all, NULL)) {
        return TRUE;
    }
    all = MIN(all, missing_bytes(self));
    if (!all || hm_preflight_check(populate_preflight(self), all, error)) {
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
    return self->check && !self->small &&
           self->backend->backing.kind != HM_MEM_HUGETLB;
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

/* Of its own accord no thread comes for less than it costs. */
static gboolean populate_is_for_caller(const Populate *self)
{
    return self->small && !self->threads &&
           self->how->priority == HM_PRIORITY_NORMAL;
}

static void populate_choose_workers(Populate *self)
{
    g_autoptr(HmIdset) allowed = NULL;

    if (populate_is_for_caller(self)) {
        g_clear_object(&self->context);
        self->threads = 1;
        return;
    }
    allowed =
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

/* Whether a failure gives nothing back, as far as that is known now. */
static gboolean populate_keeps(const Populate *self)
{
    return self->how->keep ||
           hostmem_object_is_held(HOSTMEM_OBJECT(self->backend));
}

static void populate_init(Populate *self, HostmemBackend *backend,
                          const HmRange *range, const HmPopulateHow *how)
{
    self->backend = backend;
    self->range = *range;
    self->how = how;
    self->progress = how->progress ? how->progress : &self->own;
    hm_progress_start(self->progress, range->length);
    self->small =
        range->length <= SMALL && range->length < backend->mapping.length;
    if (!self->small || !populate_keeps(self)) {
        self->holes = find_holes(self);
    }
    populate_read_settings(self);
    self->check &=
        hm_backend_takes_room(backend, how->state == HM_STATE_READABLE);
    populate_choose_workers(self);
}

static void read_policies(const Populate *self, HmPreallocFacts *facts)
{
    HmSeries *series = &self->backend->series;

    if (self->small) {
        hm_series_look(series);
        facts->thp = series->thp;
        facts->shmem_thp = series->shmem_thp;
    } else {
        facts->thp = hm_hostcaps_thp();
        facts->shmem_thp = hm_hostcaps_shmem_thp();
    }
}

static gboolean populate_plan(Populate *self, GError **error)
{
    const HostmemBackend *backend = self->backend;
    HmPreallocFacts facts = {
        .kind = backend->backing.kind,
        .shared = backend->backing.shared,
        .writable = backend->writable,
        .own_tmpfs = backend->backing.own_tmpfs,
        .use_thp = backend->thp != HOSTMEM_OFF,
        .advised = backend->huge_advised,
        .state = self->how->state,
        .page_size = backend->backing.page_size,
        .length = self->range.length,
        .threads = self->threads,
        .caps = *hm_hostcaps_get(),
    };

    read_policies(self, &facts);
    return hm_prealloc_plan(&facts, &self->plan, error);
}

/* The advice lasts as long as the mapping. */
static void note_advice(const Populate *self)
{
    const HmPreallocPlan *plan = &self->plan;

    if (self->range.length == self->backend->mapping.length && plan->n_whole &&
        plan->whole[0] == HM_STEP_ADVISE_HUGE) {
        self->backend->huge_advised = TRUE;
    }
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
        return hm_preflight_check(populate_preflight(self), bytes, error);
    }
    pool = hm_backend_new_preflight(self->backend, FALSE);
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
    if (self->rolled_back && self->holes) {
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

    if (!self->small || backend->report.method != self->plan.method) {
        log_choice(self);
    }
    report_begin(self);
    ok = hm_prealloc_run(&region, &options, cancellable, &result, &failure,
                         error);
    populate_end_rollback(self);
    note_advice(self);
    if (self->small) {
        hm_series_spend(&backend->series, self->range.length);
    }
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
    return populate_plan(&run, error) && populate_ask(&run, error) &&
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
