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
    POOL, /* the last one: left out where no pool is */
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
    [POOL]      = {"pool",      TRUE},
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

/* How much of a backend came out of its pool. */
static void fill_origin(HostmemBackend *backend, char **cells)
{
    HostmemMemoryPool *pool = hostmem_backend_get_pool(backend);
    g_autofree char *size =
        hostmem_size_to_string(hostmem_backend_get_pool_size(backend));

    if (pool) {
        cells[POOL] = g_strdup_printf(
            "%s of %s", size, hostmem_object_get_id(HOSTMEM_OBJECT(pool)));
    }
}

static void fill_pool(HostmemMemoryPool *pool, char **cells)
{
    HostmemMemoryPoolStatus status;
    hostmem_memory_pool_get_status(pool, &status);
    g_autofree char *ready = hostmem_size_to_string(status.ready);

    cells[SIZE] = hostmem_size_to_string(status.size);
    cells[PAGE_SIZE] = hostmem_size_to_string(status.page_size);
    cells[POOL] = g_strdup_printf("%s ready", ready);
}

static void fill(HostmemObject *object, char **cells)
{
    cells[ID] = g_strdup(hostmem_object_get_id(object));
    cells[TYPE] = g_strdup(hostmem_object_get_type_name(object));
    if (HOSTMEM_IS_MEMORY_POOL(object)) {
        fill_pool(HOSTMEM_MEMORY_POOL(object), cells);
    }
    if (!HOSTMEM_IS_BACKEND(object)) {
        return;
    }
    HostmemBackend *backend = HOSTMEM_BACKEND(object);
    fill_origin(backend, cells);
    cells[SIZE] = hostmem_size_to_string(hostmem_backend_get_size(backend));
    cells[PAGE_SIZE] =
        hostmem_size_to_string(hostmem_backend_get_page_size(backend));
    fill_populate(backend, cells);
}

/* Where no object has to do with a pool, nothing is said of pools. */
static guint count_columns(Cells *lines, guint n)
{
    for (guint i = 0; i < n; i++) {
        if (lines[i][POOL]) {
            return N_COLUMNS;
        }
    }
    return POOL;
}

static void widen(int *widths, char *const *cells)
{
    for (guint i = 0; i < N_COLUMNS; i++) {
        widths[i] = MAX(widths[i], cells[i] ? (int)strlen(cells[i]) : 1);
    }
}

static void append_line(GString *text, const int *widths, char *const *cells,
                        guint n_columns)
{
    for (guint i = 0; i < n_columns; i++) {
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
    guint n_columns = count_columns(lines + 1, objects->len);
    for (guint i = 0; i <= objects->len; i++) {
        widen(widths, lines[i]);
    }
    for (guint i = 0; i <= objects->len; i++) {
        append_line(text, widths, lines[i], n_columns);
        clear_cells(&lines[i]);
    }
    return g_string_free(text, FALSE);
}
