/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sys/ioctl.h>
#include <unistd.h>
#include "hostmemd.h"

/*
 * A terminal gets one line, drawn anew; anything else gets a line every few
 * seconds, and none when all is ready before the first is due.
 */

#define REDRAW_MS           200
#define FIRST_LINE_MS       2000
#define LINE_MS             5000
#define BAR_WIDTH           12
#define DEFAULT_COLUMNS     80

#define START_OF_EMPTY_LINE "\r\033[K"

struct HmProgress {
    HostmemRegistry *registry;
    gboolean terminal;
    gboolean drawn;
    guint timer;
};

/* (nullable): the first of them that populates. */
static HostmemObject *find_running_in(GPtrArray *objects,
                                      HostmemPreallocReport *report)
{
    for (guint i = 0; i < objects->len; i++) {
        if (!HOSTMEM_IS_BACKEND(objects->pdata[i])) {
            continue;
        }
        hostmem_backend_get_report(objects->pdata[i], report);
        if (report->running && report->total) {
            return objects->pdata[i];
        }
    }
    return NULL;
}

/* (nullable): a backend whose memory is being populated. */
static HostmemObject *find_running(HmProgress *self,
                                   HostmemPreallocReport *report)
{
    g_autoptr(GPtrArray) pending =
        hostmem_registry_list_pending(self->registry);
    g_autoptr(GPtrArray) ready = hostmem_registry_list(self->registry);
    HostmemObject *object = find_running_in(pending, report);

    return object ? object : find_running_in(ready, report);
}

static char *time_left(const HostmemPreallocReport *report)
{
    if (!report->done) {
        return g_strdup("");
    }
    double seconds = (double)report->elapsed_us / G_USEC_PER_SEC *
                     (report->total - report->done) / report->done;
    return g_strdup_printf(", %.0f s left", seconds);
}

static char *describe(const HostmemPreallocReport *report)
{
    g_autofree char *done = hostmem_size_to_string(report->done);
    g_autofree char *total = hostmem_size_to_string(report->total);
    g_autofree char *rate =
        hm_text_gib_per_second(report->done, report->elapsed_us);
    g_autofree char *left = time_left(report);

    return g_strdup_printf("%s of %s, %s GiB/s%s", done, total, rate, left);
}

static char *draw_bar(const HostmemPreallocReport *report)
{
    double part = (double)report->done / report->total;
    int full = part * BAR_WIDTH;
    g_autofree char *bar = g_strnfill(BAR_WIDTH, '.');

    for (int i = 0; i < full; i++) {
        bar[i] = '#';
    }
    return g_strdup_printf("[%s] %3.0f %%", bar, part * 100);
}

static int terminal_columns(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0) {
        return DEFAULT_COLUMNS;
    }
    return size.ws_col;
}

static gboolean on_redraw(gpointer data)
{
    HmProgress *self = data;
    HostmemPreallocReport report;
    HostmemObject *object = find_running(self, &report);
    if (!object) {
        return G_SOURCE_CONTINUE;
    }
    g_autofree char *bar = draw_bar(&report);
    g_autofree char *text = describe(&report);
    g_autofree char *line =
        g_strdup_printf("%s %s %s", hostmem_object_get_id(object), bar, text);

    /* A line that wraps could not be drawn over. */
    fprintf(stderr, START_OF_EMPTY_LINE "%.*s", terminal_columns() - 1, line);
    self->drawn = TRUE;
    return G_SOURCE_CONTINUE;
}

static gboolean on_line(gpointer data)
{
    HmProgress *self = data;
    HostmemPreallocReport report;
    HostmemObject *object = find_running(self, &report);
    if (object) {
        g_autofree char *text = describe(&report);
        fprintf(stderr, "hostmemd: %s: populated %s\n",
                hostmem_object_get_id(object), text);
    }
    return G_SOURCE_CONTINUE;
}

static gboolean on_first_line(gpointer data)
{
    HmProgress *self = data;
    on_line(self);
    self->timer = g_timeout_add(LINE_MS, on_line, self);
    return G_SOURCE_REMOVE;
}

HmProgress *hm_progress_new(HostmemRegistry *registry)
{
    HmProgress *self = g_new0(HmProgress, 1);

    self->registry = registry;
    self->terminal =
        isatty(STDERR_FILENO) && g_strcmp0(g_getenv("TERM"), "dumb") != 0;
    self->timer = self->terminal
                      ? g_timeout_add(REDRAW_MS, on_redraw, self)
                      : g_timeout_add(FIRST_LINE_MS, on_first_line, self);
    return self;
}

void hm_progress_free(HmProgress *self)
{
    g_source_remove(self->timer);
    if (self->drawn) {
        fputs(START_OF_EMPTY_LINE, stderr);
    }
    g_free(self);
}
