/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/backend.h>
#include <hostmem/memory-pool.h>
#include <hostmem/virtio-mem.h>
#include "backends/object.h"
#include "backends/qmp/call.h"
#include "backends/qmp/event.h"
#include "backends/qmp/server.h"
#include "util/error.h"

/* query-memory-devices */

static json_t *describe(HostmemVirtioMem *device)
{
    g_autofree char *memdev = hm_object_get_path(
        HOSTMEM_OBJECT(hostmem_virtio_mem_get_memdev(device)));
    json_t *data = json_pack(
        "{s:s*,s:I,s:I,s:I,s:I,s:I,s:I,s:s}", "id",
        hostmem_object_get_id(HOSTMEM_OBJECT(device)), "memaddr",
        (json_int_t)hostmem_virtio_mem_get_address(device), "requested-size",
        (json_int_t)hostmem_virtio_mem_get_requested_size(device), "size",
        (json_int_t)hostmem_virtio_mem_get_size(device), "max-size",
        (json_int_t)hostmem_virtio_mem_get_region_size(device), "block-size",
        (json_int_t)hostmem_virtio_mem_get_block_size(device), "node",
        (json_int_t)hostmem_virtio_mem_get_node(device), "memdev", memdev);

    return json_pack("{s:s,s:o}", "type",
                     hostmem_object_get_type_name(HOSTMEM_OBJECT(device)),
                     "data", data);
}

static gint compare_addresses(gconstpointer a, gconstpointer b)
{
    guint64 first =
        hostmem_virtio_mem_get_address(*(HostmemVirtioMem *const *)a);
    guint64 second =
        hostmem_virtio_mem_get_address(*(HostmemVirtioMem *const *)b);

    return (first > second) - (first < second);
}

void hm_qmp_run_query_memory_devices(HmQmpCall *call)
{
    g_autoptr(GPtrArray) devices =
        hostmem_registry_list_devices(hm_qmp_server_get_registry(call->server));
    json_t *list = json_array();

    g_ptr_array_sort(devices, compare_addresses);
    for (guint i = 0; i < devices->len; i++) {
        json_array_append_new(list, describe(g_ptr_array_index(devices, i)));
    }
    hm_qmp_call_return(call, list);
}

/* query-memory-pools */

static json_t *describe_pool(HostmemMemoryPool *pool)
{
    g_autoptr(GError) error = hostmem_memory_pool_get_error(pool);
    HostmemMemoryPoolStatus status;
    json_t *entry;

    hostmem_memory_pool_get_status(pool, &status);
    entry = json_pack(
        "{s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "id",
        hostmem_object_get_id(HOSTMEM_OBJECT(pool)), "size",
        (json_int_t)status.size, "segment-size",
        (json_int_t)status.segment_size, "page-size",
        (json_int_t)status.page_size, "ready-size", (json_int_t)status.ready,
        "lent-size", (json_int_t)status.lent, "dirty-size",
        (json_int_t)status.dirty, "low-water", (json_int_t)status.low_water);
    if (error) {
        g_autofree char *reason = g_utf8_make_valid(error->message, -1);

        json_object_set_new(entry, "last-error", json_string(reason));
    }
    return entry;
}

void hm_qmp_run_query_memory_pools(HmQmpCall *call)
{
    g_autoptr(GPtrArray) objects =
        hostmem_registry_list(hm_qmp_server_get_registry(call->server));
    json_t *list = json_array();

    for (guint i = 0; i < objects->len; i++) {
        if (HOSTMEM_IS_MEMORY_POOL(g_ptr_array_index(objects, i))) {
            json_array_append_new(list,
                                  describe_pool(g_ptr_array_index(objects, i)));
        }
    }
    hm_qmp_call_return(call, list);
}

/* query-memory-size-summary */

static guint64 sum_backends(HostmemRegistry *registry)
{
    g_autoptr(GPtrArray) objects = hostmem_registry_list(registry);
    guint64 sum = 0;

    for (guint i = 0; i < objects->len; i++) {
        HostmemObject *object = g_ptr_array_index(objects, i);

        if (HOSTMEM_IS_BACKEND(object)) {
            sum += hostmem_backend_get_size(HOSTMEM_BACKEND(object));
        }
    }
    return sum;
}

/* There is no machine: its memory is what backends have that no device has. */
void hm_qmp_run_query_memory_size_summary(HmQmpCall *call)
{
    HostmemRegistry *registry = hm_qmp_server_get_registry(call->server);
    g_autoptr(GPtrArray) devices = hostmem_registry_list_devices(registry);
    guint64 base = sum_backends(registry);
    guint64 plugged = 0;

    for (guint i = 0; i < devices->len; i++) {
        HostmemVirtioMem *device = g_ptr_array_index(devices, i);

        base -= hostmem_virtio_mem_get_region_size(device);
        plugged += hostmem_virtio_mem_get_size(device);
    }
    hm_qmp_call_return(call,
                       json_pack("{s:I,s:I}", "base-memory", (json_int_t)base,
                                 "plugged-memory", (json_int_t)plugged));
}

/* virtio-mem-request */

static const GEnumValue request_types[] = {
    {HOSTMEM_VIRTIO_MEM_PLUG, "HOSTMEM_VIRTIO_MEM_PLUG", "plug"},
    {HOSTMEM_VIRTIO_MEM_UNPLUG, "HOSTMEM_VIRTIO_MEM_UNPLUG", "unplug"},
    {HOSTMEM_VIRTIO_MEM_UNPLUG_ALL, "HOSTMEM_VIRTIO_MEM_UNPLUG_ALL",
     "unplug-all"},
    {HOSTMEM_VIRTIO_MEM_STATE, "HOSTMEM_VIRTIO_MEM_STATE", "state"},
    {0, NULL, NULL},
};

