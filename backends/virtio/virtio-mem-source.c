/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/virtio/virtio-mem.h"
#include "util/align.h"
#include "util/error.h"
#include "util/size.h"

/* As QEMU: so many slots for a region, but none smaller than this. */
#define MAX_SLOTS     256
#define MIN_SLOT_SIZE HM_GIB

/* A HostmemDiscardSource */

static guint64 source_get_granularity(HostmemDiscardSource *source)
{
    return HOSTMEM_VIRTIO_MEM(source)->block_size;
}

static guint64 source_get_size(HostmemDiscardSource *source)
{
    return HOSTMEM_VIRTIO_MEM(source)->region_size;
}

static guint64 source_get_run(HostmemDiscardSource *source, guint64 offset,
                              guint64 end, gboolean *populated)
{
    HostmemVirtioMem *self = HOSTMEM_VIRTIO_MEM(source);
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->state_lock);
    const guint64 first = offset / self->block_size;
    HmBlockRun run;

    *populated = hm_block_map_all_plugged(self->map, first, 1);
    hm_block_map_next(self->map, first, end / self->block_size, *populated,
                      &run);
    return run.n * self->block_size;
}

static HmDiscardListeners *source_get_listeners(HostmemDiscardSource *source)
{
    return &HOSTMEM_VIRTIO_MEM(source)->listeners;
}

void hm_virtio_mem_source_iface_init(HostmemDiscardSourceInterface *iface)
{
    iface->get_granularity = source_get_granularity;
    iface->get_size = source_get_size;
    iface->get_run = source_get_run;
    iface->get_listeners = source_get_listeners;
}

/* Slots: a part of the region is mapped as long as it has plugged blocks. */

static gsize n_slots(const HostmemVirtioMem *self)
{
    return (self->region_size - 1) / self->slot_size + 1;
}

void hm_virtio_mem_choose_slots(HostmemVirtioMem *self)
{
    self->slot_size = self->region_size;
    if (self->dynamic_memslots) {
        /* No overflow: sizes of backends are far below 2^63. */
        hm_align_up(self->region_size / MAX_SLOTS, self->block_size,
                    &self->slot_size);
        self->slot_size =
            MAX(self->slot_size, MAX(MIN_SLOT_SIZE, self->block_size));
    }
    self->slots = hm_bitmap_new(n_slots(self));
}

guint64 hostmem_virtio_mem_get_slot_size(HostmemVirtioMem *self)
{
    g_return_val_if_fail(HOSTMEM_IS_VIRTIO_MEM(self), 0);

    return hm_object_is_complete(HOSTMEM_OBJECT(self)) ? self->slot_size : 0;
}

static HmRange slot_at(const HostmemVirtioMem *self, gsize index)
{
    const guint64 offset = index * self->slot_size;
    const HmRange slot = {offset,
                          MIN(self->slot_size, self->region_size - offset)};

    return slot;
}

static gboolean slot_is_needed(HostmemVirtioMem *self, gsize index)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->state_lock);
    const HmRange slot = slot_at(self, index);

    return !hm_block_map_none_plugged(self->map, slot.offset / self->block_size,
                                      slot.length / self->block_size);
}

static gboolean map_slot(HostmemVirtioMem *self, gsize index, GError **error)
{
    const HmRange slot = slot_at(self, index);
    g_autoptr(GError) why = NULL;

    if (self->slot_func(self, slot.offset, slot.length, TRUE, self->slot_data,
                        &why)) {
        hm_bitmap_set(self->slots, index, 1);
        return TRUE;
    }
    if (!why) {
        hm_set_error(&why, HOSTMEM_ERROR_BUSY, "no reason is given");
    }
    g_propagate_prefixed_error(error, g_steal_pointer(&why),
                               "cannot map 0x%" G_GINT64_MODIFIER
                               "x bytes at offset 0x%" G_GINT64_MODIFIER "x: ",
                               slot.length, slot.offset);
    return FALSE;
}

static void unmap_slot(HostmemVirtioMem *self, gsize index)
{
    const HmRange slot = slot_at(self, index);

    hm_bitmap_clear(self->slots, index, 1);
    self->slot_func(self, slot.offset, slot.length, FALSE, self->slot_data,
                    NULL);
}

/* Unmap what is not needed of the slots of a range. */
static void trim_slots(HostmemVirtioMem *self, const HmRange *range)
{
    const gsize end = (hm_range_end(range) - 1) / self->slot_size + 1;

    for (gsize i =
             hm_bitmap_next_set(self->slots, range->offset / self->slot_size);
         i < end; i = hm_bitmap_next_set(self->slots, i + 1)) {
        if (!slot_is_needed(self, i)) {
            unmap_slot(self, i);
        }
    }
}

