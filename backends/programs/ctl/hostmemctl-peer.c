/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib-unix.h>
#include <signal.h>
#include <string.h>
#include "hostmemctl.h"

/*
 * Theory of operation
 *
 * A call sends a command and lets the main context run until its answer is
 * there, so that code reads from top to bottom, and yet events are heard, bars
 * drawn and Ctrl-C obeyed meanwhile.
 */

struct CtlPeer {
    HostmemQmpClient *client;
    char *address;
    char *name;
    gboolean is_hostmem;
    GCancellable *cancellable;
    guint signals[2]; /* sources; 0: not caught */
    CtlEventFunc listener;
    gpointer listener_data;
    gboolean happened; /* since ctl_peer_wait() began */
    GError *closed;    /* why the peer went */
};

/* Who it is */

static guint64 number_of(const json_t *version, const char *key)
{
    guint64 number;

    peer_json_number(version, key, &number);
    return number;
}

static void take_greeting(CtlPeer *self)
{
    json_auto_t *greeting =
        peer_json_parse(hostmem_qmp_client_get_greeting(self->client), NULL);
    const json_t *version =
        json_object_get(json_object_get(greeting, "QMP"), "version");
    const json_t *qemu = json_object_get(version, "qemu");
    const char *package = peer_json_string(version, "package");

    self->is_hostmem = package && g_str_has_prefix(package, "hostmem ");
    self->name = self->is_hostmem ? g_strdup(package)
                                  : g_strdup_printf("QEMU %" G_GUINT64_FORMAT
                                                    ".%" G_GUINT64_FORMAT
                                                    ".%" G_GUINT64_FORMAT,
                                                    number_of(qemu, "major"),
                                                    number_of(qemu, "minor"),
                                                    number_of(qemu, "micro"));
}

static void on_event(G_GNUC_UNUSED HostmemQmpClient *client, const char *name,
                     const char *text, gpointer user_data)
{
    CtlPeer *self = user_data;
    json_auto_t *event = peer_json_parse(text, NULL);

    self->happened = TRUE;
    if (self->listener && event) {
        self->listener(name, event, self->listener_data);
    }
}

static void on_closed(G_GNUC_UNUSED HostmemQmpClient *client,
                      const GError *error, gpointer user_data)
{
    CtlPeer *self = user_data;

    if (!self->closed) {
        self->closed = g_error_copy(error);
        g_prefix_error(&self->closed, "%s: ", self->address);
    }
}

CtlPeer *ctl_peer_new(const CtlCall *call, GError **error)
{
    if (!call->address) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID,
                    "no server is given: --connect unix:PATH or "
                    "tcp:HOST:PORT, or HOSTMEM_QMP in the environment");
        return NULL;
    }
    return ctl_peer_new_at(call->address, error);
}

CtlPeer *ctl_peer_new_at(const char *address, GError **error)
{
    g_autoptr(GError) why = NULL;
    g_autoptr(HostmemQmpClient) client =
        hostmem_qmp_client_new(address, NULL, &why);
    if (!client) {
        if (!strstr(why->message, address)) {
            g_prefix_error(&why, "%s: ", address);
        }
        g_propagate_error(error, g_steal_pointer(&why));
        return NULL;
    }
    CtlPeer *self = g_new0(CtlPeer, 1);

    self->client = g_steal_pointer(&client);
    self->address = g_strdup(address);
    self->cancellable = g_cancellable_new();
    take_greeting(self);
    g_signal_connect(self->client, "event", G_CALLBACK(on_event), self);
    g_signal_connect(self->client, "closed", G_CALLBACK(on_closed), self);
    return self;
}

void ctl_peer_free(CtlPeer *self)
{
    for (guint i = 0; i < G_N_ELEMENTS(self->signals); i++) {
        if (self->signals[i]) {
            g_source_remove(self->signals[i]);
        }
    }
    g_signal_handlers_disconnect_by_data(self->client, self);
    g_object_unref(self->client);
    g_object_unref(self->cancellable);
    g_clear_error(&self->closed);
    g_free(self->address);
    g_free(self->name);
    g_free(self);
}

const char *ctl_peer_get_address(CtlPeer *self)
{
    return self->address;
}

