/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/prealloc-tune.h"

/**
 * Whose turn it is to work: a gate before each chunk, where a tuner parks
 * workers and lets them go on.  All functions but init and clear: any worker.
 */
typedef struct {
    GMutex lock; /* guards what follows */
    GCond moved;
    HmTuner tuner;
    guint joined;  /* workers that have */
    gboolean over; /* no turn will come any more */
} HmTurns;

/** @workers: that will join at most; not 0 */
void hm_turns_init(HmTurns *self, guint workers);
/** Returns: how many the tuner had work last */
guint hm_turns_clear(HmTurns *self);

/** Returns: the number of a new worker */
guint hm_turns_join(HmTurns *self);
/**
 * hm_turns_wait: wait for the turn of a worker; the first one never waits.
 *
 * Returns: FALSE when it is over
 */
gboolean hm_turns_wait(HmTurns *self, guint worker);
/** Whether hm_turns_wait() would not wait. */
gboolean hm_turns_is_next(HmTurns *self, guint worker);
/** A chunk is done, see hm_tuner_note(). */
void hm_turns_note(HmTurns *self, guint64 bytes, gint64 start_us,
                   gint64 end_us);
/** There is nothing more to do: those who wait need not. */
void hm_turns_end(HmTurns *self);
