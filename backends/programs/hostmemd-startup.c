/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hostmemd.h"

typedef struct {
    GPtrArray *texts; /* in the order of creation */
    guint n_objects;  /* that many of them; devices follow */
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

static Startup *startup_new(const HmOptions *options)
{
    Startup *self = g_new0(Startup, 1);

    self->texts = g_ptr_array_new_with_free_func(g_free);
    append_if(self->texts, options->objects, TRUE);
    append_if(self->texts, options->objects, FALSE);
    self->n_objects = self->texts->len;
    for (guint i = 0; i < options->devices->len; i++) {
        g_ptr_array_add(self->texts, g_strdup(options->devices->pdata[i]));
    }
    return self;
}

static gboolean is_device(const Startup *self)
{
    return self->next >= self->n_objects;
}

static void create_next(GTask *task);

static gboolean finish(const Startup *self, HostmemRegistry *registry,
                       GAsyncResult *result, GError **error)
{
    if (is_device(self)) {
        return hostmem_registry_add_device_finish(registry, result, error) !=
               NULL;
    }
    return hostmem_registry_add_finish(registry, result, error) != NULL;
}

static void on_created(GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr(GTask) task = data;
    Startup *self = g_task_get_task_data(task);
    HostmemRegistry *registry = HOSTMEM_REGISTRY(source);
    GError *error = NULL;

    if (!finish(self, registry, result, &error)) {
        g_prefix_error(&error,
                       "-%s %s: ", is_device(self) ? "device" : "object",
                       (char *)self->texts->pdata[self->next]);
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
    if (is_device(self)) {
        hostmem_registry_add_device_async(
            g_task_get_source_object(task), self->texts->pdata[self->next],
            g_task_get_cancellable(task), on_created, task);
        return;
    }
    hostmem_registry_add_async(g_task_get_source_object(task),
                               self->texts->pdata[self->next],
                               g_task_get_cancellable(task), on_created, task);
}

void hm_startup_async(HostmemRegistry *registry, const HmOptions *options,
                      GCancellable *cancellable, GAsyncReadyCallback callback,
                      gpointer user_data)
{
    GTask *task = g_task_new(registry, cancellable, callback, user_data);

    g_task_set_task_data(task, startup_new(options), startup_free);
    create_next(task);
}

gboolean hm_startup_finish(GAsyncResult *result, GError **error)
{
    return g_task_propagate_boolean(G_TASK(result), error);
}
