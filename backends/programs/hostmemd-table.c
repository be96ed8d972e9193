/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "hostmemd.h"

enum {
    ID,
    TYPE,
    SIZE,
    PAGE_SIZE,
    METHOD,
    THREADS,
    TIME,
    RATE,
    N_COLUMNS,
};

typedef struct {
    const char *heading;
    gboolean right; /* numbers end where their column ends */
} Column;

/* clang-format off */
static const Column columns[] = {
    [ID]        = {"id",        FALSE},
    [TYPE]      = {"type",      FALSE},
    [SIZE]      = {"size",      TRUE},
    [PAGE_SIZE] = {"page size", TRUE},
    [METHOD]    = {"method",    FALSE},
    [THREADS]   = {"threads",   TRUE},
    [TIME]      = {"time",      TRUE},
    [RATE]      = {"GiB/s",     TRUE},
};
/* clang-format on */

/* A cell is NULL where there is nothing to say. */
typedef char *Cells[N_COLUMNS];

static void fill_populate(HostmemBackend *backend, char **cells)
{
    HostmemPreallocReport report;
    hostmem_backend_get_report(backend, &report);
    if (!report.method) {
        return;
    }
    cells[METHOD] = g_strdup(report.method);
    cells[THREADS] = g_strdup_printf("%u", report.threads);
    cells[TIME] = hm_text_time(report.elapsed_us);
    cells[RATE] = hm_text_gib_per_second(report.done, report.elapsed_us);
}

static void fill(HostmemObject *object, char **cells)
{
    cells[ID] = g_strdup(hostmem_object_get_id(object));
    cells[TYPE] = g_strdup(hostmem_object_get_type_name(object));
    if (!HOSTMEM_IS_BACKEND(object)) {
        return;
    }
    HostmemBackend *backend = HOSTMEM_BACKEND(object);
    cells[SIZE] = hostmem_size_to_string(hostmem_backend_get_size(backend));
    cells[PAGE_SIZE] =
        hostmem_size_to_string(hostmem_backend_get_page_size(backend));
    fill_populate(backend, cells);
}

static void widen(int *widths, char *const *cells)
{
    for (guint i = 0; i < N_COLUMNS; i++) {
        widths[i] = MAX(widths[i], cells[i] ? (int)strlen(cells[i]) : 1);
    }
}

static void append_line(GString *text, const int *widths, char *const *cells)
{
    for (guint i = 0; i < N_COLUMNS; i++) {
        int width = columns[i].right ? widths[i] : -widths[i];
        g_string_append_printf(text, "%s%*s", i ? "  " : "", width,
                               cells[i] ? cells[i] : "-");
    }
    g_string_append_c(text, '\n');
}

static void clear_cells(Cells *cells)
{
    for (guint i = 0; i < N_COLUMNS; i++) {
        g_free((*cells)[i]);
    }
}

char *hm_table_format(GPtrArray *objects)
{
    if (!objects->len) {
        return g_strdup("");
    }
    g_autofree Cells *lines = g_new0(Cells, objects->len + 1);
    int widths[N_COLUMNS] = {0};
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < N_COLUMNS; i++) {
        lines[0][i] = g_strdup(columns[i].heading);
    }
    for (guint i = 0; i < objects->len; i++) {
        fill(objects->pdata[i], lines[i + 1]);
    }
    for (guint i = 0; i <= objects->len; i++) {
        widen(widths, lines[i]);
    }
    for (guint i = 0; i <= objects->len; i++) {
        append_line(text, widths, lines[i]);
        clear_cells(&lines[i]);
    }
    return g_string_free(text, FALSE);
}
