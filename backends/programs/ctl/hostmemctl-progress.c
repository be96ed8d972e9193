/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "hostmemctl.h"

/*
 * A terminal gets one line, drawn anew; anything else a line every few seconds,
 * and none when all is over before the first is due.  Both go to standard
 * error.
 */

#define REDRAW_US           (100 * 1000)
#define FIRST_LINE_US       (2 * G_USEC_PER_SEC)
#define LINE_US             (5 * G_USEC_PER_SEC)
#define DEFAULT_COLUMNS     80
#define DEFAULT_LINES       24
#define GIB                 (1024.0 * 1024 * 1024)

#define START_OF_EMPTY_LINE "\r\033[K"

struct CtlProgress {
    gboolean terminal;
    gboolean drawn;
    gint64 due;          /* of g_get_monotonic_time(): the next line */
    gint64 started;      /* when it was first shown; 0: never */
    guint64 done_before; /* bytes at that time */
};

void ctl_terminal_size(int fd, gsize *columns, gsize *lines)
{
    struct winsize size = {0};

    ioctl(fd, TIOCGWINSZ, &size);
    *columns = size.ws_col ? size.ws_col : DEFAULT_COLUMNS;
    *lines = size.ws_row ? size.ws_row : DEFAULT_LINES;
}

gboolean ctl_is_terminal(int fd)
{
    return isatty(fd) && g_strcmp0(g_getenv("TERM"), "dumb") != 0;
}

CtlProgress *ctl_progress_new(void)
{
    CtlProgress *self = g_new0(CtlProgress, 1);

    self->terminal = ctl_is_terminal(STDERR_FILENO);
    self->due =
        g_get_monotonic_time() + (self->terminal ? REDRAW_US : FIRST_LINE_US);
    return self;
}

void ctl_progress_free(CtlProgress *self)
{
    if (self->drawn) {
        fputs(START_OF_EMPTY_LINE, stderr);
    }
    g_free(self);
}

/* (transfer full): ", 3.2 GiB/s"; nothing before the second look. */
static char *rate_of(CtlProgress *self, guint64 done, gint64 now)
{
    if (!self->started) {
        self->started = now;
        self->done_before = done;
    }
    if (now <= self->started || done <= self->done_before) {
        return g_strdup("");
    }
    return g_strdup_printf(", %.1f GiB/s", (done - self->done_before) / GIB *
                                               G_USEC_PER_SEC /
                                               (now - self->started));
}

static void draw(CtlProgress *self, const char *line)
{
    gsize columns, lines;

    /* A line that wraps could not be drawn over. */
    ctl_terminal_size(STDERR_FILENO, &columns, &lines);
    g_autofree char *cut = ctl_text_cut(line, columns - 1);
    fprintf(stderr, START_OF_EMPTY_LINE "%s", cut);
    self->drawn = TRUE;
}

void ctl_progress_show(CtlProgress *self, const char *name, guint64 done,
                       guint64 total)
{
    gint64 now = g_get_monotonic_time();
    g_autofree char *rate = rate_of(self, done, now);

    if (now < self->due) {
        return;
    }
    self->due = now + (self->terminal ? REDRAW_US : LINE_US);
    g_autofree char *safe = ctl_text_safe(name);
    g_autofree char *bar = ctl_text_bar(done, total);
    g_autofree char *part = hostmem_size_to_string(done);
    g_autofree char *whole = hostmem_size_to_string(total);
    g_autofree char *line =
        g_strdup_printf("%s%s%s %s of %s%s", safe, self->terminal ? " " : ":",
                        self->terminal ? bar : "", part, whole, rate);
    if (self->terminal) {
        draw(self, line);
    } else {
        fprintf(stderr, "hostmemctl: %s\n", line);
    }
}

void ctl_progress_show_json(CtlProgress *self, const char *name,
                            const json_t *job)
{
    guint64 done, total;

    if (peer_json_number(job, "current-progress", &done) &&
        peer_json_number(job, "total-progress", &total)) {
        ctl_progress_show(self, name, done, total);
    }
}
