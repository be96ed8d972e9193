/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "ring-driver.h"

static guint64 align_up(guint64 value, guint64 align)
{
    return (value + align - 1) / align * align;
}

gpointer hm_ring_host(const HmRing *self, guint64 address)
{
    return self->ram + (address - self->ram_base);
}

static void store16(const HmRing *self, guint64 address, guint16 value)
{
    __atomic_store_n((guint16 *)hm_ring_host(self, address),
                     GUINT16_TO_LE(value), __ATOMIC_RELEASE);
}

static guint16 load16(const HmRing *self, guint64 address)
{
    guint16 value = __atomic_load_n((guint16 *)hm_ring_host(self, address),
                                    __ATOMIC_ACQUIRE);

    return GUINT16_FROM_LE(value);
}

static guint32 load32(const HmRing *self, guint64 address)
{
    guint32 value;

    memcpy(&value, hm_ring_host(self, address), sizeof(value));
    return GUINT32_FROM_LE(value);
}

void hm_ring_init(HmRing *self, gpointer ram, guint64 ram_base, guint64 at,
                  guint16 size, gboolean event_idx)
{
    *self = (HmRing){
        .ram = ram,
        .ram_base = ram_base,
        .size = size,
        .event_idx = event_idx,
        .descriptors = at,
    };
    self->available = at + 16 * (guint64)size;
    self->used = align_up(self->available + 6 + 2 * (guint64)size, 4);
    memset(hm_ring_host(self, at), 0, hm_ring_end(self) - at);
}

guint64 hm_ring_end(const HmRing *self)
{
    return align_up(self->used + 6 + 8 * (guint64)self->size, 16);
}

/* Adding */

void hm_ring_set_descriptor(HmRing *self, guint64 table, guint16 index,
                            guint64 address, guint32 length, guint16 flags,
                            guint16 next)
{
    struct {
        guint64 address;
        guint32 length;
        guint16 flags;
        guint16 next;
    } descriptor = {
        GUINT64_TO_LE(address),
        GUINT32_TO_LE(length),
        GUINT16_TO_LE(flags),
        GUINT16_TO_LE(next),
    };

    memcpy(hm_ring_host(self, table + 16 * (guint64)index), &descriptor,
           sizeof(descriptor));
}

void hm_ring_set_head(HmRing *self, guint16 entry, guint16 head)
{
    store16(self, self->available + 4 + 2 * (guint64)(entry % self->size),
            head);
}

void hm_ring_set_idx(HmRing *self, guint16 idx)
{
    store16(self, self->available + 2, idx);
}

/* A chain in @table, from descriptor @first on, which counts modulo @size. */
static void write_chain(HmRing *self, guint64 table, guint16 size,
                        guint16 first, const HmRingBuffer *buffers, guint n)
{
    for (guint i = 0; i < n; i++) {
        guint16 flags = buffers[i].write ? HM_RING_WRITE : 0;

        if (i + 1 < n) {
            flags |= HM_RING_NEXT;
        }
        hm_ring_set_descriptor(self, table, (guint16)((first + i) % size),
                               buffers[i].address, buffers[i].length, flags,
                               (guint16)((first + i + 1) % size));
    }
}

static guint16 take_descriptors(HmRing *self, guint n)
{
    guint16 head = self->next_descriptor;

    self->next_descriptor = (guint16)((head + n) % self->size);
    hm_ring_set_head(self, self->next_available++, head);
    return head;
}

guint16 hm_ring_add(HmRing *self, const HmRingBuffer *buffers, guint n)
{
    guint16 head = take_descriptors(self, n);

    write_chain(self, self->descriptors, self->size, head, buffers, n);
    return head;
}

guint16 hm_ring_add_indirect(HmRing *self, const HmRingBuffer *buffers, guint n,
                             guint64 table)
{
    guint16 head = take_descriptors(self, 1);

    write_chain(self, table, (guint16)n, 0, buffers, n);
    hm_ring_set_descriptor(self, self->descriptors, head, table, 16 * n,
                           HM_RING_INDIRECT, 0);
    return head;
}

gboolean hm_ring_publish(HmRing *self)
{
    const guint16 old = self->published;
    const guint16 now = self->next_available;

    hm_ring_set_idx(self, now);
    self->published = now;
    __sync_synchronize();
    if (!self->event_idx) {
        return !(hm_ring_get_used_flags(self) & 1);
    }
    return (guint16)(now - hm_ring_get_available_event(self) - 1) <
           (guint16)(now - old);
}

/* What the device did */

guint16 hm_ring_get_used_flags(const HmRing *self)
{
    return load16(self, self->used);
}

guint16 hm_ring_get_used_idx(const HmRing *self)
{
    return load16(self, self->used + 2);
}

guint16 hm_ring_get_available_event(const HmRing *self)
{
    return load16(self, self->used + 4 + 8 * (guint64)self->size);
}

gboolean hm_ring_get_used(HmRing *self, guint32 *head, guint32 *written)
{
    guint64 entry =
        self->used + 4 + 8 * (guint64)(self->seen_used % self->size);

    if (hm_ring_get_used_idx(self) == self->seen_used) {
        return FALSE;
    }
    *head = load32(self, entry);
    *written = load32(self, entry + 4);
    self->seen_used++;
    return TRUE;
}

void hm_ring_set_used_event(HmRing *self, guint16 n)
{
    store16(self, self->available + 4 + 2 * (guint64)self->size,
            (guint16)(self->seen_used + n - 1));
}

void hm_ring_set_no_interrupt(HmRing *self, gboolean none)
{
    store16(self, self->available, none ? 1 : 0);
}
