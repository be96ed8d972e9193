/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include "hostmemctl.h"

#define POLL_US (250 * 1000)

/* Waiting for one */

static gboolean is_over(const char *status)
{
    return !g_strcmp0(status, "concluded") || !g_strcmp0(status, "null");
}

static int refuse_job(CtlPeer *peer, const char *id, const char *why,
                      GError **error)
{
    g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_REMOTE, "%s: job '%s': %s",
                ctl_peer_get_address(peer), id, why);
    return EXIT_FAILURE;
}

int ctl_job_wait(CtlPeer *peer, const char *id, CtlProgress *progress,
                 GError **error)
{
    for (;;) {
        json_auto_t *jobs = ctl_peer_call(peer, "query-jobs", NULL, error);
        const json_t *job = peer_json_find(jobs, "id", id);
        const char *why = peer_json_string(job, "error");

        if (!jobs) {
            return EXIT_FAILURE;
        }
        if (!job || is_over(peer_json_string(job, "status"))) {
            return why ? refuse_job(peer, id, why, error) : EXIT_SUCCESS;
        }
        ctl_progress_show_json(progress, id, job);
        if (!ctl_peer_wait(peer, g_get_monotonic_time() + POLL_US, error)) {
            return EXIT_FAILURE;
        }
    }
}

/* Lists */

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
