/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include "hostmemctl.h"

/* (transfer full) (nullable): the arguments of the command. */
static json_t *arguments_of(CtlCall *call, GError **error)
{
    const char *bandwidth = ctl_call_get(call, "--max-bandwidth");
    /* The server may run elsewhere. */
    g_autofree char *path = g_canonicalize_filename(call->words[1], NULL);
    json_t *arguments =
        json_pack("{s:s,s:s}", "id", call->words[0], "file", path);
    guint64 bytes;

    if (!arguments) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID,
                    "snapshot: '%s' is no UTF-8", path);
        return NULL;
    }
    if (ctl_call_has(call, "--allow-exposed")) {
        json_object_set_new(arguments, "allow-exposed", json_true());
    }
    if (bandwidth && !hostmem_size_parse(bandwidth, &bytes, error)) {
        g_prefix_error(error, "snapshot: --max-bandwidth: ");
        json_decref(arguments);
        return NULL;
    }
    if (bandwidth) {
        json_object_set_new(arguments, "max-bandwidth",
                            json_integer((json_int_t)bytes));
    }
    return arguments;
}

int ctl_run_snapshot(CtlCall *call, GError **error)
{
    json_auto_t *arguments = arguments_of(call, error);
    g_autoptr(CtlPeer) peer = arguments ? ctl_peer_new(call, error) : NULL;

    if (!peer) {
        return EXIT_FAILURE;
    }
    json_auto_t *answer =
        ctl_peer_call(peer, "memory-snapshot", json_incref(arguments), error);
    if (!answer || !ctl_call_has(call, "--wait")) {
        return answer ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    const char *job = peer_json_string(answer, "job");
    if (!job) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_REMOTE,
                    "%s: memory-snapshot has named no job",
                    ctl_peer_get_address(peer));
        return EXIT_FAILURE;
    }
    g_autoptr(CtlProgress) progress = ctl_progress_new();
    return ctl_job_wait(peer, job, progress, error);
}
