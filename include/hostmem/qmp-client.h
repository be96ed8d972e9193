/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>
#include <hostmem/error.h>

G_BEGIN_DECLS

/**
 * HostmemQmpClient:
 *
 * One session with a QMP server: hostmemd's, or QEMU's own.
 *
 * Use it from one thread, whose thread-default main context at creation is
 * the client's: asynchronous answers and signals come from there, in the order
 * in which the server sent them, and only while it runs.  Answers are found by
 * their id, so that any number of commands may be under way.
 *
 * What the server sends is checked and bounded as by HostmemQmpServer (64 MiB a
 * message, 1024 levels, 253 descriptors; 16 MiB of events while a call waits).
 * A server that breaks the protocol ends the session, with an error.  JSON
 * comes as text; an integer outside int64 comes as a real.  The process must
 * ignore SIGPIPE where the session is over a pipe.
 *
 * Signals:
 *
 * "event" (const char *name, const char *json): one event; @json is all of it,
 * with "event", "data" and "timestamp".
 *
 * "closed" (const GError *why): the session has ended other than by
 * hostmem_qmp_client_close(), once, after the last event;
 * %HOSTMEM_ERROR_SYSTEM: the server closed it, or broke the protocol,
 * %HOSTMEM_ERROR_LIMIT: a limit named above.
 */
#define HOSTMEM_TYPE_QMP_CLIENT (hostmem_qmp_client_get_type())
typedef struct _HostmemQmpClient HostmemQmpClient;
#define HOSTMEM_QMP_CLIENT(obj)                                 \
    (G_TYPE_CHECK_INSTANCE_CAST((obj), HOSTMEM_TYPE_QMP_CLIENT, \
                                HostmemQmpClient))
#define HOSTMEM_IS_QMP_CLIENT(obj) \
    (G_TYPE_CHECK_INSTANCE_TYPE((obj), HOSTMEM_TYPE_QMP_CLIENT))
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostmemQmpClient, g_object_unref)

GType hostmem_qmp_client_get_type(void) G_GNUC_CONST;

/**
 * hostmem_qmp_client_new: connect to a server and negotiate.
 * @address: "unix:PATH" or "tcp:HOST:PORT", as hostmem_qmp_server_listen()
 *     takes it, without options
 *
 * Blocks.  The server has 30 seconds to greet: a QEMU serves one client at a
 * time, and none while it allocates memory.  Capabilities are not enabled.
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_INVALID (@address),
 * %HOSTMEM_ERROR_NOT_FOUND (no such socket or host, nobody listens),
 * %HOSTMEM_ERROR_PERMISSION, %HOSTMEM_ERROR_BUSY (too many clients wait for
 * it), %HOSTMEM_ERROR_TIMED_OUT (no greeting), %HOSTMEM_ERROR_REMOTE (it
 * refused to negotiate), %HOSTMEM_ERROR_SYSTEM (it is no QMP server, or went),
 * %G_IO_ERROR_CANCELLED
 */
HostmemQmpClient *hostmem_qmp_client_new(const char *address,
                                         GCancellable *cancellable,
                                         GError **error);

/**
 * hostmem_qmp_client_new_for_stream: negotiate over a stream.
 * @stream: (transfer none): connected to a server; its two halves must be
 *     pollable, as those of sockets, GUnixInputStream and GUnixOutputStream
 *     are.  It belongs to the client, which closes it, also after a failure.
 *
 * Returns: (transfer full): or NULL, as hostmem_qmp_client_new()
 */
HostmemQmpClient *hostmem_qmp_client_new_for_stream(GIOStream *stream,
                                                    GCancellable *cancellable,
                                                    GError **error);

/**
 * hostmem_qmp_client_get_greeting: who is it?
 *
 * Returns: (transfer none): {"QMP": {"version": ..., "capabilities": [...]}}
 * as JSON text; valid as long as @self
 */
const char *hostmem_qmp_client_get_greeting(HostmemQmpClient *self);

/**
 * hostmem_qmp_client_get_peer_uid: whose process is it?
 *
 * Returns: the user who listened on a Unix socket, as the kernel says: that of
 * the server, or of the service manager that made the socket for it; -1: the
 * session is over something else
 */
gint64 hostmem_qmp_client_get_peer_uid(HostmemQmpClient *self);

/**
 * hostmem_qmp_client_execute: run a command and wait for its answer.
 * @arguments: (nullable): a JSON object as text
 * @fds: (transfer none) (nullable): descriptors to send along, as add-fd needs
 *     them
 * @fds_out: (out) (optional) (nullable) (transfer full): descriptors that came
 *     with the answer, close-on-exec; NULL when there were none
 *
 * Waits as long as the command takes; events that come meanwhile are emitted
 * later, from the main context, which does not run.  After cancelling, the
 * command may still be carried out; its answer is dropped.
 *
 * Returns: (transfer full): the value of "return" as JSON text; or NULL with
 * %HOSTMEM_ERROR_NOT_FOUND (the server's class DeviceNotFound),
 * %HOSTMEM_ERROR_UNSUPPORTED (its CommandNotFound; @fds on anything but a Unix
 * socket), %HOSTMEM_ERROR_REMOTE (any other error of the server; of these
 * three the message is its own words), %HOSTMEM_ERROR_INVALID (@arguments),
 * %HOSTMEM_ERROR_LIMIT (too much waits to be sent; see above),
 * %HOSTMEM_ERROR_SYSTEM (the session has ended), %G_IO_ERROR_CANCELLED
 */
char *hostmem_qmp_client_execute(HostmemQmpClient *self, const char *command,
                                 const char *arguments, GUnixFDList *fds,
                                 GUnixFDList **fds_out,
                                 GCancellable *cancellable, GError **error);

/**
 * hostmem_qmp_client_execute_async: the same, without waiting.
 *
 * @callback runs in the main context of the client, which lives until then.
 */
void hostmem_qmp_client_execute_async(HostmemQmpClient *self,
                                      const char *command,
                                      const char *arguments, GUnixFDList *fds,
                                      GCancellable *cancellable,
                                      GAsyncReadyCallback callback,
                                      gpointer user_data);
/** Returns: (transfer full): as hostmem_qmp_client_execute() */
char *hostmem_qmp_client_execute_finish(HostmemQmpClient *self,
                                        GAsyncResult *result,
                                        GUnixFDList **fds_out, GError **error);

/**
 * hostmem_qmp_client_close: end the session now.
 *
 * Commands under way fail with %HOSTMEM_ERROR_SYSTEM; "closed" is not emitted.
 * The last unref does the same.
 */
void hostmem_qmp_client_close(HostmemQmpClient *self);

G_END_DECLS
