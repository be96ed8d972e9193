/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>
#include <sys/types.h>

/** Whose a file shall be. */
typedef struct {
    uid_t uid;
    gid_t gid; /* (gid_t)-1: it keeps its group */
} HmOwner;

/**
 * hm_owner_parse: USER[:GROUP], each a name or a number.
 *
 * As chown(1) a name is looked up first, also when it is made of digits.  May
 * block as long as the host's database of users does.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (syntax), %HOSTMEM_ERROR_NOT_FOUND
 * (no such user or group) or %HOSTMEM_ERROR_SYSTEM (the database)
 */
gboolean hm_owner_parse(const char *text, HmOwner *owner, GError **error);
