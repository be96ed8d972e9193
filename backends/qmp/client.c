/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/qmp/client-news.h"
#include "backends/qmp/connect.h"
#include "backends/qmp/peer.h"
#include "backends/qmp/wire.h"
#include "util/error.h"
#include <hostmem/qmp-client.h>

/*
 * Theory of operation
 *
 * The wire reads and writes in one main context at a time: that of the user,
 * and while a call waits a private one, in which nothing else runs.  So a call
 * that waits takes in everything, but runs no code of the user.
 *
 * What the user is to be told (events, asynchronous answers, the end) goes
 * into one queue, in the order of the wire, and out of it from a source in the
 * user's context.  While a call waits nobody empties it, so its size is
 * limited.
 *
 * A request whose caller has given up stays in the table until its answer
 * comes: an answer that nobody has asked for is a broken server.
 */

#define GREETING_MS (30 * 1000)
#define MAX_NEWS    (16u << 20) /* bytes of events */
#define MAX_UNSENT  (64u << 20) /* bytes that the server does not take */

struct _HostmemQmpClient {
    GObject parent_instance;

    GMainContext *context; /* the user's */
    GMainContext *alone;   /* while a call waits */
    HmQmpWire *wire;
    gint64 peer_uid;      /* -1: not known */
    char *greeting;       /* NULL: it has not come */
    GHashTable *requests; /* number -> HmQmpRequest, owned: sent */
    gint64 next_id;
    HmQmpNews *news;
    GError *ended; /* why; NULL while the session lasts */
};

typedef struct {
    GObjectClass parent_class;
} HostmemQmpClientClass;

G_DEFINE_TYPE(HostmemQmpClient, hostmem_qmp_client, G_TYPE_OBJECT)

enum {
    SIGNAL_EVENT,
    SIGNAL_CLOSED,
    N_SIGNALS
};

static guint signals[N_SIGNALS];

/* Telling the user */

static void emit_event(GObject *client, const char *name, const char *json)
{
    g_signal_emit(client, signals[SIGNAL_EVENT], 0, name, json);
}

static void emit_closed(GObject *client, const GError *why)
{
    g_signal_emit(client, signals[SIGNAL_CLOSED], 0, why);
}

static const HmQmpNewsFuncs news_funcs = {
    .event = emit_event,
    .closed = emit_closed,
};

/* Requests */

/* Whoever asked learns of it; @request is (transfer full). */
static void conclude(HostmemQmpClient *self, HmQmpRequest *request)
{
    if (request->abandoned) {
        hm_qmp_request_free(request);
    } else if (request->task) {
        hm_qmp_news_push_answered(self->news, request);
    } else {
        request->done = TRUE; /* who waits for it has it */
    }
}

/* (transfer full) (nullable): no longer in the table. */
static HmQmpRequest *take_request(HostmemQmpClient *self, json_t *id)
{
    gint64 number = json_integer_value(id);
    gpointer request = NULL;

    if (json_is_integer(id)) {
        g_hash_table_steal_extended(self->requests, &number, NULL, &request);
    }
    return request;
}

static void end_session(HostmemQmpClient *self, const GError *why)
{
    GHashTableIter iter;
    gpointer request;

    if (self->ended) {
        return;
    }
    self->ended = g_error_copy(why);
    g_hash_table_iter_init(&iter, self->requests);
    while (g_hash_table_iter_next(&iter, NULL, &request)) {
        g_hash_table_iter_steal(&iter);
        hm_qmp_request_fail(request, why);
        conclude(self, request);
    }
}

/* What the server says */

static void blame(HostmemQmpClient *self, const char *what)
{
    g_autoptr(GError) error = NULL;

    hm_set_error(&error, HOSTMEM_ERROR_SYSTEM,
                 "the server does not speak QMP: %s", what);
    hm_qmp_wire_close(self->wire, error);
}

static void take_greeting(HostmemQmpClient *self, json_t *message)
{
    if (!json_is_object(json_object_get(message, "QMP"))) {
        blame(self, "it does not begin with a greeting");
        return;
    }
    self->greeting = hm_qmp_json_to_text(message);
}

static void take_event(HostmemQmpClient *self, json_t *message)
{
    g_autoptr(GError) error = NULL;

    hm_qmp_news_push_event(self->news, message);
    if (hm_qmp_news_get_size(self->news) > MAX_NEWS) {
        hm_set_error(&error, HOSTMEM_ERROR_LIMIT,
                     "the server sends more events than are taken: %u MiB wait",
                     MAX_NEWS >> 20);
        hm_qmp_wire_close(self->wire, error);
    }
}

