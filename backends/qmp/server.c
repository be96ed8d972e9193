/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/job.h"
#include "backends/qmp/device-events.h"
#include "backends/qmp/door.h"
#include "backends/qmp/event.h"
#include "backends/qmp/server.h"
#include "util/error.h"

/*
 * More clients wait in the backlog: descriptors are needed for memory too, and
 * the usual limit on them is 1024.
 */
#define MAX_SESSIONS 512

#define GOODBYE_MS   1000

struct _HostmemQmpServer {
    GObject parent_instance;

    HostmemRegistry *registry;
    GMainContext *context;
    GPtrArray *doors;    /* of HmQmpDoor */
    GPtrArray *sessions; /* of HmQmpSession */
    HmQmpParser *parser;
    HmQmpProgress *progress;
    HmQmpWork *work;
    HmQmpDeviceEvents *device_events;
    gboolean said_goodbye;
};

typedef struct {
    GObjectClass parent_class;
} HostmemQmpServerClass;

G_DEFINE_TYPE(HostmemQmpServer, hostmem_qmp_server, G_TYPE_OBJECT)

enum {
    SIGNAL_QUIT,
    N_SIGNALS
};

static guint signals[N_SIGNALS];

static void close_all(HostmemQmpServer *self)
{
    g_ptr_array_set_size(self->doors, 0);
    while (self->sessions->len) {
        hm_qmp_session_close(g_ptr_array_index(self->sessions, 0));
    }
}

static void hostmem_qmp_server_dispose(GObject *object)
{
    HostmemQmpServer *self = HOSTMEM_QMP_SERVER(object);

    close_all(self);
    G_OBJECT_CLASS(hostmem_qmp_server_parent_class)->dispose(object);
}

static void hostmem_qmp_server_finalize(GObject *object)
{
    HostmemQmpServer *self = HOSTMEM_QMP_SERVER(object);

    g_ptr_array_unref(self->doors);
    g_ptr_array_unref(self->sessions);
    hm_qmp_parser_free(self->parser);
    hm_qmp_progress_free(self->progress);
    hm_qmp_work_free(self->work);
    hm_qmp_device_events_free(self->device_events);
    g_main_context_unref(self->context);
    g_object_unref(self->registry);
    G_OBJECT_CLASS(hostmem_qmp_server_parent_class)->finalize(object);
}

static void hostmem_qmp_server_class_init(HostmemQmpServerClass *klass)
{
    GObjectClass *object_class = G_OBJECT_CLASS(klass);

    object_class->dispose = hostmem_qmp_server_dispose;
    object_class->finalize = hostmem_qmp_server_finalize;
    signals[SIGNAL_QUIT] =
        g_signal_new("quit", G_TYPE_FROM_CLASS(klass), G_SIGNAL_RUN_LAST, 0,
                     NULL, NULL, NULL, G_TYPE_NONE, 0);
}

static void hostmem_qmp_server_init(HostmemQmpServer *self)
{
    self->doors =
        g_ptr_array_new_with_free_func((GDestroyNotify)hm_qmp_door_free);
    self->sessions =
        g_ptr_array_new_with_free_func((GDestroyNotify)hm_qmp_session_unref);
    self->context = g_main_context_ref_thread_default();
    self->parser = hm_qmp_parser_new();
    self->progress = hm_qmp_progress_new(self);
    self->work = hm_qmp_work_new(self->progress);
}

static void on_job_changed(HostmemRegistry *registry G_GNUC_UNUSED,
                           HostmemJob *job, HostmemJobStatus status,
                           HostmemQmpServer *self)
{
    hm_qmp_server_emit(self, HM_QMP_EVENT_JOB,
                       json_pack("{s:s,s:s}", "id", hostmem_job_get_id(job),
                                 "status", hm_job_status_name(status)));
    hm_qmp_progress_watch(self->progress);
}

HostmemQmpServer *hostmem_qmp_server_new(HostmemRegistry *registry)
{
    HostmemQmpServer *self;

    g_return_val_if_fail(HOSTMEM_IS_REGISTRY(registry), NULL);

    self = g_object_new(HOSTMEM_TYPE_QMP_SERVER, NULL);
    self->registry = g_object_ref(registry);
    g_signal_connect_object(registry, "job-changed", G_CALLBACK(on_job_changed),
                            self, 0);
    self->device_events = hm_qmp_device_events_new(self, registry);
    return self;
}

/* Doors and sessions */

static void open_or_close_doors(HostmemQmpServer *self)
{
    for (guint i = 0; i < self->doors->len; i++) {
        hm_qmp_door_set_open(g_ptr_array_index(self->doors, i),
                             self->sessions->len < MAX_SESSIONS);
    }
}

static void add_session(HostmemQmpServer *self, GIOStream *stream,
                        GArray *allowed)
{
    g_ptr_array_add(self->sessions, hm_qmp_session_new(self, stream, allowed));
    open_or_close_doors(self);
}

void hostmem_qmp_server_add_stream(HostmemQmpServer *self, GIOStream *stream)
{
    g_return_if_fail(HOSTMEM_IS_QMP_SERVER(self));
    g_return_if_fail(
        G_IS_POLLABLE_INPUT_STREAM(g_io_stream_get_input_stream(stream)));
    g_return_if_fail(
        G_IS_POLLABLE_OUTPUT_STREAM(g_io_stream_get_output_stream(stream)));

    add_session(self, stream, NULL);
}

static void on_client(GIOStream *stream, GArray *allowed, gpointer user_data)
{
    add_session(user_data, stream, allowed);
}

