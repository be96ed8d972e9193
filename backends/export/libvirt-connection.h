/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "backends/export/libvirt-events.h"

/* What libvirt-resize.c needs of a connection.  Errors say the URI. */

const HmLibvirt *hm_libvirt_connection_get_lib(HostmemLibvirtConnection *self);
HmLibvirtEvents *
hm_libvirt_connection_get_events(HostmemLibvirtConnection *self);

/** What libvirt says of the last call, in front of it URI and @what.  FALSE. */
gboolean hm_libvirt_connection_fail(HostmemLibvirtConnection *self,
                                    const char *what, GError **error);

/**
 * hm_libvirt_connection_find: by name or UUID, whether it runs or not.
 *
 * Returns: (transfer full): for virDomainFree(), or NULL with
 * %HOSTMEM_ERROR_NOT_FOUND, or whatever stands for libvirt's error
 */
virDomainPtr hm_libvirt_connection_find(HostmemLibvirtConnection *self,
                                        const char *name, GError **error);

/**
 * hm_libvirt_connection_describe: what there is to know of a domain that runs.
 * @xml: (out) (optional): (transfer full): for free()
 *
 * Returns: (transfer full): or NULL, as of hostmem_libvirt_connection_get()
 */
HostmemLibvirtDomain *
hm_libvirt_connection_describe(HostmemLibvirtConnection *self,
                               virDomainPtr domain, char **xml, GError **error);
