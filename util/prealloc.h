/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>
#include "util/idset.h"
#include "util/os.h"
#include "util/prealloc-plan.h"
#include "util/prealloc-queue.h"

/** Progress of a run; any thread may read it while the run goes on. */
typedef struct {
    gint64 done;  /* atomic; bytes */
    gint64 total; /* atomic; bytes */
} HmProgress;

/** Nothing of @total is done; a run begins with that. */
void hm_progress_start(HmProgress *progress, guint64 total);
guint64 hm_progress_done(const HmProgress *progress);
guint64 hm_progress_total(const HmProgress *progress);

/** The memory to populate. */
typedef struct {
    guint8 *addr;    /* page aligned */
    gsize length;    /* bytes, multiple of page_size */
    gsize page_size; /* bytes */
    HmMemKind kind;
    gboolean shared;
    gboolean locked;            /* in memory, as it comes */
    int fd;                     /* -1 when anonymous */
    guint64 fd_offset;          /* bytes; where @addr lies in @fd */
    const HmBackingPart *parts; /* (nullable): several files in place of @fd */
    guint n_parts;
    const HmPreallocPlan *plan;
    const HmRangeList *holes; /* offsets from @addr without data that nobody
                               * else writes meanwhile: a failed run discards
                               * them again; NULL: not known, none */
} HmPreallocRegion;

/** Start a worker; the shape of hostmem_thread_context_spawn(). */
typedef GThread *(*HmSpawnFunc)(const char *name, GThreadFunc func,
                                gpointer data, gpointer spawn_data,
                                GError **error);
/** Is there room for @bytes more?  Called from workers, one at a time. */
typedef gboolean (*HmRoomFunc)(guint64 bytes, gpointer room_data,
                               GError **error);

/** Is what was populated as it should be?  Asked once, after all workers. */
typedef gboolean (*HmVerifyFunc)(gpointer verify_data, GError **error);

/** May the holes be discarded?  Asked once, after all workers have failed. */
typedef gboolean (*HmRollBackFunc)(gpointer roll_back_data);

typedef struct {
    guint threads;     /* workers, at most one a chunk; not 0 */
    gboolean tune;     /* park those of them that do not make it faster */
    HmSpawnFunc spawn; /* NULL: hm_thread_new */
    gpointer spawn_data;
    const HmIdset *cpus; /* bind the workers to these; NULL: as the caller */
    HmPriority priority; /* of the workers */
    HmRoomFunc room;     /* asked before storage is made, chunk by chunk, for
                          * what lies in the holes; NULL: do not ask */
    gpointer room_data;
    HmVerifyFunc verify; /* NULL: it is */
    gpointer verify_data;
    HmRollBackFunc may_roll_back; /* NULL: yes */
    gpointer roll_back_data;
    gint64 deadline;      /* hm_os_now() microseconds; 0: none */
    gsize chunk_size;     /* bytes; 0: chosen from length and threads */
    HmQueuePlace *place;  /* among those who share the CPUs; NULL: none do */
    HmProgress *progress; /* (nullable) */
} HmPreallocOptions;

typedef struct {
    guint threads;     /* workers that ran; tuned: those it settled on */
    gint64 elapsed_us; /* microseconds */
    guint64 populated; /* bytes */
} HmPreallocResult;

/** Where and why a run failed, for a message that names the limit. */
typedef struct {
    int err;             /* positive errno; 0 when it was not a system call */
    HmPreallocStep step; /* with an errno */
    guint64 offset;      /* bytes from the start of the region; with an errno */
    guint64 done;        /* bytes that had been populated */
} HmPreallocFailure;

/** A region of a run, and what became of it. */
typedef struct {
    const HmPreallocRegion *region;
    const HmPreallocOptions *options;
    HmPreallocResult result;
    HmPreallocFailure failure; /* with an error */
    GError *error;             /* why not all was populated; the caller's */
} HmPreallocPart;

/**
 * hm_prealloc_run_all: populate regions at the same time; blocks until all
 * workers are done.
 * @failed: index of a part that failed, when it returns FALSE
 *
 * Keeps the contents, also those that others write meanwhile.  Cancel and
 * deadline take effect within a chunk.  A deadline limits the time of its part
 * alone: that has an error then, which is no failure, and takes nothing back.
 * When a part fails the others are stopped, and what this run reached in the
 * holes of all parts has been discarded again, except where may_roll_back says
 * no.
 *
 * Part errors: the errno's code ("preallocating memory failed: ...
 * at offset ..."), where no page could be had %HOSTMEM_ERROR_NO_SPACE (shared
 * memory), %HOSTMEM_ERROR_NO_HUGE_PAGES (hugetlb) or %HOSTMEM_ERROR_SYSTEM,
 * %HOSTMEM_ERROR_CHANGED (the file shrank, memory is poisoned),
 * %HOSTMEM_ERROR_UNSUPPORTED (backed was wanted of a filesystem that cannot),
 * %HOSTMEM_ERROR_TIMED_OUT, %G_IO_ERROR_CANCELLED, what room or verify said,
 * or %HOSTMEM_ERROR_LIMIT (no thread to be had).
 *
 * Returns: FALSE when a part failed
 */
gboolean hm_prealloc_run_all(HmPreallocPart *parts, guint n,
                             GCancellable *cancellable, guint *failed);

/** Bytes of a chunk by default: a multiple of the page and huge page. */
gsize hm_prealloc_chunk_size(const HmPreallocRegion *region, guint threads);
