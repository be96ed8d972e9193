/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/job.h>
#include "backends/object-saved.h"
#include "util/prealloc-queue.h"

/**
 * HmJobList: the jobs that are not over, or not dismissed, who is told, and the
 * CPUs that they and the creations of the same registry share.
 *
 * Jobs change in threads of their own; whoever listens is told in a main
 * context, in the order of the changes.  Reference counted, as jobs may
 * outlive the listener; any thread, where nothing else is said.
 */
typedef struct HmJobList HmJobList;

/** In the thread of the context. */
typedef void (*HmJobFeedback)(HostmemJob *job, HostmemJobStatus status,
                              gpointer data);

/** @keeper: hears of changes as well, at once */
HmJobList *hm_job_list_new(GMainContext *context, HmKeeper *keeper,
                           HmJobFeedback feedback, gpointer data);
HmJobList *hm_job_list_ref(HmJobList *self);
void hm_job_list_unref(HmJobList *self);
/** Nobody is told any more; in the thread of the context. */
void hm_job_list_close(HmJobList *self);

/** (transfer none) */
HmQueue *hm_job_list_get_queue(HmJobList *self);

/** @job has come to @status: CREATED adds it, NULL takes it out. */
void hm_job_list_changed(HmJobList *self, HostmemJob *job,
                         HostmemJobStatus status);
/** Add one that nobody shall hear of. */
void hm_job_list_add(HmJobList *self, HostmemJob *job);
/** (transfer full) (element-type HostmemJob): oldest first. */
GPtrArray *hm_job_list_copy(HmJobList *self);
