/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <math.h>
#include "bench.h"

/*
 * Panels side by side share one logarithmic axis, which ends a little above
 * what populating reaches and the roofs: what is far beyond does not do the
 * work, and would press everything else together.  Its bar is cut off, with an
 * arrow.
 */

#define MARGIN      24
#define LABEL_WIDTH 190
#define AXIS_WIDTH  320
#define VALUE_WIDTH 76
#define PANEL_WIDTH (LABEL_WIDTH + AXIS_WIDTH + VALUE_WIDTH)
#define PANEL_GAP   20
#define BAR_HEIGHT  11
#define BAR_PITCH   15
#define GROUP_TITLE 22
#define GROUP_GAP   6
#define PANELS_TOP  160 /* where the axis begins */
#define FOOT        32
#define ROOF_PITCH  14
#define HEAD_ROOM   1.15
#define MIN_DECADES 1.0

static const char *const colours[BENCH_N_TONES] = {
    [BENCH_TONE_PALE] = "#c3cad3",
    [BENCH_TONE_LIGHT] = "#9cc3e6",
    [BENCH_TONE_PLAIN] = "#3f78b5",
    [BENCH_TONE_OURS] = "#d9601a",
};

static const char style[] =
    "<style>\n"
    "text { font: 12px Helvetica, Arial, 'DejaVu Sans', sans-serif; "
    "fill: #263238 }\n"
    ".title { font-size: 20px; font-weight: bold }\n"
    ".panel { font-size: 14px; font-weight: bold }\n"
    ".group { font-weight: bold }\n"
    ".small { font-size: 11px; fill: #5f6b76 }\n"
    ".group, .value, .roof { paint-order: stroke; stroke: #fff; "
    "stroke-width: 3px }\n"
    ".value { font-size: 10.5px }\n"
    ".roof { font-size: 11px; fill: #a3123a }\n"
    ".end { text-anchor: end }\n"
    ".middle { text-anchor: middle }\n"
    ".grid { stroke: #e3e7eb }\n"
    ".decade { stroke: #c5ccd3 }\n"
    ".roofline { stroke: #a3123a; stroke-dasharray: 5 3; stroke-width: 1.3 }\n"
    "</style>\n";

typedef struct {
    const BenchReport *report;
    GString *svg;
    double min; /* GiB/s, of the axis */
    double max;
} Plot;

/* Primitives */

static void text_at(Plot *self, double x, double y, const char *class,
                    const char *text)
{
    g_autofree char *escaped = g_markup_escape_text(text, -1);

    g_string_append_printf(
        self->svg, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">%s</text>\n", x, y,
        class, escaped);
}

static void vertical_line(Plot *self, double x, double top, double bottom,
                          const char *class)
{
    g_string_append_printf(self->svg,
                           "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" "
                           "y2=\"%.1f\" class=\"%s\"/>\n",
                           x, top, x, bottom, class);
}

static void box(Plot *self, double x, double y, double width,
                const char *colour)
{
    g_string_append_printf(self->svg,
                           "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                           "height=\"%d\" rx=\"1.5\" fill=\"%s\"/>\n",
                           x, y, width, BAR_HEIGHT, colour);
}

static void dot(Plot *self, double x, double y)
{
    g_string_append_printf(self->svg,
                           "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.2\" "
                           "fill=\"#fff\" stroke=\"#263238\" "
                           "stroke-width=\"1.3\"/>\n",
                           x, y);
}

static void arrow(Plot *self, double x, double y, const char *colour)
{
    g_string_append_printf(self->svg,
                           "<path d=\"M%.1f %.1fl7 %.1fl-7 %.1fz\" "
                           "fill=\"%s\"/>\n",
                           x, y, BAR_HEIGHT / 2.0, BAR_HEIGHT / 2.0, colour);
}

static char *format_rate(double rate)
{
    return g_strdup_printf(rate >= 100  ? "%.0f"
                           : rate >= 10 ? "%.1f"
                                        : "%.2f",
                           rate);
}

/* The axis */

typedef void (*BarFunc)(Plot *self, const BenchBar *bar);

static void for_each_bar(Plot *self, BarFunc func)
{
    GPtrArray *panels = self->report->panels;

    for (guint i = 0; i < panels->len; i++) {
        const BenchPanel *panel = panels->pdata[i];
        for (guint j = 0; j < panel->groups->len; j++) {
            const BenchGroup *group = panel->groups->pdata[j];
            for (guint k = 0; k < group->bars->len; k++) {
                func(self, group->bars->pdata[k]);
            }
        }
    }
}

