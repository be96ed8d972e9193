/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "hostmemctl.h"

/* What the commands about domains of libvirt share. */

/** (transfer full): at the URI of a call; or NULL, as of
 * hostmem_libvirt_connection_new(). */
HostmemLibvirtConnection *
ctl_domain_connect(const CtlCall *call, gboolean read_only, GError **error);
/**
 * ctl_domain_read: domains that run.
 * @name: (nullable): of one, or its UUID; NULL: all
 *
 * Returns: (transfer full): {"uri", "domains": [{"name", "uuid", "id",
 * "memory", "current", "max", "devices": [{"alias", "model", "size", "block",
 * "requested", "current", "node"}]}]}, without what is not known; or NULL as of
 * hostmem_libvirt_connection_get()
 */
json_t *ctl_domain_read(HostmemLibvirtConnection *connection, const char *name,
                        GError **error);
/** Each a table; nothing without a row. */
void ctl_domain_view(const json_t *status, GString *text);
void ctl_domain_view_devices(const json_t *status, GString *text);
