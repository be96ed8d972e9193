/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/align.h"
#include "util/discard.h"
#include "util/os.h"
#include "util/prealloc-part.h"
#include "util/prealloc-workers.h"

/*
 * Theory of operation
 *
 * A run populates one region or several, each with workers of its own, all of
 * which are there before the first begins; what they do is in prealloc-part.c.
 * When all have ended, each region is verified as a whole; where one has
 * failed, all are given back.  The cursor of a region only rises, so all that
 * was reached lies below it: what is given back are the holes below the cursor,
 * or below what fallocate had reached.
 */

/* progress */

guint64 hm_progress_done(const HmProgress *progress)
{
    return (guint64)__atomic_load_n(&progress->done, __ATOMIC_RELAXED);
}

guint64 hm_progress_total(const HmProgress *progress)
{
    return (guint64)__atomic_load_n(&progress->total, __ATOMIC_RELAXED);
}

void hm_progress_start(HmProgress *progress, guint64 total)
{
    __atomic_store_n(&progress->done, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&progress->total, (gint64)total, __ATOMIC_RELAXED);
}

/* rollback */

/** Whole pages of the holes in what was reached. */
static HmRangeList *find_undoable(const HmPreallocRegion *region,
                                  const HmRange *reached)
{
    g_autoptr(HmRangeList) holes = hm_range_list_clip(region->holes, reached);
    HmRangeList *whole = hm_range_list_new();

    for (guint i = 0; i < holes->len; i++) {
        const HmRange *hole = hm_range_list_get(holes, i);
        guint64 end = hm_align_down(hm_range_end(hole), region->page_size);
        guint64 start = end;

        hm_align_up(hole->offset, region->page_size, &start);
        if (start < end) {
            hm_range_list_add(whole, &(HmRange){start, end - start});
        }
    }
    return whole;
}

/** Give back what was reached, as far as there was nothing before. */
static gboolean roll_back(const HmPart *part, GError **error)
{
    const HmPreallocRegion *region = part->region;
    guint64 reached = MAX(part->cursor, part->allocated);
    HmDiscardTarget target = {
        .addr = region->addr,
        .page_size = region->page_size,
        .kind = region->kind,
        .shared = region->shared,
        .fd = region->fd,
        .fd_offset = region->fd_offset,
        .parts = region->parts,
        .n_parts = region->n_parts,
        .locked = region->locked,
    };
    g_autoptr(HmRangeList) ranges = NULL;
    HmRange window;

    if (!region->holes || !hm_range_init(&window, 0, reached)) {
        return TRUE;
    }
    ranges = find_undoable(region, &window);
    return hm_discard_list(&target, ranges, NULL, error);
}

static gboolean may_roll_back(const HmPart *part)
{
    const HmPreallocOptions *options = part->options;

    return !options->may_roll_back ||
           options->may_roll_back(options->roll_back_data);
}

/** Say in the error of a part what has failed besides. */
static void add_to_error(HmPart *part, const GError *why)
{
    g_autofree char *message = part->error->message;

    part->error->message = g_strdup_printf("%s; what was populated stays: %s",
                                           message, why->message);
}

/** Give back all; @failed has the error that is told. */
static void undo(HmParts *all, HmPart *failed)
{
    for (guint i = 0; i < all->n; i++) {
        g_autoptr(GError) why = NULL;

        if (may_roll_back(&all->parts[i]) && !roll_back(&all->parts[i], &why)) {
            add_to_error(failed, why);
        }
    }
}

/* a run */

/* Whoever waits for a CPU looks why. */
static void on_cancelled(GCancellable *cancellable G_GNUC_UNUSED, gpointer data)
{
    const HmParts *all = data;

    for (guint i = 0; i < all->n; i++) {
        if (all->parts[i].options->place) {
            hm_queue_close(all->parts[i].options->place);
        }
    }
}

static void run_workers(HmParts *all)
{
    g_autofree HmWork *works = g_new(HmWork, all->n);
    GError *error = NULL;
    guint failed = 0;

    for (guint i = 0; i < all->n; i++) {
        HmPart *part = &all->parts[i];

        works[i] = (HmWork){hm_part_run_whole_steps, hm_part_run_chunks, part,
                            part->threads, part->options};
    }
    if (!hm_workers_run(works, all->n, &failed, &error)) {
        hm_part_fail(&all->parts[failed], error);
    }
}

static void run_workers_until_cancelled(HmParts *all)
{
    gulong handler = 0;

    if (all->cancellable) {
        handler = g_cancellable_connect(all->cancellable,
                                        G_CALLBACK(on_cancelled), all, NULL);
    }
    run_workers(all);
    if (all->cancellable) {
        g_cancellable_disconnect(all->cancellable, handler);
    }
}

/** (nullable): the first part that failed. */
static HmPart *find_failed(const HmParts *all)
{
    for (guint i = 0; i < all->n; i++) {
        if (hm_part_has_failed(&all->parts[i])) {
            return &all->parts[i];
        }
    }
    return NULL;
}

static void verify(HmParts *all)
{
    for (guint i = 0; i < all->n && !find_failed(all); i++) {
        HmPart *part = &all->parts[i];
        const HmPreallocOptions *options = part->options;
        GError *error = NULL;

        if (!part->error && options->verify &&
            !options->verify(options->verify_data, &error)) {
            hm_part_fail(part, error);
        }
    }
}

/** What the caller gets to know of a part. */
static void tell(HmPart *part, gint64 started, HmPreallocPart *told)
{
    guint threads = hm_part_clear(part);

    told->result = (HmPreallocResult){
        .threads = threads,
        .elapsed_us = (part->ended ? part->ended : hm_os_now()) - started,
        .populated = hm_progress_done(part->progress),
    };
    told->failure = part->failure;
    told->error = g_steal_pointer(&part->error);
}

static void check_parts(const HmPreallocPart *parts, guint n)
{
    for (guint i = 0; i < n; i++) {
        g_assert(parts[i].options->threads > 0);
        g_assert(
            hm_is_aligned(parts[i].region->length, parts[i].region->page_size));
    }
}

gboolean hm_prealloc_run_all(HmPreallocPart *parts, guint n,
                             GCancellable *cancellable, guint *failed)
{
    g_autofree HmPart *own = g_new(HmPart, n);
    HmParts all = {.cancellable = cancellable, .parts = own, .n = n};
    gint64 started = hm_os_now();
    HmPart *culprit;

    check_parts(parts, n);
    for (guint i = 0; i < n; i++) {
        hm_part_init(&own[i], &all, parts[i].region, parts[i].options);
    }
    run_workers_until_cancelled(&all);
    verify(&all);
    culprit = find_failed(&all);
    if (culprit) {
        *failed = (guint)(culprit - own);
        undo(&all, culprit);
    }
    for (guint i = 0; i < n; i++) {
        if (!culprit && !own[i].error) {
            hm_part_finish(&own[i]);
        }
        tell(&own[i], started, &parts[i]);
    }
    return !culprit;
}
