/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "bench.h"

#define SIZE_STEP (2 * BENCH_MIB)

static gboolean print(const char *text, GError **error)
{
    return (fputs(text, stdout) >= 0 && fflush(stdout) == 0) ||
           bench_set_errno(error, "writing the output", errno);
}

/* Whatever was asked for, nobody is to be pushed out of memory.  A pool keeps
 * its memory while others make theirs. */
static void fit_size(BenchOptions *options)
{
    guint64 share = options->mode == BENCH_POOL ? 2 : 1;
    guint64 available = bench_room_available() / share / SIZE_STEP * SIZE_STEP;

    options->size = CLAMP(available, SIZE_STEP, options->asked_size);
}

static char *format(const BenchReport *report, BenchFormat format)
{
    switch (format) {
    case BENCH_JSON:
        return bench_json_format(report);
    case BENCH_CSV:
        return bench_csv_format(report);
    default:
        return bench_text_format(report);
    }
}

static gboolean draw(const BenchReport *report, const char *path,
                     GError **error)
{
    g_autofree char *plot = bench_plot_format(report);

    if (g_file_set_contents(path, plot, -1, error)) {
        return TRUE;
    }
    g_prefix_error(error, "--plot: ");
    return FALSE;
}

/* The text first: of minutes of measuring something is left, then. */
static gboolean tell(const BenchOptions *options, const BenchReport *report,
                     GError **error)
{
    g_autofree char *text = format(report, options->format);

    return print(text, error) &&
           (!options->plot || draw(report, options->plot, error));
}

static BenchReport *measure_in_mode(const BenchOptions *options)
{
    switch (options->mode) {
    case BENCH_COMPARE:
        return bench_compare_run(options);
    case BENCH_PLUG:
    case BENCH_UNPLUG:
        return bench_plug_run(options);
    case BENCH_POOL:
        return bench_pool_run(options);
    case BENCH_SNAPSHOT:
        return bench_snapshot_run(options);
    default:
        return bench_grid_run(options);
    }
}

static gboolean measure(BenchOptions *options, GError **error)
{
    fit_size(options);
    g_autoptr(BenchReport) report = measure_in_mode(options);
    return tell(options, report, error);
}

static gboolean run(char **argv, GError **error)
{
    g_autoptr(BenchOptions) options = bench_options_parse(argv, error);

    if (!options) {
        return FALSE;
    }
    if (options->help) {
        g_autofree char *help = bench_options_help();
        return print(help, error);
    }
    if (options->version) {
        g_autofree char *version =
            g_strdup_printf("hostmem-bench version %s\n", hostmem_version());
        return print(version, error);
    }
    return measure(options, error);
}

int main(G_GNUC_UNUSED int argc, char **argv)
{
    g_autoptr(GError) error = NULL;

    g_set_prgname("hostmem-bench");
    g_log_writer_default_set_use_stderr(TRUE);
    if (run(argv, &error)) {
        return EXIT_SUCCESS;
    }
    fprintf(stderr, "hostmem-bench: %s\n", error->message);
    return EXIT_FAILURE;
}
