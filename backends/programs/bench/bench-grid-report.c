/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench-grid.h"

static const BenchColumn columns[] = {
    {"part", "", BENCH_COLUMN_HEADING},
    {"size", NULL, BENCH_COLUMN_NUMBER},
    {"sharing", NULL, BENCH_COLUMN_TEXT},
    {"memory", "memory", BENCH_COLUMN_TEXT},
    {"method", "method", BENCH_COLUMN_TEXT},
    {"reaches", "reaches", BENCH_COLUMN_TEXT},
    {"threads", "threads", BENCH_COLUMN_NUMBER},
    {"runs", NULL, BENCH_COLUMN_NUMBER},
    {"best_ms", "best ms", BENCH_COLUMN_NUMBER},
    {"median_ms", "median ms", BENCH_COLUMN_NUMBER},
    {"gib_per_s", "GiB/s", BENCH_COLUMN_NUMBER},
    {"fault_percent", "% of fault", BENCH_COLUMN_NUMBER},
    {"memset_percent", "% of memset", BENCH_COLUMN_NUMBER},
};

typedef struct {
    const BenchOptions *options;
    GPtrArray *cells;
    BenchReport *report;
    const BenchCell *memset_roof; /* (nullable): the fastest */
    const BenchCell *fault_roof;  /* (nullable): the fastest */
} Teller;

static gboolean is_memset(const BenchCell *cell)
{
    return cell->method == bench_method_memset();
}

static gboolean is_large(const Teller *self, const BenchCell *cell)
{
    return cell->size == self->options->size;
}

/* Roofs */

static gboolean is_fault(const BenchCell *cell)
{
    return !cell->line && bench_cell_is_writable(cell);
}

static const BenchCell *faster(const BenchCell *a, const BenchCell *b)
{
    return !a || bench_cell_rate(b) > bench_cell_rate(a) ? b : a;
}

static void find_roofs(Teller *self)
{
    for (guint i = 0; i < self->cells->len; i++) {
        const BenchCell *cell = self->cells->pdata[i];
        if (cell->skipped || !is_large(self, cell)) {
            continue;
        }
        if (is_memset(cell)) {
            self->memset_roof = faster(self->memset_roof, cell);
        } else if (is_fault(cell)) {
            self->fault_roof = faster(self->fault_roof, cell);
        }
    }
}

static void add_roof(Teller *self, const char *key, const char *what,
                     const BenchCell *cell)
{
    if (cell) {
        g_autofree char *memory = bench_cell_memory(cell, self->options);
        char *label = g_strdup_printf("%s (%s, %s, %u thread%s)", what, memory,
                                      bench_cell_method(cell), cell->threads,
                                      cell->threads == 1 ? "" : "s");
        bench_report_add_roof(self->report, key, label, bench_cell_rate(cell));
    }
}

/* Records */

static char *name_part(const BenchCell *cell)
{
    g_autofree char *size = hostmem_size_to_string(cell->size);

    return g_strdup_printf("%s, %s", size,
                           cell->line        ? "chosen by hostmem"
                           : is_memset(cell) ? "populated before"
                           : cell->shared    ? "shared"
                                             : "private");
}

static const char *name_state(const BenchCell *cell)
{
    if (cell->line) {
        return bench_state_name(BENCH_WRITABLE);
    }
    return cell->method ? bench_state_name(cell->method->state) : "";
}

static void set(Teller *self, BenchRecord *record, const char *key,
                const char *value)
{
    bench_report_set(self->report, record, key, g_strdup(value));
}

static void set_share(Teller *self, BenchRecord *record, const char *key,
                      const BenchCell *cell, const BenchCell *roof)
{
    if (roof && is_large(self, cell)) {
        bench_report_set_number(
            self->report, record, key,
            100 * bench_cell_rate(cell) / bench_cell_rate(roof), 1);
    }
}

static void set_times(Teller *self, BenchRecord *record, const BenchCell *cell)
{
    BenchReport *report = self->report;

    bench_report_set_number(report, record, "threads", cell->threads, 0);
    bench_report_set_number(report, record, "runs", cell->times.n, 0);
    bench_report_set_number(report, record, "best_ms",
                            bench_samples_least(&cell->times) / BENCH_NS_PER_MS,
                            3);
    bench_report_set_number(
        report, record, "median_ms",
        bench_samples_median(&cell->times) / BENCH_NS_PER_MS, 3);
    bench_report_set_number(report, record, "gib_per_s", bench_cell_rate(cell),
                            2);
    set_share(self, record, "fault_percent", cell, self->fault_roof);
    set_share(self, record, "memset_percent", cell, self->memset_roof);
}

