/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <sys/mman.h>
#include "util/align.h"
#include "util/error.h"
#include "util/os.h"
#include "util/prealloc-steps.h"
#include "util/sigbus.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22 /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

/* EAGAIN is promised to pass, but not when. */
#define MAX_ATTEMPTS 100

/* populate */

static int advise(void *addr, gsize length, int advice)
{
    int r;

    for (guint i = 0; i < MAX_ATTEMPTS; i++) {
        r = hm_os_advise(addr, length, advice);
        if (r != -EINTR && r != -EAGAIN) {
            break;
        }
    }
    return r;
}

/**
 * The first page of the range without an entry in the page tables.
 *
 * The kernel populates in ascending order, so this is where it gave up.
 */
static guint64 first_missing(const HmPreallocRegion *region, guint64 offset,
                             guint64 length)
{
    g_autoptr(HmRangeList) ranges = hm_range_list_new();
    const HmRange *first;

    hm_os_populated_ranges(region->addr + offset, length, ranges);
    if (!ranges->len) {
        return offset;
    }
    first = hm_range_list_get(ranges, 0);
    if (first->offset || first->length >= length) {
        return offset;
    }
    return offset + hm_align_down(first->length, region->page_size);
}

static int populate(const HmPreallocRegion *region, int advice, guint64 offset,
                    guint64 length, guint64 *failed_at)
{
    int r = advise(region->addr + offset, length, advice);

    if (r < 0) {
        *failed_at = first_missing(region, offset, length);
    }
    return r;
}

/**
 * One page in each huge page that lies wholly within the range.
 *
 * By a fault, although a page that fallocate makes would do for MADV_COLLAPSE:
 * on a tmpfs with huge pages the page may be a huge one that fallocate made and
 * did not clear, and Linux (6.18) maps that as it is, with what was in it.  A
 * fault clears it.
 */
static int seed(const HmPreallocRegion *region, guint64 offset, guint64 length,
                guint64 *failed_at)
{
    gsize huge_size = region->plan->huge_size;
    guint64 start = (guintptr)region->addr + offset;
    guint64 end = hm_align_down(start + length, huge_size);
    guint64 at;

    if (!hm_align_up(start, huge_size, &at)) {
        return 0;
    }
    for (; at < end; at += huge_size) {
        guint64 place = offset + (at - start);
        int r = populate(region, MADV_POPULATE_WRITE, place, region->page_size,
                         failed_at);

        if (r < 0) {
            return r;
        }
    }
    return 0;
}

/** Whether the file ends before the region does; how long it is. */
static gboolean file_shrank(const HmPreallocRegion *region, guint64 failed_at,
                            guint64 *found, guint64 *expected)
{
    guint64 length = region->length;
    guint64 start = region->fd_offset;
    int fd = region->fd;
    struct stat st;

    if (region->parts) {
        length -= failed_at;
        fd = hm_backing_parts_find(region->parts, region->n_parts,
                                   start + failed_at, &length, &start);
    }
    if (fd < 0 || hm_os_stat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        return FALSE;
    }
    *found = (guint64)st.st_size;
    *expected = start + length;
    return *found < *expected;
}

/** What lies in one file.  Returns: 0 or -errno; *@length is what it took */
static int allocate_in_file(const HmPreallocRegion *region, guint64 offset,
                            guint64 *length)
{
    guint64 at = region->fd_offset + offset;
    int fd = region->fd;
    int r;

    if (region->parts) {
        fd = hm_backing_parts_find(region->parts, region->n_parts, at, length,
                                   &at);
    }
    if (fd < 0) {
        return -EOPNOTSUPP;
    }
    r = hm_os_allocate(fd, at, *length);
    return r == -ENOSYS || r == -ENODEV ? -EOPNOTSUPP : r;
}

/* A file that somebody has truncated would be made longer, and be empty. */
static int allocate(const HmPreallocRegion *region, guint64 offset,
                    guint64 length, guint64 *failed_at)
{
    guint64 found, expected;
    int r = 0;

    *failed_at = offset;
    while (length && r == 0) {
        guint64 here = length;

        r = file_shrank(region, *failed_at, &found, &expected)
                ? -EFAULT
                : allocate_in_file(region, *failed_at, &here);
        if (r == 0) {
            *failed_at += here;
            length -= here;
        }
    }
    return r;
}

/* touch */