static void take_answer(HostmemQmpClient *self, json_t *message,
                        GUnixFDList *fds)
{
    json_t *id = json_object_get(message, "id");
    HmQmpRequest *request = take_request(self, id);

    if (!request) {
        blame(self, "it answers what nobody has asked");
        return;
    }
    hm_qmp_request_answer(request, message, fds);
    conclude(self, request);
}

static void on_message(json_t *message, GUnixFDList *fds, gpointer user_data)
{
    HostmemQmpClient *self = user_data;

    if (!self->greeting) {
        take_greeting(self, message);
    } else if (json_is_string(json_object_get(message, "event"))) {
        take_event(self, message);
    } else if (hm_qmp_is_answer(message)) {
        take_answer(self, message, fds);
    } else {
        blame(self, "a message is neither an answer nor an event");
    }
}

static void on_closed(const GError *why, gpointer user_data)
{
    HostmemQmpClient *self = user_data;

    end_session(self, why);
    hm_qmp_news_push_closed(self->news, why);
}

static const HmQmpWireFuncs wire_funcs = {
    .message = on_message,
    .closed = on_closed,
};

/* Waiting */

/* Called in whatever thread cancels. */
static void on_cancelled(GCancellable *cancellable G_GNUC_UNUSED,
                         gpointer context)
{
    g_main_context_wakeup(context);
}

static gboolean on_late(gpointer late)
{
    *(gboolean *)late = TRUE;
    return G_SOURCE_REMOVE;
}

/* (transfer full): sets @late at @deadline, in the context of a call. */
static GSource *watch_deadline(HostmemQmpClient *self, gint64 deadline,
                               gboolean *late)
{
    gint64 left = deadline - g_get_monotonic_time();
    GSource *source = g_timeout_source_new(MAX(left, 0) / 1000);

    g_source_set_callback(source, on_late, late, NULL);
    g_source_attach(source, self->alone);
    return source;
}

static void detach(GSource *source)
{
    g_source_destroy(source);
    g_source_unref(source);
}

/* @request: NULL for the greeting. */
static gboolean is_over(HostmemQmpClient *self, const HmQmpRequest *request)
{
    return self->ended || (request ? request->done : self->greeting != NULL);
}

static gboolean set_late_error(GError **error)
{
    return hm_set_error(error, HOSTMEM_ERROR_TIMED_OUT,
                        "no answer within %d seconds: a QEMU serves one client "
                        "at a time, and none while it allocates memory",
                        GREETING_MS / 1000);
}

/*
 * Until @request is answered, or without one the greeting has come, or the
 * session has ended.
 * @deadline: of g_get_monotonic_time(); 0: none
 */
static gboolean wait_alone(HostmemQmpClient *self, const HmQmpRequest *request,
                           gint64 deadline, GCancellable *cancellable,
                           GError **error)
{
    gboolean late = FALSE;
    GSource *timing = deadline ? watch_deadline(self, deadline, &late) : NULL;
    gulong cancelling =
        cancellable
            ? g_cancellable_connect(cancellable, G_CALLBACK(on_cancelled),
                                    self->alone, NULL)
            : 0;

    hm_qmp_wire_set_context(self->wire, self->alone);
    while (!is_over(self, request) && !late &&
           !g_cancellable_is_cancelled(cancellable)) {
        g_main_context_iteration(self->alone, TRUE);
    }
    hm_qmp_wire_set_context(self->wire, self->context);
    g_cancellable_disconnect(cancellable, cancelling);
    g_clear_pointer(&timing, detach);
    if (is_over(self, request)) {
        return TRUE;
    }
    return g_cancellable_is_cancelled(cancellable) ? hm_qmp_set_cancelled(error)
                                                   : set_late_error(error);
}

/* Commands */

static gboolean set_ended_error(HostmemQmpClient *self, GError **error)
{
    return hm_set_error(error, self->ended->code, "the session has ended: %s",
                        self->ended->message);
}

