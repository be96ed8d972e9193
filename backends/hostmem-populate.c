/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * A populate gathers what the mapping is (facts), lets the planner choose the
 * steps, makes sure that there is room, and then waits to be carried out:
 * alone, or together with those of other backends, as one run of the engine.
 *
 * Backends of one registry share the CPUs, each with a place in the queue of
 * the registry, which it takes when it is made.
 */
#include "backends/hostmem-populate.h"
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
static gboolean populate_is_for_caller(const HmPopulate *self)
{
    return self->small && !self->threads &&
           self->how.priority == HM_PRIORITY_NORMAL;
}

/* Nobody waits for a job, and memory far from all CPUs can wait. */
static guint rank_of(const HmPopulate *self, gboolean remote)
{
    guint rank = (guint)self->how.priority;

    rank = 2 * rank + (self->how.background ? 1 : 0);
    return 2 * rank + (remote ? 1 : 0);
}

static void join_queue(HmPopulate *self, const HmIdset *usable, gboolean remote)
{
    HmQueue *queue = hm_object_get_queue(HOSTMEM_OBJECT(self->backend));

    if (queue) {
        self->place = hm_queue_join(queue, rank_of(self, remote), usable,
                                    hm_numa_cpu_quota());
    }
}

static void populate_choose_workers(HmPopulate *self)
{
    g_autoptr(HmIdset) allowed = NULL;
    g_autoptr(HmIdset) near = NULL;
    const HmIdset *usable;

    if (populate_is_for_caller(self)) {
        g_clear_object(&self->context);
        self->threads = 1;
        return;
    }
    allowed =
        self->context ? context_cpus(self->context) : hm_numa_allowed_cpus();
    near = near_cpus(self->backend, allowed);
    usable = near && !self->context ? near : allowed;
    self->tune = !self->threads;
    if (self->tune) {
        self->threads = auto_threads(usable, self->range.length);
    }
    join_queue(self, usable, self->backend->nodes && !near);
    if (!self->context) {
        self->cpus = g_steal_pointer(&near);
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

static void report_begin(const HmPopulate *self)
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

static void log_choice(const HmPopulate *self)
{
    g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(self->backend));
    g_autofree char *size = hm_size_format(self->range.length);

    g_info("%s: %s by %s, threads: %u; %s", what, size, self->plan.method,
           self->threads, self->plan.reason);
}

static void report_end(const HmPopulate *self, const HmPreallocResult *result,
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

static void populate_read_settings(HmPopulate *self)
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
static gboolean populate_keeps(const HmPopulate *self)
{
    return self->how.keep || hm_object_is_in_use(HOSTMEM_OBJECT(self->backend));
}

static void populate_init(HmPopulate *self, HostmemBackend *backend,
                          const HmRange *range, const HmPopulateHow *how)
{
    self->backend = backend;
    self->range = *range;
    self->how = *how;
    self->progress = how->progress ? how->progress : &self->own;
    hm_progress_start(self->progress, range->length);
    self->small =
        range->length <= SMALL && range->length < backend->mapping.length;
    if (!self->small || !populate_keeps(self)) {
        self->holes = hm_populate_find_holes(self);
    }
    populate_read_settings(self);
    self->check &=
        hm_backend_takes_room(backend, how->state == HM_STATE_READABLE);
    populate_choose_workers(self);
}

static void read_policies(const HmPopulate *self, HmPreallocFacts *facts)
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

static gboolean populate_plan(HmPopulate *self, GError **error)
{
    const HostmemBackend *backend = self->backend;
    HmPreallocFacts facts = {
        .kind = backend->backing.kind,
        .shared = backend->backing.shared,
        .writable = backend->writable,
        .own_tmpfs = backend->backing.own_tmpfs,
        .use_thp = backend->thp != HOSTMEM_OFF,
        .advised = backend->huge_advised,
        .state = self->how.state,
        .page_size = backend->backing.page_size,
        .length = self->range.length,
        .threads = self->threads,
        .caps = *hm_hostcaps_get(),
    };

    read_policies(self, &facts);
    return hm_prealloc_plan(&facts, &self->plan, error);
}

/* The advice lasts as long as the mapping. */
static void note_advice(const HmPopulate *self)
{
    const HmPreallocPlan *plan = &self->plan;

    if (self->range.length == self->backend->mapping.length && plan->n_whole &&
        plan->whole[0] == HM_STEP_ADVISE_HUGE) {
        self->backend->huge_advised = TRUE;
    }
}

/* An HmRollBackFunc: whoever uses the memory may have written to it. */
static gboolean populate_may_roll_back(gpointer data)
{
    HmPopulate *self = data;

    if (self->how.keep) {
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
    const HmPopulate *self = data;

    return self->how.state == HM_STATE_BACKED ||
           hm_backend_verify_thp(self->backend, &self->range, error);
}

static void populate_end_rollback(const HmPopulate *self)
{
    if (self->rolled_back) {
        hm_object_end_rollback(HOSTMEM_OBJECT(self->backend));
    }
}

static void set_region(HmPopulate *self)
{
    const HostmemBackend *backend = self->backend;

    self->region = (HmPreallocRegion){
        .addr = backend->mapping.addr + self->range.offset,
        .length = self->range.length,
        .page_size = backend->backing.page_size,
        .kind = backend->backing.kind,
        .shared = backend->backing.shared,
        .locked = backend->locked,
        .fd = backend->backing.fd,
        .fd_offset = backend->backing.offset + self->range.offset,
        .parts = backend->backing.parts,
        .n_parts = backend->backing.n_parts,
        .plan = &self->plan,
        .holes = self->holes,
    };
}

static void set_options(HmPopulate *self)
{
    gint64 limit = self->how.time_limit;

    self->options = (HmPreallocOptions){
        .threads = self->threads,
        .tune = self->tune,
        .spawn = self->context ? spawn_from_context : NULL,
        .spawn_data = self->context,
        .cpus = self->cpus,
        .priority = self->how.priority,
        .deadline = limit ? hm_os_now() + limit : 0,
        .room = hm_populate_asks_for_room(self) ? hm_populate_room : NULL,
        .room_data = self,
        .verify = populate_verify,
        .verify_data = self,
        .may_roll_back = populate_may_roll_back,
        .roll_back_data = self,
        .progress = self->progress,
        .place = self->place,
    };
}

static void populate_begin(HmPopulate *self, HmPreallocPart *part)
{
    set_region(self);
    set_options(self);
    *part =
        (HmPreallocPart){.region = &self->region, .options = &self->options};
    if (!self->small || self->backend->report.method != self->plan.method) {
        log_choice(self);
    }
    report_begin(self);
}

static void populate_end(HmPopulate *self, HmPreallocPart *part)
{
    HmPlacement placement = {0};

    populate_end_rollback(self);
    note_advice(self);
    if (self->small) {
        hm_series_spend(&self->backend->series, self->range.length);
    }
    if (part->error) {
        hm_populate_diagnose(self, &part->failure, &part->error);
    } else if (!self->rolled_back) {
        placement = hm_backend_look_at_placement(self->backend, &self->range);
    }
    self->error = g_steal_pointer(&part->error);
    report_end(self, &part->result, &placement);
}

gboolean hm_populate_run_all(GPtrArray *all, GCancellable *cancellable,
                             guint *failed)
{
    g_autofree HmPreallocPart *parts = g_new(HmPreallocPart, all->len);
    gboolean ok;

    for (guint i = 0; i < all->len; i++) {
        populate_begin(g_ptr_array_index(all, i), &parts[i]);
    }
    ok = hm_prealloc_run_all(parts, all->len, cancellable, failed);
    for (guint i = 0; i < all->len; i++) {
        populate_end(g_ptr_array_index(all, i), &parts[i]);
    }
    return ok;
}

GError *hm_populate_steal_error(HmPopulate *self)
{
    return g_steal_pointer(&self->error);
}

void hm_populate_free(HmPopulate *self)
{
    /* First: others may ask how much of its promise is left. */
    g_clear_pointer(&self->preflight, hm_preflight_free);
    g_clear_pointer(&self->place, hm_queue_leave);
    g_clear_pointer(&self->holes, g_array_unref);
    g_clear_object(&self->context);
    g_clear_pointer(&self->cpus, hm_idset_free);
    g_clear_error(&self->error);
    g_free(self);
}

HmPopulate *hm_populate_new(HostmemBackend *backend, const HmRange *range,
                            const HmPopulateHow *how, GError **error)
{
    g_autoptr(HmPopulate) self = g_new0(HmPopulate, 1);

    populate_init(self, backend, range, how);
    if (!populate_plan(self, error) || !hm_populate_ask(self, error)) {
        return NULL;
    }
    return g_steal_pointer(&self);
}

gboolean hm_backend_populate_locked(HostmemBackend *self, const HmRange *range,
                                    const HmPopulateHow *how,
                                    GCancellable *cancellable, GError **error)
{
    g_autoptr(HmPopulate) run = NULL;
    g_autoptr(GPtrArray) all = NULL;
    GError *why;
    guint failed;

    if (g_cancellable_set_error_if_cancelled(cancellable, error)) {
        return FALSE;
    }
    run = hm_populate_new(self, range, how, error);
    if (!run) {
        return FALSE;
    }
    all = g_ptr_array_new();
    g_ptr_array_add(all, run);
    hm_populate_run_all(all, cancellable, &failed);
    why = hm_populate_steal_error(run);
    if (why) {
        g_propagate_error(error, why);
        return FALSE;
    }
    return TRUE;
}

/* Whether the memory has become less since the range was checked. */
static gboolean is_gone(HostmemBackend *self, const HmRange *range,
                        GError **error)
{
    g_autofree char *what = NULL;

    if (hm_range_end(range) <= self->mapping.length) {
        return FALSE;
    }
    what = hm_object_describe(HOSTMEM_OBJECT(self));
    hm_set_error(error, HOSTMEM_ERROR_INVALID,
                 "cannot populate 0x%" G_GINT64_MODIFIER
                 "x bytes at offset 0x%" G_GINT64_MODIFIER
                 "x of %s: it has become smaller",
                 range->length, range->offset, what);
    return TRUE;
}

gboolean hm_backend_populate_range(HostmemBackend *self, const HmRange *range,
                                   const HmPopulateHow *how,
                                   GCancellable *cancellable, GError **error)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->populate_lock);

    return !is_gone(self, range, error) &&
           hm_backend_populate_locked(self, range, how, cancellable, error);
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
