/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include "hostmemctl-domain.h"

#define DEFAULT_TIMEOUT_SECONDS 10.0

typedef struct {
    const char *domain;
    CtlProgress *progress;
} Plug;

static guint64 difference(guint64 a, guint64 b)
{
    return a > b ? a - b : b - a;
}

static void show(const HostmemLibvirtMemory *device, guint64 first,
                 gpointer user_data)
{
    const Plug *self = user_data;
    g_autofree char *name = g_strdup_printf(
        "%s: %s %s", self->domain, device->alias ? device->alias : "memory",
        device->requested < first ? "unplugged" : "plugged");

    ctl_progress_show(self->progress, name, difference(device->current, first),
                      difference(device->requested, first));
}

static gboolean resize(CtlCall *call, HostmemLibvirtConnection *connection,
                       const char *alias, guint64 bytes, double timeout,
                       GError **error)
{
    const char *domain = call->words[0];
    g_autoptr(CtlProgress) progress = NULL;
    Plug plug = {domain, NULL};

    if (!ctl_call_has(call, "--wait")) {
        return hostmem_libvirt_connection_request(connection, domain, alias,
                                                  bytes, error);
    }
    plug.progress = progress = ctl_progress_new();
    return hostmem_libvirt_connection_resize(connection, domain, alias, bytes,
                                             (gint64)(timeout * G_USEC_PER_SEC),
                                             show, &plug, NULL, error);
}

int ctl_run_domain_plug(CtlCall *call, GError **error)
{
    gboolean has_alias = call->words[2] != NULL;
    double timeout = DEFAULT_TIMEOUT_SECONDS;
    guint64 bytes;

    if (!hostmem_size_parse(call->words[has_alias ? 2 : 1], &bytes, error) ||
        !ctl_call_get_seconds(call, "--timeout", 0.1, &timeout, error)) {
        g_prefix_error(error, "domain plug: ");
        return EXIT_FAILURE;
    }
    g_autoptr(HostmemLibvirtConnection) connection =
        ctl_domain_connect(call, FALSE, error);
    if (!connection) {
        return EXIT_FAILURE;
    }
    return resize(call, connection, has_alias ? call->words[1] : NULL, bytes,
                  timeout, error)
               ? EXIT_SUCCESS
               : EXIT_FAILURE;
}
