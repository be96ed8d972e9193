/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "backends/virtio/virtio-mmio.h"
#include "util/error.h"

/* virtio 1.2, 4.2.2 */
enum {
    REG_MAGIC = 0x000,
    REG_VERSION = 0x004,
    REG_DEVICE_ID = 0x008,
    REG_VENDOR_ID = 0x00c,
    REG_DEVICE_FEATURES = 0x010,
    REG_DEVICE_FEATURES_SEL = 0x014,
    REG_DRIVER_FEATURES = 0x020,
    REG_DRIVER_FEATURES_SEL = 0x024,
    REG_QUEUE_SEL = 0x030,
    REG_QUEUE_NUM_MAX = 0x034,
    REG_QUEUE_NUM = 0x038,
    REG_QUEUE_READY = 0x044,
    REG_QUEUE_NOTIFY = 0x050,
    REG_INTERRUPT_STATUS = 0x060,
    REG_INTERRUPT_ACK = 0x064,
    REG_STATUS = 0x070,
    REG_QUEUE_DESC_LOW = 0x080,
    REG_QUEUE_DESC_HIGH = 0x084,
    REG_QUEUE_DRIVER_LOW = 0x090,
    REG_QUEUE_DRIVER_HIGH = 0x094,
    REG_QUEUE_DEVICE_LOW = 0x0a0,
    REG_QUEUE_DEVICE_HIGH = 0x0a4,
    REG_SHM_SEL = 0x0ac,
    REG_SHM_LEN_LOW = 0x0b0,
    REG_SHM_BASE_HIGH = 0x0bc,
    REG_CONFIG_GENERATION = 0x0fc,
    REG_CONFIG = 0x100,
};
#define MAGIC   0x74726976 /* "virt" */
#define VERSION 2
#define VENDOR  0x4d454d48 /* "HMEM" */

/* Bits of the device's type, see HostmemVirtioDeviceInterface. */
#define DEVICE_FEATURES \
    (((G_GUINT64_CONSTANT(1) << 24) - 1) | ~((G_GUINT64_CONSTANT(1) << 50) - 1))

typedef struct {
    GObjectClass parent_class;
} HostmemVirtioMmioClass;

G_DEFINE_FINAL_TYPE(HostmemVirtioMmio, hostmem_virtio_mmio, G_TYPE_OBJECT)

/* Features and status */

static guint64 get_offered(HostmemVirtioMmio *self)
{
    return (hostmem_virtio_device_get_features(self->device) &
            DEVICE_FEATURES) |
           HOSTMEM_VIRTQUEUE_FEATURES;
}

static guint32 get_half(guint64 value, guint32 half)
{
    return half < 2 ? (guint32)(value >> (32 * half)) : 0;
}

static void set_half(guint64 *value, guint half, guint32 bits)
{
    const guint shift = 32 * half;

    *value &= ~((guint64)G_MAXUINT32 << shift);
    *value |= (guint64)bits << shift;
}

static void write_driver_features(HostmemVirtioMmio *self, guint32 bits)
{
    if (self->driver_features_sel > 1 ||
        (self->status & HM_VIRTIO_FEATURES_OK)) {
        g_debug("virtio-mmio: driver features %u = 0x%x ignored",
                self->driver_features_sel, bits);
        return;
    }
    set_half(&self->driver_features, self->driver_features_sel, bits);
}

static gboolean accept_features(HostmemVirtioMmio *self)
{
    const guint64 unknown = self->driver_features & ~get_offered(self);

    if (unknown || !(self->driver_features & HOSTMEM_VIRTIO_F_VERSION_1)) {
        g_debug("virtio-mmio: driver features 0x%" G_GINT64_MODIFIER
                "x refused",
                self->driver_features);
        return FALSE;
    }
    return hostmem_virtio_device_check_features(
        self->device, self->driver_features & DEVICE_FEATURES);
}

/* Bits are added; only a reset clears them. */
static void write_status(HostmemVirtioMmio *self, guint32 value)
{
    guint32 added =
        value & ~self->status &
        (HM_VIRTIO_ACKNOWLEDGE | HM_VIRTIO_DRIVER | HM_VIRTIO_FEATURES_OK |
         HM_VIRTIO_DRIVER_OK | HM_VIRTIO_FAILED);

    if (value == 0) {
        hm_virtio_mmio_reset_locked(self);
        return;
    }
    if ((added & HM_VIRTIO_FEATURES_OK) && !accept_features(self)) {
        added &= ~(guint32)HM_VIRTIO_FEATURES_OK;
    }
    if (!((self->status | added) & HM_VIRTIO_FEATURES_OK)) {
        added &= ~(guint32)HM_VIRTIO_DRIVER_OK;
    }
    self->status |= added;
}

