/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/virtqueue.h>

G_BEGIN_DECLS

/**
 * HostmemVirtioDevice:
 *
 * What a transport needs of a virtio device: HostmemVirtioMmio here, or the
 * virtio-pci of a VMM.  A HostmemVirtioMem is one, and a VMM may implement it
 * for devices of its own.
 *
 * Signal "config-changed": what hostmem_virtio_device_read_config() reads has
 * changed by the device's own doing, and the driver is to hear of it.  By any
 * thread, see hostmem_virtio_device_config_changed().
 */
#define HOSTMEM_TYPE_VIRTIO_DEVICE (hostmem_virtio_device_get_type())
typedef struct _HostmemVirtioDevice HostmemVirtioDevice;
typedef struct _HostmemVirtioDeviceInterface HostmemVirtioDeviceInterface;
#define HOSTMEM_VIRTIO_DEVICE(obj)                                 \
    (G_TYPE_CHECK_INSTANCE_CAST((obj), HOSTMEM_TYPE_VIRTIO_DEVICE, \
                                HostmemVirtioDevice))
#define HOSTMEM_IS_VIRTIO_DEVICE(obj) \
    (G_TYPE_CHECK_INSTANCE_TYPE((obj), HOSTMEM_TYPE_VIRTIO_DEVICE))
#define HOSTMEM_VIRTIO_DEVICE_GET_IFACE(obj)                          \
    (G_TYPE_INSTANCE_GET_INTERFACE((obj), HOSTMEM_TYPE_VIRTIO_DEVICE, \
                                   HostmemVirtioDeviceInterface))
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostmemVirtioDevice, g_object_unref)

GType hostmem_virtio_device_get_type(void) G_GNUC_CONST;

/**
 * HostmemVirtioDeviceInterface:
 * @device_id: virtio's number of the device type (virtio 1.2, section 5)
 * @n_queues: how many queues it has, not 0
 * @queue_size: entries of its largest queue, a power of two
 * @config_size: bytes of its configuration
 *
 * Numbers are set in the interface's init function and constant.  The
 * functions @get_features, @check_features, @read_config and @write_config are
 * called by any thread, with a lock of the transport held: they do not block,
 * and neither call the transport nor emit "config-changed".  @process and
 * @device_reset are called with no lock held.
 */
struct _HostmemVirtioDeviceInterface {
    GTypeInterface parent;

    guint32 device_id;
    guint n_queues;
    guint16 queue_size;
    gsize config_size;

    /* Feature bits of the device type: 0 to 23, and 50 to 63.  Constant. */
    guint64 (*get_features)(HostmemVirtioDevice *self);
    /* NULL: any subset of them will do. */
    gboolean (*check_features)(HostmemVirtioDevice *self, guint64 accepted);
    /* Little endian; within config_size.  One call sees one state. */
    void (*read_config)(HostmemVirtioDevice *self, gsize offset, gpointer data,
                        gsize length);
    /* NULL: nothing can be written. */
    void (*write_config)(HostmemVirtioDevice *self, gsize offset,
                         gconstpointer data, gsize length);
    gboolean (*process)(HostmemVirtioDevice *self, guint index,
                        HostmemVirtqueue *queue, gboolean *interrupt,
                        GError **error);
    /* NULL: it has nothing to forget. */
    void (*device_reset)(HostmemVirtioDevice *self);
};

/** Returns: virtio's number of the device type */
guint32 hostmem_virtio_device_get_device_id(HostmemVirtioDevice *self);

/** Returns: how many queues it has, not 0 */
guint hostmem_virtio_device_get_n_queues(HostmemVirtioDevice *self);

/** Returns: entries of its largest queue, a power of two */
guint16 hostmem_virtio_device_get_queue_size(HostmemVirtioDevice *self);

/** Returns: bytes of its configuration */
gsize hostmem_virtio_device_get_config_size(HostmemVirtioDevice *self);

/** Returns: feature bits of the device type that it offers; constant */
guint64 hostmem_virtio_device_get_features(HostmemVirtioDevice *self);

/**
 * hostmem_virtio_device_check_features: can it work with these?
 * @accepted: a subset of what it offers
 *
 * Returns: FALSE to have FEATURES_OK refused (virtio 1.2, 3.1.1)
 */
gboolean hostmem_virtio_device_check_features(HostmemVirtioDevice *self,
                                              guint64 accepted);

/**
 * hostmem_virtio_device_read_config: read from the configuration.
 * @offset: bytes
 * @data: (out): little endian
 * @length: bytes; offset + length is within the configuration
 *
 * Any thread; what one call reads was true at one moment.
 */
void hostmem_virtio_device_read_config(HostmemVirtioDevice *self, gsize offset,
                                       gpointer data, gsize length);

/** hostmem_virtio_device_write_config: the driver writes to it; as
 * hostmem_virtio_device_read_config(). */
void hostmem_virtio_device_write_config(HostmemVirtioDevice *self, gsize offset,
                                        gconstpointer data, gsize length);

/**
 * hostmem_virtio_device_process: serve all requests of a queue.
 * @index: of the queue
 * @interrupt: (out): whether the driver wants to hear of what was done
 *
 * By the thread that was notified, one at a time for a queue; takes as long as
 * the requests take.  Ends early when the queue is stopped.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID: the driver broke the protocol,
 * and the device needs a reset
 */
gboolean hostmem_virtio_device_process(HostmemVirtioDevice *self, guint index,
                                       HostmemVirtqueue *queue,
                                       gboolean *interrupt, GError **error);

/**
 * hostmem_virtio_device_reset: the driver, or the machine, resets the device.
 *
 * No queue is being served.  Forget what the driver set up; of virtio-mem
 * nothing is unplugged by it.
 */
void hostmem_virtio_device_reset(HostmemVirtioDevice *self);

/**
 * hostmem_virtio_device_config_changed: for devices: emit "config-changed".
 *
 * Any thread; with no lock held that @read_config takes.
 */
void hostmem_virtio_device_config_changed(HostmemVirtioDevice *self);

G_END_DECLS
