/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * A device that is made again has the address, the blocks and the request that
 * it had.  A plug that the end of the process has interrupted was never
 * answered: its memory is given back with all else that is not plugged.  What
 * was counted, and how long a resize took, begins anew.
 */
#include "backends/hostmem.h"
#include "backends/virtio/virtio-mem.h"
#include "util/align.h"
#include "util/error.h"

void hm_virtio_mem_save(HostmemObject *object, HmSaved *saved)
{
    HostmemVirtioMem *self = HOSTMEM_VIRTIO_MEM(object);
    json_t *options = hm_saved_get_options(saved);
    json_t *state = hm_saved_get_state(saved);
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->state_lock);
    g_autofree char *plugged = hm_block_map_to_text(self->map);

    json_object_set_new(options, "memaddr",
                        json_integer((json_int_t)self->memaddr));
    json_object_set_new(options, "block-size",
                        json_integer((json_int_t)self->block_size));
    json_object_set_new(options, "requested-size",
                        json_integer((json_int_t)self->requested));
    json_object_set_new(state, "region-size",
                        json_integer((json_int_t)self->region_size));
    json_object_set_new(state, "usable",
                        json_integer((json_int_t)self->usable));
    json_object_set_new(state, "plugged", json_string(plugged));
}

static gboolean refuse(GError **error, const char *what)
{
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "its saved state names %s that the region does not "
                        "have",
                        what);
}

/* The last block that is plugged must be usable. */
static gboolean take_usable(HostmemVirtioMem *self, guint64 usable)
{
    const guint64 end = self->region_size / self->block_size;
    HmBlockRun behind;

    if (!hm_is_aligned(usable, self->block_size) ||
        usable > self->region_size ||
        hm_block_map_next(self->map, usable / self->block_size, end, TRUE,
                          &behind)) {
        return FALSE;
    }
    self->usable = MAX(self->usable, usable);
    return TRUE;
}

static gboolean take_state(HostmemVirtioMem *self, const char *plugged,
                           guint64 usable, GError **error)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->state_lock);

    if (!hm_block_map_plug_text(self->map, plugged)) {
        return refuse(error, "blocks");
    }
    if (!take_usable(self, usable)) {
        return refuse(error, "a usable size");
    }
    hm_virtio_mem_begin_resize(self);
    self->pending = 0; /* nobody listens yet */
    return TRUE;
}

/* (transfer full) (element-type HostmemRange) */
static GArray *find_unplugged(HostmemVirtioMem *self)
{
    const guint64 end = hm_block_map_size(self->map);
    GArray *ranges = g_array_new(FALSE, FALSE, sizeof(HostmemRange));
    HmBlockRun run;

    for (guint64 from = 0; hm_block_map_next(self->map, from, end, FALSE, &run);
         from = run.first + run.n) {
        const HostmemRange range = {run.first * self->block_size,
                                    run.n * self->block_size};

        g_array_append_val(ranges, range);
    }
    return ranges;
}

gboolean hm_virtio_mem_restore(HostmemVirtioMem *self, GError **error)
{
    HmSaved *saved = hm_object_get_saved(HOSTMEM_OBJECT(self));
    g_autoptr(GArray) unplugged = NULL;
    const char *plugged = "";
    guint64 usable = 0;

    if (!hm_saved_read_text(saved, "plugged", &plugged, error) ||
        !hm_saved_read_size(saved, "usable", &usable, error) ||
        !take_state(self, plugged, usable, error)) {
        return FALSE;
    }
    unplugged = find_unplugged(self);
    return !unplugged->len ||
           hostmem_backend_discard_ranges(hm_virtio_mem_backend(self),
                                          (const HostmemRange *)unplugged->data,
                                          unplugged->len, NULL, error);
}
