/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include "util/align.h"
#include "util/discard.h"
#include "util/error.h"
#include "util/os.h"
#include "util/prealloc-steps.h"
#include "util/prealloc-turns.h"
#include "util/prealloc-workers.h"
#include "util/size.h"

/*
 * Theory of operation
 *
 * A region is cut at three scales:
 *
 *   region   the plan's whole steps run over it once, in one worker
 *   chunk    what a worker claims, by moving a cursor, so that whoever is
 *            faster on a busy host does more; before it, room is asked for
 *            (of a file on storage the first are large, because its readahead
 *            gives larger folios the longer it goes straight on)
 *   piece    what one system call gets: madvise holds mmap_lock, and a waiting
 *            writer (somebody's mmap) holds up everybody behind it; before it,
 *            a worker looks whether to stop, and after it counts progress
 *
 * The first error stops all workers at their next piece.  The cursor only
 * rises, so all that a run has reached lies below it: a failed run gives back
 * the holes below the cursor, or below what fallocate had reached.
 */

#define BASE_PIECE     (16 * HM_MIB)  /* base pages: 5 to 15 ms a call */
#define HUGE_PIECE     (64 * HM_MIB)  /* huge pages: about as long */
#define ALLOCATE_PIECE (256 * HM_MIB) /* at worst base pages: 70 ms */
#define MIN_CHUNK      (4 * HM_MIB)
#define PIECES_A_CHUNK 4
/* Fine enough that workers finish together, to 1 or 2 %. */
#define CHUNKS_A_THREAD 64

typedef struct {
    const HmPreallocRegion *region;
    const HmPreallocOptions *options;
    GCancellable *cancellable;
    HmProgress *progress;
    guint threads;    /* workers that will run */
    gsize chunk_size; /* the least, where they shrink */
    gboolean shrinks; /* chunks do, from a part of a worker's share */
    gsize piece_size;
    guint64 cursor; /* atomic; start of the next chunk */
    gint stop;      /* atomic */
    HmTurns turns;  /* whose turn it is, among workers that are tuned */
    /* Written by the first worker before the others begin. */
    guint64 allocated; /* end of what the whole steps allocated */
    gboolean backed;   /* all of it: no room is needed any more */

    GMutex room_lock;  /* held while the room function runs; outer */
    GMutex error_lock; /* guards what follows */
    GError *error;
    HmPreallocFailure failure;
} Run;

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

static void progress_add(HmProgress *progress, guint64 bytes)
{
    __atomic_fetch_add(&progress->done, (gint64)bytes, __ATOMIC_RELAXED);
}

/** All is done, also what needed no step. */
static void progress_finish(HmProgress *progress)
{
    __atomic_store_n(&progress->done, progress->total, __ATOMIC_RELAXED);
}

/* sizes */

/** Bytes that no cut may divide. */
static gsize granule_of(const HmPreallocRegion *region)
{
    return MAX(region->page_size, region->plan->huge_size);
}

static gsize piece_size_of(const HmPreallocRegion *region)
{
    gsize granule = granule_of(region);

    return granule > hm_os_page_size() ? MAX(HUGE_PIECE, granule) : BASE_PIECE;
}

static gsize round_to_granule(const HmPreallocRegion *region, gsize size)
{
    guint64 rounded = size;

    hm_align_up(size, granule_of(region), &rounded);
    return rounded;
}

gsize hm_prealloc_chunk_size(const HmPreallocRegion *region, guint threads)
{
    gsize share = region->length / MAX(threads, 1) / CHUNKS_A_THREAD;
    gsize most = PIECES_A_CHUNK * piece_size_of(region);

    return round_to_granule(region, CLAMP(share, MIN_CHUNK, most));
}

static guint count_threads(const Run *run)
{
    gsize chunks = run->region->length / run->chunk_size;

    if (!run->region->plan->n_chunk) {
        return 1;
    }
    chunks += run->region->length % run->chunk_size != 0;
    return MIN(run->options->threads, chunks);
}

/* stopping */

