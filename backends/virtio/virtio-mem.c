/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/virtio/virtio-mem.h"
#include "util/error.h"

struct _HostmemVirtioMemClass {
    HostmemDeviceClass parent_class;
};
typedef struct _HostmemVirtioMemClass HostmemVirtioMemClass;

G_DEFINE_TYPE_WITH_CODE(
    HostmemVirtioMem, hostmem_virtio_mem, HOSTMEM_TYPE_DEVICE,
    G_IMPLEMENT_INTERFACE(HOSTMEM_TYPE_DISCARD_SOURCE,
                          hm_virtio_mem_source_iface_init)
        G_IMPLEMENT_INTERFACE(HOSTMEM_TYPE_VIRTIO_DEVICE,
                              hm_virtio_mem_device_iface_init))

/* What is asked of a device; another thread may still be creating it. */

static gboolean is_ready(HostmemVirtioMem *self)
{
    return hm_object_is_complete(HOSTMEM_OBJECT(self));
}

guint64 hostmem_virtio_mem_get_requested_size(HostmemVirtioMem *self)
{
    g_autoptr(GMutexLocker) locker = NULL;

    g_return_val_if_fail(HOSTMEM_IS_VIRTIO_MEM(self), 0);

    if (!is_ready(self)) {
        return self->given_requested_size;
    }
    locker = g_mutex_locker_new(&self->state_lock);
    return self->requested;
}

guint64 hostmem_virtio_mem_get_size(HostmemVirtioMem *self)
{
    g_autoptr(GMutexLocker) locker = NULL;

    g_return_val_if_fail(HOSTMEM_IS_VIRTIO_MEM(self), 0);

    if (!is_ready(self)) {
        return 0;
    }
    locker = g_mutex_locker_new(&self->state_lock);
    return hm_block_map_plugged(self->map) * self->block_size;
}

guint64 hostmem_virtio_mem_get_usable_region_size(HostmemVirtioMem *self)
{
    g_autoptr(GMutexLocker) locker = NULL;

    g_return_val_if_fail(HOSTMEM_IS_VIRTIO_MEM(self), 0);

    if (!is_ready(self)) {
        return 0;
    }
    locker = g_mutex_locker_new(&self->state_lock);
    return self->usable;
}

guint64 hostmem_virtio_mem_get_block_size(HostmemVirtioMem *self)
{
    g_return_val_if_fail(HOSTMEM_IS_VIRTIO_MEM(self), 0);

    return is_ready(self) ? self->block_size : self->given_block_size;
}

guint64 hostmem_virtio_mem_get_region_size(HostmemVirtioMem *self)
{
    g_return_val_if_fail(HOSTMEM_IS_VIRTIO_MEM(self), 0);

    return is_ready(self) ? self->region_size : 0;
}

guint64 hostmem_virtio_mem_get_address(HostmemVirtioMem *self)
{
    g_return_val_if_fail(HOSTMEM_IS_VIRTIO_MEM(self), 0);

    return is_ready(self) ? self->memaddr : self->given_memaddr;
}

guint32 hostmem_virtio_mem_get_node(HostmemVirtioMem *self)
{
    g_return_val_if_fail(HOSTMEM_IS_VIRTIO_MEM(self), 0);

    return self->node;
}

HostmemBackend *hostmem_virtio_mem_get_memdev(HostmemVirtioMem *self)
{
    g_return_val_if_fail(HOSTMEM_IS_VIRTIO_MEM(self), NULL);

    return self->memdev ? HOSTMEM_BACKEND(self->memdev) : NULL;
}

gboolean hostmem_virtio_mem_set_requested_size(HostmemVirtioMem *self,
                                               guint64 size, GError **error)
{
    g_autofree char *text = NULL;

    g_return_val_if_fail(HOSTMEM_IS_VIRTIO_MEM(self), FALSE);

    text = g_strdup_printf("%" G_GUINT64_FORMAT, size);
    return hostmem_object_set(HOSTMEM_OBJECT(self), "requested-size", text,
                              NULL, error);
}

/* Properties */

static HostmemVirtioMemStatus read_status(gpointer object)
{
    HostmemVirtioMemStatus status = {0};

    if (is_ready(object)) {
        hostmem_virtio_mem_get_status(object, &status);
    }
    return status;
}

static void get_memaddr(gpointer object, GValue *value)
{
    g_value_set_uint64(value, hostmem_virtio_mem_get_address(object));
}

