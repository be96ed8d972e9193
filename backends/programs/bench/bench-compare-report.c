/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench-compare.h"

static const BenchColumn columns[] = {
    {"against", "", BENCH_COLUMN_HEADING},
    {"line", "line", BENCH_COLUMN_TEXT},
    {"size_mib", "MiB", BENCH_COLUMN_NUMBER},
    {"threads", NULL, BENCH_COLUMN_NUMBER},
    {"pairs", NULL, BENCH_COLUMN_NUMBER},
    {"our_best_ms", NULL, BENCH_COLUMN_NUMBER},
    {"our_median_ms", "ours ms", BENCH_COLUMN_NUMBER},
    {"our_worst_ms", NULL, BENCH_COLUMN_NUMBER},
    {"their_best_ms", NULL, BENCH_COLUMN_NUMBER},
    {"their_median_ms", "theirs ms", BENCH_COLUMN_NUMBER},
    {"their_worst_ms", NULL, BENCH_COLUMN_NUMBER},
    {"ratio_least", "least", BENCH_COLUMN_NUMBER},
    {"ratio_median", "ratio", BENCH_COLUMN_NUMBER},
    {"ratio_most", "most", BENCH_COLUMN_NUMBER},
    {"ratio_of_bests", "of bests", BENCH_COLUMN_NUMBER},
};

static const char *const headings[] = {
    [BENCH_AGAINST_QEMU] = "hostmemd against QEMU, whole processes",
    [BENCH_AGAINST_KERNEL] = "hostmem against the kernel, populating alone",
};

static void set_times(BenchReport *report, BenchRecord *record,
                      const BenchContest *contest)
{
    bench_report_set_pairs(report, record, &contest->ours, &contest->theirs, 1);
    bench_report_set_number(report, record, "ratio_of_bests",
                            bench_samples_least(&contest->theirs) /
                                bench_samples_least(&contest->ours),
                            2);
}

static void add_record(BenchReport *report, const BenchOptions *options,
                       const BenchContest *contest)
{
    BenchRecord *record = bench_report_add(report);

    bench_report_set(report, record, "against",
                     g_strdup(headings[contest->opponent]));
    bench_report_set(report, record, "line", g_strdup(contest->name));
    if (contest->size) {
        bench_report_set_number(report, record, "size_mib",
                                (double)contest->size / BENCH_MIB, 0);
    }
    bench_report_set_number(report, record, "threads",
                            g_array_index(options->threads, guint, 0), 0);
    if (contest->skipped) {
        record->skipped = g_strdup(contest->skipped);
    } else {
        set_times(report, record, contest);
    }
}

/* Bars */

static void add_bars(BenchPanel *panel, const BenchContest *contest)
{
    gboolean qemu = contest->opponent == BENCH_AGAINST_QEMU;
    BenchGroup *group = bench_panel_group(panel, contest->name);
    BenchSamples ratios =
        bench_samples_ratios(&contest->theirs, &contest->ours);
    double ours = bench_samples_median(&contest->ours);
    double theirs = bench_samples_median(&contest->theirs);

    BenchBar *bar =
        bench_group_add(group, qemu ? "hostmemd" : "hostmem",
                        bench_rate(contest->size, ours), BENCH_TONE_OURS);
    bar->text = g_strdup_printf("×%.3g", bench_samples_median(&ratios));
    bench_group_add(group, qemu ? "QEMU" : "kernel",
                    bench_rate(contest->size, theirs), BENCH_TONE_PLAIN);
}

static void draw(BenchReport *report, GPtrArray *contests)
{
    BenchPanel *panels[] = {
        [BENCH_AGAINST_QEMU] =
            bench_report_add_panel(report, "whole processes"),
        [BENCH_AGAINST_KERNEL] =
            bench_report_add_panel(report, "populating alone"),
    };

    report->title = g_strdup("hostmem against QEMU and the kernel");
    report->legend[BENCH_TONE_OURS] = "hostmem, and how many times as fast";
    report->legend[BENCH_TONE_PLAIN] = "QEMU; the kernel by hand";
    for (guint i = 0; i < contests->len; i++) {
        const BenchContest *contest = contests->pdata[i];
        if (!contest->skipped && contest->size) {
            add_bars(panels[contest->opponent], contest);
        }
    }
}

/* The roof */

static void add_roof(BenchReport *report, GPtrArray *contests)
{
    const BenchContest *best = NULL;
    double best_rate = 0;

    for (guint i = 0; i < contests->len; i++) {
        const BenchContest *contest = contests->pdata[i];
        if (contest->opponent == BENCH_AGAINST_KERNEL && !contest->skipped) {
            double rate = bench_rate(contest->size,
                                     bench_samples_least(&contest->theirs));
            best = rate > best_rate ? contest : best;
            best_rate = MAX(rate, best_rate);
        }
    }
    if (best) {
        bench_report_add_roof(report, "fault",
                              g_strdup_printf("fastest fault (%s)", best->name),
                              best_rate);
    }
}

static void add_facts(BenchReport *report, const BenchOptions *options)
{
    report->facts = bench_facts(options);
    bench_facts_add(report->facts, "ours",
                    bench_facts_version(options->hostmemd));
    bench_facts_add(report->facts, "theirs",
                    bench_facts_version(options->qemu));
    bench_facts_add_limits(options, report->notes);
    g_ptr_array_add(
        report->notes,
        g_strdup_printf("Pairs of runs in turns; medians; ratios are their "
                        "time over ours, pair by pair; threads: %u.",
                        g_array_index(options->threads, guint, 0)));
}

BenchReport *bench_compare_report(const BenchOptions *options,
                                  GPtrArray *contests)
{
    BenchReport *report =
        bench_report_new("compare", columns, G_N_ELEMENTS(columns));

    add_facts(report, options);
    add_roof(report, contests);
    for (guint i = 0; i < contests->len; i++) {
        add_record(report, options, contests->pdata[i]);
    }
    draw(report, contests);
    return report;
}