static gboolean map_slots(HostmemVirtioMem *self, const HmRange *range,
                          GError **error)
{
    const gsize end = (hm_range_end(range) - 1) / self->slot_size + 1;

    if (!self->slot_func) {
        return TRUE;
    }
    for (gsize i = range->offset / self->slot_size; i < end; i++) {
        if (!hm_bitmap_test(self->slots, i) && !map_slot(self, i, error)) {
            trim_slots(self, range);
            return FALSE;
        }
    }
    return TRUE;
}

/* For who comes late. */
static gboolean map_needed_slots(HostmemVirtioMem *self, GError **error)
{
    for (gsize i = 0; i < n_slots(self); i++) {
        if (slot_is_needed(self, i) && !map_slot(self, i, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static void unmap_all_slots(HostmemVirtioMem *self)
{
    for (gsize i = 0; i < n_slots(self); i++) {
        if (hm_bitmap_test(self->slots, i)) {
            unmap_slot(self, i);
        }
    }
}

static gboolean install_slot_func(HostmemVirtioMem *self,
                                  HostmemVirtioMemSlotFunc func,
                                  gpointer user_data, GError **error)
{
    if (self->slot_func) {
        return hm_set_error(error, HOSTMEM_ERROR_EXISTS,
                            "the memory slots of the device have a function "
                            "already");
    }
    self->slot_func = func;
    self->slot_data = user_data;
    if (map_needed_slots(self, error)) {
        return TRUE;
    }
    unmap_all_slots(self);
    self->slot_func = NULL;
    return FALSE;
}

static gboolean check_slots(HostmemVirtioMem *self, GError **error)
{
    return self->dynamic_memslots ||
           hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "the region of the device is mapped as a whole: "
                        "'dynamic-memslots' is off");
}

gboolean hostmem_virtio_mem_set_slot_func(HostmemVirtioMem *self,
                                          HostmemVirtioMemSlotFunc func,
                                          gpointer user_data,
                                          GDestroyNotify destroy,
                                          GError **error)
{
    gboolean ok;

    g_return_val_if_fail(HOSTMEM_IS_VIRTIO_MEM(self) && func, FALSE);
    g_return_val_if_fail(hm_object_is_complete(HOSTMEM_OBJECT(self)), FALSE);

    ok = check_slots(self, error) &&
         hm_discard_listeners_begin(&self->listeners, error);
    if (ok) {
        ok = install_slot_func(self, func, user_data, error);
        if (ok) {
            self->slot_destroy = destroy;
        }
        hm_discard_listeners_end(&self->listeners);
    }
    if (!ok && destroy) {
        destroy(user_data);
    }
    return ok;
}

/* Who is told */

gboolean hm_virtio_mem_tell_plugged(HostmemVirtioMem *self,
                                    const HmRange *range, GError **error)
{
    if (!map_slots(self, range, error)) {
        return FALSE;
    }
    if (hm_discard_listeners_populating(&self->listeners, range, error)) {
        return TRUE;
    }
    trim_slots(self, range);
    return FALSE;
}

void hm_virtio_mem_tell_unplugged(HostmemVirtioMem *self, const HmRange *range)
{
    hm_discard_listeners_discarded(&self->listeners, range);
    trim_slots(self, range);
}

static HmRangeList *list_plugged(HostmemVirtioMem *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->state_lock);
    const guint64 end = hm_block_map_size(self->map);
    HmRangeList *plugged = hm_range_list_new();
    HmBlockRun run;

    for (guint64 at = 0; hm_block_map_next(self->map, at, end, TRUE, &run);
         at = run.first + run.n) {
        const HmRange range = {run.first * self->block_size,
                               run.n * self->block_size};

        hm_range_list_add(plugged, &range);
    }
    return plugged;
}

gboolean hm_virtio_mem_with_plugged(gpointer device, HmUsedFunc func,
                                    gpointer data, GError **error)
{
    HostmemVirtioMem *self = HOSTMEM_VIRTIO_MEM(device);
    g_autoptr(HmRangeList) plugged = NULL;
    gboolean ok;

    if (!hm_discard_listeners_begin(&self->listeners, error)) {
        return FALSE;
    }
    plugged = list_plugged(self);
    ok = func(plugged, data, error);
    hm_discard_listeners_end(&self->listeners);
    return ok;
}
