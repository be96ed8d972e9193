/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <unistd.h>
#include "bench.h"

#define START_OF_EMPTY_LINE "\r\033[K"

struct BenchProgress {
    gboolean shown;
    guint step;
    guint total;
};

BenchProgress *bench_progress_new(const BenchOptions *options, guint total)
{
    BenchProgress *self = g_new0(BenchProgress, 1);

    self->shown = !options->quiet && isatty(STDERR_FILENO) &&
                  g_strcmp0(g_getenv("TERM"), "dumb") != 0;
    self->total = total;
    return self;
}

void bench_progress_step(BenchProgress *self, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);

    self->step++;
    if (self->shown) {
        fprintf(stderr, START_OF_EMPTY_LINE "[%u/%u] %.65s", self->step,
                self->total, text);
    }
}

void bench_progress_free(BenchProgress *self)
{
    if (self->shown) {
        fputs(START_OF_EMPTY_LINE, stderr);
    }
    g_free(self);
}