static void include_rate(Plot *self, const BenchBar *bar)
{
    double least = bar->mark > 0 ? MIN(bar->mark, bar->rate) : bar->rate;

    self->min = MIN(self->min, least);
    if (bar->tone >= BENCH_TONE_PLAIN) {
        self->max = MAX(self->max, MAX(bar->rate, bar->mark));
    }
}

static void find_axis(Plot *self)
{
    self->min = G_MAXDOUBLE;
    self->max = 0;
    for_each_bar(self, include_rate);
    for (guint i = 0; i < self->report->roofs->len; i++) {
        const BenchRoof *roof = self->report->roofs->pdata[i];
        self->max = MAX(self->max, roof->rate);
    }
    if (self->max <= 0 || self->min > self->max) {
        self->max = self->max > 0 ? self->max : 1;
        self->min = self->max;
    }
    self->max *= HEAD_ROOM;
    self->min = MIN(self->min / HEAD_ROOM, self->max / pow(10, MIN_DECADES));
}

/* From the start of the axis, not beyond its end. */
static double position(const Plot *self, double rate)
{
    double part =
        log(MAX(rate, self->min) / self->min) / log(self->max / self->min);

    return AXIS_WIDTH * MIN(part, 1);
}

static void draw_tick(Plot *self, double left, double bottom, double rate,
                      gboolean decade)
{
    double x = left + position(self, rate);
    g_autofree char *label = g_strdup_printf("%g", rate);

    vertical_line(self, x, PANELS_TOP, bottom, decade ? "decade" : "grid");
    text_at(self, x, PANELS_TOP - 6, "small middle", label);
    text_at(self, x, bottom + 14, "small middle", label);
}

static void draw_axis(Plot *self, double left, double bottom)
{
    static const int steps[] = {1, 2, 5};

    for (int k = floor(log10(self->min)); k <= log10(self->max); k++) {
        for (guint i = 0; i < G_N_ELEMENTS(steps); i++) {
            double rate = steps[i] * pow(10, k);
            if (rate >= self->min && rate <= self->max) {
                draw_tick(self, left, bottom, rate, steps[i] == 1);
            }
        }
    }
    text_at(self, left + AXIS_WIDTH + 18, PANELS_TOP - 6, "small", "GiB/s");
}

static void draw_roofs(Plot *self, double left, double bottom)
{
    for (guint i = 0; i < self->report->roofs->len; i++) {
        const BenchRoof *roof = self->report->roofs->pdata[i];
        double x = left + position(self, roof->rate);
        /* A row each: two roofs may be close to each other. */
        double end = bottom + 17 + i * ROOF_PITCH;
        vertical_line(self, x, PANELS_TOP, end, "roofline");
        text_at(self, x, end + 12, "roof middle", roof->key);
    }
}

/* Panels: all bars, then the roofs, then the words, which stay legible */

typedef void (*DrawBar)(Plot *self, const BenchBar *bar, double axis, double y);

static double panel_height(const BenchPanel *panel)
{
    double height = 0;

    for (guint i = 0; i < panel->groups->len; i++) {
        const BenchGroup *group = panel->groups->pdata[i];
        height += GROUP_TITLE + group->bars->len * BAR_PITCH + GROUP_GAP;
    }
    return height;
}

static gboolean is_cut(const Plot *self, const BenchBar *bar)
{
    return bar->rate > self->max;
}

static gboolean has_mark(const Plot *self, const BenchBar *bar)
{
    return bar->mark > 0 && bar->mark <= self->max;
}

static void draw_shape(Plot *self, const BenchBar *bar, double axis, double y)
{
    double length = position(self, bar->rate);

    box(self, axis, y, MAX(length, 1), colours[bar->tone]);
    if (is_cut(self, bar)) {
        arrow(self, axis + length, y, colours[bar->tone]);
    }
    if (has_mark(self, bar)) {
        dot(self, axis + position(self, bar->mark), y + BAR_HEIGHT / 2.0);
    }
}

static void draw_words(Plot *self, const BenchBar *bar, double axis, double y)
{
    double end = position(self, bar->rate) + (is_cut(self, bar) ? 6 : 0);
    double dot_end = has_mark(self, bar) ? position(self, bar->mark) + 3 : 0;
    g_autofree char *rate = format_rate(bar->rate);
    g_autofree char *value =
        g_strconcat(rate, bar->text ? ", " : NULL, bar->text, NULL);

    text_at(self, axis - 8, y + BAR_HEIGHT - 1, "small end", bar->label);
    text_at(self, axis + MAX(end, dot_end) + 5, y + BAR_HEIGHT - 1.5, "value",
            value);
}

