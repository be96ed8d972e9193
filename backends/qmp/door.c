/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <gio/gunixsocketaddress.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backends/qmp/door.h"
#include "util/autofd.h"
#include "util/error.h"

#define BACKLOG         256
#define ACCEPT_RETRY_MS 200

struct HmQmpDoor {
    HmQmpAddress address;
    gboolean has_file; /* that is ours, of a Unix socket: which one it is */
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
    self->func(G_IO_STREAM(stream), self->address.access.allowed,
               self->user_data);
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
     * makes; umask(2) would reach into other threads. */
    if (family == G_SOCKET_FAMILY_UNIX) {
        fchmod(g_socket_get_fd(socket), HM_QMP_SOCKET_MODE);
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
        hm_qmp_address_set_error(address, "listen on", cause, error);
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
        hm_qmp_address_set_error(address, "listen on", cause, error);
    }
    return socket;
}

/* Its file, whoever may be renaming others meanwhile. */
static int open_file(HmQmpDoor *self, GError **error)
{
    hm_autofd int fd = hm_os_open(self->address.path, O_PATH | O_NOFOLLOW, 0);
    struct stat st;

    if (fd < 0) {
        hm_set_error_errno(error, -fd, "cannot listen on unix:%s",
                           self->address.path);
        return -1;
    }
    if (hm_os_stat(fd, &st) < 0 || !S_ISSOCK(st.st_mode) ||
        st.st_uid != geteuid()) {
        hm_set_error(error, HOSTMEM_ERROR_SYSTEM,
                     "cannot listen on unix:%s: another file is there now",
                     self->address.path);
        return -1;
    }
    self->has_file = TRUE;
    self->device = st.st_dev;
    self->inode = st.st_ino;
    return hm_steal_fd(&fd);
}

/* O_PATH is no access: chmod(2) wants a path, and finds the file by it. */
static int change_mode(int fd, mode_t mode)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);

    return chmod(path, mode);
}

/* Nobody can connect before listen(2). */
static gboolean apply_access(HmQmpDoor *self, int fd, GError **error)
{
    const HmQmpAccess *access = &self->address.access;
    const char *path = self->address.path;

    if (access->mode != HM_QMP_SOCKET_MODE &&
        change_mode(fd, access->mode) < 0) {
        return hm_set_error_errno(error, errno,
                                  "cannot set mode 0%o of the socket unix:%s",
                                  access->mode, path);
    }
    if ((access->owner != (uid_t)-1 || access->group != (gid_t)-1) &&
        fchownat(fd, "", access->owner, access->group, AT_EMPTY_PATH) < 0) {
        return hm_set_error_errno(error, errno,
                                  "cannot change owner or group of the socket "
                                  "unix:%s",
                                  path);
    }
    return TRUE;
}

/* Which file is ours, by a name that a chdir(2) does not spoil. */
static gboolean prepare_file(HmQmpDoor *self, const char *path, GError **error)
{
    hm_autofd int fd = -1;

    self->address.path = g_canonicalize_filename(path, NULL);
    fd = open_file(self, error);
    return fd >= 0 && apply_access(self, fd, error);
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

/* @socket is (transfer full). */
static HmQmpDoor *door_new(GSocket *socket, const HmQmpAccess *access,
                           HmQmpDoorFunc func, gpointer user_data)
{
    HmQmpDoor *self = g_new0(HmQmpDoor, 1);

    self->socket = socket;
    self->func = func;
    self->user_data = user_data;
    self->context = g_main_context_ref_thread_default();
    hm_qmp_access_copy(&self->address.access, access);
    return self;
}

HmQmpDoor *hm_qmp_door_new(const HmQmpAddress *address, HmQmpDoorFunc func,
                           gpointer user_data, GError **error)
{
    GSocket *socket =
        address->path ? bind_unix(address, error) : bind_tcp(address, error);
    g_autoptr(HmQmpDoor) self = NULL;
    g_autoptr(GError) cause = NULL;

    if (!socket) {
        return NULL;
    }
    self = door_new(socket, &address->access, func, user_data);
    if (!address->path) {
        note_port(self);
    } else if (!prepare_file(self, address->path, error)) {
        return NULL;
    }
    if (!g_socket_listen(self->socket, &cause)) {
        hm_qmp_address_set_error(&self->address, "listen on", cause, error);
        return NULL;
    }
    hm_qmp_door_set_open(self, TRUE);
    return g_steal_pointer(&self);
}

/* Sockets of somebody else */

static gboolean has_option(int fd, int option, int value)
{
    int found;
    socklen_t size = sizeof(found);

    return getsockopt(fd, SOL_SOCKET, option, &found, &size) == 0 &&
           found == value;
}

static gboolean check_listener(int fd, GError **error)
{
    if (!has_option(fd, SO_TYPE, SOCK_STREAM)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "descriptor %d is no stream socket", fd);
    }
    if (!has_option(fd, SO_ACCEPTCONN, TRUE)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "nobody listens on the socket of descriptor %d",
                            fd);
    }
    if (!has_option(fd, SO_DOMAIN, AF_UNIX) &&
        !has_option(fd, SO_DOMAIN, AF_INET) &&
        !has_option(fd, SO_DOMAIN, AF_INET6)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "the socket of descriptor %d is neither of Unix "
                            "nor of IP",
                            fd);
    }
    return TRUE;
}

/* An abstract name as others write it; "@" alone is no name at all. */
static char *path_of(GUnixSocketAddress *where)
{
    const char *path = g_unix_socket_address_get_path(where);

    return g_unix_socket_address_get_address_type(where) ==
                   G_UNIX_SOCKET_ADDRESS_PATH
               ? g_strdup(path)
               : g_strconcat("@", path, NULL);
}

static void note_address(HmQmpDoor *self)
{
    g_autoptr(GSocketAddress) where =
        g_socket_get_local_address(self->socket, NULL);

    if (where && G_IS_UNIX_SOCKET_ADDRESS(where)) {
        self->address.path = path_of(G_UNIX_SOCKET_ADDRESS(where));
    } else {
        note_port(self);
    }
}

HmQmpDoor *hm_qmp_door_new_for_fd(int fd, const HmQmpAccess *access,
                                  HmQmpDoorFunc func, gpointer user_data,
                                  GError **error)
{
    g_autoptr(GError) cause = NULL;
    GSocket *socket;
    HmQmpDoor *self;

    if (!check_listener(fd, error)) {
        return NULL;
    }
    socket = g_socket_new_from_fd(fd, &cause);
    if (!socket) {
        hm_set_error(error, HOSTMEM_ERROR_SYSTEM,
                     "cannot use the socket of descriptor %d: %s", fd,
                     cause->message);
        return NULL;
    }
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    g_socket_set_blocking(socket, FALSE);
    self = door_new(socket, access, func, user_data);
    note_address(self);
    hm_qmp_door_set_open(self, TRUE);
    return self;
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
