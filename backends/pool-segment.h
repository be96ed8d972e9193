/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "backends/hostmem.h"

/*
 * A segment of a memory-pool: one file, mapped and populated by this process,
 * or left by another one.
 *
 * It is a backend of its own that no registry knows, so that planner, engine,
 * preflight, NUMA and huge pages are the same as for all others.  Its name in
 * messages is the pool's.  pool-segment.c has how it is made and marked,
 * pool-segment-renew.c what becomes of it when it comes back.
 */
#define HM_TYPE_POOL_SEGMENT (hm_pool_segment_get_type())
typedef struct HmPoolSegment HmPoolSegment;
GType hm_pool_segment_get_type(void) G_GNUC_CONST;
#define HM_POOL_SEGMENT(obj) \
    G_TYPE_CHECK_INSTANCE_CAST((obj), HM_TYPE_POOL_SEGMENT, HmPoolSegment)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmPoolSegment, g_object_unref)

/**
 * HmSegmentState:
 * @HM_SEGMENT_FILLING: it is being made; nobody else knows its memory
 * @HM_SEGMENT_READY: zeroed, populated, and nobody else has it
 * @HM_SEGMENT_LENT: a backend has it
 * @HM_SEGMENT_KEPT: a backend of the process before had it, and has not come
 * back yet
 * @HM_SEGMENT_DIRTY: given back, content and holders unknown
 * @HM_SEGMENT_ZEROING: a worker is at it
 */
typedef enum {
    HM_SEGMENT_FILLING,
    HM_SEGMENT_READY,
    HM_SEGMENT_LENT,
    HM_SEGMENT_KEPT,
    HM_SEGMENT_DIRTY,
    HM_SEGMENT_ZEROING,
    HM_SEGMENT_N_STATES,
} HmSegmentState;

struct HmPoolSegment {
    HostmemBackend parent_instance;

    /* constant */
    gsize huge_page_size; /* bytes; 0: base pages */
    gboolean seal;
    const char *export_dir; /* (nullable): the pool's */
    gboolean keeps_name;    /* in there */

    /* of who fills or renews it */
    guint64 huge;      /* bytes that huge pages mapped when it was filled */
    gboolean unmapped; /* its page tables are empty: it was left by another */

    /* guarded by the pool's lock */
    HmSegmentState state;
    HmIdset *where;   /* (nullable): nodes that a sample of pages lies on */
    char *borrower;   /* (nullable): id of the backend that has it */
    guint place;      /* which part of the borrower it is */
    gboolean exposed; /* another process may have it */
};

/** How segments of a pool are made. */
typedef struct {
    HostmemObject *pool; /* borrowed: its id and its jobs */
    guint64 size;        /* bytes */
    gsize huge_page_size;
    gboolean seal;
    gint thp;
    const char *host_nodes; /* (nullable) */
    gint policy;
    guint32 threads;
    GObject *context;       /* (nullable) */
    const char *export_dir; /* (nullable): where it can have names; outlives
                             * the segments */
} HmSegmentRecipe;

/**
 * hm_pool_segment_open_file: a file for @size bytes of such memory, which may
 * be another size than a segment's.
 *
 * Nobody else can open it: it is ours, with mode 0600.
 *
 * Returns: FALSE as hm_backing_init_memfd()
 */
gboolean hm_pool_segment_open_file(const HmSegmentRecipe *recipe, guint64 size,
                                   HmBacking *backing, GError **error);

/** (transfer full): a segment that is mapped, not populated; or NULL. */
HmPoolSegment *hm_pool_segment_new(const HmSegmentRecipe *recipe,
                                   GCancellable *cancellable, GError **error);

/**
 * hm_pool_segment_adopt: one that another process has left.
 * @saved: (transfer full): its descriptor
 *
 * Returns: (transfer full): mapped, not populated; or NULL as
 * hm_backend_adopt()
 */
HmPoolSegment *hm_pool_segment_adopt(const HmSegmentRecipe *recipe,
                                     HmSaved *saved, GCancellable *cancellable,
                                     GError **error);

/**
 * hm_pool_segment_own: nobody else can open the file, but root.
 * @clean: nobody has written to it since it was zeroed
 *
 * Returns: 0 or -errno
 */
int hm_pool_segment_own(int fd, gboolean clean);
/**
 * hm_pool_segment_mark: it is not clean any more, as far as a later process can
 * tell.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_SYSTEM
 */
gboolean hm_pool_segment_mark(HmPoolSegment *self, GError **error);
/** Whether it certainly was not lent since it was zeroed. */
gboolean hm_pool_segment_is_clean(const HmPoolSegment *self);
/** Bytes that huge pages map now. */
guint64 hm_pool_segment_count_huge(const HmPoolSegment *self);

/**
 * hm_pool_segments_fill: populate new segments at the same time.
 * @segments: (element-type HmPoolSegment)
 * @background: nobody waits for it
 * @progresses: (array) (nullable): as many
 *
 * Returns: FALSE as hostmem_backend_populate(); none is of use then
 */
gboolean hm_pool_segments_fill(GPtrArray *segments, gboolean background,
                               HmProgress *progresses,
                               GCancellable *cancellable, GError **error);

/**
 * hm_pool_segment_renew: make what came back as good as new.
 *
 * Makes sure that nobody else has it, gives it its place on the nodes again,
 * mends holes and lost huge pages, and writes zeroes.  Blocks.
 *
 * Returns: FALSE when it must never be used again, with %HOSTMEM_ERROR_BUSY
 * (somebody still has it, or it cannot be told), %HOSTMEM_ERROR_CHANGED
 * (truncated, poisoned), what hostmem_backend_populate() says, or
 * %G_IO_ERROR_CANCELLED
 */
gboolean hm_pool_segment_renew(HmPoolSegment *self, GCancellable *cancellable,
                               GError **error);

/** (transfer full) (nullable): nodes that a sample of its pages lies on. */
HmIdset *hm_pool_segment_find_nodes(HmPoolSegment *self);
