/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/hostmem.h>

/* Values as libvirt writes them; each refusal is %HOSTMEM_ERROR_INVALID. */

/**
 * hook_refuse: set an error of at most 200 characters, valid UTF-8.
 *
 * Returns: FALSE
 */
gboolean hook_refuse(GError **error, HostmemError code, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

/** A decimal number up to @max, maybe with blanks around it. */
gboolean hook_parse_number(const char *text, guint64 max, guint64 *number,
                           GError **error);
/** Bytes of a unit; NULL: KiB.  "k" and "KiB" are 1024, "KB" is 1000. */
gboolean hook_parse_unit(const char *unit, guint64 *scale, GError **error);
/** A number of @scale bytes each, up to the largest gint64, in bytes. */
gboolean hook_parse_scaled(const char *text, guint64 scale, guint64 *size,
                           GError **error);
/** The same with a unit. */
gboolean hook_parse_size(const char *text, const char *unit, guint64 *size,
                         GError **error);

/** Ids from 0 up to, and without, this. */
#define HOOK_IDS_MAX 1024

/**
 * hook_nodeset_parse: "0-3,^2,8", as libvirt writes numbers.
 * @ids: (array): of HOOK_IDS_MAX, set to whether each is in it
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID
 */
gboolean hook_nodeset_parse(const char *text, gboolean *ids, GError **error);
