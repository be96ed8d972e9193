/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/object.h>

G_BEGIN_DECLS

/**
 * HostmemMemoryPool:
 *
 * Memory that is ready before it is asked for ("memory-pool"): segments, each a
 * file of its own, zeroed, populated and on the NUMA nodes it is meant for.  A
 * backend with "pool" takes as many as it needs, each in constant time, and
 * gives them back when it goes; threads of the pool zero them again, and only
 * then they count as ready.  A segment that somebody else still has open or
 * mapped is replaced and never used again.
 *
 * Creation is complete when all segments are ready; with "prealloc-async" when
 * there is room for them.  "size" can change later: growing goes on in the
 * background, shrinking takes ready segments at once and lent ones when they
 * come back.  What cannot be had in the background is tried again, at longer
 * and longer intervals of up to a minute.
 *
 * Signal "low" (guint64 ready, guint64 low-water), in any thread: "ready-size"
 * has fallen below "low-water"; once, until it has been there again.
 *
 * A pool that has lent something is held: see hostmem_object_hold().  Its
 * memory belongs to this process, lent or not, and is charged to its cgroup.
 * Every function may be called from any thread.
 *
 * Creation errors: %HOSTMEM_ERROR_INVALID (sizes that do not go together, as
 * all other properties), and those of HostmemBackend.  After a failure nothing
 * is left behind.
 */
#define HOSTMEM_TYPE_MEMORY_POOL (hostmem_memory_pool_get_type())
typedef struct _HostmemMemoryPool HostmemMemoryPool;
#define HOSTMEM_MEMORY_POOL(obj)                                 \
    (G_TYPE_CHECK_INSTANCE_CAST((obj), HOSTMEM_TYPE_MEMORY_POOL, \
                                HostmemMemoryPool))
#define HOSTMEM_IS_MEMORY_POOL(obj) \
    (G_TYPE_CHECK_INSTANCE_TYPE((obj), HOSTMEM_TYPE_MEMORY_POOL))
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostmemMemoryPool, g_object_unref)

GType hostmem_memory_pool_get_type(void) G_GNUC_CONST;

/**
 * HostmemMemoryPoolStatus: what a pool has, all in bytes.
 * @size: as it was asked for
 * @segment_size: of each segment
 * @page_size: of the memory; transparent huge pages do not count
 * @ready: can be taken now
 * @lent: backends have it; after "size" was made smaller this may be more
 * @dirty: given back, not zeroed yet, or being zeroed
 * @low_water: 0: none
 *
 * What is missing to @size is being filled, or cannot be had.
 */
typedef struct {
    guint64 size;
    guint64 segment_size;
    guint64 page_size;
    guint64 ready;
    guint64 lent;
    guint64 dirty;
    guint64 low_water;
} HostmemMemoryPoolStatus;

/** hostmem_memory_pool_get_status: a look at all of it at one moment. */
void hostmem_memory_pool_get_status(HostmemMemoryPool *self,
                                    HostmemMemoryPoolStatus *status);

/**
 * hostmem_memory_pool_get_progress: how far a pool is filled.
 * @done: (out): bytes that have been populated of what is being filled
 * @total: (out): bytes to populate; both begin anew when all is filled
 * @elapsed_us: (out) (optional): microseconds since it began
 *
 * Returns: whether something is being filled now
 */
gboolean hostmem_memory_pool_get_progress(HostmemMemoryPool *self,
                                          guint64 *done, guint64 *total,
                                          gint64 *elapsed_us);

/**
 * hostmem_memory_pool_get_error: why it could not be filled.
 *
 * Returns: (transfer full) (nullable): of the last try; NULL when that worked
 */
GError *hostmem_memory_pool_get_error(HostmemMemoryPool *self);

G_END_DECLS
