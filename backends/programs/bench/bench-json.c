/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench.h"

static void append_string(GString *text, const char *value)
{
    /* Bytes that are no UTF-8, of a path or a message, would spoil it all. */
    g_autofree char *valid = g_utf8_make_valid(value, -1);

    g_string_append_c(text, '"');
    for (const char *at = valid; *at; at++) {
        if (*at == '"' || *at == '\\') {
            g_string_append_printf(text, "\\%c", *at);
        } else if ((guchar)*at < ' ') {
            g_string_append_printf(text, "\\u%04x", *at);
        } else {
            g_string_append_c(text, *at);
        }
    }
    g_string_append_c(text, '"');
}

/* What comes before a member or element, but the first. */
static void append_comma(GString *text, guint i, const char *indent)
{
    g_string_append_printf(text, "%s\n%s", i ? "," : "", indent);
}

static void append_member(GString *text, const char *key, const char *value)
{
    append_string(text, key);
    g_string_append(text, ": ");
    append_string(text, value);
}

static void append_facts(GString *text, GPtrArray *facts)
{
    g_string_append(text, ",\n  \"facts\": {");
    for (guint i = 0; i < facts->len; i++) {
        const BenchFact *fact = facts->pdata[i];
        append_comma(text, i, "    ");
        append_member(text, fact->key, fact->value);
    }
    g_string_append(text, "\n  }");
}

static void append_notes(GString *text, GPtrArray *notes)
{
    g_string_append(text, ",\n  \"notes\": [");
    for (guint i = 0; i < notes->len; i++) {
        append_comma(text, i, "    ");
        append_string(text, notes->pdata[i]);
    }
    g_string_append(text, "\n  ]");
}

static void append_roofs(GString *text, GPtrArray *roofs)
{
    g_string_append(text, ",\n  \"roofs\": {");
    for (guint i = 0; i < roofs->len; i++) {
        const BenchRoof *roof = roofs->pdata[i];
        append_comma(text, i, "    ");
        append_string(text, roof->key);
        g_string_append_printf(text, ": {\"gib_per_s\": %.3f, ", roof->rate);
        append_member(text, "what", roof->label);
        g_string_append_c(text, '}');
    }
    g_string_append(text, "\n  }");
}

static void append_cell(GString *text, const BenchColumn *column,
                        const char *value)
{
    append_string(text, column->key);
    g_string_append(text, ": ");
    if (value[0] == '\0') {
        g_string_append(text, "null");
    } else if (column->type == BENCH_COLUMN_NUMBER) {
        g_string_append(text, value);
    } else {
        append_string(text, value);
    }
    g_string_append(text, ", ");
}

static void append_record(GString *text, const BenchReport *report,
                          const BenchRecord *record)
{
    g_string_append_c(text, '{');
    for (guint i = 0; i < report->n_columns; i++) {
        append_cell(text, &report->columns[i], record->cells[i]);
    }
    if (record->skipped) {
        append_member(text, "skipped", record->skipped);
    } else {
        g_string_append(text, "\"skipped\": null");
    }
    g_string_append_c(text, '}');
}

char *bench_json_format(const BenchReport *report)
{
    GString *text = g_string_new("{\n  ");

    append_member(text, "mode", report->mode);
    append_facts(text, report->facts);
    append_notes(text, report->notes);
    append_roofs(text, report->roofs);
    g_string_append(text, ",\n  \"results\": [");
    for (guint i = 0; i < report->records->len; i++) {
        append_comma(text, i, "    ");
        append_record(text, report, report->records->pdata[i]);
    }
    g_string_append(text, "\n  ]\n}\n");
    return g_string_free(text, FALSE);
}
