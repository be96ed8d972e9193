/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "virtio-driver.h"

/*
 * What is behind @at: rings; for each descriptor a table of two, and a slot
 * with a request in its first half and the answer in its second.
 */
#define TABLES    0x1000
#define TABLE     32
#define SLOTS     0x2000
#define SLOT      128
#define ALL       0x4000
#define MAX_SIZE  64
#define WAIT_USEC (20 * G_USEC_PER_SEC)

G_STATIC_ASSERT(26 * MAX_SIZE + 32 <= TABLES);
G_STATIC_ASSERT(TABLES + TABLE * MAX_SIZE <= SLOTS);
G_STATIC_ASSERT(SLOTS + SLOT * MAX_SIZE <= ALL);

void hm_virtio_driver_init(HmVirtioDriver *self, HostmemVirtioMmio *mmio,
                           gpointer ram, guint64 ram_base, guint64 at)
{
    *self = (HmVirtioDriver){
        .mmio = mmio,
        .ram = ram,
        .ram_base = ram_base,
        .at = at,
    };
}

guint32 hm_virtio_driver_get(HmVirtioDriver *self, guint32 reg)
{
    return (guint32)hostmem_virtio_mmio_read(self->mmio, reg, 4);
}

void hm_virtio_driver_set(HmVirtioDriver *self, guint32 reg, guint32 value)
{
    hostmem_virtio_mmio_write(self->mmio, reg, value, 4);
}

static void add_status(HmVirtioDriver *self, guint32 bits)
{
    hm_virtio_driver_set(self, HM_REG_STATUS,
                         hm_virtio_driver_get(self, HM_REG_STATUS) | bits);
}

/* Initialization (virtio 1.2, 3.1.1) */

void hm_virtio_driver_begin(HmVirtioDriver *self)
{
    g_assert_cmphex(hm_virtio_driver_get(self, HM_REG_MAGIC), ==, 0x74726976);
    g_assert_cmpuint(hm_virtio_driver_get(self, HM_REG_VERSION), ==, 2);
    g_assert_cmpuint(hm_virtio_driver_get(self, HM_REG_DEVICE_ID), !=, 0);
    hm_virtio_driver_set(self, HM_REG_STATUS, 0);
    g_assert_cmphex(hm_virtio_driver_get(self, HM_REG_STATUS), ==, 0);
    add_status(self, HM_STATUS_ACKNOWLEDGE);
    add_status(self, HM_STATUS_DRIVER);
}

guint64 hm_virtio_driver_get_offered(HmVirtioDriver *self)
{
    guint64 low, high;

    hm_virtio_driver_set(self, HM_REG_DEVICE_FEATURES_SEL, 0);
    low = hm_virtio_driver_get(self, HM_REG_DEVICE_FEATURES);
    hm_virtio_driver_set(self, HM_REG_DEVICE_FEATURES_SEL, 1);
    high = hm_virtio_driver_get(self, HM_REG_DEVICE_FEATURES);
    return high << 32 | low;
}

gboolean hm_virtio_driver_negotiate(HmVirtioDriver *self, guint64 wanted)
{
    self->features = hm_virtio_driver_get_offered(self) & wanted;
    hm_virtio_driver_set(self, HM_REG_DRIVER_FEATURES_SEL, 0);
    hm_virtio_driver_set(self, HM_REG_DRIVER_FEATURES, (guint32)self->features);
    hm_virtio_driver_set(self, HM_REG_DRIVER_FEATURES_SEL, 1);
    hm_virtio_driver_set(self, HM_REG_DRIVER_FEATURES,
                         (guint32)(self->features >> 32));
    add_status(self, HM_STATUS_FEATURES_OK);
    return hm_virtio_driver_get(self, HM_REG_STATUS) & HM_STATUS_FEATURES_OK;
}

static void set_address(HmVirtioDriver *self, guint32 reg, guint64 address)
{
    hm_virtio_driver_set(self, reg, (guint32)address);
    hm_virtio_driver_set(self, reg + 4, (guint32)(address >> 32));
}

