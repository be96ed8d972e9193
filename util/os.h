/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include "util/idset.h"

/*
 * The only door to the kernel for memory, files and affinity.
 *
 * Each call returns 0 (or what its comment says) or -errno; none logs, none
 * sets a GError.  Addresses are page aligned, lengths are bytes and not 0.
 * Calls that a signal may interrupt are retried, except where said.
 *
 * os-linux.c implements it; unit tests link tests/lib/os-fake.c instead, which
 * fails the n-th call, pretends another host, and counts.
 */

/* memory */

/** mmap(2); *@addrp is the address. */
int hm_os_map(void *hint, gsize length, int prot, int flags, int fd,
              guint64 offset, void **addrp);
int hm_os_unmap(void *addr, gsize length);
int hm_os_protect(void *addr, gsize length, int prot);
/** madvise(2); not retried on EINTR or EAGAIN. */
int hm_os_advise(void *addr, gsize length, int advice);
/** process_madvise(2) on ourselves; returns bytes advised, maybe fewer. */
gssize hm_os_advise_vector(const struct iovec *ranges, gsize n, int advice);
/** mbind(2) with MPOL_* @mode and MPOL_MF_* @flags. */
int hm_os_bind(void *addr, gsize length, int mode, const HmIdset *nodes,
               unsigned flags);
/** move_pages(2) as a query: the node of each page, or -errno of that page. */
int hm_os_page_nodes(void *const *pages, gsize n, int *nodes);
/** mincore(2): bit 0 of a byte for each base page. */
int hm_os_incore(void *addr, gsize length, guint8 *vector);
/** Bytes of the range that have a page table entry in this process. */
gint64 hm_os_populated(void *addr, gsize length);

/* files */

/** open(2) with O_CLOEXEC; returns the descriptor. */
int hm_os_open(const char *path, int flags, mode_t mode);
int hm_os_close(int fd);
int hm_os_unlink(const char *path);
/** memfd_create(2) with MFD_CLOEXEC and @flags; returns the descriptor. */
int hm_os_memfd(const char *name, unsigned flags);
/** shm_open(3) of a new object and shm_unlink(3); returns the descriptor. */
int hm_os_shm(const char *name);
/** A detached tmpfs with mount option huge=@huge; returns its root. */
int hm_os_tmpfs(const char *huge);
/** An unnamed file in a directory; returns the descriptor. */
int hm_os_tmpfile(int dir_fd, mode_t mode);
int hm_os_stat(int fd, struct stat *st);
int hm_os_statfs(int fd, struct statfs *fs);
int hm_os_truncate(int fd, guint64 length);
/** fallocate(2) that makes storage; the length of the file may grow. */
int hm_os_allocate(int fd, guint64 offset, guint64 length);
/** fallocate(2) that gives storage back; the length of the file stays. */
int hm_os_punch(int fd, guint64 offset, guint64 length);
/** lseek(2) with SEEK_DATA or SEEK_HOLE; returns the offset. */
gint64 hm_os_seek(int fd, guint64 offset, int whence);
int hm_os_add_seals(int fd, int seals);

/* this process and host */

/** sched_getaffinity(2) of a thread, 0 for the caller. */
int hm_os_get_affinity(pid_t tid, HmIdset *cpus);
int hm_os_set_affinity(pid_t tid, const HmIdset *cpus);
pid_t hm_os_thread_id(void);
/** Base page size in bytes. */
gsize hm_os_page_size(void);
/** Microseconds on a clock that only goes forward. */
gint64 hm_os_now(void);
/** A file of /proc or /sys as text, (transfer full), at most 1 MiB. */
int hm_os_read_text(const char *path, char **textp);