static gboolean can_send(HostmemQmpClient *self, GUnixFDList *fds,
                         GError **error)
{
    if (self->ended) {
        return set_ended_error(self, error);
    }
    if (fds && !hm_qmp_wire_carries_fds(self->wire)) {
        return hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                            "descriptors go over a Unix socket only");
    }
    if (fds && g_unix_fd_list_get_length(fds) > HM_QMP_MAX_FDS) {
        return hm_set_error(error, HOSTMEM_ERROR_LIMIT,
                            "%d descriptors: a message carries %d",
                            g_unix_fd_list_get_length(fds), HM_QMP_MAX_FDS);
    }
    return hm_qmp_wire_get_waiting(self->wire) <= MAX_UNSENT ||
           hm_set_error(error, HOSTMEM_ERROR_LIMIT,
                        "the server takes no commands: %u MiB wait to be sent",
                        MAX_UNSENT >> 20);
}

/* (transfer none) (nullable): in the table until it is answered. */
static HmQmpRequest *start(HostmemQmpClient *self, const char *command,
                           const char *arguments, GUnixFDList *fds,
                           GError **error)
{
    json_auto_t *message = NULL;
    HmQmpRequest *request;

    if (fds && !g_unix_fd_list_get_length(fds)) {
        fds = NULL;
    }
    message = hm_qmp_message_new(command, arguments, self->next_id + 1, error);
    if (!message || !can_send(self, fds, error)) {
        return NULL;
    }
    request = hm_qmp_request_new(++self->next_id);
    g_hash_table_insert(self->requests, &request->id, request);
    hm_qmp_wire_send(self->wire, message, fds);
    return request;
}

static char *execute(HostmemQmpClient *self, HmQmpRequest *request,
                     gint64 deadline, GUnixFDList **fds_out,
                     GCancellable *cancellable, GError **error)
{
    if (!wait_alone(self, request, deadline, cancellable, error)) {
        request->abandoned = TRUE;
        return NULL;
    }
    return hm_qmp_request_finish(request, fds_out, error);
}

char *hostmem_qmp_client_execute(HostmemQmpClient *self, const char *command,
                                 const char *arguments, GUnixFDList *fds,
                                 GUnixFDList **fds_out,
                                 GCancellable *cancellable, GError **error)
{
    HmQmpRequest *request;

    g_return_val_if_fail(HOSTMEM_IS_QMP_CLIENT(self) && command, NULL);

    if (fds_out) {
        *fds_out = NULL;
    }
    if (g_cancellable_set_error_if_cancelled(cancellable, error)) {
        return NULL;
    }
    request = start(self, command, arguments, fds, error);
    return request ? execute(self, request, 0, fds_out, cancellable, error)
                   : NULL;
}

static gboolean on_task_cancelled(GCancellable *cancellable G_GNUC_UNUSED,
                                  gpointer user_data)
{
    hm_qmp_request_abandon(user_data);
    return G_SOURCE_REMOVE;
}

void hostmem_qmp_client_execute_async(HostmemQmpClient *self,
                                      const char *command,
                                      const char *arguments, GUnixFDList *fds,
                                      GCancellable *cancellable,
                                      GAsyncReadyCallback callback,
                                      gpointer user_data)
{
    g_autoptr(GTask) task = NULL;
    g_autoptr(GError) error = NULL;
    HmQmpRequest *request;

    g_return_if_fail(HOSTMEM_IS_QMP_CLIENT(self) && command);

    task = g_task_new(self, cancellable, callback, user_data);
    g_task_set_source_tag(task, hostmem_qmp_client_execute_async);
    if (g_task_return_error_if_cancelled(task)) {
        return;
    }
    request = start(self, command, arguments, fds, &error);
    if (!request) {
        g_task_return_error(task, g_steal_pointer(&error));
        return;
    }
    hm_qmp_request_set_task(request, task, on_task_cancelled);
}

char *hostmem_qmp_client_execute_finish(HostmemQmpClient *self,
                                        GAsyncResult *result,
                                        GUnixFDList **fds_out, GError **error)
{
    if (fds_out) {
        *fds_out = NULL;
    }
    g_return_val_if_fail(g_task_is_valid(result, self), NULL);

    return hm_qmp_request_propagate(G_TASK(result), fds_out, error);
}

/* Life */

static void hostmem_qmp_client_dispose(GObject *object)
{
    hostmem_qmp_client_close(HOSTMEM_QMP_CLIENT(object));
    G_OBJECT_CLASS(hostmem_qmp_client_parent_class)->dispose(object);
}

static void hostmem_qmp_client_finalize(GObject *object)
{
    HostmemQmpClient *self = HOSTMEM_QMP_CLIENT(object);

    hm_qmp_news_free(self->news);
    g_clear_pointer(&self->wire, hm_qmp_wire_free);
    g_hash_table_unref(self->requests);
    g_clear_error(&self->ended);
    g_free(self->greeting);
    g_main_context_unref(self->alone);
    g_main_context_unref(self->context);
    G_OBJECT_CLASS(hostmem_qmp_client_parent_class)->finalize(object);
}

