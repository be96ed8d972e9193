/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

/** Fewer workers than this are not worth parking. */
#define HM_TUNER_MIN_WORKERS 4

/** Finds out, while they work, how many workers are enough; pure. */
typedef struct {
    guint active;      /* workers that shall work now */
    guint before;      /* the last try; to go back to */
    gboolean settled;  /* for good */
    gint64 clean_from; /* microseconds; what began before does not count */
    double best_rate;  /* bytes a microsecond, of all workers together */
    /* chunks measured since @clean_from */
    guint chunks;
    guint64 bytes;
    gint64 busy_us;
} HmTuner;

/** @workers: there are, and all work at first; not 0 */
void hm_tuner_init(HmTuner *self, guint workers);
/**
 * hm_tuner_note: a worker has done a chunk.
 * @bytes: of the chunk, not 0
 * @start_us: when it began it, microseconds
 * @end_us: now
 *
 * Returns: how many workers shall work from now, at least 1
 */
guint hm_tuner_note(HmTuner *self, guint64 bytes, gint64 start_us,
                    gint64 end_us);
