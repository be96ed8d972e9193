/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "hostmemctl.h"

/*
 * Theory of operation
 *
 * A running QEMU gets memory in three steps: a descriptor, an object that opens
 * it by its name in /proc, and a DIMM.  It needs the descriptor for the second
 * alone, and has it no longer after that.  What fails is undone from the last
 * step to the first, and a signal waits until all is done or undone, unless it
 * comes twice.
 */

#define DETACH_LIMIT_SECONDS 60.0

typedef struct {
    const char *id;
    char *memdev; /* QEMU's object */
    char *device; /* QEMU's DIMM */
    guint64 node;
    gboolean has_node;
    CtlPeer *qemu;
    CaptiveMemory memory; /* attach */
    guint64 fdset;        /* QEMU's, with @fd in it */
    guint64 fd;
} Dimm;

static void dimm_clear(Dimm *self)
{
    g_clear_pointer(&self->qemu, ctl_peer_free);
    ctl_memory_clear(&self->memory);
    g_free(self->memdev);
    g_free(self->device);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Dimm, dimm_clear)

/* The command line */

static char *name_of(const CtlCall *call, const char *option,
                     const char *prefix)
{
    const char *name = ctl_call_get(call, option);

    return name ? g_strdup(name) : g_strconcat(prefix, call->words[1], NULL);
}

static gboolean parse(Dimm *self, const CtlCall *call, GError **error)
{
    const char *node = ctl_call_get(call, "--node");

    self->id = call->words[1];
    self->memory.fd = -1;
    self->memdev = name_of(call, "--memdev", "hostmem-");
    self->device = name_of(call, "--slot-id", "dimm-");
    self->has_node = node != NULL;
    if (node && !g_ascii_string_to_unsigned(node, 10, 0, G_MAXUINT32,
                                            &self->node, NULL)) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID,
                    "--node: '%s' is not the number of a node", node);
        return FALSE;
    }
    return TRUE;
}

static CtlPeer *connect_to_qemu(const CtlCall *call, GError **error)
{
    const char *socket = call->words[0];

    if (g_str_has_prefix(socket, "tcp:")) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID,
                    "%s: the path of a Unix socket is wanted: nothing else "
                    "carries descriptors",
                    socket);
        return NULL;
    }
    gboolean is_address = g_str_has_prefix(socket, "unix:");
    g_autofree char *address =
        g_strconcat(is_address ? "" : "unix:", socket, NULL);

    return ctl_peer_new_at(address, error);
}

/* Steps, and the way back */

static gboolean call(Dimm *self, const char *command, json_t *arguments,
                     GError **error)
{
    json_auto_t *done = ctl_peer_call(self->qemu, command, arguments, error);

    if (!done) {
        g_prefix_error(error, "%s: ", command);
    }
    return done != NULL;
}

static void append_to(GError **error, const char *more)
{
    char *first = (*error)->message;

    (*error)->message = g_strconcat(first, "; ", more, NULL);
    g_free(first);
}

/* After @error.  Of a QEMU that is gone nothing is left. */
static void undo(Dimm *self, const char *command, json_t *arguments,
                 GError **error)
{
    g_autoptr(GError) why = NULL;

    if (!call(self, command, arguments, &why) &&
        !g_error_matches(why, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM)) {
        g_autofree char *more = g_strconcat(
            "nor could the step before be undone: ", why->message, NULL);
        append_to(error, more);
    }
}

/* QEMU opens the file once more, as its own user. */
static void explain_owner(const Dimm *self, GError **error)
{
    const mode_t needed = S_IROTH | S_IWOTH;
    struct stat st;

    if (strstr((*error)->message, "Permission denied") &&
        fstat(self->memory.fd, &st) == 0 && (st.st_mode & needed) != needed) {
        g_autofree char *more = g_strdup_printf(
            "the memory is a file of uid %u with mode %04o: where QEMU is of "
            "another user, export-owner of '%s' must be that",
            st.st_uid, st.st_mode & 0777, self->id);
        append_to(error, more);
    }
}

static gboolean add_fd(Dimm *self, GError **error)
{
    g_autoptr(GUnixFDList) fds = g_unix_fd_list_new();
    g_autofree char *note = g_strconcat("hostmem ", self->id, NULL);

    if (g_unix_fd_list_append(fds, self->memory.fd, error) < 0) {
        return FALSE;
    }
    json_auto_t *answer =
        ctl_peer_call_fds(self->qemu, "add-fd",
                          json_pack("{s:s}", "opaque", note), fds, NULL, error);
    if (!answer) {
        return FALSE;
    }
    if (!peer_json_number(answer, "fdset-id", &self->fdset) ||
        !peer_json_number(answer, "fd", &self->fd)) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_REMOTE,
                    "%s: the answer to add-fd makes no sense",
                    ctl_peer_get_address(self->qemu));
        return FALSE;
    }
    return TRUE;
}

static json_t *fd_arguments(const Dimm *self)
{
    return json_pack("{s:I,s:I}", "fdset-id", (json_int_t)self->fdset, "fd",
                     (json_int_t)self->fd);
}

static json_t *object_arguments(const Dimm *self)
{
    g_autofree char *path =
        g_strdup_printf("/proc/self/fd/%" G_GUINT64_FORMAT, self->fd);
    json_t *arguments =
        json_pack("{s:s,s:s,s:I,s:s,s:b}", "qom-type", "memory-backend-file",
                  "id", self->memdev, "size", (json_int_t)self->memory.size,
                  "mem-path", path, "share", TRUE);

    if (self->memory.offset) {
        json_object_set_new(arguments, "offset",
                            json_integer((json_int_t)self->memory.offset));
    }
    return arguments;
}

