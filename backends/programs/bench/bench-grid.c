/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "bench-grid.h"

/*
 * The grid of MADV_POPULATE's commit message (Linux 5.14): sizes, sharing,
 * kinds of memory, methods; and thread counts.  All cells are listed first,
 * then measured in the order of the list.
 *
 * They are measured in rounds, each cell once in a round, so that a host that
 * is slow for a while is not slow for one cell alone.  Without --full the list
 * has the usual methods, and no cell is measured again when time is up.
 */

#define TIME_LIMIT_NS (45 * BENCH_NS_PER_S)

char *bench_cell_memory(const BenchCell *self, const BenchOptions *options)
{
    if (self->kind) {
        return g_strdup(self->kind->name);
    }
    g_autofree char *name = bench_line_name(self->line, options);
    return g_strdup(name + strlen("memory-backend-"));
}

const char *bench_cell_method(const BenchCell *self)
{
    const char *method = self->method ? self->method->name : self->chosen;

    return method ? method : "";
}

gboolean bench_cell_is_writable(const BenchCell *self)
{
    return self->line ||
           (self->method && self->method->state == BENCH_WRITABLE);
}

double bench_cell_rate(const BenchCell *self)
{
    return self->times.n
               ? bench_rate(self->size, bench_samples_least(&self->times))
               : 0;
}

static void free_cell(gpointer data)
{
    BenchCell *cell = data;

    g_free(cell->skipped);
    g_free(cell);
}

/* The list */

static BenchCell *add_cell(GPtrArray *cells, BenchCell cell)
{
    BenchCell *copy = g_memdup2(&cell, sizeof(cell));

    g_ptr_array_add(cells, copy);
    return copy;
}

/* A method on a part of the grid, with each number of threads. */
static void add_method(GPtrArray *cells, const BenchOptions *options,
                       BenchCell part, const BenchMethod *method)
{
    part.method = method;
    if (part.size <= BENCH_SMALL_SIZE) {
        /* A thread would cost more than it saves. */
        part.threads = 1;
        add_cell(cells, part);
        return;
    }
    for (guint i = 0; i < options->threads->len; i++) {
        part.threads = g_array_index(options->threads, guint, i);
        add_cell(cells, part);
    }
}

static gboolean is_wanted(const BenchOptions *options,
                          const BenchMethod *method, const BenchCell *part)
{
    if (method->needs_file && (!part->shared || !part->kind->open)) {
        return FALSE;
    }
    return options->full || method->usual;
}

static void add_kind(GPtrArray *cells, const BenchOptions *options,
                     BenchCell part)
{
    g_auto(BenchMemory) memory = {.fd = -1};
    g_autoptr(GError) error = NULL;
    guint n;
    const BenchMethod *methods = bench_methods(&n);

    if (!bench_memory_init(&memory, part.kind, part.shared, part.size, options,
                           &error)) {
        add_cell(cells, part)->skipped = g_strdup(error->message);
        return;
    }
    for (guint i = 0; i < n; i++) {
        if (is_wanted(options, &methods[i], &part)) {
            add_method(cells, options, part, &methods[i]);
        }
    }
}

static void add_kinds(GPtrArray *cells, const BenchOptions *options,
                      guint64 size, gboolean shared)
{
    guint n;
    const BenchKind *kinds = bench_kinds(&n);

    for (guint i = 0; i < n; i++) {
        BenchCell part = {.kind = &kinds[i], .shared = shared, .size = size};
        if (shared || !kinds[i].shared_only) {
            add_kind(cells, options, part);
        }
    }
}

static void add_lines(GPtrArray *cells, const BenchOptions *options,
                      guint64 size)
{
    guint n;
    const BenchLine *lines = bench_lines(&n);

    for (guint i = 0; i < n; i++) {
        BenchCell part = {
            .line = &lines[i], .shared = lines[i].shared, .size = size};
        add_method(cells, options, part, NULL);
    }
}

static void add_memset(GPtrArray *cells, const BenchOptions *options,
                       guint64 size)
{
    BenchCell part = {.kind = bench_kind_anonymous(), .size = size};

    add_method(cells, options, part, bench_method_memset());
}

static GPtrArray *list_cells(const BenchOptions *options)
{
    GPtrArray *cells = g_ptr_array_new_with_free_func(free_cell);
    const guint64 sizes[] = {BENCH_SMALL_SIZE, options->size};

    for (guint i = 0; i < G_N_ELEMENTS(sizes); i++) {
        if (i && sizes[i] == sizes[0]) {
            break;
        }
        add_kinds(cells, options, sizes[i], FALSE);
        add_kinds(cells, options, sizes[i], TRUE);
        add_lines(cells, options, sizes[i]);
    }
    add_memset(cells, options, options->size);
    return cells;
}

/* Measuring */

static gint64 measure(BenchCell *cell, const BenchOptions *options,
                      GError **error)
{
    if (cell->line) {
        return bench_line_populate(cell->line, options, cell->size,
                                   cell->threads, &cell->chosen, error);
    }
    return bench_measure(cell->kind, cell->method, cell->shared, cell->size,
                         cell->threads, options, error);
}

static void measure_cell(BenchCell *cell, const BenchOptions *options)
{
    g_autoptr(GError) error = NULL;
    gint64 ns = measure(cell, options, &error);

    if (ns >= 0) {
        bench_samples_add(&cell->times, ns);
    } else if (!cell->times.n) {
        cell->skipped = g_strdup(error->message);
    }
}

static void announce(BenchProgress *progress, const BenchOptions *options,
                     const BenchCell *cell)
{
    g_autofree char *size = hostmem_size_to_string(cell->size);
    g_autofree char *memory = bench_cell_memory(cell, options);
    const char *method = cell->line ? "prealloc=on" : bench_cell_method(cell);

    bench_progress_step(progress, "%s %s, %s, %s, %u thread%s", size,
                        cell->shared ? "shared" : "private", memory, method,
                        cell->threads, cell->threads == 1 ? "" : "s");
}

static void measure_round(GPtrArray *cells, const BenchOptions *options,
                          BenchProgress *progress, gint64 deadline)
{
    for (guint i = 0; i < cells->len; i++) {
        BenchCell *cell = cells->pdata[i];
        announce(progress, options, cell);
        if (!cell->skipped && (!cell->times.n || bench_now() < deadline)) {
            measure_cell(cell, options);
        }
    }
}

BenchReport *bench_grid_run(const BenchOptions *options)
{
    g_autoptr(GPtrArray) cells = list_cells(options);
    g_autoptr(BenchProgress) progress =
        bench_progress_new(options, 1 + cells->len * options->runs);
    gint64 deadline = options->full ? G_MAXINT64 : bench_now() + TIME_LIMIT_NS;

    bench_progress_step(progress, "warming up");
    bench_warm_up(options);
    for (guint i = 0; i < options->runs; i++) {
        measure_round(cells, options, progress, deadline);
    }
    return bench_grid_report(options, cells);
}