static void get_block_size(gpointer object, GValue *value)
{
    g_value_set_uint64(value, hostmem_virtio_mem_get_block_size(object));
}

static void get_requested_size(gpointer object, GValue *value)
{
    g_value_set_uint64(value, hostmem_virtio_mem_get_requested_size(object));
}

static void get_size(gpointer object, GValue *value)
{
    g_value_set_uint64(value, hostmem_virtio_mem_get_size(object));
}

static void get_usable_region_size(gpointer object, GValue *value)
{
    g_value_set_uint64(value,
                       hostmem_virtio_mem_get_usable_region_size(object));
}

static void get_ahead_size(gpointer object, GValue *value)
{
    g_value_set_uint64(value,
                       is_ready(object) ? hm_virtio_mem_ahead_size(object) : 0);
}

static void get_resize_state(gpointer object, GValue *value)
{
    g_value_set_enum(value, read_status(object).state);
}

static void get_since_progress(gpointer object, GValue *value)
{
    g_value_set_int64(value,
                      read_status(object).since_progress_us / G_USEC_PER_SEC);
}

static void get_ack_count(gpointer object, GValue *value)
{
    g_value_set_int64(value, (gint64)read_status(object).acks);
}

static void get_nack_count(gpointer object, GValue *value)
{
    g_value_set_int64(value, (gint64)read_status(object).nacks);
}

static void get_busy_count(gpointer object, GValue *value)
{
    g_value_set_int64(value, (gint64)read_status(object).busy);
}

static void get_error_count(gpointer object, GValue *value)
{
    g_value_set_int64(value, (gint64)read_status(object).errors);
}

static void get_last_reason(gpointer object, GValue *value)
{
    HostmemVirtioMemStatus status = read_status(object);

    g_value_set_string(value, status.reason);
}

