/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "bench.h"

static gboolean print(const char *text, GError **error)
{
    return (fputs(text, stdout) >= 0 && fflush(stdout) == 0) ||
           bench_set_errno(error, "writing the output", errno);
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
    return TRUE;
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