gboolean hostmem_qmp_server_listen(HostmemQmpServer *self, const char *address,
                                   GError **error)
{
    g_auto(HmQmpAddress) parsed = {0};
    HmQmpDoor *door;

    g_return_val_if_fail(HOSTMEM_IS_QMP_SERVER(self) && address, FALSE);

    if (!hm_qmp_address_parse(&parsed, address, error)) {
        return FALSE;
    }
    door = hm_qmp_door_new(&parsed, on_client, self, error);
    if (!door) {
        return FALSE;
    }
    g_ptr_array_add(self->doors, door);
    return TRUE;
}

gboolean hostmem_qmp_server_listen_fd(HostmemQmpServer *self, int fd,
                                      const char *options, GError **error)
{
    g_auto(HmQmpAccess) access = HM_QMP_ACCESS_INIT;
    HmQmpDoor *door;

    g_return_val_if_fail(HOSTMEM_IS_QMP_SERVER(self) && fd >= 0, FALSE);

    if (!hm_qmp_access_parse_inherited(&access, options, error)) {
        return FALSE;
    }
    door = hm_qmp_door_new_for_fd(fd, &access, on_client, self, error);
    if (!door) {
        return FALSE;
    }
    g_ptr_array_add(self->doors, door);
    return TRUE;
}

char **hostmem_qmp_server_get_addresses(HostmemQmpServer *self)
{
    char **addresses;

    g_return_val_if_fail(HOSTMEM_IS_QMP_SERVER(self), NULL);

    addresses = g_new0(char *, self->doors->len + 1);
    for (guint i = 0; i < self->doors->len; i++) {
        addresses[i] = hm_qmp_address_to_string(
            hm_qmp_door_get_address(g_ptr_array_index(self->doors, i)));
    }
    return addresses;
}

void hm_qmp_server_forget(HostmemQmpServer *self, HmQmpSession *session)
{
    g_ptr_array_remove_fast(self->sessions, session);
    open_or_close_doors(self);
}

/* What sessions and commands need */

HostmemRegistry *hm_qmp_server_get_registry(HostmemQmpServer *self)
{
    return self->registry;
}

HmQmpParser *hm_qmp_server_get_parser(HostmemQmpServer *self)
{
    return self->parser;
}

HmQmpProgress *hm_qmp_server_get_progress(HostmemQmpServer *self)
{
    return self->progress;
}

HmQmpWork *hm_qmp_server_get_work(HostmemQmpServer *self)
{
    return self->work;
}

/* Sessions to walk through while some of them may close. */
static GPtrArray *copy_sessions(HostmemQmpServer *self)
{
    GPtrArray *copy =
        g_ptr_array_new_with_free_func((GDestroyNotify)hm_qmp_session_unref);

    for (guint i = 0; i < self->sessions->len; i++) {
        g_ptr_array_add(
            copy, hm_qmp_session_ref(g_ptr_array_index(self->sessions, i)));
    }
    return copy;
}

void hm_qmp_server_emit(HostmemQmpServer *self, const char *name, json_t *data)
{
    g_autoptr(GPtrArray) sessions = copy_sessions(self);
    json_auto_t *event = hm_qmp_event_new(name, data);
    g_autoptr(GBytes) line = hm_qmp_line_new(event);

    for (guint i = 0; i < sessions->len; i++) {
        HmQmpSession *session = g_ptr_array_index(sessions, i);

        if (hm_qmp_session_is_negotiated(session)) {
            hm_qmp_session_send(session, line);
        }
    }
}

void hm_qmp_server_say_goodbye(HostmemQmpServer *self, const char *reason)
{
    hostmem_registry_cancel_all(self->registry);
    hm_qmp_work_cancel_all(self->work);
    if (!self->said_goodbye) {
        self->said_goodbye = TRUE;
        hm_qmp_device_events_flush(self->device_events);
        hm_qmp_server_emit(
            self, HM_QMP_EVENT_SHUTDOWN,
            json_pack("{s:b,s:s}", "guest", FALSE, "reason", reason));
    }
}

void hm_qmp_server_quit(HostmemQmpServer *self)
{
    g_signal_emit(self, signals[SIGNAL_QUIT], 0);
}

/* The end */

static gboolean on_time_is_up(gpointer user_data)
{
    *(gboolean *)user_data = TRUE;
    return G_SOURCE_REMOVE;
}

/* Sessions close when they have answered and their client has taken it. */
static void wait_for_sessions(HostmemQmpServer *self)
{
    g_autoptr(GSource) timer = g_timeout_source_new(GOODBYE_MS);
    gboolean time_is_up = FALSE;

    g_source_set_callback(timer, on_time_is_up, &time_is_up, NULL);
    g_source_attach(timer, self->context);
    while (self->sessions->len && !time_is_up) {
        g_main_context_iteration(self->context, TRUE);
    }
    g_source_destroy(timer);
}

void hostmem_qmp_server_shutdown(HostmemQmpServer *self, const char *reason)
{
    g_autoptr(GPtrArray) sessions = NULL;

    g_return_if_fail(HOSTMEM_IS_QMP_SERVER(self) && reason);

    g_ptr_array_set_size(self->doors, 0);
    hm_qmp_server_say_goodbye(self, reason);
    sessions = copy_sessions(self);
    for (guint i = 0; i < sessions->len; i++) {
        hm_qmp_session_stop(g_ptr_array_index(sessions, i));
    }
    wait_for_sessions(self);
    hm_qmp_work_end_all(self->work);
    close_all(self);
}
