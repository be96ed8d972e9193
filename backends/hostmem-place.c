/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * mbind(2) is a promise about pages that are still to come.  Pages of a file
 * that were there before stay where they are, and those of a file on storage
 * take no notice of it.  So a sample is looked up afterwards.
 *
 * Pages elsewhere are slower, not wrong, and whoever owns the memory may have
 * put them there: a warning, no failure, as creation on such a file works with
 * QEMU.
 */
#include "backends/hostmem.h"
#include "util/align.h"
#include "util/numa.h"
#include "util/os.h"

#define SAMPLE 1024

/* One page, and where it is. */
typedef struct {
    guint64 offset;
    int node;
} Found;

static void spread(const HostmemBackend *backend, const HmRange *range,
                   gsize step, void **pages, gsize n)
{
    for (gsize i = 0; i < n; i++) {
        pages[i] = backend->mapping.addr + range->offset + i * step;
    }
}

/* Counts, and finds the first page that lies elsewhere. */
static HmPlacement judge(const HostmemBackend *backend, void *const *pages,
                         const int *nodes, gsize n, Found *first)
{
    HmPlacement placement = {0};

    for (gsize i = 0; i < n; i++) {
        if (nodes[i] < 0) {
            continue; /* swapped out already, or moving */
        }
        placement.sampled++;
        if (hm_idset_contains(backend->nodes, (guint)nodes[i])) {
            continue;
        }
        if (!placement.misplaced++) {
            first->offset =
                (guint64)((guint8 *)pages[i] - backend->mapping.addr);
            first->node = nodes[i];
        }
    }
    return placement;
}

static void log_misplaced(HostmemBackend *self, const HmPlacement *placement,
                          const Found *first)
{
    g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(self));
    g_autofree char *nodes = hm_idset_to_string(self->nodes);

    g_log(G_LOG_DOMAIN,
          self->policy == HOSTMEM_POLICY_BIND ? G_LOG_LEVEL_WARNING
                                              : G_LOG_LEVEL_INFO,
          "%s: %u of %u pages looked at are not on host nodes %s, the first at "
          "offset 0x%" G_GINT64_MODIFIER "x on node %d; pages that were there "
          "before, or of a file on storage, do not move",
          what, placement->misplaced, placement->sampled, nodes, first->offset,
          first->node);
}

HmPlacement hm_backend_look_at_placement(HostmemBackend *self,
                                         const HmRange *range)
{
    const gsize page_size = self->backing.page_size;
    gsize n = MIN(range->length / page_size, SAMPLE);
    HmPlacement placement = {0};
    void *pages[SAMPLE];
    int nodes[SAMPLE];
    Found first = {0};

    if (!self->nodes || !n) {
        return placement;
    }
    spread(self, range, hm_align_down(range->length / n, page_size), pages, n);
    if (hm_os_page_nodes(pages, n, nodes) < 0) {
        return placement;
    }
    placement = judge(self, pages, nodes, n, &first);
    if (placement.misplaced) {
        log_misplaced(self, &placement, &first);
    }
    return placement;
}

/* How much is on each node */

/* The middles of @n equal parts of what is in the ranges. */
static void spread_over(const HostmemBackend *backend,
                        const HmRangeList *ranges, void **pages, gsize n)
{
    const gsize page_size = backend->backing.page_size;
    const guint64 step = hm_range_list_total(ranges) / n;
    guint64 at = step / 2; /* as if the ranges had no holes between them */
    guint64 start = 0;
    gsize k = 0;

    for (guint i = 0; i < ranges->len; i++) {
        const HmRange *range = hm_range_list_get(ranges, i);

        for (; k < n && at - start < range->length; at += step) {
            guint64 offset = range->offset + at - start;

            pages[k++] =
                backend->mapping.addr + hm_align_down(offset, page_size);
        }
        start += range->length;
    }
}

/* @total in the proportions of the sample. */
static void share_out(const int *nodes, gsize n, guint64 total, guint64 *bytes)
{
    guint found[HM_NUMA_MAX_NODES] = {0};
    guint sum = 0;

    for (gsize i = 0; i < n; i++) {
        if (nodes[i] >= 0 && nodes[i] < HM_NUMA_MAX_NODES) {
            found[nodes[i]]++;
            sum++;
        }
    }
    for (guint node = 0; sum && node < HM_NUMA_MAX_NODES; node++) {
        /* What the division leaves is smaller than the sample. */
        bytes[node] +=
            total / sum * found[node] + total % sum * found[node] / sum;
    }
}

static void count_sample(HostmemBackend *self, guint64 total, guint64 *bytes)
{
    g_autoptr(HmRangeList) ranges = hm_range_list_new();
    void *pages[SAMPLE];
    int nodes[SAMPLE];
    gsize n;

    if (hm_usage_sample(self->usage, self->mapping.addr, ranges) < 0) {
        return;
    }
    n = MIN(hm_range_list_total(ranges) / hm_os_page_size(), SAMPLE);
    if (!n) {
        return;
    }
    spread_over(self, ranges, pages, n);
    if (hm_os_page_nodes(pages, n, nodes) == 0) {
        share_out(nodes, n, total, bytes);
    }
}

void hm_backend_count_on_nodes(HostmemBackend *self, guint64 *bytes)
{
    g_autoptr(GRWLockReaderLocker) locker =
        g_rw_lock_reader_locker_new(&self->extent_lock);
    g_autoptr(HmIdset) all = hm_numa_memory_nodes();
    guint only = HM_NUMA_MAX_NODES;
    HmUsageSums sums;

    hm_usage_look(self->usage, self->mapping.addr, self->mapping.length, &sums);
    if (hm_idset_count(all) == 1 && hm_idset_next(all, 0, &only) &&
        only < HM_NUMA_MAX_NODES) {
        bytes[only] += sums.populated;
    } else {
        count_sample(self, sums.populated, bytes);
    }
}
