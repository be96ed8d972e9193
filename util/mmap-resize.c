/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * A mapping grows into the address space that is reserved behind it, and when
 * it shrinks its place becomes a reservation again; so it stays where it is,
 * and nobody else can come to lie where it will grow.
 *
 * Where there is no room it has to move: see mmap-move.c.
 */
#include <sys/mman.h>
#include "util/error.h"
#include "util/mmap-private.h"
#include "util/os.h"

#define NO_ACCESS (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

gsize hm_mapping_room(const HmMapping *self)
{
    return self->reserved_length - hm_os_page_size();
}

gboolean hm_mapping_reserve_again(void *start, gsize length)
{
    void *addr;

    if (hm_os_map(start, length, PROT_NONE, NO_ACCESS | MAP_FIXED_NOREPLACE, -1,
                  0, &addr) < 0) {
        return FALSE;
    }
    if (addr == start) {
        return TRUE;
    }
    hm_os_unmap(addr, length); /* before Linux 4.17 it was but a hint */
    return FALSE;
}

/* in place */

HmBacking hm_mapping_rest_of(const HmBacking *backing, gsize length)
{
    HmBacking rest = *backing;

    rest.offset += length;
    rest.length -= length;
    return rest;
}

gboolean hm_mapping_grow(HmMapping *self, const HmBacking *backing,
                         const HmMappingOptions *options, GError **error)
{
    const HmBacking rest = hm_mapping_rest_of(backing, self->length);
    guint8 *start = self->addr + self->length;

    g_return_val_if_fail(!backing->parts, FALSE);
    g_return_val_if_fail(backing->length > self->length &&
                             backing->length <= hm_mapping_room(self),
                         FALSE);
    if (!hm_mapping_check(&rest, options, error)) {
        return FALSE;
    }
    if (!hm_mapping_activate(start, &rest, options, error)) {
        /* Before Linux 6.12 the reservation may be gone. */
        hm_mapping_reserve_again(start, (gsize)rest.length);
        return FALSE;
    }
    self->length = (gsize)backing->length;
    return TRUE;
}

gboolean hm_mapping_shrink(HmMapping *self, gsize length, GError **error)
{
    const gsize rest = self->length - length;
    void *addr;
    int ret;

    g_return_val_if_fail(length && length < self->length, FALSE);

    ret = hm_os_map(self->addr + length, rest, PROT_NONE, NO_ACCESS | MAP_FIXED,
                    -1, 0, &addr);
    if (ret < 0) {
        return hm_set_error_errno(error, -ret,
                                  "cannot unmap 0x%zx bytes at offset 0x%zx",
                                  rest, length);
    }
    self->length = length;
    return TRUE;
}

void hm_mapping_undo_grow(HmMapping *self, gsize length)
{
    /* What stays mapped is replaced when it grows once more. */
    if (self->length > length && !hm_mapping_shrink(self, length, NULL)) {
        self->length = length;
    }
}
