/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <sys/mman.h>
#include "util/align.h"
#include "util/discard.h"
#include "util/error.h"
#include "util/hostcaps.h"
#include "util/os.h"
#include "util/size.h"

/*
 * The one right primitive for each mapping:
 *
 *   private, anonymous or of a file   MADV_DONTNEED; the file is not ours
 *   the same, locked in memory        MADV_DONTNEED_LOCKED
 *   shared with descriptors           PUNCH_HOLE, which unmaps as well, and
 *                                     does not mind locks
 *   shared without one                MADV_REMOVE, which fails of locked memory
 *
 * MADV_FREE is none of them: old data may stay readable behind it.
 *
 * Many ranges of a private mapping go into one process_madvise(2) on ourselves
 * where the kernel can (6.13).  What that saves is not so much the calls as the
 * interrupts that make the other CPUs forget the pages: one for a batch, rather
 * than one for each range.
 *
 * A batch is small enough that whoever waits for mmap_lock does not wait long,
 * 10 ms for base pages, and large enough: 64 ranges of 2 MiB gain all there is.
 */
#define BATCH_BYTES  (256 * HM_MIB)
#define BATCH_RANGES 1024 /* UIO_MAXIOV */

/* How far a list has been discarded. */
typedef struct {
    const HmDiscardTarget *target;
    const HmRangeList *ranges;
    guint index;    /* of the current range */
    guint64 offset; /* in it; from the target's address */
    gboolean vectored;
} Walk;

/* one system call */

/* Whoever embeds us may have locked memory that we know nothing of; a kernel
 * without the one for locked memory has the other. */
static int first_choice(const HmDiscardTarget *target)
{
    return target->locked ? MADV_DONTNEED_LOCKED : MADV_DONTNEED;
}

static int second_choice(const HmDiscardTarget *target)
{
    return target->locked ? MADV_DONTNEED : MADV_DONTNEED_LOCKED;
}

/** Drop the pages of a private mapping.  Returns: 0 or -errno */
static int drop_private(const HmDiscardTarget *target, const HmRange *range)
{
    guint8 *addr = target->addr + range->offset;
    int r = hm_os_advise(addr, range->length, first_choice(target));

    if (r == -EINVAL) {
        r = hm_os_advise(addr, range->length, second_choice(target));
    }
    return r;
}

/** Punch holes into several files.  Returns: 0 or -errno */
static int punch_parts(const HmDiscardTarget *target, const HmRange *range)
{
    guint64 at = target->fd_offset + range->offset;
    guint64 left = range->length;
    int r = 0;

    while (left && r == 0) {
        guint64 here = left;
        guint64 offset;
        int fd = hm_backing_parts_find(target->parts, target->n_parts, at,
                                       &here, &offset);

        r = fd < 0 ? -EINVAL : hm_os_punch(fd, offset, here);
        at += here;
        left -= here;
    }
    return r;
}

/** Give storage back.  Returns: 0 or -errno */
static int drop(const HmDiscardTarget *target, const HmRange *range)
{
    if (!target->shared) {
        return drop_private(target, range);
    }
    if (target->parts) {
        return punch_parts(target, range);
    }
    if (target->fd < 0) {
        return hm_os_advise(target->addr + range->offset, range->length,
                            MADV_REMOVE);
    }
    return hm_os_punch(target->fd, target->fd_offset + range->offset,
                       range->length);
}

/** The same for private mappings.  Returns: bytes done, or -errno */
static gssize drop_vector(const HmDiscardTarget *target,
                          const struct iovec *ranges, gsize n)
{
    gssize done = hm_os_advise_vector(ranges, n, first_choice(target));

    if (done == -EINVAL) {
        done = hm_os_advise_vector(ranges, n, second_choice(target));
    }
    return done;
}

/* through a list */

static gboolean at_end(const Walk *walk)
{
    return walk->index == walk->ranges->len;
}

static void enter_range(Walk *walk, guint index)
{
    walk->index = index;
    if (!at_end(walk)) {
        walk->offset = hm_range_list_get(walk->ranges, index)->offset;
    }
}

/* What is left of the current range, or its part below a batch's boundary. */
static HmRange next_piece(const Walk *walk)
{
    const HmRange *range = hm_range_list_get(walk->ranges, walk->index);
    guint64 start = (guintptr)walk->target->addr + walk->offset;
    guint64 length = hm_range_end(range) - walk->offset;

    if (!walk->target->shared) {
        /* No page is cut in two, huge pages of a gigabyte neither. */
        guint64 most = MAX(BATCH_BYTES, walk->target->page_size);

        length = MIN(length, most - start % most);
    }
    return (HmRange){walk->offset, length};
}

