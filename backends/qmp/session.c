/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/qmp/call.h"
#include "backends/qmp/server.h"
#include "backends/qmp/session.h"
#include "backends/qmp/version.h"
#include "backends/qmp/writer.h"
#include "util/jsonstream.h"

/*
 * Theory of operation
 *
 * A session is three sources in the main loop:
 *
 *   reading   takes a little from the socket, cuts it into messages, and puts
 *             them in a queue: one is for what is out of band
 *   working   takes one message from a queue and runs it, out of band first
 *   writing   (HmQmpWriter) hands the answers to the socket
 *
 * A large message takes long to parse, so that a thread does it (HmQmpParser);
 * what came behind it waits until then, and no more is read.
 *
 * Commands in band are answered in their order: while one runs (it may end
 * much later, in a callback), their queue waits.  Each turn of a source is
 * short, so sessions share the loop evenly whatever one of them sends.
 *
 * What a client can make us keep is bounded by switching sources off: reading
 * when a queue is full or answers pile up; working when answers pile up or,
 * out of band, many commands run.  An answer with descriptors that waits is as
 * good as a pile: each of them is one of the few that a process can have.
 * update() decides all that from the state, after every change.  Events cannot
 * be held back; who lets too many wait is dropped.
 *
 * When the client sends no more, what it asked for is still answered.  When it
 * takes no more, the session closes; commands it started run to their end and
 * their answers are dropped.
 */

#define READ_SIZE       (16 * 1024)
#define LARGE_MESSAGE   (1u << 20) /* bytes */
#define MAX_QUEUED      8
#define MAX_OOB_RUNNING 8
#define MAX_REPLIES     (1u << 20)  /* bytes waiting: serve no more */
#define MAX_WAITING     (64u << 20) /* bytes waiting: drop the client */

/* What came in, in order: a message or why it was none. */
typedef struct {
    json_t *message;
    GError *error;
    HmQmpParser *parser; /* of a large message, else NULL */
} Request;

struct HmQmpSession {
    HostmemQmpServer *server; /* NULL once closed */
    GIOStream *stream;
    HmQmpPeer peer;
    GMainContext *context;
    GSource *reading;
    GSource *working;
    HmQmpWriter *writer;
    HmJsonStream *parser;
    GQueue requests;   /* of Request: in band, and what was no message */
    GQueue urgent;     /* of Request: out of band */
    HmQmpParse *parse; /* of a large message, while it lasts */
    GQueue behind;     /* of Request: came after that one */

    gboolean negotiated;
    gboolean oob;
    gboolean running;  /* a command in band is */
    guint oob_running; /* commands out of band that are */
    gboolean ended;    /* the client sends no more, or nobody listens */
};

static void update(HmQmpSession *self);

static void request_free(Request *request)
{
    if (request->parser) {
        hm_qmp_parser_drop(request->parser, request->message);
    } else {
        json_decref(request->message);
    }
    g_clear_error(&request->error);
    g_free(request);
}

/* Reading */

static Request *request_new(json_t *message, const GError *error)
{
    Request *request = g_new0(Request, 1);

    request->message = json_incref(message);
    request->error = error ? g_error_copy(error) : NULL;
    return request;
}

static void enqueue(HmQmpSession *self, Request *request)
{
    gboolean urgent =
        request->message && self->oob && hm_qmp_wants_oob(request->message);

    g_queue_push_tail(urgent ? &self->urgent : &self->requests, request);
}

static void on_message(json_t *message, const GError *error, gpointer user_data)
{
    HmQmpSession *self = user_data;
    Request *request = request_new(message, error);

    if (self->parse) {
        g_queue_push_tail(&self->behind, request);
    } else {
        enqueue(self, request);
    }
}

static void on_parsed(json_t *message, const GError *error, gpointer user_data)
{
    HmQmpSession *self = user_data;
    Request *request = request_new(message, error);

    request->parser = hm_qmp_server_get_parser(self->server);
    self->parse = NULL;
    do {
        enqueue(self, request);
    } while ((request = g_queue_pop_head(&self->behind)));
    update(self);
}

/* One at a time: no more is read meanwhile, and two do not fit READ_SIZE. */
static void on_large_message(GString *text, gpointer user_data)
{
    HmQmpSession *self = user_data;

    self->parse = hm_qmp_parser_start(hm_qmp_server_get_parser(self->server),
                                      text, on_parsed, self);
}

static void end_of_input(HmQmpSession *self)
{
    self->ended = TRUE;
    hm_json_stream_end(self->parser);
}

