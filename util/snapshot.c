/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * All memory is write-protected, and that takes a while; whoever writes
 * meanwhile to what is protected already waits, and is not served before the
 * last page is.  So there is one moment at which all of the memory is as it
 * will be in the image: when hm_snapshot_arm() returns.
 *
 * From then on each unit, some pages that are protected as one, is saved once,
 * by whoever claims it first:
 *
 *     TO_SAVE ──► CLAIMED ──► SAVED           written, from the copy
 *                   copy it     may be written to by all
 *
 *     a stream    goes through all of it in order, several threads
 *     a server    is told who waits for which unit
 *     a discard   saves what it is about to take away
 *
 * Memory is always copied before it is written, without what is zero, and let
 * go at once: so a writer waits for a copy, and not for a disk that is slower.
 * Copies of servers are written by the stream, before it goes on; when there
 * are too many of them, writers wait for the disk after all.  Units that are
 * larger than a step (huge pages of a gigabyte) would need too much for a copy
 * and are written step by step, and their writers wait.
 *
 * When something fails nothing is saved any more and nobody waits.
 *
 * Locks: one, innermost.  States are claimed without it, and become SAVED
 * under it, for those who wait for that.
 */
#include <errno.h>
#include <string.h>
#include "util/align.h"
#include "util/error.h"
#include "util/hostcaps.h"
#include "util/os.h"
#include "util/size.h"
#include "util/snapshot-private.h"

/* Worth a call, and a wait of some 50 us. */
#define STEP (256 * HM_KIB)
/* Copies that wait for the disk: so much, at most a part of the memory. */
#define MAX_COPIED  (128 * HM_MIB)
#define COPIED_PART 8
#define MIN_COPIES  4

/* Huge pages stay whole when they are let go as a whole. */
static gsize choose_unit(const HmSnapshotOptions *options)
{
    const HmBacking *backing = options->backing;
    const gsize huge = hm_hostcaps_get()->thp_size;

    if (options->unit) {
        return options->unit;
    }
    if (backing->page_size > HM_IMAGE_BLOCK) {
        return backing->page_size;
    }
    if (backing->kind == HM_MEM_ANON && huge > HM_IMAGE_BLOCK &&
        huge <= HM_IMAGE_STEP && hm_is_aligned((guintptr)options->addr, huge) &&
        hm_os_huge(options->addr, backing->length) > 0) {
        return huge;
    }
    return HM_IMAGE_BLOCK;
}

static void choose_sizes(HmSnapshot *self)
{
    const guint64 length = self->options.backing->length;
    guint64 copied = MIN(MAX_COPIED, length / COPIED_PART);

    self->unit = choose_unit(&self->options);
    self->step = MIN(MAX(self->unit, STEP), HM_IMAGE_STEP);
    self->n_units = (length - 1) / self->unit + 1;
    self->max_copies = (guint)MAX(copied / self->unit, MIN_COPIES);
}

static gboolean make_states(HmSnapshot *self, GError **error)
{
    self->states = g_try_malloc(self->n_units);
    return self->states ||
           hm_set_error(error, HOSTMEM_ERROR_NO_MEMORY,
                        "no memory for the state of %" G_GSIZE_FORMAT " units",
                        self->n_units);
}

HmSnapshot *hm_snapshot_new(const HmSnapshotOptions *options, GError **error)
{
    g_autoptr(HmSnapshot) self = g_new0(HmSnapshot, 1);
    const HmBacking *backing = options->backing;

    self->options = *options;
    self->options.path = NULL; /* the writer has it */
    self->protect.fd = -1;
    self->stop[0] = self->stop[1] = -1;
    self->servers = g_ptr_array_new();
    g_queue_init(&self->filled);
    g_queue_init(&self->empty);
    g_mutex_init(&self->lock);
    g_cond_init(&self->changed);
    choose_sizes(self);
    if (!make_states(self, error) ||
        !hm_write_protect_init(&self->protect, backing, options->addr, error)) {
        return NULL;
    }
    self->writer =
        hm_image_writer_new(options->path, options->size, backing->length,
                            backing->page_size, error);
    return self->writer ? g_steal_pointer(&self) : NULL;
}

