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

/* What is populated, or has been, since the start. */
typedef struct {
    guint n;              /* of them */
    HostmemObject *first; /* (nullable): that is being populated */
    guint64 done;
    guint64 total;
    gint64 elapsed_us;
} Sum;

static void add_up(Sum *sum, GPtrArray *objects)
{
    for (guint i = 0; i < objects->len; i++) {
        HostmemPreallocReport report;

        if (!HOSTMEM_IS_BACKEND(objects->pdata[i])) {
            continue;
        }
        hostmem_backend_get_report(objects->pdata[i], &report);
        if (!report.total) {
            continue;
        }
        if (report.running && !sum->first) {
            sum->first = objects->pdata[i];
        }
        sum->n++;
        sum->done += report.done;
        sum->total += report.total;
        sum->elapsed_us = MAX(sum->elapsed_us, report.elapsed_us);
    }
}

/* Returns: whether anything is being populated */
static gboolean take_sum(HmProgress *self, Sum *sum)
{
    g_autoptr(GPtrArray) pending =
        hostmem_registry_list_pending(self->registry);
    g_autoptr(GPtrArray) ready = hostmem_registry_list(self->registry);

    *sum = (Sum){0};
    add_up(sum, pending);
    add_up(sum, ready);
    return sum->first != NULL;
}

static char *name_of(const Sum *sum)
{
    return sum->n > 1 ? g_strdup_printf("%u backends", sum->n)
                      : g_strdup(hostmem_object_get_id(sum->first));
}

static char *time_left(const Sum *sum)
{
    if (!sum->done) {
        return g_strdup("");
    }
    double seconds = (double)sum->elapsed_us / G_USEC_PER_SEC *
                     (sum->total - sum->done) / sum->done;
    return g_strdup_printf(", %.0f s left", seconds);
}

static char *describe(const Sum *sum)
{
    g_autofree char *done = hostmem_size_to_string(sum->done);
    g_autofree char *total = hostmem_size_to_string(sum->total);
    g_autofree char *rate = hm_text_gib_per_second(sum->done, sum->elapsed_us);
    g_autofree char *left = time_left(sum);

    return g_strdup_printf("%s of %s, %s GiB/s%s", done, total, rate, left);
}

static char *draw_bar(const Sum *sum)
{
    double part = (double)sum->done / sum->total;
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
    Sum sum;
    if (!take_sum(self, &sum)) {
        return G_SOURCE_CONTINUE;
    }
    g_autofree char *name = name_of(&sum);
    g_autofree char *bar = draw_bar(&sum);
    g_autofree char *text = describe(&sum);
    g_autofree char *line = g_strdup_printf("%s %s %s", name, bar, text);

    /* A line that wraps could not be drawn over. */
    fprintf(stderr, START_OF_EMPTY_LINE "%.*s", terminal_columns() - 1, line);
    self->drawn = TRUE;
    return G_SOURCE_CONTINUE;
}

static gboolean on_line(gpointer data)
{
    HmProgress *self = data;
    Sum sum;
    if (take_sum(self, &sum)) {
        g_autofree char *name = name_of(&sum);
        g_autofree char *text = describe(&sum);
        fprintf(stderr, "hostmemd: %s: populated %s\n", name, text);
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
