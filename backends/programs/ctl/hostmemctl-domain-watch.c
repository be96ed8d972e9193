/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#include "hostmemctl-domain.h"

/*
 * Theory of operation
 *
 * All is asked for and shown, again when the interval is over, and at once when
 * an event comes, though not before a tenth of a second has passed.
 *
 * A call of libvirt that waits for a host which is far, or silent, cannot be
 * cancelled.  Ctrl-C is to work all the same, and nothing is to be put in order
 * but our output: so its handler ends the process, except while we write.
 */

#define DEFAULT_SECONDS 2.0
#define SETTLE_US       (100 * 1000)
#define SHOWN_MAX       8    /* events, of those that people see */
#define NEWS_MAX        1024 /* events, between two lines of JSON */

typedef struct {
    HostmemLibvirtConnection *connection;
    const char *name; /* (nullable): of the one domain */
    char *real_name;  /* (nullable): of it, as events have it */
    gint64 id;        /* of this run of it */
    gboolean json;
    CtlScreen *screen; /* (nullable): NULL when it is no terminal */
    GQueue events;     /* HostmemLibvirtEvent: what is still to be shown */
} Watch;

/* Ctrl-C */

static void on_signal(G_GNUC_UNUSED int signum)
{
    _exit(EXIT_SUCCESS);
}

static void catch_signals(void)
{
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
}

static void hold_signals(int how)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(how, &signals, NULL);
}

/* Events */

static gboolean is_about(const Watch *self, const HostmemLibvirtEvent *event)
{
    return !self->real_name || g_str_equal(event->domain, self->real_name);
}

static void keep(Watch *self, HostmemLibvirtEvent *event)
{
    guint max = self->json ? NEWS_MAX : SHOWN_MAX;

    if (!is_about(self, event)) {
        hostmem_libvirt_event_free(event);
        return;
    }
    g_queue_push_tail(&self->events, event);
    if (self->events.length > max) {
        hostmem_libvirt_event_free(g_queue_pop_head(&self->events));
    }
}

/* Takes those that are there, and waits for the first.  FALSE with an error. */
static gboolean hear(Watch *self, gint64 timeout_us, GError **error)
{
    g_autoptr(GError) why = NULL;
    HostmemLibvirtEvent *event;

    while ((event = hostmem_libvirt_connection_wait(self->connection,
                                                    timeout_us, NULL, &why))) {
        keep(self, event);
        timeout_us = 0;
    }
    if (why) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    return TRUE;
}

static gboolean wait_for_news(Watch *self, double seconds, GError **error)
{
    if (!hear(self, (gint64)(seconds * G_USEC_PER_SEC), error)) {
        return FALSE;
    }
    g_usleep(SETTLE_US);
    return hear(self, 0, error);
}

/* Showing */

static const CtlColumn columns[] = {
    {"time", FALSE},   {"domain", FALSE}, {"event", FALSE},
    {"device", FALSE}, {"size", TRUE},    {0},
};

static void view_events(Watch *self, GString *text)
{
    g_autoptr(CtlTable) table = ctl_table_new(columns);

    for (GList *at = self->events.head; at; at = at->next) {
        const HostmemLibvirtEvent *event = at->data;
        gboolean sized = event->size || g_str_equal(event->kind, "size");

        ctl_table_add(table,
                      (char *[]){
                          ctl_text_time(event->time_us),
                          g_strdup(event->domain),
                          g_strdup(event->kind),
                          g_strdup(event->alias),
                          sized ? hostmem_size_to_string(event->size) : NULL,
                      });
    }
    ctl_table_append_to(table, text);
}

static char *text_of(Watch *self, const json_t *status)
{
    GString *text = g_string_new(NULL);
    g_autofree char *now = ctl_text_time(g_get_real_time());
    g_autofree char *uri = ctl_text_safe(peer_json_string(status, "uri") ?: "");
    gsize end;

    g_string_printf(text, "%s  %s\n", now, uri);
    end = text->len;
    ctl_domain_view(status, text);
    ctl_view_separate(text, &end);
    ctl_domain_view_devices(status, text);
    ctl_view_separate(text, &end);
    view_events(self, text);
    ctl_view_separate(text, &end);
    return g_string_free(text, FALSE);
}