static const HmProp virtio_mem_props[] = {
    {
        .name = "memdev",
        .kind = HM_PROP_LINK,
        .offset = HM_PROP_FIELD(HostmemVirtioMem, memdev),
        .type = hostmem_backend_get_type,
        .type_name = "link<memory-backend>",
        .description = "The backend that has the memory; the device discards "
                       "what is in it",
    },
    {
        .name = "memaddr",
        .kind = HM_PROP_SIZE,
        .offset = HM_PROP_FIELD(HostmemVirtioMem, given_memaddr),
        .get = get_memaddr,
        .type_name = "uint64",
        .description = "Guest physical address of the region (0: chosen)",
    },
    {
        .name = "block-size",
        .kind = HM_PROP_SIZE,
        .offset = HM_PROP_FIELD(HostmemVirtioMem, given_block_size),
        .get = get_block_size,
        .type_name = "size",
        .description = "Bytes of a block, a power of two (0: a huge page, at "
                       "least 1 MiB)",
    },
    {
        .name = "requested-size",
        .kind = HM_PROP_SIZE,
        .flags = HM_PROP_LIVE,
        .offset = HM_PROP_FIELD(HostmemVirtioMem, given_requested_size),
        .get = get_requested_size,
        .type_name = "size",
        .description = "How much memory the guest shall plug",
    },
    {
        .name = "node",
        .kind = HM_PROP_UINT32,
        .offset = HM_PROP_FIELD(HostmemVirtioMem, node),
        .max = G_MAXUINT16,
        .type_name = "uint32",
        .description = "NUMA node of the guest that the memory belongs to",
    },
    {
        .name = "prealloc",
        .kind = HM_PROP_BOOL,
        .offset = HM_PROP_FIELD(HostmemVirtioMem, prealloc),
        .description = "Populate memory before the guest is told that it is "
                       "plugged",
    },
    {
        .name = "prealloc-ahead",
        .kind = HM_PROP_SIZE,
        .offset = HM_PROP_FIELD(HostmemVirtioMem, prealloc_ahead),
        .type_name = "size",
        .description = "How much of what the guest will plug next is made "
                       "ready in the background (0: nothing)",
    },
    {
        .name = "unplugged-inaccessible",
        .kind = HM_PROP_ENUM,
        .offset = HM_PROP_FIELD(HostmemVirtioMem, unplugged_inaccessible),
        .def = HOSTMEM_ON,
        .type = hostmem_on_off_auto_get_type,
        .type_name = "OnOffAuto",
        .description = "Refuse drivers that read unplugged memory (auto: "
                       "unless that takes no memory)",
    },
    {
        .name = "dynamic-memslots",
        .kind = HM_PROP_BOOL,
        .offset = HM_PROP_FIELD(HostmemVirtioMem, dynamic_memslots),
        .description = "Have the region mapped in parts, those with plugged "
                       "blocks only",
    },
    {
        .name = "resize-timeout",
        .kind = HM_PROP_UINT32,
        .flags = HM_PROP_LIVE,
        .offset = HM_PROP_FIELD(HostmemVirtioMem, given_resize_timeout),
        .def = 10,
        .description = "Seconds without progress after which a resize has "
                       "stalled (0: never)",
    },
    {
        .name = "size",
        .kind = HM_PROP_SIZE,
        .flags = HM_PROP_READ_ONLY,
        .get = get_size,
        .type_name = "size",
        .description = "How much memory is plugged",
    },
    {
        .name = "usable-region-size",
        .kind = HM_PROP_SIZE,
        .flags = HM_PROP_READ_ONLY,
        .get = get_usable_region_size,
        .type_name = "size",
        .description = "How much of the region the guest may plug blocks in",
    },
    {
        .name = "ahead-size",
        .kind = HM_PROP_SIZE,
        .flags = HM_PROP_READ_ONLY,
        .get = get_ahead_size,
        .type_name = "size",
        .description = "How much unplugged memory prealloc-ahead has ready",
    },
    {
        .name = "resize-state",
        .kind = HM_PROP_ENUM,
        .flags = HM_PROP_READ_ONLY,
        .get = get_resize_state,
        .type = hostmem_resize_state_get_type,
        .type_name = "HostMemResizeState",
        .description = "Whether requested-size is reached, is being "
                       "approached, or not any more",
    },
    {
        .name = "since-progress",
        .kind = HM_PROP_INT64,
        .flags = HM_PROP_READ_ONLY,
        .get = get_since_progress,
        .description = "Seconds since size changed or requested-size was set",
    },
    {
        .name = "ack-count",
        .kind = HM_PROP_INT64,
        .flags = HM_PROP_READ_ONLY,
        .get = get_ack_count,
        .description = "Requests acknowledged since requested-size was set",
    },
    {
        .name = "nack-count",
        .kind = HM_PROP_INT64,
        .flags = HM_PROP_READ_ONLY,
        .get = get_nack_count,
        .description = "Requests since then that went beyond requested-size",
    },
    {
        .name = "busy-count",
        .kind = HM_PROP_INT64,
        .flags = HM_PROP_READ_ONLY,
        .get = get_busy_count,
        .description = "Requests since then that could not be served now",
    },
    {
        .name = "error-count",
        .kind = HM_PROP_INT64,
        .flags = HM_PROP_READ_ONLY,
        .get = get_error_count,
        .description = "Requests since then that made no sense",
    },
    {
        .name = "last-reason",
        .kind = HM_PROP_STRING,
        .flags = HM_PROP_READ_ONLY,
        .get = get_last_reason,
        .description = "Why the last of those was not acknowledged; empty "
                       "when all were",
    },
};

/* Changes */

static gboolean change_requested_size(HostmemVirtioMem *self, guint64 size,
                                      GError **error)
{
    if (!hm_virtio_mem_check_requested(self, size, error)) {
        return FALSE;
    }
    g_mutex_lock(&self->state_lock);
    self->requested = size;
    hm_virtio_mem_resize_usable(self, FALSE);
    hm_virtio_mem_begin_resize(self);
    g_mutex_unlock(&self->state_lock);
    return TRUE;
}

static gboolean virtio_mem_change(HostmemObject *object, const HmProp *row,
                                  const GValue *value,
                                  GCancellable *cancellable G_GNUC_UNUSED,
                                  GError **error)
{
    HostmemVirtioMem *self = HOSTMEM_VIRTIO_MEM(object);

    if (g_str_equal(row->name, "requested-size")) {
        return change_requested_size(self, g_value_get_uint64(value), error);
    }
    g_mutex_lock(&self->state_lock);
    self->timeout_us = (gint64)g_value_get_uint(value) * G_USEC_PER_SEC;
    g_mutex_unlock(&self->state_lock);
    return TRUE;
}

static void virtio_mem_changed(HostmemObject *object)
{
    hm_virtio_mem_look_ahead(HOSTMEM_VIRTIO_MEM(object));
    hm_virtio_mem_emit(HOSTMEM_VIRTIO_MEM(object));
}

