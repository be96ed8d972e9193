/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * The kernel counts as locked what may be locked, not what is: with
 * MLOCK_ONFAULT the whole of a mapping, from the moment on that it is locked.
 * So the limit is met at once or never, and who has passed it is not refused
 * later, half way through populating.
 *
 * The limit does not hold for CAP_IPC_LOCK; that of the first user namespace,
 * for in another one everybody can have it.
 */
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include "util/error.h"
#include "util/memlock.h"
#include "util/os.h"
#include "util/procfield.h"
#include "util/size.h"

#define STATUS "/proc/self/status"

/* Whether user ids are those of the host: one line, "0 0 4294967295". */
static gboolean is_first_namespace(void)
{
    g_autofree char *text = NULL;
    guint64 inside, outside, count;
    char *end;

    if (hm_os_read_text("/proc/self/uid_map", &text) < 0) {
        return TRUE;
    }
    inside = g_ascii_strtoull(text, &end, 10);
    outside = g_ascii_strtoull(end, &end, 10);
    count = g_ascii_strtoull(end, &end, 10);
    return !inside && !outside && count == G_MAXUINT32;
}

static gboolean has_capability(const char *status)
{
    const char *line = strstr(status, "\nCapEff:");
    guint64 effective =
        line ? g_ascii_strtoull(line + strlen("\nCapEff:"), NULL, 16) : 0;

    return effective >> CAP_IPC_LOCK & 1;
}

static gboolean is_limited(const char *status)
{
    return !has_capability(status) || !is_first_namespace();
}

static gboolean fits(guint64 limit, guint64 used, guint64 bytes)
{
    guint64 sum;

    return limit == G_MAXUINT64 ||
           (g_uint64_checked_add(&sum, used, bytes) && sum <= limit);
}

gboolean hm_memlock_check(const char *what, guint64 bytes, GError **error)
{
    g_autofree char *status = NULL;
    g_autofree char *need = NULL;
    g_autofree char *allowed = NULL;
    g_autofree char *have = NULL;
    guint64 limit, used;

    if (hm_os_get_limit(RLIMIT_MEMLOCK, &limit) < 0 ||
        hm_os_read_text(STATUS, &status) < 0) {
        return TRUE;
    }
    used = hm_procfield_bytes(status, "VmLck");
    if (fits(limit, used, bytes) || !is_limited(status)) {
        return TRUE;
    }
    need = hm_size_format(bytes);
    allowed = hm_size_format(limit);
    have = hm_size_format(used);
    return hm_set_error(error, HOSTMEM_ERROR_LIMIT,
                        "%s needs %s locked in memory: RLIMIT_MEMLOCK allows "
                        "%s and %s is used; raise it, or give this process "
                        "CAP_IPC_LOCK",
                        what, need, allowed, have);
}

gboolean hm_memlock_set_error(const char *what, guint64 bytes, int err,
                              GError **error)
{
    g_autofree char *size = hm_size_format(bytes);

    if ((err == ENOMEM || err == EPERM || err == EAGAIN) &&
        !hm_memlock_check(what, bytes, error)) {
        return FALSE;
    }
    if (err == ENOSYS) {
        return hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                            "cannot lock %s of %s in memory: that needs "
                            "mlock2 (Linux 4.4)",
                            size, what);
    }
    return hm_set_error_errno(error, err, "cannot lock %s of %s in memory",
                              size, what);
}
