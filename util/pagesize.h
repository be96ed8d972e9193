/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/idset.h"

/** A hugetlb pool of one page size; counts are pages. */
typedef struct {
    guint64 page_size; /* bytes */
    guint64 total;
    guint64 free;
    guint64 reserved;   /* of the free ones, promised to mappings */
    guint64 surplus;    /* beyond the pool, from overcommit */
    guint64 overcommit; /* how many surplus pages are allowed */
} HmHugePool;

/**
 * hm_huge_pool_read: the state of one pool.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_UNSUPPORTED (no such huge page size)
 */
gboolean hm_huge_pool_read(guint64 page_size, HmHugePool *pool, GError **error);
/** Pages that a new reservation can have: free, unpromised, overcommit. */
guint64 hm_huge_pool_available(const HmHugePool *pool);
/** Huge pages of a NUMA node, and the free ones of them; FALSE, and 0 of each,
 * when the node has no such pool. */
gboolean hm_huge_pool_on_node(guint64 page_size, guint node, guint64 *total,
                              guint64 *free);
/** Free huge pages on a NUMA node; 0 when the node has no such pool. */
guint64 hm_huge_pool_free_on_node(guint64 page_size, guint node);
/** (transfer full) (element-type guint64): sizes in bytes, ascending. */
GArray *hm_huge_page_sizes(void);

/**
 * hm_fd_page_size: bytes of a page of what backs a descriptor.
 *
 * The block size on hugetlbfs, else the base page; -1 is anonymous memory.
 *
 * Returns: 0 or -errno
 */
int hm_fd_page_size(int fd, gsize *page_size);