static void hostmem_qmp_client_class_init(HostmemQmpClientClass *klass)
{
    GObjectClass *object_class = G_OBJECT_CLASS(klass);
    GType type = G_TYPE_FROM_CLASS(klass);

    object_class->dispose = hostmem_qmp_client_dispose;
    object_class->finalize = hostmem_qmp_client_finalize;
    signals[SIGNAL_EVENT] =
        g_signal_new("event", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                     G_TYPE_NONE, 2, G_TYPE_STRING, G_TYPE_STRING);
    signals[SIGNAL_CLOSED] =
        g_signal_new("closed", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                     G_TYPE_NONE, 1, G_TYPE_ERROR | G_SIGNAL_TYPE_STATIC_SCOPE);
}

static void hostmem_qmp_client_init(HostmemQmpClient *self)
{
    self->context = g_main_context_ref_thread_default();
    self->alone = g_main_context_new();
    self->requests = g_hash_table_new(g_int64_hash, g_int64_equal);
    self->news = hm_qmp_news_new(G_OBJECT(self), &news_funcs);
}

void hostmem_qmp_client_close(HostmemQmpClient *self)
{
    g_autoptr(GError) why = NULL;

    g_return_if_fail(HOSTMEM_IS_QMP_CLIENT(self));

    hm_qmp_news_mute(self->news);
    if (self->ended || !self->wire) {
        return;
    }
    hm_set_error(&why, HOSTMEM_ERROR_SYSTEM, "the client closed it");
    hm_qmp_wire_close(self->wire, NULL);
    end_session(self, why);
}

/* Greeting and capabilities. */
static gboolean negotiate(HostmemQmpClient *self, GCancellable *cancellable,
                          GError **error)
{
    gint64 deadline = g_get_monotonic_time() + GREETING_MS * 1000LL;
    g_autofree char *answer = NULL;
    HmQmpRequest *request;

    if (!wait_alone(self, NULL, deadline, cancellable, error)) {
        return FALSE;
    }
    if (self->ended) {
        g_propagate_error(error, g_error_copy(self->ended));
        return FALSE;
    }
    request = start(self, "qmp_capabilities", NULL, NULL, error);
    if (request) {
        answer = execute(self, request, deadline, NULL, cancellable, error);
    }
    return answer != NULL;
}

HostmemQmpClient *hostmem_qmp_client_new_for_stream(GIOStream *stream,
                                                    GCancellable *cancellable,
                                                    GError **error)
{
    g_autoptr(HostmemQmpClient) self = NULL;
    HmQmpPeer peer;

    g_return_val_if_fail(
        G_IS_POLLABLE_INPUT_STREAM(g_io_stream_get_input_stream(stream)), NULL);
    g_return_val_if_fail(
        G_IS_POLLABLE_OUTPUT_STREAM(g_io_stream_get_output_stream(stream)),
        NULL);

    self = g_object_new(HOSTMEM_TYPE_QMP_CLIENT, NULL);
    hm_qmp_peer_init(&peer, stream, NULL);
    self->peer_uid = peer.known ? (gint64)peer.uid : -1;
    self->wire = hm_qmp_wire_new(stream, &wire_funcs, self);
    return negotiate(self, cancellable, error) ? g_steal_pointer(&self) : NULL;
}

HostmemQmpClient *hostmem_qmp_client_new(const char *address,
                                         GCancellable *cancellable,
                                         GError **error)
{
    g_autoptr(GIOStream) stream = NULL;
    HostmemQmpClient *self;

    g_return_val_if_fail(address, NULL);

    stream = hm_qmp_connect(address, cancellable, error);
    if (!stream) {
        return NULL;
    }
    self = hostmem_qmp_client_new_for_stream(stream, cancellable, error);
    if (!self) {
        g_prefix_error(error, "%s: ", address);
    }
    return self;
}

gint64 hostmem_qmp_client_get_peer_uid(HostmemQmpClient *self)
{
    g_return_val_if_fail(HOSTMEM_IS_QMP_CLIENT(self), -1);

    return self->peer_uid;
}

const char *hostmem_qmp_client_get_greeting(HostmemQmpClient *self)
{
    g_return_val_if_fail(HOSTMEM_IS_QMP_CLIENT(self), NULL);

    return self->greeting;
}
