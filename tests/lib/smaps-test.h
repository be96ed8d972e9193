/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

/** What the kernel accounts to a range of this process's memory. */
typedef struct {
    guint64 size;         /* bytes, of mappings that lie in the range */
    guint64 resident;     /* "Rss" */
    guint64 locked;       /* "Locked": of what others map as well, a share */
    guint mappings;       /* how many */
    guint locks;          /* of these have VmFlags "lo" */
    guint locks_on_fault; /* and of these "lf" */
    guint not_dumped;     /* of all of them have VmFlags "dd" */
} HmTestSmaps;

/** Sums of /proc/self/smaps. */
void hm_test_read_smaps(const void *addr, gsize length, HmTestSmaps *sums);
