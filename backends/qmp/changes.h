/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "backends/qmp/call.h"
#include "backends/qmp/progress.h"

/**
 * HmQmpChanges: changes of live objects, beside the main loop.
 *
 * A change may take long, as turning "prealloc" on does.
 */
typedef struct HmQmpChanges HmQmpChanges;

/** @progress is borrowed, and told what begins and ends. */
HmQmpChanges *hm_qmp_changes_new(HmQmpProgress *progress);
/** Pre: no change is under way. */
void hm_qmp_changes_free(HmQmpChanges *self);

/** Set the "property" of @object to the "value" in @call, and end the call. */
void hm_qmp_changes_start(HmQmpChanges *self, HmQmpCall *call,
                          HostmemObject *object);

/**
 * hm_qmp_changes_cancel: cancel the changes of an object.
 * @func: runs with @user_data when none is left
 *
 * Returns: FALSE, and @func will not run, when there is none
 */
gboolean hm_qmp_changes_cancel(HmQmpChanges *self, HostmemObject *object,
                               void (*func)(gpointer user_data),
                               gpointer user_data);
void hm_qmp_changes_cancel_all(HmQmpChanges *self);
/** Cancel all and wait for them: within the time that cancelling takes. */
void hm_qmp_changes_end_all(HmQmpChanges *self);
