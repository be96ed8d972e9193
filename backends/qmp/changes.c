/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/object.h"
#include "backends/qmp/changes.h"
#include "backends/qmp/server.h"
#include "backends/registry-private.h"
#include "util/error.h"

/*
 * Theory of operation
 *
 * Each change has a thread of its own, which knows the change and nothing
 * else.  Its last act is to attach a source to the registry's main context;
 * there the thread is joined and the call ends.
 */

typedef struct {
    HmQmpChanges *owner;
    HmQmpCall *call;
    HostmemObject *object; /* owned */
    GObject *target;       /* owned (nullable): what a LINK is set to */
    GCancellable *cancellable;
    GThread *thread;
    GSource *done; /* attached by the thread */
    GError *error; /* of the thread until it is done */
} Change;

typedef struct {
    HostmemObject *object; /* for comparison only */
    void (*func)(gpointer user_data);
    gpointer user_data;
} Waiter;

struct HmQmpChanges {
    HmQmpProgress *progress;
    GMainContext *context;
    GPtrArray *changes; /* of Change, owned: those under way */
    GArray *waiters;    /* of Waiter */
};

static void change_free(gpointer data)
{
    Change *change = data;

    g_clear_object(&change->target);
    g_clear_pointer(&change->done, g_source_unref);
    g_clear_error(&change->error);
    g_object_unref(change->object);
    g_object_unref(change->cancellable);
    g_free(change);
}

HmQmpChanges *hm_qmp_changes_new(HmQmpProgress *progress)
{
    HmQmpChanges *self = g_new0(HmQmpChanges, 1);

    self->progress = progress;
    self->context = g_main_context_ref_thread_default();
    self->changes = g_ptr_array_new_with_free_func(change_free);
    self->waiters = g_array_new(FALSE, FALSE, sizeof(Waiter));
    return self;
}

void hm_qmp_changes_free(HmQmpChanges *self)
{
    g_ptr_array_unref(self->changes);
    g_array_unref(self->waiters);
    g_main_context_unref(self->context);
    g_free(self);
}

/* Links */

/* The registry belongs to its thread: it is asked before the change goes to
 * another one, which then only has to be given the answer. */
static gboolean find_target(Change *change, GError **error)
{
    HmQmpCall *call = change->call;
    const HmPropLinks *links =
        hm_registry_links(hm_qmp_server_get_registry(call->server));
    const HmProp *row = hm_props_find(G_OBJECT_GET_CLASS(change->object),
                                      hm_qmp_call_string(call, "property"));
    const char *path = hm_qmp_call_string(call, "value");
    GObject *target;

    if (!row || row->kind != HM_PROP_LINK || !path || !*path) {
        return TRUE;
    }
    target = links->find(path, links->data, error);
    if (!target) {
        return FALSE;
    }
    change->target = g_object_ref(target);
    return TRUE;
}

static GObject *give_target(const char *path G_GNUC_UNUSED, gpointer data,
                            GError **error G_GNUC_UNUSED)
{
    return data;
}

/* Changing */

static gpointer change_main(gpointer data)
{
    Change *change = data;
    const HmPropLinks links = {.find = give_target, .data = change->target};

    hm_object_set_json(change->object,
                       hm_qmp_call_string(change->call, "property"),
                       hm_qmp_call_arg(change->call, "value"), &links,
                       change->cancellable, &change->error);
    g_source_attach(change->done, change->owner->context);
    return NULL;
}

static gboolean is_changing(HmQmpChanges *self, HostmemObject *object)
{
    for (guint i = 0; i < self->changes->len; i++) {
        Change *change = g_ptr_array_index(self->changes, i);

        if (change->object == object) {
            return TRUE;
        }
    }
    return FALSE;
}

static void wake_waiters(HmQmpChanges *self)
{
    for (guint i = self->waiters->len; i-- > 0;) {
        Waiter waiter = g_array_index(self->waiters, Waiter, i);

        if (!is_changing(self, waiter.object)) {
            g_array_remove_index(self->waiters, i);
            waiter.func(waiter.user_data);
        }
    }
}

/* The change is over: tell whoever waits for that. */
static void finish(Change *change)
{
    HmQmpChanges *self = change->owner;
    HmQmpCall *call = change->call;
    g_autoptr(HostmemQmpServer) server = g_object_ref(call->server);
    g_autoptr(GError) error = g_steal_pointer(&change->error);

    g_ptr_array_remove_fast(self->changes, change);
    hm_qmp_progress_end(self->progress);
    hm_qmp_call_end(call, error ? NULL : json_object(), error);
    wake_waiters(self);
}

static void join(Change *change)
{
    g_thread_join(change->thread);
    g_source_destroy(change->done);
    finish(change);
}

static gboolean on_done(gpointer user_data)
{
    join(user_data);
    return G_SOURCE_REMOVE;
}

static gboolean start_thread(Change *change, GError **error)
{
    g_autoptr(GError) cause = NULL;

    change->done = g_idle_source_new();
    g_source_set_priority(change->done, G_PRIORITY_DEFAULT);
    g_source_set_callback(change->done, on_done, change, NULL);
    change->thread =
        g_thread_try_new("hostmem-change", change_main, change, &cause);
    return change->thread ||
           hm_set_error(error, HOSTMEM_ERROR_LIMIT,
                        "cannot create a thread: %s", cause->message);
}

void hm_qmp_changes_start(HmQmpChanges *self, HmQmpCall *call,
                          HostmemObject *object)
{
    Change *change = g_new0(Change, 1);

    change->owner = self;
    change->call = call;
    change->object = g_object_ref(object);
    change->cancellable = g_cancellable_new();
    g_ptr_array_add(self->changes, change);
    hm_qmp_progress_begin(self->progress);
    if (!find_target(change, &change->error) ||
        !start_thread(change, &change->error)) {
        finish(change);
    }
}

/* Cancelling */

gboolean hm_qmp_changes_cancel(HmQmpChanges *self, HostmemObject *object,
                               void (*func)(gpointer user_data),
                               gpointer user_data)
{
    Waiter waiter = {object, func, user_data};

    if (!is_changing(self, object)) {
        return FALSE;
    }
    g_array_append_val(self->waiters, waiter);
    for (guint i = 0; i < self->changes->len; i++) {
        Change *change = g_ptr_array_index(self->changes, i);

        if (change->object == object) {
            g_cancellable_cancel(change->cancellable);
        }
    }
    return TRUE;
}

void hm_qmp_changes_cancel_all(HmQmpChanges *self)
{
    for (guint i = 0; i < self->changes->len; i++) {
        Change *change = g_ptr_array_index(self->changes, i);

        g_cancellable_cancel(change->cancellable);
    }
}

void hm_qmp_changes_end_all(HmQmpChanges *self)
{
    hm_qmp_changes_cancel_all(self);
    while (self->changes->len) {
        join(g_ptr_array_index(self->changes, 0));
    }
}
