/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <gio/gunixfdmessage.h>
#include <sys/socket.h>
#include "backends/qmp/peer.h"
#include "backends/qmp/wire.h"
#include "util/error.h"
#include "util/jsonstream.h"

/*
 * Theory of operation
 *
 * The kernel ends a read behind the bytes that descriptors were sent with, and
 * a server sends them with bytes of the answer they belong to.  So they belong
 * to the message that the last byte of such a read lies in: the one that is not
 * complete then, else the last that is.
 *
 * What a server can make us keep: one message (HmJsonStream), the small ones
 * that one read has brought, and HM_QMP_MAX_FDS descriptors for each of these.
 */

#define READ_SIZE      (16 * 1024)
#define MAX_LAST_READS 64

typedef struct {
    json_t *message;
    GUnixFDList *fds; /* (nullable) */
} Item;

struct HmQmpWire {
    GIOStream *stream;
    GSocket *socket; /* (nullable): descriptors can come */
    const HmQmpWireFuncs *funcs;
    gpointer user_data;

    GMainContext *context;
    GSource *reading; /* NULL once closed */
    HmQmpWriter *writer;
    HmJsonStream *parser;
    GQueue items;     /* of Item: complete, not handed on yet */
    GUnixFDList *fds; /* (nullable): of the message that is not complete */
    GError *broken;   /* what the parser found */
    gboolean closed;
};

static void item_free(gpointer data)
{
    Item *item = data;

    json_decref(item->message);
    g_clear_object(&item->fds);
    g_free(item);
}

