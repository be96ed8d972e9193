/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "hostmemctl.h"

/* A socket below 3 would be printed into. */
static void ensure_stdio(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) {
        close(fd);
    }
}

/* GIO ignores SIGPIPE when it makes its first socket, though it needs that
 * nowhere.  Who reads our output may go, and then we go quietly. */
static void keep_sigpipe(void)
{
    void (*before)(int) = signal(SIGPIPE, SIG_DFL);

    g_type_class_unref(g_type_class_ref(G_TYPE_SOCKET));
    signal(SIGPIPE, before);
}

/* (transfer full) (nullable): what the command line asks to be told. */
static char *find_information(const CtlCall *call)
{
    if (ctl_call_has(call, "--help")) {
        return call->family && !call->command ? ctl_help_of_family(call->family)
                                              : ctl_help(call->command);
    }
    if (ctl_call_has(call, "--version")) {
        return g_strdup_printf("hostmemctl version %s\n", hostmem_version());
    }
    return NULL;
}

static int run(char **argv, GError **error)
{
    g_autoptr(CtlCall) call = ctl_call_parse(argv, error);
    g_autofree char *text = NULL;

    if (!call) {
        return EXIT_FAILURE;
    }
    text = find_information(call);
    if (text) {
        return ctl_put(text, error) ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    return call->command->run(call, error);
}

int main(G_GNUC_UNUSED int argc, char **argv)
{
    g_autoptr(GError) error = NULL;

    ensure_stdio();
    keep_sigpipe();
    g_set_prgname("hostmemctl");
    g_log_writer_default_set_use_stderr(TRUE);
    int status = run(argv, &error);
    if (error) {
        g_autofree char *message = ctl_text_safe(error->message);
        fprintf(stderr, "hostmemctl: %s\n", message);
    }
    return status;
}
