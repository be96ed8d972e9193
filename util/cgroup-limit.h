/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/cgroup.h"

/**
 * hm_cgroup_read_limit: what a level allows and what is used of it, in bytes.
 * @prefix: of the files' names: "memory.", "hugetlb.2MB.", "hugetlb.2MB.rsvd."
 *
 * Returns: FALSE when the level has no limit, or it cannot be read
 */
gboolean hm_cgroup_read_limit(const HmCgroup *self, guint level,
                              const char *prefix, guint64 *limit,
                              guint64 *usage);

/** Bytes of page cache that are part of the usage of a level of "memory", which
 * the kernel drops at need. */
guint64 hm_cgroup_read_reclaimable(const HmCgroup *self, guint level);

/**
 * hm_cgroup_memory_left: RAM that the cgroups of this process allow.
 * @limit: (out): bytes, the least of all levels
 * @left: (out): bytes that can be had now, the least of all levels
 *
 * Returns: FALSE, and %G_MAXUINT64 in both, when no level has a limit
 */
gboolean hm_cgroup_memory_left(guint64 *limit, guint64 *left);