void hm_virtio_driver_open_queue(HmVirtioDriver *self, guint queue,
                                 guint16 size)
{
    self->queue = queue;
    self->indirect = (self->features & HOSTMEM_VIRTIO_F_INDIRECT_DESC) != 0;
    hm_virtio_driver_set(self, HM_REG_QUEUE_SEL, queue);
    g_assert_cmpuint(hm_virtio_driver_get(self, HM_REG_QUEUE_READY), ==, 0);
    size = (guint16)MIN(MIN(size, MAX_SIZE),
                        hm_virtio_driver_get(self, HM_REG_QUEUE_NUM_MAX));
    hm_ring_init(&self->ring, self->ram, self->ram_base, self->at, size,
                 (self->features & HOSTMEM_VIRTIO_F_EVENT_IDX) != 0);
    hm_virtio_driver_set(self, HM_REG_QUEUE_NUM, size);
    set_address(self, HM_REG_QUEUE_DESC, self->ring.descriptors);
    set_address(self, HM_REG_QUEUE_DRIVER, self->ring.available);
    set_address(self, HM_REG_QUEUE_DEVICE, self->ring.used);
    hm_virtio_driver_set(self, HM_REG_QUEUE_READY, 1);
    g_assert_cmpuint(hm_virtio_driver_get(self, HM_REG_QUEUE_READY), ==, 1);
}

void hm_virtio_driver_finish(HmVirtioDriver *self)
{
    add_status(self, HM_STATUS_DRIVER_OK);
}

void hm_virtio_driver_start(HmVirtioDriver *self, guint64 wanted, guint16 size)
{
    hm_virtio_driver_begin(self);
    g_assert_true(hm_virtio_driver_negotiate(self, wanted));
    hm_virtio_driver_open_queue(self, 0, size);
    hm_virtio_driver_finish(self);
    g_assert_cmphex(hm_virtio_driver_get(self, HM_REG_STATUS), ==, 0xf);
}

guint64 hm_virtio_driver_get_config64(HmVirtioDriver *self, guint32 offset)
{
    guint64 low, high;
    guint32 before;

    do {
        before = hm_virtio_driver_get(self, HM_REG_CONFIG_GENERATION);
        low = hm_virtio_driver_get(self, HM_REG_CONFIG + offset);
        high = hm_virtio_driver_get(self, HM_REG_CONFIG + offset + 4);
    } while (hm_virtio_driver_get(self, HM_REG_CONFIG_GENERATION) != before);
    return high << 32 | low;
}

/* Requests */

void hm_virtio_driver_send(HmVirtioDriver *self, gconstpointer out,
                           gsize out_length, gsize in_length)
{
    HmRing *ring = &self->ring;
    const guint16 slot = ring->next_descriptor;
    const guint64 address = self->at + SLOTS + SLOT * (guint64)slot;
    const HmRingBuffer buffers[] = {
        {address, (guint32)out_length, FALSE},
        {address + SLOT / 2, (guint32)in_length, TRUE},
    };

    g_assert_true(out_length <= SLOT / 2 && in_length <= SLOT / 2);
    memcpy(hm_ring_host(ring, address), out, out_length);
    if (self->indirect) {
        hm_ring_add_indirect(ring, buffers, 2,
                             self->at + TABLES + TABLE * (guint64)slot);
    } else {
        hm_ring_add(ring, buffers, 2);
    }
}

void hm_virtio_driver_kick(HmVirtioDriver *self)
{
    if (hm_ring_publish(&self->ring)) {
        hm_virtio_driver_set(self, HM_REG_QUEUE_NOTIFY, self->queue);
    }
}

guint32 hm_virtio_driver_receive(HmVirtioDriver *self, gpointer in,
                                 gsize in_length)
{
    const gint64 deadline = g_get_monotonic_time() + WAIT_USEC;
    guint32 head, written;

    while (!hm_ring_get_used(&self->ring, &head, &written)) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(10);
    }
    g_assert_cmpuint(head, <, self->ring.size);
    g_assert_cmpuint(written, <=, in_length);
    memcpy(in,
           hm_ring_host(&self->ring,
                        self->at + SLOTS + SLOT * (guint64)head + SLOT / 2),
           written);
    hm_ring_set_used_event(&self->ring, 1);
    return written;
}

guint32 hm_virtio_driver_request(HmVirtioDriver *self, gconstpointer out,
                                 gsize out_length, gpointer in, gsize in_length)
{
    hm_virtio_driver_send(self, out, out_length, in_length);
    hm_virtio_driver_kick(self);
    return hm_virtio_driver_receive(self, in, in_length);
}
