/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <limits.h>
#include "backends/qmp/peer.h"
#include "backends/qmp/writer.h"
#include <gio/gunixfdmessage.h>

/*
 * Theory of operation
 *
 * What waits is a queue of chunks, of which the first is written piece by
 * piece.  The descriptors of a chunk go with its first piece in one sendmsg(2),
 * which takes both or neither; a piece never reaches into the next chunk, so
 * the peer finds them attached to bytes of this message.
 */

/* What a pipe that polls as writable takes without blocking. */
#define PIECE PIPE_BUF
/* Pieces in a row before others get their turn. */
#define MAX_PIECES 16

typedef struct {
    GBytes *bytes;
    GUnixFDList *fds; /* (nullable): until they went */
    GBytes *instead;  /* (nullable) */
} Chunk;

struct HmQmpWriter {
    GPollableOutputStream *stream;
    GSocket *socket; /* (nullable): descriptors can go */
    const HmQmpWriterFuncs *funcs;
    gpointer user_data;

    GMainContext *context;
    GSource *source; /* while something waits */

    GQueue chunks;  /* of Chunk */
    gsize taken;    /* bytes of the first chunk that are gone */
    gsize waiting;  /* bytes */
    guint with_fds; /* chunks that have descriptors */
};

static void drop_fds(HmQmpWriter *self, Chunk *chunk)
{
    if (chunk->fds) {
        g_clear_object(&chunk->fds);
        self->with_fds--;
    }
    g_clear_pointer(&chunk->instead, g_bytes_unref);
}

static void chunk_free(HmQmpWriter *self, Chunk *chunk)
{
    drop_fds(self, chunk);
    g_bytes_unref(chunk->bytes);
    g_free(chunk);
}

static void stop(HmQmpWriter *self)
{
    if (self->source) {
        g_source_destroy(self->source);
        g_clear_pointer(&self->source, g_source_unref);
    }
}

static void take(HmQmpWriter *self, gsize n)
{
    Chunk *chunk = g_queue_peek_head(&self->chunks);

    self->waiting -= n;
    self->taken += n;
    if (self->taken == g_bytes_get_size(chunk->bytes)) {
        chunk_free(self, g_queue_pop_head(&self->chunks));
        self->taken = 0;
    }
}

/* The first piece, or what is left, of the first chunk. */
static GOutputVector next_piece(HmQmpWriter *self)
{
    Chunk *chunk = g_queue_peek_head(&self->chunks);
    gsize size;
    const guint8 *data = g_bytes_get_data(chunk->bytes, &size);

    return (GOutputVector){data + self->taken, MIN(size - self->taken, PIECE)};
}

/* Bytes written; 0 when the peer takes none now, -1 when it never will. */
static gssize write_plain(HmQmpWriter *self, GError **error)
{
    g_autoptr(GError) cause = NULL;
    GOutputVector piece = next_piece(self);
    gssize n = g_pollable_output_stream_write_nonblocking(
        self->stream, piece.buffer, piece.size, NULL, &cause);

    if (n < 0 && g_error_matches(cause, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK)) {
        return 0;
    }
    if (n < 0) {
        g_propagate_error(error, g_steal_pointer(&cause));
    }
    return n;
}

static void use_other_bytes(HmQmpWriter *self, Chunk *chunk)
{
    self->waiting -= g_bytes_get_size(chunk->bytes);
    self->waiting += g_bytes_get_size(chunk->instead);
    g_bytes_unref(chunk->bytes);
    chunk->bytes = g_steal_pointer(&chunk->instead);
    drop_fds(self, chunk);
}

static gssize write_with_fds(HmQmpWriter *self, Chunk *chunk, GError **error)
{
    g_autoptr(GSocketControlMessage) message =
        g_unix_fd_message_new_with_fd_list(chunk->fds);
    g_autoptr(GError) cause = NULL;
    GOutputVector piece = next_piece(self);
    gsize written = 0;

    switch (g_socket_send_message_with_timeout(self->socket, NULL, &piece, 1,
                                               &message, 1, G_SOCKET_MSG_NONE,
                                               0, &written, NULL, &cause)) {
    case G_POLLABLE_RETURN_OK:
        drop_fds(self, chunk);
        return (gssize)written;
    case G_POLLABLE_RETURN_WOULD_BLOCK:
        return 0;
    case G_POLLABLE_RETURN_FAILED:
        break;
    }
    if (chunk->instead) {
        g_message("QMP: cannot send descriptors: %s", cause->message);
        use_other_bytes(self, chunk);
        return write_plain(self, error);
    }
    g_propagate_prefixed_error(error, g_steal_pointer(&cause),
                               "cannot send descriptors: ");
    return -1;
}

