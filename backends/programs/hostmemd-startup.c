/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hostmemd.h"

typedef struct {
    GPtrArray *texts; /* in the order of creation */
    guint next;
} Startup;

static void startup_free(gpointer data)
{
    Startup *self = data;
    g_ptr_array_unref(self->texts);
    g_free(self);
}

/* A guess from the text decides the order only: the registry reads it. */
static gboolean is_thread_context(const char *text)
{
    return g_regex_match_simple(
        "^thread-context(,|$)|(^|,)qom-type=thread-context(,|$)|"
        "^\\s*\\{.*\"qom-type\"\\s*:\\s*\"thread-context\"",
        text, G_REGEX_DOTALL, 0);
}

static void append_if(GPtrArray *to, GPtrArray *from, gboolean contexts)
{
    for (guint i = 0; i < from->len; i++) {
        if (is_thread_context(from->pdata[i]) == contexts) {
            g_ptr_array_add(to, g_strdup(from->pdata[i]));
        }
    }
}

static Startup *startup_new(GPtrArray *objects)
{
    Startup *self = g_new0(Startup, 1);

    self->texts = g_ptr_array_new_with_free_func(g_free);
    append_if(self->texts, objects, TRUE);
    append_if(self->texts, objects, FALSE);
    return self;
}

static void create_next(GTask *task);

static void on_created(GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr(GTask) task = data;
    Startup *self = g_task_get_task_data(task);
    GError *error = NULL;

    if (!hostmem_registry_add_finish(HOSTMEM_REGISTRY(source), result,
                                     &error)) {
        g_prefix_error(&error,
                       "-object %s: ", (char *)self->texts->pdata[self->next]);
        g_task_return_error(task, error);
        return;
    }
    self->next++;
    create_next(g_steal_pointer(&task));
}

/* Takes the reference to @task. */
static void create_next(GTask *task)
{
    Startup *self = g_task_get_task_data(task);

    if (self->next == self->texts->len) {
        g_task_return_boolean(task, TRUE);
        g_object_unref(task);
        return;
    }
    hostmem_registry_add_async(g_task_get_source_object(task),
                               self->texts->pdata[self->next],
                               g_task_get_cancellable(task), on_created, task);
}

void hm_startup_async(HostmemRegistry *registry, GPtrArray *objects,
                      GCancellable *cancellable, GAsyncReadyCallback callback,
                      gpointer user_data)
{
    GTask *task = g_task_new(registry, cancellable, callback, user_data);

    g_task_set_task_data(task, startup_new(objects), startup_free);
    create_next(task);
}

gboolean hm_startup_finish(GAsyncResult *result, GError **error)
{
    return g_task_propagate_boolean(G_TASK(result), error);
}