static void fail(HmQmpWire *self, HostmemError code, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

static void fail(HmQmpWire *self, HostmemError code, const char *format, ...)
{
    g_autoptr(GError) error = NULL;
    va_list args;

    va_start(args, format);
    error = g_error_new_valist(HOSTMEM_ERROR, (gint)code, format, args);
    va_end(args);
    hm_qmp_wire_close(self, error);
}

/* Reading */

static void on_value(json_t *value, const GError *error, gpointer user_data)
{
    HmQmpWire *self = user_data;
    Item *item;

    if (self->broken) {
        return;
    }
    if (error) {
        self->broken = g_error_copy(error);
        return;
    }
    item = g_new0(Item, 1);
    item->message = json_incref(value);
    item->fds = g_steal_pointer(&self->fds);
    g_queue_push_tail(&self->items, item);
}

/* FALSE: there would be too many, or no room for them. */
static gboolean merge_fds(GUnixFDList **into, GUnixFDList *fds)
{
    int n;
    const int *numbers = g_unix_fd_list_peek_fds(fds, &n);

    if (!*into) {
        *into = g_object_ref(fds);
        return n <= HM_QMP_MAX_FDS;
    }
    if (g_unix_fd_list_get_length(*into) + n > HM_QMP_MAX_FDS) {
        return FALSE;
    }
    for (int i = 0; i < n; i++) {
        if (g_unix_fd_list_append(*into, numbers[i], NULL) < 0) {
            return FALSE;
        }
    }
    return TRUE;
}

static void assign_fds(HmQmpWire *self, GUnixFDList *fds)
{
    Item *last = g_queue_peek_tail(&self->items);

    if (hm_json_stream_is_inside(self->parser)) {
        last = NULL;
    } else if (!last) {
        return; /* with blanks: they belong to nothing */
    }
    if (!merge_fds(last ? &last->fds : &self->fds, fds)) {
        fail(self, HOSTMEM_ERROR_LIMIT,
             "the server sent more descriptors than can be taken: %d a "
             "message, and RLIMIT_NOFILE",
             HM_QMP_MAX_FDS);
    }
}

static void hand_on(HmQmpWire *self)
{
    Item *item;

    while (!self->closed && (item = g_queue_pop_head(&self->items))) {
        self->funcs->message(item->message, item->fds, self->user_data);
        item_free(item);
    }
}

/* All that was understood comes first, then why there is no more. */
static void take_in(HmQmpWire *self, GUnixFDList *fds)
{
    if (fds) {
        assign_fds(self, fds);
    }
    hand_on(self);
    if (self->broken) {
        fail(self, HOSTMEM_ERROR_SYSTEM, "the server does not speak QMP: %s",
             self->broken->message);
    }
}

static void end_of_input(HmQmpWire *self)
{
    fail(self, HOSTMEM_ERROR_SYSTEM, "the server closed the connection%s",
         hm_json_stream_is_inside(self->parser) ? " in the middle of a message"
                                                : "");
}

/* All descriptors in one list; NULL when there are none. */
static GUnixFDList *collect_fds(GSocketControlMessage **messages, int n)
{
    GUnixFDList *all = NULL;

    for (int i = 0; i < n; i++) {
        if (G_IS_UNIX_FD_MESSAGE(messages[i]) && !all) {
            all = g_object_ref(
                g_unix_fd_message_get_fd_list(G_UNIX_FD_MESSAGE(messages[i])));
        }
        g_object_unref(messages[i]);
    }
    g_free(messages);
    return all;
}

static gssize receive(HmQmpWire *self, char *data, GUnixFDList **fds,
                      GError **error)
{
    GInputVector vector = {data, READ_SIZE};
    GSocketControlMessage **messages = NULL;
    int flags = 0;
    int n_messages = 0;
    gssize n =
        g_socket_receive_message(self->socket, NULL, &vector, 1, &messages,
                                 &n_messages, &flags, NULL, error);

    *fds = collect_fds(messages, n_messages);
    if (n > 0 && flags & MSG_CTRUNC) {
        hm_set_error(error, HOSTMEM_ERROR_LIMIT,
                     "descriptors that the server sent were lost: this "
                     "process has too many open (RLIMIT_NOFILE)");
        return -1;
    }
    return n;
}

static gssize read_some(HmQmpWire *self, char *data, GUnixFDList **fds,
                        GError **error)
{
    GInputStream *input;

    if (self->socket) {
        return receive(self, data, fds, error);
    }
    input = g_io_stream_get_input_stream(self->stream);
    return g_pollable_input_stream_read_nonblocking(
        G_POLLABLE_INPUT_STREAM(input), data, READ_SIZE, NULL, error);
}

/* Whether there may be more. */
static gboolean read_once(HmQmpWire *self)
{
    g_autoptr(GUnixFDList) fds = NULL;
    g_autoptr(GError) error = NULL;
    char data[READ_SIZE];
    gssize n = read_some(self, data, &fds, &error);

    if (n > 0) {
        hm_json_stream_feed(self->parser, data, n);
        take_in(self, fds);
    } else if (n == 0 || g_error_matches(error, G_IO_ERROR,
                                         G_IO_ERROR_CONNECTION_CLOSED)) {
        end_of_input(self);
    } else if (error->domain == HOSTMEM_ERROR) {
        hm_qmp_wire_close(self, error);
    } else if (!g_error_matches(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK)) {
        fail(self, HOSTMEM_ERROR_SYSTEM, "cannot read from the server: %s",
             error->message);
    }
    return n > 0 && !self->closed;
}

static gboolean on_readable(GObject *stream G_GNUC_UNUSED, gpointer user_data)
{
    HmQmpWire *self = user_data;

    read_once(self);
    return self->closed ? G_SOURCE_REMOVE : G_SOURCE_CONTINUE;
}

static void start_reading(HmQmpWire *self)
{
    GInputStream *input = g_io_stream_get_input_stream(self->stream);

    self->reading = g_pollable_input_stream_create_source(
        G_POLLABLE_INPUT_STREAM(input), NULL);
    g_source_set_callback(self->reading, G_SOURCE_FUNC(on_readable), self,
                          NULL);
    g_source_attach(self->reading, self->context);
}

static void stop_reading(HmQmpWire *self)
{
    if (self->reading) {
        g_source_destroy(self->reading);
        g_clear_pointer(&self->reading, g_source_unref);
    }
}

/* Writing */

static void on_written(gpointer user_data G_GNUC_UNUSED)
{
}

/* Its last words are there to be read, and that it went. */
static void on_write_failed(const GError *why, gpointer user_data)
{
    HmQmpWire *self = user_data;

    for (guint i = 0; i < MAX_LAST_READS && read_once(self); i++) {
    }
    fail(self, HOSTMEM_ERROR_SYSTEM, "cannot write to the server: %s",
         why->message);
}

static const HmQmpWriterFuncs writer_funcs = {
    .written = on_written,
    .failed = on_write_failed,
};

gboolean hm_qmp_wire_carries_fds(HmQmpWire *self)
{
    return self->socket != NULL;
}

void hm_qmp_wire_send(HmQmpWire *self, json_t *message, GUnixFDList *fds)
{
    g_autoptr(GBytes) line = NULL;

    if (self->closed) {
        return;
    }
    line = hm_qmp_line_new(message);
    if (fds) {
        hm_qmp_writer_push_fds(self->writer, line, fds, NULL);
    } else {
        hm_qmp_writer_push(self->writer, line);
    }
}

gsize hm_qmp_wire_get_waiting(HmQmpWire *self)
{
    return self->closed ? 0 : hm_qmp_writer_get_waiting(self->writer);
}

/* Life */

HmQmpWire *hm_qmp_wire_new(GIOStream *stream, const HmQmpWireFuncs *funcs,
                           gpointer user_data)
{
    HmQmpWire *self = g_new0(HmQmpWire, 1);
    GSocket *socket = hm_qmp_unix_socket_of(stream);

    self->stream = g_object_ref(stream);
    if (socket) {
        self->socket = g_object_ref(socket);
        g_socket_set_blocking(socket, FALSE);
    }
    self->funcs = funcs;
    self->user_data = user_data;
    self->context = g_main_context_ref_thread_default();
    self->writer = hm_qmp_writer_new(stream, &writer_funcs, self);
    self->parser = hm_json_stream_new(on_value, self);
    g_queue_init(&self->items);
    start_reading(self);
    return self;
}

void hm_qmp_wire_set_context(HmQmpWire *self, GMainContext *context)
{
    g_main_context_ref(context);
    g_main_context_unref(self->context);
    self->context = context;
    if (!self->closed) {
        hm_qmp_writer_set_context(self->writer, context);
        stop_reading(self);
        start_reading(self);
    }
}

void hm_qmp_wire_close(HmQmpWire *self, const GError *why)
{
    if (self->closed) {
        return;
    }
    self->closed = TRUE;
    stop_reading(self);
    g_clear_pointer(&self->writer, hm_qmp_writer_free);
    g_io_stream_close(self->stream, NULL, NULL);
    if (why) {
        self->funcs->closed(why, self->user_data);
    }
}

void hm_qmp_wire_free(HmQmpWire *self)
{
    hm_qmp_wire_close(self, NULL);
    hm_json_stream_free(self->parser);
    g_queue_clear_full(&self->items, item_free);
    g_clear_object(&self->fds);
    g_clear_error(&self->broken);
    g_clear_object(&self->socket);
    g_object_unref(self->stream);
    g_main_context_unref(self->context);
    g_free(self);
}
