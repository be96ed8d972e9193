/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the page tables say of memory, and what is locked in it.
 */
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "util/align.h"
#include "util/autofd.h"
#include "util/os-private.h"
#include "util/os.h"

#define SCAN_BATCH 256

/* Pages one behind the other that are in the same categories. */
typedef void (*FoundFunc)(guint64 start, guint64 end, guint64 categories,
                          gpointer data);

/* The page tables */

/* Pages that are in any of the categories @wanted, told with those of @told.
 * Linux 6.7.  The kernel fills the vector; zeroed first, because memory
 * checkers do not know. */
static int scan_pages(int pagemap, guint64 start, guint64 end, guint64 wanted,
                      guint64 told, FoundFunc func, gpointer data)
{
    struct page_region found[SCAN_BATCH] = {0};
    struct pm_scan_arg arg = {
        .size = sizeof(arg),
        .start = start,
        .end = end,
        .vec = (guintptr)found,
        .vec_len = SCAN_BATCH,
        .category_anyof_mask = wanted,
        .return_mask = told,
    };

    while (arg.start < end) {
        int n = result(TEMP_FAILURE_RETRY(ioctl(pagemap, PAGEMAP_SCAN, &arg)));

        if (n < 0) {
            return n;
        }
        for (int i = 0; i < n; i++) {
            func(found[i].start, found[i].end, found[i].categories, data);
        }
        if (arg.walk_end <= arg.start) {
            return -EIO;
        }
        arg.start = arg.walk_end;
    }
    return 0;
}

#define PAGEMAP_PRESENT (G_GUINT64_CONSTANT(1) << 63)
#define PAGEMAP_SWAPPED (G_GUINT64_CONSTANT(1) << 62)

static guint64 categories_of(guint64 entry)
{
    return (entry & PAGEMAP_PRESENT ? PAGE_IS_PRESENT : 0) |
           (entry & PAGEMAP_SWAPPED ? PAGE_IS_SWAPPED : 0);
}

/* An entry of pagemap, eight bytes a page; 0 for none. */
typedef void (*EntryFunc)(guint64 at, guint64 entry, gpointer data);

static int read_entries(int pagemap, guint64 start, guint64 end, EntryFunc func,
                        gpointer data)
{
    gsize page = hm_os_page_size();
    guint64 entries[SCAN_BATCH];
    guint64 at = start;

    while (at < end) {
        gsize want = MIN(SCAN_BATCH, (end - at) / page) * sizeof(*entries);
        off_t offset = (off_t)(at / page * sizeof(*entries));
        gssize got = TEMP_FAILURE_RETRY(pread(pagemap, entries, want, offset));

        if (got <= 0) {
            return got < 0 ? failure() : -EIO;
        }
        for (gsize i = 0; i < (gsize)got / sizeof(*entries); i++) {
            func(at, entries[i], data);
            at += page;
        }
    }
    return 0;
}

typedef struct {
    FoundFunc func;
    gpointer data;
} Finding;

/* An EntryFunc. */
static void find_entry(guint64 at, guint64 entry, gpointer data)
{
    const Finding *finding = data;
    const guint64 categories = categories_of(entry);

    if (categories) {
        finding->func(at, at + hm_os_page_size(), categories, finding->data);
    }
}

/* Any kernel, and tells less. */
static int read_pagemap(int pagemap, guint64 start, guint64 end, FoundFunc func,
                        gpointer data)
{
    Finding finding = {func, data};

    return read_entries(pagemap, start, end, find_entry, &finding);
}

/* The range in whole pages; FALSE: there is no such range. */
static gboolean page_range(void *addr, gsize length, guint64 *start,
                           guint64 *end)
{
    *start = (guintptr)addr;
    return hm_align_up(length, hm_os_page_size(), end) &&
           g_uint64_checked_add(end, *end, *start);
}

/* Returns: a descriptor, and the range in whole pages; or -errno */
static int open_pagemap(void *addr, gsize length, guint64 *start, guint64 *end)
{
    return page_range(addr, length, start, end)
               ? hm_os_open("/proc/self/pagemap", O_RDONLY, 0)
               : -EINVAL;
}

/* Pages with an entry in the page tables, and as much of @told of each as the
 * kernel tells. */
static int find_populated(void *addr, gsize length, guint64 told,
                          FoundFunc func, gpointer data)
{
    guint64 start, end;
    hm_autofd int pagemap = open_pagemap(addr, length, &start, &end);
    int ret;

    if (pagemap < 0) {
        return pagemap;
    }
    ret = scan_pages(pagemap, start, end, PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
                     told, func, data);
    if (ret == -ENOTTY) {
        ret = read_pagemap(pagemap, start, end, func, data);
    }
    return ret;
}

/* as ranges */

typedef struct {
    guint64 base;
    HmRangeList *ranges;
} Listing;

/* A FoundFunc. */
static void add_range(guint64 start, guint64 end,
                      guint64 categories G_GNUC_UNUSED, gpointer data)
{
    Listing *listing = data;
    HmRange range;

    if (hm_range_init(&range, start - listing->base, end - start)) {
        hm_range_list_add(listing->ranges, &range);
    }
}

