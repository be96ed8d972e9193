/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/virtio-mmio.h>

/*
 * The transport, in two files: virtio-mmio.c decodes registers;
 * virtio-mmio-serve.c has what takes time: queues that are served, and the
 * changes that wait for that.
 *
 * Locks, in the order in which they may be taken: that of the link, held while
 * the device's "config-changed" is handled; the lock here; then those
 * that the device's read_config() and the like take, and those of the guest
 * memory and its sources.  Requests are served, and the device is reset, with
 * no lock held.
 */

/* Device status (virtio 1.2, 2.1). */
enum {
    HM_VIRTIO_ACKNOWLEDGE = 1,
    HM_VIRTIO_DRIVER = 2,
    HM_VIRTIO_DRIVER_OK = 4,
    HM_VIRTIO_FEATURES_OK = 8,
    HM_VIRTIO_NEEDS_RESET = 0x40,
    HM_VIRTIO_FAILED = 0x80,
};

/* Reasons of an interrupt (virtio 1.2, 4.2.2). */
enum {
    HM_VIRTIO_USED = 1,
    HM_VIRTIO_CONFIG = 2,
};

/** A queue as its registers describe it. */
typedef struct {
    guint32 size; /* entries */
    guint64 descriptors;
    guint64 available;
    guint64 used;

    HostmemVirtqueue *ring; /* (nullable): ready; used by who serves it */
    gboolean serving;       /* a thread does */
    gboolean notified;      /* since that thread looked last */
    gboolean closing;       /* nobody begins to serve it */
} HmMmioQueue;

typedef struct HmMmioLink HmMmioLink;

struct _HostmemVirtioMmio {
    GObject parent_instance;

    /* constant */
    HostmemVirtioDevice *device; /* owned */
    HostmemGuestMemory *memory;  /* owned */
    HostmemVirtioInterrupt interrupt;
    gpointer interrupt_data;
    HmMmioLink *link;
    gulong handler;
    guint n_queues;
    gsize config_size; /* bytes */

    GMutex lock;       /* guards what follows */
    GCond changed;     /* of serving, and changing */
    gboolean changing; /* a reset, or the closing of a queue, is under way */
    HmMmioQueue *queues;
    guint32 status;
    guint32 device_features_sel;
    guint32 driver_features_sel;
    guint64 driver_features;
    guint32 queue_sel;
    guint32 interrupt_status;
    guint8 *config; /* as the driver saw it last */
    guint32 config_generation;
    GError *error;      /* (nullable): why it needs a reset */
    gint64 reported_us; /* when such an error was logged last */
};

/* Under the lock, as all of these; those that wait let go of it meanwhile. */

void hm_virtio_mmio_raise(HostmemVirtioMmio *self, guint32 reason);
void hm_virtio_mmio_acknowledge(HostmemVirtioMmio *self, guint32 reasons);
/** Takes @error. */
void hm_virtio_mmio_needs_reset(HostmemVirtioMmio *self, GError *error);

/** Wait for a change that is under way. */
void hm_virtio_mmio_await_change(HostmemVirtioMmio *self);
/** Waits; pre: no change is under way. */
void hm_virtio_mmio_reset_locked(HostmemVirtioMmio *self);
/** The same for one queue. */
void hm_virtio_mmio_close_queue(HostmemVirtioMmio *self, HmMmioQueue *queue);
