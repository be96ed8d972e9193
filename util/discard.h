/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/backing.h"

/** Memory of which parts are given back. */
typedef struct {
    guint8 *addr;
    gsize page_size;
    HmMemKind kind;
    gboolean shared;
    gboolean readonly; /* the descriptor is */
    int fd;
    guint64 fd_offset; /* bytes; where @addr lies in @fd */
} HmDiscardTarget;

/**
 * hm_discard: give a range back with the one right primitive for its mapping.
 * @offset: bytes from @addr, multiple of the page size
 * @length: bytes, multiple of the page size
 *
 * Shared memory and anonymous memory reads as zeroes afterwards; a private
 * mapping of a file reads as the file, which is left alone.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (alignment),
 * %HOSTMEM_ERROR_UNSUPPORTED (read-only file), %HOSTMEM_ERROR_SYSTEM
 */
gboolean hm_discard(const HmDiscardTarget *target, guint64 offset,
                    guint64 length, GError **error);
