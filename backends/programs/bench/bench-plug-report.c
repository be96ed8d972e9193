/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench-plug.h"

static const BenchColumn columns[] = {
    {"part", "", BENCH_COLUMN_HEADING},
    {"memory", "memory", BENCH_COLUMN_TEXT},
    {"against", NULL, BENCH_COLUMN_TEXT},
    {"size", NULL, BENCH_COLUMN_NUMBER},
    {"requests", NULL, BENCH_COLUMN_NUMBER},
    {"threads", NULL, BENCH_COLUMN_NUMBER},
    {"pairs", NULL, BENCH_COLUMN_NUMBER},
    {"our_best_ms", NULL, BENCH_COLUMN_NUMBER},
    {"our_median_ms", "ours ms", BENCH_COLUMN_NUMBER},
    {"our_worst_ms", NULL, BENCH_COLUMN_NUMBER},
    {"our_gib_per_s", "GiB/s", BENCH_COLUMN_NUMBER},
    {"our_requests_per_s", "req/s", BENCH_COLUMN_NUMBER},
    {"their_best_ms", NULL, BENCH_COLUMN_NUMBER},
    {"their_median_ms", "theirs ms", BENCH_COLUMN_NUMBER},
    {"their_worst_ms", NULL, BENCH_COLUMN_NUMBER},
    {"their_gib_per_s", "GiB/s", BENCH_COLUMN_NUMBER},
    {"their_requests_per_s", NULL, BENCH_COLUMN_NUMBER},
    {"protocol_ms", "less ms", BENCH_COLUMN_NUMBER},
    {"ratio_least", NULL, BENCH_COLUMN_NUMBER},
    {"ratio_median", "ratio", BENCH_COLUMN_NUMBER},
    {"ratio_most", NULL, BENCH_COLUMN_NUMBER},
};

/* What is left of a time without the protocol's share is noise below this. */
#define LEAST_OF_PROTOCOL 0.2

static const char *const opponents[] = {
    [BENCH_PLUG_QEMU] = "QEMU",
    [BENCH_PLUG_BY_HAND] = "a call a block",
};

static const char *verb(const BenchOptions *options)
{
    return options->mode == BENCH_UNPLUG ? "unplug" : "plug";
}

/* Whether their time can be told from that of the protocol. */
static gboolean is_comparable(const BenchPlugCell *cell)
{
    return cell->theirs.n &&
           bench_samples_least(&cell->theirs) >
               LEAST_OF_PROTOCOL * bench_samples_least(&cell->protocol);
}

/* Two columns. */
static void set_rates(BenchReport *report, BenchRecord *record,
                      const BenchPlugCell *cell, const char *const keys[2],
                      const BenchSamples *samples)
{
    double ns = bench_samples_median(samples);

    bench_report_set_number(report, record, keys[0], bench_rate(cell->size, ns),
                            1);
    bench_report_set_number(report, record, keys[1],
                            cell->requests * (double)BENCH_NS_PER_S / ns, 0);
}

static void set_theirs(BenchReport *report, BenchRecord *record,
                       const BenchPlugCell *cell)
{
    static const char *const theirs[] = {"their_best_ms", "their_median_ms",
                                         "their_worst_ms"};
    static const char *const ratio[] = {"ratio_least", "ratio_median",
                                        "ratio_most"};
    static const char *const their_rates[] = {"their_gib_per_s",
                                              "their_requests_per_s"};

    bench_report_set_spread(report, record, theirs, &cell->theirs,
                            BENCH_NS_PER_MS, 3);
    if (cell->opponent == BENCH_PLUG_QEMU) {
        bench_report_set_number(
            report, record, "protocol_ms",
            bench_samples_median(&cell->protocol) / BENCH_NS_PER_MS, 3);
    }
    if (is_comparable(cell)) {
        BenchSamples ratios = bench_samples_ratios(&cell->theirs, &cell->ours);
        set_rates(report, record, cell, their_rates, &cell->theirs);
        bench_report_set_spread(report, record, ratio, &ratios, 1, 2);
    }
}

static void set_times(BenchReport *report, BenchRecord *record,
                      const BenchPlugCell *cell)
{
    static const char *const times[] = {"our_best_ms", "our_median_ms",
                                        "our_worst_ms"};
    static const char *const rates[] = {"our_gib_per_s", "our_requests_per_s"};

    bench_report_set_number(report, record, "pairs", cell->ours.n, 0);
    bench_report_set_spread(report, record, times, &cell->ours, BENCH_NS_PER_MS,
                            3);
    set_rates(report, record, cell, rates, &cell->ours);
    if (cell->theirs.n) {
        set_theirs(report, record, cell);
    }
}

