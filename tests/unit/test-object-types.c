/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <hostmem/backend.h>
#include <hostmem/device.h>
#include <hostmem/host.h>
#include <hostmem/registry.h>
#include "backends/object-types.h"
#include "object-test.h"
#include "os-fake.h"
#include "util/props.h"
#include "util/size.h"

/* The table */

/* Another name of its parent. */
static gboolean is_alias(const HmObjectType *type)
{
    return type->parent &&
           hm_object_type_find(type->parent)->get_type == type->get_type;
}

static void assert_is_the_class(const HmObjectType *type)
{
    g_assert_cmpstr(hm_object_type_name(type->get_type()), ==, type->name);
    if (type->parent) {
        g_assert_true(g_type_parent(type->get_type()) ==
                      hm_object_type_find(type->parent)->get_type());
    }
}

static void test_table_fits_the_classes(void)
{
    guint n;
    const HmObjectType *types = hm_object_types(&n);

    for (guint i = 0; i < n; i++) {
        GType type = types[i].get_type();

        g_assert_true(hm_object_type_find(types[i].name) == &types[i]);
        g_assert_cmpint(G_TYPE_IS_ABSTRACT(type), ==, types[i].abstract);
        g_assert_cmpint(g_type_is_a(type, HOSTMEM_TYPE_DEVICE), ==,
                        types[i].device);
        if (is_alias(&types[i])) {
            g_assert_cmpstr(hm_object_type_name(type), ==, types[i].parent);
        } else {
            assert_is_the_class(&types[i]);
        }
    }
}

static void test_unknown_type(void)
{
    g_assert_null(hm_object_type_find("nosuch"));
    g_assert_null(hostmem_object_types_help("nosuch"));
    g_assert_null(hostmem_object_types_help("memory-backend"));
}

static void test_every_row_is_described(void)
{
    guint n;
    const HmObjectType *types = hm_object_types(&n);

    for (guint i = 0; i < n; i++) {
        g_autoptr(GTypeClass) klass = g_type_class_ref(types[i].get_type());
        g_autoptr(GPtrArray) rows = hm_props_list(G_OBJECT_CLASS(klass));

        for (guint j = 0; j < rows->len; j++) {
            const HmProp *row = g_ptr_array_index(rows, j);

            g_assert_nonnull(row->description);
            g_assert_cmpuint(strlen(row->description), >, 0);
        }
    }
}

/* Help */

static void test_help_list(void)
{
    g_autofree char *text = hostmem_object_types_help(NULL);

    g_assert_cmpstr(text, ==,
                    "List of user creatable objects:\n"
                    "  memory-backend-file\n"
                    "  memory-backend-memfd\n"
                    "  memory-backend-ram\n"
                    "  memory-backend-shm\n"
                    "  memory-pool\n"
                    "  thread-context\n");
}

static void test_help_devices(void)
{
    g_autofree char *text = hostmem_device_types_help(NULL);

    g_assert_cmpstr(text, ==,
                    "Misc devices:\n"
                    "name \"virtio-mem\"\n"
                    "name \"virtio-mem-device\"\n"
                    "name \"virtio-mem-pci\"\n");
}

static void test_help_device(void)
{
    g_autofree char *text = hostmem_device_types_help("virtio-mem-pci");

    g_assert_true(g_str_has_prefix(text, "virtio-mem-pci options:\n"
                                         "  block-size=<size>      - "));
    g_assert_nonnull(strstr(text, "\n  memdev=<link<memory-backend>> - "));
    g_assert_null(strstr(text, "last-reason"));
    g_assert_null(hostmem_device_types_help("memory-backend-ram"));
    g_assert_null(hostmem_device_types_help("device"));
    g_assert_null(hostmem_object_types_help("virtio-mem"));
}

static void test_help_type(void)
{
    g_autofree char *text = hostmem_object_types_help("thread-context");

    g_assert_cmpstr(
        text, ==,
        "thread-context options:\n"
        "  cpu-affinity=<int>     - Host CPUs that new threads may run on\n"
        "  id=<string>            - Name of the object, unique in its "
        "registry\n"
        "  node-affinity=<int>    - Host NUMA nodes whose CPUs new threads "
        "may run on\n");
}