static gboolean virtio_mem_refuse_change(HostmemObject *object,
                                         const HmProp *row, GError **error)
{
    if (g_str_equal(row->name, "block-size")) {
        return hm_set_error(error, HOSTMEM_ERROR_PERMISSION,
                            "'block-size' cannot be changed");
    }
    return hm_set_error(error, HOSTMEM_ERROR_PERMISSION,
                        "Attempt to set property '%s' on device '%s' (type "
                        "'%s') after it was realized",
                        row->name, object->id ? object->id : "",
                        hostmem_object_get_type_name(object));
}

/* Leaving */

/* (nullable): a plug may have begun before "requested-size" became 0. */
static const char *why_it_stays(HostmemVirtioMem *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->state_lock);

    if (!self->inaccessible) {
        return "'unplugged-inaccessible' != 'on'";
    }
    if (hm_block_map_plugged(self->map)) {
        return "some of its memory is still plugged";
    }
    if (self->requested) {
        return "'requested-size' != '0'";
    }
    return self->serving ? "a request is being served" : NULL;
}

static gboolean virtio_mem_check_removable(HostmemDevice *device,
                                           GError **error)
{
    const char *why = why_it_stays(HOSTMEM_VIRTIO_MEM(device));

    return !why || hm_set_error(error, HOSTMEM_ERROR_BUSY,
                                "virtio-mem device cannot get unplugged while "
                                "%s",
                                why);
}

static void virtio_mem_reset(HostmemDevice *device)
{
    hostmem_virtio_mem_reset(HOSTMEM_VIRTIO_MEM(device));
}

/* Life */

static void hostmem_virtio_mem_init(HostmemVirtioMem *self)
{
    g_mutex_init(&self->request_lock);
    g_mutex_init(&self->state_lock);
    g_cond_init(&self->none_waits);
    hm_discard_listeners_init(&self->listeners, HOSTMEM_DISCARD_SOURCE(self));
}

static void hostmem_virtio_mem_dispose(GObject *object)
{
    HostmemVirtioMem *self = HOSTMEM_VIRTIO_MEM(object);

    hm_virtio_mem_end_ahead(self);
    hm_discard_listeners_remove_all(&self->listeners);
    G_OBJECT_CLASS(hostmem_virtio_mem_parent_class)->dispose(object);
}

static void hostmem_virtio_mem_finalize(GObject *object)
{
    HostmemVirtioMem *self = HOSTMEM_VIRTIO_MEM(object);

    if (self->slot_destroy) {
        self->slot_destroy(self->slot_data);
    }
    hm_virtio_mem_release(self);
    hm_discard_listeners_clear(&self->listeners);
    g_clear_pointer(&self->slots, hm_bitmap_free);
    g_clear_pointer(&self->map, hm_block_map_free);
    g_clear_pointer(&self->reason, g_free);
    g_mutex_clear(&self->request_lock);
    g_mutex_clear(&self->state_lock);
    g_cond_clear(&self->none_waits);
    G_OBJECT_CLASS(hostmem_virtio_mem_parent_class)->finalize(object);
}

static void new_signal(const char *name, GType type)
{
    g_signal_new(name, HOSTMEM_TYPE_VIRTIO_MEM, G_SIGNAL_RUN_LAST, 0, NULL,
                 NULL, NULL, G_TYPE_NONE, 1, type);
}

static void hostmem_virtio_mem_class_init(HostmemVirtioMemClass *klass)
{
    HostmemObjectClass *object_class = HOSTMEM_OBJECT_CLASS(klass);
    HostmemDeviceClass *device_class = HOSTMEM_DEVICE_CLASS(klass);

    object_class->type_name = "virtio-mem";
    object_class->complete = hm_virtio_mem_complete;
    object_class->change = virtio_mem_change;
    object_class->changed = virtio_mem_changed;
    object_class->refuse_change = virtio_mem_refuse_change;
    object_class->save = hm_virtio_mem_save;
    device_class->check_removable = virtio_mem_check_removable;
    device_class->reset = virtio_mem_reset;
    G_OBJECT_CLASS(klass)->dispose = hostmem_virtio_mem_dispose;
    G_OBJECT_CLASS(klass)->finalize = hostmem_virtio_mem_finalize;
    hm_props_install(G_OBJECT_CLASS(klass), virtio_mem_props,
                     G_N_ELEMENTS(virtio_mem_props));
    new_signal("size-changed", G_TYPE_UINT64);
    new_signal("requested-size-changed", G_TYPE_UINT64);
    new_signal("resize-changed", HOSTMEM_TYPE_RESIZE_STATE);
}
