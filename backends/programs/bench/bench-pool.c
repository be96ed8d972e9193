/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "bench-pool.h"

/*
 * What a pool is worth: how fast what comes back is ready again, and how soon a
 * VM is there that takes its memory from one.
 *
 * Zeroing is measured from the outside: a backend that has written to all of
 * its segment is removed, and the clock stops when the segment is ready again.
 * So all that the pool does with it counts.  One thread zeroes; against it one
 * thread lets the kernel make as many fresh huge pages, in the faster of the
 * two ways in which that is done.
 *
 * As in the other comparisons the sides take turns, each does its work twice,
 * and the second time counts.
 */

#define PATTERN 0x5a

static const BenchPoolMemory memories[] = {
    {"memfd", "", FALSE},
    {"memfd,seal=off", ",seal=off", FALSE},
    {"memfd,hugetlb=on", ",hugetlb=on", TRUE},
};

/* The list */

static void free_cell(gpointer data)
{
    BenchPoolCell *cell = data;

    g_free(cell->skipped);
    g_free(cell);
}

static BenchPoolCell *add_cell(GPtrArray *cells, const BenchOptions *options,
                               const BenchPoolMemory *memory,
                               BenchPoolOpponent opponent)
{
    BenchPoolCell *cell = g_new0(BenchPoolCell, 1);

    cell->memory = memory;
    cell->opponent = opponent;
    cell->size = options->size;
    cell->threads = opponent == BENCH_POOL_ZERO
                        ? 1
                        : g_array_index(options->threads, guint, 0);
    g_ptr_array_add(cells, cell);
    return cell;
}

/* Takes @error; what was measured before is of no use. */
static void skip(BenchPoolCell *cell, const GError *error)
{
    cell->skipped = g_strdup(error->message);
}

/* Zeroing */

static gint64 zero_once(BenchPoolWorld *world, GError **error)
{
    gint64 start;

    if (!bench_pool_world_take(world, error)) {
        return -1;
    }
    memset(hostmem_backend_get_host_addr(world->backend), PATTERN, world->size);
    start = bench_now();
    return bench_pool_world_return(world, error) ? bench_now() - start : -1;
}

static gint64 run_kernel(const BenchPoolMemory *memory,
                         const BenchMethod *method, const BenchOptions *options,
                         GError **error)
{
    const BenchKind *kind = memory->huge_pages
                                ? bench_kind_find("memfd hugetlb")
                                : bench_kind_anonymous();

    return bench_measure(kind, method, memory->huge_pages, options->size, 1,
                         options, error);
}

/* A kernel may lack the second way. */
static gint64 fault_once(const BenchPoolMemory *memory,
                         const BenchOptions *options, GError **error)
{
    gint64 touch = run_kernel(memory, bench_method_write(), options, error);
    gint64 advise =
        touch < 0
            ? -1
            : run_kernel(memory, bench_method_populate_write(), options, NULL);

    return advise < 0 ? touch : MIN(touch, advise);
}

static gboolean measure_zero_pair(BenchPoolCell *cell, BenchPoolWorld *world,
                                  const BenchOptions *options, GError **error)
{
    gint64 ours = zero_once(world, error) < 0 ? -1 : zero_once(world, error);
    gint64 theirs = ours < 0 ? -1 : fault_once(cell->memory, options, error);

    theirs = theirs < 0 ? -1 : fault_once(cell->memory, options, error);
    if (theirs < 0) {
        return FALSE;
    }
    bench_samples_add(&cell->ours, ours);
    bench_samples_add(&cell->theirs, theirs);
    return TRUE;
}

static void measure_zero(BenchPoolCell *cell, BenchPoolWorld *world,
                         const BenchOptions *options)
{
    g_autoptr(GError) error = NULL;

    for (guint i = 0; i < options->runs; i++) {
        if (!measure_zero_pair(cell, world, options, &error)) {
            skip(cell, error);
            return;
        }
    }
}

/* Starting a VM */

static gboolean start_warm(BenchPoolStart start, BenchPoolWorld *world,
                           const BenchOptions *options, BenchSamples *samples,
                           GError **error)
{
    gint64 ns =
        start(world, options, error) < 0 ? -1 : start(world, options, error);

    if (ns >= 0) {
        bench_samples_add(samples, ns);
    }
    return ns >= 0;
}

/* All three in turns; both cells have the times of ours. */
static gboolean measure_round(BenchPoolCell *bare, BenchPoolCell *qemu,
                              BenchPoolWorld *world,
                              const BenchOptions *options, GError **error)
{
    if (!start_warm(bench_pool_start_bare, world, options, &bare->theirs,
                    error) ||
        !start_warm(bench_pool_start_ready, world, options, &bare->ours,
                    error) ||
        !start_warm(bench_pool_start_prealloc, world, options, &qemu->theirs,
                    error)) {
        return FALSE;
    }
    qemu->ours = bare->ours;
    return TRUE;
}

static void measure_starts(BenchPoolCell *bare, BenchPoolCell *qemu,
                           BenchPoolWorld *world, const BenchOptions *options)
{
    g_autoptr(GError) error = NULL;

    for (guint i = 0; i < options->runs; i++) {
        if (!measure_round(bare, qemu, world, options, &error)) {
            skip(bare, error);
            skip(qemu, error);
            return;
        }
    }
}

static void measure_memory(GPtrArray *cells, guint i,
                           const BenchOptions *options, BenchProgress *progress)
{
    const guint n = G_N_ELEMENTS(memories);
    BenchPoolCell *zero = cells->pdata[i];
    BenchPoolCell *bare = cells->pdata[n + i];
    BenchPoolCell *qemu = cells->pdata[2 * n + i];
    g_auto(BenchPoolWorld) world = {0};
    g_autoptr(GError) error = NULL;

    bench_progress_step(progress, "%s, zeroing", memories[i].name);
    if (!bench_pool_world_init(&world, options, &memories[i], &error)) {
        skip(zero, error);
        skip(bare, error);
        skip(qemu, error);
        bench_progress_step(progress, "%s, left out", memories[i].name);
        return;
    }
    measure_zero(zero, &world, options);
    bench_progress_step(progress, "%s, starting QEMU", memories[i].name);
    measure_starts(bare, qemu, &world, options);
}

BenchReport *bench_pool_run(const BenchOptions *options)
{
    const guint n = G_N_ELEMENTS(memories);
    g_autoptr(GPtrArray) cells = g_ptr_array_new_with_free_func(free_cell);
    g_autoptr(BenchProgress) progress = bench_progress_new(options, 1 + 2 * n);

    for (guint i = 0; i < 3 * n; i++) {
        add_cell(cells, options, &memories[i % n], i / n);
    }
    bench_progress_step(progress, "warming up");
    bench_warm_up(options);
    for (guint i = 0; i < n; i++) {
        measure_memory(cells, i, options, progress);
    }
    return bench_pool_report(options, cells);
}