static void test_help_defaults(void)
{
    g_autofree char *text = hostmem_object_types_help("memory-backend-memfd");

    g_assert_nonnull(strstr(text, "\n  share=<bool>           - "));
    g_assert_nonnull(strstr(text, "\n  size=<int>             - How much"));
    g_assert_nonnull(strstr(text, " (default: on)\n  size=<int>"));
    g_assert_nonnull(strstr(text, "  policy=<HostMemPolicy> - How memory is "
                                  "spread over host-nodes (default: "
                                  "default)\n"));
    g_assert_null(strstr(text, "page-size"));
}

/* The host */

static json_t *capabilities(void)
{
    g_autofree char *text = hostmem_capabilities();
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

    g_assert_true(g_str_has_suffix(text, "}\n"));
    g_assert_nonnull(json);
    return json;
}

static void test_capabilities(void)
{
    json_auto_t *json = capabilities();
    json_t *types = json_object_get(json, "types");

    g_assert_cmpstr(json_string_value(json_object_get(json, "version")), ==,
                    hostmem_version());
    g_assert_cmpint(json_integer_value(json_object_get(json, "page-size")), ==,
                    4096);
    g_assert_true(json_is_boolean(
        json_object_get(json_object_get(json, "features"), "populate")));
    g_assert_true(json_is_string(
        json_object_get(json_object_get(json, "thp"), "policy")));
    g_assert_cmpuint(json_array_size(types), ==, 6);
}

static void test_capabilities_of_nodes(void)
{
    json_auto_t *json = NULL;
    json_t *nodes, *last;

    hm_fake_set_nodes(4, 2, 8 * HM_GIB);
    json = capabilities();
    nodes = json_object_get(json, "nodes");
    last = json_array_get(nodes, 3);
    g_assert_cmpuint(json_array_size(nodes), ==, 4);
    g_assert_cmpint(json_integer_value(json_object_get(last, "id")), ==, 3);
    g_assert_cmpstr(json_string_value(json_object_get(last, "cpus")), ==,
                    "6-7");
    g_assert_cmpint(json_integer_value(json_object_get(last, "free")), ==,
                    8 * HM_GIB);
}

static void test_capabilities_of_memory(void)
{
    json_auto_t *json = NULL;
    json_int_t total, available;

    hm_fake_set_file("/proc/meminfo",
                     "MemTotal: 64 kB\nMemFree: 9 kB\nMemAvailable: 32 kB\n");
    hm_fake_set_file("/proc/self/cgroup", NULL);
    json = capabilities();
    g_assert_cmpint(json_unpack(json, "{s:{s:I s:I !}}", "memory", "total",
                                &total, "available", &available),
                    ==, 0);
    g_assert_cmpint(total, ==, 64 * HM_KIB);
    g_assert_cmpint(available, ==, 32 * HM_KIB);
}

static void test_capabilities_of_a_cgroup(void)
{
    json_auto_t *json = NULL;
    json_int_t limit, available;

    hm_fake_set_file("/proc/self/cgroup", "0::/vm7\n");
    hm_fake_set_file("/proc/self/mountinfo",
                     "41 31 0:38 / /cg rw - cgroup2 cgroup2 rw\n");
    hm_fake_set_file("/cg/vm7/memory.max", "8192\n");
    hm_fake_set_file("/cg/vm7/memory.current", "4096\n");
    json = capabilities();
    g_assert_cmpint(json_unpack(json, "{s:{s:I s:I}}", "memory", "cgroup-limit",
                                &limit, "cgroup-available", &available),
                    ==, 0);
    g_assert_cmpint(limit, ==, 8192);
    g_assert_cmpint(available, ==, 4096);
}

static json_int_t usable_cpus(void)
{
    json_auto_t *json = capabilities();

    return json_integer_value(json_object_get(json, "usable-cpus"));
}

static void test_capabilities_of_cpus(void)
{
    hm_fake_set_nodes(2, 4, 8 * HM_GIB);
    hm_fake_set_file("/proc/self/cgroup", "0::/vm7\n");
    hm_fake_set_file("/proc/self/mountinfo",
                     "41 31 0:38 / /cg rw - cgroup2 cgroup2 rw\n");
    hm_fake_set_file("/cg/vm7/cpu.max", "max 100000\n");
    g_assert_cmpint(usable_cpus(), ==, 8);
    hm_fake_set_file("/cg/vm7/cpu.max", "250000 100000\n");
    g_assert_cmpint(usable_cpus(), ==, 3);
}

