/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

/**
 * The cgroup of this process for one controller, and those above it as far as
 * they can be seen.  Level 0 is the innermost, the last one is the root of the
 * mount.  What a process is in is found once; the files are read at each call.
 * Immutable: any thread.
 */
typedef struct HmCgroup HmCgroup;

/**
 * hm_cgroup_find: where this process is accounted.
 * @controller: "memory", "cpu", "hugetlb"...
 *
 * Version 1 when the controller is bound to a version 1 hierarchy, else
 * version 2, where a level without the controller lacks its files.
 *
 * Returns: (transfer full) (nullable): NULL when there is none, or none that
 * is visible in this mount and cgroup namespace
 */
HmCgroup *hm_cgroup_find(const char *controller);
void hm_cgroup_free(HmCgroup *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmCgroup, hm_cgroup_free)

/** Returns: 1 or 2 */
guint hm_cgroup_version(const HmCgroup *self);
guint hm_cgroup_levels(const HmCgroup *self);
/** Returns: (transfer none): the folder of a level, for messages */
const char *hm_cgroup_folder(const HmCgroup *self, guint level);

/** (transfer full) (nullable): text of a file; NULL when it cannot be read. */
char *hm_cgroup_read(const HmCgroup *self, guint level, const char *file);

/**
 * hm_cgroup_read_number: a file of one number; "max" is %G_MAXUINT64.
 *
 * Returns: FALSE, and *@value untouched, when it is not there or no number
 */
gboolean hm_cgroup_read_number(const HmCgroup *self, guint level,
                               const char *file, guint64 *value);