/** Keep the first error and stop everybody.  Takes @error. */
static void fail(Run *run, const HmPreallocFailure *failure, GError *error)
{
    g_mutex_lock(&run->error_lock);
    if (!run->error) {
        run->error = g_steal_pointer(&error);
        run->failure = *failure;
        run->failure.done = hm_progress_done(run->progress);
    }
    g_mutex_unlock(&run->error_lock);
    g_clear_error(&error);
    g_atomic_int_set(&run->stop, TRUE);
}

static void fail_step(Run *run, HmPreallocStep step, int err, guint64 offset)
{
    HmPreallocFailure failure = {.err = err, .step = step, .offset = offset};
    GError *error = NULL;

    hm_prealloc_set_error(run->region, &failure, &error);
    fail(run, &failure, error);
}

static void fail_without_step(Run *run, GError *error)
{
    fail(run, &(HmPreallocFailure){0}, error);
}

static void fail_cancelled(Run *run)
{
    fail_without_step(run, g_error_new(G_IO_ERROR, G_IO_ERROR_CANCELLED,
                                       "preallocating memory was cancelled "
                                       "after %" G_GUINT64_FORMAT
                                       " of %" G_GSIZE_FORMAT " bytes",
                                       hm_progress_done(run->progress),
                                       run->region->length));
}

static void fail_timed_out(Run *run)
{
    GError *error = NULL;

    hm_set_error(&error, HOSTMEM_ERROR_TIMED_OUT,
                 "preallocating memory stopped: the deadline passed after "
                 "%" G_GUINT64_FORMAT " of %" G_GSIZE_FORMAT " bytes",
                 hm_progress_done(run->progress), run->region->length);
    fail_without_step(run, error);
}

static gboolean may_go_on(Run *run)
{
    if (g_atomic_int_get(&run->stop)) {
        return FALSE;
    }
    if (g_cancellable_is_cancelled(run->cancellable)) {
        fail_cancelled(run);
        return FALSE;
    }
    if (run->options->deadline && hm_os_now() >= run->options->deadline) {
        fail_timed_out(run);
        return FALSE;
    }
    return TRUE;
}

/* room */

/** Bytes of the range that may lack storage. */
static guint64 bytes_in_holes(const HmPreallocRegion *region,
                              const HmRange *range)
{
    g_autoptr(HmRangeList) holes = NULL;

    if (!region->holes) {
        return range->length;
    }
    holes = hm_range_list_clip(region->holes, range);
    return hm_range_list_total(holes);
}

static gboolean ask_for_room(Run *run, guint64 bytes)
{
    GError *error = NULL;
    gboolean ok;

    g_mutex_lock(&run->room_lock);
    ok = run->options->room(bytes, run->options->room_data, &error);
    g_mutex_unlock(&run->room_lock);
    if (!ok) {
        fail_without_step(run, error);
    }
    return ok;
}

static gboolean has_room(Run *run, const HmRange *range)
{
    guint64 bytes;

    if (!run->options->room || run->backed) {
        return TRUE;
    }
    bytes = bytes_in_holes(run->region, range);
    return !bytes || ask_for_room(run, bytes);
}

/* the work */

/** The range of at most @size bytes at @offset. */
static HmRange cut(const HmPreallocRegion *region, guint64 offset, gsize size)
{
    return (HmRange){offset, MIN(size, region->length - offset)};
}

/** Make all storage, where that is possible beforehand. */
static void allocate_whole(Run *run)
{
    const HmPreallocRegion *region = run->region;
    gboolean is_all = !region->plan->n_chunk;

    while (run->allocated < region->length && may_go_on(run)) {
        HmRange range = cut(region, run->allocated, ALLOCATE_PIECE);
        guint64 failed_at;
        int r;

        if (!has_room(run, &range)) {
            return;
        }
        r = hm_prealloc_step(region, HM_STEP_ALLOCATE, range.offset,
                             range.length, &failed_at);
        if (r == -EOPNOTSUPP && !is_all) {
            return;
        }
        if (r < 0) {
            fail_step(run, HM_STEP_ALLOCATE, -r, failed_at);
            return;
        }
        run->allocated += range.length;
        if (is_all) {
            progress_add(run->progress, range.length);
        }
    }
    run->backed = run->allocated == region->length;
}

