/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "fdt-test.h"

static void add_memory(HostmemFdt *fdt, guint64 base, guint64 size, gint64 node)
{
    g_autoptr(GError) error = NULL;
    HostmemFdtMemory memory = {base, size, node};

    hostmem_fdt_add_memory(fdt, &memory, &error);
    g_assert_no_error(error);
}

static void refuse_memory(HostmemFdt *fdt, guint64 base, guint64 size,
                          HostmemError code, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) before = hostmem_fdt_to_bytes(fdt);
    HostmemFdtMemory memory = {base, size, HOSTMEM_FDT_NO_NODE};

    hm_test_assert_refused(hostmem_fdt_add_memory(fdt, &memory, &error), &error,
                           code, part);
    g_autoptr(GBytes) after = hostmem_fdt_to_bytes(fdt);
    g_assert_true(g_bytes_equal(before, after));
}

static void refuse_list(const HmTestTree *tree, const char *part)
{
    g_autoptr(HostmemFdt) fdt = hm_test_parse_tree(tree);
    g_autoptr(GError) error = NULL;

    hm_test_assert_refused(hostmem_fdt_list_memory(fdt, &error) != NULL, &error,
                           HOSTMEM_ERROR_INVALID, part);
}

static void refuse_blob(const void *blob, gsize size, HostmemError code,
                        const char *part)
{
    g_autoptr(GError) error = NULL;

    hm_test_assert_refused(hostmem_fdt_parse(blob, size, &error) != NULL,
                           &error, code, part);
}

static void test_new_has_no_memory(void)
{
    g_autoptr(HostmemFdt) fdt = hostmem_fdt_new();

    hm_test_assert_memory(fdt, "");
    HM_TEST_ASSERT_CELLS(fdt, "/", "#address-cells", 2);
}

static void test_memory_comes_back(void)
{
    g_autoptr(HostmemFdt) fdt = hostmem_fdt_new();
    g_autoptr(GError) error = NULL;

    add_memory(fdt, 8 * GIB, 16 * GIB, 1);
    add_memory(fdt, GIB, 2 * GIB, 0);
    add_memory(fdt, 64 * GIB, GIB, HOSTMEM_FDT_NO_NODE);
    g_autoptr(GBytes) blob = hostmem_fdt_to_bytes(fdt);
    g_autoptr(HostmemFdt) again = hostmem_fdt_parse(
        g_bytes_get_data(blob, NULL), g_bytes_get_size(blob), &error);

    g_assert_no_error(error);
    hm_test_assert_memory(again, "40000000+80000000@0 200000000+400000000@1 "
                                 "1000000000+40000000@-1");
    HM_TEST_ASSERT_CELLS(fdt, "/memory@200000000", "reg", 2, 0, 4, 0);
    HM_TEST_ASSERT_CELLS(fdt, "/memory@200000000", "numa-node-id", 1);
}

/* Names of properties that a tree has, in any of its strings, are used again.
 */
static void test_names_are_not_written_twice(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(2, 2);
    hm_test_tree_add_memory(&tree, "memory@0", 0, 0, 0x1000);
    HM_TEST_SET_CELLS(&tree, "/", "their-numa-node-id", 1);
    g_autoptr(HostmemFdt) fdt = hm_test_parse_tree(&tree);
    g_autoptr(GBytes) before = hostmem_fdt_to_bytes(fdt);

    add_memory(fdt, GIB, GIB, 1);
    g_autoptr(GBytes) after = hostmem_fdt_to_bytes(fdt);
    g_assert_cmpuint(fdt_size_dt_strings(g_bytes_get_data(after, NULL)), ==,
                     fdt_size_dt_strings(g_bytes_get_data(before, NULL)));
    HM_TEST_ASSERT_CELLS(fdt, "/memory@40000000", "numa-node-id", 1);
    HM_TEST_ASSERT_CELLS(fdt, "/memory@40000000", "reg", 0, 0x40000000, 0,
                         0x40000000);
}

