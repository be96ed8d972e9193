/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * One thread at a time serves a queue, without the lock:
 *
 *   notify -> serving -> process() -> notified meanwhile? again : done
 *
 * Who takes a queue out of use marks it as closing, so that nobody begins,
 * stops its ring, so that who drains it ends with the request at hand, and
 * waits for that.  Until then the driver has been told of no reset, and its
 * memory is still the queue's.
 */
#include "backends/virtio/virtio-mmio.h"
#include "util/os.h"

/* Interrupts */

static void set_line(HostmemVirtioMmio *self, gboolean pending)
{
    if (self->interrupt) {
        self->interrupt(pending, self->interrupt_data);
    }
}

void hm_virtio_mmio_raise(HostmemVirtioMmio *self, guint32 reason)
{
    self->interrupt_status |= reason;
    set_line(self, TRUE);
}

void hm_virtio_mmio_acknowledge(HostmemVirtioMmio *self, guint32 reasons)
{
    const gboolean pending = self->interrupt_status != 0;

    self->interrupt_status &= ~reasons;
    if (pending && !self->interrupt_status) {
        set_line(self, FALSE);
    }
}

static void report(HostmemVirtioMmio *self)
{
    const gint64 now = hm_os_now();

    if (self->reported_us && now - self->reported_us < G_USEC_PER_SEC) {
        return;
    }
    self->reported_us = now;
    g_message("virtio device %u needs a reset by its driver: %s",
              hostmem_virtio_device_get_device_id(self->device),
              self->error->message);
}

void hm_virtio_mmio_needs_reset(HostmemVirtioMmio *self, GError *error)
{
    if (self->error) {
        g_error_free(error);
        return;
    }
    self->error = error;
    self->status |= HM_VIRTIO_NEEDS_RESET;
    report(self);
    if (self->status & HM_VIRTIO_DRIVER_OK) {
        hm_virtio_mmio_raise(self, HM_VIRTIO_CONFIG);
    }
}

/* Serving */

static gboolean may_serve(const HostmemVirtioMmio *self,
                          const HmMmioQueue *queue)
{
    return queue->ring && !queue->closing &&
           (self->status & HM_VIRTIO_DRIVER_OK) &&
           !(self->status & HM_VIRTIO_NEEDS_RESET);
}

/* Without the lock; (transfer full) (nullable): what the driver did wrong. */
static GError *process(HostmemVirtioMmio *self, guint index,
                       HostmemVirtqueue *ring, gboolean *interrupt)
{
    HostmemVirtqueueElement *element;
    GError *error = NULL;

    if (hostmem_virtio_device_process(self->device, index, ring, interrupt,
                                      &error) &&
        hostmem_virtqueue_is_broken(ring)) {
        hostmem_virtqueue_pop(ring, &element, &error);
    }
    return error;
}

static void serve(HostmemVirtioMmio *self, guint index)
{
    HmMmioQueue *queue = &self->queues[index];
    HostmemVirtqueue *ring = queue->ring;
    gboolean interrupt = FALSE;
    GError *error;

    queue->notified = FALSE;
    g_mutex_unlock(&self->lock);
    error = process(self, index, ring, &interrupt);
    g_mutex_lock(&self->lock);
    if (interrupt) {
        hm_virtio_mmio_raise(self, HM_VIRTIO_USED);
    }
    if (error) {
        hm_virtio_mmio_needs_reset(self, error);
    }
}

void hostmem_virtio_mmio_notify(HostmemVirtioMmio *self, guint index)
{
    g_return_if_fail(HOSTMEM_IS_VIRTIO_MMIO(self));

    g_autoptr(GMutexLocker) locker = NULL;
    HmMmioQueue *queue;

    if (index >= self->n_queues) {
        g_debug("virtio-mmio: no queue %u to notify", index);
        return;
    }
    locker = g_mutex_locker_new(&self->lock);
    queue = &self->queues[index];
    queue->notified = TRUE;
    if (queue->serving) {
        return;
    }
    queue->serving = TRUE;
    while (queue->notified && may_serve(self, queue)) {
        serve(self, index);
    }
    queue->notified = FALSE;
    queue->serving = FALSE;
    g_cond_broadcast(&self->changed);
}

/* Changes */

void hm_virtio_mmio_await_change(HostmemVirtioMmio *self)
{
    while (self->changing) {
        g_cond_wait(&self->changed, &self->lock);
    }
}

static void begin_close(HmMmioQueue *queue)
{
    queue->closing = TRUE;
    if (queue->ring) {
        hostmem_virtqueue_stop(queue->ring);
    }
}

static void await_idle(HostmemVirtioMmio *self, const HmMmioQueue *queue)
{
    while (queue->serving) {
        g_cond_wait(&self->changed, &self->lock);
    }
}

static void end_close(HmMmioQueue *queue)
{
    g_clear_pointer(&queue->ring, hostmem_virtqueue_free);
    queue->closing = FALSE;
}

static void end_change(HostmemVirtioMmio *self)
{
    self->changing = FALSE;
    g_cond_broadcast(&self->changed);
}

void hm_virtio_mmio_close_queue(HostmemVirtioMmio *self, HmMmioQueue *queue)
{
    self->changing = TRUE;
    begin_close(queue);
    await_idle(self, queue);
    end_close(queue);
    end_change(self);
}

static void reset_registers(HostmemVirtioMmio *self)
{
    for (guint i = 0; i < self->n_queues; i++) {
        end_close(&self->queues[i]);
        self->queues[i] = (HmMmioQueue){0};
    }
    self->status = 0;
    self->device_features_sel = 0;
    self->driver_features_sel = 0;
    self->driver_features = 0;
    self->queue_sel = 0;
    g_clear_error(&self->error);
    hm_virtio_mmio_acknowledge(self, self->interrupt_status);
}

void hm_virtio_mmio_reset_locked(HostmemVirtioMmio *self)
{
    self->changing = TRUE;
    for (guint i = 0; i < self->n_queues; i++) {
        begin_close(&self->queues[i]);
    }
    for (guint i = 0; i < self->n_queues; i++) {
        await_idle(self, &self->queues[i]);
    }
    g_mutex_unlock(&self->lock);
    hostmem_virtio_device_reset(self->device);
    g_mutex_lock(&self->lock);
    reset_registers(self);
    end_change(self);
}

void hostmem_virtio_mmio_reset(HostmemVirtioMmio *self)
{
    g_return_if_fail(HOSTMEM_IS_VIRTIO_MMIO(self));

    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    hm_virtio_mmio_await_change(self);
    hm_virtio_mmio_reset_locked(self);
}