static void run_whole_steps(gpointer data)
{
    Run *run = data;
    const HmPreallocRegion *region = run->region;
    guint64 failed_at;

    for (guint i = 0; i < region->plan->n_whole; i++) {
        if (region->plan->whole[i] == HM_STEP_ALLOCATE) {
            allocate_whole(run);
        } else {
            hm_prealloc_step(region, region->plan->whole[i], 0, region->length,
                             &failed_at);
        }
    }
}

/** Touch a piece that is there already.  Returns: whether it was */
static gboolean touch_present(const HmPreallocRegion *region,
                              const HmRange *piece)
{
    guint8 *addr = region->addr + piece->offset;
    guint64 failed_at;

    return region->plan->touch_present &&
           hm_os_populated(addr, piece->length) == (gint64)piece->length &&
           hm_prealloc_step(region, HM_STEP_TOUCH_WRITE, piece->offset,
                            piece->length, &failed_at) == 0;
}

static gboolean run_piece(Run *run, const HmRange *piece)
{
    const HmPreallocPlan *plan = run->region->plan;

    if (touch_present(run->region, piece)) {
        progress_add(run->progress, piece->length);
        return TRUE;
    }
    for (guint i = 0; i < plan->n_chunk; i++) {
        guint64 failed_at = piece->offset;
        int r = hm_prealloc_step(run->region, plan->chunk[i], piece->offset,
                                 piece->length, &failed_at);

        if (r == -EOPNOTSUPP && plan->chunk[i] == HM_STEP_ALLOCATE &&
            i + 1 < plan->n_chunk) {
            continue; /* the next step finds out whether there is storage */
        }
        if (r < 0) {
            fail_step(run, plan->chunk[i], -r, failed_at);
            return FALSE;
        }
    }
    progress_add(run->progress, piece->length);
    return TRUE;
}

static gboolean run_chunk(Run *run, const HmRange *chunk)
{
    guint64 end = hm_range_end(chunk);
    guint64 offset = chunk->offset;

    if (!may_go_on(run) || !has_room(run, chunk)) {
        return FALSE;
    }
    while (offset < end) {
        HmRange piece = {offset, MIN(run->piece_size, end - offset)};

        if (!may_go_on(run) || !run_piece(run, &piece)) {
            return FALSE;
        }
        offset += piece.length;
    }
    return TRUE;
}

/** The chunk that begins at @offset. */
static HmRange chunk_at(const Run *run, guint64 offset)
{
    const HmPreallocRegion *region = run->region;
    gsize size = run->chunk_size;

    if (run->shrinks) {
        size = MAX(size, round_to_granule(region, (region->length - offset) /
                                                      run->threads / 2));
    }
    return cut(region, offset, size);
}

