/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The device as a transport sees it: virtio 1.2, 5.15.  All numbers are little
 * endian.
 */
#include <string.h>
#include "backends/virtio/virtio-mem.h"
#include "util/error.h"

#define DEVICE_ID  24
#define QUEUE_SIZE 128

/* Feature bits */
#define F_ACPI_PXM               (1u << 0)
#define F_UNPLUGGED_INACCESSIBLE (1u << 1)

typedef struct {
    guint64 block_size;
    guint16 node_id;
    guint8 padding[6];
    guint64 addr;
    guint64 region_size;
    guint64 usable_region_size;
    guint64 plugged_size;
    guint64 requested_size;
} Config;

typedef struct {
    guint16 type;
    guint8 padding1[6];
    guint64 addr;
    guint16 nb_blocks;
    guint8 padding2[6];
} WireRequest;

/* What follows @state in the driver's structure, if anything, it ignores. */
#define RESPONSE_SIZE 10
typedef struct {
    guint16 type;
    guint8 padding[6];
    guint16 state;
} WireResponse;

G_STATIC_ASSERT(sizeof(Config) == 56);
G_STATIC_ASSERT(sizeof(WireRequest) == 24);
G_STATIC_ASSERT(sizeof(WireResponse) == RESPONSE_SIZE);

/* Features and configuration */

/* Node 0 is where a guest puts memory that nobody says anything about. */
static guint64 device_get_features(HostmemVirtioDevice *device)
{
    HostmemVirtioMem *self = HOSTMEM_VIRTIO_MEM(device);

    return (self->node ? F_ACPI_PXM : 0) |
           (self->inaccessible ? F_UNPLUGGED_INACCESSIBLE : 0);
}

static gboolean device_check_features(HostmemVirtioDevice *device,
                                      guint64 accepted)
{
    return !HOSTMEM_VIRTIO_MEM(device)->inaccessible ||
           accepted & F_UNPLUGGED_INACCESSIBLE;
}

static Config make_config(HostmemVirtioMem *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->state_lock);
    const guint64 plugged = hm_block_map_plugged(self->map) * self->block_size;
    Config config = {
        .block_size = GUINT64_TO_LE(self->block_size),
        .node_id = GUINT16_TO_LE((guint16)self->node),
        .addr = GUINT64_TO_LE(self->memaddr),
        .region_size = GUINT64_TO_LE(self->region_size),
        .usable_region_size = GUINT64_TO_LE(self->usable),
        .plugged_size = GUINT64_TO_LE(plugged),
        .requested_size = GUINT64_TO_LE(self->requested),
    };

    return config;
}

static void device_read_config(HostmemVirtioDevice *device, gsize offset,
                               gpointer data, gsize length)
{
    const Config config = make_config(HOSTMEM_VIRTIO_MEM(device));

    g_return_if_fail(offset <= sizeof(config) &&
                     length <= sizeof(config) - offset);
    memcpy(data, (const guint8 *)&config + offset, length);
}

/* Requests */

static gboolean violation(GError **error, const char *what)
{
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "virtio-mem protocol violation: %s", what);
}

static gboolean read_request(const HostmemVirtqueueElement *element,
                             HostmemVirtioMemRequest *request, GError **error)
{
    WireRequest wire;

    if (hostmem_virtqueue_element_read(element, 0, &wire, sizeof(wire)) <
        sizeof(wire)) {
        return violation(error, "a request has less than 24 bytes");
    }
    if (hostmem_virtqueue_element_get_in_size(element) < RESPONSE_SIZE) {
        return violation(error, "a request leaves less than 10 bytes for the "
                                "response");
    }
    if (GUINT16_FROM_LE(wire.type) > HOSTMEM_VIRTIO_MEM_STATE) {
        return violation(error, "a request has an unknown type");
    }
    request->type = GUINT16_FROM_LE(wire.type);
    request->addr = GUINT64_FROM_LE(wire.addr);
    request->nb_blocks = GUINT16_FROM_LE(wire.nb_blocks);
    return TRUE;
}

/* Memory of the response that has gone meanwhile is the driver's loss. */
static void write_response(HostmemVirtqueueElement *element,
                           const HostmemVirtioMemResponse *response)
{
    const WireResponse wire = {
        .type = GUINT16_TO_LE((guint16)response->answer),
        .state = GUINT16_TO_LE((guint16)response->state),
    };

    hostmem_virtqueue_element_write(element, 0, &wire, RESPONSE_SIZE);
}

static gboolean serve_element(HostmemVirtioMem *self, HostmemVirtqueue *queue,
                              HostmemVirtqueueElement *taken, GError **error)
{
    g_autoptr(HostmemVirtqueueElement) element = taken;
    HostmemVirtioMemRequest request;
    HostmemVirtioMemResponse response;

    if (!read_request(element, &request, error)) {
        return FALSE;
    }
    hostmem_virtio_mem_request(self, &request, &response, NULL);
    write_response(element, &response);
    return hostmem_virtqueue_push(queue, g_steal_pointer(&element),
                                  RESPONSE_SIZE, error);
}

static gboolean drain(HostmemVirtioMem *self, HostmemVirtqueue *queue,
                      GError **error)
{
    HostmemVirtqueueElement *element;

    while (hostmem_virtqueue_pop(queue, &element, error)) {
        if (!element) {
            return TRUE;
        }
        if (!serve_element(self, queue, element, error)) {
            return FALSE;
        }
    }
    return FALSE;
}

static gboolean device_process(HostmemVirtioDevice *device,
                               guint index G_GNUC_UNUSED,
                               HostmemVirtqueue *queue, gboolean *interrupt,
                               GError **error)
{
    HostmemVirtioMem *self = HOSTMEM_VIRTIO_MEM(device);

    do {
        hostmem_virtqueue_disable_notifications(queue);
        if (!drain(self, queue, error)) {
            return FALSE;
        }
    } while (hostmem_virtqueue_enable_notifications(queue));
    *interrupt = hostmem_virtqueue_should_notify(queue);
    return TRUE;
}

void hm_virtio_mem_device_iface_init(HostmemVirtioDeviceInterface *iface)
{
    iface->device_id = DEVICE_ID;
    iface->n_queues = 1;
    iface->queue_size = QUEUE_SIZE;
    iface->config_size = sizeof(Config);
    iface->get_features = device_get_features;
    iface->check_features = device_check_features;
    iface->read_config = device_read_config;
    iface->process = device_process;
}