static gboolean on_readable(GObject *stream, gpointer user_data)
{
    g_autoptr(HmQmpSession) self = hm_qmp_session_ref(user_data);
    g_autoptr(GError) error = NULL;
    char data[READ_SIZE];
    gssize n = g_pollable_input_stream_read_nonblocking(
        G_POLLABLE_INPUT_STREAM(stream), data, sizeof(data), NULL, &error);

    if (n > 0) {
        hm_json_stream_feed(self->parser, data, n);
    } else if (n == 0) {
        end_of_input(self);
    } else if (!g_error_matches(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK)) {
        hm_qmp_session_close(self);
    }
    update(self);
    return G_SOURCE_CONTINUE;
}

/* Working */

static void run_urgent(HmQmpSession *self, const Request *request)
{
    self->oob_running++;
    hm_qmp_dispatch(self->server, self, request->message, TRUE);
}

static void run_next(HmQmpSession *self, const Request *request)
{
    self->running = TRUE;
    if (request->message) {
        hm_qmp_dispatch(self->server, self, request->message, FALSE);
    } else {
        hm_qmp_session_reply(self, hm_qmp_error_to_json(request->error, NULL),
                             FALSE);
    }
}

static gboolean may_run_urgent(HmQmpSession *self)
{
    return self->urgent.length && self->oob_running < MAX_OOB_RUNNING;
}

static gboolean may_run_next(HmQmpSession *self)
{
    return self->requests.length && !self->running;
}

static gboolean on_work(gpointer user_data)
{
    g_autoptr(HmQmpSession) self = hm_qmp_session_ref(user_data);
    g_autoptr(HostmemQmpServer) server = g_object_ref(self->server);
    gboolean urgent = may_run_urgent(self);
    Request *request =
        g_queue_pop_head(urgent ? &self->urgent : &self->requests);

    if (urgent) {
        run_urgent(self, request);
    } else {
        run_next(self, request);
    }
    request_free(request);
    update(self);
    return G_SOURCE_CONTINUE;
}

/* Writing */

static void on_written(gpointer user_data)
{
    update(user_data);
}

static void on_write_failed(const GError *why G_GNUC_UNUSED, gpointer user_data)
{
    hm_qmp_session_close(user_data);
}

static const HmQmpWriterFuncs writer_funcs = {
    .written = on_written,
    .failed = on_write_failed,
};

/* FALSE: nobody takes what is sent. */
static gboolean can_send(HmQmpSession *self)
{
    if (!self->server) {
        return FALSE;
    }
    if (hm_qmp_writer_get_waiting(self->writer) > MAX_WAITING) {
        g_debug("QMP: a client that does not read is dropped");
        hm_qmp_session_close(self);
        return FALSE;
    }
    return TRUE;
}

void hm_qmp_session_send(HmQmpSession *self, GBytes *line)
{
    if (can_send(self)) {
        hm_qmp_writer_push(self->writer, line);
    }
}

static void end_command(HmQmpSession *self, gboolean oob)
{
    if (oob) {
        self->oob_running--;
    } else {
        self->running = FALSE;
    }
}

void hm_qmp_session_reply(HmQmpSession *self, json_t *response, gboolean oob)
{
    g_autoptr(GBytes) line = hm_qmp_line_new(response);

    json_decref(response);
    end_command(self, oob);
    hm_qmp_session_send(self, line);
    update(self);
}

void hm_qmp_session_reply_fds(HmQmpSession *self, json_t *response,
                              GUnixFDList *fds, json_t *instead, gboolean oob)
{
    g_autoptr(GBytes) line = hm_qmp_line_new(response);
    g_autoptr(GBytes) other = hm_qmp_line_new(instead);

    json_decref(response);
    json_decref(instead);
    end_command(self, oob);
    if (can_send(self)) {
        hm_qmp_writer_push_fds(self->writer, line, fds, other);
    }
    update(self);
}

static void greet(HmQmpSession *self)
{
    json_auto_t *greeting =
        json_pack("{s:{s:o,s:[s]}}", "QMP", "version", hm_qmp_version_new(),
                  "capabilities", "oob");
    g_autoptr(GBytes) line = hm_qmp_line_new(greeting);

    hm_qmp_session_send(self, line);
}

/* Which sources are on */

static gboolean replies_pile_up(HmQmpSession *self)
{
    return hm_qmp_writer_get_waiting(self->writer) > MAX_REPLIES ||
           hm_qmp_writer_has_fds(self->writer);
}

static gboolean wants_to_read(HmQmpSession *self)
{
    return !self->ended && !self->parse && self->requests.length < MAX_QUEUED &&
           self->urgent.length < MAX_QUEUED && !replies_pile_up(self);
}

