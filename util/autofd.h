/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/os.h"

static inline void hm_autofd_cleanup(int *fd)
{
    if (*fd >= 0) {
        hm_os_close(*fd);
    }
}

/** hm_autofd int fd = -1: closed at the end of the scope. */
#define hm_autofd __attribute__((cleanup(hm_autofd_cleanup)))

/** Take the descriptor out of an hm_autofd variable. */
static inline int hm_steal_fd(int *fd)
{
    int stolen = *fd;

    *fd = -1;
    return stolen;
}