const char *ctl_peer_get_name(CtlPeer *self)
{
    return self->name;
}

gboolean ctl_peer_is_hostmem(CtlPeer *self)
{
    return self->is_hostmem;
}

/* Calls */

static void on_answer(G_GNUC_UNUSED GObject *source, GAsyncResult *result,
                      gpointer user_data)
{
    *(GAsyncResult **)user_data = g_object_ref(result);
}

/* What an error means here. */
static void explain(CtlPeer *self, const char *command, GError **error)
{
    if (error &&
        g_error_matches(*error, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED)) {
        g_clear_error(error);
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED,
                    "%s has no command '%s'", self->name, command);
    }
    g_prefix_error(error, "%s: ", self->address);
}

json_t *ctl_peer_call_fds(CtlPeer *self, const char *command, json_t *arguments,
                          GUnixFDList *fds, GUnixFDList **fds_out,
                          GError **error)
{
    g_autoptr(GAsyncResult) result = NULL;
    g_autofree char *text = arguments ? peer_json_to_text(arguments) : NULL;
    g_autofree char *answer = NULL;
    json_t *value;

    json_decref(arguments);
    hostmem_qmp_client_execute_async(self->client, command, text, fds,
                                     self->cancellable, on_answer, &result);
    while (!result) {
        g_main_context_iteration(NULL, TRUE);
    }
    answer =
        hostmem_qmp_client_execute_finish(self->client, result, fds_out, error);
    value = answer ? peer_json_parse(answer, error) : NULL;
    if (!value) {
        explain(self, command, error);
    }
    return value;
}

json_t *ctl_peer_call(CtlPeer *self, const char *command, json_t *arguments,
                      GError **error)
{
    return ctl_peer_call_fds(self, command, arguments, NULL, NULL, error);
}

/* Events */

void ctl_peer_set_listener(CtlPeer *self, CtlEventFunc func, gpointer user_data)
{
    self->listener = func;
    self->listener_data = user_data;
}

static gboolean on_time(gpointer user_data)
{
    CtlPeer *self = user_data;

    self->happened = TRUE;
    return G_SOURCE_REMOVE;
}

static gboolean has_ended(CtlPeer *self, GError **error)
{
    if (g_cancellable_set_error_if_cancelled(self->cancellable, error)) {
        return TRUE;
    }
    if (self->closed) {
        g_propagate_error(error, g_error_copy(self->closed));
        return TRUE;
    }
    return FALSE;
}

gboolean ctl_peer_wait(CtlPeer *self, gint64 until_us, GError **error)
{
    gint64 left_us = MAX(until_us - g_get_monotonic_time(), 0);
    g_autoptr(GSource) timer = g_timeout_source_new(left_us / 1000 + 1);
    GError *ended = NULL;

    self->happened = FALSE;
    g_source_set_callback(timer, on_time, self, NULL);
    if (until_us >= 0) {
        g_source_attach(timer, NULL);
    }
    while (!self->happened && !has_ended(self, &ended)) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_source_destroy(timer);
    if (ended) {
        g_propagate_error(error, ended);
        return FALSE;
    }
    return TRUE;
}

/* Signals */

static gboolean on_signal(gpointer user_data)
{
    CtlPeer *self = user_data;

    g_cancellable_cancel(self->cancellable);
    return G_SOURCE_CONTINUE;
}

void ctl_peer_catch_signals(CtlPeer *self)
{
    static const int caught[G_N_ELEMENTS(self->signals)] = {SIGINT, SIGTERM};

    for (guint i = 0; i < G_N_ELEMENTS(caught); i++) {
        self->signals[i] = g_unix_signal_add(caught[i], on_signal, self);
    }
}

gboolean ctl_peer_is_cancelled(CtlPeer *self)
{
    return g_cancellable_is_cancelled(self->cancellable);
}

void ctl_peer_cancel(CtlPeer *self)
{
    g_cancellable_cancel(self->cancellable);
}

void ctl_peer_resume(CtlPeer *self)
{
    g_object_unref(self->cancellable);
    self->cancellable = g_cancellable_new();
}

gboolean ctl_peer_is_closed(CtlPeer *self)
{
    return self->closed != NULL;
}

void ctl_peer_wake(CtlPeer *self)
{
    self->happened = TRUE;
}
