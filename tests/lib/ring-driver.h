/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

/*
 * The driver's side of a split virtqueue, for tests.
 *
 * Shares no code with the device's side: it is written from virtio 1.2, 2.7
 * alone.  It keeps the rules, and has calls to break each of them.
 */

/** Flags of descriptors. */
enum {
    HM_RING_NEXT = 1,
    HM_RING_WRITE = 2,
    HM_RING_INDIRECT = 4,
};

/** A buffer of a chain; @address is guest physical. */
typedef struct {
    guint64 address;
    guint32 length;
    gboolean write; /* by the device */
} HmRingBuffer;

typedef struct {
    guint8 *ram;      /* where the guest's RAM is */
    guint64 ram_base; /* the guest physical address of that */
    guint16 size;
    gboolean event_idx;
    guint64 descriptors; /* guest physical */
    guint64 available;
    guint64 used;

    guint16 next_descriptor; /* to be used next, in turn */
    guint16 next_available;  /* published at the next call */
    guint16 published;
    guint16 seen_used;
} HmRing;

/** Lay the rings out one behind the other at guest address @at, a multiple of
 * 16, all zeroes.  They take at most 26 * size + 32 bytes. */
void hm_ring_init(HmRing *self, gpointer ram, guint64 ram_base, guint64 at,
                  guint16 size, gboolean event_idx);
/** First byte behind the rings, guest physical. */
guint64 hm_ring_end(const HmRing *self);

/** Where guest memory is. */
gpointer hm_ring_host(const HmRing *self, guint64 address);

/** Put a chain into the descriptor table and the ring; returns its head. */
guint16 hm_ring_add(HmRing *self, const HmRingBuffer *buffers, guint n);
/** The same in a table of its own at guest address @table. */
guint16 hm_ring_add_indirect(HmRing *self, const HmRingBuffer *buffers, guint n,
                             guint64 table);
/** Show the device what was added; returns whether it wants to be notified. */
gboolean hm_ring_publish(HmRing *self);

/** Take the next chain that the device gave back. */
gboolean hm_ring_get_used(HmRing *self, guint32 *head, guint32 *written);
/** Have an interrupt when @n more chains are used: 1 for the next. */
void hm_ring_set_used_event(HmRing *self, guint16 n);
/** Want no interrupt; without event index. */
void hm_ring_set_no_interrupt(HmRing *self, gboolean none);

/* What no driver does. */

void hm_ring_set_descriptor(HmRing *self, guint64 table, guint16 index,
                            guint64 address, guint32 length, guint16 flags,
                            guint16 next);
void hm_ring_set_head(HmRing *self, guint16 entry, guint16 head);
void hm_ring_set_idx(HmRing *self, guint16 idx);

/* What the device wrote. */

guint16 hm_ring_get_used_idx(const HmRing *self);
guint16 hm_ring_get_used_flags(const HmRing *self);
guint16 hm_ring_get_available_event(const HmRing *self);