static gboolean wants_to_work(HmQmpSession *self)
{
    return (may_run_urgent(self) || may_run_next(self)) &&
           !replies_pile_up(self);
}

static gboolean is_finished(HmQmpSession *self)
{
    return self->ended && !self->running && !self->oob_running &&
           !self->requests.length && !self->urgent.length && !self->parse &&
           !hm_qmp_writer_get_waiting(self->writer);
}

static void stop(GSource **source)
{
    if (*source) {
        g_source_destroy(*source);
        g_clear_pointer(source, g_source_unref);
    }
}

static void start(HmQmpSession *self, GSource *source, GSourceFunc func)
{
    g_source_set_callback(source, func, self, NULL);
    g_source_attach(source, self->context);
}

static void set_reading(HmQmpSession *self, gboolean on)
{
    if (!on) {
        stop(&self->reading);
    } else if (!self->reading) {
        self->reading = g_pollable_input_stream_create_source(
            G_POLLABLE_INPUT_STREAM(g_io_stream_get_input_stream(self->stream)),
            NULL);
        start(self, self->reading, G_SOURCE_FUNC(on_readable));
    }
}

static void set_working(HmQmpSession *self, gboolean on)
{
    if (!on) {
        stop(&self->working);
    } else if (!self->working) {
        self->working = g_idle_source_new();
        g_source_set_priority(self->working, G_PRIORITY_DEFAULT);
        start(self, self->working, on_work);
    }
}

static void update(HmQmpSession *self)
{
    if (!self->server) {
        return;
    }
    set_reading(self, wants_to_read(self));
    set_working(self, wants_to_work(self));
    if (is_finished(self)) {
        hm_qmp_session_close(self);
    }
}

/* Life */

static void drop_requests(HmQmpSession *self)
{
    g_clear_pointer(&self->parse, hm_qmp_parse_cancel);
    g_queue_clear_full(&self->behind, (GDestroyNotify)request_free);
    g_queue_clear_full(&self->requests, (GDestroyNotify)request_free);
    g_queue_clear_full(&self->urgent, (GDestroyNotify)request_free);
}

HmQmpSession *hm_qmp_session_new(HostmemQmpServer *server, GIOStream *stream,
                                 GArray *allowed)
{
    HmQmpSession *self = g_rc_box_new0(HmQmpSession);

    self->server = server;
    self->stream = g_object_ref(stream);
    self->context = g_main_context_ref_thread_default();
    self->writer = hm_qmp_writer_new(stream, &writer_funcs, self);
    hm_qmp_peer_init(&self->peer, stream, allowed);
    self->parser = hm_json_stream_new(on_message, self);
    hm_json_stream_set_aside(self->parser, LARGE_MESSAGE, on_large_message);
    g_queue_init(&self->requests);
    g_queue_init(&self->urgent);
    g_queue_init(&self->behind);
    greet(self);
    update(self);
    return self;
}

HmQmpSession *hm_qmp_session_ref(HmQmpSession *self)
{
    return g_rc_box_acquire(self);
}

static void session_clear(gpointer data)
{
    HmQmpSession *self = data;

    hm_qmp_peer_clear(&self->peer);
    g_object_unref(self->stream);
    g_main_context_unref(self->context);
}

void hm_qmp_session_unref(HmQmpSession *self)
{
    g_rc_box_release_full(self, session_clear);
}

void hm_qmp_session_close(HmQmpSession *self)
{
    HostmemQmpServer *server = g_steal_pointer(&self->server);

    if (!server) {
        return;
    }
    stop(&self->reading);
    stop(&self->working);
    g_clear_pointer(&self->writer, hm_qmp_writer_free);
    g_clear_pointer(&self->parser, hm_json_stream_free);
    drop_requests(self);
    g_io_stream_close(self->stream, NULL, NULL);
    hm_qmp_server_forget(server, self);
}

void hm_qmp_session_stop(HmQmpSession *self)
{
    self->ended = TRUE;
    drop_requests(self);
    update(self);
}

void hm_qmp_session_negotiate(HmQmpSession *self, gboolean oob)
{
    self->negotiated = TRUE;
    self->oob = oob;
}

gboolean hm_qmp_session_is_negotiated(HmQmpSession *self)
{
    return self->negotiated;
}

gboolean hm_qmp_session_has_oob(HmQmpSession *self)
{
    return self->oob;
}

const HmQmpPeer *hm_qmp_session_get_peer(HmQmpSession *self)
{
    return &self->peer;
}
