/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <gio/gunixsocketaddress.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backends/qmp/door.h"
#include "util/error.h"

#define BACKLOG         256
#define ACCEPT_RETRY_MS 200
#define SOCKET_MODE     0600

struct HmQmpDoor {
    HmQmpAddress address;
    gboolean has_file; /* with a Unix socket: which one is ours */
    dev_t device;
    ino_t inode;

    GSocket *socket;
    HmQmpDoorFunc func;
    gpointer user_data;

    GMainContext *context;
    gboolean open;
    GSource *accepting; /* either waits for clients, or for better times */
};

static void start_accepting(HmQmpDoor *self);

/* Accepting */

static gboolean on_retry(gpointer user_data)
{
    start_accepting(user_data);
    return G_SOURCE_REMOVE;
}

static void stop_accepting(HmQmpDoor *self)
{
    if (self->accepting) {
        g_source_destroy(self->accepting);
        g_clear_pointer(&self->accepting, g_source_unref);
    }
}

/* Out of descriptors or memory: the client stays in the backlog, so that
 * polling again at once would only spin. */
static void retry_later(HmQmpDoor *self)
{
    stop_accepting(self);
    self->accepting = g_timeout_source_new(ACCEPT_RETRY_MS);
    g_source_set_callback(self->accepting, on_retry, self, NULL);
    g_source_attach(self->accepting, self->context);
}

static void welcome(HmQmpDoor *self, GSocket *peer)
{
    g_autoptr(GSocketConnection) stream =
        g_socket_connection_factory_create_connection(peer);

    if (!self->address.path) {
        /* A reply behind an event must not wait for the peer's ACK. */
        g_socket_set_option(peer, IPPROTO_TCP, TCP_NODELAY, TRUE, NULL);
    }
    self->func(G_IO_STREAM(stream), self->user_data);
}

static gboolean on_client(GSocket *socket, GIOCondition condition G_GNUC_UNUSED,
                          gpointer user_data)
{
    HmQmpDoor *self = user_data;
    g_autoptr(GError) error = NULL;
    g_autoptr(GSocket) peer = g_socket_accept(socket, NULL, &error);

    if (peer) {
        welcome(self, peer);
        return G_SOURCE_CONTINUE;
    }
    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK) ||
        g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CONNECTION_CLOSED)) {
        return G_SOURCE_CONTINUE;
    }
    g_debug("QMP: %s", error->message);
    retry_later(self);
    return G_SOURCE_REMOVE;
}

static void start_accepting(HmQmpDoor *self)
{
    stop_accepting(self);
    self->accepting = g_socket_create_source(self->socket, G_IO_IN, NULL);
    g_source_set_callback(self->accepting, G_SOURCE_FUNC(on_client), self,
                          NULL);
    g_source_attach(self->accepting, self->context);
}

void hm_qmp_door_set_open(HmQmpDoor *self, gboolean open)
{
    if (self->open == open) {
        return;
    }
    self->open = open;
    if (open) {
        start_accepting(self);
    } else {
        stop_accepting(self);
    }
}

/* Binding */

/* What GIO says, with a code of ours. */
static gboolean set_error_gio(GError **error, const HmQmpAddress *address,
                              const GError *cause)
{
    g_autofree char *text = hm_qmp_address_to_string(address);
    HostmemError code = HOSTMEM_ERROR_SYSTEM;

    if (g_error_matches(cause, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE)) {
        code = HOSTMEM_ERROR_EXISTS;
    } else if (g_error_matches(cause, G_IO_ERROR,
                               G_IO_ERROR_PERMISSION_DENIED)) {
        code = HOSTMEM_ERROR_PERMISSION;
    } else if (g_error_matches(cause, G_IO_ERROR, G_IO_ERROR_NOT_FOUND) ||
               cause->domain == G_RESOLVER_ERROR) {
        code = HOSTMEM_ERROR_NOT_FOUND;
    }
    return hm_set_error(error, code, "cannot listen on %s: %s", text,
                        cause->message);
}

static GSocket *bind_socket(GSocketAddress *address, GError **error)
{
    GSocketFamily family = g_socket_address_get_family(address);
    g_autoptr(GSocket) socket = g_socket_new(family, G_SOCKET_TYPE_STREAM,
                                             G_SOCKET_PROTOCOL_DEFAULT, error);

    if (!socket) {
        return NULL;
    }
    g_socket_set_blocking(socket, FALSE);
    g_socket_set_listen_backlog(socket, BACKLOG);
    /* Linux gives the mode of the unbound socket to the file that bind(2)
     * makes, so that nobody can slip in before a chmod(2); umask(2) would
     * reach into other threads. */
    if (family == G_SOCKET_FAMILY_UNIX) {
        fchmod(g_socket_get_fd(socket), SOCKET_MODE);
    }
    if (!g_socket_bind(socket, address, family != G_SOCKET_FAMILY_UNIX,
                       error)) {
        return NULL;
    }
    return g_steal_pointer(&socket);
}

static gboolean nobody_listens(GSocketAddress *address)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GSocket) socket =
        g_socket_new(G_SOCKET_FAMILY_UNIX, G_SOCKET_TYPE_STREAM,
                     G_SOCKET_PROTOCOL_DEFAULT, NULL);

    if (!socket) {
        return FALSE;
    }
    g_socket_set_blocking(socket, FALSE);
    return !g_socket_connect(socket, address, NULL, &error) &&
           g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED);
}

