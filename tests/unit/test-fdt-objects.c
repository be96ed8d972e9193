/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/backend.h>
#include <hostmem/fdt-guest.h>
#include <hostmem/registry.h>
#include "fdt-test.h"
#include "object-test.h"

/* The options for a file with this tree; @rest begins with a comma. */
static char *options_for(const HmTestTree *tree, const char *rest)
{
    g_autofree char *path = g_build_filename(hm_test_folder(), "in", NULL);

    g_assert_true(g_file_set_contents(path, (const char *)tree->blob,
                                      HM_TEST_BLOB_SIZE, NULL));
    return g_strconcat(path, rest, NULL);
}

static void assert_objects(const HmTestTree *tree, const char *rest,
                           const char *expected)
{
    g_autofree char *options = options_for(tree, rest);
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) lines = hostmem_fdt_make_objects(options, &error);
    g_autofree char *text = NULL;

    g_assert_no_error(error);
    text = g_strjoinv("\n", lines);
    g_assert_cmpstr(text, ==, expected);
}

static void refuse(const HmTestTree *tree, const char *rest, HostmemError code,
                   const char *part)
{
    g_autofree char *options = options_for(tree, rest);
    g_autoptr(GError) error = NULL;

    hm_test_assert_refused(hostmem_fdt_make_objects(options, &error) != NULL,
                           &error, code, part);
}

/* Three ranges; the first and the last of NUMA node 0, the others of 1. */
static HmTestTree tree_with_nodes(void)
{
    HmTestTree tree = hm_test_tree_new(2, 2);

    hm_test_tree_add_memory(&tree, "memory@80000000", 0, 0x80000000, 0x1000000);
    HM_TEST_SET_CELLS(&tree, "/memory@80000000", "numa-node-id", 1);
    hm_test_tree_add_memory(&tree, "memory@40000000", 0, 0x40000000, 0);
    HM_TEST_SET_CELLS(&tree, "/memory@40000000", "reg", 0, 0x40000000, 0,
                      0x40000000, 2, 0, 1, 0);
    HM_TEST_SET_CELLS(&tree, "/memory@40000000", "numa-node-id", 0);
    return tree;
}

#define MEMFD "{\"qom-type\": \"memory-backend-memfd\", "

static void test_each_range_is_a_backend(void)
{
    g_auto(HmTestTree) tree = tree_with_nodes();

    assert_objects(&tree, "",
                   MEMFD
                   "\"id\": \"ram0\", \"size\": 1073741824, "
                   "\"guest-addr\": 1073741824, \"guest-node\": 0}\n" MEMFD
                   "\"id\": \"ram1\", \"size\": 16777216, "
                   "\"guest-addr\": 2147483648, \"guest-node\": 1}\n" MEMFD
                   "\"id\": \"ram2\", \"size\": 4294967296, "
                   "\"guest-addr\": 8589934592, \"guest-node\": 0}");
}

/* The ranges of node 0 are apart, and so the backend has no address. */
static void test_each_numa_node_is_a_backend(void)
{
    g_auto(HmTestTree) tree = tree_with_nodes();

    assert_objects(&tree, ",per=numa-node,id=pc",
                   MEMFD "\"id\": \"pc-node0\", \"size\": 5368709120, "
                         "\"guest-node\": 0}\n" MEMFD
                         "\"id\": \"pc-node1\", \"size\": 16777216, "
                         "\"guest-addr\": 2147483648, \"guest-node\": 1}");
}

static void test_ranges_that_touch_have_an_address(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(2, 2);

    hm_test_tree_add_memory(&tree, "memory@1000", 0, 0x1000, 0x1000);
    hm_test_tree_add_memory(&tree, "memory@2000", 0, 0x2000, 0x1000);
    assert_objects(&tree, ",per=numa-node",
                   MEMFD "\"id\": \"ram\", \"size\": 8192, "
                         "\"guest-addr\": 4096}");
}

static void test_properties_go_to_each(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(2, 2);

    hm_test_tree_add_memory(&tree, "memory@0", 0, 0, 0x1000);
    hm_test_tree_add_memory(&tree, "memory@10000", 0, 0x10000, 0x1000);
    assert_objects(
        &tree,
        ",qom-type=memory-backend-ram,prealloc=on,host-nodes=0,policy=bind",
        "{\"qom-type\": \"memory-backend-ram\", \"id\": \"ram0\", "
        "\"size\": 4096, \"guest-addr\": 0, \"prealloc\": true, "
        "\"host-nodes\": [0], \"policy\": \"bind\"}\n"
        "{\"qom-type\": \"memory-backend-ram\", \"id\": \"ram1\", "
        "\"size\": 4096, \"guest-addr\": 65536, \"prealloc\": true, "
        "\"host-nodes\": [0], \"policy\": \"bind\"}");
}

