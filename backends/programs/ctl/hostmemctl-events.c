/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include "hostmemctl.h"

typedef struct {
    CtlPeer *peer;
    gboolean json;
    gboolean shutdown; /* the peer said that it goes */
    GError *error;     /* (nullable): of writing */
} Events;

/* When it was, by the peer's clock. */
static char *time_of(const json_t *event)
{
    const json_t *stamp = json_object_get(event, "timestamp");
    guint64 seconds, microseconds;
    g_autoptr(GDateTime) utc = NULL;
    g_autoptr(GDateTime) local = NULL;

    if (!peer_json_number(stamp, "seconds", &seconds) || seconds > G_MAXINT64) {
        return g_strdup("-");
    }
    peer_json_number(stamp, "microseconds", &microseconds);
    utc = g_date_time_new_from_unix_utc((gint64)seconds);
    local = utc ? g_date_time_to_local(utc) : NULL;
    if (!local) {
        return g_strdup("-");
    }
    g_autofree char *text = g_date_time_format(local, "%Y-%m-%d %H:%M:%S");
    return g_strdup_printf("%s.%03u", text,
                           (guint)(microseconds / 1000 % 1000));
}

static void append_member(GString *line, const char *key, const json_t *value)
{
    g_autofree char *text =
        json_is_string(value) ? peer_json_to_text(value) : ctl_text_of(value);

    g_string_append_printf(line, " %s=%s", key, text);
}

/* "2026-01-31 12:00:00.123 JOB_STATUS_CHANGE id="m0" status="running"" */
char *ctl_event_line(const char *name, const json_t *event)
{
    g_autoptr(GString) line = g_string_new(NULL);
    g_autofree char *time = time_of(event);
    json_t *data = json_object_get(event, "data");
    const char *key;
    json_t *value;

    g_string_printf(line, "%s %s", time, name);
    json_object_foreach(data, key, value)
    {
        append_member(line, key, value);
    }
    g_autofree char *safe = ctl_text_safe(line->str);
    return g_strconcat(safe, "\n", NULL);
}

static void on_event(const char *name, json_t *event, gpointer user_data)
{
    Events *self = user_data;
    g_autofree char *line = self->json ? NULL : ctl_event_line(name, event);

    if (self->error) {
        return;
    }
    self->shutdown |= g_str_equal(name, "SHUTDOWN");
    if (self->json) {
        ctl_put_json(event, &self->error);
    } else {
        ctl_put(line, &self->error);
    }
}

int ctl_run_events(CtlCall *call, GError **error)
{
    g_autoptr(CtlPeer) peer = ctl_peer_new(call, error);
    g_autoptr(GError) why = NULL;
    Events self = {.peer = peer, .json = ctl_call_has(call, "--json")};

    if (!peer) {
        return EXIT_FAILURE;
    }
    ctl_peer_set_listener(peer, on_event, &self);
    ctl_peer_catch_signals(peer);
    while (!self.error && ctl_peer_wait(peer, -1, &why)) {
    }
    if (self.error) {
        g_propagate_error(error, self.error);
        return EXIT_FAILURE;
    }
    if (ctl_peer_is_cancelled(peer) || self.shutdown) {
        return EXIT_SUCCESS;
    }
    g_propagate_error(error, g_steal_pointer(&why));
    return EXIT_FAILURE;
}
