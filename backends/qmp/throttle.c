/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/qmp/server.h"
#include "backends/qmp/throttle.h"

#define INTERVAL_MS 1000

/* Exists as long as less than a second has passed since it sent. */
typedef struct {
    HmQmpThrottle *owner;
    const char *name;
    char *key;
    json_t *waiting; /* (nullable): data of the event to come */
    GSource *timer;
} Slot;

struct HmQmpThrottle {
    HostmemQmpServer *server;
    GMainContext *context;
    GPtrArray *slots; /* of Slot, owned */
};

static void slot_free(gpointer data)
{
    Slot *slot = data;

    g_source_destroy(slot->timer);
    g_source_unref(slot->timer);
    json_decref(slot->waiting);
    g_free(slot->key);
    g_free(slot);
}

HmQmpThrottle *hm_qmp_throttle_new(HostmemQmpServer *server)
{
    HmQmpThrottle *self = g_new0(HmQmpThrottle, 1);

    self->server = server;
    self->context = g_main_context_ref_thread_default();
    self->slots = g_ptr_array_new_with_free_func(slot_free);
    return self;
}

void hm_qmp_throttle_free(HmQmpThrottle *self)
{
    g_ptr_array_unref(self->slots);
    g_main_context_unref(self->context);
    g_free(self);
}

/* FALSE: nothing waits. */
static gboolean send_waiting(Slot *slot)
{
    json_t *data = g_steal_pointer(&slot->waiting);

    if (!data) {
        return FALSE;
    }
    hm_qmp_server_emit(slot->owner->server, slot->name, data);
    return TRUE;
}

static gboolean on_second_over(gpointer user_data)
{
    Slot *slot = user_data;

    if (send_waiting(slot)) {
        return G_SOURCE_CONTINUE;
    }
    g_ptr_array_remove_fast(slot->owner->slots, slot);
    return G_SOURCE_REMOVE;
}

static Slot *find_slot(HmQmpThrottle *self, const char *name, const char *key)
{
    for (guint i = 0; i < self->slots->len; i++) {
        Slot *slot = g_ptr_array_index(self->slots, i);

        if (g_str_equal(slot->name, name) && g_str_equal(slot->key, key)) {
            return slot;
        }
    }
    return NULL;
}

static void add_slot(HmQmpThrottle *self, const char *name, const char *key)
{
    Slot *slot = g_new0(Slot, 1);

    slot->owner = self;
    slot->name = name;
    slot->key = g_strdup(key);
    slot->timer = g_timeout_source_new(INTERVAL_MS);
    g_source_set_callback(slot->timer, on_second_over, slot, NULL);
    g_source_attach(slot->timer, self->context);
    g_ptr_array_add(self->slots, slot);
}

void hm_qmp_throttle_emit(HmQmpThrottle *self, const char *name,
                          const char *key, json_t *data)
{
    Slot *slot = find_slot(self, name, key);

    if (slot) {
        json_decref(slot->waiting);
        slot->waiting = data;
        return;
    }
    add_slot(self, name, key);
    hm_qmp_server_emit(self->server, name, data);
}

void hm_qmp_throttle_flush(HmQmpThrottle *self, const char *key)
{
    for (guint i = 0; i < self->slots->len; i++) {
        Slot *slot = g_ptr_array_index(self->slots, i);

        if (!key || g_str_equal(slot->key, key)) {
            send_waiting(slot);
        }
    }
}
