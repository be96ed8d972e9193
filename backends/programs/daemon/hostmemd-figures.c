/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hostmemd.h"

static HostmemPreallocReport read_report(HostmemObject *object)
{
    HostmemPreallocReport report = {0};

    if (HOSTMEM_IS_BACKEND(object)) {
        hostmem_backend_get_report(HOSTMEM_BACKEND(object), &report);
    } else if (HOSTMEM_IS_MEMORY_POOL(object)) {
        report.running = hostmem_memory_pool_get_progress(
            HOSTMEM_MEMORY_POOL(object), &report.done, &report.total,
            &report.elapsed_us);
    }
    return report;
}

static void add_up(HmFigures *figures, GPtrArray *objects)
{
    for (guint i = 0; i < objects->len; i++) {
        HostmemPreallocReport report = read_report(objects->pdata[i]);

        if (!report.total) {
            continue;
        }
        if (report.running && !figures->first) {
            figures->first = objects->pdata[i];
        }
        figures->n++;
        figures->done += report.done;
        figures->total += report.total;
        figures->elapsed_us = MAX(figures->elapsed_us, report.elapsed_us);
    }
}

gboolean hm_figures_take(HostmemRegistry *registry, HmFigures *figures)
{
    g_autoptr(GPtrArray) pending = hostmem_registry_list_pending(registry);
    g_autoptr(GPtrArray) ready = hostmem_registry_list(registry);

    *figures = (HmFigures){0};
    add_up(figures, pending);
    add_up(figures, ready);
    return figures->first != NULL;
}

char *hm_figures_name(const HmFigures *figures)
{
    return figures->n > 1 ? g_strdup_printf("%u backends", figures->n)
                          : g_strdup(hostmem_object_get_id(figures->first));
}

static char *time_left(const HmFigures *figures)
{
    if (!figures->done) {
        return g_strdup("");
    }
    double seconds = (double)figures->elapsed_us / G_USEC_PER_SEC *
                     (figures->total - figures->done) / figures->done;
    return g_strdup_printf(", %.0f s left", seconds);
}

char *hm_figures_describe(const HmFigures *figures)
{
    g_autofree char *done = hostmem_size_to_string(figures->done);
    g_autofree char *total = hostmem_size_to_string(figures->total);
    g_autofree char *rate =
        hm_text_gib_per_second(figures->done, figures->elapsed_us);
    g_autofree char *left = time_left(figures);

    return g_strdup_printf("%s of %s, %s GiB/s%s", done, total, rate, left);
}
