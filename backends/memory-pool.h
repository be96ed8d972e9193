/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/memory-pool.h>
#include "backends/pool-segment.h"

/*
 * memory-pool.c has the class, its properties and what changes them;
 * memory-pool-work.c the threads that fill and zero; memory-pool-lend.c what
 * backends borrow; memory-pool-saved.c how it outlives the process;
 * pool-segment.c a segment.
 */

/* A thread that comes when there is work, and goes when there is none. */
typedef struct {
    HostmemMemoryPool *pool; /* borrowed */
    /* One piece of work; with the lock, which it gives up while at it.
     * Returns: FALSE when there is none */
    gboolean (*work)(HostmemMemoryPool *pool);
    GThread *thread; /* (nullable): runs, or has ended and is to be joined */
    gboolean runs;
} HmPoolHand;

struct _HostmemMemoryPool {
    HostmemObject parent_instance;

    /* properties, as given; the live ones are behind value_lock */
    guint64 size;
    guint64 segment_size;
    gboolean hugetlb;
    guint64 hugetlb_size; /* bytes; 0: the kernel's default */
    gboolean seal;
    gint thp;
    char *host_nodes;
    gint policy;
    char *export_dir; /* (nullable) */
    guint32 prealloc_threads;
    GObject *prealloc_context;
    gboolean prealloc_async;
    guint64 low_water;
    guint32 zero_threads;
    gboolean reuse;

    /* what creation found; constant afterwards */
    gsize page_size;
    HmSegmentRecipe recipe;
    HmIdset *nodes;            /* (nullable): "host-nodes" */
    GCancellable *cancellable; /* of all threads; cancelled in the end */
    HmPoolHand filler;
    HmPoolHand *zeroers;
    guint n_zeroers;
    GWeakRef alive; /* itself, until it goes */

    GMutex lock;         /* innermost; guards what follows */
    GCond changed;       /* something to do for the filler, or the end */
    GPtrArray *segments; /* owned (element-type HmPoolSegment), of all states */
    guint wanted;        /* segments: "size" */
    gboolean below;      /* the mark; as it was told */
    guint64 mark;        /* bytes: "low-water" */
    gboolean quits;
    gboolean restoring;     /* borrowers may still come back: nothing works */
    GError *error;          /* (nullable): of the last try to fill */
    gint64 rest;            /* microseconds before the last one; 0: none */
    gint64 resume;          /* monotonic microseconds: the next one; 0: now */
    HmProgress *progresses; /* (nullable): of the batch that is being filled */
    guint n_progresses;
    guint64 filled;    /* bytes, of batches before it */
    gint64 started_us; /* hm_os_now() microseconds, of the first of them */
};

/* memory-pool-work.c */

/** Threads that can be started; once. */
void hm_memory_pool_make_hands(HostmemMemoryPool *self);

/** Segments in a state; with the lock. */
guint hm_memory_pool_count(HostmemMemoryPool *self, HmSegmentState state);
/**
 * hm_memory_pool_look_at_mark: has "ready-size" fallen below "low-water"?
 *
 * With the lock, after each change of either.
 *
 * Returns: whether hm_memory_pool_tell_low() has to be called, without it
 */
gboolean hm_memory_pool_look_at_mark(HostmemMemoryPool *self);
void hm_memory_pool_tell_low(HostmemMemoryPool *self);
/** Is there room for so many bytes more, and for their descriptors? */
gboolean hm_memory_pool_check_room(HostmemMemoryPool *self, guint64 bytes,
                                   GError **error);
/** Fill all that is missing, and wait for it; after a failure nothing is left.
 */
gboolean hm_memory_pool_fill(HostmemMemoryPool *self, GCancellable *cancellable,
                             GError **error);
/** Give back what is more than wanted and not lent; after each change of
 * segments or numbers. */
void hm_memory_pool_trim(HostmemMemoryPool *self);
/** Threads do whatever there is to do; without the lock. */
void hm_memory_pool_look(HostmemMemoryPool *self);
/** All threads end, before this returns. */
void hm_memory_pool_quit(HostmemMemoryPool *self);

/* memory-pool-lend.c */

/** What a backend needs. */
typedef struct {
    const char *borrower; /* (nullable): its id */
    guint64 length;       /* bytes, multiple of the page size */
    const HmIdset *nodes; /* (nullable): where it should lie */
    gboolean strict;      /* nothing that lies elsewhere will do */
} HmPoolDemand;

/**
 * HmPoolLoan: memory of a backend that comes from a pool.
 *
 * The parts are in ascending order without gaps: whole segments, of which the
 * last may be longer than what is used of it, then what the pool did not have,
 * as one fresh file.
 */
typedef struct HmPoolLoan {
    HostmemMemoryPool *pool; /* owned, and held */
    GPtrArray *segments;     /* owned (element-type HmPoolSegment) */
    HmBacking fresh;         /* its length is 0: none */
    guint misplaced;         /* segments that lie elsewhere than demanded */
    guint64 from_pool;       /* bytes */
    HmBackingPart *parts;
    guint n_parts;
} HmPoolLoan;

/**
 * hm_memory_pool_borrow: take what is ready, and fresh memory for the rest.
 *
 * Of segments those come first that lie on the nodes demanded.  Takes no longer
 * for large segments than for small ones.
 *
 * Returns: (transfer full): or NULL as hm_pool_segment_open_file()
 */
HmPoolLoan *hm_memory_pool_borrow(HostmemMemoryPool *self,
                                  const HmPoolDemand *demand, GError **error);
/**
 * hm_pool_loan_mark: from now on its memory may be written to.
 *
 * Before anybody else can reach it, and after it was given to its owner.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_SYSTEM
 */
gboolean hm_pool_loan_mark(HmPoolLoan *self, GError **error);
/**
 * hm_memory_pool_reclaim: what a borrower had in the process before.
 * @segments: how many, each of which must be there
 * @length: bytes, multiple of the page size
 * @fresh: what the pool did not have; taken after success
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_NOT_FOUND
 */
HmPoolLoan *hm_memory_pool_reclaim(HostmemMemoryPool *self,
                                   const char *borrower, guint64 segments,
                                   guint64 length, HmBacking *fresh,
                                   GError **error);
/**
 * hm_pool_loan_end: give it back.
 * @exposed: another process may have had it
 *
 * Pre: it is not mapped any more
 */
void hm_pool_loan_end(HmPoolLoan *self, gboolean exposed);

/* memory-pool-saved.c */

/** The vfunc save(). */
void hm_memory_pool_save(HostmemObject *object, HmSaved *saved);
/**
 * hm_memory_pool_restore: have the segments that were saved.
 *
 * What is of no use is a message, and replaced later.  Until
 * hm_memory_pool_end_restore() nothing is filled, zeroed or given back.
 *
 * Returns: FALSE with %G_IO_ERROR_CANCELLED, or %HOSTMEM_ERROR_INVALID
 */
gboolean hm_memory_pool_restore(HostmemMemoryPool *self,
                                GCancellable *cancellable, GError **error);
/** All that borrow from it are back: what is nobody's is dirty; work begins. */
void hm_memory_pool_end_restore(HostmemMemoryPool *self);
