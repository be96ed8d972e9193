/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include "hostmemctl.h"

/*
 * Theory of operation
 *
 * device_del is a request: the guest lets go of a device when it likes, says
 * no, or says nothing.  That it is gone is told by DEVICE_DELETED.  A no comes
 * by one of two events, and of a guest with ACPI as what its _OST method was
 * told, which a QEMU only passes on.
 */

/* What _OST is about: notifications of an ejection, ACPI 6.5, table 6.14. */
#define OST_EJECT      0x003
#define OST_OSPM_EJECT 0x103

/* A device that is on its way out. */
typedef struct {
    const char *id;
    gboolean deleted;
    gboolean refused;
    char *why; /* (nullable) */
} Leaving;

static void take_refusal(Leaving *leaving, const char *why)
{
    leaving->refused = TRUE;
    if (why) {
        g_free(leaving->why);
        leaving->why = g_strdup(why);
    }
}

/* (nullable): what a status code says, when it says no; table 6.16. */
static const char *refusal_of(guint64 status)
{
    switch (status) {
    case 0x01:
        return "it fails";
    case 0x02:
        return "it does not know the request";
    case 0x80:
        return "it cannot eject such a device";
    case 0x81:
        return "an application uses it";
    case 0x82:
        return "it is busy";
    case 0x83:
        return "something that depends on it is busy";
    default:
        return NULL;
    }
}

static void take_ost(Leaving *leaving, const json_t *info)
{
    guint64 source, status;

    if (!peer_json_number(info, "source", &source) ||
        !peer_json_number(info, "status", &status) ||
        (source != OST_EJECT && source != OST_OSPM_EJECT)) {
        return;
    }
    const char *why = refusal_of(status);
    if (why) {
        take_refusal(leaving, why);
    }
}

static gboolean is_about(const Leaving *leaving, const json_t *data)
{
    return g_strcmp0(peer_json_string(data, "device"), leaving->id) == 0;
}

static void on_event(const char *name, json_t *event, gpointer user_data)
{
    Leaving *leaving = user_data;
    const json_t *data = json_object_get(event, "data");
    const json_t *info = json_object_get(data, "info");

    if (g_str_equal(name, "ACPI_DEVICE_OST") && is_about(leaving, info)) {
        take_ost(leaving, info);
    } else if (!is_about(leaving, data)) {
        return;
    } else if (g_str_equal(name, "DEVICE_DELETED")) {
        leaving->deleted = TRUE;
    } else if (g_str_equal(name, "DEVICE_UNPLUG_GUEST_ERROR") ||
               g_str_equal(name, "MEM_UNPLUG_ERROR")) {
        take_refusal(leaving, peer_json_string(data, "msg"));
    }
}

static gboolean refuse(CtlPeer *peer, const Leaving *leaving, double limit,
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
    return FALSE;
}

static gboolean wait_until_deleted(CtlPeer *peer, Leaving *leaving,
                                   double limit, GError **error)
{
    gint64 end = g_get_monotonic_time() + (gint64)(limit * G_USEC_PER_SEC);

    while (!leaving->deleted) {
        if (leaving->refused || g_get_monotonic_time() >= end) {
            return refuse(peer, leaving, limit, error);
        }
        if (!ctl_peer_wait(peer, end, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

gboolean ctl_unplug(CtlPeer *peer, const char *id, double limit, GError **error)
{
    Leaving leaving = {.id = id};

    ctl_peer_set_listener(peer, on_event, &leaving);
    json_auto_t *done =
        ctl_peer_call(peer, "device_del", json_pack("{s:s}", "id", id), error);
    gboolean ok = done && wait_until_deleted(peer, &leaving, limit, error);
    ctl_peer_set_listener(peer, NULL, NULL);
    g_free(leaving.why);
    return ok;
}
