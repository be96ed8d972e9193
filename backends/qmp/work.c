/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/qmp/server.h"
#include "backends/qmp/work.h"
#include "util/thread.h"

/*
 * Theory of operation
 *
 * Each piece of work is an item with a thread of its own, which knows the item
 * and nothing else.  Its last act is to attach a source to the registry's main
 * context; there the thread is joined and the call ends.
 *
 * An item keeps its objects alive.  Removing one meanwhile would answer
 * before the memory is gone, and the item would unmap it in the main loop; so
 * object-del waits here first.
 */

typedef struct {
    HmQmpWork *owner;
    HmQmpCall *call;
    GPtrArray *objects; /* owned */
    GObject *target;    /* owned, (nullable) */
    HmQmpWorkFunc func;
    GCancellable *cancellable;
    GThread *thread;
    GSource *done; /* attached by the thread */
    json_t *value; /* these two are the thread's until it is done */
    GError *error;
} Item;

typedef struct {
    HostmemObject *object; /* for comparison only */
    void (*func)(gpointer user_data);
    gpointer user_data;
} Waiter;

struct HmQmpWork {
    HmQmpProgress *progress;
    GMainContext *context;
    GPtrArray *items; /* of Item, owned: those under way */
    GArray *waiters;  /* of Waiter */
};

static void item_free(gpointer data)
{
    Item *item = data;

    g_clear_object(&item->target);
    g_clear_pointer(&item->done, g_source_unref);
    g_ptr_array_unref(item->objects);
    g_object_unref(item->cancellable);
    g_free(item);
}

HmQmpWork *hm_qmp_work_new(HmQmpProgress *progress)
{
    HmQmpWork *self = g_new0(HmQmpWork, 1);

    self->progress = progress;
    self->context = g_main_context_ref_thread_default();
    self->items = g_ptr_array_new_with_free_func(item_free);
    self->waiters = g_array_new(FALSE, FALSE, sizeof(Waiter));
    return self;
}

void hm_qmp_work_free(HmQmpWork *self)
{
    g_ptr_array_unref(self->items);
    g_array_unref(self->waiters);
    g_main_context_unref(self->context);
    g_free(self);
}

/* Ending */

static gboolean is_worked_on(HmQmpWork *self, HostmemObject *object)
{
    for (guint i = 0; i < self->items->len; i++) {
        Item *item = g_ptr_array_index(self->items, i);

        if (g_ptr_array_find(item->objects, object, NULL)) {
            return TRUE;
        }
    }
    return FALSE;
}

gboolean hm_qmp_work_is_awaited(HmQmpWork *self, HostmemObject *object)
{
    for (guint i = 0; i < self->waiters->len; i++) {
        if (g_array_index(self->waiters, Waiter, i).object == object) {
            return TRUE;
        }
    }
    return FALSE;
}

static void wake_waiters(HmQmpWork *self)
{
    for (guint i = self->waiters->len; i-- > 0;) {
        Waiter waiter = g_array_index(self->waiters, Waiter, i);

        if (!is_worked_on(self, waiter.object)) {
            g_array_remove_index(self->waiters, i);
            waiter.func(waiter.user_data);
        }
    }
}

static void finish(Item *item)
{
    HmQmpWork *self = item->owner;
    HmQmpCall *call = item->call;
    g_autoptr(HostmemQmpServer) server = g_object_ref(call->server);
    g_autoptr(GError) error = g_steal_pointer(&item->error);
    json_t *value = g_steal_pointer(&item->value);

    g_ptr_array_remove_fast(self->items, item);
    hm_qmp_progress_end(self->progress);
    hm_qmp_call_end(call, value, error);
    wake_waiters(self);
}

static void join(Item *item)
{
    g_thread_join(item->thread);
    g_source_destroy(item->done);
    finish(item);
}

static gboolean on_done(gpointer user_data)
{
    join(user_data);
    return G_SOURCE_REMOVE;
}

/* Starting */

static gpointer item_main(gpointer data)
{
    Item *item = data;

    item->value = item->func(item->call, item->objects, item->target,
                             item->cancellable, &item->error);
    g_source_attach(item->done, item->owner->context);
    return NULL;
}

static gboolean start_thread(Item *item)
{
    item->done = g_idle_source_new();
    g_source_set_priority(item->done, G_PRIORITY_DEFAULT);
    g_source_set_callback(item->done, on_done, item, NULL);
    item->thread = hm_thread_new("hostmem-qmp", item_main, item, &item->error);
    return item->thread != NULL;
}

GPtrArray *hm_qmp_work_objects(HostmemObject *object)
{
    GPtrArray *objects = g_ptr_array_new_with_free_func(g_object_unref);

    g_ptr_array_add(objects, g_object_ref(object));
    return objects;
}

void hm_qmp_work_start(HmQmpWork *self, HmQmpCall *call, GPtrArray *objects,
                       GObject *target, HmQmpWorkFunc func)
{
    Item *item = g_new0(Item, 1);

    item->owner = self;
    item->call = call;
    item->objects = objects;
    item->target = target ? g_object_ref(target) : NULL;
    item->func = func;
    item->cancellable = g_cancellable_new();
    /* Or a client could put off the removal of an object for ever. */
    for (guint i = 0; i < objects->len; i++) {
        if (hm_qmp_work_is_awaited(self, g_ptr_array_index(objects, i))) {
            g_cancellable_cancel(item->cancellable);
        }
    }
    g_ptr_array_add(self->items, item);
    hm_qmp_progress_begin(self->progress);
    if (!start_thread(item)) {
        finish(item);
    }
}

/* Cancelling */

gboolean hm_qmp_work_cancel(HmQmpWork *self, HostmemObject *object,
                            void (*func)(gpointer user_data),
                            gpointer user_data)
{
    Waiter waiter = {object, func, user_data};

    if (!is_worked_on(self, object)) {
        return FALSE;
    }
    g_array_append_val(self->waiters, waiter);
    for (guint i = 0; i < self->items->len; i++) {
        Item *item = g_ptr_array_index(self->items, i);

        if (g_ptr_array_find(item->objects, object, NULL)) {
            g_cancellable_cancel(item->cancellable);
        }
    }
    return TRUE;
}

void hm_qmp_work_cancel_all(HmQmpWork *self)
{
    for (guint i = 0; i < self->items->len; i++) {
        Item *item = g_ptr_array_index(self->items, i);

        g_cancellable_cancel(item->cancellable);
    }
}

void hm_qmp_work_end_all(HmQmpWork *self)
{
    hm_qmp_work_cancel_all(self);
    while (self->items->len) {
        join(g_ptr_array_index(self->items, 0));
    }
}
