/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/error.h"
#include "util/fdlimit.h"
#include "util/os.h"

/* The directory, while it is listed, is one more; it does not matter. */
static gboolean count_open(guint64 *open)
{
    g_auto(GStrv) names = NULL;

    if (hm_os_list_dir("/proc/self/fd", &names) < 0) {
        return FALSE;
    }
    *open = g_strv_length(names);
    return TRUE;
}

gboolean hm_fdlimit_check(const char *what, guint64 more, const char *why,
                          GError **error)
{
    guint64 limit, open, sum;

    if (hm_os_get_limit(RLIMIT_NOFILE, &limit) < 0 || !count_open(&open) ||
        (g_uint64_checked_add(&sum, open, more) && sum <= limit)) {
        return TRUE;
    }
    return hm_set_error(
        error, HOSTMEM_ERROR_LIMIT,
        "%s needs %" G_GUINT64_FORMAT " descriptors, %s: RLIMIT_NOFILE allows "
        "%" G_GUINT64_FORMAT " and %" G_GUINT64_FORMAT " are open; raise it",
        what, more, why, limit, open);
}
