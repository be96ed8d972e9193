/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/hostmem-snapshot.h"
#include "backends/hostmem.h"
#include "util/discard.h"

static gint by_offset(gconstpointer a, gconstpointer b)
{
    const guint64 first = ((const HmRange *)a)->offset;
    const guint64 second = ((const HmRange *)b)->offset;

    return (first > second) - (first < second);
}

/* (transfer full) (nullable): in the order in which each goes behind the last
 * one: in another the list would be moved as often as it has ranges. */
static GArray *sort_ranges(HostmemBackend *self, const HostmemRange *ranges,
                           gsize n_ranges, GError **error)
{
    g_autoptr(GArray) sorted = g_array_new(FALSE, FALSE, sizeof(HmRange));

    for (gsize i = 0; i < n_ranges; i++) {
        HmRange range;

        if (!hm_backend_check_range(self, "discard", ranges[i].offset,
                                    ranges[i].length, &range, error)) {
            return NULL;
        }
        g_array_append_val(sorted, range);
    }
    g_array_sort(sorted, by_offset);
    return g_steal_pointer(&sorted);
}

static HmRangeList *check_ranges(HostmemBackend *self,
                                 const HostmemRange *ranges, gsize n_ranges,
                                 GError **error)
{
    g_autoptr(GArray) sorted = sort_ranges(self, ranges, n_ranges, error);
    HmRangeList *list;

    if (!sorted) {
        return NULL;
    }
    list = hm_range_list_new();
    for (guint i = 0; i < sorted->len; i++) {
        hm_range_list_add(list, &g_array_index(sorted, HmRange, i));
    }
    return list;
}

gboolean hostmem_backend_discard_ranges(HostmemBackend *self,
                                        const HostmemRange *ranges,
                                        gsize n_ranges, guint64 *reached,
                                        GError **error)
{
    g_autoptr(GRWLockReaderLocker) locker = NULL;
    g_autoptr(HmRangeList) list = NULL;
    HmDiscardTarget target;
    gboolean ok;

    g_return_val_if_fail(HOSTMEM_IS_BACKEND(self), FALSE);
    g_return_val_if_fail(ranges || !n_ranges, FALSE);

    locker = g_rw_lock_reader_locker_new(&self->extent_lock);

    if (reached) {
        *reached = 0;
    }
    list = check_ranges(self, ranges, n_ranges, error);
    if (!list) {
        return FALSE;
    }
    target = (HmDiscardTarget){
        .addr = self->mapping.addr,
        .page_size = self->backing.page_size,
        .kind = self->backing.kind,
        .shared = self->backing.shared,
        .readonly = self->backing.readonly,
        .fd = self->backing.fd,
        .fd_offset = self->backing.offset,
        .parts = self->backing.parts,
        .n_parts = self->backing.n_parts,
        .locked = self->locked,
    };
    g_atomic_int_set(&self->reserved, FALSE);
    hm_backend_begin_discard(self, list);
    ok = hm_discard_list(&target, list, reached, error);
    hm_backend_end_discard(self);
    return ok;
}

gboolean hostmem_backend_discard(HostmemBackend *self, guint64 offset,
                                 guint64 length, GError **error)
{
    const HostmemRange range = {offset, length};

    return hostmem_backend_discard_ranges(self, &range, 1, NULL, error);
}
