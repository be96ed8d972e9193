/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/backend.h>
#include <hostmem/memory-pool.h>
#include "backends/qmp/event.h"
#include "backends/qmp/progress.h"
#include "backends/qmp/server.h"

#define INTERVAL_MS 1000

struct HmQmpProgress {
    HostmemQmpServer *server;
    guint begun;
    GMainContext *context;
    GSource *timer; /* while there may be something to tell */
};

/* Returns: whether it is being populated */
static gboolean read_progress(HostmemObject *object, guint64 *done,
                              guint64 *total)
{
    HostmemPreallocReport report;

    if (HOSTMEM_IS_MEMORY_POOL(object)) {
        return hostmem_memory_pool_get_progress(HOSTMEM_MEMORY_POOL(object),
                                                done, total, NULL);
    }
    if (!HOSTMEM_IS_BACKEND(object)) {
        return FALSE;
    }
    hostmem_backend_get_report(HOSTMEM_BACKEND(object), &report);
    *done = report.done;
    *total = report.total;
    return report.running;
}

static gboolean tell(HmQmpProgress *self, HostmemObject *object)
{
    guint64 done, total;

    if (!read_progress(object, &done, &total)) {
        return FALSE;
    }
    hm_qmp_server_emit(self->server, HM_QMP_EVENT_PROGRESS,
                       json_pack("{s:s,s:I,s:I}", "id",
                                 hostmem_object_get_id(object),
                                 "current-progress", (json_int_t)done,
                                 "total-progress", (json_int_t)total));
    return TRUE;
}

/* Returns: whether there was something to tell */
static gboolean tell_all(HmQmpProgress *self, GPtrArray *objects)
{
    gboolean any = FALSE;

    for (guint i = 0; i < objects->len; i++) {
        any |= tell(self, g_ptr_array_index(objects, i));
    }
    return any;
}

static gboolean has_running_jobs(HostmemRegistry *registry)
{
    g_autoptr(GPtrArray) jobs = hostmem_registry_list_jobs(registry);

    for (guint i = 0; i < jobs->len; i++) {
        if (!hostmem_job_is_over(g_ptr_array_index(jobs, i))) {
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean on_tick(gpointer user_data)
{
    HmQmpProgress *self = user_data;
    HostmemRegistry *registry = hm_qmp_server_get_registry(self->server);
    g_autoptr(GPtrArray) pending = hostmem_registry_list_pending(registry);
    g_autoptr(GPtrArray) ready = hostmem_registry_list(registry);

    tell_all(self, pending);
    if (tell_all(self, ready) || pending->len || self->begun ||
        has_running_jobs(registry)) {
        return G_SOURCE_CONTINUE;
    }
    g_clear_pointer(&self->timer, g_source_unref);
    return G_SOURCE_REMOVE;
}

HmQmpProgress *hm_qmp_progress_new(HostmemQmpServer *server)
{
    HmQmpProgress *self = g_new0(HmQmpProgress, 1);

    self->server = server;
    self->context = g_main_context_ref_thread_default();
    return self;
}

void hm_qmp_progress_free(HmQmpProgress *self)
{
    if (self->timer) {
        g_source_destroy(self->timer);
        g_source_unref(self->timer);
    }
    g_main_context_unref(self->context);
    g_free(self);
}

void hm_qmp_progress_watch(HmQmpProgress *self)
{
    if (self->timer) {
        return;
    }
    self->timer = g_timeout_source_new(INTERVAL_MS);
    g_source_set_callback(self->timer, on_tick, self, NULL);
    g_source_attach(self->timer, self->context);
}

void hm_qmp_progress_begin(HmQmpProgress *self)
{
    self->begun++;
    hm_qmp_progress_watch(self);
}

void hm_qmp_progress_end(HmQmpProgress *self)
{
    self->begun--;
}