static void test_new_nodes_come_first_in_any_tree(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(2, 2);
    int removed = hm_test_tree_add(&tree, "/", "removed");
    g_assert_cmpint(fdt_nop_node(tree.blob, removed), ==, 0);
    hm_test_tree_add(&tree, "/", "last");
    HM_TEST_SET_CELLS(&tree, "/last", "reg", 7);
    g_autoptr(HostmemFdt) fdt = hm_test_parse_tree(&tree);

    add_memory(fdt, GIB, GIB, HOSTMEM_FDT_NO_NODE);
    g_autoptr(GBytes) blob = hostmem_fdt_to_bytes(fdt);
    const void *data = g_bytes_get_data(blob, NULL);
    int node = fdt_first_subnode(data, 0);
    g_assert_cmpstr(fdt_get_name(data, node, NULL), ==, "memory@40000000");
    HM_TEST_ASSERT_CELLS(fdt, "/last", "reg", 7);
    HM_TEST_ASSERT_CELLS(fdt, "/", "#size-cells", 2);
}

static void test_memory_takes_the_roots_cells(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(1, 1);
    g_autoptr(HostmemFdt) fdt = hm_test_parse_tree(&tree);

    add_memory(fdt, GIB, 3 * GIB, HOSTMEM_FDT_NO_NODE);
    HM_TEST_ASSERT_CELLS(fdt, "/memory@40000000", "reg", 0x40000000,
                         0xc0000000);
    refuse_memory(fdt, 4 * GIB, GIB, HOSTMEM_ERROR_INVALID, "#address-cells");
    refuse_memory(fdt, 0, 8 * GIB, HOSTMEM_ERROR_INVALID, "#size-cells is 1");
}

static void test_memory_may_not_overlap(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(2, 2);
    hm_test_tree_add_memory(&tree, "memory@40000000", 0, 0x40000000,
                            0x40000000);
    g_autoptr(HostmemFdt) fdt = hm_test_parse_tree(&tree);

    refuse_memory(fdt, 0x7ffff000, 0x2000, HOSTMEM_ERROR_EXISTS,
                  "'/memory@40000000'");
    refuse_memory(fdt, 0, 8 * GIB, HOSTMEM_ERROR_EXISTS, "'/memory@40000000'");
    add_memory(fdt, 0x80000000, 0x1000, HOSTMEM_FDT_NO_NODE);
}

static void test_memory_may_not_be_empty_or_wrap(void)
{
    g_autoptr(HostmemFdt) fdt = hostmem_fdt_new();

    refuse_memory(fdt, GIB, 0, HOSTMEM_ERROR_INVALID, "is empty");
    refuse_memory(fdt, G_MAXUINT64, 2, HOSTMEM_ERROR_INVALID, "64 bits");
}

static void test_memory_keeps_a_name_that_is_taken(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(2, 2);
    hm_test_tree_add(&tree, "/", "memory@40000000");
    g_autoptr(HostmemFdt) fdt = hm_test_parse_tree(&tree);

    refuse_memory(fdt, GIB, GIB, HOSTMEM_ERROR_EXISTS, "/memory@40000000");
}

static void test_many_nodes_let_the_blob_grow(void)
{
    g_autoptr(HostmemFdt) fdt = hostmem_fdt_new();

    for (guint i = 0; i < 200; i++) {
        add_memory(fdt, i * GIB, GIB, i);
    }
    g_autoptr(GArray) list = hostmem_fdt_list_memory(fdt, NULL);
    g_assert_cmpuint(list->len, ==, 200);
    g_assert_cmpint(g_array_index(list, HostmemFdtMemory, 199).node, ==, 199);
}

static void test_other_nodes_stay(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(2, 2);
    hm_test_tree_add(&tree, "/", "chosen");
    hm_test_tree_set_text(&tree, "/chosen", "bootargs", "console=ttyAMA0");
    g_autoptr(HostmemFdt) fdt = hm_test_parse_tree(&tree);

    add_memory(fdt, GIB, GIB, 0);
    g_autoptr(GBytes) blob = hostmem_fdt_to_bytes(fdt);
    const void *after = g_bytes_get_data(blob, NULL);
    g_assert_cmpstr(
        fdt_getprop(after, fdt_path_offset(after, "/chosen"), "bootargs", NULL),
        ==, "console=ttyAMA0");
}

