/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/hostmem.h"
#include "backends/virtio/virtio-mem.h"
#include "util/align.h"
#include "util/error.h"
#include "util/hostcaps.h"
#include "util/os.h"
#include "util/size.h"

/* As in QEMU, what does not go together is told in this order. */

#define MIN_BLOCK_SIZE HM_MIB

/* memdev */

static gboolean is_restored(HostmemVirtioMem *self)
{
    return hm_object_get_saved(HOSTMEM_OBJECT(self)) != NULL;
}

static gboolean check_memdev(HostmemVirtioMem *self, GError **error)
{
    if (!self->memdev) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "'memdev' property must be set");
    }
    return hm_object_is_complete(HOSTMEM_OBJECT(self->memdev)) ||
           hm_set_error(error, HOSTMEM_ERROR_BUSY,
                        "'memdev' property specifies a memdev that is still "
                        "being created");
}

static gboolean take_memdev(HostmemVirtioMem *self, GError **error)
{
    HostmemObject *memdev = HOSTMEM_OBJECT(self->memdev);

    self->held = hm_object_hold_alone(memdev);
    if (!self->held) {
        return hm_set_error(error, HOSTMEM_ERROR_BUSY,
                            "'memdev' property specifies a busy memdev: %s",
                            memdev->id ? memdev->id : "");
    }
    self->region_size = hostmem_backend_get_size(hm_virtio_mem_backend(self));
    return TRUE;
}

/* Memory that it has grown by since the device was made first is not part of
 * that. */
static gboolean find_region_size(HostmemVirtioMem *self, GError **error)
{
    HmSaved *saved = hm_object_get_saved(HOSTMEM_OBJECT(self));
    guint64 size = self->region_size;

    if (saved && !hm_saved_read_size(saved, "region-size", &size, error)) {
        return FALSE;
    }
    if (!size || size > self->region_size) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "its saved state names a region that the memdev "
                            "has no room for");
    }
    self->region_size = size;
    hm_backend_need(hm_virtio_mem_backend(self), size);
    self->needs_region = TRUE;
    return TRUE;
}

static gboolean has_prealloc(HostmemBackend *backend)
{
    g_autoptr(GMutexLocker) locker =
        g_mutex_locker_new(&HOSTMEM_OBJECT(backend)->value_lock);

    return backend->prealloc;
}

/* A new device begins with nothing plugged, and no content. */
static gboolean check_image(HostmemVirtioMem *self, GError **error)
{
    HostmemObject *memdev = HOSTMEM_OBJECT(self->memdev);

    return !hm_virtio_mem_backend(self)->image || is_restored(self) ||
           hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "'memdev' property specifies a memdev that is filled "
                        "from an 'image': %s. A new virtio-mem device would "
                        "discard what it holds",
                        memdev->id ? memdev->id : "");
}

static gboolean check_kind(HostmemVirtioMem *self, GError **error)
{
    HostmemObject *memdev = HOSTMEM_OBJECT(self->memdev);
    HostmemBackend *backend = hm_virtio_mem_backend(self);
    g_autoptr(GError) why = NULL;

    if (!hm_backend_check_writable(backend, &why)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "'memdev' property specifies an unsupported "
                            "memdev: its memory is read-only");
    }
    if (backend->mem_lock == HOSTMEM_MEM_LOCK_ON) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "'memdev' property specifies a memdev with "
                            "'mem-lock=on': %s. Instead, specify "
                            "'mem-lock=on-fault' for it, and 'prealloc=on' "
                            "for the virtio-mem device",
                            memdev->id ? memdev->id : "");
    }
    return !has_prealloc(backend) ||
           hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "'memdev' property specifies a memdev with "
                        "preallocation enabled: %s. Instead, specify "
                        "'prealloc=on' for the virtio-mem device. ",
                        memdev->id ? memdev->id : "");
}

/* Sizes */

/* Blocks that huge pages fit into, where the kernel would use them. */
static guint64 default_block_size(gsize page_size)
{
    const HmHostCaps *caps = hm_hostcaps_get();

    if (page_size == caps->page_size && hm_is_pow2(caps->thp_size)) {
        page_size = MAX(page_size, caps->thp_size);
    }
    return MAX(page_size, MIN_BLOCK_SIZE);
}

static void warn_of_small_blocks(HostmemVirtioMem *self, guint64 usual)
{
    g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(self));
    g_autofree char *size = hm_size_format(usual);

    g_message("%s: 'block-size' property is smaller than the default block "
              "size (%s)",
              what, size);
}

static gboolean check_block_size(HostmemVirtioMem *self, GError **error)
{
    gsize page_size =
        hostmem_backend_get_page_size(hm_virtio_mem_backend(self));
    guint64 usual = default_block_size(page_size);

    self->block_size = self->given_block_size ? self->given_block_size : usual;
    if (self->block_size < MIN_BLOCK_SIZE) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "'block-size' property has to be at least 0x%x",
                            (guint)MIN_BLOCK_SIZE);
    }
    if (!hm_is_pow2(self->block_size)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "'block-size' property has to be a power of two");
    }
    if (self->block_size < page_size) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "'block-size' property has to be at least the "
                            "page size (0x%" G_GSIZE_MODIFIER "x)",
                            page_size);
    }
    if (self->block_size < usual) {
        warn_of_small_blocks(self, usual);
    }
    return TRUE;
}

