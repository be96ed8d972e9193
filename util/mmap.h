/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/backing.h"

/** Memory mapped into this process, with a guard page behind it. */
typedef struct {
    guint8 *addr;   /* NULL when nothing is mapped */
    gsize length;   /* bytes */
    void *reserved; /* address space taken, room and guard page included */
    gsize reserved_length;
} HmMapping;

typedef struct {
    const char *name;   /* (nullable): of the object; for messages */
    gsize align;        /* bytes, power of two; 0: a good one */
    guint64 room;       /* bytes of address space for the memory, should it
                         * become more; less than its length: that */
    gboolean readonly;  /* PROT_READ */
    gboolean noreserve; /* MAP_NORESERVE */
    gboolean sync;      /* MAP_SYNC, for persistent memory */
} HmMappingOptions;

/**
 * hm_mapping_init: map a backing.
 *
 * Where the alignment asked for leaves a choice, address and file offset agree
 * modulo the size of a transparent huge page.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_NO_MEMORY, %HOSTMEM_ERROR_NO_HUGE_PAGES,
 * %HOSTMEM_ERROR_LIMIT (RLIMIT_AS, RLIMIT_DATA, overcommit),
 * %HOSTMEM_ERROR_UNSUPPORTED (the filesystem cannot be mapped, or not with
 * sync), %HOSTMEM_ERROR_PERMISSION, %HOSTMEM_ERROR_SYSTEM; nothing stays mapped
 */
gboolean hm_mapping_init(HmMapping *self, const HmBacking *backing,
                         const HmMappingOptions *options, GError **error);
/** Unmap; safe on what was never mapped. */
void hm_mapping_clear(HmMapping *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(HmMapping, hm_mapping_clear)

/* mmap-resize.c, mmap-move.c: nothing of a backing with parts is resized. */

/** Bytes that the memory may come to where it is. */
gsize hm_mapping_room(const HmMapping *self);
/**
 * hm_mapping_grow: map what a backing has more than is mapped, behind it.
 * @backing: of its new length, for which there is room
 *
 * What was set of the mapping, as by madvise(2), does not hold for the new
 * part.
 *
 * Returns: FALSE as hm_mapping_init(), and nothing has changed
 */
gboolean hm_mapping_grow(HmMapping *self, const HmBacking *backing,
                         const HmMappingOptions *options, GError **error);
/**
 * hm_mapping_shrink: unmap all but the first @length bytes; their address space
 * stays reserved.
 *
 * Returns: FALSE with the error of mmap(2), and nothing has changed
 */
gboolean hm_mapping_shrink(HmMapping *self, gsize length, GError **error);
/** The same for the way back from a failure: it cannot fail. */
void hm_mapping_undo_grow(HmMapping *self, gsize length);
/**
 * hm_mapping_move: map a backing at another address, where there is room.
 * @backing: of its new length, which is more than is mapped
 * @before: (out): the place that it had, to be given to hm_mapping_move_back(),
 *     or to be cleared
 * @fresh: (out): bytes; from there on nothing is set of the mapping, as by
 *     madvise(2).  The new length: what was set holds for the new part as well
 *
 * Pages stay, and what was set of parts of it.  Huge pages of a pool that are
 * shared are mapped anew, all of them, before Linux 5.17.
 *
 * Returns: FALSE as hm_mapping_init(), with %HOSTMEM_ERROR_LIMIT also for
 * RLIMIT_MEMLOCK and with %HOSTMEM_ERROR_UNSUPPORTED also for what the kernel
 * cannot move; nothing has changed then
 */
gboolean hm_mapping_move(HmMapping *self, const HmBacking *backing,
                         const HmMappingOptions *options, HmMapping *before,
                         gsize *fresh, GError **error);
/**
 * hm_mapping_move_back: undo hm_mapping_move(): the length, and the place where
 * that is still free.
 * @before: cleared
 *
 * Returns: FALSE: it stays at the new place, of the length that it had
 */
gboolean hm_mapping_move_back(HmMapping *self, HmMapping *before, gsize length);
