/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include "util/align.h"
#include "util/error.h"
#include "util/os.h"
#include "util/procfield.h"
#include "util/snapshot-private.h"

/* What there is */

static gboolean has_swap(void)
{
    g_autofree char *text = NULL;

    return hm_os_read_text("/proc/meminfo", &text) < 0 ||
           !hm_procfield_bytes(text, "MemTotal") ||
           hm_procfield_bytes(text, "SwapTotal");
}

gboolean hm_snapshot_sees_mapped(const HmSnapshot *self)
{
    return self->mark || !has_swap();
}

/* Mincore(2) does not see pages that are swapped out.  Swap may have come since
 * the snapshot began, so that is asked last. */
static gboolean find_resident(HmSnapshot *self, const HmRange *range,
                              HmRangeList *found)
{
    return hm_os_resident_ranges(self->options.addr + range->offset,
                                 range->length, found) == 0 &&
           (self->options.backing->kind == HM_MEM_HUGETLB || !has_swap());
}

static gboolean find_kept(HmSnapshot *self, const HmRange *range,
                          HmRangeList *found)
{
    return self->mark &&
           hm_os_kept_ranges(self->options.addr + range->offset, range->length,
                             self->mark, found) == 0;
}

static HmRangeList *shift(const HmRangeList *found, guint64 offset)
{
    HmRangeList *pages = hm_range_list_new();

    for (guint i = 0; i < found->len; i++) {
        HmRange page = *hm_range_list_get(found, i);

        page.offset += offset;
        hm_range_list_add(pages, &page);
    }
    return pages;
}

/*
 * (transfer full) (nullable): pages of this mapping.  The marks of protected
 * pages that are not there look like swapped pages, but to mincore(2), and to
 * who may know where swapped pages lie.  For anybody else there is no telling
 * where there is swap.
 */
static HmRangeList *mapped_pages(HmSnapshot *self, const HmRange *range)
{
    g_autoptr(HmRangeList) resident = hm_range_list_new();
    g_autoptr(HmRangeList) kept = hm_range_list_new();

    if (find_resident(self, range, resident)) {
        return shift(resident, range->offset);
    }
    return find_kept(self, range, kept) ? shift(kept, range->offset) : NULL;
}

static void add_between(HmRangeList *list, guint64 start, guint64 end)
{
    HmRange range;

    if (start < end && hm_range_init(&range, start, end - start)) {
        hm_range_list_add(list, &range);
    }
}

static HmRangeList *all_but(const HmRange *range, const HmRangeList *holes)
{
    HmRangeList *rest = hm_range_list_new();
    guint64 at = range->offset;

    for (guint i = 0; i < holes->len; i++) {
        const HmRange *hole = hm_range_list_get(holes, i);

        add_between(rest, at, hole->offset);
        at = hm_range_end(hole);
    }
    add_between(rest, at, hm_range_end(range));
    return rest;
}

/* What may hold something else than zeroes.  To read a hole of a shared file
 * would fill it. */
static HmRangeList *find_data(HmSnapshot *self, const HmRange *range)
{
    const HmBacking *backing = self->options.backing;
    g_autoptr(HmRangeList) holes = NULL;
    HmRangeList *pages = self->only_mapped ? mapped_pages(self, range) : NULL;

    if (pages) {
        return pages;
    }
    holes = backing->shared
                ? hm_backing_holes(backing, self->options.addr, range)
                : hm_range_list_new();
    return all_but(range, holes);
}

/* Units */

