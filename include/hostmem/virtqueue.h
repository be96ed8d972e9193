/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/guest-memory.h>

G_BEGIN_DECLS

/*
 * Feature bits that belong to the queue and its transport, not to a device
 * (virtio 1.2, section 6).
 */
#define HOSTMEM_VIRTIO_F_INDIRECT_DESC (G_GUINT64_CONSTANT(1) << 28)
#define HOSTMEM_VIRTIO_F_EVENT_IDX     (G_GUINT64_CONSTANT(1) << 29)
#define HOSTMEM_VIRTIO_F_VERSION_1     (G_GUINT64_CONSTANT(1) << 32)

/** The features that a HostmemVirtqueue knows. */
#define HOSTMEM_VIRTQUEUE_FEATURES                                 \
    (HOSTMEM_VIRTIO_F_INDIRECT_DESC | HOSTMEM_VIRTIO_F_EVENT_IDX | \
     HOSTMEM_VIRTIO_F_VERSION_1)

/** Entries of the largest queue (virtio 1.2, 2.7). */
#define HOSTMEM_VIRTQUEUE_SIZE_MAX 32768

/**
 * HostmemVirtqueue:
 *
 * The device's side of a split virtqueue (virtio 1.2, 2.7), with indirect
 * descriptors and event index.
 *
 * What the driver wrote is read once, checked here, and not read again, so
 * that no change of it can get past a check.  A driver that breaks the rules
 * breaks the queue: from then on every call fails with an error that says
 * which rule, and no memory is touched.  Memory outside guest RAM never is.
 *
 * One thread at a time, except for hostmem_virtqueue_stop().
 */
typedef struct _HostmemVirtqueue HostmemVirtqueue;

/**
 * HostmemVirtqueueElement:
 *
 * A chain of buffers that the driver made available: some bytes for the
 * device to read, then some for it to write to.  It may outlive the queue.
 */
typedef struct _HostmemVirtqueueElement HostmemVirtqueueElement;

/**
 * hostmem_virtqueue_new: a queue over rings that the driver has laid out.
 * @size: entries, a power of two up to %HOSTMEM_VIRTQUEUE_SIZE_MAX
 * @descriptors: guest physical address of the descriptor table; multiple of 16
 * @available: that of the available ring ("driver area"); multiple of 2
 * @used: that of the used ring ("device area"); multiple of 4
 * @features: what was negotiated; only %HOSTMEM_VIRTQUEUE_FEATURES matter
 *
 * Keeps a reference to @memory.  Notifications are enabled.
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_INVALID (size,
 * alignment, a ring that is not in guest RAM) or %HOSTMEM_ERROR_UNSUPPORTED
 * (without %HOSTMEM_VIRTIO_F_VERSION_1)
 */
HostmemVirtqueue *hostmem_virtqueue_new(HostmemGuestMemory *memory,
                                        guint16 size, guint64 descriptors,
                                        guint64 available, guint64 used,
                                        guint64 features, GError **error);

/** hostmem_virtqueue_free: (nullable); touches no guest memory. */
void hostmem_virtqueue_free(HostmemVirtqueue *self);

/** Returns: whether the driver broke a rule; stays so. */
gboolean hostmem_virtqueue_is_broken(HostmemVirtqueue *self);

/**
 * hostmem_virtqueue_pop: take the next chain.
 * @element: (out) (nullable): for hostmem_virtqueue_push() or
 *     hostmem_virtqueue_element_free(); NULL when the ring is empty or stopped
 *
 * All buffers of the chain are in guest RAM now; none is empty.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID: the queue is broken, and how
 */
gboolean hostmem_virtqueue_pop(HostmemVirtqueue *self,
                               HostmemVirtqueueElement **element,
                               GError **error);

/**
 * hostmem_virtqueue_push: give a chain back to the driver.
 * @element: (transfer full): of this queue
 * @written: bytes that were written from its first writable one on
 *
 * What was written to the buffers is visible to the driver before the chain
 * is.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID: the queue is broken, and how;
 * @element is freed
 */
gboolean hostmem_virtqueue_push(HostmemVirtqueue *self,
                                HostmemVirtqueueElement *element,
                                guint32 written, GError **error);

/**
 * hostmem_virtqueue_should_notify: is an interrupt due?
 *
 * Returns: whether the driver wants to hear of what was pushed since the last
 * call (virtio 1.2, 2.7.7); FALSE when the queue is broken
 */
gboolean hostmem_virtqueue_should_notify(HostmemVirtqueue *self);

/**
 * hostmem_virtqueue_disable_notifications: ask the driver not to notify.
 *
 * A hint (virtio 1.2, 2.7.10), for as long as the device looks by itself.
 */
void hostmem_virtqueue_disable_notifications(HostmemVirtqueue *self);

/**
 * hostmem_virtqueue_enable_notifications: ask the driver to notify again.
 *
 * Returns: whether there is something to pop, of which the driver may not have
 * notified: drain again.  FALSE when the queue is broken or stopped
 */
gboolean hostmem_virtqueue_enable_notifications(HostmemVirtqueue *self);

/**
 * hostmem_virtqueue_stop: let who drains the queue come to an end.
 *
 * From now on the ring looks empty; chains that were popped can be pushed.
 * There is no way back.  Any thread.
 */
void hostmem_virtqueue_stop(HostmemVirtqueue *self);

/**
 * hostmem_virtqueue_get_indexes: where the queue is, to be saved.
 * @available: (out): chains popped so far, modulo 65536
 * @used: (out): chains pushed so far, modulo 65536
 *
 * Chains that are popped and not pushed are in neither: push them before.
 */
void hostmem_virtqueue_get_indexes(HostmemVirtqueue *self, guint16 *available,
                                   guint16 *used);

/** hostmem_virtqueue_set_indexes: go on where another queue was; before the
 * first hostmem_virtqueue_pop(). */
void hostmem_virtqueue_set_indexes(HostmemVirtqueue *self, guint16 available,
                                   guint16 used);

/** hostmem_virtqueue_element_free: forget a chain without giving it back, as
 * when the device is reset; (nullable). */
void hostmem_virtqueue_element_free(HostmemVirtqueueElement *self);

/** Returns: bytes that the device may read */
guint64
hostmem_virtqueue_element_get_out_size(const HostmemVirtqueueElement *self);

/** Returns: bytes that the device may write to */
guint64
hostmem_virtqueue_element_get_in_size(const HostmemVirtqueueElement *self);

/**
 * hostmem_virtqueue_element_read: copy what the driver sent.
 * @offset: bytes from the first readable one
 * @data: (out): @length bytes
 *
 * The guest may change it at any time: read once, then check.
 *
 * Returns: bytes copied; fewer than @length at the end, or where the memory is
 * no guest RAM any more
 */
gsize hostmem_virtqueue_element_read(const HostmemVirtqueueElement *self,
                                     guint64 offset, gpointer data,
                                     gsize length);

/**
 * hostmem_virtqueue_element_write: copy an answer to the driver.
 * @offset: bytes from the first writable one
 *
 * Returns: bytes copied, as of hostmem_virtqueue_element_read()
 */
gsize hostmem_virtqueue_element_write(HostmemVirtqueueElement *self,
                                      guint64 offset, gconstpointer data,
                                      gsize length);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostmemVirtqueue, hostmem_virtqueue_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostmemVirtqueueElement,
                              hostmem_virtqueue_element_free)

G_END_DECLS