static void test_capabilities_of_pools(void)
{
    json_auto_t *json = NULL;
    json_t *pools;
    gboolean found = FALSE;
    gsize i;
    json_t *pool;

    hm_fake_set_huge_pool(2 * HM_MIB, 10, 7, 2);
    json = capabilities();
    pools = json_object_get(json, "huge-pages");
    json_array_foreach(pools, i, pool)
    {
        if (json_integer_value(json_object_get(pool, "page-size")) ==
            2 * HM_MIB) {
            g_assert_cmpint(json_integer_value(json_object_get(pool, "free")),
                            ==, 7);
            found = TRUE;
        }
    }
    g_assert_true(found);
}

/* Options as JSON */

static void assert_json(char *text, const char *expected)
{
    json_auto_t *json = json_loads(text, 0, NULL);
    json_auto_t *wanted = json_loads(expected, 0, NULL);

    g_assert_true(json_equal(json, wanted));
    g_free(text);
}

static void test_options_to_json(void)
{
    assert_json(
        hostmem_object_options_to_json(
            "memory-backend-ram,id=m0,size=1M,merge=off,host-nodes=0-1", NULL),
        "{\"qom-type\": \"memory-backend-ram\", \"id\": \"m0\","
        " \"size\": 1048576, \"merge\": false,"
        " \"host-nodes\": [0, 1]}");
    assert_json(hostmem_device_options_to_json("virtio-mem,memdev=m0", NULL),
                "{\"driver\": \"virtio-mem\", \"memdev\": \"m0\"}");
}

static void test_json_options_pass_as_they_are(void)
{
    static const char text[] = "{\"qom-type\": \"iothread\", \"x\": [1]}";

    assert_json(hostmem_object_options_to_json(text, NULL), text);
    assert_json(hostmem_device_options_to_json(text, NULL), text);
}

static void test_options_that_are_none(void)
{
    static const char *const texts[] = {"",
                                        "nosuch,id=m0",
                                        "memory-backend-ram,size=x",
                                        "{",
                                        "{} 1",
                                        "memory-backend-ram,nosuch=1",
                                        "id=m0",
                                        "virtio-mem,memdev=m0"};

    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(hostmem_object_options_to_json(texts[i], &error));
        g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
    }
}

static void test_size_is_parsed(void)
{
    g_autoptr(GError) error = NULL;
    guint64 bytes = 1;

    g_assert_true(hostmem_size_parse("1.5G", &bytes, NULL));
    g_assert_cmpuint(bytes, ==, 3 * HM_GIB / 2);
    g_assert_false(hostmem_size_parse("-1", &bytes, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
    g_assert_cmpuint(bytes, ==, 3 * HM_GIB / 2);
}

static const HmTest tests[] = {
    {"/object-types/table-fits-the-classes", test_table_fits_the_classes},
    {"/object-types/unknown-type", test_unknown_type},
    {"/object-types/every-row-is-described", test_every_row_is_described},
    {"/object-types/help-list", test_help_list},
    {"/object-types/help-type", test_help_type},
    {"/object-types/help-devices", test_help_devices},
    {"/object-types/help-device", test_help_device},
    {"/object-types/help-defaults", test_help_defaults},
    {"/object-types/capabilities", test_capabilities},
    {"/object-types/capabilities-of-nodes", test_capabilities_of_nodes},
    {"/object-types/capabilities-of-memory", test_capabilities_of_memory},
    {"/object-types/capabilities-of-a-cgroup", test_capabilities_of_a_cgroup},
    {"/object-types/capabilities-of-cpus", test_capabilities_of_cpus},
    {"/object-types/capabilities-of-pools", test_capabilities_of_pools},
    {"/object-types/options-to-json", test_options_to_json},
    {"/object-types/json-options-pass-as-they-are",
     test_json_options_pass_as_they_are},
    {"/object-types/options-that-are-none", test_options_that_are_none},
    {"/object-types/size-is-parsed", test_size_is_parsed},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