static void add_record(BenchReport *report, const BenchOptions *options,
                       const BenchPlugCell *cell)
{
    BenchRecord *record = bench_report_add(report);

    bench_report_set(report, record, "part",
                     g_strdup_printf("%s, %s, prealloc=%s, against %s",
                                     verb(options), cell->work->name,
                                     cell->prealloc ? "on" : "off",
                                     opponents[cell->opponent]));
    bench_report_set(report, record, "memory", g_strdup(cell->memory->line));
    bench_report_set(report, record, "against",
                     g_strdup(opponents[cell->opponent]));
    bench_report_set(report, record, "size",
                     g_strdup_printf("%" G_GUINT64_FORMAT, cell->size));
    bench_report_set_number(report, record, "requests", cell->requests, 0);
    bench_report_set_number(report, record, "threads",
                            g_array_index(options->threads, guint, 0), 0);
    if (cell->skipped) {
        record->skipped = g_strdup(cell->skipped);
    } else {
        set_times(report, record, cell);
    }
}

/* Bars */

static void add_bars(BenchPanel *panel, const BenchPlugCell *cell)
{
    BenchGroup *group = bench_panel_group(panel, cell->work->name);
    BenchSamples ratios = bench_samples_ratios(&cell->theirs, &cell->ours);
    g_autofree char *theirs = g_strdup_printf("%s, %s", cell->memory->line,
                                              opponents[cell->opponent]);

    BenchBar *bar = bench_group_add(
        group, cell->memory->line,
        bench_rate(cell->size, bench_samples_median(&cell->ours)),
        BENCH_TONE_OURS);
    bar->text = g_strdup_printf("×%.3g", bench_samples_median(&ratios));
    bench_group_add(group, theirs,
                    bench_rate(cell->size, bench_samples_median(&cell->theirs)),
                    BENCH_TONE_PLAIN);
}

/* Plugging that populates nothing has no rate to speak of. */
static gboolean is_drawn(const BenchOptions *options, const BenchPlugCell *cell)
{
    return !cell->skipped && is_comparable(cell) &&
           (cell->prealloc || options->mode == BENCH_UNPLUG);
}

static void draw(BenchReport *report, const BenchOptions *options,
                 GPtrArray *cells)
{
    BenchPanel *panels[] = {
        bench_report_add_panel(report, "prealloc=off"),
        bench_report_add_panel(report, "prealloc=on"),
    };

    report->title = g_strdup_printf("virtio-mem: %s", verb(options));
    report->legend[BENCH_TONE_OURS] = "hostmem, and how many times as fast";
    report->legend[BENCH_TONE_PLAIN] = "QEMU; one call per block";
    for (guint i = 0; i < cells->len; i++) {
        const BenchPlugCell *cell = cells->pdata[i];
        if (is_drawn(options, cell)) {
            add_bars(panels[cell->prealloc], cell);
        }
    }
}

/* Once each. */
static void add_lonely(BenchReport *report, GPtrArray *cells)
{
    for (guint i = 0; i < cells->len; i++) {
        const BenchPlugCell *cell = cells->pdata[i];
        g_autofree char *note =
            g_strdup_printf("Without QEMU: %s.", cell->alone);
        if (cell->alone && !g_ptr_array_find_with_equal_func(
                               report->notes, note, g_str_equal, NULL)) {
            g_ptr_array_add(report->notes, g_steal_pointer(&note));
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
        g_strdup_printf("Pairs of runs in turns; medians; ratios are their "
                        "time over ours, pair by pair; our threads: %u.",
                        g_array_index(options->threads, guint, 0)));
    g_ptr_array_add(
        report->notes,
        g_strdup("QEMU's time goes from the notify of a full queue to the "
                 "answer, less what as many STATE requests take (\"less ms\"); "
                 "where nothing is left there is no ratio."));
}

BenchReport *bench_plug_report(const BenchOptions *options, GPtrArray *cells,
                               double fault_ns)
{
    BenchReport *report =
        bench_report_new(verb(options), columns, G_N_ELEMENTS(columns));

    add_facts(report, options);
    add_lonely(report, cells);
    if (fault_ns > 0) {
        bench_report_add_roof(report, "fault",
                              g_strdup("touching anonymous memory"),
                              bench_rate(options->size, fault_ns));
    }
    for (guint i = 0; i < cells->len; i++) {
        add_record(report, options, cells->pdata[i]);
    }
    draw(report, options, cells);
    return report;
}
