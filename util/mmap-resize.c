/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * A mapping grows into the address space that is reserved behind it, and when
 * it shrinks its place becomes a reservation again; so it stays where it is,
 * and nobody else can come to lie where it will grow.
 *
 * Where there is no room it has to move.  A new place is reserved, and
 * mremap(2) takes the pages there, and with them all that holds of the mapping:
 * policy, advice, locks.  That works for a single mapping.  Huge pages of a
 * pool cannot grow that way; those that are shared are mapped once more at the
 * new place.
 *
 * The place that was left is reserved at once, to be able to go back.  Another
 * thread that maps something there in between is very fast, but possible.
 */
#include <errno.h>
#include <sys/mman.h>
#include "util/error.h"
#include "util/mmap-private.h"
#include "util/os.h"

#define NO_ACCESS (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

gsize hm_mapping_room(const HmMapping *self)
{
    return self->reserved_length - hm_os_page_size();
}

/* Returns: whether nothing was there */
static gboolean reserve_again(void *start, gsize length)
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

/* What @backing has behind @length bytes. */
static HmBacking rest_of(const HmBacking *backing, gsize length)
{
    HmBacking rest = *backing;

    rest.offset += length;
    rest.length -= length;
    return rest;
}

gboolean hm_mapping_grow(HmMapping *self, const HmBacking *backing,
                         const HmMappingOptions *options, GError **error)
{
    const HmBacking rest = rest_of(backing, self->length);
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
        reserve_again(start, (gsize)rest.length);
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

/* to another place */

static gboolean move_failed(const HmBacking *backing, int err, GError **error)
{
    if (backing->kind == HM_MEM_HUGETLB) {
        return hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                            "cannot move the memory: private huge pages of a "
                            "pool cannot grow that way");
    }
    if (err == EFAULT) {
        return hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                            "cannot move the memory: parts of it were given "
                            "properties of their own");
    }
    if (err == EAGAIN) {
        return hm_set_error(error, HOSTMEM_ERROR_LIMIT,
                            "cannot move the memory: it is locked, and would "
                            "exceed RLIMIT_MEMLOCK");
    }
    return hm_set_error_errno(error, err, "cannot move the memory");
}

/* Take the pages to @made, and keep the place that is left, as far as it can be
 * kept. */
static gboolean take_pages(const HmMapping *self, const HmBacking *backing,
                           const HmMapping *made, HmMapping *before,
                           GError **error)
{
    HmMapping left = {.reserved = self->reserved,
                      .reserved_length = self->reserved_length};
    int ret = hm_os_move(self->addr, self->length, made->reserved,
                         (gsize)backing->length);

    if (ret < 0) {
        reserve_again(made->reserved, (gsize)backing->length);
        return move_failed(backing, -ret, error);
    }
    if (!reserve_again(self->addr, self->length)) {
        hm_os_unmap(self->addr + self->length,
                    self->reserved_length - self->length);
        left = (HmMapping){0};
    }
    *before = left;
    return TRUE;
}

static gboolean map_again(const HmMapping *self, const HmBacking *backing,
                          const HmMappingOptions *options,
                          const HmMapping *made, HmMapping *before,
                          GError **error)
{
    if (!backing->shared) {
        return move_failed(backing, EFAULT, error);
    }
    if (!hm_mapping_activate(made->reserved, backing, options, error)) {
        return FALSE;
    }
    *before = *self;
    return TRUE;
}

gboolean hm_mapping_move(HmMapping *self, const HmBacking *backing,
                         const HmMappingOptions *options, HmMapping *before,
                         GError **error)
{
    const HmBacking rest = rest_of(backing, self->length);
    g_auto(HmMapping) made = {0};
    gboolean ok;

    g_return_val_if_fail(!backing->parts, FALSE);
    g_return_val_if_fail(backing->length > self->length, FALSE);

    if (!hm_mapping_check(&rest, options, error) ||
        !hm_mapping_reserve(&made, backing, options, error)) {
        return FALSE;
    }
    ok = backing->kind == HM_MEM_HUGETLB
             ? map_again(self, backing, options, &made, before, error)
             : take_pages(self, backing, &made, before, error);
    if (!ok) {
        return FALSE;
    }
    made.addr = made.reserved;
    made.length = (gsize)backing->length;
    *self = made;
    made = (HmMapping){0};
    return TRUE;
}

/* Returns: whether they are in @place again; a gap is left behind then, which
 * is anybody's */
static gboolean return_pages(HmMapping *self, HmMapping *place, gsize length)
{
    if (!place->reserved) {
        return FALSE;
    }
    if (hm_os_move(self->addr, length, place->reserved, length) < 0) {
        reserve_again(place->reserved, length);
        hm_mapping_clear(place);
        return FALSE;
    }
    place->addr = place->reserved;
    place->length = length;
    self->reserved = self->addr + length;
    self->reserved_length -= length;
    return TRUE;
}

gboolean hm_mapping_move_back(HmMapping *self, HmMapping *before, gsize length)
{
    HmMapping place = *before;

    *before = (HmMapping){0};
    if (!place.addr && !return_pages(self, &place, length)) {
        hm_mapping_undo_grow(self, length);
        return FALSE;
    }
    hm_mapping_clear(self);
    *self = place;
    return TRUE;
}
