/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

/**
 * hm_memlock_check: may so many bytes more be locked in memory?
 * @what: for the message: "memory-backend-ram 'm0'"
 *
 * Asks RLIMIT_MEMLOCK, what this process has locked, and whether the limit
 * holds for it.  A number that cannot be read limits nothing.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_LIMIT; the message says what is needed,
 * allowed and used
 */
gboolean hm_memlock_check(const char *what, guint64 bytes, GError **error);

/**
 * hm_memlock_set_error: say why so many bytes could not be locked.
 * @err: positive errno of hm_os_mlock()
 *
 * Returns: FALSE, with %HOSTMEM_ERROR_LIMIT, %HOSTMEM_ERROR_UNSUPPORTED or
 * %HOSTMEM_ERROR_SYSTEM
 */
gboolean hm_memlock_set_error(const char *what, guint64 bytes, int err,
                              GError **error);