/* Queues */

/* (nullable): there is none of that index */
static HmMmioQueue *selected_queue(HostmemVirtioMmio *self)
{
    return self->queue_sel < self->n_queues ? &self->queues[self->queue_sel]
                                            : NULL;
}

static HostmemVirtqueue *make_ring(HostmemVirtioMmio *self,
                                   const HmMmioQueue *queue, GError **error)
{
    const guint16 max = hostmem_virtio_device_get_queue_size(self->device);

    if (queue->size > max) {
        hm_set_error(error, HOSTMEM_ERROR_INVALID,
                     "a queue of %u entries, of at most %u", queue->size, max);
        return NULL;
    }
    return hostmem_virtqueue_new(self->memory, (guint16)queue->size,
                                 queue->descriptors, queue->available,
                                 queue->used, self->driver_features, error);
}

static void open_queue(HostmemVirtioMmio *self, HmMmioQueue *queue)
{
    GError *error = NULL;

    if (!(self->status & HM_VIRTIO_FEATURES_OK)) {
        g_debug("virtio-mmio: queue %u before FEATURES_OK ignored",
                self->queue_sel);
        return;
    }
    queue->ring = make_ring(self, queue, &error);
    if (!queue->ring) {
        hm_virtio_mmio_needs_reset(self, error);
    }
}

static void write_queue_ready(HostmemVirtioMmio *self, HmMmioQueue *queue,
                              guint32 value)
{
    if (value == 1 && !queue->ring) {
        open_queue(self, queue);
    }
    if (value == 0 && queue->ring) {
        hm_virtio_mmio_close_queue(self, queue);
    }
}

/* Returns: whether it is a register that describes a queue */
static gboolean describe_queue(HmMmioQueue *queue, guint32 reg, guint32 value)
{
    switch (reg) {
    case REG_QUEUE_NUM:
        queue->size = value;
        return TRUE;
    case REG_QUEUE_DESC_LOW:
    case REG_QUEUE_DESC_HIGH:
        set_half(&queue->descriptors, reg == REG_QUEUE_DESC_HIGH, value);
        return TRUE;
    case REG_QUEUE_DRIVER_LOW:
    case REG_QUEUE_DRIVER_HIGH:
        set_half(&queue->available, reg == REG_QUEUE_DRIVER_HIGH, value);
        return TRUE;
    case REG_QUEUE_DEVICE_LOW:
    case REG_QUEUE_DEVICE_HIGH:
        set_half(&queue->used, reg == REG_QUEUE_DEVICE_HIGH, value);
        return TRUE;
    default:
        return FALSE;
    }
}

static void write_queue(HostmemVirtioMmio *self, guint32 reg, guint32 value)
{
    HmMmioQueue *queue = selected_queue(self);

    if (queue && reg == REG_QUEUE_READY) {
        write_queue_ready(self, queue, value);
        return;
    }
    if (!queue || queue->ring || !describe_queue(queue, reg, value)) {
        g_debug("virtio-mmio: write of 0x%x at 0x%x ignored, queue %u", value,
                reg, self->queue_sel);
    }
}

static guint32 read_queue(HostmemVirtioMmio *self, guint32 reg)
{
    const HmMmioQueue *queue = selected_queue(self);

    if (!queue) {
        return 0;
    }
    return reg == REG_QUEUE_READY
               ? queue->ring != NULL
               : hostmem_virtio_device_get_queue_size(self->device);
}

/* Registers */

/*
 * The driver reads a field of 64 bits in two halves, between two reads of the
 * generation.  So each look at the configuration takes all of it, and counts a
 * generation when that is not what the driver saw last: whatever the device
 * does in between, and whenever it says so.
 */
static void look_at_config(HostmemVirtioMmio *self)
{
    guint8 config[HOSTMEM_VIRTIO_MMIO_SIZE - REG_CONFIG];

    if (!self->config_size) {
        return;
    }
    hostmem_virtio_device_read_config(self->device, 0, config,
                                      self->config_size);
    if (memcmp(config, self->config, self->config_size) != 0) {
        memcpy(self->config, config, self->config_size);
        self->config_generation++;
    }
}