static void free_copies(GQueue *queue)
{
    HmImageCopy *copy;

    while ((copy = g_queue_pop_head(queue))) {
        hm_image_copy_free(copy);
    }
}

/* Nothing is saved any more, nobody waits, no other thread is here. */
static void end(HmSnapshot *self)
{
    g_mutex_lock(&self->lock);
    g_atomic_int_set(&self->ended, TRUE);
    g_cond_broadcast(&self->changed);
    g_mutex_unlock(&self->lock);
    hm_write_protect_end(&self->protect);
    hm_snapshot_end_serving(self);
}

void hm_snapshot_free(HmSnapshot *self)
{
    end(self);
    hm_write_protect_clear(&self->protect);
    g_clear_pointer(&self->writer, hm_image_writer_free);
    free_copies(&self->filled);
    free_copies(&self->empty);
    g_ptr_array_unref(self->servers);
    g_clear_pointer(&self->huge, g_array_unref);
    g_clear_error(&self->error);
    g_mutex_clear(&self->lock);
    g_cond_clear(&self->changed);
    g_free(self->states);
    g_free(self);
}

void hm_snapshot_fail(HmSnapshot *self, GError *error)
{
    g_mutex_lock(&self->lock);
    if (self->error) {
        g_error_free(error);
    } else {
        self->error = error;
    }
    g_atomic_int_set(&self->ended, TRUE);
    g_cond_broadcast(&self->changed);
    g_mutex_unlock(&self->lock);
    hm_write_protect_end(&self->protect);
}

/* Huge pages */

/* To protect pages of a file splits what maps them, though not the pages. */
static void note_huge(HmSnapshot *self)
{
    const HmBacking *backing = self->options.backing;

    if (backing->kind == HM_MEM_SHMEM && hm_hostcaps_get()->collapse) {
        self->huge = hm_range_list_new();
        hm_os_huge_ranges(self->options.addr, backing->length, self->huge);
    }
}

/* Best effort, and some at a time: whoever faults has to wait for it. */
static void collapse_range(HmSnapshot *self, const HmRange *range)
{
    const gsize huge = hm_hostcaps_get()->thp_size;
    guint8 *addr = self->options.addr + range->offset;

    for (guint64 at = 0; at < range->length; at += huge) {
        if (hm_os_advise(addr + at, MIN(huge, range->length - at),
                         MADV_COLLAPSE) == -EINVAL) {
            return;
        }
    }
}

static void map_huge_again(HmSnapshot *self)
{
    for (guint i = 0; self->huge && i < self->huge->len; i++) {
        collapse_range(self, hm_range_list_get(self->huge, i));
    }
}

/* Arming */

/* Where no mark is left all pages are there, once they are protected. */
static void note_mark(HmSnapshot *self)
{
    if (self->options.backing->kind == HM_MEM_ANON &&
        self->protect.marks_absent && hm_os_fault_mark(&self->mark) < 0) {
        self->mark = 0;
    }
}

/* (transfer full): the same in whole units. */
static HmRangeList *widen(HmSnapshot *self, const HmRangeList *ranges)
{
    HmRangeList *units = hm_range_list_new();

    for (guint i = 0; i < ranges->len; i++) {
        const HmRange *range = hm_range_list_get(ranges, i);
        const gsize first = range->offset / self->unit;
        const gsize end = (hm_range_end(range) - 1) / self->unit + 1;
        const HmRange whole = hm_snapshot_units(self, first, end - first);

        hm_range_list_add(units, &whole);
    }
    return units;
}

