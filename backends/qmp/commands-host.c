/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/hostmem.h"
#include "backends/qmp/call.h"
#include "backends/qmp/server.h"
#include "util/numa.h"
#include "util/pagesize.h"

/* query-host-nodes */

static json_t *describe_huge_pages(guint node)
{
    g_autoptr(GArray) sizes = hm_huge_page_sizes();
    json_t *list = json_array();

    for (guint i = 0; i < sizes->len; i++) {
        guint64 size = g_array_index(sizes, guint64, i);
        guint64 total, free;

        if (hm_huge_pool_on_node(size, node, &total, &free)) {
            json_array_append_new(list, json_pack("{s:I,s:I,s:I}", "page-size",
                                                  (json_int_t)size, "total",
                                                  (json_int_t)total, "free",
                                                  (json_int_t)free));
        }
    }
    return list;
}

static json_t *describe_node(guint node, guint64 populated)
{
    HmNodeMemory memory = {0};

    hm_numa_node_memory(node, &memory, NULL);
    return json_pack(
        "{s:I,s:I,s:I,s:I,s:I,s:o}", "node", (json_int_t)node, "total",
        (json_int_t)memory.total, "free", (json_int_t)memory.free, "available",
        (json_int_t)memory.available, "populated", (json_int_t)populated,
        "huge-pages", describe_huge_pages(node));
}

/* A HmQmpWorkFunc. */
static json_t *describe_nodes(HmQmpCall *call G_GNUC_UNUSED,
                              GPtrArray *backends,
                              GObject *target G_GNUC_UNUSED,
                              GCancellable *cancellable,
                              GError **error G_GNUC_UNUSED)
{
    g_autoptr(HmIdset) nodes = hm_numa_memory_nodes();
    guint64 populated[HM_NUMA_MAX_NODES] = {0};
    json_t *list = json_array();

    for (guint i = 0;
         i < backends->len && !g_cancellable_is_cancelled(cancellable); i++) {
        hm_backend_count_on_nodes(g_ptr_array_index(backends, i), populated);
    }
    HM_IDSET_FOREACH (nodes, node) {
        json_array_append_new(list, describe_node(node, node < HM_NUMA_MAX_NODES
                                                            ? populated[node]
                                                            : 0));
    }
    return list;
}

void hm_qmp_run_query_host_nodes(HmQmpCall *call)
{
    hm_qmp_work_start(hm_qmp_server_get_work(call->server), call,
                      hm_qmp_measurable_backends(call), NULL, describe_nodes);
}
