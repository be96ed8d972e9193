/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <limits.h>
#include "backends/qmp/writer.h"

/* What a pipe that polls as writable takes without blocking. */
#define PIECE PIPE_BUF
/* Pieces in a row before others get their turn. */
#define MAX_PIECES 16

struct HmQmpWriter {
    GPollableOutputStream *stream;
    const HmQmpWriterFuncs *funcs;
    gpointer user_data;

    GMainContext *context;
    GSource *source; /* while something waits */

    GQueue chunks; /* of GBytes */
    gsize taken;   /* bytes of the first chunk that are gone */
    gsize waiting; /* bytes */
};

static void stop(HmQmpWriter *self)
{
    if (self->source) {
        g_source_destroy(self->source);
        g_clear_pointer(&self->source, g_source_unref);
    }
}

static void take(HmQmpWriter *self, gsize n)
{
    GBytes *chunk = g_queue_peek_head(&self->chunks);

    self->waiting -= n;
    self->taken += n;
    if (self->taken == g_bytes_get_size(chunk)) {
        g_bytes_unref(g_queue_pop_head(&self->chunks));
        self->taken = 0;
    }
}

/* Bytes written; 0 when the peer takes none now, -1 when it never will. */
static gssize write_piece(HmQmpWriter *self)
{
    g_autoptr(GError) error = NULL;
    gsize size;
    const guint8 *data =
        g_bytes_get_data(g_queue_peek_head(&self->chunks), &size);
    gssize n = g_pollable_output_stream_write_nonblocking(
        self->stream, data + self->taken, MIN(size - self->taken, PIECE), NULL,
        &error);

    if (n < 0 && g_error_matches(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK)) {
        return 0;
    }
    return n;
}

static gboolean on_writable(GObject *stream G_GNUC_UNUSED, gpointer user_data)
{
    HmQmpWriter *self = user_data;
    gssize n = 1;

    for (guint i = 0; i < MAX_PIECES && n > 0 && self->waiting; i++) {
        n = write_piece(self);
        if (n > 0) {
            take(self, n);
        }
    }
    if (n < 0 || !self->waiting) {
        stop(self);
    }
    if (n < 0) {
        self->funcs->failed(self->user_data);
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

HmQmpWriter *hm_qmp_writer_new(GPollableOutputStream *stream,
                               const HmQmpWriterFuncs *funcs,
                               gpointer user_data)
{
    HmQmpWriter *self = g_new0(HmQmpWriter, 1);

    self->stream = g_object_ref(stream);
    self->funcs = funcs;
    self->user_data = user_data;
    self->context = g_main_context_ref_thread_default();
    g_queue_init(&self->chunks);
    return self;
}

void hm_qmp_writer_free(HmQmpWriter *self)
{
    stop(self);
    g_queue_clear_full(&self->chunks, (GDestroyNotify)g_bytes_unref);
    g_object_unref(self->stream);
    g_main_context_unref(self->context);
    g_free(self);
}

void hm_qmp_writer_push(HmQmpWriter *self, GBytes *bytes)
{
    g_queue_push_tail(&self->chunks, g_bytes_ref(bytes));
    self->waiting += g_bytes_get_size(bytes);
    if (!self->source) {
        start(self);
    }
}

gsize hm_qmp_writer_get_waiting(HmQmpWriter *self)
{
    return self->waiting;
}
