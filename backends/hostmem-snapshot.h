/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/snapshot.h>
#include "backends/hostmem.h"

/**
 * HmShooting: what a backend has for its snapshots.
 *
 * While one begins nothing is discarded; while it goes on, what is discarded is
 * saved first.
 */
typedef struct HmShooting HmShooting;

HmShooting *hm_shooting_new(void);
void hm_shooting_free(HmShooting *self);

/**
 * hm_backend_begin_discard: wait, if need be, until ranges can be discarded.
 * @ranges: whole pages of a ready backend
 *
 * Each is followed by hm_backend_end_discard().
 */
void hm_backend_begin_discard(HostmemBackend *self, const HmRangeList *ranges);
void hm_backend_end_discard(HostmemBackend *self);

/**
 * hm_backend_is_shot: whether a snapshot begins or goes on.
 *
 * None begins under change_lock: what must not happen during one, and asks
 * under it, can go ahead when there is none.
 */
gboolean hm_backend_is_shot(HostmemBackend *self);
/** Whether the memory may be given to others, whose writes a snapshot that goes
 * on would not see. */
gboolean hm_backend_may_expose(HostmemBackend *self);
/** Cancel what goes on, and wait for it. */
void hm_backend_end_snapshot(HostmemBackend *self);

/** Called with what is in use; returns FALSE with an error. */
typedef gboolean (*HmUsedFunc)(const HmRangeList *used, gpointer data,
                               GError **error);
/**
 * How the owner of the memory, a device, says what of it is in use: by a call
 * of @func, until whose return nothing comes or goes.
 */
typedef gboolean (*HmWithUsedFunc)(gpointer owner, HmUsedFunc func,
                                   gpointer data, GError **error);
/**
 * hm_backend_set_owner: what is not in use does not count.
 * @with_used: NULL: all of it is in use, from when this returns
 */
void hm_backend_set_owner(HostmemBackend *self, HmWithUsedFunc with_used,
                          gpointer owner);
