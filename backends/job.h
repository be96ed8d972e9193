/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/job.h>
#include "backends/object.h"
#include "util/prealloc.h"

/**
 * What a job does, in a thread of its own.
 * @job: with its cancellable and its progress
 * @data: of hm_job_start()
 *
 * Returns: FALSE with @error; %HOSTMEM_ERROR_TIMED_OUT is no failure
 */
typedef gboolean (*HmJobFunc)(HostmemJob *job, gpointer data, GError **error);

/** What a job does, as QMP's JobType has it. */
#define HM_JOB_PREALLOC "prealloc"
#define HM_JOB_SNAPSHOT "snapshot"
#define HM_JOB_COLLAPSE "collapse"

/**
 * (transfer full): a job of @total bytes that can be started for @object.
 * @type: static
 */
HostmemJob *hm_job_new(HostmemObject *object, const char *type, guint64 total);
/** The same with an id of its own. */
HostmemJob *hm_job_new_named(HostmemObject *object, const char *id,
                             const char *type, guint64 total);
/**
 * hm_job_start: run a job.
 * @data: lives until hm_job_end()
 *
 * Returns: FALSE with %HOSTMEM_ERROR_LIMIT (no thread to be had); nobody has
 * heard of the job then
 */
gboolean hm_job_start(HostmemJob *self, HmJobFunc func, gpointer data,
                      GError **error);
/**
 * (transfer full): one of another process, that is over; it is listed from now
 * on.
 * @error: (transfer full) (nullable): why it did not do all
 */
HostmemJob *hm_job_new_over(HostmemObject *object, const char *type,
                            guint64 done, guint64 total, GError *error);
/** Cancel a job that was started, wait for its thread, dismiss it. */
void hm_job_end(HostmemJob *self);

/** (transfer none) */
GCancellable *hm_job_get_cancellable(HostmemJob *self);
/** (transfer none) */
HmProgress *hm_job_get_progress(HostmemJob *self);
/** (transfer none): "running" */
const char *hm_job_status_name(HostmemJobStatus status);
