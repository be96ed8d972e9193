/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

/**
 * hm_libvirt_reduce: domain XML without what no memory depends on.
 *
 * What is left out, disks and networks above all, cannot keep libvirt from
 * converting the rest, nor make it do anything.  No entity but those of
 * characters is resolved.  Whether it is a domain is left to libvirt.
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_INVALID
 */
char *hm_libvirt_reduce(const char *xml, GError **error);
