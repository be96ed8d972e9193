/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <unistd.h>
#include "hostmemctl.h"

/*
 * The cursor goes up as many lines as were drawn, and each line is drawn over.
 * That is right as long as none wraps and none scrolls, so lines are cut, and
 * there are fewer of them than the terminal has.
 */

#define CLEAR_ALL   "\033[H\033[2J"
#define CLEAR_LINE  "\033[K"
#define CLEAR_BELOW "\033[J"

struct CtlScreen {
    guint drawn; /* lines */
    gsize columns, lines;
};

CtlScreen *ctl_screen_new(void)
{
    return ctl_is_terminal(STDOUT_FILENO) ? g_new0(CtlScreen, 1) : NULL;
}

void ctl_screen_free(CtlScreen *self)
{
    g_free(self);
}

void ctl_screen_clear(CtlScreen *self)
{
    self->drawn = 0;
    ctl_put(CLEAR_ALL, NULL);
}

/* Where lines have wrapped nobody knows how many there are. */
static void follow_size(CtlScreen *self)
{
    gsize columns, lines;

    ctl_terminal_size(STDOUT_FILENO, &columns, &lines);
    if (self->drawn && (columns != self->columns || lines != self->lines)) {
        ctl_screen_clear(self);
    }
    self->columns = columns;
    self->lines = lines;
}

gboolean ctl_screen_draw(CtlScreen *self, const char *text, GError **error)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    guint n = g_strv_length(lines);
    g_autoptr(GString) drawing = g_string_new(NULL);
    guint i;

    follow_size(self);
    if (self->drawn) {
        g_string_printf(drawing, "\033[%uA", self->drawn);
    }
    /* Behind the last newline there is nothing. */
    for (i = 0; i + 1 < n && i + 1 < self->lines; i++) {
        g_autofree char *cut = ctl_text_cut(lines[i], self->columns - 1);

        g_string_append_printf(drawing, "%s" CLEAR_LINE "\n", cut);
    }
    g_string_append(drawing, CLEAR_BELOW);
    self->drawn = i;
    return ctl_put(drawing->str, error);
}
