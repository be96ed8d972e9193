/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include "util/idset.h"
#include "util/linux-compat.h"
#include "util/range.h"

/*
 * The only door to the kernel for memory, files and affinity.
 *
 * Each call returns 0 (or what its comment says) or -errno; none logs, none
 * sets a GError.  Addresses are page aligned, lengths are bytes and not 0.
 * Calls that a signal may interrupt are retried, except where said.  Any
 * thread may call.
 *
 * os-linux.c implements it; unit tests link tests/lib/os-fake.c instead, which
 * fails the n-th call, pretends another host, and counts.
 */

/* memory */

/** mmap(2); *@addrp is the address, untouched on failure. */
int hm_os_map(void *hint, gsize length, int prot, int flags, int fd,
              guint64 offset, void **addrp);
int hm_os_unmap(void *addr, gsize length);
/**
 * hm_os_move: mremap(2) to another address, with another length.
 *
 * Pages go along, and what holds of the mapping: policy, locks and advice, also
 * for what it grows by; of that, locked memory is populated, and memory that is
 * locked on fault is not.  But the policy of shared memory is the file's, for
 * what was there of it.  Whatever is mapped at @to is replaced; before Linux
 * 6.12 it may be gone after a failure as well.
 *
 * Returns: 0, or -errno; EFAULT: @from is more than one mapping, or it cannot
 * grow; EAGAIN: RLIMIT_MEMLOCK
 */
int hm_os_move(void *from, gsize length, void *to, gsize new_length);
/** madvise(2); not retried on EINTR or EAGAIN.  A length of 0 only asks
 * whether this kernel knows the advice: EINVAL when not. */
int hm_os_advise(void *addr, gsize length, int advice);
/**
 * process_madvise(2) on ourselves; returns bytes advised, maybe fewer.
 * Pre: @n is 1 to 1024, all together below 2 GiB
 */
gssize hm_os_advise_vector(const struct iovec *ranges, gsize n, int advice);
/** mbind(2) with MPOL_* @mode and MPOL_MF_* @flags; @nodes may be empty. */
int hm_os_bind(void *addr, gsize length, int mode, const HmIdset *nodes,
               unsigned flags);
/** move_pages(2) as a query: the node of each page, or -errno of that page. */
int hm_os_page_nodes(void *const *pages, gsize n, int *nodes);
/**
 * hm_os_populated: bytes of the range that have a page table entry.
 *
 * That includes pages the kernel has swapped out or is moving about (they were
 * populated and hold data), and the shared zero page that a read of private
 * anonymous memory maps, small or huge.  A huge page counts as a whole, as far
 * as it lies in the range.
 *
 * Returns: bytes, or -errno
 */
gint64 hm_os_populated(void *addr, gsize length);
/** The same as ranges, offsets from @addr, added to @ranges. */
int hm_os_populated_ranges(void *addr, gsize length, HmRangeList *ranges);
/**
 * The ranges whose pages are in memory, added to @ranges.  Of private memory a
 * page that was swapped out is not; a page that is only protected against
 * writes is no page.
 */
int hm_os_resident_ranges(void *addr, gsize length, HmRangeList *ranges);
/**
 * hm_os_kept_ranges: the ranges that have pages, in memory or swapped out,
 * added to @ranges; a page that is only protected against writes is no page.
 * @mark: what hm_os_fault_mark() has told of such pages
 *
 * Returns: 0, or -errno; EPERM: for swapped pages that needs CAP_SYS_ADMIN.  Of
 * the ranges some may be added then
 */
int hm_os_kept_ranges(void *addr, gsize length, guint64 mark,
                      HmRangeList *ranges);
/** Bytes of the range that one entry maps with a huge page, transparent or of
 * a pool; EOPNOTSUPP: before Linux 6.7. */
gint64 hm_os_huge(void *addr, gsize length);
/** The same as ranges, offsets from @addr, added to @ranges. */
int hm_os_huge_ranges(void *addr, gsize length, HmRangeList *ranges);

/** Bytes of a range by what their pages are. */
typedef struct {
    guint64 populated; /* as of hm_os_populated() */
    guint64 resident;  /* of these in RAM; zero pages do not count */
    guint64 huge;      /* of these by huge pages; 0: before Linux 6.7 */
} HmPageCounts;
/** In one pass.  Before Linux 6.7 zero pages are taken for resident. */
int hm_os_count_pages(void *addr, gsize length, HmPageCounts *counts);
/**
 * hm_os_mlock: mlock2(2) with MLOCK_ONFAULT.
 *
 * What is there is locked, and the rest as it comes.  Nothing happens to huge
 * pages of a pool and to DAX memory, but the limit counts as if.
 *
 * Returns: 0, or -errno; ENOMEM: above RLIMIT_MEMLOCK, or too many mappings;
 * EPERM: nothing may be locked; ENOSYS: before Linux 4.4.  Of several mappings
 * some may be locked then
 */
