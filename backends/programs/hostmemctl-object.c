/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>
#include "hostmemctl.h"

#define POLL_US           (250 * 1000)
#define DEL_LIMIT_SECONDS 30.0

/* add */

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

/* Without a job of that name there is nothing to wait for. */
static int wait_for_job(CtlPeer *peer, const char *id, CtlProgress *progress,
                        GError **error)
{
    for (;;) {
        json_auto_t *jobs = ctl_peer_call(peer, "query-jobs", NULL, error);
        const json_t *job = ctl_json_find(jobs, "id", id);
        const char *why = ctl_json_string(job, "error");

        if (!jobs) {
            return EXIT_FAILURE;
        }
        if (!job || is_over(ctl_json_string(job, "status"))) {
            return why ? refuse_job(peer, id, why, error) : EXIT_SUCCESS;
        }
        ctl_progress_show_json(progress, id, job);
        if (!ctl_peer_wait(peer, g_get_monotonic_time() + POLL_US, error)) {
            return EXIT_FAILURE;
        }
    }
}

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
        !g_strcmp0(ctl_json_string(data, "id"), adding->id)) {
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

    return text ? ctl_json_parse(text, error) : NULL;
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
    Adding adding = {ctl_json_string(arguments, "id"), progress};
    ctl_peer_set_listener(peer, on_add_event, &adding);
    json_auto_t *done =
        ctl_peer_call(peer, device ? "device_add" : "object-add",
                      json_incref(arguments), error);
    if (!done) {
        return EXIT_FAILURE;
    }
    return ctl_call_has(call, "--wait") && adding.id && !device
               ? wait_for_job(peer, adding.id, progress, error)
               : EXIT_SUCCESS;
}

/* del */

/* A device that is on its way out. */
typedef struct {
    const char *id;
    gboolean deleted;
    gboolean refused;
    char *why; /* (nullable) */
} Leaving;

static void on_del_event(const char *name, json_t *event, gpointer user_data)
{
    Leaving *leaving = user_data;
    const json_t *data = json_object_get(event, "data");

    if (g_strcmp0(ctl_json_string(data, "device"), leaving->id)) {
        return;
    }
    if (g_str_equal(name, "DEVICE_DELETED")) {
        leaving->deleted = TRUE;
    } else if (g_str_equal(name, "DEVICE_UNPLUG_GUEST_ERROR") ||
               g_str_equal(name, "MEM_UNPLUG_ERROR")) {
        leaving->refused = TRUE;
        g_free(leaving->why);
        leaving->why = g_strdup(ctl_json_string(data, "msg"));
    }
}

static int refuse_del(CtlPeer *peer, const Leaving *leaving, double limit,
                      GError **error)
{
    const char *address = ctl_peer_get_address(peer);

    if (leaving->refused) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_BUSY,
                    "%s: the guest refuses to release '%s'%s%s", address,
                    leaving->id, leaving->why ? ": " : "",
                    leaving->why ? leaving->why : "");
    } else {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_TIMED_OUT,
                    "%s: the guest has not released '%s' within %g s; it may "
                    "still do so",
                    address, leaving->id, limit);
    }
    return EXIT_FAILURE;
}

static int wait_until_deleted(CtlPeer *peer, Leaving *leaving, double limit,
                              GError **error)
{
    gint64 end = g_get_monotonic_time() + (gint64)(limit * G_USEC_PER_SEC);

    while (!leaving->deleted) {
        if (leaving->refused || g_get_monotonic_time() >= end) {
            return refuse_del(peer, leaving, limit, error);
        }
        if (!ctl_peer_wait(peer, end, error)) {
            return EXIT_FAILURE;
        }
    }
    return EXIT_SUCCESS;
}

static int del_device(CtlCall *call, CtlPeer *peer, GError **error)
{
    Leaving leaving = {.id = call->words[0]};
    double limit = DEL_LIMIT_SECONDS;

    if (!ctl_call_get_seconds(call, "--timeout", 0, &limit, error)) {
        return EXIT_FAILURE;
    }
    ctl_peer_set_listener(peer, on_del_event, &leaving);
    json_auto_t *done = ctl_peer_call(
        peer, "device_del", json_pack("{s:s}", "id", leaving.id), error);
    int status =
        done ? wait_until_deleted(peer, &leaving, limit, error) : EXIT_FAILURE;
    g_free(leaving.why);
    return status;
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