/* Make room when the file is a socket that a dead process left. */
static gboolean remove_stale(const char *path, GSocketAddress *address,
                             GError **error)
{
    struct stat st;

    if (lstat(path, &st) < 0) {
        return errno == ENOENT || hm_set_error_errno(error, errno, "%s", path);
    }
    if (!S_ISSOCK(st.st_mode)) {
        return hm_set_error(error, HOSTMEM_ERROR_EXISTS,
                            "cannot listen on unix:%s: a file that is no "
                            "socket is there",
                            path);
    }
    if (!nobody_listens(address)) {
        return hm_set_error(error, HOSTMEM_ERROR_EXISTS,
                            "cannot listen on unix:%s: another process "
                            "listens there",
                            path);
    }
    return unlink(path) == 0 || errno == ENOENT ||
           hm_set_error_errno(error, errno, "cannot replace stale socket %s",
                              path);
}

static GSocket *bind_unix(const HmQmpAddress *address, GError **error)
{
    g_autoptr(GSocketAddress) where = g_unix_socket_address_new(address->path);
    g_autoptr(GError) cause = NULL;
    GSocket *socket = bind_socket(where, &cause);

    if (!socket &&
        g_error_matches(cause, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE)) {
        if (!remove_stale(address->path, where, error)) {
            return NULL;
        }
        g_clear_error(&cause);
        socket = bind_socket(where, &cause);
    }
    if (!socket) {
        set_error_gio(error, address, cause);
    }
    return socket;
}

static GInetAddress *resolve(const char *host, GError **error)
{
    g_autoptr(GResolver) resolver = NULL;
    GInetAddress *address;
    GList *found;

    if (!*host) {
        return g_inet_address_new_loopback(G_SOCKET_FAMILY_IPV4);
    }
    address = g_inet_address_new_from_string(host);
    if (address) {
        return address;
    }
    resolver = g_resolver_get_default();
    found = g_resolver_lookup_by_name(resolver, host, NULL, error);
    if (!found) {
        return NULL;
    }
    address = g_object_ref(found->data);
    g_resolver_free_addresses(found);
    return address;
}

static GSocket *bind_tcp(const HmQmpAddress *address, GError **error)
{
    g_autoptr(GError) cause = NULL;
    g_autoptr(GInetAddress) inet = resolve(address->host, &cause);
    g_autoptr(GSocketAddress) where = NULL;
    GSocket *socket = NULL;

    if (inet) {
        where = g_inet_socket_address_new(inet, address->port);
        socket = bind_socket(where, &cause);
    }
    if (!socket) {
        set_error_gio(error, address, cause);
    }
    return socket;
}

/* Which file is ours, by a name that a chdir(2) does not spoil. */
static void note_file(HmQmpDoor *self, const char *path)
{
    struct stat st;

    self->address.path = g_canonicalize_filename(path, NULL);
    if (lstat(self->address.path, &st) == 0) {
        self->has_file = TRUE;
        self->device = st.st_dev;
        self->inode = st.st_ino;
    }
}

static void note_port(HmQmpDoor *self)
{
    g_autoptr(GSocketAddress) where =
        g_socket_get_local_address(self->socket, NULL);
    GInetSocketAddress *inet = G_INET_SOCKET_ADDRESS(where);

    self->address.host =
        g_inet_address_to_string(g_inet_socket_address_get_address(inet));
    self->address.port = g_inet_socket_address_get_port(inet);
}

static void remove_file(HmQmpDoor *self)
{
    struct stat st;

    if (self->has_file && lstat(self->address.path, &st) == 0 &&
        st.st_dev == self->device && st.st_ino == self->inode) {
        unlink(self->address.path);
    }
}

HmQmpDoor *hm_qmp_door_new(const HmQmpAddress *address, HmQmpDoorFunc func,
                           gpointer user_data, GError **error)
{
    g_autoptr(GSocket) socket =
        address->path ? bind_unix(address, error) : bind_tcp(address, error);
    g_autoptr(HmQmpDoor) self = NULL;
    g_autoptr(GError) cause = NULL;

    if (!socket) {
        return NULL;
    }
    self = g_new0(HmQmpDoor, 1);
    self->socket = g_steal_pointer(&socket);
    self->func = func;
    self->user_data = user_data;
    self->context = g_main_context_ref_thread_default();
    if (address->path) {
        note_file(self, address->path);
    } else {
        note_port(self);
    }
    if (!g_socket_listen(self->socket, &cause)) {
        set_error_gio(error, &self->address, cause);
        return NULL;
    }
    hm_qmp_door_set_open(self, TRUE);
    return g_steal_pointer(&self);
}

void hm_qmp_door_free(HmQmpDoor *self)
{
    stop_accepting(self);
    g_socket_close(self->socket, NULL);
    remove_file(self);
    g_object_unref(self->socket);
    g_main_context_unref(self->context);
    hm_qmp_address_clear(&self->address);
    g_free(self);
}

const HmQmpAddress *hm_qmp_door_get_address(HmQmpDoor *self)
{
    return &self->address;
}
