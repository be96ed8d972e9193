/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include "util/align.h"
#include "util/error.h"
#include "util/os.h"
#include "util/prealloc-part.h"
#include "util/prealloc-steps.h"
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
 * The first error stops all workers, of the other regions too, at their next
 * piece; a deadline only those of its region.  Where regions share the CPUs, a
 * worker waits for one before each chunk, and is woken when it has to stop.
 */

#define BASE_PIECE     (16 * HM_MIB)  /* base pages: 5 to 15 ms a call */
#define HUGE_PIECE     (64 * HM_MIB)  /* huge pages: about as long */
#define ALLOCATE_PIECE (256 * HM_MIB) /* at worst base pages: 70 ms */
#define MIN_CHUNK      (4 * HM_MIB)
#define PIECES_A_CHUNK 4
/* Fine enough that workers finish together, to 1 or 2 %. */
#define CHUNKS_A_THREAD 64
static void progress_add(HmProgress *progress, guint64 bytes)
{
    __atomic_fetch_add(&progress->done, (gint64)bytes, __ATOMIC_RELAXED);
}

void hm_part_finish(HmPart *self)
{
    __atomic_store_n(&self->progress->done, self->progress->total,
                     __ATOMIC_RELAXED);
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

static guint count_threads(const HmPart *part)
{
    gsize chunks = part->region->length / part->chunk_size;

    if (!part->region->plan->n_chunk) {
        return 1;
    }
    chunks += part->region->length % part->chunk_size != 0;
    return MIN(part->options->threads, chunks);
}

/* stopping */

/** Its workers end at their next piece, or without another one. */
static void stop(HmPart *part)
{
    g_atomic_int_set(&part->stop, TRUE);
    if (part->options->place) {
        hm_queue_close(part->options->place);
    }
}

/** Time is limited for one region, and no failure. */
static gboolean stops_others(const GError *error)
{
    return !g_error_matches(error, HOSTMEM_ERROR, HOSTMEM_ERROR_TIMED_OUT);
}

/** Keep the first error, and stop what it stops.  Takes @error. */
static void fail(HmPart *part, const HmPreallocFailure *failure, GError *error)
{
    gboolean all = stops_others(error);

    g_mutex_lock(&part->error_lock);
    if (!part->error) {
        part->error = g_steal_pointer(&error);
        part->failure = *failure;
        part->failure.done = hm_progress_done(part->progress);
    }
    g_mutex_unlock(&part->error_lock);
    g_clear_error(&error);
    stop(part);
    for (guint i = 0; all && i < part->all->n; i++) {
        stop(&part->all->parts[i]);
    }
}

static void fail_step(HmPart *part, HmPreallocStep step, int err,
                      guint64 offset)
{
    HmPreallocFailure failure = {.err = err, .step = step, .offset = offset};
    GError *error = NULL;

    hm_prealloc_set_error(part->region, &failure, &error);
    fail(part, &failure, error);
}

void hm_part_fail(HmPart *self, GError *error)
{
    fail(self, &(HmPreallocFailure){0}, error);
}

gboolean hm_part_has_failed(const HmPart *self)
{
    return self->error && stops_others(self->error);
}

static void fail_cancelled(HmPart *part)
{
    hm_part_fail(part, g_error_new(G_IO_ERROR, G_IO_ERROR_CANCELLED,
                                   "preallocating memory was cancelled "
                                   "after %" G_GUINT64_FORMAT
                                   " of %" G_GSIZE_FORMAT " bytes",
                                   hm_progress_done(part->progress),
                                   part->region->length));
}

static void fail_timed_out(HmPart *part)
{
    GError *error = NULL;

    hm_set_error(&error, HOSTMEM_ERROR_TIMED_OUT,
                 "preallocating memory stopped: the deadline passed after "
                 "%" G_GUINT64_FORMAT " of %" G_GSIZE_FORMAT " bytes",
                 hm_progress_done(part->progress), part->region->length);
    hm_part_fail(part, error);
}

static gboolean may_go_on(HmPart *part)
{
    if (g_atomic_int_get(&part->stop)) {
        return FALSE;
    }
    if (g_cancellable_is_cancelled(part->all->cancellable)) {
        fail_cancelled(part);
        return FALSE;
    }
    if (part->options->deadline && hm_os_now() >= part->options->deadline) {
        fail_timed_out(part);
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

static gboolean ask_for_room(HmPart *part, guint64 bytes)
{
    GError *error = NULL;
    gboolean ok;

    g_mutex_lock(&part->room_lock);
    ok = part->options->room(bytes, part->options->room_data, &error);
    g_mutex_unlock(&part->room_lock);
    if (!ok) {
        hm_part_fail(part, error);
    }
    return ok;
}

static gboolean has_room(HmPart *part, const HmRange *range)
{
    guint64 bytes;

    if (!part->options->room || part->backed) {
        return TRUE;
    }
    bytes = bytes_in_holes(part->region, range);
    return !bytes || ask_for_room(part, bytes);
}

/* a CPU */

/** Whether there is nothing left to begin. */
static gboolean is_done(const HmPart *part)
{
    guint64 begun = part->region->plan->n_chunk
                        ? __atomic_load_n(&part->cursor, __ATOMIC_RELAXED)
                        : part->allocated;

    return begun >= part->region->length;
}

/** What a worker has of the queue. */
typedef struct {
    HmPart *part;
    gboolean has_cpu;
} Seat;

static void leave_cpu(Seat *seat)
{
    if (seat->has_cpu && seat->part->options->place) {
        hm_queue_exit(seat->part->options->place);
    }
    seat->has_cpu = FALSE;
}

/** Wait for a CPU, or for the same one again; FALSE: it has none, nor needs
 * one any more. */
static gboolean take_cpu(Seat *seat)
{
    HmPart *part = seat->part;
    HmQueuePlace *place = part->options->place;
    gint64 deadline = part->options->deadline;

    if (!place) {
        return TRUE;
    }
    seat->has_cpu = seat->has_cpu ? hm_queue_yield(place, deadline)
                                  : hm_queue_enter(place, deadline);
    while (!seat->has_cpu) {
        if (!may_go_on(part) || is_done(part)) {
            return FALSE;
        }
        seat->has_cpu = hm_queue_enter(place, deadline);
    }
    return TRUE;
}

/* the work */

/** The range of at most @size bytes at @offset. */
static HmRange cut(const HmPreallocRegion *region, guint64 offset, gsize size)
{
    return (HmRange){offset, MIN(size, region->length - offset)};
}

/** The next piece of it; FALSE: no more of it. */
static gboolean allocate_piece(HmPart *part)
{
    const HmPreallocRegion *region = part->region;
    HmRange range = cut(region, part->allocated, ALLOCATE_PIECE);
    gboolean is_all = !region->plan->n_chunk;
    guint64 failed_at;
    int r;

    if (!may_go_on(part) || !has_room(part, &range)) {
        return FALSE;
    }
    r = hm_prealloc_step(region, HM_STEP_ALLOCATE, range.offset, range.length,
                         &failed_at);
    if (r == -EOPNOTSUPP && !is_all) {
        return FALSE;
    }
    if (r < 0) {
        fail_step(part, HM_STEP_ALLOCATE, -r, failed_at);
        return FALSE;
    }
    part->allocated += range.length;
    if (is_all) {
        progress_add(part->progress, range.length);
    }
    return TRUE;
}

/** Make all storage, where that is possible beforehand. */
static void allocate_whole(HmPart *part)
{
    Seat seat = {.part = part};

    while (part->allocated < part->region->length && take_cpu(&seat) &&
           allocate_piece(part)) {
    }
    leave_cpu(&seat);
    part->backed = part->allocated == part->region->length;
}

void hm_part_run_whole_steps(gpointer data)
{
    HmPart *part = data;
    const HmPreallocRegion *region = part->region;
    guint64 failed_at;

    for (guint i = 0; i < region->plan->n_whole; i++) {
        if (region->plan->whole[i] == HM_STEP_ALLOCATE) {
            allocate_whole(part);
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

static gboolean run_piece(HmPart *part, const HmRange *piece)
{
    const HmPreallocPlan *plan = part->region->plan;

    if (touch_present(part->region, piece)) {
        progress_add(part->progress, piece->length);
        return TRUE;
    }
    for (guint i = 0; i < plan->n_chunk; i++) {
        guint64 failed_at = piece->offset;
        int r = hm_prealloc_step(part->region, plan->chunk[i], piece->offset,
                                 piece->length, &failed_at);

        if (r == -EOPNOTSUPP && plan->chunk[i] == HM_STEP_ALLOCATE &&
            i + 1 < plan->n_chunk) {
            continue; /* the next step finds out whether there is storage */
        }
        if (r < 0) {
            fail_step(part, plan->chunk[i], -r, failed_at);
            return FALSE;
        }
    }
    progress_add(part->progress, piece->length);
    return TRUE;
}

static gboolean run_chunk(HmPart *part, const HmRange *chunk)
{
    guint64 end = hm_range_end(chunk);
    guint64 offset = chunk->offset;

    if (!may_go_on(part) || !has_room(part, chunk)) {
        return FALSE;
    }
    while (offset < end) {
        HmRange piece = {offset, MIN(part->piece_size, end - offset)};

        if (!may_go_on(part) || !run_piece(part, &piece)) {
            return FALSE;
        }
        offset += piece.length;
    }
    return TRUE;
}

/** The chunk that begins at @offset. */
static HmRange chunk_at(const HmPart *part, guint64 offset)
{
    const HmPreallocRegion *region = part->region;
    gsize size = part->chunk_size;

    if (part->shrinks) {
        size = MAX(size, round_to_granule(region, (region->length - offset) /
                                                      part->threads / 2));
    }
    return cut(region, offset, size);
}

/** Claim the next chunk; FALSE when there is none left. */
static gboolean claim_chunk(HmPart *part, HmRange *chunk)
{
    guint64 offset = __atomic_load_n(&part->cursor, __ATOMIC_RELAXED);

    if (!part->region->plan->n_chunk || g_atomic_int_get(&part->stop)) {
        return FALSE;
    }
    do {
        if (offset >= part->region->length) {
            return FALSE;
        }
        *chunk = chunk_at(part, offset);
    } while (!__atomic_compare_exchange_n(&part->cursor, &offset,
                                          hm_range_end(chunk), FALSE,
                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return TRUE;
}

static gboolean run_next_chunk(HmPart *part)
{
    HmRange chunk;

    return claim_chunk(part, &chunk) && run_chunk(part, &chunk);
}

/** The same, and in what time. */
static gboolean run_timed_chunk(HmPart *part)
{
    gint64 start = hm_os_now();
    HmRange chunk;

    if (!claim_chunk(part, &chunk) || !run_chunk(part, &chunk)) {
        return FALSE;
    }
    hm_turns_note(&part->turns, chunk.length, start, hm_os_now());
    return TRUE;
}

/** Who is parked does not keep a CPU from others. */
static gboolean wait_for_turn(Seat *seat, guint worker)
{
    HmTurns *turns = &seat->part->turns;

    if (!seat->part->options->tune) {
        return TRUE;
    }
    if (!hm_turns_is_next(turns, worker)) {
        leave_cpu(seat);
    }
    return hm_turns_wait(turns, worker);
}

/** The next chunk, when it is the worker's turn and there is a CPU. */
static gboolean take_turn(Seat *seat, guint worker)
{
    HmPart *part = seat->part;

    if (!wait_for_turn(seat, worker) || !take_cpu(seat)) {
        return FALSE;
    }
    return part->options->tune ? run_timed_chunk(part) : run_next_chunk(part);
}

/* Those who wait for a turn or a CPU are sent home by the first who ends. */
void hm_part_run_chunks(gpointer data)
{
    HmPart *part = data;
    Seat seat = {.part = part};
    guint worker = hm_turns_join(&part->turns);

    while (take_turn(&seat, worker)) {
    }
    __atomic_store_n(&part->ended, hm_os_now(), __ATOMIC_RELAXED);
    hm_turns_end(&part->turns);
    if (part->options->place) {
        hm_queue_close(part->options->place);
    }
    leave_cpu(&seat);
}

/* life */

void hm_part_init(HmPart *self, HmParts *all, const HmPreallocRegion *region,
                  const HmPreallocOptions *options)
{
    gsize chunk_size = options->chunk_size;

    *self = (HmPart){.all = all, .region = region, .options = options};
    self->progress = options->progress ? options->progress : &self->own;
    if (!chunk_size) {
        chunk_size = hm_prealloc_chunk_size(region, options->threads);
        self->shrinks = region->kind == HM_MEM_FILE;
    }
    self->chunk_size = round_to_granule(region, chunk_size);
    self->piece_size = piece_size_of(region);
    self->threads = count_threads(self);
    g_mutex_init(&self->room_lock);
    g_mutex_init(&self->error_lock);
    hm_turns_init(&self->turns, self->threads);
    hm_progress_start(self->progress, region->length);
}

guint hm_part_clear(HmPart *self)
{
    g_mutex_clear(&self->error_lock);
    g_mutex_clear(&self->room_lock);
    return hm_turns_clear(&self->turns);
}
