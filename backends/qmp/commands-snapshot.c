/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/snapshot.h>
#include "backends/qmp/call.h"
#include "backends/qmp/server.h"

static HostmemSnapshotOptions get_options(HmQmpCall *call)
{
    return (HostmemSnapshotOptions){
        .max_bandwidth =
            (guint64)json_integer_value(hm_qmp_call_arg(call, "max-bandwidth")),
        .threads = (guint)json_integer_value(hm_qmp_call_arg(call, "threads")),
        .allow_exposed = json_is_true(hm_qmp_call_arg(call, "allow-exposed")),
    };
}

/* A HmQmpWorkFunc. */
static json_t *take_snapshot(HmQmpCall *call, GPtrArray *objects,
                             GObject *target G_GNUC_UNUSED,
                             GCancellable *cancellable, GError **error)
{
    const HostmemSnapshotOptions options = get_options(call);
    g_autoptr(HostmemJob) job = NULL;

    if (g_cancellable_set_error_if_cancelled(cancellable, error)) {
        return NULL;
    }
    job = hostmem_backend_snapshot(g_ptr_array_index(objects, 0),
                                   hm_qmp_call_string(call, "file"), &options,
                                   error);
    return job ? json_pack("{s:s}", "job", hostmem_job_get_id(job)) : NULL;
}

/* To protect all pages of a large backend takes a while. */
void hm_qmp_run_memory_snapshot(HmQmpCall *call)
{
    g_autoptr(GError) error = NULL;
    HostmemBackend *backend = hostmem_registry_lookup(
        hm_qmp_server_get_registry(call->server),
        hm_qmp_call_string(call, "id"), HOSTMEM_TYPE_BACKEND, &error);

    if (!backend) {
        hm_qmp_call_fail(call, error);
        return;
    }
    hm_qmp_work_start(hm_qmp_server_get_work(call->server), call,
                      hm_qmp_work_objects(HOSTMEM_OBJECT(backend)), NULL,
                      take_snapshot);
}
