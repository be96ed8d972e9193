/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/backing.h"

/** What somebody wants to populate. */
typedef struct {
    HmMemKind kind;
    gsize page_size;       /* bytes */
    const HmIdset *nodes;  /* bound to these; NULL: any */
    int fd;                /* filesystem to ask; -1: none */
    gboolean private_copy; /* private mapping of a file: RAM, not storage */
    gboolean reserved;     /* hugetlb: the mapping holds its reservation */
    gboolean locked;       /* in memory: there is no swap for it */
    const char *what;      /* for messages: "memory-backend-ram 'm0'" */
    const char *where;     /* (nullable): path, for messages */
} HmPreflightRequest;

/**
 * A look at every limit that memory of one kind meets: filesystem, huge page
 * pool (per node when bound), MemAvailable or the nodes' free memory, and the
 * cgroup limits (v1 and v2, memory and hugetlb) of this process all the way
 * up.  The places are found once, the numbers are read at each check.  A
 * number that cannot be read limits nothing.
 */
typedef struct HmPreflight HmPreflight;

/** @request is copied; its fd is borrowed and must outlive the preflight. */
HmPreflight *hm_preflight_new(const HmPreflightRequest *request);
void hm_preflight_free(HmPreflight *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmPreflight, hm_preflight_free)

/**
 * hm_preflight_check: is there room for @bytes more, now?
 *
 * Where RAM is taken it must also hold the page tables and a small reserve,
 * so that a population which just fits does not wake the OOM killer; after a
 * check that succeeded, half the reserve will do.  What the kernel can reclaim
 * counts as free: swap (not in cgroups, nor on bound nodes, nor for locked
 * memory) and page cache.
 *
 * Cheap enough to ask before each chunk of a population: some ten small files
 * of /proc and /sys.  One thread at a time.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_NO_MEMORY (RAM), %HOSTMEM_ERROR_NO_SPACE
 * (filesystem), %HOSTMEM_ERROR_NO_HUGE_PAGES (pool) or %HOSTMEM_ERROR_LIMIT
 * (cgroup); the message says what is needed, what is free, and where
 */
gboolean hm_preflight_check(HmPreflight *self, guint64 bytes, GError **error);

/** Bytes of a promise that are not there yet; any thread, must not block. */
typedef guint64 (*HmLeftFunc)(gpointer data);

/**
 * hm_preflight_promise: check, and keep the room from others until freed.
 * @left: how much of @bytes is still to come; called for other checks
 *
 * Two populations may fit each, but not together, and what the later one would
 * run into is the OOM killer.  So whoever asks for a promise must find room
 * beside all that this process has promised and not yet populated.  RAM only:
 * elsewhere the kernel refuses what does not fit.  Once for a preflight; any
 * thread.
 *
 * Returns: FALSE as hm_preflight_check(), and nothing is promised
 */
gboolean hm_preflight_promise(HmPreflight *self, guint64 bytes, HmLeftFunc left,
                              gpointer data, GError **error);
