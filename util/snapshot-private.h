/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/snapshot.h"
#include "util/write-protect.h"

/*
 * Shared by snapshot.c, the life of one; snapshot-save.c, which saves a range;
 * snapshot-stream.c, which saves one after the other; and snapshot-faults.c,
 * which serves who waits.
 */

/** What becomes of a unit: SAVED means that it may be written to again. */
typedef enum {
    HM_UNIT_TO_SAVE,
    HM_UNIT_CLAIMED, /* some thread copies it */
    HM_UNIT_SAVED,
} HmUnitState;

struct HmSnapshot {
    HmSnapshotOptions options;
    HmWriteProtect protect;
    HmImageWriter *writer;
    gsize unit; /* bytes, a power of two, at least HM_IMAGE_BLOCK */
    gsize step; /* bytes that are copied in one go */
    gsize n_units;
    guint8 *states; /* atomic: HmUnitState of each */
    guint64 next;   /* atomic: where the next window starts, in units */
    gint64 started; /* hm_os_now(): what the bandwidth counts from */
    guint64 stored; /* atomic: bytes in the image */
    guint64 faults; /* atomic */
    gint64 arm_us;
    gboolean by_file;     /* read from the file what may not be there */
    HmRangeList *huge;    /* (nullable): that huge pages of a file mapped */
    gboolean only_mapped; /* what has no page table entry is zero */
    guint64 mark;         /* of hm_os_fault_mark(); 0: it is not told */
    GCancellable *cancellable; /* (nullable); of run */
    gint ended;                /* atomic: nothing more is saved */

    GPtrArray *servers; /* GThread: who serve those who wait */
    int stop[2];        /* a pipe: closed to end them */

    GMutex lock;    /* guards what follows */
    GCond changed;  /* any of it, or a unit's state */
    GQueue filled;  /* owned HmImageCopy: of units that somebody waited for */
    GQueue empty;   /* owned HmImageCopy */
    guint n_copies; /* in both, and on the way */
    guint max_copies;
    guint64 left;  /* units that are not written yet */
    GError *error; /* the first one */
};

/* snapshot-save.c */

/**
 * hm_snapshot_save_range: save what is left to save of a range, or until the
 * snapshot has ended.
 * @copy: to copy to
 * @at_once: without a look at the bandwidth; and wait for what others save
 */
void hm_snapshot_save_range(HmSnapshot *self, const HmRange *range,
                            HmImageCopy *copy, gboolean at_once);
/** Whether all pages that were mapped once can be told: there is no swap, or
 * the kernel tells what is there. */
gboolean hm_snapshot_sees_mapped(const HmSnapshot *self);
/** Whether this thread is the one that saves the unit. */
gboolean hm_snapshot_claim(HmSnapshot *self, gsize unit);
/**
 * hm_snapshot_copy: copy claimed units, at most a step, and let them be
 * written to.
 *
 * Returns: FALSE when the snapshot has ended
 */
gboolean hm_snapshot_copy(HmSnapshot *self, const HmRange *range,
                          HmImageCopy *copy);
/** Write such a copy. */
void hm_snapshot_write(HmSnapshot *self, const HmImageCopy *copy);
/** A claimed unit that is larger than a step: copy and write it. */
void hm_snapshot_save_large(HmSnapshot *self, gsize unit, HmImageCopy *copy);

/* snapshot-stream.c */

/** Save all of it, in order, until nothing is left. */
void hm_snapshot_stream(HmSnapshot *self, GCancellable *cancellable);
/**
 * hm_snapshot_pace: write what others have copied, then wait until there is
 * bandwidth for more.
 *
 * Returns: FALSE when the snapshot has ended
 */
gboolean hm_snapshot_pace(HmSnapshot *self);

/* snapshot-faults.c */

/** Start who serve those who wait; FALSE with %HOSTMEM_ERROR_LIMIT. */
gboolean hm_snapshot_serve(HmSnapshot *self, GError **error);
/** Wait for their end. */
void hm_snapshot_end_serving(HmSnapshot *self);

/* snapshot.c */

/** It has failed: nobody waits any more.  Takes @error; any thread. */
void hm_snapshot_fail(HmSnapshot *self, GError *error);

static inline gboolean hm_snapshot_has_ended(HmSnapshot *self)
{
    return g_atomic_int_get(&self->ended);
}

static inline HmUnitState hm_snapshot_state(HmSnapshot *self, gsize unit)
{
    return (HmUnitState)__atomic_load_n(&self->states[unit], __ATOMIC_ACQUIRE);
}

/** The bytes of units. */
static inline HmRange hm_snapshot_units(const HmSnapshot *self, gsize first,
                                        gsize n)
{
    const guint64 offset = (guint64)first * self->unit;
    const guint64 end =
        MIN(offset + (guint64)n * self->unit, self->options.backing->length);

    return (HmRange){offset, end - offset};
}
