/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <glib.h>

/*
 * Shared by the files behind util/os.h.
 */

/* An errno that must not be mistaken for success. */
static inline int failure(void)
{
    return errno ? -errno : -EIO;
}

static inline int result(long ret)
{
    return ret < 0 ? failure() : (int)ret;
}

/* os-pages.c: what the page table has at an address where there is a mark; 0 or
 * -errno, EPERM: that is not told. */
int hm_os_mark_at(void *addr, guint64 *mark);
