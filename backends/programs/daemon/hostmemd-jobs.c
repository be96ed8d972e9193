/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hostmemd.h"

typedef struct {
    gulong changed;   /* handlers */
    gulong cancelled; /* 0: it was cancelled at the start */
} Wait;

/* (nullable): why the first job that failed did; a deadline is no failure. */
static GError *find_error(GPtrArray *jobs)
{
    for (guint i = 0; i < jobs->len; i++) {
        g_autoptr(GError) error = hostmem_job_get_error(jobs->pdata[i]);

        if (error &&
            !g_error_matches(error, HOSTMEM_ERROR, HOSTMEM_ERROR_TIMED_OUT)) {
            g_prefix_error(&error,
                           "job '%s': ", hostmem_job_get_id(jobs->pdata[i]));
            return g_steal_pointer(&error);
        }
    }
    return NULL;
}

static gboolean are_over(GPtrArray *jobs)
{
    for (guint i = 0; i < jobs->len; i++) {
        if (!hostmem_job_is_over(jobs->pdata[i])) {
            return FALSE;
        }
    }
    return TRUE;
}

/* Takes the reference to @task. */
static void finish(GTask *task, GError *error)
{
    HostmemRegistry *registry = g_task_get_source_object(task);
    Wait *self = g_task_get_task_data(task);

    g_clear_signal_handler(&self->changed, registry);
    g_cancellable_disconnect(g_task_get_cancellable(task), self->cancelled);
    if (error) {
        g_task_return_error(task, error);
    } else {
        g_task_return_boolean(task, TRUE);
    }
    g_object_unref(task);
}

static void look(GTask *task)
{
    g_autoptr(GPtrArray) jobs =
        hostmem_registry_list_jobs(g_task_get_source_object(task));

    if (are_over(jobs)) {
        finish(task, find_error(jobs));
    }
}

static void on_changed(G_GNUC_UNUSED HostmemRegistry *registry,
                       G_GNUC_UNUSED HostmemJob *job,
                       G_GNUC_UNUSED HostmemJobStatus status, gpointer data)
{
    look(data);
}

static void on_cancelled(G_GNUC_UNUSED GCancellable *cancellable,
                         gpointer registry)
{
    hostmem_registry_cancel_all(registry);
}

void hm_jobs_wait_async(HostmemRegistry *registry, GCancellable *cancellable,
                        GAsyncReadyCallback callback, gpointer user_data)
{
    GTask *task = g_task_new(registry, cancellable, callback, user_data);
    Wait *self = g_new0(Wait, 1);

    g_task_set_task_data(task, self, g_free);
    self->changed =
        g_signal_connect(registry, "job-changed", G_CALLBACK(on_changed), task);
    self->cancelled = g_cancellable_connect(
        cancellable, G_CALLBACK(on_cancelled), registry, NULL);
    look(task);
}

gboolean hm_jobs_wait_finish(GAsyncResult *result, GError **error)
{
    return g_task_propagate_boolean(G_TASK(result), error);
}
