/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench-snapshot.h"

static const BenchColumn columns[] = {
    {"memory", "memory", BENCH_COLUMN_TEXT},
    {"way", "way", BENCH_COLUMN_TEXT},
    {"size", NULL, BENCH_COLUMN_NUMBER},
    {"threads", NULL, BENCH_COLUMN_NUMBER},
    {"runs", NULL, BENCH_COLUMN_NUMBER},
    {"longest_least_ms", NULL, BENCH_COLUMN_NUMBER},
    {"longest_median_ms", "longest ms", BENCH_COLUMN_NUMBER},
    {"longest_most_ms", "worst ms", BENCH_COLUMN_NUMBER},
    {"slowdown_least", NULL, BENCH_COLUMN_NUMBER},
    {"slowdown_median", "slowdown", BENCH_COLUMN_NUMBER},
    {"slowdown_most", NULL, BENCH_COLUMN_NUMBER},
    {"protect_median_ms", "protect ms", BENCH_COLUMN_NUMBER},
    {"taken_least_ms", NULL, BENCH_COLUMN_NUMBER},
    {"taken_median_ms", "taken ms", BENCH_COLUMN_NUMBER},
    {"taken_most_ms", NULL, BENCH_COLUMN_NUMBER},
    {"gib_per_s", "GiB/s", BENCH_COLUMN_NUMBER},
};

static const char *const ways[] = {
    [BENCH_SNAPSHOT_OURS] = "snapshot",
    [BENCH_SNAPSHOT_STOP] = "stop and copy",
    [BENCH_SNAPSHOT_QEMU] = "QEMU",
};

static void set_times(BenchReport *report, BenchRecord *record,
                      const BenchOptions *options,
                      const BenchSnapshotCell *cell)
{
    static const char *const longest[] = {
        "longest_least_ms", "longest_median_ms", "longest_most_ms"};
    static const char *const slowdown[] = {"slowdown_least", "slowdown_median",
                                           "slowdown_most"};
    static const char *const taken[] = {"taken_least_ms", "taken_median_ms",
                                        "taken_most_ms"};

    bench_report_set_number(report, record, "runs", cell->taken.n, 0);
    bench_report_set_spread(report, record, longest, &cell->longest,
                            BENCH_NS_PER_MS, 2);
    bench_report_set_spread(report, record, slowdown, &cell->slowdown, 1, 2);
    bench_report_set_spread(report, record, taken, &cell->taken,
                            BENCH_NS_PER_MS, 0);
    bench_report_set_number(
        report, record, "gib_per_s",
        bench_rate(options->size, bench_samples_median(&cell->taken)), 2);
    if (cell->protect.n) {
        bench_report_set_number(
            report, record, "protect_median_ms",
            bench_samples_median(&cell->protect) / BENCH_NS_PER_MS, 2);
    }
}

static void add_record(BenchReport *report, const BenchOptions *options,
                       const BenchSnapshotCell *cell)
{
    BenchRecord *record = bench_report_add(report);

    bench_report_set(report, record, "memory", g_strdup(cell->memory->line));
    bench_report_set(report, record, "way", g_strdup(ways[cell->way]));
    bench_report_set(report, record, "size",
                     g_strdup_printf("%" G_GUINT64_FORMAT, options->size));
    bench_report_set_number(report, record, "threads",
                            cell->way == BENCH_SNAPSHOT_QEMU
                                ? 1
                                : g_array_index(options->threads, guint, 0),
                            0);
    if (cell->skipped) {
        record->skipped = g_strdup(cell->skipped);
    } else {
        set_times(report, record, options, cell);
    }
}

static void add_bar(BenchPanel *panel, const BenchOptions *options,
                    const BenchSnapshotCell *cell)
{
    BenchGroup *group = bench_panel_group(panel, cell->memory->line);
    BenchBar *bar = bench_group_add(
        group, ways[cell->way],
        bench_rate(options->size, bench_samples_median(&cell->taken)),
        cell->way == BENCH_SNAPSHOT_OURS ? BENCH_TONE_OURS : BENCH_TONE_PLAIN);

    bar->text = g_strdup_printf(
        "%.3g ms", bench_samples_median(&cell->longest) / BENCH_NS_PER_MS);
}

static void draw(BenchReport *report, const BenchOptions *options,
                 GPtrArray *cells)
{
    BenchPanel *panel = bench_report_add_panel(report, "to the disk");

    report->title = g_strdup("Snapshots");
    report->legend[BENCH_TONE_OURS] =
        "hostmem, and how long a writer waited at most";
    report->legend[BENCH_TONE_PLAIN] = "stop and copy; QEMU";
    for (guint i = 0; i < cells->len; i++) {
        const BenchSnapshotCell *cell = cells->pdata[i];

        if (!cell->skipped) {
            add_bar(panel, options, cell);
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
        g_strdup_printf(
            "Threads that write to pages in no order: %u; medians "
            "of the runs.  Longest and worst: how long one of them waited "
            "at most.  Slowdown: pages a second before, over those "
            "until the file is on the disk.",
            g_array_index(options->threads, guint, 0)));
    g_ptr_array_add(report->notes,
                    g_strdup_printf("Files go to %s.", options->directory));
}

BenchReport *bench_snapshot_report(const BenchOptions *options,
                                   GPtrArray *cells)
{
    BenchReport *report =
        bench_report_new("snapshot", columns, G_N_ELEMENTS(columns));

    add_facts(report, options);
    for (guint i = 0; i < cells->len; i++) {
        add_record(report, options, cells->pdata[i]);
    }
    draw(report, options, cells);
    return report;
}
