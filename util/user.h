/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>
#include <sys/types.h>

/**
 * hm_user_parse: a user by name or by number.
 *
 * What is all digits is a number, whether there is such a user or not.  Names
 * are looked up as the host is configured, which may take a while.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (empty, a number that no user can
 * have), %HOSTMEM_ERROR_NOT_FOUND (no such user), %HOSTMEM_ERROR_SYSTEM
 */
gboolean hm_user_parse(const char *text, uid_t *uid, GError **error);
/** The same for a group. */
gboolean hm_group_parse(const char *text, gid_t *gid, GError **error);
