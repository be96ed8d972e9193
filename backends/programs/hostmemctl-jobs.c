/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include "hostmemctl.h"

/* Ask for a list, and print it as a table. */
static int print_list(CtlCall *call, const char *command,
                      void (*view)(const json_t *list, GString *text),
                      GError **error)
{
    g_autoptr(CtlPeer) peer = ctl_peer_new(call, error);
    json_auto_t *list = peer ? ctl_peer_call(peer, command, NULL, error) : NULL;
    g_autoptr(GString) text = g_string_new(NULL);

    if (!list) {
        return EXIT_FAILURE;
    }
    if (ctl_call_has(call, "--json")) {
        return ctl_put_json(list, error) ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    view(list, text);
    return ctl_put(text->str, error) ? EXIT_SUCCESS : EXIT_FAILURE;
}

int ctl_run_jobs(CtlCall *call, GError **error)
{
    return print_list(call, "query-jobs", ctl_view_jobs, error);
}

int ctl_run_pools(CtlCall *call, GError **error)
{
    return print_list(call, "query-memory-pools", ctl_view_pools, error);
}

int ctl_run_cancel(CtlCall *call, GError **error)
{
    g_autoptr(CtlPeer) peer = ctl_peer_new(call, error);
    json_auto_t *done =
        peer ? ctl_peer_call(peer, "job-cancel",
                             json_pack("{s:s}", "id", call->words[0]), error)
             : NULL;

    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
