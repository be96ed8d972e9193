/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/hostmem.h>

/* What is refused, and sets as libvirt writes them. */

/**
 * hook_refuse: set an error of at most 200 characters, valid UTF-8.
 *
 * Returns: FALSE
 */
gboolean hook_refuse(GError **error, HostmemError code, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

/** Ids from 0 up to, and without, this. */
#define HOOK_IDS_MAX 1024

/**
 * hook_nodeset_parse: "0-3,^2,8", as libvirt writes numbers.
 * @ids: (array): of HOOK_IDS_MAX, set to whether each is in it
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID
 */
gboolean hook_nodeset_parse(const char *text, gboolean *ids, GError **error);
