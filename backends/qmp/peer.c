/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sys/socket.h>
#include <unistd.h>
#include "backends/qmp/peer.h"

GSocket *hm_qmp_unix_socket_of(GIOStream *stream)
{
    GSocket *socket;

    if (!G_IS_SOCKET_CONNECTION(stream)) {
        return NULL;
    }
    socket = g_socket_connection_get_socket(G_SOCKET_CONNECTION(stream));
    return g_socket_get_family(socket) == G_SOCKET_FAMILY_UNIX ? socket : NULL;
}

void hm_qmp_peer_init(HmQmpPeer *self, GIOStream *stream, GArray *allowed)
{
    GSocket *socket = hm_qmp_unix_socket_of(stream);
    struct ucred cred;
    socklen_t size = sizeof(cred);

    *self = (HmQmpPeer){0};
    if (!socket || getsockopt(g_socket_get_fd(socket), SOL_SOCKET, SO_PEERCRED,
                              &cred, &size) < 0) {
        return;
    }
    self->known = TRUE;
    self->pid = cred.pid;
    self->uid = cred.uid;
    self->gid = cred.gid;
    self->allowed = allowed ? g_array_ref(allowed) : NULL;
}

void hm_qmp_peer_clear(HmQmpPeer *self)
{
    g_clear_pointer(&self->allowed, g_array_unref);
}

static gboolean is_listed(const HmQmpPeer *self)
{
    for (guint i = 0; self->allowed && i < self->allowed->len; i++) {
        if (g_array_index(self->allowed, uid_t, i) == self->uid) {
            return TRUE;
        }
    }
    return FALSE;
}

gboolean hm_qmp_peer_is_trusted(const HmQmpPeer *self)
{
    return self->known &&
           (self->uid == 0 || self->uid == geteuid() || is_listed(self));
}