GType hm_qmp_virtio_mem_request_type(void)
{
    static gsize once;

    if (g_once_init_enter(&once)) {
        g_once_init_leave(
            &once,
            g_enum_register_static("HmQmpVirtioMemRequestType", request_types));
    }
    return once;
}

const char *const hm_qmp_virtio_mem_answers[] = {
    [HOSTMEM_VIRTIO_MEM_ACK] = "ack",
    [HOSTMEM_VIRTIO_MEM_NACK] = "nack",
    [HOSTMEM_VIRTIO_MEM_BUSY] = "busy",
    [HOSTMEM_VIRTIO_MEM_ERROR] = "error",
    NULL,
};

const char *const hm_qmp_virtio_mem_states[] = {
    [HOSTMEM_VIRTIO_MEM_PLUGGED] = "plugged",
    [HOSTMEM_VIRTIO_MEM_UNPLUGGED] = "unplugged",
    [HOSTMEM_VIRTIO_MEM_MIXED] = "mixed",
    NULL,
};

static HostmemVirtioMemRequestType type_of(const char *nick)
{
    guint i = 0;

    /* The row of "type" has made sure that it is one of them. */
    while (!g_str_equal(request_types[i].value_nick, nick)) {
        i++;
    }
    return request_types[i].value;
}

/* An address is 64 bits; JSON's integers have a sign. */
static HostmemVirtioMemRequest get_request(HmQmpCall *call)
{
    return (HostmemVirtioMemRequest){
        .type = type_of(hm_qmp_call_string(call, "type")),
        .addr = (guint64)json_integer_value(hm_qmp_call_arg(call, "addr")),
        .nb_blocks =
            (guint16)json_integer_value(hm_qmp_call_arg(call, "nb-blocks")),
    };
}

static json_t *describe_answer(const HostmemVirtioMemRequest *request,
                               const HostmemVirtioMemResponse *response,
                               const GError *why)
{
    json_t *answer =
        json_pack("{s:s}", "type", hm_qmp_virtio_mem_answers[response->answer]);

    if (request->type == HOSTMEM_VIRTIO_MEM_STATE && !why) {
        json_object_set_new(
            answer, "state",
            json_string(hm_qmp_virtio_mem_states[response->state]));
    }
    if (why) {
        g_autofree char *reason = g_utf8_make_valid(why->message, -1);

        json_object_set_new(answer, "reason", json_string(reason));
    }
    return answer;
}

/* A HmQmpWorkFunc. */
static json_t *make_request(HmQmpCall *call, GPtrArray *objects,
                            GObject *target G_GNUC_UNUSED,
                            GCancellable *cancellable,
                            GError **error G_GNUC_UNUSED)
{
    HostmemVirtioMem *device = g_ptr_array_index(objects, 0);
    const HostmemVirtioMemRequest request = get_request(call);
    HostmemVirtioMemResponse response;
    g_autoptr(GError) why = NULL;

    hostmem_virtio_mem_request_cancellable(device, &request, &response,
                                           cancellable, &why);
    return describe_answer(&request, &response, why);
}

static gboolean check_request(HmQmpCall *call, GError **error)
{
    static const char *const needed[] = {"addr", "nb-blocks"};

    if (g_str_equal(hm_qmp_call_string(call, "type"), "unplug-all")) {
        return TRUE;
    }
    for (guint i = 0; i < G_N_ELEMENTS(needed); i++) {
        if (!hm_qmp_call_arg(call, needed[i])) {
            return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                                "Parameter '%s' is missing", needed[i]);
        }
    }
    return TRUE;
}

void hm_qmp_run_virtio_mem_request(HmQmpCall *call)
{
    g_autoptr(GError) error = NULL;
    HostmemDevice *device = NULL;

    if (check_request(call, &error)) {
        device = hostmem_registry_lookup_device(
            hm_qmp_server_get_registry(call->server),
            hm_qmp_call_string(call, "id"), &error);
    }
    if (!device) {
        hm_qmp_call_fail(call, error);
        return;
    }
    hm_qmp_work_start(hm_qmp_server_get_work(call->server), call,
                      hm_qmp_work_objects(HOSTMEM_OBJECT(device)), NULL,
                      make_request);
}

/* system_reset */

/* A HmQmpWorkFunc. */
static json_t *reset_all(HmQmpCall *call G_GNUC_UNUSED, GPtrArray *devices,
                         GObject *target G_GNUC_UNUSED,
                         GCancellable *cancellable G_GNUC_UNUSED,
                         GError **error G_GNUC_UNUSED)
{
    for (guint i = 0; i < devices->len; i++) {
        hostmem_device_reset(g_ptr_array_index(devices, i));
    }
    return json_object();
}

/* Discarding takes time.  What is about to be removed is not held up by it. */
void hm_qmp_run_system_reset(HmQmpCall *call)
{
    g_autoptr(GPtrArray) list =
        hostmem_registry_list_devices(hm_qmp_server_get_registry(call->server));
    HmQmpWork *work = hm_qmp_server_get_work(call->server);
    GPtrArray *devices = g_ptr_array_new_with_free_func(g_object_unref);

    for (guint i = 0; i < list->len; i++) {
        HostmemObject *device = g_ptr_array_index(list, i);

        if (!hm_qmp_work_is_awaited(work, device)) {
            g_ptr_array_add(devices, g_object_ref(device));
        }
    }
    hm_qmp_server_emit(call->server, HM_QMP_EVENT_RESET,
                       json_pack("{s:b,s:s}", "guest", FALSE, "reason",
                                 "host-qmp-system-reset"));
    hm_qmp_work_start(work, call, devices, NULL, reset_all);
}
