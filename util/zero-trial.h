/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

/*
 * Which of two methods is faster here?  Real work is given to them in turns,
 * until each has had HM_ZERO_TRIAL_RUNS; the best run of each counts, for what
 * disturbs a run makes it slower.
 */
#define HM_ZERO_TRIAL_RUNS 4
/* Bytes that count as a run: more than the caches of a core hold back. */
#define HM_ZERO_TRIAL_LENGTH (G_GUINT64_CONSTANT(16) << 20)

typedef struct {
    guint runs[2];
    double best[2]; /* bytes per microsecond */
} HmZeroTrial;

/**
 * hm_zero_trial_add: a run of one of the two, 0 or 1, has ended.
 *
 * Returns: which is the faster one, the first when they are equal; -1: more
 * runs are needed
 */
int hm_zero_trial_add(HmZeroTrial *self, guint which, gsize bytes,
                      gint64 microseconds);
