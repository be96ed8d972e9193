/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

/*
 * Is there something faster here than what we would take?  Real work is given
 * to both in turns, until each has had HM_ZERO_TRIAL_RUNS.  The best run of
 * each counts, for what disturbs a run makes it slower; and the second must be
 * faster by a tenth, for where both are equal the first one leaves the caches
 * alone.
 */
#define HM_ZERO_TRIAL_RUNS   8
#define HM_ZERO_TRIAL_MARGIN 1.1
/* Bytes that count as a run: more than the caches of a core hold back. */
#define HM_ZERO_TRIAL_LENGTH (G_GUINT64_CONSTANT(16) << 20)

typedef struct {
    guint runs[2];
    double best[2]; /* bytes per microsecond */
} HmZeroTrial;

/**
 * hm_zero_trial_add: a run of one of the two, 0 or 1, has ended.
 *
 * Returns: which one to take; -1: more runs are needed
 */
int hm_zero_trial_add(HmZeroTrial *self, guint which, gsize bytes,
                      gint64 microseconds);
