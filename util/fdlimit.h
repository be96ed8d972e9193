/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

/**
 * hm_fdlimit_check: may so many descriptors more be open?
 * @what: for the message: "memory-pool 'p0'"
 * @why: for the message, behind the number: "one for each segment"
 *
 * Asks RLIMIT_NOFILE, and how many are open now.  What cannot be asked limits
 * nothing.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_LIMIT; the message says what is needed,
 * allowed and open
 */
gboolean hm_fdlimit_check(const char *what, guint64 more, const char *why,
                          GError **error);
