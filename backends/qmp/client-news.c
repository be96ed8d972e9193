/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "backends/qmp/client-news.h"

/* What an event takes besides its text. */
#define WEIGHT 256

/* One of the three. */
typedef struct {
    HmQmpRequest *answered;
    char *event;
    char *json; /* of the event */
    GError *closed;
} Item;

struct HmQmpNews {
    GObject *client;
    const HmQmpNewsFuncs *funcs;
    GMainContext *context;
    GSource *telling; /* while there is something */
    GQueue items;     /* of Item */
    gsize size;
    gboolean muted;
};

static gsize weigh(const Item *item)
{
    return item->json ? strlen(item->json) + WEIGHT : 0;
}

static void item_free(gpointer data)
{
    Item *item = data;

    g_clear_pointer(&item->answered, hm_qmp_request_free);
    g_free(item->event);
    g_free(item->json);
    g_clear_error(&item->closed);
    g_free(item);
}

static void stop_telling(HmQmpNews *self)
{
    if (self->telling) {
        g_source_destroy(self->telling);
        g_clear_pointer(&self->telling, g_source_unref);
    }
}

static void tell(HmQmpNews *self, Item *item)
{
    if (item->answered) {
        hm_qmp_request_return(g_steal_pointer(&item->answered));
    } else if (self->muted) {
        return;
    } else if (item->closed) {
        self->funcs->closed(self->client, item->closed);
    } else {
        self->funcs->event(self->client, item->event, item->json);
    }
}

/* FALSE: that was the end of the client, and so of @self. */
static gboolean tell_next(HmQmpNews *self)
{
    GObject *client = g_object_ref(self->client);
    Item *item = g_queue_pop_head(&self->items);

    self->size -= weigh(item);
    tell(self, item);
    item_free(item);
    g_object_add_weak_pointer(client, (gpointer *)&client);
    g_object_unref(client);
    if (client) {
        g_object_remove_weak_pointer(client, (gpointer *)&client);
    }
    return client != NULL;
}

/* Those that are there now: what the user's code brings about waits. */
static gboolean on_tell(gpointer user_data)
{
    HmQmpNews *self = user_data;

    for (guint n = self->items.length; n > 0 && self->items.length; n--) {
        if (!tell_next(self)) {
            return G_SOURCE_REMOVE;
        }
    }
    if (!self->items.length) {
        stop_telling(self);
    }
    return G_SOURCE_CONTINUE;
}

static void push(HmQmpNews *self, Item *item)
{
    g_queue_push_tail(&self->items, item);
    self->size += weigh(item);
    if (!self->telling) {
        self->telling = g_idle_source_new();
        g_source_set_priority(self->telling, G_PRIORITY_DEFAULT);
        g_source_set_callback(self->telling, on_tell, self, NULL);
        g_source_attach(self->telling, self->context);
    }
}

void hm_qmp_news_push_event(HmQmpNews *self, json_t *message)
{
    Item *item = g_new0(Item, 1);

    item->event =
        g_strdup(json_string_value(json_object_get(message, "event")));
    item->json = hm_qmp_json_to_text(message);
    push(self, item);
}

void hm_qmp_news_push_answered(HmQmpNews *self, HmQmpRequest *request)
{
    Item *item = g_new0(Item, 1);

    item->answered = request;
    push(self, item);
}

void hm_qmp_news_push_closed(HmQmpNews *self, const GError *why)
{
    Item *item = g_new0(Item, 1);

    item->closed = g_error_copy(why);
    push(self, item);
}

gsize hm_qmp_news_get_size(HmQmpNews *self)
{
    return self->size;
}

void hm_qmp_news_mute(HmQmpNews *self)
{
    self->muted = TRUE;
}

HmQmpNews *hm_qmp_news_new(GObject *client, const HmQmpNewsFuncs *funcs)
{
    HmQmpNews *self = g_new0(HmQmpNews, 1);

    self->client = client;
    self->funcs = funcs;
    self->context = g_main_context_ref_thread_default();
    g_queue_init(&self->items);
    return self;
}

void hm_qmp_news_free(HmQmpNews *self)
{
    stop_telling(self);
    g_queue_clear_full(&self->items, item_free);
    g_main_context_unref(self->context);
    g_free(self);
}
