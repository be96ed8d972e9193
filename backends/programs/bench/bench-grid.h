/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "bench.h"

/* What bench-grid.c measures, for bench-grid-report.c to tell. */

#define BENCH_SMALL_SIZE (2 * BENCH_MIB)

/**
 * A cell of the grid: a method on a kind of memory, or an -object line, which
 * chooses for itself.
 */
typedef struct {
    const BenchKind *kind;     /* NULL: a line */
    const BenchMethod *method; /* NULL: a line, or all methods are skipped */
    const BenchLine *line;
    const char *chosen; /* how a line was populated, once it was */
    gboolean shared;
    guint64 size;
    guint threads;
    BenchSamples times;
    char *skipped; /* (nullable): why there are no times */
} BenchCell;

/** (transfer full): "memfd", "file,share=on in /dev/shm" */
char *bench_cell_memory(const BenchCell *self, const BenchOptions *options);
/** (transfer none): "POPULATE_WRITE"; "" when all are skipped. */
const char *bench_cell_method(const BenchCell *self);
/** Whether it leaves memory that can be written without a fault. */
gboolean bench_cell_is_writable(const BenchCell *self);
/** GiB/s of the best run; 0 when it was skipped. */
double bench_cell_rate(const BenchCell *self);

/** (transfer full): @cells: (element-type BenchCell) in the grid's order */
BenchReport *bench_grid_report(const BenchOptions *options, GPtrArray *cells);
