/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/prealloc.h"

/**
 * hm_prealloc_step: carry out one step of a plan on a part of a region.
 * @offset: bytes from the start of the region, multiple of the page size
 * @length: bytes, multiple of the page size
 * @failed_at: offset of the first page that is missing, when it fails
 *
 * Blocks; any thread, several at a time.  A step that only makes others faster
 * never fails.
 *
 * Returns: 0 or -errno; -EOPNOTSUPP for %HM_STEP_ALLOCATE where the storage
 * cannot be made beforehand
 */
int hm_prealloc_step(const HmPreallocRegion *region, HmPreallocStep step,
                     guint64 offset, guint64 length, guint64 *failed_at);

/**
 * hm_prealloc_set_error: say what a failed step means; looks whether the file
 * has changed.
 *
 * Returns: FALSE
 */
gboolean hm_prealloc_set_error(const HmPreallocRegion *region,
                               const HmPreallocFailure *failure,
                               GError **error);
