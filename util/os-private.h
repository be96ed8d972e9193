/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>

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
