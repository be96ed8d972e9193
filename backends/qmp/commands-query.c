/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/restore.h>
#include "backends/qmp/call.h"
#include "backends/qmp/schema.h"
#include "backends/qmp/server.h"
#include "backends/qmp/version.h"
#include "util/error.h"

/* qmp_capabilities */

static gboolean check_capability(json_t *value, GError **error)
{
    if (!json_is_string(value)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "Invalid parameter type for 'enable', expected: "
                            "string");
    }
    if (!g_str_equal(json_string_value(value), "oob")) {
        g_autofree char *quoted = hm_error_quote(json_string_value(value));

        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "Parameter 'enable' does not accept value %s",
                            quoted);
    }
    return TRUE;
}

/* The only capability there is being "oob", a checked list that is not empty
 * asks for it. */
static gboolean check_capabilities(json_t *list, GError **error)
{
    json_t *value;
    gsize i;

    if (list && !json_is_array(list)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "Invalid parameter type for 'enable', expected: "
                            "array");
    }
    json_array_foreach(list, i, value)
    {
        if (!check_capability(value, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

void hm_qmp_run_capabilities(HmQmpCall *call)
{
    json_t *list = hm_qmp_call_arg(call, "enable");
    g_autoptr(GError) error = NULL;

    if (hm_qmp_session_is_negotiated(call->session)) {
        g_set_error(&error, HM_QMP_ERROR, HM_QMP_ERROR_COMMAND_NOT_FOUND,
                    "Capabilities negotiation is already complete, command "
                    "ignored");
    } else {
        check_capabilities(list, &error);
    }
    if (error) {
        hm_qmp_call_fail(call, error);
        return;
    }
    hm_qmp_session_negotiate(call->session, json_array_size(list) > 0);
    hm_qmp_progress_watch(hm_qmp_server_get_progress(call->server));
    hm_qmp_call_return(call, NULL);
}

/* Queries */

void hm_qmp_run_query_version(HmQmpCall *call)
{
    hm_qmp_call_return(call, hm_qmp_version_new());
}

void hm_qmp_run_query_commands(HmQmpCall *call)
{
    json_t *list = json_array();
    guint n;
    const HmQmpCommand *commands = hm_qmp_commands(&n);

    for (guint i = 0; i < n; i++) {
        json_array_append_new(list,
                              json_pack("{s:s}", "name", commands[i].name));
    }
    hm_qmp_call_return(call, list);
}

/* There is no machine that could be stopped: who answers is running. */
void hm_qmp_run_query_status(HmQmpCall *call)
{
    hm_qmp_call_return(call, json_pack("{s:s,s:b,s:b}", "status", "running",
                                       "singlestep", FALSE, "running", TRUE));
}

void hm_qmp_run_query_schema(HmQmpCall *call)
{
    hm_qmp_call_return(call, hm_qmp_schema());
}

/* query-restore */

const char *const hm_qmp_restore_statuses[] = {
    [HOSTMEM_RESTORE_RESTORED] = "restored",
    [HOSTMEM_RESTORE_LOST] = "lost",
    [HOSTMEM_RESTORE_FAILED] = "failed",
    NULL,
};

void hm_qmp_run_query_restore(HmQmpCall *call)
{
    g_autoptr(GPtrArray) restored = hostmem_registry_list_restored(
        hm_qmp_server_get_registry(call->server));
    json_t *list = json_array();

    for (guint i = 0; i < restored->len; i++) {
        const HostmemRestored *one = g_ptr_array_index(restored, i);

        json_array_append_new(
            list, json_pack("{s:s,s:s,s:s*}", "path", one->path, "status",
                            hm_qmp_restore_statuses[one->status], "reason",
                            one->reason));
    }
    hm_qmp_call_return(call, list);
}

/* quit */

void hm_qmp_run_quit(HmQmpCall *call)
{
    g_autoptr(HostmemQmpServer) server = g_object_ref(call->server);

    hm_qmp_server_say_goodbye(server, "host-qmp-quit");
    hm_qmp_call_return(call, NULL);
    hm_qmp_server_quit(server);
}