static json_t *device_arguments(const Dimm *self)
{
    json_t *arguments = json_pack("{s:s,s:s,s:s}", "driver", "pc-dimm", "id",
                                  self->device, "memdev", self->memdev);

    if (self->has_node) {
        json_object_set_new(arguments, "node",
                            json_integer((json_int_t)self->node));
    }
    return arguments;
}

static json_t *memdev_arguments(const Dimm *self)
{
    return json_pack("{s:s}", "id", self->memdev);
}

static gboolean add_object(Dimm *self, GError **error)
{
    if (!add_fd(self, error)) {
        return FALSE;
    }
    if (!call(self, "object-add", object_arguments(self), error)) {
        explain_owner(self, error);
        undo(self, "remove-fd", fd_arguments(self), error);
        return FALSE;
    }
    if (!call(self, "remove-fd", fd_arguments(self), error)) {
        undo(self, "object-del", memdev_arguments(self), error);
        return FALSE;
    }
    return TRUE;
}

static gboolean add_dimm(Dimm *self, GError **error)
{
    if (!add_object(self, error)) {
        return FALSE;
    }
    if (!call(self, "device_add", device_arguments(self), error)) {
        undo(self, "object-del", memdev_arguments(self), error);
        return FALSE;
    }
    return TRUE;
}

/* attach */

static gboolean check_writable(const Dimm *self, GError **error)
{
    if ((fcntl(self->memory.fd, F_GETFL) & O_ACCMODE) == O_RDWR) {
        return TRUE;
    }
    g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED,
                "the memory of '%s' is read-only, and a guest writes to a DIMM",
                self->id);
    return FALSE;
}

/* Who insists may leave things half done. */
static gboolean on_signal(gpointer source)
{
    *(guint *)source = 0;
    return G_SOURCE_REMOVE;
}

static gboolean add_dimm_undisturbed(Dimm *self, GError **error)
{
    static const int signums[] = {SIGHUP, SIGINT, SIGTERM};
    guint sources[G_N_ELEMENTS(signums)];

    for (guint i = 0; i < G_N_ELEMENTS(signums); i++) {
        sources[i] = g_unix_signal_add(signums[i], on_signal, &sources[i]);
    }
    gboolean ok = add_dimm(self, error);
    for (guint i = 0; i < G_N_ELEMENTS(signums); i++) {
        g_clear_handle_id(&sources[i], g_source_remove);
    }
    return ok;
}

static int print_attached(const Dimm *self, GError **error)
{
    g_autofree char *size = hostmem_size_to_string(self->memory.size);
    g_autofree char *line =
        g_strdup_printf("%s: %s, device '%s' on '%s'\n", self->id, size,
                        self->device, self->memdev);

    return ctl_put(line, error) ? EXIT_SUCCESS : EXIT_FAILURE;
}

int ctl_run_attach(CtlCall *call, GError **error)
{
    g_auto(Dimm) self = {0};

    if (!parse(&self, call, error)) {
        return EXIT_FAILURE;
    }
    g_autoptr(CtlPeer) hostmemd = ctl_peer_new(call, error);
    if (!hostmemd || !ctl_memory_get(hostmemd, self.id, &self.memory, error) ||
        !check_writable(&self, error) ||
        !(self.qemu = connect_to_qemu(call, error)) ||
        !add_dimm_undisturbed(&self, error)) {
        return EXIT_FAILURE;
    }
    ctl_memory_warn(self.id, &self.memory);
    return print_attached(&self, error);
}

/* detach */

/* Sets @there to whether QEMU has the device.  FALSE with an error: also when
 * it has, on another object. */
static gboolean look_for_device(Dimm *self, gboolean *there, GError **error)
{
    g_autofree char *path =
        g_strconcat("/machine/peripheral/", self->device, NULL);
    g_autofree char *expected = g_strconcat("/objects/", self->memdev, NULL);
    g_autoptr(GError) why = NULL;
    json_auto_t *memdev = ctl_peer_call(
        self->qemu, "qom-get",
        json_pack("{s:s,s:s}", "path", path, "property", "memdev"), &why);

    *there = memdev != NULL;
    if (g_error_matches(why, HOSTMEM_ERROR, HOSTMEM_ERROR_NOT_FOUND)) {
        return TRUE;
    }
    if (why) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    if (g_strcmp0(json_string_value(memdev), expected)) {
        const char *other = json_string_value(memdev);
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID,
                    "%s: device '%s' is on '%s', and not on '%s'",
                    ctl_peer_get_address(self->qemu), self->device,
                    other ? other : "?", expected);
        return FALSE;
    }
    return TRUE;
}

static gboolean remove_dimm(Dimm *self, double limit, GError **error)
{
    gboolean there;

    if (!look_for_device(self, &there, error) ||
        (there && !ctl_unplug(self->qemu, self->device, limit, error))) {
        return FALSE;
    }
    if (!call(self, "object-del", memdev_arguments(self), error)) {
        if (!there) {
            g_prefix_error(error, "there is no device '%s': ", self->device);
        }
        return FALSE;
    }
    return TRUE;
}

int ctl_run_detach(CtlCall *call, GError **error)
{
    g_auto(Dimm) self = {0};
    double limit = DETACH_LIMIT_SECONDS;

    if (!parse(&self, call, error) ||
        !ctl_call_get_seconds(call, "--timeout", 0, &limit, error)) {
        return EXIT_FAILURE;
    }
    self.qemu = connect_to_qemu(call, error);
    return self.qemu && remove_dimm(&self, limit, error) ? EXIT_SUCCESS
                                                         : EXIT_FAILURE;
}