static guint32 read_register(HostmemVirtioMmio *self, guint32 reg)
{
    switch (reg) {
    case REG_MAGIC:
        return MAGIC;
    case REG_VERSION:
        return VERSION;
    case REG_DEVICE_ID:
        return hostmem_virtio_device_get_device_id(self->device);
    case REG_VENDOR_ID:
        return VENDOR;
    case REG_DEVICE_FEATURES:
        return get_half(get_offered(self), self->device_features_sel);
    case REG_QUEUE_NUM_MAX:
    case REG_QUEUE_READY:
        return read_queue(self, reg);
    case REG_INTERRUPT_STATUS:
        return self->interrupt_status;
    case REG_STATUS:
        return self->status;
    case REG_CONFIG_GENERATION:
        look_at_config(self);
        return self->config_generation;
    default:
        if (reg >= REG_SHM_LEN_LOW && reg <= REG_SHM_BASE_HIGH) {
            return G_MAXUINT32; /* no shared memory region */
        }
        g_debug("virtio-mmio: read at 0x%x ignored", reg);
        return 0;
    }
}

static void write_register(HostmemVirtioMmio *self, guint32 reg, guint32 value)
{
    switch (reg) {
    case REG_DEVICE_FEATURES_SEL:
        self->device_features_sel = value;
        break;
    case REG_DRIVER_FEATURES:
        write_driver_features(self, value);
        break;
    case REG_DRIVER_FEATURES_SEL:
        self->driver_features_sel = value;
        break;
    case REG_QUEUE_SEL:
        self->queue_sel = value;
        break;
    case REG_INTERRUPT_ACK:
        hm_virtio_mmio_acknowledge(self, value);
        break;
    case REG_STATUS:
        write_status(self, value);
        break;
    case REG_SHM_SEL:
        break;
    default:
        write_queue(self, reg, value);
    }
}

/* Accesses */

static gboolean is_register(guint64 offset, guint size)
{
    return offset < REG_CONFIG && offset % 4 == 0 && size == 4;
}

static gboolean is_config(const HostmemVirtioMmio *self, guint64 offset,
                          guint size)
{
    return offset >= REG_CONFIG && offset < HOSTMEM_VIRTIO_MMIO_SIZE &&
           (size == 1 || size == 2 || size == 4 || size == 8) &&
           offset - REG_CONFIG + size <= self->config_size;
}

guint64 hostmem_virtio_mmio_read(HostmemVirtioMmio *self, guint64 offset,
                                 guint size)
{
    g_return_val_if_fail(HOSTMEM_IS_VIRTIO_MMIO(self), 0);

    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);
    guint64 value = 0;

    if (is_register(offset, size)) {
        return read_register(self, (guint32)offset);
    }
    if (!is_config(self, offset, size)) {
        g_debug("virtio-mmio: read of %u bytes at 0x%" G_GINT64_MODIFIER
                "x ignored",
                size, offset);
        return 0;
    }
    look_at_config(self);
    memcpy(&value, self->config + (offset - REG_CONFIG), size);
    return GUINT64_FROM_LE(value);
}

void hostmem_virtio_mmio_write(HostmemVirtioMmio *self, guint64 offset,
                               guint64 value, guint size)
{
    g_return_if_fail(HOSTMEM_IS_VIRTIO_MMIO(self));

    g_autoptr(GMutexLocker) locker = NULL;
    const guint64 bytes = GUINT64_TO_LE(value);

    if (offset == REG_QUEUE_NOTIFY && size == 4) {
        hostmem_virtio_mmio_notify(self, (guint32)value);
        return;
    }
    locker = g_mutex_locker_new(&self->lock);
    hm_virtio_mmio_await_change(self);
    if (is_register(offset, size)) {
        write_register(self, (guint32)offset, (guint32)value);
    } else if (is_config(self, offset, size)) {
        hostmem_virtio_device_write_config(self->device, offset - REG_CONFIG,
                                           &bytes, size);
    } else {
        g_debug("virtio-mmio: write of %u bytes at 0x%" G_GINT64_MODIFIER
                "x ignored",
                size, offset);
    }
}

