/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>
#include <sys/types.h>

/** (transfer none) (nullable): what descriptors can go over: a Unix socket. */
GSocket *hm_qmp_unix_socket_of(GIOStream *stream);

/** Who is at the other end of a session, as the kernel says. */
typedef struct {
    gboolean known; /* on a Unix socket; else nothing of the rest is set */
    pid_t pid;      /* these were so when it connected */
    uid_t uid;
    gid_t gid;
    GArray *allowed; /* (nullable), owned: uid_t that the door lists */
} HmQmpPeer;

/** @allowed: (transfer none) (nullable) (element-type uid_t) */
void hm_qmp_peer_init(HmQmpPeer *self, GIOStream *stream, GArray *allowed);
void hm_qmp_peer_clear(HmQmpPeer *self);

/**
 * Whether it may have the memory of any backend: it is root, our own user, or
 * on the list of the door.
 */
gboolean hm_qmp_peer_is_trusted(const HmQmpPeer *self);
