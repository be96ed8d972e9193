/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/virtqueue.h>

/* The two files of the virtqueue: virtqueue.c has the rings, virtqueue-chain.c
 * chains of descriptors. */

/** Where a chain begins, and what may be in it. */
typedef struct {
    HostmemGuestMemory *memory;
    guint64 table; /* guest physical address of the descriptors */
    guint32 size;  /* of them */
    gboolean indirect;
    guint16 head; /* pre: below size */
} HmChainStart;

/**
 * hm_virtqueue_chain_read: read a chain of descriptors, and check it.
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_INVALID, which rule
 * of virtio it breaks
 */
HostmemVirtqueueElement *hm_virtqueue_chain_read(const HmChainStart *start,
                                                 GError **error);
/** The descriptor that it begins with. */
guint16 hm_virtqueue_element_get_head(const HostmemVirtqueueElement *self);