static void test_json_is_a_template_too(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(2, 2);
    g_autofree char *path = options_for(&tree, "");
    g_autofree char *options = g_strdup_printf(
        "{\"file\": \"%s\", \"id\": \"a\", \"share\": false}", path);
    g_autoptr(GError) error = NULL;

    hm_test_tree_add_memory(&tree, "memory@0", 0, 0, 0x1000);
    g_free(options_for(&tree, ""));
    g_auto(GStrv) lines = hostmem_fdt_make_objects(options, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(g_strv_length(lines), ==, 1);
    g_assert_cmpstr(lines[0], ==,
                    MEMFD "\"id\": \"a0\", \"size\": 4096, "
                          "\"guest-addr\": 0, \"share\": false}");
}

static void test_what_is_asked_for_can_be_made(void)
{
    g_auto(HmTestTree) tree = tree_with_nodes();
    g_autofree char *options = options_for(&tree, ",reserve=off");
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) lines = hostmem_fdt_make_objects(options, &error);
    HostmemBackend *backend;

    hostmem_registry_add_batch(registry, (const char *const *)lines, NULL, NULL,
                               &error);
    g_assert_no_error(error);
    backend =
        hostmem_registry_lookup(registry, "ram1", HOSTMEM_TYPE_BACKEND, NULL);
    g_assert_cmpint(hostmem_backend_get_guest_address(backend), ==, 0x80000000);
    g_assert_cmpint(hostmem_backend_get_guest_node(backend), ==, 1);
}

static void test_bad_options_are_named(void)
{
    g_auto(HmTestTree) tree = tree_with_nodes();
    g_autoptr(GError) error = NULL;

    refuse(&tree, ",per=cpu", HOSTMEM_ERROR_INVALID,
           "Parameter 'per' does not accept value 'cpu'");
    refuse(&tree, ",size=1G", HOSTMEM_ERROR_INVALID,
           "Parameter 'size' is unexpected: the device tree says it");
    refuse(&tree, ",guest-node=0", HOSTMEM_ERROR_INVALID,
           "Parameter 'guest-node' is unexpected");
    refuse(&tree, ",qom-type=x", HOSTMEM_ERROR_INVALID,
           "Parameter 'qom-type' does not accept value 'x'");
    refuse(&tree, ",x=1", HOSTMEM_ERROR_INVALID, "Invalid parameter 'x'");
    refuse(&tree, ",prealloc=maybe", HOSTMEM_ERROR_INVALID,
           "Parameter 'prealloc' expects 'on' or 'off'");
    hm_test_assert_refused(hostmem_fdt_make_objects("", &error) != NULL, &error,
                           HOSTMEM_ERROR_INVALID,
                           "Parameter 'file' is missing");
    hm_test_assert_refused(hostmem_fdt_make_objects(
                               "{\"file\": \"f\", \"id\": 1}", &error) != NULL,
                           &error, HOSTMEM_ERROR_INVALID,
                           "Invalid parameter type for 'id'");
    hm_test_assert_refused(hostmem_fdt_make_objects(
                               "{\"file\": [], \"id\": \"a\"}", &error) != NULL,
                           &error, HOSTMEM_ERROR_INVALID,
                           "Invalid parameter type for 'file'");
}

static void test_a_tree_without_memory(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(2, 2);

    refuse(&tree, "", HOSTMEM_ERROR_INVALID,
           "/in': device tree: it has no memory");
}

static void test_memory_no_host_can_have(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(2, 2);

    hm_test_tree_add_memory(&tree, "memory@7fff", 0x7fffffff, 0xfffff000,
                            0x2000);
    refuse(&tree, "", HOSTMEM_ERROR_INVALID,
           "memory of 0x2000 bytes at 0x7ffffffffffff000 goes beyond 2^63");
}

/* Ranges of a page, with one between them. */
static void set_ranges(HmTestTree *tree, guint n)
{
    int node = fdt_path_offset(tree->blob, "/memory@0");

    fdt_delprop(tree->blob, node, "reg");
    for (guint i = 0; i < n; i++) {
        fdt_appendprop_u64(tree->blob, node, "reg", i * 0x2000ull);
        fdt_appendprop_u64(tree->blob, node, "reg", 0x1000);
    }
}

static void test_backends_are_counted(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(2, 2);

    hm_test_tree_add_memory(&tree, "memory@0", 0, 0, 0);
    set_ranges(&tree, 1024);
    g_autofree char *options = options_for(&tree, "");
    g_auto(GStrv) lines = hostmem_fdt_make_objects(options, NULL);
    g_assert_cmpuint(g_strv_length(lines), ==, 1024);
    set_ranges(&tree, 1025);
    refuse(&tree, "", HOSTMEM_ERROR_LIMIT, "more than 1024 backends");
}

#define TEST(name)                         \
    {                                      \
        "/fdt-objects/" #name, test_##name \
    }

static const HmTest tests[] = {
    TEST(each_range_is_a_backend),
    TEST(each_numa_node_is_a_backend),
    TEST(ranges_that_touch_have_an_address),
    TEST(properties_go_to_each),
    TEST(json_is_a_template_too),
    TEST(what_is_asked_for_can_be_made),
    TEST(bad_options_are_named),
    TEST(a_tree_without_memory),
    TEST(memory_no_host_can_have),
    TEST(backends_are_counted),
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
