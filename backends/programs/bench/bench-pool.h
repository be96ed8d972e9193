/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "bench.h"

/* What bench-pool.c measures, for bench-pool-report.c to tell. */

/** Memory that a pool has, and what QEMU makes of the same kind by itself. */
typedef struct {
    const char *name;
    const char *properties; /* of both, and of the pool; begins with ',' */
    gboolean huge_pages;    /* of the kernel's pool */
} BenchPoolMemory;

typedef enum {
    BENCH_POOL_ZERO, /* against fresh pages of the kernel, one CPU each */
    BENCH_POOL_BARE, /* against a QEMU without that memory */
    BENCH_POOL_QEMU, /* against a QEMU that makes the memory itself */
} BenchPoolOpponent;

typedef struct {
    const BenchPoolMemory *memory;
    BenchPoolOpponent opponent;
    guint64 size;
    guint threads;
    BenchSamples ours;
    BenchSamples theirs; /* of the same round at the same place */
    char *skipped;       /* (nullable): why there are no times */
} BenchPoolCell;

/* A pool that has one segment: bench-pool-world.c */

typedef struct {
    HostmemRegistry *registry;
    HostmemMemoryPool *pool;
    HostmemBackend *backend; /* (nullable): what has the segment */
    const BenchPoolMemory *memory;
    guint64 size;
    guint64 inode; /* of the segment */
} BenchPoolWorld;

gboolean bench_pool_world_init(BenchPoolWorld *self,
                               const BenchOptions *options,
                               const BenchPoolMemory *memory, GError **error);
void bench_pool_world_clear(BenchPoolWorld *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BenchPoolWorld, bench_pool_world_clear)

/** Take the segment. */
gboolean bench_pool_world_take(BenchPoolWorld *self, GError **error);
/** Give it back, and wait until it is ready again: the same one, not another
 * in its place. */
gboolean bench_pool_world_return(BenchPoolWorld *self, GError **error);

/* A QEMU until it answers QMP: bench-pool-qemu.c */

/**
 * Each: nanoseconds from the wish to have it until it has answered
 * qmp_capabilities; -1 with @error.  It is gone then.
 */
typedef gint64 (*BenchPoolStart)(BenchPoolWorld *world,
                                 const BenchOptions *options, GError **error);
gint64 bench_pool_start_ready(BenchPoolWorld *world,
                              const BenchOptions *options, GError **error);
gint64 bench_pool_start_bare(BenchPoolWorld *world, const BenchOptions *options,
                             GError **error);
gint64 bench_pool_start_prealloc(BenchPoolWorld *world,
                                 const BenchOptions *options, GError **error);

/** (transfer full): @cells: (element-type BenchPoolCell) */
BenchReport *bench_pool_report(const BenchOptions *options, GPtrArray *cells);