/** Claim the next chunk; FALSE when there is none left. */
static gboolean claim_chunk(Run *run, HmRange *chunk)
{
    guint64 offset = __atomic_load_n(&run->cursor, __ATOMIC_RELAXED);

    if (!run->region->plan->n_chunk || g_atomic_int_get(&run->stop)) {
        return FALSE;
    }
    do {
        if (offset >= run->region->length) {
            return FALSE;
        }
        *chunk = chunk_at(run, offset);
    } while (!__atomic_compare_exchange_n(&run->cursor, &offset,
                                          hm_range_end(chunk), FALSE,
                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return TRUE;
}

static gboolean run_next_chunk(Run *run)
{
    HmRange chunk;

    return claim_chunk(run, &chunk) && run_chunk(run, &chunk);
}

/** The same, when it is the worker's turn, and in what time. */
static gboolean run_tuned_chunk(Run *run, guint worker)
{
    HmRange chunk;
    gint64 start;

    if (!hm_turns_wait(&run->turns, worker) || !claim_chunk(run, &chunk)) {
        return FALSE;
    }
    start = hm_os_now();
    if (!run_chunk(run, &chunk)) {
        return FALSE;
    }
    hm_turns_note(&run->turns, chunk.length, start, hm_os_now());
    return TRUE;
}

static void run_chunks(gpointer data)
{
    Run *run = data;
    guint worker;

    if (!run->options->tune) {
        while (run_next_chunk(run)) {
        }
        return;
    }
    worker = hm_turns_join(&run->turns);
    while (run_tuned_chunk(run, worker)) {
    }
    hm_turns_end(&run->turns);
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

/** Undo what was reached, as far as there was nothing before. */
static gboolean roll_back(const Run *run, GError **error)
{
    const HmPreallocRegion *region = run->region;
    guint64 reached = MAX(run->cursor, run->allocated);
    HmDiscardTarget target = {
        .addr = region->addr,
        .page_size = region->page_size,
        .kind = region->kind,
        .shared = region->shared,
        .fd = region->fd,
        .fd_offset = region->fd_offset,
    };
    g_autoptr(HmRangeList) ranges = NULL;
    HmRange window;

    if (!region->holes || !hm_range_init(&window, 0, reached)) {
        return TRUE;
    }
    ranges = find_undoable(region, &window);
    return hm_discard_list(&target, ranges, NULL, error);
}

static gboolean may_roll_back(const Run *run)
{
    const HmPreallocOptions *options = run->options;

    if (g_error_matches(run->error, HOSTMEM_ERROR, HOSTMEM_ERROR_TIMED_OUT)) {
        return FALSE;
    }
    return !options->may_roll_back ||
           options->may_roll_back(options->roll_back_data);
}

/** Roll back, and say so in the run's error when that fails as well. */
static void undo(Run *run)
{
    g_autoptr(GError) why = NULL;

    if (may_roll_back(run) && !roll_back(run, &why)) {
        g_autofree char *message = run->error->message;

        run->error->message = g_strdup_printf(
            "%s; what was populated stays: %s", message, why->message);
    }
}

/* a run */

static void run_init(Run *run, const HmPreallocRegion *region,
                     const HmPreallocOptions *options,
                     GCancellable *cancellable, HmProgress *progress)
{
    gsize chunk_size = options->chunk_size;

    *run = (Run){
        .region = region,
        .options = options,
        .cancellable = cancellable,
        .progress = progress,
    };
    if (!chunk_size) {
        chunk_size = hm_prealloc_chunk_size(region, options->threads);
        run->shrinks = region->kind == HM_MEM_FILE;
    }
    run->chunk_size = round_to_granule(region, chunk_size);
    run->piece_size = piece_size_of(region);
    run->threads = count_threads(run);
    g_mutex_init(&run->room_lock);
    g_mutex_init(&run->error_lock);
    hm_progress_start(progress, region->length);
}

static void run_clear(Run *run)
{
    g_mutex_clear(&run->error_lock);
    g_mutex_clear(&run->room_lock);
}

/** Returns: how many workers did it, in the end */
static guint run_workers(Run *run)
{
    HmWork job = {run_whole_steps, run_chunks, run};
    GError *error = NULL;

    hm_turns_init(&run->turns, run->threads);
    if (!hm_workers_run(&job, run->threads, run->options, &error)) {
        fail_without_step(run, error);
    }
    return hm_turns_clear(&run->turns);
}

static void verify(Run *run)
{
    GError *error = NULL;

    if (run->options->verify &&
        !run->options->verify(run->options->verify_data, &error)) {
        fail_without_step(run, error);
    }
}

gboolean hm_prealloc_run(const HmPreallocRegion *region,
                         const HmPreallocOptions *options,
                         GCancellable *cancellable, HmPreallocResult *result,
                         HmPreallocFailure *failure, GError **error)
{
    gint64 started = hm_os_now();
    HmProgress progress = {0};
    guint threads;
    Run run;

    g_return_val_if_fail(options->threads > 0, FALSE);
    g_return_val_if_fail(region->length % region->page_size == 0, FALSE);

    run_init(&run, region, options, cancellable,
             options->progress ? options->progress : &progress);
    threads = run_workers(&run);
    if (!run.error) {
        verify(&run);
    }
    if (run.error) {
        undo(&run);
    } else {
        progress_finish(run.progress);
    }
    *result = (HmPreallocResult){
        .threads = threads,
        .elapsed_us = hm_os_now() - started,
        .populated = hm_progress_done(run.progress),
    };
    if (failure) {
        *failure = run.failure;
    }
    run_clear(&run);
    if (run.error) {
        g_propagate_error(error, run.error);
        return FALSE;
    }
    return TRUE;
}