static void test_list_takes_several_ranges_of_a_node(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(2, 1);
    hm_test_tree_add_memory(&tree, "memory@80000000", 0, 0, 0);
    HM_TEST_SET_CELLS(&tree, "/memory@80000000", "reg", 0, 0x80000000, 0x1000,
                      1, 0, 0x2000, 2, 0, 0);
    HM_TEST_SET_CELLS(&tree, "/memory@80000000", "numa-node-id", 3);
    g_autoptr(HostmemFdt) fdt = hm_test_parse_tree(&tree);

    hm_test_assert_memory(fdt, "80000000+1000@3 100000000+2000@3");
}

static void test_list_leaves_out_disabled_and_other_nodes(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(2, 2);
    hm_test_tree_add_memory(&tree, "memory@0", 0, 0, 0x1000);
    hm_test_tree_set_text(&tree, "/memory@0", "status", "disabled");
    hm_test_tree_add_memory(&tree, "memory@10000", 0, 0x10000, 0x1000);
    hm_test_tree_set_text(&tree, "/memory@10000", "status", "okay");
    hm_test_tree_add_memory(&tree, "flash@20000", 0, 0x20000, 0x1000);
    hm_test_tree_set_text(&tree, "/flash@20000", "device_type", "memory-not");
    g_autoptr(HostmemFdt) fdt = hm_test_parse_tree(&tree);

    hm_test_assert_memory(fdt, "10000+1000@-1");
}

static void test_list_refuses_overlap(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(2, 2);
    hm_test_tree_add_memory(&tree, "memory@0", 0, 0, 0x2000);
    hm_test_tree_add_memory(&tree, "memory@1000", 0, 0x1000, 0x1000);

    refuse_list(&tree, "'/memory@0' and '/memory@1000' overlap at 0x1000");
}

static void test_list_refuses_a_bad_reg(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(2, 2);
    hm_test_tree_add_memory(&tree, "memory@0", 0, 0, 0);

    HM_TEST_SET_CELLS(&tree, "/memory@0", "reg", 0, 0, 1);
    refuse_list(&tree, "whole ranges");
    HM_TEST_SET_CELLS(&tree, "/memory@0", "reg", 0xffffffff, 0xffffffff, 0, 2);
    refuse_list(&tree, "64 bits");
    fdt_delprop(tree.blob, fdt_path_offset(tree.blob, "/memory@0"), "reg");
    refuse_list(&tree, "\"reg\" of '/memory@0' is missing");
}

static void test_list_refuses_a_bad_numa_node(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(2, 2);
    hm_test_tree_add_memory(&tree, "memory@0", 0, 0, 0x1000);
    HM_TEST_SET_CELLS(&tree, "/memory@0", "numa-node-id", 0, 1);

    refuse_list(&tree, "\"numa-node-id\" of '/memory@0' has 8 bytes");
}

static void test_memory_is_removed(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(2, 2);
    hm_test_tree_add_memory(&tree, "memory@0", 0, 0, 0x1000);
    hm_test_tree_add_memory(&tree, "memory@10000", 0, 0x10000, 0x1000);
    hm_test_tree_add_memory(&tree, "memory@20000", 0, 0x20000, 0x1000);
    hm_test_tree_set_text(&tree, "/memory@20000", "status", "disabled");
    g_autoptr(HostmemFdt) fdt = hm_test_parse_tree(&tree);
    g_autoptr(GError) error = NULL;

    hostmem_fdt_remove_memory(fdt, &error);
    g_assert_no_error(error);
    hm_test_assert_memory(fdt, "");
    g_autoptr(GBytes) blob = hostmem_fdt_to_bytes(fdt);
    const void *after = g_bytes_get_data(blob, NULL);
    g_assert_cmpint(fdt_path_offset(after, "/memory@20000"), >, 0);
    add_memory(fdt, 0, GIB, 0);
    hm_test_assert_memory(fdt, "0+40000000@0");
}

