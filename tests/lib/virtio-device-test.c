/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "util/error.h"
#include "virtio-device-test.h"

#define ANSWER_MAX 64

struct _HmTestDevice {
    GObject parent_instance;

    GMutex lock; /* guards what follows */
    GCond changed;
    guint64 value;
    guint64 written;
    gboolean hold;
    gboolean careless;
    guint held;
    guint requests;
    guint resets;
    guint processing[2]; /* threads that serve each queue */
};

static void device_init(HostmemVirtioDeviceInterface *iface);

G_DEFINE_FINAL_TYPE_WITH_CODE(HmTestDevice, hm_test_device, G_TYPE_OBJECT,
                              G_IMPLEMENT_INTERFACE(HOSTMEM_TYPE_VIRTIO_DEVICE,
                                                    device_init))

static guint64 get_features(HostmemVirtioDevice *device G_GNUC_UNUSED)
{
    return HM_TEST_DEVICE_FEATURES;
}

static gboolean check_features(HostmemVirtioDevice *device G_GNUC_UNUSED,
                               guint64 accepted)
{
    return (accepted & HM_TEST_DEVICE_NEEDED) != 0;
}

static void read_config(HostmemVirtioDevice *device, gsize offset,
                        gpointer data, gsize length)
{
    HmTestDevice *self = HM_TEST_DEVICE(device);
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);
    const guint64 fields[] = {
        GUINT64_TO_LE(self->value),
        GUINT64_TO_LE(self->value),
    };

    g_assert_true(offset + length <= sizeof(fields));
    memcpy(data, (const guint8 *)fields + offset, length);
}

static void write_config(HostmemVirtioDevice *device, gsize offset,
                         gconstpointer data, gsize length)
{
    HmTestDevice *self = HM_TEST_DEVICE(device);
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);
    guint64 value = 0;

    g_assert_true(offset + length <= 16);
    memcpy(&value, data, length);
    self->written = GUINT64_FROM_LE(value);
}

static void await_release(HmTestDevice *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    self->requests++;
    self->held++;
    g_cond_broadcast(&self->changed);
    while (self->hold) {
        g_cond_wait(&self->changed, &self->lock);
    }
    self->held--;
}

static gboolean answer(HmTestDevice *self, HostmemVirtqueue *queue,
                       HostmemVirtqueueElement *element, GError **error)
{
    guint8 bytes[ANSWER_MAX];
    guint64 room = hostmem_virtqueue_element_get_in_size(element);
    gsize n = hostmem_virtqueue_element_read(element, 0, bytes,
                                             MIN(room, sizeof(bytes)));

    if (!room) {
        hostmem_virtqueue_element_free(element);
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "a request without room for an answer");
    }
    await_release(self);
    for (gsize i = 0; i < n; i++) {
        bytes[i] = (guint8)~bytes[i];
    }
    n = hostmem_virtqueue_element_write(element, 0, bytes, n);
    return hostmem_virtqueue_push(queue, element, (guint32)n, error);
}

static gboolean drain(HmTestDevice *self, HostmemVirtqueue *queue,
                      GError **error)
{
    HostmemVirtqueueElement *element;

    do {
        hostmem_virtqueue_disable_notifications(queue);
        for (;;) {
            if (!hostmem_virtqueue_pop(queue, &element, error)) {
                return FALSE;
            }
            if (!element) {
                break;
            }
            if (!answer(self, queue, element, error)) {
                return FALSE;
            }
        }
    } while (hostmem_virtqueue_enable_notifications(queue));
    return TRUE;
}

static void count_processing(HmTestDevice *self, guint index, gint change)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    self->processing[index] += (guint)change;
    g_assert_cmpuint(self->processing[index], <=, 1);
}

static gboolean is_careless(HmTestDevice *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    return self->careless;
}

static gboolean process(HostmemVirtioDevice *device, guint index,
                        HostmemVirtqueue *queue, gboolean *interrupt,
                        GError **error)
{
    HmTestDevice *self = HM_TEST_DEVICE(device);
    gboolean ok;

    count_processing(self, index, 1);
    ok = drain(self, queue, error);
    *interrupt = hostmem_virtqueue_should_notify(queue);
    count_processing(self, index, -1);
    if (!ok && is_careless(self)) {
        g_clear_error(error);
        return TRUE;
    }
    return ok;
}

static void device_reset(HostmemVirtioDevice *device)
{
    HmTestDevice *self = HM_TEST_DEVICE(device);
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    g_assert_cmpuint(self->processing[0] + self->processing[1], ==, 0);
    self->resets++;
}

static void device_init(HostmemVirtioDeviceInterface *iface)
{
    iface->device_id = HM_TEST_DEVICE_ID;
    iface->n_queues = 2;
    iface->queue_size = 8;
    iface->config_size = 16;
    iface->get_features = get_features;
    iface->check_features = check_features;
    iface->read_config = read_config;
    iface->write_config = write_config;
    iface->process = process;
    iface->device_reset = device_reset;
}

static void hm_test_device_init(HmTestDevice *self)
{
    g_mutex_init(&self->lock);
    g_cond_init(&self->changed);
}

static void hm_test_device_finalize(GObject *object)
{
    HmTestDevice *self = HM_TEST_DEVICE(object);

    g_cond_clear(&self->changed);
    g_mutex_clear(&self->lock);
    G_OBJECT_CLASS(hm_test_device_parent_class)->finalize(object);
}

static void hm_test_device_class_init(HmTestDeviceClass *klass)
{
    G_OBJECT_CLASS(klass)->finalize = hm_test_device_finalize;
}

HmTestDevice *hm_test_device_new(void)
{
    return g_object_new(HM_TYPE_TEST_DEVICE, NULL);
}

void hm_test_device_set_value(HmTestDevice *self, guint64 value, gboolean tell)
{
    g_mutex_lock(&self->lock);
    self->value = value;
    g_mutex_unlock(&self->lock);
    if (tell) {
        hostmem_virtio_device_config_changed(HOSTMEM_VIRTIO_DEVICE(self));
    }
}

guint64 hm_test_device_get_written(HmTestDevice *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    return self->written;
}

void hm_test_device_hold(HmTestDevice *self, gboolean hold)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    self->hold = hold;
    g_cond_broadcast(&self->changed);
}

void hm_test_device_set_careless(HmTestDevice *self, gboolean careless)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    self->careless = careless;
}

void hm_test_device_await_held(HmTestDevice *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    while (!self->held) {
        g_cond_wait(&self->changed, &self->lock);
    }
}

guint hm_test_device_get_requests(HmTestDevice *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    return self->requests;
}

guint hm_test_device_get_resets(HmTestDevice *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    return self->resets;
}
