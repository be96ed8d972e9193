/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/cgroup.h"
#include "util/error.h"
#include "util/numa.h"
#include "util/os.h"
#include "util/procfield.h"

#define NODE_DIR "/sys/devices/system/node"

/* (nullable): the set of ids that a file holds. */
static HmIdset *read_ids(const char *path)
{
    g_autofree char *text = NULL;

    return hm_os_read_text(path, &text) < 0 ? NULL : hm_idset_parse(text, NULL);
}

/* A kernel without NUMA has no such directory: then all is node 0. */
static gboolean host_has_nodes(void)
{
    g_autofree char *text = NULL;

    return hm_os_read_text(NODE_DIR "/online", &text) == 0;
}

HmIdset *hm_numa_memory_nodes(void)
{
    HmIdset *nodes = read_ids(NODE_DIR "/has_memory");

    if (!nodes) {
        nodes = read_ids(NODE_DIR "/online");
    }
    if (!nodes) {
        nodes = hm_idset_new();
        hm_idset_add(nodes, 0);
    }
    return nodes;
}

static HmIdset *cpus_of_node(guint node)
{
    g_autofree char *path = g_strdup_printf(NODE_DIR "/node%u/cpulist", node);

    if (node == 0 && !host_has_nodes()) {
        return read_ids("/sys/devices/system/cpu/online");
    }
    return read_ids(path);
}

HmIdset *hm_numa_cpus_of(const HmIdset *nodes)
{
    HmIdset *cpus = hm_idset_new();

    HM_IDSET_FOREACH (nodes, node) {
        g_autoptr(HmIdset) more = cpus_of_node(node);

        if (more) {
            hm_idset_union(cpus, more);
        }
    }
    return cpus;
}

HmIdset *hm_numa_allowed_cpus(void)
{
    HmIdset *cpus = hm_idset_new();

    /* Cannot fail for the caller itself; a cpuset is part of the answer. */
    if (hm_os_get_affinity(0, cpus) < 0) {
        hm_idset_add(cpus, 0);
    }
    return cpus;
}

static int read_node_meminfo(guint node, char **textp)
{
    g_autofree char *path = g_strdup_printf(NODE_DIR "/node%u/meminfo", node);

    if (node == 0 && !host_has_nodes()) {
        return hm_os_read_text("/proc/meminfo", textp);
    }
    return hm_os_read_text(path, textp);
}

gboolean hm_numa_node_memory(guint node, HmNodeMemory *memory, GError **error)
{
    g_autofree char *text = NULL;
    guint64 cache, busy;

    if (read_node_meminfo(node, &text) < 0) {
        return hm_set_error(error, HOSTMEM_ERROR_NOT_FOUND,
                            "this host has no NUMA node %u", node);
    }
    cache = hm_procfield_bytes(text, "Active(file)") +
            hm_procfield_bytes(text, "Inactive(file)");
    busy = hm_procfield_bytes(text, "Dirty") +
           hm_procfield_bytes(text, "Writeback");
    memory->total = hm_procfield_bytes(text, "MemTotal");
    memory->free = hm_procfield_bytes(text, "MemFree");
    memory->available = memory->free + (cache > busy ? cache - busy : 0);
    return TRUE;
}

/* Whole CPUs that @quota of each @period pays for. */
static guint cpus_of_quota(guint64 quota, guint64 period)
{
    guint64 cpus = period ? quota / period + !!(quota % period) : G_MAXUINT;

    return (guint)CLAMP(cpus, 1, G_MAXUINT);
}

/* "max 100000" or "150000 100000". */
static guint quota_v2(const HmCgroup *cgroup, guint level)
{
    g_autofree char *text = hm_cgroup_read(cgroup, level, "cpu.max");
    guint64 quota, period;
    char *rest;

    if (!text || g_str_has_prefix(text, "max")) {
        return G_MAXUINT;
    }
    quota = g_ascii_strtoull(text, &rest, 10);
    period = g_ascii_strtoull(rest, NULL, 10);
    return cpus_of_quota(quota, period);
}

/* A quota of -1, no number to us, is none. */
static guint quota_v1(const HmCgroup *cgroup, guint level)
{
    guint64 quota, period;

    if (!hm_cgroup_read_number(cgroup, level, "cpu.cfs_quota_us", &quota) ||
        !hm_cgroup_read_number(cgroup, level, "cpu.cfs_period_us", &period)) {
        return G_MAXUINT;
    }
    return cpus_of_quota(quota, period);
}

guint hm_numa_cpu_quota(void)
{
    g_autoptr(HmCgroup) cgroup = hm_cgroup_find("cpu");
    guint cpus = G_MAXUINT;

    for (guint i = 0; cgroup && i < hm_cgroup_levels(cgroup); i++) {
        guint here = hm_cgroup_version(cgroup) == 2 ? quota_v2(cgroup, i)
                                                    : quota_v1(cgroup, i);

        cpus = MIN(cpus, here);
    }
    return cpus;
}
