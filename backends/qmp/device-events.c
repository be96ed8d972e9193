/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/memory-pool.h>
#include <hostmem/virtio-mem.h>
#include "backends/object.h"
#include "backends/qmp/device-events.h"
#include "backends/qmp/event.h"
#include "backends/qmp/server.h"
#include "backends/qmp/throttle.h"

struct HmQmpDeviceEvents {
    HostmemQmpServer *server;
    HostmemRegistry *registry;
    HmQmpThrottle *throttle;
};

static void on_size_changed(HostmemRegistry *registry G_GNUC_UNUSED,
                            HostmemDevice *device, guint64 size, gpointer data)
{
    HmQmpDeviceEvents *self = data;
    g_autofree char *path = hm_object_get_path(HOSTMEM_OBJECT(device));

    hm_qmp_throttle_emit(
        self->throttle, HM_QMP_EVENT_SIZE, path,
        json_pack("{s:s*,s:I,s:s}", "id",
                  hostmem_object_get_id(HOSTMEM_OBJECT(device)), "size",
                  (json_int_t)size, "qom-path", path));
}

static json_t *describe_resize(HostmemVirtioMem *device, const char *path)
{
    HostmemVirtioMemStatus status;
    json_t *data;

    hostmem_virtio_mem_get_status(device, &status);
    data = json_pack(
        "{s:s*,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I}", "id",
        hostmem_object_get_id(HOSTMEM_OBJECT(device)), "qom-path", path,
        "state", hm_qmp_type_resize_state.values[status.state],
        "requested-size", (json_int_t)status.requested, "size",
        (json_int_t)status.plugged, "ack-count", (json_int_t)status.acks,
        "nack-count", (json_int_t)status.nacks, "busy-count",
        (json_int_t)status.busy, "error-count", (json_int_t)status.errors);
    if (*status.reason) {
        json_object_set_new(data, "last-reason", json_string(status.reason));
    }
    return data;
}

static void on_resize_changed(HostmemRegistry *registry G_GNUC_UNUSED,
                              HostmemDevice *device,
                              HostmemResizeState state G_GNUC_UNUSED,
                              gpointer data)
{
    HmQmpDeviceEvents *self = data;
    g_autofree char *path = hm_object_get_path(HOSTMEM_OBJECT(device));

    hm_qmp_throttle_emit(self->throttle, HM_QMP_EVENT_RESIZE, path,
                         describe_resize(HOSTMEM_VIRTIO_MEM(device), path));
}

/* At once: whoever has asked for it does not do so again and again. */
static void on_backend_size_changed(HostmemRegistry *registry G_GNUC_UNUSED,
                                    HostmemBackend *backend, guint64 size,
                                    gpointer data)
{
    HmQmpDeviceEvents *self = data;
    g_autofree char *path = hm_object_get_path(HOSTMEM_OBJECT(backend));

    hm_qmp_server_emit(self->server, HM_QMP_EVENT_BACKEND_SIZE,
                       json_pack("{s:s,s:I,s:s}", "id",
                                 hostmem_object_get_id(HOSTMEM_OBJECT(backend)),
                                 "size", (json_int_t)size, "qom-path", path));
}

static void on_pool_low(HostmemRegistry *registry G_GNUC_UNUSED,
                        HostmemMemoryPool *pool, guint64 ready,
                        guint64 low_water, gpointer data)
{
    HmQmpDeviceEvents *self = data;
    g_autofree char *path = hm_object_get_path(HOSTMEM_OBJECT(pool));

    hm_qmp_throttle_emit(self->throttle, HM_QMP_EVENT_POOL_LOW, path,
                         json_pack("{s:s,s:I,s:I}", "id",
                                   hostmem_object_get_id(HOSTMEM_OBJECT(pool)),
                                   "ready-size", (json_int_t)ready, "low-water",
                                   (json_int_t)low_water));
}

/* What is still to be said of the device comes before its end. */
static void on_deleted(HostmemRegistry *registry G_GNUC_UNUSED, const char *id,
                       const char *path, gpointer data)
{
    HmQmpDeviceEvents *self = data;

    hm_qmp_throttle_flush(self->throttle, path);
    hm_qmp_server_emit(self->server, HM_QMP_EVENT_DELETED,
                       json_pack("{s:s*,s:s}", "device", id, "path", path));
}

HmQmpDeviceEvents *hm_qmp_device_events_new(HostmemQmpServer *server,
                                            HostmemRegistry *registry)
{
    HmQmpDeviceEvents *self = g_new0(HmQmpDeviceEvents, 1);

    self->server = server;
    self->registry = registry;
    self->throttle = hm_qmp_throttle_new(server);
    g_signal_connect(registry, "device-size-changed",
                     G_CALLBACK(on_size_changed), self);
    g_signal_connect(registry, "device-resize-changed",
                     G_CALLBACK(on_resize_changed), self);
    g_signal_connect(registry, "device-deleted", G_CALLBACK(on_deleted), self);
    g_signal_connect(registry, "backend-size-changed",
                     G_CALLBACK(on_backend_size_changed), self);
    g_signal_connect(registry, "pool-low", G_CALLBACK(on_pool_low), self);
    return self;
}

void hm_qmp_device_events_free(HmQmpDeviceEvents *self)
{
    g_signal_handlers_disconnect_by_data(self->registry, self);
    hm_qmp_throttle_free(self->throttle);
    g_free(self);
}

void hm_qmp_device_events_flush(HmQmpDeviceEvents *self)
{
    hm_qmp_throttle_flush(self->throttle, NULL);
}
