/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <sys/mman.h>
#include "util/align.h"
#include "util/discard.h"
#include "util/error.h"
#include "util/os.h"

/*
 * The one right primitive for each mapping:
 *
 *   private, anonymous or of a file   MADV_DONTNEED; the file is not ours
 *   the same, locked in memory        MADV_DONTNEED_LOCKED
 *   shared with a descriptor          PUNCH_HOLE, which unmaps as well
 *   shared without one                MADV_REMOVE
 *
 * MADV_FREE is none of them: old data may stay readable behind it.
 */

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* Linux 5.18 */
#endif

static gboolean check_alignment(const HmDiscardTarget *target, guint64 offset,
                                guint64 length, GError **error)
{
    if (hm_is_aligned(offset, target->page_size) &&
        hm_is_aligned(length, target->page_size)) {
        return TRUE;
    }
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "cannot discard %" G_GUINT64_FORMAT
                        " bytes at offset %" G_GUINT64_FORMAT
                        ": both must be multiples of the page size, "
                        "%" G_GSIZE_FORMAT " bytes",
                        length, offset, target->page_size);
}

/** Drop the pages of a private mapping.  Returns: 0 or -errno */
static int drop_private(void *addr, guint64 length)
{
    int r = hm_os_advise(addr, length, MADV_DONTNEED);

    if (r == -EINVAL) {
        r = hm_os_advise(addr, length, MADV_DONTNEED_LOCKED);
    }
    return r;
}

/** Give storage back.  Returns: 0 or -errno */
static int drop(const HmDiscardTarget *target, guint64 offset, guint64 length)
{
    if (!target->shared) {
        return drop_private(target->addr + offset, length);
    }
    if (target->fd < 0) {
        return hm_os_advise(target->addr + offset, length, MADV_REMOVE);
    }
    return hm_os_punch(target->fd, target->fd_offset + offset, length);
}

gboolean hm_discard(const HmDiscardTarget *target, guint64 offset,
                    guint64 length, GError **error)
{
    int r;

    if (!check_alignment(target, offset, length, error)) {
        return FALSE;
    }
    if (target->shared && target->readonly) {
        return hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                            "Discarding RAM with readonly files is not "
                            "supported");
    }
    if (!length) {
        return TRUE;
    }
    r = drop(target, offset, length);
    if (r == -EINVAL) {
        r = -EOPNOTSUPP; /* the range is right: the mapping cannot */
    }
    if (r < 0) {
        return hm_set_error_errno(
            error, -r,
            "cannot discard %" G_GUINT64_FORMAT
            " bytes at offset %" G_GUINT64_FORMAT " of %s",
            length, offset, hm_mem_kind_name(target->kind));
    }
    return TRUE;
}
