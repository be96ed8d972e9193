/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/libvirt-domain.h>

#define HM_DOMAIN_XML_MAX                              \
    (4u << 20) /* bytes: as much as libvirt transports \
                */

/** (transfer full): of nothing, that does not run. */
HostmemLibvirtDomain *hm_domain_new(void);

/**
 * hm_domain_parse: read what libvirt says of a domain.
 * @xml: untrusted
 *
 * What is not about memory is not looked at.
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_INVALID (no XML, no
 * domain, no name, a size that is none) or %HOSTMEM_ERROR_LIMIT (larger than
 * 4 MiB, deeper than 64 levels, more than 4096 memory devices)
 */
HostmemLibvirtDomain *hm_domain_parse(const char *xml, GError **error);

/**
 * hm_domain_update: the XML of one of its virtio-mem with another request.
 * @xml: as hm_domain_parse() has taken it
 * @index: of the device
 *
 * Returns: (transfer full): or NULL as hm_domain_parse(), or with
 * %HOSTMEM_ERROR_INVALID when the device has no request to be changed
 */
char *hm_domain_update(const char *xml, guint index, guint64 bytes,
                       GError **error);

/**
 * hm_domain_find: a memory device.
 * @alias: (nullable): NULL when there is one virtio-mem
 * @index: (out): among the devices
 *
 * Returns: FALSE with %HOSTMEM_ERROR_NOT_FOUND; the message says what there is
 */
gboolean hm_domain_find(const HostmemLibvirtDomain *self, const char *alias,
                        guint *index, GError **error);
