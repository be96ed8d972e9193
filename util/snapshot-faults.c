/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib-unix.h>
#include "util/error.h"
#include "util/os.h"
#include "util/snapshot-private.h"
#include "util/thread.h"

#define BATCH       16
#define MAX_SERVERS 4

/* (transfer full) (nullable): NULL: the snapshot has ended. */
static HmImageCopy *take_empty(HmSnapshot *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    while (!hm_snapshot_has_ended(self) && g_queue_is_empty(&self->empty) &&
           self->n_copies == self->max_copies) {
        g_cond_wait(&self->changed, &self->lock);
    }
    if (hm_snapshot_has_ended(self)) {
        return NULL;
    }
    if (g_queue_is_empty(&self->empty)) {
        self->n_copies++;
        return hm_image_copy_new(MIN(self->unit, self->step));
    }
    return g_queue_pop_head(&self->empty);
}

static void pass_on(HmSnapshot *self, GQueue *queue, HmImageCopy *copy)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    g_queue_push_tail(queue, copy);
    g_cond_broadcast(&self->changed);
}

static void serve_small(HmSnapshot *self, gsize unit)
{
    const HmRange range = hm_snapshot_units(self, unit, 1);
    HmImageCopy *copy = take_empty(self);

    if (!copy) {
        return;
    }
    if (hm_snapshot_claim(self, unit) && hm_snapshot_copy(self, &range, copy)) {
        __atomic_fetch_add(&self->faults, 1, __ATOMIC_RELAXED);
        pass_on(self, &self->filled, copy);
    } else {
        pass_on(self, &self->empty, copy);
    }
}

static void serve_large(HmSnapshot *self, gsize unit, HmImageCopy **copy)
{
    if (!hm_snapshot_claim(self, unit)) {
        return;
    }
    if (!*copy) {
        *copy = hm_image_copy_new(self->step);
    }
    __atomic_fetch_add(&self->faults, 1, __ATOMIC_RELAXED);
    hm_snapshot_save_large(self, unit, *copy);
}

/* Whoever has claimed the unit wakes who waits for it. */
static void serve(HmSnapshot *self, guint64 offset, HmImageCopy **copy)
{
    const gsize unit = offset / self->unit;

    if (offset >= self->options.backing->length ||
        hm_snapshot_state(self, unit) != HM_UNIT_TO_SAVE) {
        return;
    }
    if (self->unit > self->step) {
        serve_large(self, unit, copy);
    } else {
        serve_small(self, unit);
    }
}

/* Returns: FALSE when it is over */
static gboolean wait_for_faults(HmSnapshot *self)
{
    GPollFD fds[] = {
        {.fd = self->protect.fd, .events = G_IO_IN},
        {.fd = self->stop[0], .events = G_IO_IN},
    };

    g_poll(fds, G_N_ELEMENTS(fds), -1);
    return !fds[1].revents;
}

static gpointer server_main(gpointer data)
{
    HmSnapshot *self = data;
    g_autoptr(HmImageCopy) copy = NULL;
    guint64 offsets[BATCH];

    while (wait_for_faults(self)) {
        int n = hm_write_protect_read(&self->protect, offsets, BATCH);
        GError *error = NULL;

        if (n < 0) {
            hm_set_error_errno(&error, -n, "cannot be told of writes");
            hm_snapshot_fail(self, error);
            break;
        }
        for (int i = 0; i < n; i++) {
            serve(self, offsets[i], &copy);
        }
    }
    return NULL;
}

gboolean hm_snapshot_serve(HmSnapshot *self, GError **error)
{
    const guint n = CLAMP(self->options.threads / 2, 1, MAX_SERVERS);
    g_autoptr(GError) cause = NULL;

    if (!g_unix_open_pipe(self->stop, FD_CLOEXEC, &cause)) {
        return hm_set_error(error, HOSTMEM_ERROR_LIMIT, "%s", cause->message);
    }
    for (guint i = 0; i < n; i++) {
        GThread *thread = hm_thread_new("hostmem-faults", server_main, self,
                                        i ? NULL : error);

        if (!thread) {
            return i > 0;
        }
        g_ptr_array_add(self->servers, thread);
    }
    return TRUE;
}

void hm_snapshot_end_serving(HmSnapshot *self)
{
    if (self->stop[1] >= 0) {
        hm_os_close(self->stop[1]);
        self->stop[1] = -1;
    }
    for (guint i = 0; i < self->servers->len; i++) {
        g_thread_join(g_ptr_array_index(self->servers, i));
    }
    g_ptr_array_set_size(self->servers, 0);
    if (self->stop[0] >= 0) {
        hm_os_close(self->stop[0]);
        self->stop[0] = -1;
    }
}
