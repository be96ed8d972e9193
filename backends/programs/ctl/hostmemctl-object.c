/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>
#include "hostmemctl.h"

#define DEL_LIMIT_SECONDS 30.0

/* add */

/* What is being added. */
typedef struct {
    const char *id; /* (nullable) */
    CtlProgress *progress;
} Adding;

static void on_add_event(const char *name, json_t *event, gpointer user_data)
{
    Adding *adding = user_data;
    const json_t *data = json_object_get(event, "data");

    if (adding->id && g_str_equal(name, "MEMORY_PREALLOC_PROGRESS") &&
        !g_strcmp0(peer_json_string(data, "id"), adding->id)) {
        ctl_progress_show_json(adding->progress, adding->id, data);
    }
}

/* (transfer full): the arguments of the command that makes it. */
static json_t *arguments_of(const CtlCall *call, GError **error)
{
    const char *line = call->words[0];
    g_autofree char *text = ctl_call_has(call, "--device")
                                ? hostmem_device_options_to_json(line, error)
                                : hostmem_object_options_to_json(line, error);

    return text ? peer_json_parse(text, error) : NULL;
}

int ctl_run_add(CtlCall *call, GError **error)
{
    gboolean device = ctl_call_has(call, "--device");
    json_auto_t *arguments = arguments_of(call, error);
    g_autoptr(CtlPeer) peer = arguments ? ctl_peer_new(call, error) : NULL;

    if (!peer) {
        return EXIT_FAILURE;
    }
    g_autoptr(CtlProgress) progress = ctl_progress_new();
    Adding adding = {peer_json_string(arguments, "id"), progress};
    ctl_peer_set_listener(peer, on_add_event, &adding);
    json_auto_t *done =
        ctl_peer_call(peer, device ? "device_add" : "object-add",
                      json_incref(arguments), error);
    if (!done) {
        return EXIT_FAILURE;
    }
    return ctl_call_has(call, "--wait") && adding.id && !device
               ? ctl_job_wait(peer, adding.id, progress, error)
               : EXIT_SUCCESS;
}

/* del */

static int del_device(CtlCall *call, CtlPeer *peer, GError **error)
{
    double limit = DEL_LIMIT_SECONDS;

    return ctl_call_get_seconds(call, "--timeout", 0, &limit, error) &&
                   ctl_unplug(peer, call->words[0], limit, error)
               ? EXIT_SUCCESS
               : EXIT_FAILURE;
}

int ctl_run_del(CtlCall *call, GError **error)
{
    g_autoptr(CtlPeer) peer = ctl_peer_new(call, error);

    if (!peer) {
        return EXIT_FAILURE;
    }
    if (ctl_call_has(call, "--device")) {
        return del_device(call, peer, error);
    }
    json_auto_t *done = ctl_peer_call(
        peer, "object-del", json_pack("{s:s}", "id", call->words[0]), error);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
