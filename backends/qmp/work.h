/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "backends/qmp/call.h"
#include "backends/qmp/progress.h"

/**
 * HmQmpWork: what commands do to live objects beside the main loop.
 *
 * Turning "prealloc" on takes as long as populating, and asking the kernel
 * about every page of a large backend takes long too.
 */
typedef struct HmQmpWork HmQmpWork;

/**
 * Runs in a thread of its own.
 * @objects: (element-type HostmemObject): of hm_qmp_work_start()
 * @target: (nullable): what the call's "value" names, when it names an object
 *
 * Returns: (transfer full): what the call returns, or NULL with an error
 */
typedef json_t *(*HmQmpWorkFunc)(HmQmpCall *call, GPtrArray *objects,
                                 GObject *target, GCancellable *cancellable,
                                 GError **error);

/** @progress is borrowed, and told what begins and ends. */
HmQmpWork *hm_qmp_work_new(HmQmpProgress *progress);
/** Pre: nothing is under way. */
void hm_qmp_work_free(HmQmpWork *self);

/** (transfer full): for hm_qmp_work_start(). */
GPtrArray *hm_qmp_work_objects(HostmemObject *object);
/**
 * hm_qmp_work_start: run @func and end the call with what it gives.
 * @objects: (transfer full) (element-type HostmemObject): with references
 */
void hm_qmp_work_start(HmQmpWork *self, HmQmpCall *call, GPtrArray *objects,
                       GObject *target, HmQmpWorkFunc func);

/**
 * hm_qmp_work_cancel: end all work on an object, which keeps it alive.
 * @func: runs with @user_data when none is left
 *
 * Returns: FALSE, and @func will not run, when there is none
 */
gboolean hm_qmp_work_cancel(HmQmpWork *self, HostmemObject *object,
                            void (*func)(gpointer user_data),
                            gpointer user_data);
/** Whether somebody waits for the end of all work on @object. */
gboolean hm_qmp_work_is_awaited(HmQmpWork *self, HostmemObject *object);
void hm_qmp_work_cancel_all(HmQmpWork *self);
/** Cancel all and wait for it: within the time that cancelling takes. */
void hm_qmp_work_end_all(HmQmpWork *self);
