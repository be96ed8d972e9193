/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>
#include <hostmem/error.h>

G_BEGIN_DECLS

/**
 * HostmemJobStatus: how far a job has come; QEMU's words.
 * @HOSTMEM_JOB_CREATED: it has not begun
 * @HOSTMEM_JOB_RUNNING: it is at work
 * @HOSTMEM_JOB_ABORTING: it has failed or was cancelled, and cleans up
 * @HOSTMEM_JOB_CONCLUDED: it is over, and stays to be looked at
 * @HOSTMEM_JOB_NULL: it was dismissed, or its object is gone
 *
 * created -> running -> concluded -> null, through aborting after a failure.
 * A deadline that has passed is no failure.
 */
typedef enum {
    HOSTMEM_JOB_CREATED,
    HOSTMEM_JOB_RUNNING,
    HOSTMEM_JOB_ABORTING,
    HOSTMEM_JOB_CONCLUDED,
    HOSTMEM_JOB_NULL,
} HostmemJobStatus;
#define HOSTMEM_TYPE_JOB_STATUS (hostmem_job_status_get_type())
GType hostmem_job_status_get_type(void) G_GNUC_CONST;

/**
 * HostmemJob:
 *
 * What goes on for an object after the call that asked for it has returned:
 * the population of a backend with "prealloc-async", which is named after it,
 * a snapshot of one, "ID:snapshot", or its collapse into huge pages,
 * "ID:collapse".  An object has one of each type at a time.  A job that is over
 * stays until it is dismissed, the next one begins, or the object goes.
 *
 * A job keeps nothing of its object alive: the last unref of the object
 * cancels the job and waits for that.
 *
 * Read-only properties: "id", "type" ("prealloc", "snapshot" or "collapse"),
 * "status", "current-progress" and "total-progress" (bytes).  They do not
 * notify: see HostmemRegistry's "job-changed".  Every function may be called
 * from any thread.
 */
#define HOSTMEM_TYPE_JOB (hostmem_job_get_type())
typedef struct _HostmemJob HostmemJob;
#define HOSTMEM_JOB(obj) \
    (G_TYPE_CHECK_INSTANCE_CAST((obj), HOSTMEM_TYPE_JOB, HostmemJob))
#define HOSTMEM_IS_JOB(obj) \
    (G_TYPE_CHECK_INSTANCE_TYPE((obj), HOSTMEM_TYPE_JOB))
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostmemJob, g_object_unref)

GType hostmem_job_get_type(void) G_GNUC_CONST;

/** Returns: (transfer none): as said above; an object without one has id "" */
const char *hostmem_job_get_id(HostmemJob *self);

/** Returns: where it is now */
HostmemJobStatus hostmem_job_get_status(HostmemJob *self);

/** Returns: whether it is over: concluded, or null */
gboolean hostmem_job_is_over(HostmemJob *self);

/**
 * hostmem_job_get_progress: how much is done.
 * @done: (out) (optional): bytes; only grows
 * @total: (out) (optional): bytes
 */
void hostmem_job_get_progress(HostmemJob *self, guint64 *done, guint64 *total);

/**
 * hostmem_job_get_error: why it did not do all of it.
 *
 * Returns: (transfer full) (nullable): as from hostmem_backend_populate(), or
 * %HOSTMEM_ERROR_TIMED_OUT (the deadline has passed); of a snapshot or a
 * collapse as said at hostmem_backend_snapshot() and
 * hostmem_backend_get_collapse_job(); NULL while it is at work, and when all is
 * done
 */
GError *hostmem_job_get_error(HostmemJob *self);

/**
 * hostmem_job_cancel: let it end early, within a chunk; does not wait.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_BUSY (it is aborting, or over)
 */
gboolean hostmem_job_cancel(HostmemJob *self, GError **error);

/**
 * hostmem_job_dismiss: forget a job that has concluded.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_BUSY (it has not concluded, or was
 * dismissed already)
 */
gboolean hostmem_job_dismiss(HostmemJob *self, GError **error);

G_END_DECLS