static gboolean check_multiple(const HostmemVirtioMem *self, const char *what,
                               guint64 value, GError **error)
{
    return hm_is_aligned(value, self->block_size) ||
           hm_set_error(
               error, HOSTMEM_ERROR_INVALID,
               "%s has to be multiples of 'block-size' (0x%" G_GINT64_MODIFIER
               "x)",
               what, self->block_size);
}

static gboolean check_limit(const HostmemVirtioMem *self, guint64 size,
                            GError **error)
{
    return size <= self->region_size ||
           hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "'requested-size' cannot exceed the memory backend "
                        "size(0x%" G_GINT64_MODIFIER "x)",
                        self->region_size);
}

gboolean hm_virtio_mem_check_requested(HostmemVirtioMem *self, guint64 size,
                                       GError **error)
{
    return check_multiple(self, "'requested-size'", size, error) &&
           check_limit(self, size, error);
}

static gboolean take_address(HostmemVirtioMem *self, GError **error)
{
    self->memaddr = self->given_memaddr;
    return hm_device_claim(HOSTMEM_DEVICE(self), &self->memaddr,
                           self->region_size, self->block_size, error);
}

static gboolean check_sizes(HostmemVirtioMem *self, GError **error)
{
    return check_block_size(self, error) &&
           check_multiple(self, "'requested-size' property",
                          self->given_requested_size, error) &&
           take_address(self, error) &&
           check_multiple(self, "'memdev' property memdev size",
                          self->region_size, error) &&
           check_limit(self, self->given_requested_size, error);
}

/* The rest */

/* Whether a guest that reads unplugged memory gets zeroes, and no page. */
static gboolean reads_for_free(HostmemVirtioMem *self)
{
    HostmemBackend *backend = hm_virtio_mem_backend(self);

    return hostmem_backend_get_fd(backend) < 0 &&
           hostmem_backend_get_page_size(backend) == hm_os_page_size();
}

static gboolean check_access(HostmemVirtioMem *self, GError **error)
{
    gboolean free = reads_for_free(self);

    self->inaccessible =
        self->unplugged_inaccessible == HOSTMEM_ON ||
        (self->unplugged_inaccessible == HOSTMEM_AUTO && !free);
    if (!self->inaccessible && !free) {
        g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(self));

        g_message("%s: 'unplugged-inaccessible' property is 'off', but with "
                  "this memdev a guest that reads unplugged memory makes it "
                  "consume memory",
                  what);
    }
    if (self->dynamic_memslots && !self->inaccessible) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "'dynamic-memslots' property set to 'on' requires "
                            "'unplugged-inaccessible' to be 'on'");
    }
    return TRUE;
}

/* What another process has left is looked at later. */
static gboolean empty_memdev(HostmemVirtioMem *self, GError **error)
{
    if (is_restored(self)) {
        return TRUE;
    }
    if (hostmem_backend_discard(hm_virtio_mem_backend(self), 0,
                                self->region_size, error)) {
        return TRUE;
    }
    g_prefix_error(error, "'memdev' property specifies an unsupported memdev: "
                          "its memory cannot be given back: ");
    return FALSE;
}

static void make_state(HostmemVirtioMem *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->state_lock);

    self->map = hm_block_map_new(self->region_size / self->block_size);
    if (self->prealloc_ahead) {
        self->ahead = hm_block_map_new(self->region_size / self->block_size);
    }
    self->requested = self->given_requested_size;
    self->timeout_us = (gint64)self->given_resize_timeout * G_USEC_PER_SEC;
    hm_virtio_mem_resize_usable(self, TRUE);
    hm_virtio_mem_begin_resize(self);
    self->pending = 0; /* nobody listens yet */
}

gboolean hm_virtio_mem_complete(HostmemObject *object,
                                GCancellable *cancellable, GError **error)
{
    HostmemVirtioMem *self = HOSTMEM_VIRTIO_MEM(object);

    if (g_cancellable_set_error_if_cancelled(cancellable, error) ||
        !check_memdev(self, error) || !take_memdev(self, error)) {
        return FALSE;
    }
    if (!find_region_size(self, error) || !check_kind(self, error) ||
        !check_image(self, error) || !check_access(self, error) ||
        !check_sizes(self, error) || !empty_memdev(self, error)) {
        hm_virtio_mem_release(self);
        return FALSE;
    }
    hm_virtio_mem_choose_slots(self);
    make_state(self);
    if (is_restored(self) && !hm_virtio_mem_restore(self, error)) {
        hm_virtio_mem_release(self);
        return FALSE;
    }
    hm_backend_set_owner(hm_virtio_mem_backend(self),
                         hm_virtio_mem_with_plugged, self);
    hm_virtio_mem_look_ahead(self);
    return TRUE;
}

void hm_virtio_mem_release(HostmemVirtioMem *self)
{
    if (self->needs_region) {
        self->needs_region = FALSE;
        hm_backend_need_no_more(hm_virtio_mem_backend(self), self->region_size);
    }
    if (self->held) {
        self->held = FALSE;
        hm_backend_set_owner(hm_virtio_mem_backend(self), NULL, NULL);
        hostmem_object_release(HOSTMEM_OBJECT(self->memdev));
    }
}