static void test_memory_that_is_removed_leaves_nothing(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(2, 2);
    hm_test_tree_add(&tree, "/", "chosen");
    hm_test_tree_set_text(&tree, "/chosen", "bootargs", "quiet");
    g_autoptr(HostmemFdt) fdt = hm_test_parse_tree(&tree);
    gsize size = 0;

    for (guint i = 0; i < 3; i++) {
        add_memory(fdt, GIB, GIB, 0);
        add_memory(fdt, 2 * GIB, GIB, 1);
        g_autoptr(GBytes) blob = hostmem_fdt_to_bytes(fdt);
        g_assert_true(!size || g_bytes_get_size(blob) == size);
        size = g_bytes_get_size(blob);
        g_assert_true(hostmem_fdt_remove_memory(fdt, NULL));
    }
    g_autoptr(GBytes) blob = hostmem_fdt_to_bytes(fdt);
    const void *after = g_bytes_get_data(blob, NULL);
    g_assert_cmpint(fdt_check_full(after, g_bytes_get_size(blob)), ==, 0);
    g_assert_cmpstr(
        fdt_getprop(after, fdt_path_offset(after, "/chosen"), "bootargs", NULL),
        ==, "quiet");
}

static void test_parse_refuses_what_is_no_tree(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(2, 2);
    guint size = fdt_totalsize(tree.blob);

    refuse_blob("", 0, HOSTMEM_ERROR_INVALID, "header");
    refuse_blob(tree.blob, 39, HOSTMEM_ERROR_INVALID, "header");
    refuse_blob(tree.blob, size - 1, HOSTMEM_ERROR_INVALID, "it is cut");
    memset(tree.blob + fdt_off_dt_struct(tree.blob), 0xff, 4);
    refuse_blob(tree.blob, size, HOSTMEM_ERROR_INVALID, "malformed at byte");
}

static void test_parse_refuses_a_bad_header(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(2, 2);

    fdt_set_last_comp_version(tree.blob, 99);
    refuse_blob(tree.blob, HM_TEST_BLOB_SIZE, HOSTMEM_ERROR_INVALID,
                "malformed, in its header");
}

/* libfdt 1.6 crashes on some of those. */
static void test_parse_refuses_an_old_version(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(2, 2);

    fdt_set_version(tree.blob, 15);
    fdt_set_last_comp_version(tree.blob, 15);
    refuse_blob(tree.blob, HM_TEST_BLOB_SIZE, HOSTMEM_ERROR_INVALID,
                "it is of version 15; versions from 16 on are taken");
}

/* A tag that is none behind the root's two properties. */
static void test_parse_says_where_it_is_malformed(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(2, 2);
    int node = hm_test_tree_add(&tree, "/", "a");
    g_autofree char *where = g_strdup_printf(
        "malformed at byte %u", fdt_off_dt_struct(tree.blob) + node);

    fdt32_st(tree.blob + fdt_off_dt_struct(tree.blob) + node, 0x77);
    refuse_blob(tree.blob, HM_TEST_BLOB_SIZE, HOSTMEM_ERROR_INVALID, where);
}

static void test_parse_says_where_a_name_is_missing(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(2, 2);
    int property = fdt_first_property_offset(tree.blob, 0);
    struct fdt_property *at =
        (struct fdt_property *)(tree.blob + fdt_off_dt_struct(tree.blob) +
                                property);
    g_autofree char *where = g_strdup_printf(
        "malformed at byte %u", fdt_off_dt_struct(tree.blob) + property);

    at->nameoff = cpu_to_fdt32(0x10000);
    refuse_blob(tree.blob, HM_TEST_BLOB_SIZE, HOSTMEM_ERROR_INVALID, where);
}

static void test_parse_refuses_a_giant(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(2, 2);

    fdt_set_totalsize(tree.blob, 0x7fffffff);
    refuse_blob(tree.blob, HM_TEST_BLOB_SIZE, HOSTMEM_ERROR_LIMIT, "16 MiB");
}

