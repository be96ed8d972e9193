/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/idset.h"

/**
 * HmQueue: the CPUs that several runs of hm_prealloc_run_all() share.
 *
 * Each region has a place in line.  Before a chunk a worker waits for a CPU,
 * which the first place in line gets that can use it.  Reference counted; any
 * thread.
 */
typedef struct HmQueue HmQueue;
typedef struct HmQueuePlace HmQueuePlace;

HmQueue *hm_queue_new(void);
HmQueue *hm_queue_ref(HmQueue *self);
void hm_queue_unref(HmQueue *self);

/**
 * hm_queue_join: take a place in line.
 * @rank: lower ones go first, among equal ones those who came first
 * @cpus: where its workers may run
 * @quota: CPUs that may be used at a time, not 0; G_MAXUINT: all
 *
 * Returns: (transfer full): for hm_queue_leave()
 */
HmQueuePlace *hm_queue_join(HmQueue *self, guint rank, const HmIdset *cpus,
                            guint quota);
/** Nobody is in it, or comes any more. */
void hm_queue_leave(HmQueuePlace *place);

/**
 * hm_queue_enter: wait for a CPU.
 * @deadline: hm_os_now() microseconds; 0: none
 *
 * Returns: FALSE, and nothing to exit from, when the place was closed or the
 * deadline has passed
 */
gboolean hm_queue_enter(HmQueuePlace *place, gint64 deadline);
/**
 * hm_queue_yield: exit, and enter again when nobody ahead waits for the CPU.
 *
 * Returns: as hm_queue_enter()
 */
gboolean hm_queue_yield(HmQueuePlace *place, gint64 deadline);
void hm_queue_exit(HmQueuePlace *place);
/** Nobody gets in any more: those who wait, go. */
void hm_queue_close(HmQueuePlace *place);