GError *hostmem_virtio_mmio_get_error(HostmemVirtioMmio *self)
{
    g_return_val_if_fail(HOSTMEM_IS_VIRTIO_MMIO(self), NULL);

    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    return self->error ? g_error_copy(self->error) : NULL;
}

/* Life */

/*
 * From the signal's handler, which may run in another thread while the last
 * unref is made, to the registers.  A reference would make that unref one that
 * is not the last, and the caller's data go before the interrupt does.
 */
struct HmMmioLink {
    GMutex lock;
    HostmemVirtioMmio *self; /* (nullable), not owned: it is gone */
};

static void link_clear(gpointer data)
{
    g_mutex_clear(&((HmMmioLink *)data)->lock);
}

static void link_release(gpointer data)
{
    g_atomic_rc_box_release_full(data, link_clear);
}

/* No handler is at work any more on return, nor will be. */
static void link_cut(HmMmioLink *link)
{
    g_mutex_lock(&link->lock);
    link->self = NULL;
    g_mutex_unlock(&link->lock);
}

static void report_config(HostmemVirtioMmio *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    if (self->status & HM_VIRTIO_DRIVER_OK) {
        hm_virtio_mmio_raise(self, HM_VIRTIO_CONFIG);
    }
}

static void on_config_changed(HostmemVirtioDevice *device G_GNUC_UNUSED,
                              gpointer data)
{
    HmMmioLink *link = data;
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&link->lock);

    if (link->self) {
        report_config(link->self);
    }
}

static void release_closure(gpointer data, GClosure *closure G_GNUC_UNUSED)
{
    link_release(data);
}

static void connect_device(HostmemVirtioMmio *self)
{
    self->link = g_atomic_rc_box_new0(HmMmioLink);
    g_mutex_init(&self->link->lock);
    self->link->self = self;
    self->handler = g_signal_connect_data(
        self->device, "config-changed", G_CALLBACK(on_config_changed),
        g_atomic_rc_box_acquire(self->link), release_closure, 0);
}

HostmemVirtioMmio *hostmem_virtio_mmio_new(HostmemVirtioDevice *device,
                                           HostmemGuestMemory *memory,
                                           HostmemVirtioInterrupt interrupt,
                                           gpointer user_data)
{
    g_return_val_if_fail(HOSTMEM_IS_VIRTIO_DEVICE(device), NULL);
    g_return_val_if_fail(HOSTMEM_IS_GUEST_MEMORY(memory), NULL);
    g_return_val_if_fail(hostmem_virtio_device_get_config_size(device) <=
                             HOSTMEM_VIRTIO_MMIO_SIZE - REG_CONFIG,
                         NULL);

    HostmemVirtioMmio *self = g_object_new(HOSTMEM_TYPE_VIRTIO_MMIO, NULL);

    self->device = g_object_ref(device);
    self->memory = g_object_ref(memory);
    self->interrupt = interrupt;
    self->interrupt_data = user_data;
    self->n_queues = hostmem_virtio_device_get_n_queues(device);
    self->queues = g_new0(HmMmioQueue, self->n_queues);
    self->config_size = hostmem_virtio_device_get_config_size(device);
    self->config = g_malloc0(self->config_size);
    connect_device(self);
    return self;
}

static void hostmem_virtio_mmio_init(HostmemVirtioMmio *self)
{
    g_mutex_init(&self->lock);
    g_cond_init(&self->changed);
}

static void hostmem_virtio_mmio_finalize(GObject *object)
{
    HostmemVirtioMmio *self = HOSTMEM_VIRTIO_MMIO(object);

    link_cut(self->link);
    g_signal_handler_disconnect(self->device, self->handler);
    link_release(self->link);
    for (guint i = 0; i < self->n_queues; i++) {
        hostmem_virtqueue_free(self->queues[i].ring);
    }
    g_free(self->queues);
    g_free(self->config);
    g_clear_error(&self->error);
    g_object_unref(self->memory);
    g_object_unref(self->device);
    g_cond_clear(&self->changed);
    g_mutex_clear(&self->lock);
    G_OBJECT_CLASS(hostmem_virtio_mmio_parent_class)->finalize(object);
}

static void hostmem_virtio_mmio_class_init(HostmemVirtioMmioClass *klass)
{
    G_OBJECT_CLASS(klass)->finalize = hostmem_virtio_mmio_finalize;
}
