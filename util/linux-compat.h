/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <glib.h>

/*
 * Numbers of the kernel's interface that the C library, libnuma or the kernel
 * headers we build with may be too old to know.  Each names the header of the
 * kernel's include/uapi that it is part of, and the first release with it.
 */

/* asm-generic/mman-common.h */
#ifndef MADV_COLD
#define MADV_COLD 20 /* 5.4 */
#endif
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21 /* 5.4 */
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* 5.14 */
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* 5.14 */
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* 5.18 */
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* 6.1 */
#endif
#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 0x01 /* 4.4 */
#endif
#ifndef MAP_SYNC
#define MAP_SYNC 0x80000 /* 4.15 */
#endif
#ifndef MAP_SHARED_VALIDATE
#define MAP_SHARED_VALIDATE 0x03 /* linux/mman.h, 4.15 */
#endif

/* linux/memfd.h */
#ifndef MFD_HUGE_SHIFT
#define MFD_HUGE_SHIFT 26 /* 4.14 */
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* 6.3 */
#endif

/* linux/fcntl.h */
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x0020 /* 6.3 */
#endif

/* linux/mempolicy.h; numaif.h has them too, for whoever includes it first */
#ifndef MPOL_DEFAULT
#define MPOL_DEFAULT    0
#define MPOL_PREFERRED  1
#define MPOL_BIND       2
#define MPOL_INTERLEAVE 3
#define MPOL_MF_STRICT  (1 << 0)
#define MPOL_MF_MOVE    (1 << 1)
#endif
#ifndef MPOL_PREFERRED_MANY
#define MPOL_PREFERRED_MANY 5 /* 5.15 */
#endif

/* linux/magic.h */
#ifndef HUGETLBFS_MAGIC
#define HUGETLBFS_MAGIC 0x958458f6
#endif
#ifndef TMPFS_MAGIC
#define TMPFS_MAGIC 0x01021994
#endif

/* linux/stat.h */
#ifndef STATX_ATTR_DAX
#define STATX_ATTR_DAX 0x00200000 /* 5.8 */
#endif

/* linux/userfaultfd.h */
#ifndef UFFD_FEATURE_WP_HUGETLBFS_SHMEM
#define UFFD_FEATURE_WP_HUGETLBFS_SHMEM (1 << 12) /* 5.19 */
#endif
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13) /* 6.4 */
#endif
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00) /* 6.1 */
#endif

/* linux/fs.h, 6.7: which pages of a range have which properties. */
#ifndef PAGEMAP_SCAN
#define PAGE_IS_PRESENT (1 << 3)
#define PAGE_IS_SWAPPED (1 << 4)
#define PAGE_IS_PFNZERO (1 << 5)
#define PAGE_IS_HUGE    (1 << 6)

struct page_region {
    guint64 start;
    guint64 end;
    guint64 categories;
};

struct pm_scan_arg {
    guint64 size;
    guint64 flags;
    guint64 start;
    guint64 end;
    guint64 walk_end;
    guint64 vec;
    guint64 vec_len;
    guint64 max_pages;
    guint64 category_inverted;
    guint64 category_mask;
    guint64 category_anyof_mask;
    guint64 return_mask;
};

#define PAGEMAP_SCAN _IOWR('f', 16, struct pm_scan_arg)
#endif
