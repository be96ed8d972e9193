/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

/** A range of bytes; offset + length never exceeds 64 bits. */
typedef struct {
    guint64 offset;
    guint64 length;
} HmRange;

/** Set *@range; FALSE, untouched, when @length is 0 or the end overflows. */
gboolean hm_range_init(HmRange *range, guint64 offset, guint64 length);
/** First byte behind the range. */
guint64 hm_range_end(const HmRange *range);
/** Whether @inner lies within @outer. */
gboolean hm_range_contains(const HmRange *outer, const HmRange *inner);
/** The common part in *@common; FALSE, untouched, when there is none. */
gboolean hm_range_intersect(const HmRange *a, const HmRange *b,
                            HmRange *common);

/** A sorted list of ranges that neither overlap nor touch. */
typedef GArray HmRangeList;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmRangeList, g_array_unref)

HmRangeList *hm_range_list_new(void);
/** Add a range, merging it with its neighbours. */
void hm_range_list_add(HmRangeList *list, const HmRange *range);
/** Bytes of all ranges together. */
guint64 hm_range_list_total(const HmRangeList *list);
/** (transfer full): the parts of @list within @window. */
HmRangeList *hm_range_list_clip(const HmRangeList *list, const HmRange *window);
static inline const HmRange *hm_range_list_get(const HmRangeList *list, guint i)
{
    return &g_array_index(list, HmRange, i);
}
