/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

/** Policy words of /sys/kernel/mm/transparent_hugepage. */
typedef enum {
    HM_THP_NEVER,
    HM_THP_MADVISE,
    HM_THP_ALWAYS,
} HmThpPolicy;

typedef enum {
    HM_SHMEM_THP_NEVER,
    HM_SHMEM_THP_ADVISE,
    HM_SHMEM_THP_WITHIN_SIZE,
    HM_SHMEM_THP_ALWAYS,
    HM_SHMEM_THP_DENY,
    HM_SHMEM_THP_FORCE,
} HmShmemThpPolicy;

/** What this kernel can do; constant while the process lives. */
typedef struct {
    gboolean populate;        /* MADV_POPULATE_READ/_WRITE, 5.14 */
    gboolean collapse;        /* MADV_COLLAPSE, 6.1 */
    gboolean self_madvise;    /* process_madvise on self, any advice, 6.13 */
    gboolean dontneed_locked; /* MADV_DONTNEED_LOCKED, 5.18 */
    gboolean private_tmpfs;   /* a detached tmpfs with huge=always */
    gboolean memfd_sealing;
    gboolean memfd_hugetlb;
    gboolean merge;       /* KSM advice is compiled in */
    gsize page_size;      /* bytes, base page */
    gsize thp_size;       /* bytes, PMD huge page; 0 without THP */
    gsize huge_page_size; /* bytes, default hugetlb size; 0 without */
} HmHostCaps;

/** (transfer none): probed at the first call; any thread. */
const HmHostCaps *hm_hostcaps_get(void);
/** Probe anew, for tests. */
void hm_hostcaps_probe(HmHostCaps *caps);

/** Policies change while we run: read at each call. */
HmThpPolicy hm_hostcaps_thp(void);
HmShmemThpPolicy hm_hostcaps_shmem_thp(void);
const char *hm_thp_policy_name(HmThpPolicy policy);
const char *hm_shmem_thp_policy_name(HmShmemThpPolicy policy);