static void step_over(Walk *walk, guint64 bytes)
{
    while (bytes) {
        const HmRange *range = hm_range_list_get(walk->ranges, walk->index);
        guint64 here = MIN(bytes, hm_range_end(range) - walk->offset);

        bytes -= here;
        walk->offset += here;
        if (walk->offset == hm_range_end(range)) {
            enter_range(walk, walk->index + 1);
        }
    }
}

/* Pieces that fit one batch; returns how many. */
static gsize fill_batch(const Walk *walk, struct iovec *batch)
{
    Walk ahead = *walk;
    guint64 left = BATCH_BYTES;
    gsize n = 0;

    while (n < BATCH_RANGES && !at_end(&ahead)) {
        HmRange piece = next_piece(&ahead);

        if (piece.length > left) {
            break;
        }
        batch[n++] =
            (struct iovec){walk->target->addr + piece.offset, piece.length};
        left -= piece.length;
        step_over(&ahead, piece.length);
    }
    return n;
}

/** Returns: whether it got further; if not, a single call does, or says why */
static gboolean drop_batch(Walk *walk)
{
    struct iovec batch[BATCH_RANGES];
    gsize n = fill_batch(walk, batch);
    gssize done;

    if (n < 2) {
        return FALSE;
    }
    done = drop_vector(walk->target, batch, n);
    if (done <= 0) {
        walk->vectored = FALSE;
        return FALSE;
    }
    step_over(walk, (guint64)done);
    return TRUE;
}

static int drop_piece(Walk *walk)
{
    HmRange piece = next_piece(walk);
    int r = drop(walk->target, &piece);

    if (r == 0) {
        step_over(walk, piece.length);
    }
    return r;
}

/** Returns: 0, or the -errno of where the walk has stopped */
static int drop_all(Walk *walk)
{
    int r = 0;

    while (r == 0 && !at_end(walk)) {
        if (!walk->vectored || !drop_batch(walk)) {
            r = drop_piece(walk);
        }
    }
    return r;
}

/* the door */

static gboolean check_alignment(const HmDiscardTarget *target,
                                const HmRange *range, GError **error)
{
    if (hm_is_aligned(range->offset | range->length, target->page_size)) {
        return TRUE;
    }
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "cannot discard %" G_GUINT64_FORMAT
                        " bytes at offset %" G_GUINT64_FORMAT
                        ": both must be multiples of the page size, "
                        "%" G_GSIZE_FORMAT " bytes",
                        range->length, range->offset, target->page_size);
}

static gboolean check_all(const HmDiscardTarget *target,
                          const HmRangeList *ranges, GError **error)
{
    for (guint i = 0; i < ranges->len; i++) {
        if (!check_alignment(target, hm_range_list_get(ranges, i), error)) {
            return FALSE;
        }
    }
    if (target->shared && target->readonly) {
        return hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                            "Discarding RAM with readonly files is not "
                            "supported");
    }
    return TRUE;
}

/* What this kernel lacks, for behind the message. */
static const char *missing_of(const HmDiscardTarget *target)
{
    return target->locked &&
                   hm_os_advise(target->addr, 0, MADV_DONTNEED_LOCKED) < 0
               ? ", which is locked: that needs MADV_DONTNEED_LOCKED "
                 "(Linux 5.18)"
               : "";
}

static gboolean set_error(const Walk *walk, int err, GError **error)
{
    HmRange piece = next_piece(walk);

    if (err == EINVAL) {
        err = EOPNOTSUPP; /* the range is right: the mapping cannot */
    }
    return hm_set_error_errno(error, err,
                              "cannot discard %" G_GUINT64_FORMAT
                              " bytes at offset %" G_GUINT64_FORMAT " of %s%s",
                              piece.length, piece.offset,
                              hm_mem_kind_name(walk->target->kind),
                              missing_of(walk->target));
}

gboolean hm_discard_list(const HmDiscardTarget *target,
                         const HmRangeList *ranges, guint64 *reached,
                         GError **error)
{
    Walk walk = {
        .target = target,
        .ranges = ranges,
        .vectored = !target->shared && ranges->len > 1 &&
                    hm_hostcaps_get()->self_madvise,
    };
    int r;

    enter_range(&walk, 0);
    if (reached) {
        *reached = walk.offset;
    }
    if (!check_all(target, ranges, error)) {
        return FALSE;
    }
    r = drop_all(&walk);
    if (reached) {
        *reached = walk.offset;
    }
    return r == 0 || set_error(&walk, -r, error);
}
