/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench-pool.h"

static const BenchColumn columns[] = {
    {"part", "", BENCH_COLUMN_HEADING},
    {"memory", "memory", BENCH_COLUMN_TEXT},
    {"against", NULL, BENCH_COLUMN_TEXT},
    {"size_mib", "MiB", BENCH_COLUMN_NUMBER},
    {"threads", NULL, BENCH_COLUMN_NUMBER},
    {"pairs", NULL, BENCH_COLUMN_NUMBER},
    {"our_best_ms", NULL, BENCH_COLUMN_NUMBER},
    {"our_median_ms", "ours ms", BENCH_COLUMN_NUMBER},
    {"our_worst_ms", NULL, BENCH_COLUMN_NUMBER},
    {"our_gib_per_s", "GiB/s", BENCH_COLUMN_NUMBER},
    {"their_best_ms", NULL, BENCH_COLUMN_NUMBER},
    {"their_median_ms", "theirs ms", BENCH_COLUMN_NUMBER},
    {"their_worst_ms", NULL, BENCH_COLUMN_NUMBER},
    {"their_gib_per_s", "GiB/s", BENCH_COLUMN_NUMBER},
    {"ratio_least", "least", BENCH_COLUMN_NUMBER},
    {"ratio_median", "ratio", BENCH_COLUMN_NUMBER},
    {"ratio_most", "most", BENCH_COLUMN_NUMBER},
    {"more_least_ms", "least", BENCH_COLUMN_NUMBER},
    {"more_median_ms", "more ms", BENCH_COLUMN_NUMBER},
    {"more_most_ms", "most", BENCH_COLUMN_NUMBER},
};

static const struct {
    const char *part;
    const char *against;
} opponents[] = {
    [BENCH_POOL_ZERO] = {"ready again, against fresh pages, one thread each",
                         "the kernel"},
    [BENCH_POOL_BARE] = {"QEMU answers QMP, against one without that memory",
                         "QEMU without the memory"},
    [BENCH_POOL_QEMU] = {"QEMU answers QMP, against one that makes the memory",
                         "QEMU's prealloc"},
};

static void set_rates(BenchReport *report, BenchRecord *record,
                      const BenchPoolCell *cell)
{
    bench_report_set_number(
        report, record, "our_gib_per_s",
        bench_rate(cell->size, bench_samples_median(&cell->ours)), 1);
    bench_report_set_number(
        report, record, "their_gib_per_s",
        bench_rate(cell->size, bench_samples_median(&cell->theirs)), 1);
}

static void set_times(BenchReport *report, BenchRecord *record,
                      const BenchPoolCell *cell)
{
    static const char *const more[] = {"more_least_ms", "more_median_ms",
                                       "more_most_ms"};
    BenchSamples differences =
        bench_samples_differences(&cell->ours, &cell->theirs);

    bench_report_set_pairs(report, record, &cell->ours, &cell->theirs, 3);
    if (cell->opponent == BENCH_POOL_ZERO) {
        set_rates(report, record, cell);
    }
    if (cell->opponent == BENCH_POOL_BARE) {
        bench_report_set_spread(report, record, more, &differences,
                                BENCH_NS_PER_MS, 1);
    }
}

static void add_record(BenchReport *report, const BenchPoolCell *cell)
{
    BenchRecord *record = bench_report_add(report);

    bench_report_set(report, record, "part",
                     g_strdup(opponents[cell->opponent].part));
    bench_report_set(report, record, "memory", g_strdup(cell->memory->name));
    bench_report_set(report, record, "against",
                     g_strdup(opponents[cell->opponent].against));
    bench_report_set_number(report, record, "size_mib",
                            (double)cell->size / BENCH_MIB, 0);
    bench_report_set_number(report, record, "threads", cell->threads, 0);
    if (cell->skipped) {
        record->skipped = g_strdup(cell->skipped);
    } else {
        set_times(report, record, cell);
    }
}

/* Bars */

static void add_bars(BenchPanel *panel, const BenchPoolCell *cell)
{
    BenchGroup *group = bench_panel_group(panel, cell->memory->name);
    BenchSamples ratios = bench_samples_ratios(&cell->theirs, &cell->ours);
    BenchBar *bar = bench_group_add(
        group, "hostmem",
        bench_rate(cell->size, bench_samples_median(&cell->ours)),
        BENCH_TONE_OURS);

    bar->text = g_strdup_printf("×%.3g", bench_samples_median(&ratios));
    bench_group_add(group, opponents[cell->opponent].against,
                    bench_rate(cell->size, bench_samples_median(&cell->theirs)),
                    BENCH_TONE_PLAIN);
}

/* A QEMU without memory has no rate. */
static void draw(BenchReport *report, GPtrArray *cells)
{
    BenchPanel *panels[] = {
        [BENCH_POOL_ZERO] = bench_report_add_panel(report, "ready again"),
        [BENCH_POOL_QEMU] =
            bench_report_add_panel(report, "a QEMU that answers QMP"),
    };

    report->title = g_strdup("memory pools");
    report->legend[BENCH_TONE_OURS] = "hostmem, and how many times as fast";
    report->legend[BENCH_TONE_PLAIN] = "the kernel; QEMU";
    for (guint i = 0; i < cells->len; i++) {
        const BenchPoolCell *cell = cells->pdata[i];
        if (!cell->skipped && panels[cell->opponent]) {
            add_bars(panels[cell->opponent], cell);
        }
    }
}

static void add_facts(BenchReport *report, const BenchOptions *options)
{
    report->facts = bench_facts(options);
    bench_facts_add(report->facts, "theirs",
                    bench_facts_version(options->qemu));
    bench_facts_add_limits(options, report->notes);
    g_ptr_array_add(
        report->notes,
        g_strdup_printf("Rounds in turns; medians; ratios are their time over "
                        "ours, \"more ms\" ours less theirs, round by round; "
                        "threads of QEMU's prealloc: %u.",
                        g_array_index(options->threads, guint, 0)));
    g_ptr_array_add(
        report->notes,
        g_strdup("A segment is ready again when all of it has been written to, "
                 "given back, checked and zeroed; the clock begins with giving "
                 "it back."));
}

BenchReport *bench_pool_report(const BenchOptions *options, GPtrArray *cells)
{
    BenchReport *report =
        bench_report_new("pool", columns, G_N_ELEMENTS(columns));

    add_facts(report, options);
    for (guint i = 0; i < cells->len; i++) {
        add_record(report, cells->pdata[i]);
    }
    draw(report, cells);
    return report;
}
