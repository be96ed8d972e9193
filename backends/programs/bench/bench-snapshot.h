/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "bench.h"

/*
 * What the parts of 'snapshot' tell each other: threads that write, what is
 * measured, and what bench-snapshot.c measures for bench-snapshot-report.c.
 */

/* Threads that write to memory at full speed: bench-writers.c */

typedef struct BenchWriters BenchWriters;

/** Each writes to the pages of its own part, one after the other in no order,
 * from now on. */
BenchWriters *bench_writers_new(guint8 *addr, gsize length, guint threads);
/** Ends them. */
void bench_writers_free(BenchWriters *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BenchWriters, bench_writers_free)
/** Pages that were written so far. */
guint64 bench_writers_count(BenchWriters *self);
/** Forget what the longest write was. */
void bench_writers_reset(BenchWriters *self);
/** Returns: nanoseconds of the longest write since then, also of one that is
 * not over */
gint64 bench_writers_longest(BenchWriters *self);
/** Nobody writes when this returns. */
void bench_writers_pause(BenchWriters *self);
void bench_writers_resume(BenchWriters *self);

/* What is measured: bench-snapshot.c */

typedef struct {
    const char *line; /* without "memory-backend-" */
    gboolean pool;    /* of huge pages */
} BenchSnapshotMemory;

typedef enum {
    BENCH_SNAPSHOT_OURS,
    BENCH_SNAPSHOT_STOP, /* all wait while the memory is written to a file */
    BENCH_SNAPSHOT_QEMU, /* background-snapshot of a guest of its own */
} BenchSnapshotWay;

typedef struct {
    const BenchSnapshotMemory *memory;
    BenchSnapshotWay way;
    BenchSamples longest;  /* nanoseconds that a writer waited */
    BenchSamples slowdown; /* pages a second before, over those during it */
    BenchSamples taken;    /* nanoseconds until the file is on the disk */
    BenchSamples protect;  /* nanoseconds until all was protected; or none */
    char *skipped;         /* (nullable): why there are no times */
} BenchSnapshotCell;

/* A QEMU with a guest that writes to its memory: bench-snapshot-qemu.c */

typedef struct BenchSnapshotQemu BenchSnapshotQemu;

/** @path: of the file that it writes */
BenchSnapshotQemu *bench_snapshot_qemu_new(const BenchOptions *options,
                                           const char *path, GError **error);
/** Kills it, and removes the file. */
void bench_snapshot_qemu_free(BenchSnapshotQemu *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BenchSnapshotQemu, bench_snapshot_qemu_free)
/** Take one, and add what it was like to @cell. */
gboolean bench_snapshot_qemu_take(BenchSnapshotQemu *self,
                                  BenchSnapshotCell *cell, GError **error);

/** (transfer full): @cells: (element-type BenchSnapshotCell) */
BenchReport *bench_snapshot_report(const BenchOptions *options,
                                   GPtrArray *cells);
