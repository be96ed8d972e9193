/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/range.h"

gboolean hm_range_init(HmRange *range, guint64 offset, guint64 length)
{
    guint64 end;

    if (!length || !g_uint64_checked_add(&end, offset, length)) {
        return FALSE;
    }
    range->offset = offset;
    range->length = length;
    return TRUE;
}

guint64 hm_range_end(const HmRange *range)
{
    return range->offset + range->length;
}

gboolean hm_range_contains(const HmRange *outer, const HmRange *inner)
{
    return outer->offset <= inner->offset &&
           hm_range_end(inner) <= hm_range_end(outer);
}

gboolean hm_range_intersect(const HmRange *a, const HmRange *b, HmRange *common)
{
    guint64 start = MAX(a->offset, b->offset);
    guint64 end = MIN(hm_range_end(a), hm_range_end(b));

    return start < end && hm_range_init(common, start, end - start);
}

HmRangeList *hm_range_list_new(void)
{
    return g_array_new(FALSE, FALSE, sizeof(HmRange));
}

/* Index of the first range that ends at or behind @offset. */
static guint find_neighbour(const HmRangeList *list, guint64 offset)
{
    guint low = 0;
    guint high = list->len;

    while (low < high) {
        guint middle = low + (high - low) / 2;

        if (hm_range_end(hm_range_list_get(list, middle)) < offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

void hm_range_list_add(HmRangeList *list, const HmRange *range)
{
    guint first = find_neighbour(list, range->offset);
    guint behind = first;
    guint64 start = range->offset;
    guint64 end = hm_range_end(range);
    HmRange merged;

    while (behind < list->len &&
           hm_range_list_get(list, behind)->offset <= end) {
        const HmRange *next = hm_range_list_get(list, behind++);

        start = MIN(start, next->offset);
        end = MAX(end, hm_range_end(next));
    }
    merged = (HmRange){.offset = start, .length = end - start};
    if (behind > first) {
        g_array_remove_range(list, first, behind - first);
    }
    g_array_insert_val(list, first, merged);
}

guint64 hm_range_list_total(const HmRangeList *list)
{
    guint64 total = 0;

    for (guint i = 0; i < list->len; i++) {
        total += hm_range_list_get(list, i)->length;
    }
    return total;
}

HmRangeList *hm_range_list_clip(const HmRangeList *list, const HmRange *window)
{
    HmRangeList *clipped = hm_range_list_new();

    for (guint i = 0; i < list->len; i++) {
        HmRange common;

        if (hm_range_intersect(hm_range_list_get(list, i), window, &common)) {
            g_array_append_val(clipped, common);
        }
    }
    return clipped;
}
