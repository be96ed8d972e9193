/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>
#include "backends/qmp/address.h"

/** A socket that clients come in by. */
typedef struct HmQmpDoor HmQmpDoor;

/**
 * A client came; the callback may close the door.
 * @allowed: (transfer none) (nullable) (element-type uid_t): users who may
 *     have memory
 */
typedef void (*HmQmpDoorFunc)(GIOStream *stream, GArray *allowed,
                              gpointer user_data);

/**
 * hm_qmp_door_new: bind and listen, and accept in the thread-default context.
 *
 * The file of a Unix socket has mode and owner before anybody can connect.  A
 * stale one is replaced.
 *
 * Returns: NULL with %HOSTMEM_ERROR_EXISTS (in use, or a file of another
 * kind), %HOSTMEM_ERROR_PERMISSION (folder, owner), %HOSTMEM_ERROR_NOT_FOUND
 * (folder, host), %HOSTMEM_ERROR_SYSTEM
 */
HmQmpDoor *hm_qmp_door_new(const HmQmpAddress *address, HmQmpDoorFunc func,
                           gpointer user_data, GError **error);

/**
 * hm_qmp_door_new_for_fd: accept on a socket that somebody else listens on.
 * @fd: (transfer full) on success; its file is never removed
 *
 * Returns: NULL with %HOSTMEM_ERROR_INVALID (no listening stream socket, or
 * neither of Unix nor of IP)
 */
HmQmpDoor *hm_qmp_door_new_for_fd(int fd, const HmQmpAccess *access,
                                  HmQmpDoorFunc func, gpointer user_data,
                                  GError **error);

/** Close, and remove the file of a Unix socket if it is still ours. */
void hm_qmp_door_free(HmQmpDoor *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmQmpDoor, hm_qmp_door_free)

/** Whether to accept; clients that are not let in wait in the backlog. */
void hm_qmp_door_set_open(HmQmpDoor *self, gboolean open);

/** Where it listens, with the real port. */
const HmQmpAddress *hm_qmp_door_get_address(HmQmpDoor *self);
