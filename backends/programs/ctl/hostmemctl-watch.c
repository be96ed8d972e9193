/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib-unix.h>
#include <signal.h>
#include <stdlib.h>
#include "hostmemctl.h"

/*
 * Theory of operation
 *
 * All is asked for and shown, again when the interval is over, and at once when
 * an event comes, though not before a tenth of a second has passed.
 *
 * On a terminal it is drawn in place, elsewhere a block follows the other.
 */

#define SETTLE_US (100 * 1000)
/* Progress comes once a second; what is silent for longer has ended. */
#define FORGET_US (2500 * 1000)

/* Devices that were heard of; a peer may invent as many as it likes. */
#define MANY 4096

typedef struct {
    CtlPeer *peer;
    gboolean json;
    CtlScreen *screen;   /* (nullable): NULL when it is no terminal */
    gboolean news_since; /* something happened since all was asked for */
    GHashTable *absent;
    CtlNews news;
    GHashTable *heard; /* id to when its progress was */
    guint resized;     /* source of SIGWINCH */
} Watch;

/* News */

static void hear_progress(Watch *self, json_t *data)
{
    const char *id = peer_json_string(data, "id");
    gint64 *now = g_new(gint64, 1);

    *now = g_get_monotonic_time();
    g_hash_table_insert(self->heard, g_strdup(id), now);
    g_hash_table_insert(self->news.progress, g_strdup(id), json_incref(data));
}

static void on_event(const char *name, json_t *event, gpointer user_data)
{
    Watch *self = user_data;
    json_t *data = json_object_get(event, "data");
    const char *path = peer_json_string(data, "qom-path");

    self->news_since = TRUE;
    if (g_hash_table_size(self->news.resizes) > MANY) {
        g_hash_table_remove_all(self->news.resizes);
    }
    if (g_str_equal(name, "MEMORY_PREALLOC_PROGRESS") &&
        peer_json_string(data, "id")) {
        hear_progress(self, data);
    } else if (g_str_equal(name, "MEMORY_DEVICE_RESIZE") && path) {
        g_hash_table_insert(self->news.resizes, g_strdup(path),
                            json_incref(data));
    }
}

/* What has ended, and what is told of as a job. */
static void forget(Watch *self, const json_t *jobs)
{
    gint64 now = g_get_monotonic_time();
    GHashTableIter iter;
    gpointer id, heard;

    g_hash_table_iter_init(&iter, self->heard);
    while (g_hash_table_iter_next(&iter, &id, &heard)) {
        if (now - *(gint64 *)heard > FORGET_US ||
            peer_json_find(jobs, "id", id)) {
            g_hash_table_remove(self->news.progress, id);
            g_hash_table_iter_remove(&iter);
        }
    }
}

/* Drawing */

static gboolean show(Watch *self, GError **error)
{
    self->news_since = FALSE;
    json_auto_t *status = ctl_status_read(self->peer, self->absent, error);
    g_autoptr(GString) text = g_string_new(NULL);
    g_autofree char *now = ctl_text_time(g_get_real_time());

    if (!status) {
        return FALSE;
    }
    if (self->json) {
        return ctl_put_json(status, error);
    }
    forget(self, json_object_get(status, "jobs"));
    g_string_printf(text, "%s  ", now);
    ctl_view_status(status, &self->news, text);
    if (self->screen) {
        return ctl_screen_draw(self->screen, text->str, error);
    }
    g_string_append_c(text, '\n');
    return ctl_put(text->str, error);
}

static gboolean on_resized(gpointer user_data)
{
    Watch *self = user_data;

    ctl_screen_clear(self->screen);
    ctl_peer_wake(self->peer);
    return G_SOURCE_CONTINUE;
}

/* The loop */

static gboolean wait_for_news(Watch *self, double seconds, GError **error)
{
    gint64 now = g_get_monotonic_time();
    gint64 settled = now + SETTLE_US;
    gint64 end = now + (gint64)(seconds * G_USEC_PER_SEC);

    if (!self->news_since && !ctl_peer_wait(self->peer, end, error)) {
        return FALSE;
    }
    while (g_get_monotonic_time() < settled) {
        if (!ctl_peer_wait(self->peer, settled, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static Watch *watch_new(CtlPeer *peer, gboolean json)
{
    Watch *self = g_new0(Watch, 1);

    self->peer = peer;
    self->json = json;
    self->screen = json ? NULL : ctl_screen_new();
    self->absent = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, g_free);
    self->heard =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    self->news.progress = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                                (GDestroyNotify)json_decref);
    self->news.resizes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                               (GDestroyNotify)json_decref);
    if (self->screen) {
        self->resized = g_unix_signal_add(SIGWINCH, on_resized, self);
    }
    ctl_peer_set_listener(peer, on_event, self);
    ctl_peer_catch_signals(peer);
    return self;
}

static void watch_free(Watch *self)
{
    if (self->resized) {
        g_source_remove(self->resized);
    }
    ctl_peer_set_listener(self->peer, NULL, NULL);
    g_clear_pointer(&self->screen, ctl_screen_free);
    g_hash_table_unref(self->absent);
    g_hash_table_unref(self->heard);
    g_hash_table_unref(self->news.progress);
    g_hash_table_unref(self->news.resizes);
    g_free(self);
}

int ctl_watch(CtlPeer *peer, double seconds, gboolean json, GError **error)
{
    Watch *self = watch_new(peer, json);
    g_autoptr(GError) why = NULL;

    while (show(self, &why) && wait_for_news(self, seconds, &why)) {
    }
    watch_free(self);
    if (ctl_peer_is_cancelled(peer)) {
        return EXIT_SUCCESS;
    }
    g_propagate_error(error, g_steal_pointer(&why));
    return EXIT_FAILURE;
}
