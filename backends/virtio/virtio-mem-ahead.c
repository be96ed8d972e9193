/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * With "prealloc-ahead" a thread makes memory ready that the guest will
 * probably plug next: the lowest blocks that are not plugged, as many as the
 * budget allows and never more than are still requested.  A map of their own
 * says which.  To the guest they are unplugged like all others; a plug finds
 * its memory there and is quick.
 *
 * The thread works in steps, some MiB to be populated or a run of blocks to be
 * given back, and each is done under request_lock, as if it were a request: no
 * block is plugged or unplugged that a step is at work on.  Requests go first:
 * a step begins when none is waiting.  A reset ends the one at work.
 *
 * The thread ends when there is nothing to do.  After a failure, or a reset,
 * it rests until the guest plugs a block or another size is requested.
 */
#include "backends/hostmem.h"
#include "backends/virtio/virtio-mem.h"
#include "util/size.h"
#include "util/thread.h"

/* What a request may have to wait for: some milliseconds. */
#define STEP_SIZE (16 * HM_MIB)

/* A run of blocks to be made ready, or to be given back. */
typedef struct {
    HmBlockRun run;
    gboolean fill;
} Step;

static HmRange range_of(const HostmemVirtioMem *self, const HmBlockRun *run)
{
    const HmRange range = {run->first * self->block_size,
                           run->n * self->block_size};

    return range;
}

/* What is to be done; under state_lock */

/* In blocks. */
static guint64 allowance(const HostmemVirtioMem *self)
{
    const guint64 requested = self->requested / self->block_size;
    const guint64 plugged = hm_block_map_plugged(self->map);

    return MIN(requested - MIN(requested, plugged),
               self->prealloc_ahead / self->block_size);
}

/* The last blocks that are ready, at most @n. */
static HmBlockRun find_last(const HostmemVirtioMem *self, guint64 n)
{
    const guint64 end = hm_block_map_size(self->ahead);
    HmBlockRun run = {0}, next;

    for (guint64 from = 0;
         hm_block_map_next(self->ahead, from, end, TRUE, &next);
         from = next.first + next.n) {
        run = next;
    }
    if (run.n > n) {
        run.first += run.n - n;
        run.n = n;
    }
    return run;
}

