/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/prealloc-turns.h"
#include "util/prealloc.h"

typedef struct HmParts HmParts;

/** A region of a run, and how far its workers have come. */
typedef struct {
    HmParts *all; /* what it is one of */
    const HmPreallocRegion *region;
    const HmPreallocOptions *options;
    HmProgress own;       /* where the caller has none */
    HmProgress *progress; /* not NULL */
    guint threads;        /* workers that will run */
    gsize chunk_size;     /* bytes; the least, where they shrink */
    gboolean shrinks;     /* chunks do, from a part of a worker's share */
    gsize piece_size;     /* bytes */
    guint64 cursor;       /* atomic; bytes; start of the next chunk */
    gint64 ended;         /* atomic; hm_os_now() of the last piece */
    gint stop;            /* atomic */
    HmTurns turns;        /* whose turn it is, among workers that are tuned */
    /* Written by the first worker before the others begin. */
    guint64 allocated; /* bytes; end of what the whole steps allocated */
    gboolean backed;   /* all of it: no room is needed any more */

    GMutex room_lock;  /* held while the room function runs; outer */
    GMutex error_lock; /* guards what follows */
    GError *error;
    HmPreallocFailure failure;
} HmPart;

/** The regions of a run: one that fails stops the others. */
struct HmParts {
    GCancellable *cancellable; /* (nullable) */
    HmPart *parts;
    guint n;
};

/** @all has its members set. */
void hm_part_init(HmPart *self, HmParts *all, const HmPreallocRegion *region,
                  const HmPreallocOptions *options);
/** Returns: how many workers did it, in the end */
guint hm_part_clear(HmPart *self);

/** What its workers do: see HmWork. */
void hm_part_run_whole_steps(gpointer part);
void hm_part_run_chunks(gpointer part);

/** Keep the first error, and stop what it stops.  Takes @error. */
void hm_part_fail(HmPart *self, GError *error);
/** Whether its error is one that others are stopped for; once all is over. */
gboolean hm_part_has_failed(const HmPart *self);
/** All is done, also what needed no step. */
void hm_part_finish(HmPart *self);
