/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <systemd/sd-daemon.h>
#include "hostmemd-sd.h"

gboolean hm_sd_is_there(void)
{
    return g_getenv("NOTIFY_SOCKET") != NULL;
}

int hm_sd_notify(const char *state, int fd)
{
    return sd_pid_notify_with_fds(0, FALSE, state, &fd, fd < 0 ? 0 : 1);
}

/* Their strings come from malloc(3), not from GLib. */
static char **take_strings(char **strings)
{
    char **copy = g_strdupv(strings);

    for (char **string = strings; string && *string; string++) {
        free(*string);
    }
    free(strings);
    return copy;
}

int hm_sd_listen_fds(char ***names)
{
    char **strings = NULL;
    int n = sd_listen_fds_with_names(TRUE, &strings);

    *names = n > 0 ? take_strings(strings) : NULL;
    return n;
}
