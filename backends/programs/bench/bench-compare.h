/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "bench.h"

/* What bench-compare.c measures, for bench-compare-report.c to tell. */

typedef enum {
    BENCH_AGAINST_QEMU,   /* whole processes */
    BENCH_AGAINST_KERNEL, /* populating alone, in this process */
} BenchOpponent;

/** Two ways to the same memory, measured in turns. */
typedef struct {
    BenchOpponent opponent;
    char *name;
    guint64 size;
    BenchSamples ours;
    BenchSamples theirs; /* of the same pair at the same place */
    char *skipped;       /* (nullable): why there are no times */
} BenchContest;

/** (transfer full): @contests: (element-type BenchContest) */
BenchReport *bench_compare_report(const BenchOptions *options,
                                  GPtrArray *contests);
