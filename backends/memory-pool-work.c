/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * What is to be done follows from the states of the segments, and from how many
 * are wanted; nobody is told what to do:
 *
 *     fewer than wanted     the filler makes a batch of new ones
 *     some are DIRTY        a zeroer takes one
 *     more than wanted      READY ones go, then DIRTY ones
 *
 * Threads, here hands, look for work with the lock, give it up while at it, and
 * end when there is none.  Whoever changes states or numbers looks afterwards
 * whether hands are needed.  A segment that a hand is at is FILLING or ZEROING,
 * and nobody else touches it.
 *
 *     new -> FILLING -> READY <-> LENT
 *               |         ^         |
 *               v         |         v
 *             gone     ZEROING <- DIRTY
 *                         |
 *                         `-> gone, and replaced
 *
 * A failure to fill in the background may pass: the filler tries again, after
 * a second, two, four... up to a minute, or as soon as something comes back.
 */
#include "backends/memory-pool.h"
#include "util/align.h"
#include "util/error.h"
#include "util/fdlimit.h"
#include "util/numa.h"
#include "util/os.h"
#include "util/size.h"
#include "util/thread.h"

/* Segments that are filled at a time: enough for all CPUs. */
#define BATCH_BYTES    HM_GIB
#define BATCH_SEGMENTS 64

#define REST_US        G_USEC_PER_SEC
#define MAX_REST_US    (60 * G_USEC_PER_SEC)

/* Set in threads that are hands. */
static GPrivate is_hand;

/* Numbers; with the lock */

guint hm_memory_pool_count(HostmemMemoryPool *self, HmSegmentState state)
{
    guint n = 0;

    for (guint i = 0; i < self->segments->len; i++) {
        const HmPoolSegment *segment = g_ptr_array_index(self->segments, i);

        n += segment->state == state;
    }
    return n;
}

static guint count_missing(const HostmemMemoryPool *self)
{
    return self->wanted - MIN(self->wanted, self->segments->len);
}

/* (nullable): the last one in a state. */
static HmPoolSegment *find_last(const HostmemMemoryPool *self,
                                HmSegmentState state)
{
    for (guint i = self->segments->len; i-- > 0;) {
        HmPoolSegment *segment = g_ptr_array_index(self->segments, i);

        if (segment->state == state) {
            return segment;
        }
    }
    return NULL;
}

/* (transfer full) */
static HmPoolSegment *take_out(HostmemMemoryPool *self, HmPoolSegment *segment)
{
    g_object_ref(segment);
    g_ptr_array_remove(self->segments, segment);
    return segment;
}

gboolean hm_memory_pool_look_at_mark(HostmemMemoryPool *self)
{
    guint64 ready =
        hm_memory_pool_count(self, HM_SEGMENT_READY) * self->segment_size;
    gboolean below = ready < self->mark;

    if (below == self->below) {
        return FALSE;
    }
    self->below = below;
    return below;
}

static gpointer unref_main(gpointer pool)
{
    g_object_unref(pool);
    return NULL;
}

/* The end of a pool waits for its hands: none of them may bring it about. */
static void let_go(HostmemMemoryPool *self)
{
    g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(self));
    g_autoptr(GError) why = NULL;
    GThread *thread;

    if (!g_private_get(&is_hand)) {
        g_object_unref(self);
        return;
    }
    thread = hm_thread_new("hostmem-pool", unref_main, self, &why);
    if (thread) {
        g_thread_unref(thread);
    } else {
        g_warning("%s stays for good: %s", what, why->message);
    }
}

/* Everybody else may let it go while it is told. */
void hm_memory_pool_tell_low(HostmemMemoryPool *self)
{
    HostmemMemoryPool *alive = g_weak_ref_get(&self->alive);
    HostmemMemoryPoolStatus status;

    if (!alive) {
        return;
    }
    hostmem_memory_pool_get_status(alive, &status);
    g_signal_emit_by_name(alive, "low", status.ready, status.low_water);
    let_go(alive);
}

void hm_memory_pool_trim(HostmemMemoryPool *self)
{
    g_autoptr(GPtrArray) surplus =
        g_ptr_array_new_with_free_func(g_object_unref);
    gboolean low;

    g_mutex_lock(&self->lock);
    while (self->segments->len > self->wanted && !self->restoring) {
        HmPoolSegment *segment = find_last(self, HM_SEGMENT_READY);

        if (!segment) {
            segment = find_last(self, HM_SEGMENT_DIRTY);
        }
        if (!segment) {
            break;
        }
        g_ptr_array_add(surplus, take_out(self, segment));
    }
    low = hm_memory_pool_look_at_mark(self);
    g_mutex_unlock(&self->lock);
    if (low) {
        hm_memory_pool_tell_low(self);
    }
    hm_object_state_changed(HOSTMEM_OBJECT(self));
}

/* Filling */

static gboolean check_descriptors(const HostmemMemoryPool *self,
                                  const char *what, guint64 segments,
                                  GError **error)
{
    g_autofree char *size = hm_size_format(self->segment_size);
    g_autofree char *why = g_strdup_printf("one for each segment of %s", size);

    return hm_fdlimit_check(what, segments, why, error);
}

gboolean hm_memory_pool_check_room(HostmemMemoryPool *self, guint64 bytes,
                                   GError **error)
{
    g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(self));
    const HmPreflightRequest request = {
        .kind = self->hugetlb ? HM_MEM_HUGETLB : HM_MEM_SHMEM,
        .page_size = self->page_size,
        .nodes = self->policy == HOSTMEM_POLICY_BIND ? self->nodes : NULL,
        .fd = -1,
        .what = what,
    };
    g_autoptr(HmPreflight) room = hm_preflight_new(&request);

    if (!hm_preflight_check(room, bytes, error)) {
        g_prefix_error(error, "preallocating memory failed: ");
        return FALSE;
    }
    return check_descriptors(self, what, bytes / self->segment_size, error);
}

static guint batch_size(const HostmemMemoryPool *self)
{
    return (guint)CLAMP(BATCH_BYTES / self->segment_size, 1, BATCH_SEGMENTS);
}

/* (transfer full) (nullable): mapped, nobody knows of them yet. */
static GPtrArray *make_segments(HostmemMemoryPool *self, guint n,
                                GCancellable *cancellable, GError **error)
{
    g_autoptr(GPtrArray) segments =
        g_ptr_array_new_with_free_func(g_object_unref);

    for (guint i = 0; i < n; i++) {
        HmPoolSegment *segment =
            hm_pool_segment_new(&self->recipe, cancellable, error);

        if (!segment) {
            return NULL;
        }
        g_ptr_array_add(segments, segment);
    }
    return g_steal_pointer(&segments);
}

static void begin_batch(HostmemMemoryPool *self, GPtrArray *segments,
                        HmProgress *progresses)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    if (!self->filled) {
        self->started_us = hm_os_now();
    }
    self->progresses = progresses;
    self->n_progresses = segments->len;
    for (guint i = 0; i < segments->len; i++) {
        g_ptr_array_add(self->segments,
                        g_object_ref(g_ptr_array_index(segments, i)));
    }
}

static void end_batch(HostmemMemoryPool *self, GPtrArray *segments, gboolean ok)
{
    gboolean low;

    g_mutex_lock(&self->lock);
    self->progresses = NULL;
    self->n_progresses = 0;
    for (guint i = 0; i < segments->len; i++) {
        HmPoolSegment *segment = g_ptr_array_index(segments, i);

        if (ok) {
            segment->state = HM_SEGMENT_READY;
            self->filled += self->segment_size;
        } else {
            g_ptr_array_remove(self->segments, segment);
        }
    }
    low = hm_memory_pool_look_at_mark(self);
    g_mutex_unlock(&self->lock);
    if (low) {
        hm_memory_pool_tell_low(self);
    }
    hm_memory_pool_trim(self);
}

static void look_where(GPtrArray *segments)
{
    for (guint i = 0; i < segments->len; i++) {
        HmPoolSegment *segment = g_ptr_array_index(segments, i);

        segment->where = hm_pool_segment_find_nodes(segment);
    }
}

static gboolean fill_batch(HostmemMemoryPool *self, guint n,
                           gboolean background, GCancellable *cancellable,
                           GError **error)
{
    g_autoptr(GPtrArray) segments = make_segments(self, n, cancellable, error);
    g_autofree HmProgress *progresses = g_new0(HmProgress, n);
    gboolean ok;

    if (!segments) {
        return FALSE;
    }
    for (guint i = 0; i < n; i++) {
        hm_progress_start(&progresses[i], self->segment_size);
    }
    begin_batch(self, segments, progresses);
    ok = hm_pool_segments_fill(segments, background, progresses, cancellable,
                               error);
    if (ok) {
        look_where(segments);
    }
    end_batch(self, segments, ok);
    return ok;
}

static guint next_batch(HostmemMemoryPool *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    return MIN(count_missing(self), batch_size(self));
}

/* Somebody may be looking at the progress. */
static void drop_all(HostmemMemoryPool *self)
{
    g_autoptr(GPtrArray) none = g_ptr_array_new_with_free_func(g_object_unref);
    g_autoptr(GPtrArray) all = NULL;

    g_mutex_lock(&self->lock);
    all = g_steal_pointer(&self->segments);
    self->segments = g_steal_pointer(&none);
    g_mutex_unlock(&self->lock);
}

gboolean hm_memory_pool_fill(HostmemMemoryPool *self, GCancellable *cancellable,
                             GError **error)
{
    guint n;

    while ((n = next_batch(self))) {
        if (!fill_batch(self, n, FALSE, cancellable, error)) {
            drop_all(self);
            return FALSE;
        }
    }
    g_mutex_lock(&self->lock);
    self->filled = 0;
    g_mutex_unlock(&self->lock);
    return TRUE;
}

/* The filler */

static void log_failure(HostmemMemoryPool *self, const GError *why)
{
    g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(self));

    if (!self->error || !g_str_equal(self->error->message, why->message)) {
        g_message("%s cannot be filled: %s", what, why->message);
    }
}

/* A batch may fail for what a single segment would not need. */
static void rest_after(HostmemMemoryPool *self, guint n, GError *why)
{
    if (g_error_matches(why, G_IO_ERROR, G_IO_ERROR_CANCELLED)) {
        g_error_free(why);
        return;
    }
    if (n == 1) {
        log_failure(self, why);
        self->rest = CLAMP(self->rest * 2, REST_US, MAX_REST_US);
        self->resume = g_get_monotonic_time() + self->rest;
    }
    g_clear_error(&self->error);
    self->error = why;
}

/* Returns: whether there is something to fill now */
static gboolean await_work(HostmemMemoryPool *self)
{
    if (g_get_monotonic_time() >= self->resume) {
        return TRUE;
    }
    g_cond_wait_until(&self->changed, &self->lock, self->resume);
    return FALSE;
}

/* A HmPoolHand's work. */
static gboolean fill_some(HostmemMemoryPool *self)
{
    guint n = MIN(count_missing(self), self->error ? 1 : batch_size(self));
    GError *why = NULL;
    gboolean ok;

    if (!n) {
        self->filled = 0;
        return FALSE;
    }
    if (!await_work(self)) {
        return TRUE;
    }
    g_mutex_unlock(&self->lock);
    ok = fill_batch(self, n, TRUE, self->cancellable, &why);
    g_mutex_lock(&self->lock);
    if (ok) {
        g_clear_error(&self->error);
        self->rest = 0;
    } else {
        rest_after(self, n, why);
    }
    return TRUE;
}

/* Zeroers */

static void log_replaced(HostmemMemoryPool *self, const GError *why)
{
    g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(self));
    g_autofree char *size = hm_size_format(self->segment_size);

    if (!g_error_matches(why, G_IO_ERROR, G_IO_ERROR_CANCELLED)) {
        g_message("%s: a segment of %s that came back is not used again: %s",
                  what, size, why->message);
    }
}

/* (transfer full) (nullable): what is of no use any more; with the lock. */
static HmPoolSegment *end_renewal(HostmemMemoryPool *self,
                                  HmPoolSegment *segment, HmIdset *where,
                                  gboolean ok)
{
    if (!ok) {
        return take_out(self, segment);
    }
    g_clear_pointer(&segment->where, hm_idset_free);
    segment->where = where;
    segment->exposed = FALSE;
    segment->state = HM_SEGMENT_READY;
    return NULL;
}

/* Whoever has had it may have had the kernel pin its pages. */
static gboolean may_come_back(const HostmemMemoryPool *self,
                              const HmPoolSegment *segment)
{
    return self->reuse || !segment->exposed;
}

static gboolean renew(HostmemMemoryPool *self, HmPoolSegment *segment)
{
    g_autoptr(GError) why = NULL;
    g_autoptr(HmPoolSegment) useless = NULL;
    gboolean ok = may_come_back(self, segment) &&
                  hm_pool_segment_renew(segment, self->cancellable, &why);
    HmIdset *where = ok ? hm_pool_segment_find_nodes(segment) : NULL;
    gboolean low;

    if (why) {
        log_replaced(self, why);
    }
    g_mutex_lock(&self->lock);
    useless = end_renewal(self, segment, where, ok);
    low = hm_memory_pool_look_at_mark(self);
    g_mutex_unlock(&self->lock);
    if (low) {
        hm_memory_pool_tell_low(self);
    }
    hm_memory_pool_trim(self);
    return ok;
}

/* A HmPoolHand's work. */
static gboolean zero_one(HostmemMemoryPool *self)
{
    HmPoolSegment *segment = find_last(self, HM_SEGMENT_DIRTY);

    if (!segment) {
        return FALSE;
    }
    g_object_ref(segment);
    segment->state = HM_SEGMENT_ZEROING;
    g_mutex_unlock(&self->lock);
    if (!renew(self, segment)) {
        hm_memory_pool_look(self); /* another one for it */
    }
    g_object_unref(segment);
    g_mutex_lock(&self->lock);
    return TRUE;
}

/* Hands */

static void run_near(HostmemMemoryPool *self)
{
    g_autoptr(HmIdset) cpus = NULL;
    g_autoptr(HmIdset) allowed = NULL;

    if (self->prealloc_context || !self->nodes) {
        return;
    }
    cpus = hm_numa_cpus_of(self->nodes);
    allowed = hm_numa_allowed_cpus();
    hm_idset_intersect(cpus, allowed);
    if (!hm_idset_is_empty(cpus)) {
        hm_os_set_affinity(0, cpus);
    }
}

static gpointer hand_main(gpointer data)
{
    HmPoolHand *hand = data;
    HostmemMemoryPool *self = hand->pool;

    g_private_set(&is_hand, hand);
    run_near(self);
    g_mutex_lock(&self->lock);
    while (!self->quits && hand->work(self)) {
    }
    hand->runs = FALSE;
    g_mutex_unlock(&self->lock);
    return NULL;
}

static GThread *spawn(HmPoolHand *hand)
{
    HostmemMemoryPool *self = hand->pool;
    g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(self));
    g_autoptr(GError) why = NULL;
    GThread *thread;

    if (self->prealloc_context) {
        thread = hostmem_thread_context_spawn(
            HOSTMEM_THREAD_CONTEXT(self->prealloc_context), "hostmem-pool",
            hand_main, hand, &why);
    } else {
        thread = hm_thread_new("hostmem-pool", hand_main, hand, &why);
    }
    if (!thread) {
        g_warning("%s: %s", what, why->message);
    }
    return thread;
}

/* With the lock, which a thread that has ended does not wait for. */
static void start(HmPoolHand *hand)
{
    if (hand->runs || hand->pool->quits) {
        return;
    }
    g_clear_pointer(&hand->thread, g_thread_join);
    hand->thread = spawn(hand);
    hand->runs = hand->thread != NULL;
}

void hm_memory_pool_look(HostmemMemoryPool *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);
    guint dirty = hm_memory_pool_count(self, HM_SEGMENT_DIRTY);

    if (self->restoring) {
        return;
    }
    self->resume = 0;
    g_cond_broadcast(&self->changed);
    if (count_missing(self)) {
        start(&self->filler);
    }
    for (guint i = 0; i < self->n_zeroers && dirty; i++) {
        if (!self->zeroers[i].runs) {
            start(&self->zeroers[i]);
            dirty--;
        }
    }
}

static guint choose_zeroers(const HostmemMemoryPool *self)
{
    g_autoptr(HmIdset) cpus = hm_numa_allowed_cpus();
    guint usable = MIN(hm_idset_count(cpus), hm_numa_cpu_quota());

    return self->zero_threads ? self->zero_threads : MAX(usable / 2, 1);
}

void hm_memory_pool_make_hands(HostmemMemoryPool *self)
{
    self->filler = (HmPoolHand){.pool = self, .work = fill_some};
    self->n_zeroers = choose_zeroers(self);
    self->zeroers = g_new0(HmPoolHand, self->n_zeroers);
    for (guint i = 0; i < self->n_zeroers; i++) {
        self->zeroers[i] = (HmPoolHand){.pool = self, .work = zero_one};
    }
}

void hm_memory_pool_quit(HostmemMemoryPool *self)
{
    g_mutex_lock(&self->lock);
    self->quits = TRUE;
    g_cond_broadcast(&self->changed);
    g_mutex_unlock(&self->lock);
    g_cancellable_cancel(self->cancellable);
    g_clear_pointer(&self->filler.thread, g_thread_join);
    for (guint i = 0; i < self->n_zeroers; i++) {
        g_clear_pointer(&self->zeroers[i].thread, g_thread_join);
    }
    g_clear_pointer(&self->zeroers, g_free);
}
