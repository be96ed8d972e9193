/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/object-types.h"
#include "backends/qmp/call.h"
#include "backends/qmp/qom.h"
#include "backends/qmp/server.h"
#include "backends/registry-private.h"
#include "util/error.h"

/* device_add */

static void on_added(GObject *source, GAsyncResult *result, gpointer user_data)
{
    g_autoptr(GError) error = NULL;
    HostmemDevice *device = hostmem_registry_add_device_finish(
        HOSTMEM_REGISTRY(source), result, &error);

    hm_qmp_call_end(user_data, device ? json_object() : NULL, error);
}

void hm_qmp_run_device_add(HmQmpCall *call)
{
    hm_registry_add_json_async(hm_qmp_server_get_registry(call->server),
                               HM_SPEC_DEVICE, call->arguments, NULL, on_added,
                               call);
}

/* device_del */

static void on_removed(GObject *source, GAsyncResult *result,
                       gpointer user_data)
{
    g_autoptr(GError) error = NULL;
    gboolean done = hostmem_registry_remove_device_finish(
        HOSTMEM_REGISTRY(source), result, &error);

    hm_qmp_call_end(user_data, done ? json_object() : NULL, error);
}

static void remove_device(gpointer user_data)
{
    HmQmpCall *call = user_data;

    hostmem_registry_remove_device_async(
        hm_qmp_server_get_registry(call->server),
        hm_qmp_call_string(call, "id"), on_removed, call);
}

/* A path to something else; it ends the call. */
static gboolean refuse_no_device(HmQmpCall *call, const char *path)
{
    g_autoptr(GError) error = NULL;
    HmQomNode node;

    if (*path != '/' || !hm_qom_find(hm_qmp_server_get_registry(call->server),
                                     path, &node, NULL)) {
        return FALSE;
    }
    hm_set_error(&error, HOSTMEM_ERROR_INVALID,
                 "%s is not a hotpluggable device", path);
    hm_qmp_call_fail(call, error);
    return TRUE;
}

/* What works on the device would keep it alive: that ends first, unless the
 * device stays anyway. */
void hm_qmp_run_device_del(HmQmpCall *call)
{
    const char *id = hm_qmp_call_string(call, "id");
    HostmemDevice *device = hostmem_registry_lookup_device(
        hm_qmp_server_get_registry(call->server), id, NULL);

    if (!device && refuse_no_device(call, id)) {
        return;
    }
    if (!device || hostmem_object_is_held(HOSTMEM_OBJECT(device)) ||
        !hostmem_device_check_removable(device, NULL) ||
        !hm_qmp_work_cancel(hm_qmp_server_get_work(call->server),
                            HOSTMEM_OBJECT(device), remove_device, call)) {
        remove_device(call);
    }
}

/* device-list-properties */

static const HmObjectType *find_type(const char *name, GError **error)
{
    const HmObjectType *type = hm_object_type_find(name);
    g_autofree char *quoted = NULL;

    if (type && hm_object_type_is_device(type)) {
        return type;
    }
    if (type) {
        hm_set_error(error, HOSTMEM_ERROR_INVALID,
                     "Parameter 'typename' expects a non-abstract device type");
        return NULL;
    }
    quoted = hm_error_quote(name);
    g_set_error(error, HM_QMP_ERROR, HM_QMP_ERROR_DEVICE_NOT_FOUND,
                "Device %s not found", quoted);
    return NULL;
}

void hm_qmp_run_device_list_properties(HmQmpCall *call)
{
    g_autoptr(GError) error = NULL;
    const HmObjectType *type =
        find_type(hm_qmp_call_string(call, "typename"), &error);
    json_t *list;

    if (!type) {
        hm_qmp_call_fail(call, error);
        return;
    }
    list = hm_qom_list_type(type);
    json_array_remove(list, 0); /* "type" */
    hm_qmp_call_return(call, list);
}
