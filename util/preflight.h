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
    const char *what;      /* for messages: "memory-backend-ram 'm0'" */
    const char *where;     /* (nullable): path, for messages */
} HmPreflightRequest;

/**
 * A look at every limit that memory of one kind meets: filesystem, huge page
 * pool (per node when bound), MemAvailable or the nodes' free memory, and the
 * cgroup limits (v1 and v2, memory and hugetlb) of this process all the way
 * up.  The places are found once, the numbers are read at each check.
 */
typedef struct HmPreflight HmPreflight;

HmPreflight *hm_preflight_new(const HmPreflightRequest *request);
void hm_preflight_free(HmPreflight *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmPreflight, hm_preflight_free)

/**
 * hm_preflight_check: is there room for @bytes more, now?
 *
 * Cheap enough to ask before each chunk of a population.  One thread at a
 * time.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_NO_MEMORY, %HOSTMEM_ERROR_NO_SPACE,
 * %HOSTMEM_ERROR_NO_HUGE_PAGES or %HOSTMEM_ERROR_LIMIT; the message says what
 * is needed, what is free, and where
 */
gboolean hm_preflight_check(HmPreflight *self, guint64 bytes, GError **error);
