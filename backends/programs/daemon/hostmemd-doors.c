/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <gio/gunixinputstream.h>
#include <gio/gunixoutputstream.h>
#include <unistd.h>
#include "hostmemd.h"

#define STDIO_FDS 2 /* input and output */

struct HmDoors {
    gboolean stdio;
    int flags[STDIO_FDS]; /* standard input's and output's before */
};

/* A peer that does not read must not stop the main loop. */
static void open_stdio(HmDoors *self, HostmemQmpServer *server)
{
    self->stdio = TRUE;
    for (int fd = 0; fd < STDIO_FDS; fd++) {
        self->flags[fd] = fcntl(fd, F_GETFL);
        fcntl(fd, F_SETFL, self->flags[fd] | O_NONBLOCK);
    }
    g_autoptr(GInputStream) in = g_unix_input_stream_new(STDIN_FILENO, FALSE);
    g_autoptr(GOutputStream) out =
        g_unix_output_stream_new(STDOUT_FILENO, FALSE);
    g_autoptr(GIOStream) stream = g_simple_io_stream_new(in, out);
    hostmem_qmp_server_add_stream(server, stream);
}

static gboolean open_one(HmDoors *self, HostmemQmpServer *server,
                         const char *address, GError **error)
{
    if (g_str_equal(address, "stdio")) {
        open_stdio(self, server);
        return TRUE;
    }
    if (!hostmem_qmp_server_listen(server, address, error)) {
        g_prefix_error(error, "-qmp %s: ", address);
        return FALSE;
    }
    return TRUE;
}

static gboolean open_inherited(HostmemQmpServer *server, HmInherited *one,
                               GError **error)
{
    if (!one->listening) {
        return TRUE;
    }
    if (!hostmem_qmp_server_listen_fd(server, one->fd, NULL, error)) {
        g_prefix_error(error, "the inherited socket '%s': ", one->name);
        return FALSE;
    }
    one->fd = -1;
    return TRUE;
}

HmDoors *hm_doors_open(HostmemQmpServer *server, const HmOptions *options,
                       GPtrArray *inherited, GError **error)
{
    g_autoptr(HmDoors) self = g_new0(HmDoors, 1);

    for (guint i = 0; i < inherited->len; i++) {
        if (!open_inherited(server, inherited->pdata[i], error)) {
            return NULL;
        }
    }
    for (guint i = 0; i < options->qmp->len; i++) {
        if (!open_one(self, server, options->qmp->pdata[i], error)) {
            return NULL;
        }
    }
    return g_steal_pointer(&self);
}

void hm_doors_free(HmDoors *self)
{
    for (int fd = 0; self->stdio && fd < STDIO_FDS; fd++) {
        fcntl(fd, F_SETFL, self->flags[fd]);
    }
    g_free(self);
}
