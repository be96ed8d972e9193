/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/backing.h"
#include "util/range.h"

/** Memory of which parts are given back. */
typedef struct {
    guint8 *addr;
    gsize page_size;
    HmMemKind kind;
    gboolean shared;
    gboolean readonly; /* the descriptor is */
    gboolean locked;   /* in memory, as it comes */
    int fd;
    guint64 fd_offset; /* bytes; where @addr lies in @fd, or in @parts */
    const HmBackingPart *parts; /* (nullable): several files in place of @fd */
    guint n_parts;
} HmDiscardTarget;

/**
 * hm_discard_list: give ranges back with the one right primitive for their
 * mapping, in as few calls as it takes.
 * @ranges: offsets in bytes from the target's address, multiples of the page
 *     size; within it
 * @reached: (out) (optional): bytes from the target's address; the end of the
 *     last range, or where it failed
 *
 * Shared memory and anonymous memory reads as zeroes afterwards; a private
 * mapping of a file reads as the file, which is left alone.
 *
 * In ascending order.  All alignments are checked first.  After a failure what
 * lies below @reached is discarded and the ranges behind it are as before; of
 * the range that it lies in, the rest may be either.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (alignment),
 * %HOSTMEM_ERROR_UNSUPPORTED (read-only file), %HOSTMEM_ERROR_SYSTEM
 */
gboolean hm_discard_list(const HmDiscardTarget *target,
                         const HmRangeList *ranges, guint64 *reached,
                         GError **error);
