/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/backend.h>

G_BEGIN_DECLS

/**
 * HostmemSnapshotOptions: how a snapshot is taken; all zero is fine.
 * @max_bandwidth: bytes a second that are written to the image, as far as
 *     nobody waits for them; 0: no limit
 * @threads: that write it; 0: one for each usable CPU, at most 8
 * @allow_exposed: also of memory that others can write to, see below
 */
typedef struct {
    guint64 max_bandwidth;
    guint threads;
    gboolean allow_exposed;
} HostmemSnapshotOptions;

/**
 * hostmem_backend_snapshot: write what the memory holds now to an image, while
 * it is used.
 * @path: of the image, which must not be there yet; not kept
 * @options: (nullable): not kept
 *
 * The image is of the moment in which this returns.  It blocks until all of the
 * memory is protected against writes, which takes some 10 ms per GiB of base
 * pages and next to nothing with huge pages; the rest is done by a job, of type
 * "snapshot" and with the id "ID:snapshot".  Whoever writes to a page that is
 * not saved yet waits until it is copied: threads of this process, vCPUs of
 * KVM and system calls alike.  The backend is held meanwhile, and what is
 * discarded is saved first.  Only the plugged blocks of a virtio-mem device are
 * saved.
 *
 * Zeroes take no storage: the image is a sparse file.  It gets its name when it
 * is complete and on the disk.  After a failure or a cancel there is none, and
 * the memory can be written to as before.  The progress of the job is in bytes
 * of memory.
 *
 * Where the host has swap, and this process has no CAP_SYS_ADMIN, private
 * memory that was never populated is read, which maps the zero page there.
 *
 * Others are held up in this process alone.  So memory that somebody else may
 * map (see hostmem_backend_dup_fd(), and files with a name that are shared) is
 * refused, unless @allow_exposed says that nobody writes to it until the job is
 * over: a VM that is stopped.
 *
 * DMA to pages that were pinned before is not held up: of VFIO, of registered
 * buffers of io_uring, and of reads with O_DIRECT that are under way.
 *
 * Any thread, but none that writes to the memory under a lock that others need.
 *
 * Returns: (transfer full): the job, that of
 * hostmem_backend_get_snapshot_job();
 * or NULL with %HOSTMEM_ERROR_PERMISSION (to hold up writes: CAP_SYS_PTRACE,
 * /dev/userfaultfd or vm.unprivileged_userfaultfd=1; or to make the file),
 * %HOSTMEM_ERROR_UNSUPPORTED (kernel, kind of memory, or exposed),
 * %HOSTMEM_ERROR_BUSY (one is being taken, or the backend is being changed),
 * %HOSTMEM_ERROR_EXISTS or %HOSTMEM_ERROR_NOT_FOUND (the file, its directory),
 * %HOSTMEM_ERROR_NO_MEMORY, %HOSTMEM_ERROR_NO_SPACE, %HOSTMEM_ERROR_LIMIT,
 * %HOSTMEM_ERROR_INVALID, %HOSTMEM_ERROR_SYSTEM.  The job can fail with
 * %HOSTMEM_ERROR_NO_SPACE, %HOSTMEM_ERROR_CHANGED (a page cannot be read),
 * %HOSTMEM_ERROR_EXISTS, %HOSTMEM_ERROR_SYSTEM and %G_IO_ERROR_CANCELLED.
 */
HostmemJob *hostmem_backend_snapshot(HostmemBackend *self, const char *path,
                                     const HostmemSnapshotOptions *options,
                                     GError **error);

/** Returns: (transfer full) (nullable): the last one, until it is dismissed */
HostmemJob *hostmem_backend_get_snapshot_job(HostmemBackend *self);

/**
 * HostmemSnapshotReport: what the last snapshot of a backend cost.
 * @unit: bytes that are protected, copied and let go as one
 * @waits: units that somebody wanted to write to before they were saved
 * @stored: bytes in the image that are no holes
 * @protect_us: microseconds that it took to protect the memory
 */
typedef struct {
    guint64 unit;
    guint64 waits;
    guint64 stored;
    gint64 protect_us;
} HostmemSnapshotReport;

/** Fills @report; all 0 before the first.  Any thread. */
void hostmem_backend_get_snapshot_report(HostmemBackend *self,
                                         HostmemSnapshotReport *report);

G_END_DECLS
