/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os-fake-host.h"

int hm_os_count_pages(void *addr, gsize length, HmPageCounts *counts)
{
    MEET(COUNT_PAGES, addr, length, -1, 0, 0);
    return hm_real_count_pages(addr, length, counts);
}

int hm_os_mlock(void *addr, gsize length)
{
    MEET(MLOCK, addr, length, -1, 0, 0);
    return hm_real_mlock(addr, length);
}

int hm_os_munlock(void *addr, gsize length)
{
    MEET(MUNLOCK, addr, length, -1, 0, 0);
    return hm_real_munlock(addr, length);
}

int hm_os_is_mlocked(void *addr, gsize length)
{
    MEET(IS_MLOCKED, addr, length, -1, 0, 0);
    return hm_real_is_mlocked(addr, length);
}

gint64 hm_os_thread_time(void)
{
    MEET(THREAD_TIME, NULL, 0, -1, 0, 0);
    return hm_real_thread_time();
}
