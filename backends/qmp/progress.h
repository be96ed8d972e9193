/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/qmp.h>

/**
 * HmQmpProgress: one event a second for each backend that populates.
 *
 * Looks at the backends by a timer that runs while somebody has begun, and
 * not ended, what may populate, or while objects are being created or jobs run.
 */
typedef struct HmQmpProgress HmQmpProgress;

/** @server is borrowed. */
HmQmpProgress *hm_qmp_progress_new(HostmemQmpServer *server);
void hm_qmp_progress_free(HmQmpProgress *self);

/** Look whether objects are being created or jobs run, from now on. */
void hm_qmp_progress_watch(HmQmpProgress *self);
/** A live object may populate until hm_qmp_progress_end(). */
void hm_qmp_progress_begin(HmQmpProgress *self);
void hm_qmp_progress_end(HmQmpProgress *self);