static void mark(HmSnapshot *self, const HmRangeList *units)
{
    const guint64 length = self->options.backing->length;

    memset(self->states, HM_UNIT_SAVED, self->n_units);
    for (guint i = 0; i < units->len; i++) {
        const HmRange *range = hm_range_list_get(units, i);
        const gsize n = (range->length - 1) / self->unit + 1;

        memset(self->states + range->offset / self->unit, HM_UNIT_TO_SAVE, n);
        self->left += n;
    }
    hm_progress_start(self->options.progress, length);
    __atomic_store_n(&self->options.progress->done,
                     (gint64)(length - hm_range_list_total(units)),
                     __ATOMIC_RELAXED);
}

static guint64 pages_of_file(const HmBacking *backing)
{
    struct stat st;

    return backing->fd >= 0 && hm_os_stat(backing->fd, &st) == 0
               ? (guint64)st.st_blocks * 512
               : 0;
}

static guint64 resident_size(HmSnapshot *self)
{
    g_autoptr(HmRangeList) pages = hm_range_list_new();

    return hm_os_resident_ranges(self->options.addr,
                                 self->options.backing->length, pages) < 0
               ? G_MAXUINT64
               : hm_range_list_total(pages);
}

/*
 * Whether a page that is not mapped is none.  Private memory has pages behind
 * it when its file has.  A pool's file can have some that nobody maps, about
 * which only its size tells; it is asked last, so that what comes meanwhile
 * makes it more.
 */
static gboolean is_only_mapped(HmSnapshot *self)
{
    const HmBacking *backing = self->options.backing;

    if (backing->kind == HM_MEM_HUGETLB && backing->shared) {
        const guint64 mapped = resident_size(self);

        return mapped == hm_backing_backed_size(backing, NULL);
    }
    return !backing->shared && !backing->parts && !pages_of_file(backing) &&
           (backing->kind == HM_MEM_HUGETLB || hm_snapshot_sees_mapped(self));
}

gboolean hm_snapshot_arm(HmSnapshot *self, const HmRangeList *ranges,
                         GError **error)
{
    g_autoptr(HmRangeList) units = widen(self, ranges);
    const gint64 began = hm_os_now();

    note_huge(self);
    note_mark(self);
    mark(self, units);
    if (!hm_write_protect_arm(&self->protect, units, self->options.threads,
                              error)) {
        end(self);
        return FALSE;
    }
    self->only_mapped = is_only_mapped(self);
    self->by_file = self->options.backing->kind == HM_MEM_HUGETLB &&
                    self->options.backing->shared && !self->only_mapped;
    if (!hm_snapshot_serve(self, error)) {
        end(self);
        return FALSE;
    }
    self->arm_us = hm_os_now() - began;
    return TRUE;
}

/* Running */

gboolean hm_snapshot_run(HmSnapshot *self, GCancellable *cancellable,
                         GError **error)
{
    hm_snapshot_stream(self, cancellable);
    end(self);
    map_huge_again(self);
    if (self->error) {
        g_propagate_error(error, g_steal_pointer(&self->error));
        return FALSE;
    }
    return hm_image_writer_finish(self->writer, error);
}

void hm_snapshot_save(HmSnapshot *self, const HmRangeList *ranges)
{
    g_autoptr(HmImageCopy) copy = NULL;

    if (hm_snapshot_has_ended(self)) {
        return;
    }
    copy = hm_image_copy_new(self->step);
    for (guint i = 0; i < ranges->len; i++) {
        hm_snapshot_save_range(self, hm_range_list_get(ranges, i), copy, TRUE);
    }
}

void hm_snapshot_get_stats(HmSnapshot *self, HmSnapshotStats *stats)
{
    *stats = (HmSnapshotStats){
        .unit = self->unit,
        .faults = __atomic_load_n(&self->faults, __ATOMIC_RELAXED),
        .stored = __atomic_load_n(&self->stored, __ATOMIC_RELAXED),
        .arm_us = self->arm_us,
    };
}
