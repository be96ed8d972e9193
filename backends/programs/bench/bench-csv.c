/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "bench.h"

/* RFC 4180, but lines end as they do here. */
static void append_field(GString *text, const char *value)
{
    if (!strpbrk(value, ",\"\n")) {
        g_string_append(text, value);
        return;
    }
    g_auto(GStrv) parts = g_strsplit(value, "\"", -1);
    g_autofree char *quoted = g_strjoinv("\"\"", parts);
    g_string_append_printf(text, "\"%s\"", quoted);
}

static void append_record(GString *text, const BenchReport *report,
                          const BenchRecord *record)
{
    for (guint i = 0; i < report->n_columns; i++) {
        append_field(text, record->cells[i]);
        g_string_append_c(text, ',');
    }
    append_field(text, record->skipped ? record->skipped : "");
    g_string_append_c(text, '\n');
}

char *bench_csv_format(const BenchReport *report)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < report->n_columns; i++) {
        g_string_append_printf(text, "%s,", report->columns[i].key);
    }
    g_string_append(text, "skipped\n");
    for (guint i = 0; i < report->records->len; i++) {
        append_record(text, report, report->records->pdata[i]);
    }
    return g_string_free(text, FALSE);
}
