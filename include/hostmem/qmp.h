/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/registry.h>

G_BEGIN_DECLS

/**
 * HostmemQmpServer:
 *
 * QEMU's machine protocol over a registry: any number of sessions at once, on
 * Unix and TCP sockets or any GIOStream.  A slow command never blocks another
 * session: what takes time runs beside the main loop.
 *
 * Use it from the thread of the registry.  Everything a peer sends is checked
 * and bounded (64 MiB a message, 1024 levels); a peer that misbehaves gets an
 * error, or is dropped, and nobody else notices.  512 sessions are served at
 * once; further clients wait.  The process must ignore SIGPIPE where sessions
 * write to pipes.
 *
 * Signal "quit" (no arguments): a client asked the process to end; creations
 * have been cancelled, event and reply are queued.  End the main loop and call
 * hostmem_qmp_server_shutdown().
 */
#define HOSTMEM_TYPE_QMP_SERVER (hostmem_qmp_server_get_type())
typedef struct _HostmemQmpServer HostmemQmpServer;
#define HOSTMEM_QMP_SERVER(obj)                                 \
    (G_TYPE_CHECK_INSTANCE_CAST((obj), HOSTMEM_TYPE_QMP_SERVER, \
                                HostmemQmpServer))
#define HOSTMEM_IS_QMP_SERVER(obj) \
    (G_TYPE_CHECK_INSTANCE_TYPE((obj), HOSTMEM_TYPE_QMP_SERVER))
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostmemQmpServer, g_object_unref)

GType hostmem_qmp_server_get_type(void) G_GNUC_CONST;

/** Returns: (transfer full): a server without a door */
HostmemQmpServer *hostmem_qmp_server_new(HostmemRegistry *registry);

/**
 * hostmem_qmp_server_listen: open a socket.
 * @address: as QEMU's -qmp: "unix:PATH[,server=on][,wait=off]" or
 *     "tcp:HOST:PORT[,server=on][,wait=off]"; a comma in PATH is doubled, an
 *     IPv6 HOST stands in brackets, an empty HOST is the loopback, PORT 0 lets
 *     the kernel choose
 *
 * Whoever can connect controls the process.  The file of a Unix socket has
 * mode 0600 and our owner, unless options behind PATH say otherwise:
 * "mode=0660" (octal), "owner=USER", "group=GROUP", by name or number; it has
 * both before anybody can connect.  get-memory-fd gives memory to clients that
 * run as root or as our own user, and to those of "allow-uid=USER", which may
 * be repeated.
 *
 * A stale file (nobody accepts there) is replaced; a live one, or a file of
 * another kind, is an error.  The file is removed with the server.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (syntax), %HOSTMEM_ERROR_EXISTS
 * (in use), %HOSTMEM_ERROR_NOT_FOUND (folder, host, user, group),
 * %HOSTMEM_ERROR_PERMISSION (folder, owner), %HOSTMEM_ERROR_SYSTEM
 */
gboolean hostmem_qmp_server_listen(HostmemQmpServer *self, const char *address,
                                   GError **error);

/**
 * hostmem_qmp_server_listen_fd: accept on a socket that somebody else has made,
 * such as a service manager.
 * @fd: (transfer full) on success: a stream socket of Unix or IP that is
 *     listened on
 * @options: (nullable): "allow-uid=USER", which may be repeated, as in
 *     hostmem_qmp_server_listen()
 *
 * The descriptor becomes non-blocking and close-on-exec.  Mode and owner of a
 * socket's file belong to whoever made it, who also removes it.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (@options, or @fd is no such
 * socket), %HOSTMEM_ERROR_NOT_FOUND (user), %HOSTMEM_ERROR_SYSTEM
 */
gboolean hostmem_qmp_server_listen_fd(HostmemQmpServer *self, int fd,
                                      const char *options, GError **error);

/**
 * hostmem_qmp_server_add_stream: serve one session over a stream.
 * @stream: (transfer none): its two halves must be pollable, as those of
 *     sockets, GUnixInputStream and GUnixOutputStream are
 *
 * The session ends when the peer closes.
 */
void hostmem_qmp_server_add_stream(HostmemQmpServer *self, GIOStream *stream);

/**
 * Returns: (transfer full): where the server listens, in the notation of
 * hostmem_qmp_server_listen(), with the real port and without options; an
 * abstract name begins with '@'
 */
char **hostmem_qmp_server_get_addresses(HostmemQmpServer *self);

/**
 * hostmem_qmp_server_shutdown: say goodbye and close.
 * @reason: for the SHUTDOWN event, a word of QEMU's: "none", "host-error",
 *     "host-qmp-quit" or "host-signal"
 *
 * Stops accepting, cancels what is under way, sends the event unless quit did,
 * and gives the sessions a moment, a second altogether, to answer what they
 * began and to take what is queued for them; the main context runs meanwhile.
 * Then closes them and removes socket files.
 */
void hostmem_qmp_server_shutdown(HostmemQmpServer *self, const char *reason);

G_END_DECLS
