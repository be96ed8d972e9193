/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "bench.h"

#define WIDTH     79
#define FACT_KEYS 13

/* Breaks lines between words; the first line begins after @column. */
static void append_wrapped(GString *text, const char *prose, guint column,
                           guint indent)
{
    g_auto(GStrv) words = g_strsplit(prose, " ", -1);

    for (char **word = words; *word; word++) {
        guint length = g_utf8_strlen(*word, -1);
        gboolean first = word == words;
        if (!first && column + 1 + length > WIDTH) {
            g_string_append_printf(text, "\n%*s", (int)indent, "");
            column = indent;
            first = TRUE;
        }
        g_string_append_printf(text, "%s%s", first ? "" : " ", *word);
        column += length + !first;
    }
    g_string_append_c(text, '\n');
}

static void append_facts(GString *text, const BenchReport *report)
{
    for (guint i = 0; i < report->facts->len; i++) {
        const BenchFact *fact = report->facts->pdata[i];
        g_autofree char *key = g_strdelimit(g_strdup(fact->key), "_", ' ');
        g_string_append_printf(text, "%-*s", FACT_KEYS, key);
        append_wrapped(text, fact->value, FACT_KEYS, FACT_KEYS);
    }
    for (guint i = 0; i < report->notes->len; i++) {
        g_string_append(text, i ? "" : "\n");
        append_wrapped(text, report->notes->pdata[i], 0, 0);
    }
}

static void append_roofs(GString *text, const BenchReport *report)
{
    for (guint i = 0; i < report->roofs->len; i++) {
        const BenchRoof *roof = report->roofs->pdata[i];
        g_string_append_printf(text, "%sroof  %6.1f GiB/s  %s\n", i ? "" : "\n",
                               roof->rate, roof->label);
    }
}

/* Tables: records that follow each other under one heading */

static const char *heading_of(const BenchReport *report,
                              const BenchRecord *record)
{
    for (guint i = 0; i < report->n_columns; i++) {
        if (report->columns[i].type == BENCH_COLUMN_HEADING) {
            return record->cells[i];
        }
    }
    return "";
}

/* Of a width of 0 a column is not shown. */
static int width_of(const BenchColumn *column, guint index, GPtrArray *records)
{
    int width = 0;

    if (!column->title || column->type == BENCH_COLUMN_HEADING) {
        return 0;
    }
    for (guint i = 0; i < records->len; i++) {
        const BenchRecord *record = records->pdata[i];
        width = MAX(width, (int)strlen(record->cells[index]));
    }
    return width ? MAX(width, (int)strlen(column->title)) : 0;
}

static void append_cell(GString *line, BenchColumnType type, int width,
                        const char *value)
{
    if (width) {
        g_string_append_printf(line, "%s%*s", line->len ? "  " : "",
                               type == BENCH_COLUMN_NUMBER ? width : -width,
                               value);
    }
}

static void append_line(GString *text, GString *line)
{
    g_string_append_printf(text, "%s\n", g_strchomp(line->str));
    g_string_truncate(line, 0);
}

static void append_table(GString *text, const BenchReport *report,
                         GPtrArray *records)
{
    g_autofree int *widths = g_new0(int, report->n_columns);
    GString *line = g_string_new(NULL);

    for (guint i = 0; i < report->n_columns; i++) {
        const BenchColumn *column = &report->columns[i];
        widths[i] = width_of(column, i, records);
        append_cell(line, column->type, widths[i], column->title);
    }
    append_line(text, line);
    for (guint j = 0; j < records->len; j++) {
        const BenchRecord *record = records->pdata[j];
        for (guint i = 0; i < report->n_columns; i++) {
            append_cell(line, report->columns[i].type, widths[i],
                        record->cells[i]);
        }
        append_line(text, line);
    }
    g_string_free(line, TRUE);
}

static void append_tables(GString *text, const BenchReport *report)
{
    g_autoptr(GPtrArray) table = g_ptr_array_new();
    const char *heading = NULL;

    for (guint i = 0; i <= report->records->len; i++) {
        const BenchRecord *record =
            i < report->records->len ? report->records->pdata[i] : NULL;
        if (record && record->skipped) {
            continue;
        }
        const char *next = record ? heading_of(report, record) : NULL;
        if (table->len && g_strcmp0(next, heading) != 0) {
            g_string_append_printf(text, "\n%s%s", heading,
                                   heading[0] ? "\n\n" : "");
            append_table(text, report, table);
            g_ptr_array_set_size(table, 0);
        }
        heading = next;
        g_ptr_array_add(table, (gpointer)record);
    }
}

/* What could not be measured, by the reason */

/* "2 MiB, shared: memfd" */
static char *name_record(const BenchReport *report, const BenchRecord *record)
{
    GString *name = g_string_new(NULL);

    for (guint i = 0; i < report->n_columns; i++) {
        const BenchColumn *column = &report->columns[i];
        if (column->title && column->type != BENCH_COLUMN_NUMBER &&
            record->cells[i][0]) {
            g_string_append_printf(name, "%s%s", record->cells[i],
                                   column->type == BENCH_COLUMN_HEADING ? ": "
                                                                        : " ");
        }
    }
    g_strchomp(name->str);
    return g_string_free(name, FALSE);
}

/* Whose reason is that of @first: "memfd; tmpfs", and no name twice running. */
static char *name_records(const BenchReport *report, guint first)
{
    const BenchRecord *reason = report->records->pdata[first];
    g_autofree char *last = NULL;
    GString *names = g_string_new(NULL);

    for (guint i = first; i < report->records->len; i++) {
        const BenchRecord *record = report->records->pdata[i];
        if (g_strcmp0(record->skipped, reason->skipped) != 0) {
            continue;
        }
        g_autofree char *name = name_record(report, record);
        if (g_strcmp0(name, last) != 0) {
            g_string_append_printf(names, "%s%s", last ? "; " : "", name);
        }
        g_free(last);
        last = g_steal_pointer(&name);
    }
    return g_string_free(names, FALSE);
}

static gboolean is_new_reason(const BenchReport *report, guint index)
{
    const BenchRecord *record = report->records->pdata[index];

    for (guint i = 0; i < index; i++) {
        const BenchRecord *earlier = report->records->pdata[i];
        if (g_strcmp0(earlier->skipped, record->skipped) == 0) {
            return FALSE;
        }
    }
    return record->skipped != NULL;
}

static void append_skipped(GString *text, const BenchReport *report)
{
    gboolean any = FALSE;

    for (guint i = 0; i < report->records->len; i++) {
        const BenchRecord *record = report->records->pdata[i];
        if (is_new_reason(report, i)) {
            g_autofree char *names = name_records(report, i);
            g_string_append(text, any ? "" : "\nNot measured\n");
            g_string_append_c(text, '\n');
            append_wrapped(text, record->skipped, 0, 0);
            g_string_append(text, "  ");
            append_wrapped(text, names, 2, 2);
            any = TRUE;
        }
    }
}

char *bench_text_format(const BenchReport *report)
{
    GString *text = g_string_new(NULL);

    append_facts(text, report);
    append_roofs(text, report);
    append_tables(text, report);
    append_skipped(text, report);
    return g_string_free(text, FALSE);
}