static gssize write_piece(HmQmpWriter *self, GError **error)
{
    Chunk *chunk = g_queue_peek_head(&self->chunks);

    return chunk->fds ? write_with_fds(self, chunk, error)
                      : write_plain(self, error);
}

static gboolean on_writable(GObject *stream G_GNUC_UNUSED, gpointer user_data)
{
    HmQmpWriter *self = user_data;
    g_autoptr(GError) error = NULL;
    gssize n = 1;

    for (guint i = 0; i < MAX_PIECES && n > 0 && self->waiting; i++) {
        n = write_piece(self, &error);
        if (n > 0) {
            take(self, n);
        }
    }
    if (n < 0 || !self->waiting) {
        stop(self);
    }
    if (n < 0) {
        self->funcs->failed(error, self->user_data);
    } else {
        self->funcs->written(self->user_data);
    }
    return G_SOURCE_CONTINUE;
}

static void start(HmQmpWriter *self)
{
    self->source = g_pollable_output_stream_create_source(self->stream, NULL);
    g_source_set_callback(self->source, G_SOURCE_FUNC(on_writable), self, NULL);
    g_source_attach(self->source, self->context);
}

HmQmpWriter *hm_qmp_writer_new(GIOStream *stream, const HmQmpWriterFuncs *funcs,
                               gpointer user_data)
{
    HmQmpWriter *self = g_new0(HmQmpWriter, 1);
    GSocket *socket = hm_qmp_unix_socket_of(stream);

    self->stream = G_POLLABLE_OUTPUT_STREAM(
        g_object_ref(g_io_stream_get_output_stream(stream)));
    self->socket = socket ? g_object_ref(socket) : NULL;
    self->funcs = funcs;
    self->user_data = user_data;
    self->context = g_main_context_ref_thread_default();
    g_queue_init(&self->chunks);
    return self;
}

void hm_qmp_writer_free(HmQmpWriter *self)
{
    Chunk *chunk;

    stop(self);
    while ((chunk = g_queue_pop_head(&self->chunks))) {
        chunk_free(self, chunk);
    }
    g_object_unref(self->stream);
    g_clear_object(&self->socket);
    g_main_context_unref(self->context);
    g_free(self);
}

void hm_qmp_writer_set_context(HmQmpWriter *self, GMainContext *context)
{
    g_main_context_ref(context);
    g_main_context_unref(self->context);
    self->context = context;
    if (self->source) {
        stop(self);
        start(self);
    }
}

static Chunk *push(HmQmpWriter *self, GBytes *bytes)
{
    Chunk *chunk = g_new0(Chunk, 1);

    chunk->bytes = g_bytes_ref(bytes);
    g_queue_push_tail(&self->chunks, chunk);
    self->waiting += g_bytes_get_size(bytes);
    if (!self->source) {
        start(self);
    }
    return chunk;
}

void hm_qmp_writer_push(HmQmpWriter *self, GBytes *bytes)
{
    push(self, bytes);
}

void hm_qmp_writer_push_fds(HmQmpWriter *self, GBytes *bytes, GUnixFDList *fds,
                            GBytes *instead)
{
    Chunk *chunk;

    g_return_if_fail(self->socket);
    g_return_if_fail(g_unix_fd_list_get_length(fds) <= HM_QMP_MAX_FDS);

    chunk = push(self, bytes);
    chunk->fds = g_object_ref(fds);
    chunk->instead = instead ? g_bytes_ref(instead) : NULL;
    self->with_fds++;
}

gsize hm_qmp_writer_get_waiting(HmQmpWriter *self)
{
    return self->waiting;
}

gboolean hm_qmp_writer_has_fds(HmQmpWriter *self)
{
    return self->with_fds > 0;
}

static int append_text(const char *text, size_t length, void *data)
{
    g_string_append_len(data, text, length);
    return 0;
}

GBytes *hm_qmp_line_new(json_t *message)
{
    GString *line = g_string_new(NULL);

    json_dump_callback(message, append_text, line, 0);
    g_string_append(line, "\r\n");
    return g_string_free_to_bytes(line);
}
