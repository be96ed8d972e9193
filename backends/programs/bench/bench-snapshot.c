/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>
#include "bench-snapshot.h"

/*
 * Threads write to memory at full speed, page by page in no order, while it is
 * written to a file: by a snapshot, or by a loop of write(2) for which they
 * have to stop.  What counts is how long one of them waited at most, and how
 * much fewer pages they wrote meanwhile.  Both ways take turns.
 *
 * The wait of a stop ends when the last byte was given to the kernel; the file
 * is complete when it is on the disk, in both.
 */

#define WARM_UP_US (500 * 1000)
#define CHUNK      BENCH_MIB

static const BenchSnapshotMemory memories[] = {
    {"ram", FALSE},
    {"ram,thp=off", FALSE},
    {"memfd", FALSE},
    {"memfd,hugetlb=on", TRUE},
};

/* Of one run. */
typedef struct {
    const BenchOptions *options;
    HostmemBackend *backend;
    BenchWriters *writers;
    char *path;     /* of the file */
    guint64 before; /* pages a second, undisturbed */
    gint64 longest; /* nanoseconds */
} Run;

static guint threads_of(const BenchOptions *options)
{
    return g_array_index(options->threads, guint, 0);
}

/* The ways */

static gboolean take_ours(Run *run, GError **error)
{
    g_autoptr(HostmemJob) job =
        hostmem_backend_snapshot(run->backend, run->path, NULL, error);
    GError *why;

    if (!job) {
        return FALSE;
    }
    while (!hostmem_job_is_over(job)) {
        g_usleep(1000);
    }
    why = hostmem_job_get_error(job);
    if (why) {
        g_propagate_error(error, why);
    }
    return !why;
}

static gboolean copy_all(Run *run, int fd)
{
    const guint8 *addr = hostmem_backend_get_host_addr(run->backend);
    guint64 done = 0;

    while (done < run->options->size) {
        gssize n =
            write(fd, addr + done, MIN(CHUNK, run->options->size - done));

        if (n <= 0) {
            return FALSE;
        }
        done += (guint64)n;
    }
    return TRUE;
}

static gboolean take_stopped(Run *run, GError **error)
{
    int fd = open(run->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    gboolean ok;

    if (fd < 0) {
        return bench_set_errno(error, run->path, errno);
    }
    bench_writers_pause(run->writers);
    ok = copy_all(run, fd);
    bench_writers_resume(run->writers);
    ok = ok && fsync(fd) == 0;
    if (!ok) {
        bench_set_errno(error, run->path, errno);
    }
    close(fd);
    return ok;
}

/* Measuring */

static guint64 pages_a_second(guint64 pages, gint64 ns)
{
    return (guint64)((double)pages / (double)MAX(ns, 1) * BENCH_NS_PER_S);
}

static void warm_up(Run *run)
{
    const guint64 pages = bench_writers_count(run->writers);
    const gint64 began = bench_now();

    g_usleep(WARM_UP_US);
    run->before = pages_a_second(bench_writers_count(run->writers) - pages,
                                 bench_now() - began);
}

static void note(const Run *run, BenchSnapshotCell *cell, guint64 pages,
                 gint64 ns)
{
    const guint64 during = pages_a_second(pages, ns);

    bench_samples_add(&cell->longest, (double)run->longest);
    bench_samples_add(&cell->slowdown,
                      (double)run->before / (double)MAX(during, 1));
    bench_samples_add(&cell->taken, (double)ns);
    if (cell->way == BENCH_SNAPSHOT_OURS) {
        HostmemSnapshotReport report;

        hostmem_backend_get_snapshot_report(run->backend, &report);
        bench_samples_add(&cell->protect, (double)report.protect_us * 1000);
    }
}

static gboolean measure_way(Run *run, BenchSnapshotCell *cell, GError **error)
{
    guint64 pages;
    gint64 began;
    gboolean ok;

    warm_up(run);
    bench_writers_reset(run->writers);
    pages = bench_writers_count(run->writers);
    began = bench_now();
    ok = cell->way == BENCH_SNAPSHOT_OURS ? take_ours(run, error)
                                          : take_stopped(run, error);
    run->longest = bench_writers_longest(run->writers);
    if (ok) {
        note(run, cell, bench_writers_count(run->writers) - pages,
             bench_now() - began);
    }
    g_unlink(run->path);
    return ok;
}

/* (transfer full) (nullable) */
static HostmemBackend *make(const BenchOptions *options,
                            const BenchSnapshotMemory *memory, GError **error)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    g_autofree char *line = g_strdup_printf(
        "memory-backend-%s,id=m0,size=%" G_GUINT64_FORMAT ",prealloc=on",
        memory->line, options->size);
    HostmemObject *object = hostmem_registry_add(registry, line, NULL, error);

    return object ? g_object_ref(HOSTMEM_BACKEND(object)) : NULL;
}

