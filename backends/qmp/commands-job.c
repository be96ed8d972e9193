/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/qmp/call.h"
#include "backends/qmp/server.h"

/* query-jobs */

static json_t *describe(HostmemJob *job)
{
    static const char *const members[] = {"id", "type", "status",
                                          "current-progress", "total-progress"};
    g_autoptr(GError) error = hostmem_job_get_error(job);
    json_t *entry = json_object();

    for (guint i = 0; i < G_N_ELEMENTS(members); i++) {
        const HmProp *row = hm_props_find(G_OBJECT_GET_CLASS(job), members[i]);
        g_auto(GValue) value = G_VALUE_INIT;

        hm_prop_get(row, G_OBJECT(job), &value);
        json_object_set_new(entry, members[i],
                            hm_prop_to_json(row, &value, NULL));
    }
    if (error) {
        json_object_set_new(entry, "error", json_string(error->message));
    }
    return entry;
}

void hm_qmp_run_query_jobs(HmQmpCall *call)
{
    g_autoptr(GPtrArray) jobs =
        hostmem_registry_list_jobs(hm_qmp_server_get_registry(call->server));
    json_t *list = json_array();

    for (guint i = 0; i < jobs->len; i++) {
        json_array_append_new(list, describe(g_ptr_array_index(jobs, i)));
    }
    hm_qmp_call_return(call, list);
}

/* job-cancel and job-dismiss */

static void run_verb(HmQmpCall *call,
                     gboolean (*verb)(HostmemJob *job, GError **error))
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HostmemJob) job =
        hostmem_registry_lookup_job(hm_qmp_server_get_registry(call->server),
                                    hm_qmp_call_string(call, "id"), &error);

    if (!job || !verb(job, &error)) {
        hm_qmp_call_fail(call, error);
    } else {
        hm_qmp_call_return(call, NULL);
    }
}

void hm_qmp_run_job_cancel(HmQmpCall *call)
{
    run_verb(call, hostmem_job_cancel);
}

void hm_qmp_run_job_dismiss(HmQmpCall *call)
{
    run_verb(call, hostmem_job_dismiss);
}