int hm_os_populated_ranges(void *addr, gsize length, HmRangeList *ranges)
{
    Listing listing = {(guintptr)addr, ranges};

    return find_populated(addr, length, PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
                          add_range, &listing);
}

int hm_os_huge_ranges(void *addr, gsize length, HmRangeList *ranges)
{
    Listing listing = {(guintptr)addr, ranges};
    guint64 start, end;
    hm_autofd int pagemap = open_pagemap(addr, length, &start, &end);
    int ret;

    if (pagemap < 0) {
        return pagemap;
    }
    ret = scan_pages(pagemap, start, end, PAGE_IS_HUGE, PAGE_IS_HUGE, add_range,
                     &listing);
    return ret == -ENOTTY ? -EOPNOTSUPP : ret;
}

/* without marks */

/* Where a swapped page lies; of a mark, what it is.  0 for who is not to know.
 */
#define PAGEMAP_FRAME ((G_GUINT64_CONSTANT(1) << 55) - 1)

/* An EntryFunc. */
static void note_entry(guint64 at G_GNUC_UNUSED, guint64 entry, gpointer data)
{
    *(guint64 *)data = entry;
}

int hm_os_mark_at(void *addr, guint64 *mark)
{
    hm_autofd int pagemap = hm_os_open("/proc/self/pagemap", O_RDONLY, 0);
    const guint64 start = (guintptr)addr;
    guint64 entry = 0;
    int ret;

    if (pagemap < 0) {
        return pagemap;
    }
    ret = read_entries(pagemap, start, start + hm_os_page_size(), note_entry,
                       &entry);
    *mark = entry & PAGEMAP_FRAME;
    if (ret < 0) {
        return ret;
    }
    return (entry & PAGEMAP_SWAPPED) && *mark ? 0 : -EPERM;
}

typedef struct {
    Listing listing;
    guint64 mark;
    gboolean told; /* what swapped pages are */
} Keeping;

/* An EntryFunc. */
static void keep_entry(guint64 at, guint64 entry, gpointer data)
{
    Keeping *keeping = data;
    const guint64 frame = entry & PAGEMAP_FRAME;

    if (entry & PAGEMAP_SWAPPED && !(entry & PAGEMAP_PRESENT)) {
        keeping->told &= frame != 0;
        if (frame == keeping->mark) {
            return;
        }
    }
    if (categories_of(entry)) {
        add_range(at, at + hm_os_page_size(), 0, &keeping->listing);
    }
}

int hm_os_kept_ranges(void *addr, gsize length, guint64 mark,
                      HmRangeList *ranges)
{
    Keeping keeping = {{(guintptr)addr, ranges}, mark, TRUE};
    guint64 start, end;
    hm_autofd int pagemap = open_pagemap(addr, length, &start, &end);
    int ret;

    if (pagemap < 0) {
        return pagemap;
    }
    ret = read_entries(pagemap, start, end, keep_entry, &keeping);
    return ret < 0 || keeping.told ? ret : -EPERM;
}

gint64 hm_os_huge(void *addr, gsize length)
{
    g_autoptr(GArray) ranges = hm_range_list_new();
    int ret = hm_os_huge_ranges(addr, length, ranges);

    return ret < 0 ? ret : (gint64)hm_range_list_total(ranges);
}

/* as numbers */

/* A FoundFunc. */
static void count_pages(guint64 start, guint64 end, guint64 categories,
                        gpointer data)
{
    HmPageCounts *counts = data;
    guint64 bytes = end - start;

    counts->populated += bytes;
    if ((categories & PAGE_IS_PRESENT) && !(categories & PAGE_IS_PFNZERO)) {
        counts->resident += bytes;
    }
    if (categories & PAGE_IS_HUGE) {
        counts->huge += bytes;
    }
}

int hm_os_count_pages(void *addr, gsize length, HmPageCounts *counts)
{
    *counts = (HmPageCounts){0};
    return find_populated(addr, length,
                          PAGE_IS_PRESENT | PAGE_IS_SWAPPED | PAGE_IS_PFNZERO |
                              PAGE_IS_HUGE,
                          count_pages, counts);
}

gint64 hm_os_populated(void *addr, gsize length)
{
    HmPageCounts counts;
    int ret = hm_os_count_pages(addr, length, &counts);

    return ret < 0 ? ret : (gint64)counts.populated;
}

/* What is locked */

int hm_os_mlock(void *addr, gsize length)
{
    return result(mlock2(addr, length, MLOCK_ONFAULT));
}

/* Sanitizers have a munlock() of their own, which does nothing. */
int hm_os_munlock(void *addr, gsize length)
{
    return result((int)syscall(SYS_munlock, addr, length));
}

/* MS_INVALIDATE alone does nothing on Linux, but of locked memory it is
 * refused: POSIX wants that. */
int hm_os_is_mlocked(void *addr, gsize length)
{
    int ret = result(msync(addr, length, MS_INVALIDATE));

    return ret == -EBUSY ? 1 : ret;
}

gint64 hm_os_thread_time(void)
{
    struct timespec time = {0};

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return time.tv_sec * G_USEC_PER_SEC + time.tv_nsec / 1000;
}