static void draw_bars(Plot *self, const BenchPanel *panel, double axis,
                      DrawBar draw)
{
    double y = PANELS_TOP;

    for (guint i = 0; i < panel->groups->len; i++) {
        const BenchGroup *group = panel->groups->pdata[i];
        y += GROUP_TITLE;
        for (guint j = 0; j < group->bars->len; j++) {
            draw(self, group->bars->pdata[j], axis, y);
            y += BAR_PITCH;
        }
        y += GROUP_GAP;
    }
}

static void draw_titles(Plot *self, const BenchPanel *panel, double left)
{
    double y = PANELS_TOP + GROUP_TITLE;

    text_at(self, left + LABEL_WIDTH, PANELS_TOP - 26, "panel", panel->title);
    for (guint i = 0; i < panel->groups->len; i++) {
        const BenchGroup *group = panel->groups->pdata[i];
        text_at(self, left, y - 6, "group", group->title);
        y += group->bars->len * BAR_PITCH + GROUP_GAP + GROUP_TITLE;
    }
}

static void draw_panel(Plot *self, const BenchPanel *panel, double left,
                       double bottom)
{
    double axis = left + LABEL_WIDTH;

    draw_axis(self, axis, bottom);
    draw_bars(self, panel, axis, draw_shape);
    draw_roofs(self, axis, bottom);
    draw_titles(self, panel, left);
    draw_bars(self, panel, axis, draw_words);
}

static void draw_panels(Plot *self, double bottom)
{
    double left = MARGIN;

    for (guint i = 0; i < self->report->panels->len; i++) {
        const BenchPanel *panel = self->report->panels->pdata[i];
        if (panel->groups->len) {
            draw_panel(self, panel, left, bottom);
            left += PANEL_WIDTH + PANEL_GAP;
        }
    }
}

/* Above the panels */

static const char *fact(const BenchReport *report, const char *key)
{
    for (guint i = 0; i < report->facts->len; i++) {
        const BenchFact *candidate = report->facts->pdata[i];
        if (g_str_equal(candidate->key, key)) {
            return candidate->value;
        }
    }
    return "";
}

static double draw_legend_entry(Plot *self, double x, const char *text)
{
    text_at(self, x, 76, "small", text);
    /* Letters of this size are no wider, on the whole. */
    return x + 5.8 * g_utf8_strlen(text, -1) + 38;
}

static void draw_legend(Plot *self)
{
    double x = MARGIN;

    for (int tone = BENCH_N_TONES - 1; tone >= 0; tone--) {
        if (self->report->legend[tone]) {
            box(self, x, 67, 14, colours[tone]);
            x = draw_legend_entry(self, x + 19, self->report->legend[tone]);
        }
    }
    if (self->report->mark_legend) {
        dot(self, x + 4, 72);
        draw_legend_entry(self, x + 12, self->report->mark_legend);
    }
}

static void draw_head(Plot *self)
{
    g_autofree char *host = g_strdup_printf(
        "%s, %s; %s; %s", fact(self->report, "cpu"), fact(self->report, "cpus"),
        fact(self->report, "memory"), fact(self->report, "kernel"));

    text_at(self, MARGIN, 34, "title", self->report->title);
    text_at(self, MARGIN, 53, "small", host);
    draw_legend(self);
    for (guint i = 0; i < self->report->roofs->len; i++) {
        const BenchRoof *roof = self->report->roofs->pdata[i];
        g_autofree char *rate = format_rate(roof->rate);
        g_autofree char *label =
            g_strdup_printf("%s: %s GiB/s, %s", roof->key, rate, roof->label);
        text_at(self, MARGIN, 96 + i * ROOF_PITCH, "roof", label);
    }
}

char *bench_plot_format(const BenchReport *report)
{
    Plot self = {.report = report, .svg = g_string_new(NULL)};
    double height = 0;
    guint panels = 0;

    for (guint i = 0; i < report->panels->len; i++) {
        height = MAX(height, panel_height(report->panels->pdata[i]));
        panels += panel_height(report->panels->pdata[i]) > 0;
    }
    double width = 2 * MARGIN + MAX(panels, 2) * (PANEL_WIDTH + PANEL_GAP);
    double bottom = PANELS_TOP + height;
    double end = bottom + FOOT + self.report->roofs->len * ROOF_PITCH;

    find_axis(&self);
    g_string_append_printf(self.svg,
                           "<svg xmlns=\"http://www.w3.org/2000/svg\" "
                           "width=\"%.0f\" height=\"%.0f\" "
                           "viewBox=\"0 0 %.0f %.0f\">\n",
                           width, end, width, end);
    g_string_append(self.svg, style);
    g_string_append(self.svg, "<rect width=\"100%\" height=\"100%\" "
                              "fill=\"#fff\"/>\n");
    draw_head(&self);
    draw_panels(&self, bottom);
    g_string_append(self.svg, "</svg>\n");
    return g_string_free(self.svg, FALSE);
}
