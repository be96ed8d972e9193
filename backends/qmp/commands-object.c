/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/backend.h>
#include "backends/hostmem.h"
#include "backends/qmp/call.h"
#include "backends/qmp/server.h"
#include "backends/registry-private.h"

/* object-add */

static void on_added(GObject *source, GAsyncResult *result, gpointer user_data)
{
    g_autoptr(GError) error = NULL;
    HostmemObject *object =
        hostmem_registry_add_finish(HOSTMEM_REGISTRY(source), result, &error);

    hm_qmp_call_end(user_data, object ? json_object() : NULL, error);
}

void hm_qmp_run_object_add(HmQmpCall *call)
{
    hm_registry_add_json_async(hm_qmp_server_get_registry(call->server),
                               HM_SPEC_OBJECT, call->arguments, NULL, on_added,
                               call);
    hm_qmp_progress_watch(hm_qmp_server_get_progress(call->server));
}

/* object-del */

static void on_removed(GObject *source, GAsyncResult *result,
                       gpointer user_data)
{
    g_autoptr(GError) error = NULL;
    gboolean done = hostmem_registry_remove_finish(HOSTMEM_REGISTRY(source),
                                                   result, &error);

    hm_qmp_call_end(user_data, done ? json_object() : NULL, error);
}

static void remove_object(gpointer user_data)
{
    HmQmpCall *call = user_data;

    hostmem_registry_remove_async(hm_qmp_server_get_registry(call->server),
                                  hm_qmp_call_string(call, "id"), on_removed,
                                  call);
}

/* What works on the object would keep it alive: that ends first. */
void hm_qmp_run_object_del(HmQmpCall *call)
{
    HostmemObject *object = hostmem_registry_lookup(
        hm_qmp_server_get_registry(call->server),
        hm_qmp_call_string(call, "id"), HOSTMEM_TYPE_OBJECT, NULL);

    if (!object || hostmem_object_is_held(object) ||
        !hm_qmp_work_cancel(hm_qmp_server_get_work(call->server), object,
                            remove_object, call)) {
        remove_object(call);
    }
}

/* query-memdev */

static void add_members(json_t *entry, HostmemObject *object,
                        const char *const *members, gsize n,
                        const HmPropLinks *links)
{
    for (gsize i = 0; i < n; i++) {
        json_object_set_new(
            entry, members[i],
            hm_object_get_json(object, members[i], links, NULL));
    }
}

/* Where a guest has it, as far as that was said. */
static void add_place(json_t *entry, HostmemBackend *backend)
{
    gint64 address = hostmem_backend_get_guest_address(backend);
    gint64 node = hostmem_backend_get_guest_node(backend);

    if (address >= 0) {
        json_object_set_new(entry, "guest-addr", json_integer(address));
    }
    if (node >= 0) {
        json_object_set_new(entry, "guest-node", json_integer(node));
    }
}

static void add_usage(json_t *entry, HostmemBackend *backend)
{
    HostmemBackendUsage usage;

    hostmem_backend_get_usage(backend, &usage);
    json_object_set_new(entry, "mapped-size",
                        json_integer((json_int_t)usage.mapped));
    json_object_set_new(entry, "backed-size",
                        json_integer((json_int_t)usage.backed));
    json_object_set_new(entry, "populated-size",
                        json_integer((json_int_t)usage.populated));
    json_object_set_new(entry, "resident-size",
                        json_integer((json_int_t)usage.resident));
    json_object_set_new(entry, "locked-size",
                        json_integer((json_int_t)usage.locked));
    json_object_set_new(
        entry, "usage-age",
        json_integer((json_int_t)(usage.age_us / G_USEC_PER_SEC)));
}

static void add_in_use(json_t *entry, HostmemBackend *backend)
{
    int in_use = hm_backend_is_in_use(backend);

    if (in_use >= 0) {
        json_object_set_new(entry, "in-use", json_boolean(in_use));
    }
}

static json_t *describe_backend(HostmemObject *object, const HmPropLinks *links)
{
    static const char *const members[] = {
        "id",    "type",    "size",       "merge",  "dump",      "prealloc",
        "share", "reserve", "host-nodes", "policy", "page-size", "mem-lock"};
    static const char *const resizable_members[] = {"max-size"};
    static const char *const pool_members[] = {"pool", "pool-size"};
    json_t *entry = json_object();
    HostmemPreallocReport report;
    const char *path;

    add_members(entry, object, members, G_N_ELEMENTS(members), links);
    add_usage(entry, HOSTMEM_BACKEND(object));
    if (hostmem_backend_get_max_size(HOSTMEM_BACKEND(object))) {
        add_members(entry, object, resizable_members,
                    G_N_ELEMENTS(resizable_members), links);
    }
    path = hm_backend_get_export_path(HOSTMEM_BACKEND(object));
    if (path) {
        json_object_set_new(entry, "export-path", json_string(path));
    }
    hostmem_backend_get_report(HOSTMEM_BACKEND(object), &report);
    if (report.method) {
        json_object_set_new(entry, "prealloc-method",
                            json_string(report.method));
    }
    add_place(entry, HOSTMEM_BACKEND(object));
    add_in_use(entry, HOSTMEM_BACKEND(object));
    if (hostmem_backend_get_pool(HOSTMEM_BACKEND(object))) {
        add_members(entry, object, pool_members, G_N_ELEMENTS(pool_members),
                    links);
    }
    return entry;
}

/* A HmQmpWorkFunc. */
static json_t *describe_backends(HmQmpCall *call, GPtrArray *backends,
                                 GObject *target G_GNUC_UNUSED,
                                 GCancellable *cancellable G_GNUC_UNUSED,
                                 GError **error G_GNUC_UNUSED)
{
    const HmPropLinks *links =
        hm_registry_links(hm_qmp_server_get_registry(call->server));
    json_t *list = json_array();

    for (guint i = 0; i < backends->len; i++) {
        json_array_append_new(
            list, describe_backend(g_ptr_array_index(backends, i), links));
    }
    return list;
}

GPtrArray *hm_qmp_measurable_backends(HmQmpCall *call)
{
    g_autoptr(GPtrArray) objects =
        hostmem_registry_list(hm_qmp_server_get_registry(call->server));
    HmQmpWork *work = hm_qmp_server_get_work(call->server);
    GPtrArray *backends = g_ptr_array_new_with_free_func(g_object_unref);

    for (guint i = 0; i < objects->len; i++) {
        HostmemObject *object = g_ptr_array_index(objects, i);

        if (HOSTMEM_IS_BACKEND(object) &&
            !hm_qmp_work_is_awaited(work, object)) {
            g_ptr_array_add(backends, g_object_ref(object));
        }
    }
    return backends;
}

void hm_qmp_run_query_memdev(HmQmpCall *call)
{
    hm_qmp_work_start(hm_qmp_server_get_work(call->server), call,
                      hm_qmp_measurable_backends(call), NULL,
                      describe_backends);
}