static void test_parse_refuses_a_deep_tree(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(2, 2);
    int node = 0;

    for (guint i = 0; i < 63; i++) {
        node = fdt_add_subnode(tree.blob, node, "n");
        g_assert_cmpint(node, >, 0);
    }
    hostmem_fdt_free(hm_test_parse_tree(&tree));
    node = fdt_add_subnode(tree.blob, node, "n");
    refuse_blob(tree.blob, HM_TEST_BLOB_SIZE, HOSTMEM_ERROR_LIMIT,
                "deeper than 64 nodes, at byte");
}

static void test_parse_refuses_strange_cells(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(3, 2);

    refuse_blob(tree.blob, HM_TEST_BLOB_SIZE, HOSTMEM_ERROR_INVALID,
                "of / must be");
}

/* QEMU writes a whole MiB, of which most is empty. */
static void test_parse_drops_what_is_empty(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(2, 2);
    g_autoptr(HostmemFdt) fdt = hm_test_parse_tree(&tree);
    g_autoptr(GBytes) blob = hostmem_fdt_to_bytes(fdt);

    fdt_pack(tree.blob);
    g_assert_cmpuint(g_bytes_get_size(blob), ==, fdt_totalsize(tree.blob));
}

static void test_parse_refuses_a_long_name(void)
{
    for (guint length = 255; length <= 256; length++) {
        g_auto(HmTestTree) tree = hm_test_tree_new(2, 2);
        g_autofree char *name = g_strnfill(length, 'a');
        g_autofree char *part = NULL;

        g_assert_cmpint(fdt_setprop_u32(tree.blob, 0, name, 1), ==, 0);
        if (length == 255) {
            hostmem_fdt_free(hm_test_parse_tree(&tree));
            continue;
        }
        part = g_strdup_printf("more than 255 bytes begins at byte %u",
                               fdt_off_dt_strings(tree.blob) +
                                   (guint)sizeof("#address-cells") +
                                   (guint)sizeof("#size-cells"));
        refuse_blob(tree.blob, HM_TEST_BLOB_SIZE, HOSTMEM_ERROR_LIMIT, part);
    }
}

static void test_parse_takes_any_alignment(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(2, 2);
    g_autofree guint8 *copy = g_malloc(HM_TEST_BLOB_SIZE + 1);
    g_autoptr(GError) error = NULL;

    memcpy(copy + 1, tree.blob, HM_TEST_BLOB_SIZE);
    g_autoptr(HostmemFdt) fdt =
        hostmem_fdt_parse(copy + 1, HM_TEST_BLOB_SIZE, &error);
    g_assert_no_error(error);
    add_memory(fdt, 0, GIB, 0);
}

#define ADD(name) g_test_add_func("/fdt/" #name, test_##name)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(new_has_no_memory);
    ADD(memory_comes_back);
    ADD(names_are_not_written_twice);
    ADD(new_nodes_come_first_in_any_tree);
    ADD(memory_takes_the_roots_cells);
    ADD(memory_may_not_overlap);
    ADD(memory_may_not_be_empty_or_wrap);
    ADD(memory_keeps_a_name_that_is_taken);
    ADD(many_nodes_let_the_blob_grow);
    ADD(other_nodes_stay);
    ADD(list_takes_several_ranges_of_a_node);
    ADD(list_leaves_out_disabled_and_other_nodes);
    ADD(list_refuses_overlap);
    ADD(list_refuses_a_bad_reg);
    ADD(list_refuses_a_bad_numa_node);
    ADD(memory_is_removed);
    ADD(memory_that_is_removed_leaves_nothing);
    ADD(parse_refuses_what_is_no_tree);
    ADD(parse_refuses_a_bad_header);
    ADD(parse_refuses_an_old_version);
    ADD(parse_says_where_it_is_malformed);
    ADD(parse_says_where_a_name_is_missing);
    ADD(parse_refuses_a_giant);
    ADD(parse_refuses_a_deep_tree);
    ADD(parse_refuses_strange_cells);
    ADD(parse_drops_what_is_empty);
    ADD(parse_refuses_a_long_name);
    ADD(parse_takes_any_alignment);
    return g_test_run();
}