int hm_os_mlock(void *addr, gsize length);
int hm_os_munlock(void *addr, gsize length);
/** 1 when memory of the range is locked, or will be as it comes, else 0. */
int hm_os_is_mlocked(void *addr, gsize length);

/* writes that wait, by userfaultfd(2) */

/** What this kernel can, UFFD_FEATURE_*; errors as of hm_os_faultfd(). */
int hm_os_faultfd_features(guint64 *features);
/**
 * hm_os_faultfd: a descriptor that tells of writes to protected memory, also
 * of those that the kernel does for somebody.
 * @features: UFFD_FEATURE_*, each of them needed
 *
 * Whoever writes waits until the protection is lifted, or the descriptor is
 * closed.
 *
 * Returns: the descriptor, or -errno; EPERM: not allowed here; EINVAL: a
 * feature is missing; ENOSYS: all of it is
 */
int hm_os_faultfd(guint64 features);
/** Let writes to a range wait, once it is protected; EINVAL: not with this
 * kind of memory. */
int hm_os_faultfd_register(int fd, void *addr, gsize length);
/** Writes do not wait any more, and those that did go on. */
int hm_os_faultfd_unregister(int fd, void *addr, gsize length);
/** Protect pages of a registered range; or not, and wake who waits. */
int hm_os_write_protect(int fd, void *addr, gsize length, gboolean on);
/** Where somebody waits: up to @n addresses; returns how many, 0 for none. */
int hm_os_faultfd_read(int fd, guint64 *addresses, guint n);
/**
 * hm_os_fault_mark: what the kernel leaves in the page table of a private page
 * that is not there and is protected, Linux 6.4.
 *
 * Found out with a page of its own.
 *
 * Returns: 0 and *@mark, which is not 0; or -errno, as of hm_os_faultfd();
 * EPERM also without CAP_SYS_ADMIN
 */
int hm_os_fault_mark(guint64 *mark);

/* files */

/** open(2) with O_CLOEXEC and O_NOCTTY; returns the descriptor. */
int hm_os_open(const char *path, int flags, mode_t mode);
/**
 * hm_os_reopen: open the file behind a descriptor once more, with O_CLOEXEC.
 *
 * The new descriptor is of an open file of its own, which shares neither
 * offset, flags nor lease with @fd.  The mode of the file decides; whether it
 * still has a name does not.
 *
 * Returns: the descriptor, or -errno; ENOENT: no /proc
 */
int hm_os_reopen(int fd, int flags);
int hm_os_close(int fd);
int hm_os_unlink(const char *path);
/**
 * hm_os_memfd: memfd_create(2) with MFD_CLOEXEC and @flags.
 *
 * Where the kernel can (6.3) the file is not executable for ever, which is
 * F_SEAL_EXEC.  Without MFD_ALLOW_SEALING no seal can be added.
 *
 * Returns: the descriptor, or -errno; ENODEV: no such huge page size
 */
int hm_os_memfd(const char *name, unsigned flags);
/** A new POSIX shared memory object without a name; returns the descriptor. */
int hm_os_shm(void);
/**
 * An unnamed file in a directory, read and write; returns the descriptor.
 * EOPNOTSUPP: this filesystem has no unnamed files.
 */
int hm_os_tmpfile(int dir_fd, mode_t mode);
int hm_os_stat(int fd, struct stat *st);
int hm_os_statfs(int fd, struct statfs *fs);
/** 1 when mappings of it are persistent memory directly, else 0. */
int hm_os_is_dax(int fd);
/** ftruncate(2); EINVAL at and above 2^63 */
int hm_os_truncate(int fd, guint64 length);
/** fallocate(2) that makes storage; the length of the file may grow. */
int hm_os_allocate(int fd, guint64 offset, guint64 length);
/** fallocate(2) that gives storage back; the length of the file stays. */
int hm_os_punch(int fd, guint64 offset, guint64 length);
/** lseek(2) with SEEK_DATA or SEEK_HOLE; returns the offset; ENXIO: none. */
gint64 hm_os_seek(int fd, guint64 offset, int whence);
int hm_os_add_seals(int fd, int seals);
/** F_SEAL_*; EINVAL: a file that has none. */
int hm_os_get_seals(int fd);
/** O_ACCMODE and O_PATH of how it was opened; EBADF: it is not open. */
int hm_os_get_mode(int fd);
/** Another descriptor of the same open file, close-on-exec. */
int hm_os_dup(int fd);
/** All of it, behind what is there. */
int hm_os_write(int fd, const void *data, gsize length);
/** All of it, at a place in the file. */
int hm_os_write_at(int fd, const void *data, gsize length, guint64 offset);
/** fsync(2): what was written is on the disk, as is what a directory names. */
int hm_os_sync(int fd);
/** Returns: bytes; fewer than @length at the end of the file. */
gssize hm_os_read_at(int fd, void *data, gsize length, guint64 offset);
/**
 * hm_os_lock: keep other processes from locking a file.
 *
 * A lock of this process, whatever descriptor it is had by: it ends with the
 * process, and when the process closes any descriptor of that file.  Needs
 * write access.
 *
 * Returns: 0, or -errno; EAGAIN: process *@holder has it (0: of another host
 * or namespace)
 */
