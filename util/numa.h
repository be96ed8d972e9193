/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/idset.h"

/** Largest number of host nodes QEMU's interface can name. */
#define HM_NUMA_MAX_NODES 128

/** (transfer full): nodes with memory; {0} on a host without NUMA. */
HmIdset *hm_numa_memory_nodes(void);
/** (transfer full): CPUs of the nodes; unknown nodes have none. */
HmIdset *hm_numa_cpus_of(const HmIdset *nodes);
/** (transfer full): CPUs the caller may use: affinity, cpuset. */
HmIdset *hm_numa_allowed_cpus(void);
/** CPUs that cgroup quotas pay for, the least of all levels, rounded up, at
 * least 1; G_MAXUINT without.  Versions 1 and 2. */
guint hm_numa_cpu_quota(void);

/** Memory of a node in bytes. */
typedef struct {
    guint64 total;
    guint64 free;
    guint64 available; /* free, and page cache that is clean */
} HmNodeMemory;
/** Returns: FALSE with %HOSTMEM_ERROR_NOT_FOUND (no such node) */
gboolean hm_numa_node_memory(guint node, HmNodeMemory *memory, GError **error);
