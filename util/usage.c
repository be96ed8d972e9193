/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * There is one place where it is written how much of a mapping is populated:
 * its page tables.  What the kernel sums up by itself is of all the process
 * (VmRSS, VmLck) or of the file, whoever has it mapped (st_blocks), and smaps
 * walks the same page tables, of all mappings, in one go.
 *
 * A walk (PAGEMAP_SCAN) is cheap where an entry covers 2 MiB or more, and where
 * there is none; 1 TiB of 4 KiB pages are 268 million entries, too many for
 * somebody who asks each second.  So memory is looked at in slices, and each
 * slice keeps its numbers until it is looked at again, in turn.  A look goes on
 * until it has had its share of a CPU, a twentieth of the time since the last
 * one; but it takes at least a few slices, and at first all, so that every sum
 * is of all the memory.  The age of the oldest slice is told.  Measured, an
 * entry takes 12 ns and a slice of huge pages 40 us: 1 TiB of 4 KiB pages is
 * gone through in a minute, and of huge pages each second.
 *
 * The share is CPU time of the thread: on a busy host a look takes longer, but
 * sees no less.  mmap_lock is held for one slice at most.
 *
 * Whether memory is locked is a property of mappings, and asked anew for each
 * slice: see hm_os_is_mlocked().
 */
#include "util/align.h"
#include "util/os.h"
#include "util/size.h"
#include "util/usage.h"

#define SLICE      HM_GIB /* a quarter of a million entries at most: 3 ms */
#define LEAST      4      /* slices of a look */
#define SAMPLE     16     /* slices */
#define SHARE      20     /* the part of the time that looks may take */
#define MOST_US    50000  /* of CPU time, however long ago the last one was */
#define NEVER_SEEN (-1)

typedef struct {
    HmPageCounts counts;
    guint64 locked;
    gint64 seen_us; /* hm_os_now() */
} Slice;

struct HmUsage {
    GMutex lock;
    GArray *slices; /* Slice */
    gsize length;   /* bytes, of all of them */
    guint next;     /* the slice that was looked at longest ago */
    guint unseen;   /* that were never looked at */
    gint64 looked_us;
};

HmUsage *hm_usage_new(void)
{
    HmUsage *self = g_new0(HmUsage, 1);

    g_mutex_init(&self->lock);
    self->slices = g_array_new(FALSE, TRUE, sizeof(Slice));
    return self;
}

void hm_usage_free(HmUsage *self)
{
    if (self) {
        g_array_unref(self->slices);
        g_mutex_clear(&self->lock);
        g_free(self);
    }
}

static Slice *slice_at(const HmUsage *self, guint index)
{
    return &g_array_index(self->slices, Slice, index);
}

static gsize start_of(guint index)
{
    return index * SLICE;
}

static gsize length_of(const HmUsage *self, guint index)
{
    return MIN(SLICE, self->length - start_of(index));
}

/* looking */

/* All of what is new, and what has another length, is to be looked at. */
static void set_length(HmUsage *self, gsize length)
{
    const guint n = (guint)(length / SLICE + (length % SLICE != 0));

    if (length == self->length) {
        return;
    }
    g_array_set_size(self->slices, n);
    self->length = length;
    self->next = 0;
    self->unseen = n;
    for (guint i = 0; i < n; i++) {
        slice_at(self, i)->seen_us = NEVER_SEEN;
    }
}

static void look_at(HmUsage *self, guint8 *addr, guint index)
{
    Slice *slice = slice_at(self, index);
    const gsize length = length_of(self, index);

    addr += start_of(index);
    self->unseen -= slice->seen_us == NEVER_SEEN;
    *slice = (Slice){.seen_us = hm_os_now()};
    if (hm_os_count_pages(addr, length, &slice->counts) < 0) {
        slice->counts = (HmPageCounts){0};
    }
    if (hm_os_is_mlocked(addr, length) == 1) {
        slice->locked = slice->counts.resident;
    }
}

/* Microseconds of a CPU. */
static gint64 allowance(const HmUsage *self)
{
    return MIN((hm_os_now() - self->looked_us) / SHARE, MOST_US);
}

static void look(HmUsage *self, guint8 *addr)
{
    const gint64 end = hm_os_thread_time() + allowance(self);
    const guint n = self->slices->len;

    for (guint i = 0; i < n; i++) {
        if (i >= LEAST && !self->unseen && hm_os_thread_time() >= end) {
            break;
        }
        look_at(self, addr, self->next);
        self->next = (self->next + 1) % n;
    }
    self->looked_us = hm_os_now();
}

static void sum_up(const HmUsage *self, HmUsageSums *sums)
{
    const gint64 now = hm_os_now();

    *sums = (HmUsageSums){0};
    for (guint i = 0; i < self->slices->len; i++) {
        const Slice *slice = slice_at(self, i);

        sums->populated += slice->counts.populated;
        sums->resident += slice->counts.resident;
        sums->locked += slice->locked;
        sums->huge += slice->counts.huge;
        sums->age_us = MAX(sums->age_us, now - slice->seen_us);
    }
}

void hm_usage_look(HmUsage *self, void *addr, gsize length, HmUsageSums *sums)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    set_length(self, length);
    look(self, addr);
    sum_up(self, sums);
}

/* sampling */

static guint count_populated(const HmUsage *self)
{
    guint n = 0;

    for (guint i = 0; i < self->slices->len; i++) {
        n += slice_at(self, i)->counts.populated != 0;
    }
    return n;
}

static int add_ranges(const HmUsage *self, guint8 *addr, guint index,
                      HmRangeList *ranges)
{
    g_autoptr(HmRangeList) here = hm_range_list_new();
    const gsize start = start_of(index);
    int ret =
        hm_os_populated_ranges(addr + start, length_of(self, index), here);

    for (guint i = 0; i < here->len; i++) {
        HmRange range = *hm_range_list_get(here, i);

        range.offset += start;
        hm_range_list_add(ranges, &range);
    }
    return ret;
}

/* Of @n that are populated, SAMPLE: the k-th where k * SAMPLE / n grows. */
int hm_usage_sample(HmUsage *self, void *addr, HmRangeList *ranges)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);
    const guint64 n = count_populated(self);
    const guint64 wanted = MIN(n, SAMPLE);
    guint64 k = 0;
    int ret = 0;

    for (guint i = 0; i < self->slices->len && ret == 0; i++) {
        if (!slice_at(self, i)->counts.populated) {
            continue;
        }
        if ((k + 1) * wanted / n > k * wanted / n) {
            ret = add_ranges(self, addr, i, ranges);
        }
        k++;
    }
    return ret;
}
