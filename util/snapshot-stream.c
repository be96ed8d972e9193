/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/error.h"
#include "util/os.h"
#include "util/parallel.h"
#include "util/size.h"
#include "util/snapshot-private.h"

/* What a thread takes at a time, and looks for holes in. */
#define WINDOW (32 * HM_MIB)
/* How often a thread that waits looks whether it was cancelled. */
#define PATIENCE_US (50 * 1000)

static gboolean check_cancelled(HmSnapshot *self)
{
    GError *error = NULL;

    if (g_cancellable_set_error_if_cancelled(self->cancellable, &error)) {
        hm_snapshot_fail(self, error);
    }
    return !hm_snapshot_has_ended(self);
}

/* (transfer full) (nullable): somebody wants the room that it takes. */
static HmImageCopy *pop_filled(HmSnapshot *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    return g_queue_pop_head(&self->filled);
}

static void write_filled(HmSnapshot *self)
{
    HmImageCopy *copy;

    while ((copy = pop_filled(self))) {
        hm_snapshot_write(self, copy);
        g_mutex_lock(&self->lock);
        g_queue_push_head(&self->empty, copy);
        g_cond_broadcast(&self->changed);
        g_mutex_unlock(&self->lock);
    }
}

/* hm_os_now() when there is bandwidth for more. */
static gint64 due(HmSnapshot *self)
{
    const guint64 stored = __atomic_load_n(&self->stored, __ATOMIC_RELAXED);
    const guint64 max = self->options.max_bandwidth;

    return max ? self->started +
                     (gint64)((double)stored / (double)max * G_USEC_PER_SEC)
               : 0;
}

/* Until a copy is to be written, all is done, it is time, or a while is over.
 */
static void rest(HmSnapshot *self, gint64 until)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    if (g_queue_is_empty(&self->filled) && self->left &&
        !hm_snapshot_has_ended(self)) {
        g_cond_wait_until(&self->changed, &self->lock,
                          MIN(until, g_get_monotonic_time() + PATIENCE_US));
    }
}

gboolean hm_snapshot_pace(HmSnapshot *self)
{
    gint64 until;

    write_filled(self);
    while (check_cancelled(self) && (until = due(self)) > hm_os_now()) {
        rest(self, until);
        write_filled(self);
    }
    return !hm_snapshot_has_ended(self);
}

static gboolean is_complete(HmSnapshot *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    return !self->left;
}

/* What others have claimed is still to be written. */
static void finish(HmSnapshot *self)
{
    while (check_cancelled(self) && !is_complete(self)) {
        rest(self, G_MAXINT64);
        write_filled(self);
    }
}

static void stream_main(gpointer data)
{
    HmSnapshot *self = data;
    g_autoptr(HmImageCopy) copy = hm_image_copy_new(self->step);
    const gsize window = MAX(WINDOW / self->unit, 1);

    while (check_cancelled(self)) {
        gsize first = __atomic_fetch_add(&self->next, window, __ATOMIC_RELAXED);
        HmRange range;

        if (first >= self->n_units) {
            break;
        }
        range = hm_snapshot_units(self, first, window);
        hm_snapshot_save_range(self, &range, copy, FALSE);
    }
    finish(self);
}

void hm_snapshot_stream(HmSnapshot *self, GCancellable *cancellable)
{
    self->cancellable = cancellable;
    self->started = hm_os_now();
    hm_parallel_run(self->options.threads, "hostmem-snapshot", stream_main,
                    self);
}