/* The first blocks that are neither plugged nor ready, at most @n. */
static gboolean find_first(const HostmemVirtioMem *self, guint64 n,
                           HmBlockRun *run)
{
    const guint64 end = self->usable / self->block_size;
    HmBlockRun unplugged;

    for (guint64 from = 0;
         hm_block_map_next(self->map, from, end, FALSE, &unplugged);
         from = unplugged.first + unplugged.n) {
        if (hm_block_map_next(self->ahead, unplugged.first,
                              unplugged.first + unplugged.n, FALSE, run)) {
            run->n = MIN(run->n, n);
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean find_step(const HostmemVirtioMem *self, Step *step)
{
    const guint64 ready = hm_block_map_plugged(self->ahead);
    const guint64 allowed = allowance(self);
    const guint64 most = MAX(STEP_SIZE / self->block_size, 1);

    if (self->ahead_quits) {
        return FALSE;
    }
    step->fill = ready < allowed;
    if (ready > allowed) {
        step->run = find_last(self, ready - allowed);
        return TRUE;
    }
    return step->fill && !self->ahead_rests && !self->busy &&
           find_first(self, MIN(allowed - ready, most), &step->run);
}

void hm_virtio_mem_forget_ahead(HostmemVirtioMem *self, const HmRange *range)
{
    const guint64 end = hm_range_end(range) / self->block_size;
    HmBlockRun run;

    while (self->ahead &&
           hm_block_map_next(self->ahead, range->offset / self->block_size, end,
                             TRUE, &run)) {
        hm_block_map_unplug(self->ahead, run.first, run.n);
    }
}

/* Steps; under request_lock */

static gboolean make_ready(HostmemVirtioMem *self, const HmRange *range,
                           GCancellable *cancellable)
{
    g_autoptr(GError) why = NULL;

    if (hm_virtio_mem_make_ready(self, range, cancellable, &why)) {
        return TRUE;
    }
    g_info("no memory is made ready ahead: %s", why->message);
    return FALSE;
}

static gboolean give_back(HostmemVirtioMem *self, const HmRange *range)
{
    return hostmem_backend_discard(hm_virtio_mem_backend(self), range->offset,
                                   range->length, NULL);
}

static void carry_out(HostmemVirtioMem *self, const Step *step,
                      GCancellable *cancellable)
{
    const HmRange range = range_of(self, &step->run);
    gboolean done = step->fill ? make_ready(self, &range, cancellable)
                               : give_back(self, &range);
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->state_lock);

    if (step->fill && done) {
        hm_block_map_plug(self->ahead, step->run.first, step->run.n);
    } else {
        self->ahead_rests |= step->fill;
    }
    if (!step->fill) {
        /* What could not be given back is not looked at again, either. */
        hm_block_map_unplug(self->ahead, step->run.first, step->run.n);
    }
}

gboolean hm_virtio_mem_give_back_ahead(HostmemVirtioMem *self)
{
    Step step = {.fill = FALSE};
    gboolean any = FALSE;

    while (self->ahead &&
           hm_block_map_next(self->ahead, 0, hm_block_map_size(self->ahead),
                             TRUE, &step.run)) {
        carry_out(self, &step, NULL);
        any = TRUE;
    }
    return any;
}

void hm_virtio_mem_rest_ahead(HostmemVirtioMem *self)
{
    g_mutex_lock(&self->state_lock);
    self->ahead_rests = TRUE;
    g_mutex_unlock(&self->state_lock);
    hm_virtio_mem_give_back_ahead(self);
}

/* The thread */

/* FALSE: there is nothing to do, and request_lock is not held. */
static gboolean begin_step(HostmemVirtioMem *self, GCancellable *cancellable,
                           Step *step)
{
    gboolean found;

    g_mutex_lock(&self->state_lock);
    while (self->waiting) {
        g_cond_wait(&self->none_waits, &self->state_lock);
    }
    g_mutex_unlock(&self->state_lock);

    g_mutex_lock(&self->request_lock);
    g_mutex_lock(&self->state_lock);
    found = find_step(self, step);
    self->ahead_runs = found;
    self->current = found ? cancellable : NULL;
    g_mutex_unlock(&self->state_lock);
    if (!found) {
        g_mutex_unlock(&self->request_lock);
    }
    return found;
}

static void end_step(HostmemVirtioMem *self)
{
    g_mutex_lock(&self->state_lock);
    self->current = NULL;
    g_mutex_unlock(&self->state_lock);
    g_mutex_unlock(&self->request_lock);
}

static gboolean do_step(HostmemVirtioMem *self)
{
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    Step step;

    if (!begin_step(self, cancellable, &step)) {
        return FALSE;
    }
    carry_out(self, &step, cancellable);
    end_step(self);
    return TRUE;
}

static gpointer ahead_main(gpointer data)
{
    while (do_step(data)) {
    }
    return NULL;
}

void hm_virtio_mem_look_ahead(HostmemVirtioMem *self)
{
    GThread *old = NULL;
    Step step;

    if (!self->ahead) {
        return;
    }
    g_mutex_lock(&self->state_lock);
    if (!self->ahead_runs && find_step(self, &step)) {
        old = self->ahead_thread;
        self->ahead_thread =
            hm_thread_new("virtio-mem-ahead", ahead_main, self, NULL);
        self->ahead_runs = self->ahead_thread != NULL;
    }
    g_mutex_unlock(&self->state_lock);
    if (old) {
        g_thread_join(old);
    }
}

void hm_virtio_mem_end_ahead(HostmemVirtioMem *self)
{
    g_autoptr(GCancellable) cancellable = NULL;

    if (!self->ahead) {
        return;
    }
    g_mutex_lock(&self->state_lock);
    self->ahead_quits = TRUE;
    cancellable = self->current ? g_object_ref(self->current) : NULL;
    g_mutex_unlock(&self->state_lock);
    if (cancellable) {
        g_cancellable_cancel(cancellable);
    }
    g_clear_pointer(&self->ahead_thread, g_thread_join);
    hm_virtio_mem_give_back_ahead(self);
    g_clear_pointer(&self->ahead, hm_block_map_free);
}

guint64 hm_virtio_mem_ahead_size(HostmemVirtioMem *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->state_lock);

    return self->ahead ? hm_block_map_plugged(self->ahead) * self->block_size
                       : 0;
}