static json_t *json_of_event(const HostmemLibvirtEvent *event)
{
    g_autofree char *domain = g_utf8_make_valid(event->domain, -1);
    g_autofree char *alias =
        event->alias ? g_utf8_make_valid(event->alias, -1) : NULL;

    return json_pack("{s:s,s:s,s:s*,s:I,s:I}", "event", event->kind, "domain",
                     domain, "device", alias, "size", (json_int_t)event->size,
                     "time-us", (json_int_t)event->time_us);
}

/* What was told of once is not told again. */
static void move_events(Watch *self, json_t *status)
{
    json_t *events = json_array();
    HostmemLibvirtEvent *event;

    while ((event = g_queue_pop_head(&self->events))) {
        json_array_append_new(events, json_of_event(event));
        hostmem_libvirt_event_free(event);
    }
    json_object_set_new(status, "events", events);
}

static gboolean put(Watch *self, json_t *status, GError **error)
{
    if (self->json) {
        move_events(self, status);
        return ctl_put_json(status, error);
    }
    g_autofree char *text = text_of(self, status);
    if (self->screen) {
        return ctl_screen_draw(self->screen, text, error);
    }
    g_autofree char *block = g_strconcat(text, "\n", NULL);
    return ctl_put(block, error);
}

/* The one domain; a next run of it is another one. */
static gboolean follow(Watch *self, const json_t *status, GError **error)
{
    const json_t *domain =
        json_array_get(json_object_get(status, "domains"), 0);
    gint64 id = json_integer_value(json_object_get(domain, "id"));

    if (!self->real_name) {
        self->real_name = g_strdup(peer_json_string(domain, "name"));
        self->id = id;
    }
    if (id == self->id) {
        return TRUE;
    }
    g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NOT_FOUND,
                "%s: domain '%s' has ended, and was started again",
                hostmem_libvirt_connection_get_uri(self->connection),
                self->name);
    return FALSE;
}

/* A transient domain is unknown to libvirt when it has ended. */
static void explain_end(Watch *self, GError **why)
{
    if (self->real_name &&
        g_error_matches(*why, HOSTMEM_ERROR, HOSTMEM_ERROR_NOT_FOUND)) {
        g_clear_error(why);
        g_set_error(why, HOSTMEM_ERROR, HOSTMEM_ERROR_NOT_FOUND,
                    "%s: domain '%s' has ended",
                    hostmem_libvirt_connection_get_uri(self->connection),
                    self->name);
    }
}

static gboolean show(Watch *self, GError **error)
{
    json_auto_t *status = ctl_domain_read(self->connection, self->name, error);
    gboolean done;

    if (!status) {
        explain_end(self, error);
        return FALSE;
    }
    if (self->name && !follow(self, status, error)) {
        return FALSE;
    }
    hold_signals(SIG_BLOCK);
    done = put(self, status, error);
    hold_signals(SIG_UNBLOCK);
    return done;
}

static void free_event(gpointer event)
{
    hostmem_libvirt_event_free(event);
}

int ctl_run_domain_watch(CtlCall *call, GError **error)
{
    double seconds = DEFAULT_SECONDS;
    Watch self = {.name = call->words[0],
                  .json = ctl_call_has(call, "--json"),
                  .events = G_QUEUE_INIT};
    g_autoptr(GError) why = NULL;

    if (!ctl_call_get_seconds(call, "--interval", 0.1, &seconds, error)) {
        return EXIT_FAILURE;
    }
    catch_signals();
    g_autoptr(HostmemLibvirtConnection) connection =
        ctl_domain_connect(call, TRUE, error);
    if (!connection || !hostmem_libvirt_connection_listen(connection, error)) {
        return EXIT_FAILURE;
    }
    self.connection = connection;
    self.screen = self.json ? NULL : ctl_screen_new();
    while (show(&self, &why) && wait_for_news(&self, seconds, &why)) {
    }
    g_queue_clear_full(&self.events, free_event);
    g_clear_pointer(&self.screen, ctl_screen_free);
    g_free(self.real_name);
    g_propagate_error(error, g_steal_pointer(&why));
    return EXIT_FAILURE;
}