gboolean hm_snapshot_claim(HmSnapshot *self, gsize unit)
{
    guint8 expected = HM_UNIT_TO_SAVE;

    return __atomic_compare_exchange_n(&self->states[unit], &expected,
                                       HM_UNIT_CLAIMED, FALSE, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
}

/* Claim a run of units from @first on, below @end; returns how many. */
static gsize claim_run(HmSnapshot *self, gsize first, gsize end, gsize most)
{
    gsize n = 0;

    while (n < most && first + n < end && hm_snapshot_claim(self, first + n)) {
        n++;
    }
    return n;
}

/* Waiters look at states under the lock. */
static void mark_saved(HmSnapshot *self, const HmRange *range)
{
    const gsize end = (hm_range_end(range) - 1) / self->unit + 1;

    g_mutex_lock(&self->lock);
    for (gsize i = range->offset / self->unit; i < end; i++) {
        __atomic_store_n(&self->states[i], HM_UNIT_SAVED, __ATOMIC_RELEASE);
    }
    g_cond_broadcast(&self->changed);
    g_mutex_unlock(&self->lock);
}

static gboolean lift(HmSnapshot *self, const HmRange *range)
{
    GError *error = NULL;
    int ret = hm_write_protect_lift(&self->protect, range);

    if (ret < 0) {
        hm_set_error_errno(&error, -ret, "cannot let memory be written to");
        hm_snapshot_fail(self, error);
        return FALSE;
    }
    mark_saved(self, range);
    return TRUE;
}

/* As much as is written or needs no writing. */
static void count(HmSnapshot *self, guint64 length)
{
    const gsize n = (length - 1) / self->unit + 1;

    __atomic_fetch_add(&self->options.progress->done, (gint64)length,
                       __ATOMIC_RELAXED);
    g_mutex_lock(&self->lock);
    self->left -= n;
    if (!self->left) {
        g_cond_broadcast(&self->changed);
    }
    g_mutex_unlock(&self->lock);
}

/* Copying: a page that cannot be had is an error, and no signal. */

/* Returns: FALSE */
static gboolean cannot_read(HmSnapshot *self, const HmRange *range,
                            const char *why)
{
    GError *error = NULL;

    hm_set_error(&error, HOSTMEM_ERROR_CHANGED,
                 "cannot read 0x%" G_GINT64_MODIFIER
                 "x bytes at offset 0x%" G_GINT64_MODIFIER "x: %s",
                 range->length, range->offset, why);
    hm_snapshot_fail(self, error);
    return FALSE;
}

static gboolean make_readable(HmSnapshot *self, const HmRange *range)
{
    int ret;

    do {
        ret = hm_os_advise(self->options.addr + range->offset, range->length,
                           MADV_POPULATE_READ);
    } while (ret == -EINTR || ret == -EAGAIN);
    if (ret == 0 || ret == -EINVAL) { /* EINVAL: before Linux 5.14 */
        return TRUE;
    }
    return cannot_read(self, range, g_strerror(-ret));
}

/* What could be read a moment ago may be gone: others may truncate a file that
 * is not sealed. */
static gboolean copy_from(HmSnapshot *self, const HmRange *range,
                          const guint8 *memory, HmImageCopy *copy)
{
    int ret = hm_image_copy_take(copy, memory, range->offset, range->length);

    return ret == 0 || cannot_read(self, range, g_strerror(-ret));
}

/* To read a hole of a mapped pool's file takes a page of the pool; to read the
 * file does not. */
static gboolean take_from_file(HmSnapshot *self, const HmRange *range,
                               HmImageCopy *copy)
{
    const HmBacking *backing = self->options.backing;
    g_autofree guint8 *data = g_malloc(range->length);
    guint64 offset = backing->offset + range->offset;
    guint64 length = range->length;
    int fd = backing->fd;
    gssize got;

    if (backing->parts) {
        fd = hm_backing_parts_find(backing->parts, backing->n_parts, offset,
                                   &length, &offset);
    }
    got = hm_os_read_at(fd, data, length, offset);
    if (got < 0 || (guint64)got < range->length) {
        return cannot_read(
            self, range, got < 0 ? g_strerror((int)-got) : "the file was cut");
    }
    return copy_from(self, range, data, copy);
}

static gboolean take(HmSnapshot *self, const HmRange *range, HmImageCopy *copy)
{
    if (hm_snapshot_has_ended(self)) {
        return FALSE;
    }
    if (self->by_file) {
        return take_from_file(self, range, copy);
    }
    return make_readable(self, range) &&
           copy_from(self, range, self->options.addr + range->offset, copy);
}

gboolean hm_snapshot_copy(HmSnapshot *self, const HmRange *range,
                          HmImageCopy *copy)
{
    return take(self, range, copy) && lift(self, range);
}

static gboolean put(HmSnapshot *self, const HmImageCopy *copy)
{
    GError *error = NULL;
    guint64 stored;

    if (!hm_image_writer_put(self->writer, copy, &stored, &error)) {
        hm_snapshot_fail(self, error);
        return FALSE;
    }
    __atomic_fetch_add(&self->stored, stored, __ATOMIC_RELAXED);
    return TRUE;
}

void hm_snapshot_write(HmSnapshot *self, const HmImageCopy *copy)
{
    if (put(self, copy)) {
        count(self, copy->length);
    }
}

void hm_snapshot_save_large(HmSnapshot *self, gsize unit, HmImageCopy *copy)
{
    const HmRange all = hm_snapshot_units(self, unit, 1);

    for (guint64 at = 0; at < all.length; at += self->step) {
        const HmRange step = {all.offset + at,
                              MIN(self->step, all.length - at)};

        if (!take(self, &step, copy) || !put(self, copy)) {
            return;
        }
    }
    if (lift(self, &all)) {
        count(self, all.length);
    }
}

/* Ranges */

static void save_claimed(HmSnapshot *self, gsize first, gsize n,
                         HmImageCopy *copy)
{
    const HmRange range = hm_snapshot_units(self, first, n);

    if (self->unit > self->step) {
        hm_snapshot_save_large(self, first, copy);
    } else if (hm_snapshot_copy(self, &range, copy)) {
        hm_snapshot_write(self, copy);
    }
}

/* What is there, of units below @end. */
static void save_data(HmSnapshot *self, gsize first, gsize end,
                      HmImageCopy *copy, gboolean at_once)
{
    const gsize most = MAX(self->step / self->unit, 1);

    while (first < end && (at_once || hm_snapshot_pace(self)) &&
           !hm_snapshot_has_ended(self)) {
        gsize n = claim_run(self, first, end, most);

        if (n) {
            save_claimed(self, first, n, copy);
        }
        first += MAX(n, 1);
    }
}

/* What is not there is zero in the image already. */
static void save_holes(HmSnapshot *self, gsize first, gsize end)
{
    while (first < end && !hm_snapshot_has_ended(self)) {
        gsize n = claim_run(self, first, end, end - first);
        const HmRange range = hm_snapshot_units(self, first, n);

        if (n && lift(self, &range)) {
            count(self, range.length);
        }
        first += MAX(n, 1);
    }
}

static void wait_for_others(HmSnapshot *self, gsize first, gsize end)
{
    g_mutex_lock(&self->lock);
    while (first < end && !hm_snapshot_has_ended(self)) {
        if (hm_snapshot_state(self, first) == HM_UNIT_SAVED) {
            first++;
        } else {
            g_cond_wait(&self->changed, &self->lock);
        }
    }
    g_mutex_unlock(&self->lock);
}

void hm_snapshot_save_range(HmSnapshot *self, const HmRange *range,
                            HmImageCopy *copy, gboolean at_once)
{
    const gsize first = range->offset / self->unit;
    const gsize end = (hm_range_end(range) - 1) / self->unit + 1;
    const HmRange units = hm_snapshot_units(self, first, end - first);
    g_autoptr(HmRangeList) data = find_data(self, &units);
    gsize at = first;

    for (guint i = 0; i < data->len; i++) {
        const HmRange *run = hm_range_list_get(data, i);
        const gsize start = run->offset / self->unit;
        const gsize stop = (hm_range_end(run) - 1) / self->unit + 1;

        if (start > at) {
            save_holes(self, at, start);
        }
        save_data(self, MAX(start, at), stop, copy, at_once);
        at = stop;
    }
    save_holes(self, at, end);
    if (at_once) {
        wait_for_others(self, first, end);
    }
}