typedef struct {
    guint8 *start;
    guint8 *end;
    gsize page_size;
    /* 0; volatile, because a compiler may turn an OR with a known 0 into no
     * write at all. */
    volatile guint8 nothing;
} Touch;

static void touch_read(gpointer data)
{
    Touch *touch = data;

    for (guint8 *at = touch->start; at < touch->end; at += touch->page_size) {
        __atomic_load_n((volatile guint8 *)at, __ATOMIC_RELAXED);
    }
}

/** Write each page without losing what somebody else writes just now. */
static void touch_write(gpointer data)
{
    Touch *touch = data;

    for (guint8 *at = touch->start; at < touch->end; at += touch->page_size) {
        __atomic_fetch_or(at, touch->nothing, __ATOMIC_RELAXED);
    }
}

static int touch(const HmPreallocRegion *region, void (*func)(gpointer data),
                 guint64 offset, guint64 length, guint64 *failed_at)
{
    guint8 *start = region->addr + offset;
    Touch job = {
        .start = start,
        .end = start + length,
        .page_size = region->page_size,
    };
    void *fault = start;
    int r = hm_sigbus_run(func, &job, start, length, &fault);

    if (r < 0) {
        *failed_at = hm_align_down((guint64)((guint8 *)fault - region->addr),
                                   region->page_size);
    }
    return r;
}

int hm_prealloc_step(const HmPreallocRegion *region, HmPreallocStep step,
                     guint64 offset, guint64 length, guint64 *failed_at)
{
    guint8 *addr = region->addr + offset;

    switch (step) {
    case HM_STEP_ADVISE_HUGE:
        hm_os_advise(addr, length, MADV_HUGEPAGE);
        return 0;
    case HM_STEP_COLLAPSE:
        hm_os_advise(addr, length, MADV_COLLAPSE);
        return 0;
    case HM_STEP_ALLOCATE:
        return allocate(region, offset, length, failed_at);
    case HM_STEP_SEED_HUGE:
        return seed(region, offset, length, failed_at);
    case HM_STEP_POPULATE_READ:
        return populate(region, MADV_POPULATE_READ, offset, length, failed_at);
    case HM_STEP_POPULATE_WRITE:
        return populate(region, MADV_POPULATE_WRITE, offset, length, failed_at);
    case HM_STEP_TOUCH_READ:
        return touch(region, touch_read, offset, length, failed_at);
    case HM_STEP_TOUCH_WRITE:
        return touch(region, touch_write, offset, length, failed_at);
    }
    g_assert_not_reached();
}

/* what went wrong */

/** What it means that a touch would give SIGBUS. */
static HostmemError code_of_fault(HmMemKind kind)
{
    switch (kind) {
    case HM_MEM_SHMEM:
        return HOSTMEM_ERROR_NO_SPACE;
    case HM_MEM_HUGETLB:
        return HOSTMEM_ERROR_NO_HUGE_PAGES;
    default:
        return HOSTMEM_ERROR_SYSTEM;
    }
}

static gboolean set_error_at(const HmPreallocRegion *region,
                             const HmPreallocFailure *failure,
                             HostmemError code, const char *what,
                             GError **error)
{
    return hm_set_error(error, code,
                        "preallocating memory failed: %s at offset "
                        "%" G_GUINT64_FORMAT " of %" G_GSIZE_FORMAT
                        " bytes (%s)",
                        what, failure->offset, region->length,
                        hm_prealloc_step_name(failure->step));
}

gboolean hm_prealloc_set_error(const HmPreallocRegion *region,
                               const HmPreallocFailure *failure, GError **error)
{
    guint64 found, expected;

    if (failure->err == EFAULT &&
        file_shrank(region, failure->offset, &found, &expected)) {
        return hm_set_error(error, HOSTMEM_ERROR_CHANGED,
                            "preallocating memory failed: the file was "
                            "truncated: it has %" G_GUINT64_FORMAT
                            " bytes now, %" G_GUINT64_FORMAT " are expected",
                            found, expected);
    }
    if (failure->err == EHWPOISON) {
        return set_error_at(region, failure, HOSTMEM_ERROR_CHANGED,
                            "poisoned page", error);
    }
    if (failure->err == EFAULT) {
        return set_error_at(region, failure, code_of_fault(region->kind),
                            "no page could be had", error);
    }
    return set_error_at(region, failure, hm_error_from_errno(failure->err),
                        g_strerror(failure->err), error);
}
