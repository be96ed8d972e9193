/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/virtio-device.h>

G_BEGIN_DECLS

/** Bytes of guest physical addresses that the registers take. */
#define HOSTMEM_VIRTIO_MMIO_SIZE 0x200

/**
 * HostmemVirtioMmio:
 *
 * The registers of a virtio-mmio device, version 2 (virtio 1.2, 4.2), between
 * a VMM that traps accesses to them and a HostmemVirtioDevice.
 *
 * Every function may be called from any thread, each vCPU's for instance.
 *
 * A queue is served by the thread that notifies, which takes as long as the
 * requests take; who notifies of a queue that is being served returns at once,
 * and the thread that serves it looks again.  A reset, and taking a queue out
 * of use, wait until the request that is being served is done; what is
 * available behind it is left alone.  So they may not be called from within
 * what serves a request: a signal of the device, for example.
 *
 * A driver that breaks the rules, or whose rings are not in guest RAM, sees
 * DEVICE_NEEDS_RESET and a configuration interrupt; nothing is served any more
 * until it resets the device.  One message a second at most is logged of that.
 * Accesses that the specification does not know are ignored: they read as 0.
 */
#define HOSTMEM_TYPE_VIRTIO_MMIO (hostmem_virtio_mmio_get_type())
typedef struct _HostmemVirtioMmio HostmemVirtioMmio;
#define HOSTMEM_VIRTIO_MMIO(obj)                                 \
    (G_TYPE_CHECK_INSTANCE_CAST((obj), HOSTMEM_TYPE_VIRTIO_MMIO, \
                                HostmemVirtioMmio))
#define HOSTMEM_IS_VIRTIO_MMIO(obj) \
    (G_TYPE_CHECK_INSTANCE_TYPE((obj), HOSTMEM_TYPE_VIRTIO_MMIO))
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostmemVirtioMmio, g_object_unref)

GType hostmem_virtio_mmio_get_type(void) G_GNUC_CONST;

/**
 * HostmemVirtioInterrupt: the interrupt line.
 * @pending: TRUE for each reason that comes up, also while the line is up
 *     already; FALSE when the driver has acknowledged all of them
 *
 * For a level-triggered interrupt this is the level.  For an eventfd, such as
 * KVM's irqfd, write on TRUE and ignore FALSE.  Called in order, by any thread,
 * with the lock of the registers held: it does not block, and calls nothing of
 * the HostmemVirtioMmio.
 */
typedef void (*HostmemVirtioInterrupt)(gboolean pending, gpointer user_data);

/**
 * hostmem_virtio_mmio_new: registers of a device that is reset.
 * @device: with at most 256 bytes of configuration
 * @interrupt: (nullable): none
 * @user_data: for @interrupt; to be valid until the last unref
 *
 * Keeps references to @device and @memory.  The last unref waits for an
 * @interrupt that is being called; none is called afterwards.
 *
 * Returns: (transfer full)
 */
HostmemVirtioMmio *hostmem_virtio_mmio_new(HostmemVirtioDevice *device,
                                           HostmemGuestMemory *memory,
                                           HostmemVirtioInterrupt interrupt,
                                           gpointer user_data);

/**
 * hostmem_virtio_mmio_read: the guest reads.
 * @offset: bytes from the first register
 * @size: bytes: 4 of a register; 1, 2, 4 or 8 of the configuration
 *
 * Returns: the little endian number that is there
 */
guint64 hostmem_virtio_mmio_read(HostmemVirtioMmio *self, guint64 offset,
                                 guint size);

/** hostmem_virtio_mmio_write: the guest writes; as hostmem_virtio_mmio_read().
 */
void hostmem_virtio_mmio_write(HostmemVirtioMmio *self, guint64 offset,
                               guint64 value, guint size);

/**
 * hostmem_virtio_mmio_notify: the driver has made something available.
 * @queue: index; others are ignored
 *
 * What a write to QueueNotify does, for KVM's ioeventfd and a thread that
 * waits for it.
 */
void hostmem_virtio_mmio_notify(HostmemVirtioMmio *self, guint queue);

/** hostmem_virtio_mmio_reset: the machine is reset; as if the driver had. */
void hostmem_virtio_mmio_reset(HostmemVirtioMmio *self);

/**
 * hostmem_virtio_mmio_get_error: why the device needs a reset.
 *
 * Returns: (transfer full) (nullable): what the driver did; NULL when it needs
 * none
 */
GError *hostmem_virtio_mmio_get_error(HostmemVirtioMmio *self);

G_END_DECLS
