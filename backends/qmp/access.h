/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/types.h>
#include "util/keyval.h"

#define HM_QMP_SOCKET_MODE 0600

/** Who may connect to a Unix socket, and who may have memory there. */
typedef struct {
    mode_t mode;     /* of the socket's file */
    uid_t owner;     /* (uid_t)-1: whoever made it */
    gid_t group;     /* (gid_t)-1: the group of that */
    GArray *allowed; /* (nullable): uid_t of those who may have memory */
} HmQmpAccess;

#define HM_QMP_ACCESS_INIT                                                 \
    {                                                                      \
        .mode = HM_QMP_SOCKET_MODE, .owner = (uid_t)-1, .group = (gid_t)-1 \
    }

/** (nullable): the row of an option that is about access. */
const HmProp *hm_qmp_access_find_row(const char *name);

/**
 * hm_qmp_access_parse: what options say of it; others are passed over.
 *
 * Returns: FALSE, with nothing to clear, and %HOSTMEM_ERROR_INVALID (mode, a
 * number that no user can have) or %HOSTMEM_ERROR_NOT_FOUND (user, group)
 */
gboolean hm_qmp_access_parse(HmQmpAccess *self, const HmKeyval *options,
                             GError **error);
/**
 * hm_qmp_access_parse_inherited: the same of a socket that somebody else made,
 * with its mode, owner and group: "allow-uid=qemu,allow-uid=1000".
 * @text: (nullable): NULL is empty
 */
gboolean hm_qmp_access_parse_inherited(HmQmpAccess *self, const char *text,
                                       GError **error);
void hm_qmp_access_clear(HmQmpAccess *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(HmQmpAccess, hm_qmp_access_clear)

/** As @from; what that allows is shared. */
void hm_qmp_access_copy(HmQmpAccess *self, const HmQmpAccess *from);
