/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/cgroup-limit.h"
#include "util/procfield.h"

gboolean hm_cgroup_read_limit(const HmCgroup *self, guint level,
                              const char *prefix, guint64 *limit,
                              guint64 *usage)
{
    gboolean v1 = hm_cgroup_version(self) == 1;
    g_autofree char *limit_file =
        g_strconcat(prefix, v1 ? "limit_in_bytes" : "max", NULL);
    g_autofree char *usage_file = NULL;

    /* Version 1 writes no limit as the largest number of whole pages. */
    if (!hm_cgroup_read_number(self, level, limit_file, limit) ||
        *limit >= G_MAXINT64 / 2) {
        return FALSE;
    }
    usage_file = g_strconcat(prefix, v1 ? "usage_in_bytes" : "current", NULL);
    return hm_cgroup_read_number(self, level, usage_file, usage);
}

guint64 hm_cgroup_read_reclaimable(const HmCgroup *self, guint level)
{
    gboolean v1 = hm_cgroup_version(self) == 1;
    g_autofree char *text = hm_cgroup_read(self, level, "memory.stat");
    guint64 active = 0, inactive = 0, sum;

    if (text) {
        hm_procfield_number(text, v1 ? "total_active_file" : "active_file",
                            &active);
        hm_procfield_number(text, v1 ? "total_inactive_file" : "inactive_file",
                            &inactive);
    }
    return g_uint64_checked_add(&sum, active, inactive) ? sum : G_MAXUINT64;
}

/* What a level leaves of its limit: FALSE when it has none. */
static gboolean level_left(const HmCgroup *self, guint level, guint64 *limit,
                           guint64 *left)
{
    guint64 usage;

    if (!hm_cgroup_read_limit(self, level, "memory.", limit, &usage)) {
        return FALSE;
    }
    usage -= MIN(usage, hm_cgroup_read_reclaimable(self, level));
    *left = *limit - MIN(*limit, usage);
    return TRUE;
}

gboolean hm_cgroup_memory_left(guint64 *limit, guint64 *left)
{
    g_autoptr(HmCgroup) self = hm_cgroup_find("memory");
    guint levels = self ? hm_cgroup_levels(self) : 0;
    gboolean limited = FALSE;

    *limit = *left = G_MAXUINT64;
    for (guint level = 0; level < levels; level++) {
        guint64 here, left_here;

        if (level_left(self, level, &here, &left_here)) {
            *limit = MIN(*limit, here);
            *left = MIN(*left, left_here);
            limited = TRUE;
        }
    }
    return limited;
}
