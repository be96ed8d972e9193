/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * What happens to the size is noted under state_lock, as signals that are
 * pending, and emitted when the thread that caused it holds no lock any more.
 * Two threads could then overtake each other and leave the listeners with the
 * older size.  So only one thread emits at a time, and reads the values when
 * it does; what the others leave behind meanwhile it emits too.
 */
#include <string.h>
#include "backends/virtio/virtio-mem.h"
#include "util/os.h"

/* A guest tries again all the time: one line in this many microseconds. */
#define LOG_INTERVAL (10 * G_USEC_PER_SEC)

/* How it goes; under state_lock */

static HostmemResizeState resize_state(const HostmemVirtioMem *self, gint64 now)
{
    guint64 plugged = hm_block_map_plugged(self->map) * self->block_size;

    if (plugged == self->requested) {
        return HOSTMEM_RESIZE_REACHED;
    }
    /* A request at work may be all the progress there can be. */
    if (self->timeout_us && !self->serving &&
        now - self->progress_us >= self->timeout_us) {
        return HOSTMEM_RESIZE_STALLED;
    }
    return HOSTMEM_RESIZE_RUNNING;
}

static HostmemResizeState look_at_resize(HostmemVirtioMem *self)
{
    HostmemResizeState state = resize_state(self, hm_os_now());

    if (state != self->announced) {
        self->announced = state;
        self->pending |= HM_PENDING_RESIZE;
    }
    return state;
}

void hm_virtio_mem_begin_resize(HostmemVirtioMem *self)
{
    memset(self->answers, 0, sizeof(self->answers));
    g_clear_pointer(&self->reason, g_free);
    self->progress_us = hm_os_now();
    self->ahead_rests = FALSE;
    self->pending |= HM_PENDING_REQUESTED;
    look_at_resize(self);
}

void hm_virtio_mem_size_changed(HostmemVirtioMem *self)
{
    self->progress_us = hm_os_now();
    self->pending |= HM_PENDING_SIZE;
    look_at_resize(self);
    hm_object_state_changed(HOSTMEM_OBJECT(self));
}

/* Answers */

/* Somebody on the host has the device refuse for a while. */
static gboolean is_wanted(const GError *why)
{
    return g_error_matches(why, HOSTMEM_ERROR, HOSTMEM_ERROR_BUSY) ||
           g_error_matches(why, G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

/* (transfer full) (nullable): a line for the log, when it is time for one. */
static char *log_line(HostmemVirtioMem *self, const GError *why)
{
    gint64 now = hm_os_now();
    guint skipped = self->unlogged;

    if (self->logged_us && now - self->logged_us < LOG_INTERVAL) {
        self->unlogged++;
        return NULL;
    }
    self->logged_us = now;
    self->unlogged = 0;
    return skipped ? g_strdup_printf("%s (and %u times before)", why->message,
                                     skipped)
                   : g_strdup(why->message);
}

void hm_virtio_mem_count(HostmemVirtioMem *self, HostmemVirtioMemAnswer answer,
                         const GError *why)
{
    g_autofree char *line = NULL;

    g_mutex_lock(&self->state_lock);
    self->answers[answer]++;
    if (why) {
        g_free(self->reason);
        self->reason = g_strdup(why->message);
    }
    if (answer == HOSTMEM_VIRTIO_MEM_BUSY && !is_wanted(why)) {
        line = log_line(self, why);
    }
    look_at_resize(self);
    g_mutex_unlock(&self->state_lock);
    if (line) {
        g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(self));

        g_message("%s: a request is answered with BUSY: %s", what, line);
    }
}

void hostmem_virtio_mem_get_status(HostmemVirtioMem *self,
                                   HostmemVirtioMemStatus *status)
{
    const char *end;

    g_return_if_fail(HOSTMEM_IS_VIRTIO_MEM(self) && status);
    g_return_if_fail(hm_object_is_complete(HOSTMEM_OBJECT(self)));

    g_mutex_lock(&self->state_lock);
    *status = (HostmemVirtioMemStatus){
        .state = look_at_resize(self),
        .requested = self->requested,
        .plugged = hm_block_map_plugged(self->map) * self->block_size,
        .acks = self->answers[HOSTMEM_VIRTIO_MEM_ACK],
        .nacks = self->answers[HOSTMEM_VIRTIO_MEM_NACK],
        .busy = self->answers[HOSTMEM_VIRTIO_MEM_BUSY],
        .errors = self->answers[HOSTMEM_VIRTIO_MEM_ERROR],
        .since_progress_us = hm_os_now() - self->progress_us,
    };
    g_strlcpy(status->reason, self->reason ? self->reason : "",
              sizeof(status->reason));
    g_mutex_unlock(&self->state_lock);
    if (!g_utf8_validate(status->reason, -1, &end)) {
        status->reason[end - status->reason] = '\0';
    }
    hm_virtio_mem_emit(self);
}

/* Signals */

/* What has to be said, and its values as they are now. */
typedef struct {
    guint signals;
    guint64 plugged;
    guint64 requested;
    HostmemResizeState state;
} News;

static void tell(HostmemVirtioMem *self, const News *news)
{
    if (news->signals & HM_PENDING_REQUESTED) {
        hostmem_virtio_device_config_changed(HOSTMEM_VIRTIO_DEVICE(self));
        g_signal_emit_by_name(self, "requested-size-changed", news->requested);
    }
    if (news->signals & HM_PENDING_SIZE) {
        g_signal_emit_by_name(self, "size-changed", news->plugged);
    }
    if (news->signals & HM_PENDING_RESIZE) {
        g_signal_emit_by_name(self, "resize-changed", news->state);
    }
}

/* FALSE: there is none. */
static gboolean take_news(HostmemVirtioMem *self, News *news)
{
    *news = (News){
        .signals = self->pending,
        .plugged = hm_block_map_plugged(self->map) * self->block_size,
        .requested = self->requested,
        .state = self->announced,
    };
    self->pending = 0;
    return news->signals != 0;
}

void hm_virtio_mem_emit(HostmemVirtioMem *self)
{
    News news;

    g_mutex_lock(&self->state_lock);
    if (!self->emitting) {
        self->emitting = TRUE;
        while (take_news(self, &news)) {
            g_mutex_unlock(&self->state_lock);
            tell(self, &news);
            g_mutex_lock(&self->state_lock);
        }
        self->emitting = FALSE;
    }
    g_mutex_unlock(&self->state_lock);
}