static void add_record(Teller *self, const BenchCell *cell)
{
    BenchRecord *record = bench_report_add(self->report);

    bench_report_set(self->report, record, "part", name_part(cell));
    bench_report_set_number(self->report, record, "size", cell->size, 0);
    set(self, record, "sharing", cell->shared ? "shared" : "private");
    bench_report_set(self->report, record, "memory",
                     bench_cell_memory(cell, self->options));
    set(self, record, "method", bench_cell_method(cell));
    set(self, record, "reaches", name_state(cell));
    if (cell->skipped) {
        record->skipped = g_strdup(cell->skipped);
    } else {
        set_times(self, record, cell);
    }
}

/* Bars: one for each method, long for the last number of threads, with a dot
 * for the first. */

static BenchTone tone_of(const BenchCell *cell)
{
    if (cell->line) {
        return BENCH_TONE_OURS;
    }
    switch (cell->method->state) {
    case BENCH_BACKED:
        return BENCH_TONE_PALE;
    case BENCH_READABLE:
        return BENCH_TONE_LIGHT;
    default:
        return BENCH_TONE_PLAIN;
    }
}

static BenchBar *find_bar(BenchGroup *group, const char *label)
{
    BenchBar *last =
        group->bars->len ? group->bars->pdata[group->bars->len - 1] : NULL;

    return last && g_str_equal(last->label, label) ? last : NULL;
}

static void add_bar(Teller *self, BenchPanel *panel, const BenchCell *cell)
{
    g_autofree char *memory = bench_cell_memory(cell, self->options);
    const char *title = cell->line ? "chosen by hostmem" : memory;
    const char *label = cell->line ? memory : bench_cell_method(cell);
    BenchGroup *group = bench_panel_group(panel, title);
    BenchBar *bar = find_bar(group, label);

    if (!bar) {
        bar = bench_group_add(group, label, 0, tone_of(cell));
        bar->mark = bench_cell_rate(cell);
    }
    bar->rate = bench_cell_rate(cell);
}

static void add_bars(Teller *self, BenchPanel *panel, gboolean shared,
                     gboolean ours)
{
    for (guint i = 0; i < self->cells->len; i++) {
        const BenchCell *cell = self->cells->pdata[i];
        if (cell->shared == shared && (cell->line != NULL) == ours &&
            !cell->skipped && !is_memset(cell) && is_large(self, cell)) {
            add_bar(self, panel, cell);
        }
    }
}

static void add_panel(Teller *self, const char *title, gboolean shared)
{
    BenchPanel *panel = bench_report_add_panel(self->report, title);

    add_bars(self, panel, shared, TRUE);
    add_bars(self, panel, shared, FALSE);
}

static void describe_marks(Teller *self)
{
    GArray *threads = self->options->threads;
    guint first = g_array_index(threads, guint, 0);
    guint last = g_array_index(threads, guint, threads->len - 1);

    if (threads->len > 1) {
        self->report->mark_legend =
            g_strdup_printf("with %u thread%s; bar and number: with %u", first,
                            first == 1 ? "" : "s", last);
    }
}

static void draw(Teller *self)
{
    g_autofree char *size = hostmem_size_to_string(self->options->size);

    self->report->title = g_strdup_printf("Populating %s", size);
    self->report->legend[BENCH_TONE_OURS] = "chosen by hostmem";
    self->report->legend[BENCH_TONE_PLAIN] = "writable without a fault";
    self->report->legend[BENCH_TONE_LIGHT] = "readable without a fault";
    self->report->legend[BENCH_TONE_PALE] = "backed by storage";
    describe_marks(self);
    add_panel(self, "private", FALSE);
    add_panel(self, "shared", TRUE);
}

static void add_notes(Teller *self)
{
    const BenchOptions *options = self->options;

    bench_facts_add_limits(options, self->report->notes);
    if (!options->full) {
        g_ptr_array_add(self->report->notes,
                        g_strdup("Usual methods, few runs: --full measures "
                                 "everything."));
    }
}

BenchReport *bench_grid_report(const BenchOptions *options, GPtrArray *cells)
{
    Teller self = {options, cells,
                   bench_report_new("grid", columns, G_N_ELEMENTS(columns)),
                   NULL, NULL};

    self.report->facts = bench_facts(options);
    add_notes(&self);
    find_roofs(&self);
    add_roof(&self, "memset", "memset over populated memory", self.memset_roof);
    add_roof(&self, "fault", "fastest fault", self.fault_roof);
    for (guint i = 0; i < cells->len; i++) {
        add_record(&self, cells->pdata[i]);
    }
    draw(&self);
    return self.report;
}
