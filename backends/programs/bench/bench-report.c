/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench.h"

static void free_record(gpointer data)
{
    BenchRecord *record = data;

    g_strfreev(record->cells);
    g_free(record->skipped);
    g_free(record);
}

static void free_roof(gpointer data)
{
    BenchRoof *roof = data;

    g_free(roof->label);
    g_free(roof);
}

static void free_bar(gpointer data)
{
    BenchBar *bar = data;

    g_free(bar->label);
    g_free(bar->text);
    g_free(bar);
}

static void free_group(gpointer data)
{
    BenchGroup *group = data;

    g_free(group->title);
    g_ptr_array_unref(group->bars);
    g_free(group);
}

static void free_panel(gpointer data)
{
    BenchPanel *panel = data;

    g_ptr_array_unref(panel->groups);
    g_free(panel);
}

BenchReport *bench_report_new(const char *mode, const BenchColumn *columns,
                              guint n_columns)
{
    BenchReport *self = g_new0(BenchReport, 1);

    self->mode = mode;
    self->columns = columns;
    self->n_columns = n_columns;
    self->notes = g_ptr_array_new_with_free_func(g_free);
    self->roofs = g_ptr_array_new_with_free_func(free_roof);
    self->records = g_ptr_array_new_with_free_func(free_record);
    self->panels = g_ptr_array_new_with_free_func(free_panel);
    return self;
}

void bench_report_free(BenchReport *self)
{
    g_free(self->title);
    g_free(self->mark_legend);
    g_clear_pointer(&self->facts, g_ptr_array_unref);
    g_ptr_array_unref(self->notes);
    g_ptr_array_unref(self->roofs);
    g_ptr_array_unref(self->records);
    g_ptr_array_unref(self->panels);
    g_free(self);
}

BenchRecord *bench_report_add(BenchReport *self)
{
    BenchRecord *record = g_new0(BenchRecord, 1);

    record->cells = g_new0(char *, self->n_columns + 1);
    for (guint i = 0; i < self->n_columns; i++) {
        record->cells[i] = g_strdup("");
    }
    g_ptr_array_add(self->records, record);
    return record;
}

void bench_report_set(BenchReport *self, BenchRecord *record, const char *key,
                      char *value)
{
    for (guint i = 0; i < self->n_columns; i++) {
        if (g_str_equal(self->columns[i].key, key)) {
            g_free(record->cells[i]);
            record->cells[i] = value;
            return;
        }
    }
    g_assert_not_reached();
}

void bench_report_set_number(BenchReport *self, BenchRecord *record,
                             const char *key, double value, guint decimals)
{
    bench_report_set(self, record, key,
                     g_strdup_printf("%.*f", (int)decimals, value));
}

void bench_report_set_spread(BenchReport *self, BenchRecord *record,
                             const char *const keys[3],
                             const BenchSamples *samples, double unit,
                             guint decimals)
{
    bench_report_set_number(self, record, keys[0],
                            bench_samples_least(samples) / unit, decimals);
    bench_report_set_number(self, record, keys[1],
                            bench_samples_median(samples) / unit, decimals);
    bench_report_set_number(self, record, keys[2],
                            bench_samples_most(samples) / unit, decimals);
}

void bench_report_set_pairs(BenchReport *self, BenchRecord *record,
                            const BenchSamples *ours,
                            const BenchSamples *theirs, guint decimals)
{
    static const char *const our_keys[] = {"our_best_ms", "our_median_ms",
                                           "our_worst_ms"};
    static const char *const their_keys[] = {"their_best_ms", "their_median_ms",
                                             "their_worst_ms"};
    static const char *const ratio_keys[] = {"ratio_least", "ratio_median",
                                             "ratio_most"};
    BenchSamples ratios = bench_samples_ratios(theirs, ours);

    bench_report_set_number(self, record, "pairs", ours->n, 0);
    bench_report_set_spread(self, record, our_keys, ours, BENCH_NS_PER_MS,
                            decimals);
    bench_report_set_spread(self, record, their_keys, theirs, BENCH_NS_PER_MS,
                            decimals);
    bench_report_set_spread(self, record, ratio_keys, &ratios, 1, 2);
}

void bench_report_add_roof(BenchReport *self, const char *key, char *label,
                           double rate)
{
    BenchRoof *roof = g_new(BenchRoof, 1);

    *roof = (BenchRoof){key, label, rate};
    g_ptr_array_add(self->roofs, roof);
}

BenchPanel *bench_report_add_panel(BenchReport *self, const char *title)
{
    BenchPanel *panel = g_new(BenchPanel, 1);

    panel->title = title;
    panel->groups = g_ptr_array_new_with_free_func(free_group);
    g_ptr_array_add(self->panels, panel);
    return panel;
}

BenchGroup *bench_panel_group(BenchPanel *self, const char *title)
{
    for (guint i = 0; i < self->groups->len; i++) {
        BenchGroup *group = self->groups->pdata[i];
        if (g_str_equal(group->title, title)) {
            return group;
        }
    }
    BenchGroup *group = g_new(BenchGroup, 1);
    group->title = g_strdup(title);
    group->bars = g_ptr_array_new_with_free_func(free_bar);
    g_ptr_array_add(self->groups, group);
    return group;
}

BenchBar *bench_group_add(BenchGroup *self, const char *label, double rate,
                          BenchTone tone)
{
    BenchBar *bar = g_new0(BenchBar, 1);

    bar->label = g_strdup(label);
    bar->rate = rate;
    bar->tone = tone;
    g_ptr_array_add(self->bars, bar);
    return bar;
}
