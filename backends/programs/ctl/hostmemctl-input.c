/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <glib-unix.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>
#include "hostmemctl.h"

#define LINE_MAX_BYTES (64u << 20) /* as much as a server takes */
#define CHUNK_BYTES    (64u << 10)

struct CtlInput {
    CtlPeer *peer; /* borrowed */
    int fd;
    gboolean ended;
    GByteArray *bytes; /* read, and not yet given out */
    gsize searched;    /* of them, for an end of line */
};

typedef struct {
    CtlPeer *peer;
    gboolean ready;
} Waiting;

static gboolean on_ready(G_GNUC_UNUSED int fd,
                         G_GNUC_UNUSED GIOCondition condition, gpointer data)
{
    Waiting *waiting = data;

    waiting->ready = TRUE;
    ctl_peer_wake(waiting->peer);
    return G_SOURCE_REMOVE;
}

gboolean ctl_input_wait(CtlPeer *peer, int fd, GError **error)
{
    struct pollfd now = {.fd = fd, .events = POLLIN};
    Waiting waiting = {.peer = peer};
    gboolean ok = TRUE;

    if (poll(&now, 1, 0) > 0) {
        return TRUE;
    }
    g_autoptr(GSource) source =
        g_unix_fd_source_new(fd, G_IO_IN | G_IO_HUP | G_IO_ERR);
    g_source_set_callback(source, G_SOURCE_FUNC(on_ready), &waiting, NULL);
    g_source_attach(source, NULL);
    while (ok && !waiting.ready) {
        ok = ctl_peer_wait(peer, -1, error);
    }
    g_source_destroy(source);
    return ok;
}

CtlInput *ctl_input_new(CtlPeer *peer, int fd)
{
    CtlInput *self = g_new0(CtlInput, 1);

    self->peer = peer;
    self->fd = fd;
    self->bytes = g_byte_array_new();
    return self;
}

void ctl_input_free(CtlInput *self)
{
    g_byte_array_unref(self->bytes);
    g_free(self);
}

static gboolean fill(CtlInput *self, GError **error)
{
    guint8 chunk[CHUNK_BYTES];
    gssize got;

    if (!ctl_input_wait(self->peer, self->fd, error)) {
        return FALSE;
    }
    do {
        got = read(self->fd, chunk, sizeof(chunk));
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM,
                    "cannot read the input: %s", g_strerror(errno));
        return FALSE;
    }
    self->ended = got == 0;
    g_byte_array_append(self->bytes, chunk, got);
    if (self->bytes->len > LINE_MAX_BYTES) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_LIMIT,
                    "a line is longer than %u MiB", LINE_MAX_BYTES >> 20);
        return FALSE;
    }
    return TRUE;
}

/* @length: without its end, of @ending bytes. */
static char *take(CtlInput *self, gsize length, gsize ending)
{
    char *line = g_strndup((const char *)self->bytes->data, length);

    g_byte_array_remove_range(self->bytes, 0, length + ending);
    self->searched = 0;
    return line;
}

char *ctl_input_read(CtlInput *self, GError **error)
{
    for (;;) {
        const guint8 *from = self->bytes->data + self->searched;
        const guint8 *end =
            self->bytes->len > self->searched
                ? memchr(from, '\n', self->bytes->len - self->searched)
                : NULL;

        if (end) {
            return take(self, end - self->bytes->data, 1);
        }
        if (self->ended) {
            return self->bytes->len ? take(self, self->bytes->len, 0) : NULL;
        }
        self->searched = self->bytes->len;
        if (!fill(self, error)) {
            return NULL;
        }
    }
}
