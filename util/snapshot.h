/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/image.h"

/**
 * HmSnapshot: memory is written to an image as it was at one moment, while
 * others go on writing to it.
 *
 *     new                                     what can be refused is
 *     arm         threads that write wait; the moment is when it returns
 *     run         until the image is complete, or something failed
 *     free
 *
 * New, arm, run and free by one thread at a time.
 */
typedef struct HmSnapshot HmSnapshot;

typedef struct {
    const HmBacking *backing; /* outlives the snapshot */
    guint8 *addr;             /* where all of it is mapped */
    guint64 size;             /* bytes, as its owner gave it */
    const char *path;         /* of the image */
    guint threads;            /* that write it, not 0 */
    guint64 max_bandwidth;    /* bytes a second; 0: no limit */
    HmProgress *progress;     /* bytes of memory that are saved */
    gsize unit;               /* bytes that are protected as one; 0: a good
                               * one */
} HmSnapshotOptions;

/**
 * Returns: NULL with the errors of hm_write_protect_init() and
 * hm_image_writer_new()
 */
HmSnapshot *hm_snapshot_new(const HmSnapshotOptions *options, GError **error);
/**
 * hm_snapshot_arm: hold up who writes from now on.
 * @ranges: offsets of what shall be saved; the rest counts as zeroes
 *
 * Returns: FALSE as hm_write_protect_arm(), or with %HOSTMEM_ERROR_LIMIT;
 * nobody waits then
 */
gboolean hm_snapshot_arm(HmSnapshot *self, const HmRangeList *ranges,
                         GError **error);
/**
 * hm_snapshot_run: save all of it, and complete the image.
 *
 * Whatever comes of it, nobody waits any more when it returns; after a failure
 * no image is left.
 *
 * Returns: FALSE with the errors of hm_image_writer_put(),
 * %HOSTMEM_ERROR_CHANGED (a page that cannot be read) or %G_IO_ERROR_CANCELLED
 */
gboolean hm_snapshot_run(HmSnapshot *self, GCancellable *cancellable,
                         GError **error);
/**
 * hm_snapshot_save: save ranges now, because their memory is about to go.
 *
 * Between arm and the end of run, any thread.  What cannot be saved is the end
 * of the snapshot, not of the caller.
 */
void hm_snapshot_save(HmSnapshot *self, const HmRangeList *ranges);
void hm_snapshot_free(HmSnapshot *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmSnapshot, hm_snapshot_free)

/** How it went for those who wrote. */
typedef struct {
    gsize unit;     /* bytes that are protected as one */
    guint64 faults; /* units that somebody wanted to write to before they were
                     * saved */
    guint64 stored; /* bytes in the image that are no holes */
    gint64 arm_us;  /* microseconds that it took to arm */
} HmSnapshotStats;

void hm_snapshot_get_stats(HmSnapshot *self, HmSnapshotStats *stats);
