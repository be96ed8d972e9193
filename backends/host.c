/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/host.h>
#include <jansson.h>
#include <stdlib.h>
#include "backends/object-types.h"
#include "util/cgroup-limit.h"
#include "util/hostcaps.h"
#include "util/numa.h"
#include "util/os.h"
#include "util/pagesize.h"
#include "util/procfield.h"
#include "util/props.h"
#include "util/size.h"

const char *hostmem_version(void)
{
    return HM_VERSION;
}

char *hostmem_size_to_string(guint64 bytes)
{
    return hm_size_format(bytes);
}

gboolean hostmem_size_parse(const char *text, guint64 *bytes, GError **error)
{
    guint64 value;

    g_return_val_if_fail(text && bytes, FALSE);
    if (!hm_size_parse(text, &value, error)) {
        return FALSE;
    }
    *bytes = value;
    return TRUE;
}

static json_t *features_json(const HmHostCaps *caps)
{
    return json_pack("{sb sb sb sb sb sb sb sb}",        //
                     "populate", caps->populate,         //
                     "collapse", caps->collapse,         //
                     "self-madvise", caps->self_madvise, //
                     "dontneed-locked", caps->dontneed_locked, "private-tmpfs",
                     caps->private_tmpfs, "memfd-sealing", caps->memfd_sealing,
                     "memfd-hugetlb", caps->memfd_hugetlb, //
                     "merge", caps->merge);
}

static json_t *thp_json(const HmHostCaps *caps)
{
    return json_pack("{sI ss ss}", "size", (json_int_t)caps->thp_size, "policy",
                     hm_thp_policy_name(hm_hostcaps_thp()), "shmem-policy",
                     hm_shmem_thp_policy_name(hm_hostcaps_shmem_thp()));
}

static void set_bytes(json_t *object, const char *name, guint64 bytes)
{
    json_object_set_new(object, name, json_integer((json_int_t)bytes));
}

/* Without the members of cgroups where these set no limit. */
static json_t *memory_json(void)
{
    g_autofree char *text = NULL;
    guint64 limit, left;
    json_t *json = json_object();

    if (hm_os_read_text("/proc/meminfo", &text) == 0) {
        set_bytes(json, "total", hm_procfield_bytes(text, "MemTotal"));
        set_bytes(json, "available", hm_procfield_bytes(text, "MemAvailable"));
    }
    if (hm_cgroup_memory_left(&limit, &left)) {
        set_bytes(json, "cgroup-limit", limit);
        set_bytes(json, "cgroup-available", left);
    }
    return json;
}

static json_t *pool_json(const HmHugePool *pool)
{
    return json_pack("{sI sI sI sI sI sI}",                    //
                     "page-size", (json_int_t)pool->page_size, //
                     "total", (json_int_t)pool->total,         //
                     "free", (json_int_t)pool->free,           //
                     "reserved", (json_int_t)pool->reserved,   //
                     "surplus", (json_int_t)pool->surplus,     //
                     "overcommit", (json_int_t)pool->overcommit);
}

static json_t *pools_json(void)
{
    g_autoptr(GArray) sizes = hm_huge_page_sizes();
    json_t *array = json_array();

    for (guint i = 0; i < sizes->len; i++) {
        HmHugePool pool;

        if (hm_huge_pool_read(g_array_index(sizes, guint64, i), &pool, NULL)) {
            json_array_append_new(array, pool_json(&pool));
        }
    }
    return array;
}

static json_t *node_json(guint id)
{
    g_autoptr(HmIdset) node = hm_idset_new();
    g_autoptr(HmIdset) cpus = NULL;
    g_autofree char *cpus_text = NULL;
    HmNodeMemory memory = {0};

    hm_idset_add(node, id);
    cpus = hm_numa_cpus_of(node);
    cpus_text = hm_idset_to_string(cpus);
    hm_numa_node_memory(id, &memory, NULL);
    return json_pack("{sI ss sI sI sI}", "id", (json_int_t)id, //
                     "cpus", cpus_text,                        //
                     "total", (json_int_t)memory.total,        //
                     "free", (json_int_t)memory.free,          //
                     "available", (json_int_t)memory.available);
}

static json_t *nodes_json(void)
{
    g_autoptr(HmIdset) nodes = hm_numa_memory_nodes();
    json_t *array = json_array();

    HM_IDSET_FOREACH (nodes, id) {
        json_array_append_new(array, node_json(id));
    }
    return array;
}

static json_t *property_json(const HmProp *row)
{
    g_autofree char *type = hm_prop_type_name(row);

    return json_pack("{ss ss ss}", "name", row->name, "type", type,
                     "description", row->description);
}

static json_t *properties_json(GType type)
{
    g_autoptr(GTypeClass) klass = g_type_class_ref(type);
    g_autoptr(GPtrArray) rows = hm_props_list(G_OBJECT_CLASS(klass));
    json_t *array = json_array();

    for (guint i = 0; i < rows->len; i++) {
        json_array_append_new(array, property_json(g_ptr_array_index(rows, i)));
    }
    return array;
}

static json_t *types_json(void)
{
    guint n;
    const HmObjectType *types = hm_object_types(&n);
    json_t *array = json_array();

    for (guint i = 0; i < n; i++) {
        if (hm_object_type_is_object(&types[i])) {
            json_array_append_new(
                array, json_pack("{ss so}", "name", types[i].name, "properties",
                                 properties_json(types[i].get_type())));
        }
    }
    return array;
}

static json_t *usable_cpus_json(void)
{
    g_autoptr(HmIdset) allowed = hm_numa_allowed_cpus();

    return json_integer(MIN(hm_idset_count(allowed), hm_numa_cpu_quota()));
}

char *hostmem_capabilities(void)
{
    const HmHostCaps *caps = hm_hostcaps_get();
    json_auto_t *json =
        json_pack("{ss sI sI so so so so so so so}", "version", HM_VERSION, //
                  "page-size", (json_int_t)caps->page_size,                 //
                  "huge-page-size", (json_int_t)caps->huge_page_size,       //
                  "usable-cpus", usable_cpus_json(),                        //
                  "memory", memory_json(),                                  //
                  "features", features_json(caps),                          //
                  "thp", thp_json(caps),                                    //
                  "huge-pages", pools_json(),                               //
                  "nodes", nodes_json(),                                    //
                  "types", types_json());
    char *dumped = json_dumps(json, JSON_INDENT(2));
    char *text = g_strconcat(dumped, "\n", NULL);

    free(dumped);
    return text;
}