int hm_os_lock(int fd, pid_t *holder);
int hm_os_chmod(int fd, mode_t mode);
/** fchown(2); a gid of (gid_t)-1 stays as it is. */
int hm_os_chown(int fd, uid_t uid, gid_t gid);
/** flock(2), exclusive, at once, also of a directory: a lock of the open file;
 * EAGAIN: another one has it. */
int hm_os_flock(int fd);
/**
 * hm_os_only_user: whether nobody else has a file open or mapped.
 *
 * @fd must come from open(2): what memfd_create(2) returns does not count.
 * Whoever has an O_PATH descriptor of it is not seen, and can open it at any
 * time if its mode allows.  Uses the file's lease and its signal.
 *
 * Returns: 1 when nobody has, 0 when somebody has, or -errno; EINVAL: this kind
 * of file cannot tell
 */
int hm_os_only_user(int fd);

/* names */

/** openat(2) with O_CLOEXEC and O_NOCTTY; returns the descriptor. */
int hm_os_open_at(int dir_fd, const char *name, int flags, mode_t mode);
int hm_os_unlink_at(int dir_fd, const char *name);
/** Give an unnamed file a name, which must be free; needs /proc. */
int hm_os_link(int fd, int dir_fd, const char *name);

/** Mount options of a tmpfs. */
typedef struct {
    const char *huge;   /* "always" */
    const char *source; /* (nullable): what mountinfo calls it */
    guint64 size;       /* bytes; 0: no limit, and statfs says 0 blocks */
    mode_t mode;        /* of its root */
} HmTmpfsOptions;

/**
 * hm_os_tmpfs: a tmpfs that is mounted nowhere.
 *
 * It is gone with the last descriptor of its root or of a file in it.
 *
 * Returns: its root, for hm_os_tmpfile() and hm_os_attach(), or -errno; EPERM:
 * mounting is not allowed here
 */
int hm_os_tmpfs(const HmTmpfsOptions *options);
/** Mount what hm_os_tmpfs() returned on a directory. */
int hm_os_attach(int mount_fd, int dir_fd);
/** Unmount what has @root_fd as its root, or what was mounted over that; files
 * in it live on while open. */
int hm_os_detach(int root_fd);

/* this process and host */

/** sched_getaffinity(2) of a thread, 0 for the caller; replaces @cpus. */
int hm_os_get_affinity(pid_t tid, HmIdset *cpus);
int hm_os_set_affinity(pid_t tid, const HmIdset *cpus);
pid_t hm_os_thread_id(void);
typedef enum {
    HM_PRIORITY_NORMAL, /* as it is */
    HM_PRIORITY_LOW,    /* nice 19 */
    HM_PRIORITY_IDLE,   /* SCHED_IDLE: only what nobody else wants */
} HmPriority;
/** Lower the calling thread, which may not be able to go back. */
int hm_os_lower_priority(HmPriority priority);
/** Base page size in bytes. */
gsize hm_os_page_size(void);
/** Microseconds on a clock that only goes forward. */
gint64 hm_os_now(void);
/** Microseconds of a CPU that the calling thread has had. */
gint64 hm_os_thread_time(void);
/** getrlimit(2): the soft limit of RLIMIT_*; G_MAXUINT64 for none. */
int hm_os_get_limit(int resource, guint64 *limit);
/** A file of /proc or /sys as text, (transfer full); EFBIG above 1 MiB. */
int hm_os_read_text(const char *path, char **textp);
/** Names in a directory of /proc or /sys, sorted, (transfer full). */
int hm_os_list_dir(const char *path, GStrv *namesp);
