/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>
#include "backends/qmp/address.h"

/** A socket that clients come in by. */
typedef struct HmQmpDoor HmQmpDoor;

/** A client came; the callback may close the door. */
typedef void (*HmQmpDoorFunc)(GIOStream *stream, gpointer user_data);

/**
 * hm_qmp_door_new: bind and listen, and accept in the thread-default context.
 *
 * The file of a Unix socket has mode 0600.  A stale one is replaced.
 *
 * Returns: NULL with %HOSTMEM_ERROR_EXISTS (in use, or a file of another
 * kind), %HOSTMEM_ERROR_PERMISSION, %HOSTMEM_ERROR_NOT_FOUND (folder, host),
 * %HOSTMEM_ERROR_SYSTEM
 */
HmQmpDoor *hm_qmp_door_new(const HmQmpAddress *address, HmQmpDoorFunc func,
                           gpointer user_data, GError **error);

/** Close, and remove the file of a Unix socket if it is still ours. */
void hm_qmp_door_free(HmQmpDoor *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmQmpDoor, hm_qmp_door_free)

/** Whether to accept; clients that are not let in wait in the backlog. */
void hm_qmp_door_set_open(HmQmpDoor *self, gboolean open);

/** Where it listens, with the real port. */
const HmQmpAddress *hm_qmp_door_get_address(HmQmpDoor *self);
