/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/programs/peer-json.h"
#include "bench.h"

/* (transfer full): as the library sees the host at this moment */
static json_t *look(void)
{
    g_autofree char *text = hostmem_capabilities();

    return peer_json_parse(text, NULL);
}

static guint64 number(const json_t *object, const char *key, guint64 missing)
{
    guint64 value;

    return peer_json_number(object, key, &value) ? value : missing;
}

BenchHostMemory bench_host_memory(void)
{
    json_auto_t *host = look();
    const json_t *memory = json_object_get(host, "memory");

    return (BenchHostMemory){
        .total = number(memory, "total", 0),
        .available = number(memory, "available", 0),
        .cgroup_limit = number(memory, "cgroup-limit", G_MAXUINT64),
        .cgroup_available = number(memory, "cgroup-available", G_MAXUINT64),
    };
}

static BenchHostPool read_pool(const json_t *pool)
{
    return (BenchHostPool){
        .page_size = number(pool, "page-size", 0),
        .total = number(pool, "total", 0),
        .free = number(pool, "free", 0),
        .reserved = number(pool, "reserved", 0),
    };
}

GArray *bench_host_pools(void)
{
    json_auto_t *host = look();
    GArray *pools = g_array_new(FALSE, FALSE, sizeof(BenchHostPool));
    json_t *found;
    gsize i;

    json_array_foreach(json_object_get(host, "huge-pages"), i, found)
    {
        BenchHostPool pool = read_pool(found);
        g_array_append_val(pools, pool);
    }
    return pools;
}

gsize bench_host_huge_page_size(void)
{
    json_auto_t *host = look();

    return number(host, "huge-page-size", 0);
}

BenchHostPool bench_host_default_pool(void)
{
    gsize page_size = bench_host_huge_page_size();
    g_autoptr(GArray) pools = bench_host_pools();

    for (guint i = 0; i < pools->len; i++) {
        BenchHostPool *pool = &g_array_index(pools, BenchHostPool, i);
        if (pool->page_size == page_size) {
            return *pool;
        }
    }
    return (BenchHostPool){0};
}

guint bench_host_nodes(void)
{
    json_auto_t *host = look();

    return json_array_size(json_object_get(host, "nodes"));
}

guint bench_host_cpus(void)
{
    json_auto_t *host = look();

    return number(host, "usable-cpus", 1);
}

gsize bench_host_thp_size(void)
{
    json_auto_t *host = look();

    return number(json_object_get(host, "thp"), "size", 0);
}

char *bench_host_thp_policy(gboolean shared)
{
    json_auto_t *host = look();

    return g_strdup(peer_json_string(json_object_get(host, "thp"),
                                     shared ? "shmem-policy" : "policy"));
}
