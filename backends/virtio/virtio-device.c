/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/virtio-device.h>

G_DEFINE_INTERFACE(HostmemVirtioDevice, hostmem_virtio_device, G_TYPE_OBJECT)

static guint config_changed;

static void
hostmem_virtio_device_default_init(HostmemVirtioDeviceInterface *iface)
{
    config_changed =
        g_signal_new("config-changed", G_TYPE_FROM_INTERFACE(iface),
                     G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
}

guint32 hostmem_virtio_device_get_device_id(HostmemVirtioDevice *self)
{
    g_return_val_if_fail(HOSTMEM_IS_VIRTIO_DEVICE(self), 0);

    return HOSTMEM_VIRTIO_DEVICE_GET_IFACE(self)->device_id;
}

guint hostmem_virtio_device_get_n_queues(HostmemVirtioDevice *self)
{
    g_return_val_if_fail(HOSTMEM_IS_VIRTIO_DEVICE(self), 0);

    return HOSTMEM_VIRTIO_DEVICE_GET_IFACE(self)->n_queues;
}

guint16 hostmem_virtio_device_get_queue_size(HostmemVirtioDevice *self)
{
    g_return_val_if_fail(HOSTMEM_IS_VIRTIO_DEVICE(self), 0);

    return HOSTMEM_VIRTIO_DEVICE_GET_IFACE(self)->queue_size;
}

gsize hostmem_virtio_device_get_config_size(HostmemVirtioDevice *self)
{
    g_return_val_if_fail(HOSTMEM_IS_VIRTIO_DEVICE(self), 0);

    return HOSTMEM_VIRTIO_DEVICE_GET_IFACE(self)->config_size;
}

guint64 hostmem_virtio_device_get_features(HostmemVirtioDevice *self)
{
    g_return_val_if_fail(HOSTMEM_IS_VIRTIO_DEVICE(self), 0);

    return HOSTMEM_VIRTIO_DEVICE_GET_IFACE(self)->get_features(self);
}

gboolean hostmem_virtio_device_check_features(HostmemVirtioDevice *self,
                                              guint64 accepted)
{
    g_return_val_if_fail(HOSTMEM_IS_VIRTIO_DEVICE(self), FALSE);

    HostmemVirtioDeviceInterface *iface = HOSTMEM_VIRTIO_DEVICE_GET_IFACE(self);

    return !iface->check_features || iface->check_features(self, accepted);
}

void hostmem_virtio_device_read_config(HostmemVirtioDevice *self, gsize offset,
                                       gpointer data, gsize length)
{
    g_return_if_fail(HOSTMEM_IS_VIRTIO_DEVICE(self));

    HOSTMEM_VIRTIO_DEVICE_GET_IFACE(self)->read_config(self, offset, data,
                                                       length);
}

void hostmem_virtio_device_write_config(HostmemVirtioDevice *self, gsize offset,
                                        gconstpointer data, gsize length)
{
    g_return_if_fail(HOSTMEM_IS_VIRTIO_DEVICE(self));

    HostmemVirtioDeviceInterface *iface = HOSTMEM_VIRTIO_DEVICE_GET_IFACE(self);

    if (iface->write_config) {
        iface->write_config(self, offset, data, length);
    }
}

gboolean hostmem_virtio_device_process(HostmemVirtioDevice *self, guint index,
                                       HostmemVirtqueue *queue,
                                       gboolean *interrupt, GError **error)
{
    g_return_val_if_fail(HOSTMEM_IS_VIRTIO_DEVICE(self), FALSE);
    g_return_val_if_fail(queue && interrupt, FALSE);

    *interrupt = FALSE;
    return HOSTMEM_VIRTIO_DEVICE_GET_IFACE(self)->process(self, index, queue,
                                                          interrupt, error);
}

void hostmem_virtio_device_reset(HostmemVirtioDevice *self)
{
    g_return_if_fail(HOSTMEM_IS_VIRTIO_DEVICE(self));

    HostmemVirtioDeviceInterface *iface = HOSTMEM_VIRTIO_DEVICE_GET_IFACE(self);

    if (iface->device_reset) {
        iface->device_reset(self);
    }
}

void hostmem_virtio_device_config_changed(HostmemVirtioDevice *self)
{
    g_return_if_fail(HOSTMEM_IS_VIRTIO_DEVICE(self));

    g_signal_emit(self, config_changed, 0);
}