static gboolean check_room(const BenchOptions *options,
                           const BenchSnapshotMemory *memory, GError **error)
{
    return (memory->pool ? bench_room_check_huge_pages(options->size, error)
                         : bench_room_check_memory(options->size, error)) &&
           bench_room_check_space(options->directory, options->size, error);
}

static gboolean measure_pair(Run *run, BenchSnapshotCell *cells[2],
                             GError **error)
{
    for (guint i = 0; i < 2; i++) {
        if (!cells[i]->skipped && !measure_way(run, cells[i], error)) {
            cells[i]->skipped = g_strdup((*error)->message);
            g_clear_error(error);
        }
    }
    return TRUE;
}

static void skip_both(BenchSnapshotCell *cells[2], const GError *error)
{
    for (guint i = 0; i < 2; i++) {
        cells[i]->skipped = g_strdup(error->message);
    }
}

static void measure(const BenchOptions *options, BenchSnapshotCell *cells[2])
{
    const BenchSnapshotMemory *memory = cells[0]->memory;
    g_autoptr(GError) error = NULL;
    g_autoptr(HostmemBackend) backend = check_room(options, memory, &error)
                                            ? make(options, memory, &error)
                                            : NULL;
    g_autoptr(BenchWriters) writers = NULL;
    Run run = {.options = options, .backend = backend};

    if (!backend) {
        skip_both(cells, error);
        return;
    }
    /* Zeroes are not saved. */
    memset(hostmem_backend_get_host_addr(backend), 1, options->size);
    writers = bench_writers_new(hostmem_backend_get_host_addr(backend),
                                options->size, threads_of(options));
    run.writers = writers;
    run.path = g_strdup_printf("%s/hostmem-bench-%d.image", options->directory,
                               getpid());
    for (guint i = 0; i < options->runs; i++) {
        measure_pair(&run, cells, &error);
    }
    g_free(run.path);
}

static void measure_qemu(const BenchOptions *options, BenchSnapshotCell *cell)
{
    g_autofree char *path = g_strdup_printf("%s/hostmem-bench-%d.image",
                                            options->directory, getpid());
    g_autoptr(GError) error = NULL;
    g_autoptr(BenchSnapshotQemu) qemu =
        check_room(options, cell->memory, &error)
            ? bench_snapshot_qemu_new(options, path, &error)
            : NULL;
    gboolean ok = qemu != NULL;

    for (guint i = 0; ok && i < options->runs; i++) {
        ok = bench_snapshot_qemu_take(qemu, cell, &error);
    }
    if (!ok) {
        cell->skipped = g_strdup(error->message);
    }
}

static void free_cell(gpointer data)
{
    BenchSnapshotCell *cell = data;

    g_free(cell->skipped);
    g_free(cell);
}

static void add_cell(GPtrArray *cells, const BenchSnapshotMemory *memory,
                     BenchSnapshotWay way)
{
    BenchSnapshotCell *cell = g_new0(BenchSnapshotCell, 1);

    cell->memory = memory;
    cell->way = way;
    g_ptr_array_add(cells, cell);
}

/* Pairs, and at the end QEMU's, which can protect private memory alone. */
static GPtrArray *list_cells(void)
{
    GPtrArray *cells = g_ptr_array_new_with_free_func(free_cell);

    for (guint i = 0; i < G_N_ELEMENTS(memories); i++) {
        add_cell(cells, &memories[i], BENCH_SNAPSHOT_OURS);
        add_cell(cells, &memories[i], BENCH_SNAPSHOT_STOP);
    }
    add_cell(cells, &memories[0], BENCH_SNAPSHOT_QEMU);
    return cells;
}

BenchReport *bench_snapshot_run(const BenchOptions *options)
{
    g_autoptr(GPtrArray) cells = list_cells();
    g_autoptr(BenchProgress) progress =
        bench_progress_new(options, 2 + cells->len / 2);

    bench_progress_step(progress, "warming up");
    bench_warm_up(options);
    for (guint i = 0; i + 1 < cells->len; i += 2) {
        BenchSnapshotCell *pair[] = {cells->pdata[i], cells->pdata[i + 1]};

        bench_progress_step(progress, "%s", pair[0]->memory->line);
        measure(options, pair);
    }
    bench_progress_step(progress, "QEMU");
    measure_qemu(options, cells->pdata[cells->len - 1]);
    return bench_snapshot_report(options, cells);
}
