/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/virtio-mmio.h>
#include "ring-driver.h"

/*
 * A virtio driver for tests, which speaks registers and rings alone.
 *
 *     HmVirtioDriver driver;
 *     hm_virtio_driver_init(&driver, mmio, ram, ram_base, at);
 *     hm_virtio_driver_begin(&driver);
 *     g_assert_true(hm_virtio_driver_negotiate(&driver, ~0));
 *     hm_virtio_driver_open_queue(&driver, 0, 8);
 *     hm_virtio_driver_finish(&driver);
 *     n = hm_virtio_driver_request(&driver, "ping", 4, answer, 4);
 *
 * It takes 16 KiB of guest RAM.  One thread at a time.
 */

/** Registers (virtio 1.2, 4.2.2). */
enum {
    HM_REG_MAGIC = 0x000,
    HM_REG_VERSION = 0x004,
    HM_REG_DEVICE_ID = 0x008,
    HM_REG_VENDOR_ID = 0x00c,
    HM_REG_DEVICE_FEATURES = 0x010,
    HM_REG_DEVICE_FEATURES_SEL = 0x014,
    HM_REG_DRIVER_FEATURES = 0x020,
    HM_REG_DRIVER_FEATURES_SEL = 0x024,
    HM_REG_QUEUE_SEL = 0x030,
    HM_REG_QUEUE_NUM_MAX = 0x034,
    HM_REG_QUEUE_NUM = 0x038,
    HM_REG_QUEUE_READY = 0x044,
    HM_REG_QUEUE_NOTIFY = 0x050,
    HM_REG_INTERRUPT_STATUS = 0x060,
    HM_REG_INTERRUPT_ACK = 0x064,
    HM_REG_STATUS = 0x070,
    HM_REG_QUEUE_DESC = 0x080, /* low, and high behind it */
    HM_REG_QUEUE_DRIVER = 0x090,
    HM_REG_QUEUE_DEVICE = 0x0a0,
    HM_REG_SHM_SEL = 0x0ac,
    HM_REG_SHM_LEN = 0x0b0,
    HM_REG_SHM_BASE = 0x0b8,
    HM_REG_CONFIG_GENERATION = 0x0fc,
    HM_REG_CONFIG = 0x100,
};

/** Device status (virtio 1.2, 2.1). */
enum {
    HM_STATUS_ACKNOWLEDGE = 1,
    HM_STATUS_DRIVER = 2,
    HM_STATUS_DRIVER_OK = 4,
    HM_STATUS_FEATURES_OK = 8,
    HM_STATUS_NEEDS_RESET = 0x40,
    HM_STATUS_FAILED = 0x80,
};

typedef struct {
    HostmemVirtioMmio *mmio; /* borrowed */
    guint8 *ram;
    guint64 ram_base;
    guint64 at; /* guest physical */
    guint64 features;
    guint queue;
    HmRing ring; /* of that queue */
    gboolean indirect;
} HmVirtioDriver;

/** Guest RAM at @ram_base is at @ram here; the driver uses it from guest
 * address @at on, a multiple of 4096. */
void hm_virtio_driver_init(HmVirtioDriver *self, HostmemVirtioMmio *mmio,
                           gpointer ram, guint64 ram_base, guint64 at);

guint32 hm_virtio_driver_get(HmVirtioDriver *self, guint32 reg);
void hm_virtio_driver_set(HmVirtioDriver *self, guint32 reg, guint32 value);

/** Check what it is, reset it, and say DRIVER. */
void hm_virtio_driver_begin(HmVirtioDriver *self);
guint64 hm_virtio_driver_get_offered(HmVirtioDriver *self);
/** Accept what is offered of @wanted; returns whether FEATURES_OK stays. */
gboolean hm_virtio_driver_negotiate(HmVirtioDriver *self, guint64 wanted);
/** Lay out a queue, and use it from now on. */
void hm_virtio_driver_open_queue(HmVirtioDriver *self, guint queue,
                                 guint16 size);
/** Say DRIVER_OK. */
void hm_virtio_driver_finish(HmVirtioDriver *self);
/** All of the above: queue 0 of at most @size entries. */
void hm_virtio_driver_start(HmVirtioDriver *self, guint64 wanted, guint16 size);

/** A field of 64 bits, consistent by the generation. */
guint64 hm_virtio_driver_get_config64(HmVirtioDriver *self, guint32 offset);

/** Make a chain available: a request, and room for the answer. */
void hm_virtio_driver_send(HmVirtioDriver *self, gconstpointer out,
                           gsize out_length, gsize in_length);
/** Notify if the device wants it, with what was sent since the last time. */
void hm_virtio_driver_kick(HmVirtioDriver *self);
/** Wait for a chain to be used; what was written goes to @in, of
 * @in_length bytes.  Returns: bytes written */
guint32 hm_virtio_driver_receive(HmVirtioDriver *self, gpointer in,
                                 gsize in_length);
/** One request, all of it. */
guint32 hm_virtio_driver_request(HmVirtioDriver *self, gconstpointer out,
                                 gsize out_length, gpointer in,
                                 gsize in_length);
