/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include "os-fake-host.h"

static guint64 known = G_MAXUINT64; /* atomic: UFFD_FEATURE_* */

void hm_fake_faults_reset(void)
{
    hm_fake_set_fault_features(G_MAXUINT64);
}

void hm_fake_set_fault_features(guint64 features)
{
    __atomic_store_n(&known, features, __ATOMIC_RELAXED);
}

int hm_os_resident_ranges(void *addr, gsize length, HmRangeList *ranges)
{
    MEET(RESIDENT_RANGES, addr, length, -1, 0, 0);
    return hm_real_resident_ranges(addr, length, ranges);
}

int hm_os_kept_ranges(void *addr, gsize length, guint64 mark,
                      HmRangeList *ranges)
{
    MEET(KEPT_RANGES, addr, length, -1, 0, (gint64)mark);
    return hm_real_kept_ranges(addr, length, mark, ranges);
}

int hm_os_faultfd_features(guint64 *features)
{
    int ret;

    MEET(FAULTFD_FEATURES, NULL, 0, -1, 0, 0);
    ret = hm_real_faultfd_features(features);
    *features &= __atomic_load_n(&known, __ATOMIC_RELAXED);
    return ret;
}

int hm_os_faultfd(guint64 features)
{
    MEET(FAULTFD, NULL, 0, -1, 0, (gint64)features);
    if (features & ~__atomic_load_n(&known, __ATOMIC_RELAXED)) {
        return -EINVAL;
    }
    return hm_real_faultfd(features);
}

int hm_os_faultfd_register(int fd, void *addr, gsize length)
{
    MEET(FAULTFD_REGISTER, addr, length, fd, 0, 0);
    return hm_real_faultfd_register(fd, addr, length);
}

int hm_os_faultfd_unregister(int fd, void *addr, gsize length)
{
    MEET(FAULTFD_UNREGISTER, addr, length, fd, 0, 0);
    return hm_real_faultfd_unregister(fd, addr, length);
}

int hm_os_write_protect(int fd, void *addr, gsize length, gboolean on)
{
    MEET(WRITE_PROTECT, addr, length, fd, 0, on);
    return hm_real_write_protect(fd, addr, length, on);
}

int hm_os_faultfd_read(int fd, guint64 *addresses, guint n)
{
    MEET(FAULTFD_READ, NULL, 0, fd, 0, 0);
    return hm_real_faultfd_read(fd, addresses, n);
}

int hm_os_fault_mark(guint64 *mark)
{
    MEET(FAULT_MARK, NULL, 0, -1, 0, 0);
    return hm_real_fault_mark(mark);
}
