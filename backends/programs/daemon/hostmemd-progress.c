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

static char *draw_bar(const HmFigures *figures)
{
    double part = (double)figures->done / figures->total;
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
    HmFigures figures;
    if (!hm_figures_take(self->registry, &figures)) {
        return G_SOURCE_CONTINUE;
    }
    g_autofree char *name = hm_figures_name(&figures);
    g_autofree char *bar = draw_bar(&figures);
    g_autofree char *text = hm_figures_describe(&figures);
    g_autofree char *line = g_strdup_printf("%s %s %s", name, bar, text);

    /* A line that wraps could not be drawn over. */
    fprintf(stderr, START_OF_EMPTY_LINE "%.*s", terminal_columns() - 1, line);
    self->drawn = TRUE;
    return G_SOURCE_CONTINUE;
}

static gboolean on_line(gpointer data)
{
    HmProgress *self = data;
    HmFigures figures;
    if (hm_figures_take(self->registry, &figures)) {
        g_autofree char *name = hm_figures_name(&figures);
        g_autofree char *text = hm_figures_describe(&figures);
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
