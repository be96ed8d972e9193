/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hostmemctl.h"

#define GAP "  "

struct CtlTable {
    const CtlColumn *columns;
    guint n_columns;
    GPtrArray *rows; /* of GStrv */
};

CtlTable *ctl_table_new(const CtlColumn *columns)
{
    CtlTable *self = g_new0(CtlTable, 1);

    self->columns = columns;
    while (columns[self->n_columns].heading) {
        self->n_columns++;
    }
    self->rows = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);
    return self;
}

void ctl_table_free(CtlTable *self)
{
    g_ptr_array_unref(self->rows);
    g_free(self);
}

void ctl_table_add(CtlTable *self, char *const *cells)
{
    char **row = g_new0(char *, self->n_columns + 1);

    for (guint i = 0; i < self->n_columns; i++) {
        row[i] =
            cells[i] && *cells[i] ? ctl_text_safe(cells[i]) : g_strdup("-");
        g_free(cells[i]);
    }
    g_ptr_array_add(self->rows, row);
}

static gsize width_of(CtlTable *self, guint column)
{
    gsize width = ctl_text_width(self->columns[column].heading);

    for (guint i = 0; i < self->rows->len; i++) {
        char **row = self->rows->pdata[i];

        width = MAX(width, ctl_text_width(row[column]));
    }
    return width;
}

static void append_blanks(GString *text, gsize n)
{
    while (n-- > 0) {
        g_string_append_c(text, ' ');
    }
}

/* Nothing follows the last column, blanks neither. */
static void append_cell(CtlTable *self, GString *text, guint column,
                        const char *cell, gsize width)
{
    gsize blanks = width - ctl_text_width(cell);
    gboolean right = self->columns[column].right;
    gboolean last = column + 1 == self->n_columns;

    append_blanks(text, right ? blanks : 0);
    g_string_append(text, cell);
    append_blanks(text, right || last ? 0 : blanks);
    g_string_append(text, last ? "\n" : GAP);
}

void ctl_table_append_to(CtlTable *self, GString *text)
{
    g_autofree gsize *widths = g_new0(gsize, self->n_columns);

    if (!self->rows->len) {
        return;
    }
    for (guint i = 0; i < self->n_columns; i++) {
        widths[i] = width_of(self, i);
    }
    for (guint i = 0; i < self->n_columns; i++) {
        append_cell(self, text, i, self->columns[i].heading, widths[i]);
    }
    for (guint i = 0; i < self->rows->len; i++) {
        char **row = self->rows->pdata[i];

        for (guint j = 0; j < self->n_columns; j++) {
            append_cell(self, text, j, row[j], widths[j]);
        }
    }
}
