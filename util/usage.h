/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/range.h"

/** Bytes of memory, as page tables have them. */
typedef struct {
    guint64 populated; /* with an entry, swapped out or not */
    guint64 resident;  /* of these in RAM; no zero pages */
    guint64 locked;    /* of these kept there by mlock(2) and the like */
    guint64 huge;      /* mapped by huge pages */
    gint64 age_us;     /* microseconds since the oldest part was looked at */
} HmUsageSums;

/** HmUsage: what is known of the pages of one memory; any thread. */
typedef struct HmUsage HmUsage;

HmUsage *hm_usage_new(void);
void hm_usage_free(HmUsage *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmUsage, hm_usage_free)

/**
 * hm_usage_look: look again at as much as may be looked at, and sum up.
 * @addr: may change, and the page tables with it
 * @length: bytes, whole pages; may change
 *
 * Memory of a few GiB, huge pages, and what is not populated is always looked
 * at as a whole.  See usage.c for what this costs.
 */
void hm_usage_look(HmUsage *self, void *addr, gsize length, HmUsageSums *sums);

/**
 * hm_usage_sample: what is populated in some parts of the memory.
 * @ranges: offsets from @addr, added to
 *
 * Up to 16 GiB, evenly spread over what was populated at the last look: all of
 * it, where it is no more.
 *
 * Returns: 0 or -errno
 */
int hm_usage_sample(HmUsage *self, void *addr, HmRangeList *ranges);
