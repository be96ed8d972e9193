/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include "hostmemctl.h"

/*
 * Theory of operation
 *
 * A hostmemd tells when a resize stalls, a QEMU does not.  What both tell is
 * the size of a device, by query-memory-devices, and by an event when it
 * changes.  So we look at each event, and a few times a second because an event
 * may come late; whether it is stalled is asked of a hostmemd, and of a QEMU
 * found out by the clock.
 */

#define POLL_US                 (500 * 1000)
#define DEFAULT_TIMEOUT_SECONDS 10.0

typedef struct {
    CtlPeer *peer;
    const char *id;
    char *path;
    guint64 wanted;  /* bytes */
    double timeout;  /* seconds without a change */
    gboolean own;    /* @timeout is ours, not the peer's word */
    guint64 first;   /* bytes plugged at the start */
    guint64 size;    /* bytes plugged now */
    gint64 changed;  /* when that changed, g_get_monotonic_time() */
    json_t *members; /* (nullable): the device, as the peer describes it */
} Plug;

static int refuse(Plug *self, HostmemError code, const char *why,
                  GError **error)
{
    g_autofree char *size = hostmem_size_to_string(self->size);
    g_autofree char *wanted = hostmem_size_to_string(self->wanted);

    g_set_error(error, HOSTMEM_ERROR, code, "%s: '%s' has %s of %s: %s",
                ctl_peer_get_address(self->peer), self->id, size, wanted, why);
    return EXIT_FAILURE;
}

static json_t *get(Plug *self, const char *property, GError **error)
{
    return ctl_peer_call(
        self->peer, "qom-get",
        json_pack("{s:s,s:s}", "path", self->path, "property", property),
        error);
}

/* (transfer full) (nullable): a property that is text, and not empty. */
static char *get_text(Plug *self, const char *property)
{
    g_autoptr(GError) error = NULL;
    json_auto_t *value = get(self, property, &error);
    const char *text = json_string_value(value);

    return text && *text ? g_strdup(text) : NULL;
}

/* The device as it is now.  FALSE with an error: also when it is no more. */
static gboolean look(Plug *self, GError **error)
{
    json_auto_t *devices =
        ctl_peer_call(self->peer, "query-memory-devices", NULL, error);
    json_t *device;
    gsize i;

    if (!devices) {
        return FALSE;
    }
    g_clear_pointer(&self->members, json_decref);
    json_array_foreach(devices, i, device)
    {
        json_t *data = json_object_get(device, "data");

        if (!g_strcmp0(peer_json_string(data, "id"), self->id)) {
            self->members = json_incref(data);
        }
    }
    if (!self->members) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NOT_FOUND,
                    "%s: there is no memory device '%s'",
                    ctl_peer_get_address(self->peer), self->id);
        return FALSE;
    }
    return TRUE;
}

/* Whether the size has not changed for too long. */
static gboolean is_stalled(Plug *self)
{
    guint64 size;
    gint64 now = g_get_monotonic_time();

    peer_json_number(self->members, "size", &size);
    if (!self->changed) {
        self->first = size;
    }
    if (size != self->size || !self->changed) {
        self->size = size;
        self->changed = now;
    }
    if (self->own || !ctl_peer_is_hostmem(self->peer)) {
        return now - self->changed > (gint64)(self->timeout * G_USEC_PER_SEC);
    }
    g_autofree char *state = get_text(self, "resize-state");
    return g_strcmp0(state, "stalled") == 0;
}

static int refuse_stalled(Plug *self, GError **error)
{
    g_autofree char *reason =
        ctl_peer_is_hostmem(self->peer) ? get_text(self, "last-reason") : NULL;
    g_autofree char *why = g_strconcat(
        "stalled: the guest does not ask for it, or cannot use it; it may "
        "still come",
        reason ? "; it was refused last because: " : "", reason, NULL);

    return refuse(self, HOSTMEM_ERROR_TIMED_OUT, why, error);
}

static guint64 difference(guint64 a, guint64 b)
{
    return a > b ? a - b : b - a;
}

static void show(Plug *self, CtlProgress *progress)
{
    g_autofree char *name = g_strconcat(
        self->id, self->wanted < self->first ? " unplugged" : " plugged", NULL);

    ctl_progress_show(progress, name, difference(self->size, self->first),
                      difference(self->wanted, self->first));
}

static int wait_until_reached(Plug *self, GError **error)
{
    g_autoptr(CtlProgress) progress = ctl_progress_new();

    for (;;) {
        guint64 requested;

        if (!look(self, error)) {
            return EXIT_FAILURE;
        }
        gboolean stalled = is_stalled(self);
        peer_json_number(self->members, "requested-size", &requested);
        if (self->size == self->wanted) {
            return EXIT_SUCCESS;
        }
        if (requested != self->wanted) {
            return refuse(self, HOSTMEM_ERROR_CHANGED,
                          "somebody else has asked for another size", error);
        }
        if (stalled) {
            return refuse_stalled(self, error);
        }
        show(self, progress);
        if (!ctl_peer_wait(self->peer, g_get_monotonic_time() + POLL_US,
                           error)) {
            return EXIT_FAILURE;
        }
    }
}

static int plug(Plug *self, gboolean wait, GError **error)
{
    json_auto_t *done = ctl_peer_call(
        self->peer, "qom-set",
        json_pack("{s:s,s:s,s:I}", "path", self->path, "property",
                  "requested-size", "value", (json_int_t)self->wanted),
        error);

    if (!done) {
        return EXIT_FAILURE;
    }
    return wait ? wait_until_reached(self, error) : EXIT_SUCCESS;
}

int ctl_run_plug(CtlCall *call, GError **error)
{
    Plug self = {.id = call->words[0],
                 .timeout = DEFAULT_TIMEOUT_SECONDS,
                 .own = ctl_call_has(call, "--timeout")};

    if (!hostmem_size_parse(call->words[1], &self.wanted, error) ||
        !ctl_call_get_seconds(call, "--timeout", 0.1, &self.timeout, error)) {
        g_prefix_error(error, "plug: ");
        return EXIT_FAILURE;
    }
    g_autoptr(CtlPeer) peer = ctl_peer_new(call, error);
    if (!peer) {
        return EXIT_FAILURE;
    }
    self.peer = peer;
    self.path = g_strconcat("/machine/peripheral/", self.id, NULL);
    int status = plug(&self, ctl_call_has(call, "--wait"), error);
    json_decref(self.members);
    g_free(self.path);
    return status;
}
