/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fdt-test.h"

static void test_reserved_memory_is_made(void)
{
    g_autoptr(HostmemFdt) fdt = hostmem_fdt_new();
    g_autoptr(GError) error = NULL;

    hostmem_fdt_add_reserved(fdt, "hotplug", 8 * GIB, GIB, &error);
    g_assert_no_error(error);
    HM_TEST_ASSERT_CELLS(fdt, "/reserved-memory", "#address-cells", 2);
    HM_TEST_ASSERT_CELLS(fdt, "/reserved-memory/hotplug@200000000", "reg", 2, 0,
                         0, 0x40000000);
    hm_test_assert_refused(
        hostmem_fdt_add_reserved(fdt, "b", 8 * GIB + 4096, 4096, &error),
        &error, HOSTMEM_ERROR_EXISTS, "'/reserved-memory/hotplug@200000000'");
}

static void test_reserved_memory_goes_beside_what_is_there(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(1, 1);
    hm_test_tree_add(&tree, "/", "reserved-memory");
    HM_TEST_SET_CELLS(&tree, "/reserved-memory", "#address-cells", 1);
    HM_TEST_SET_CELLS(&tree, "/reserved-memory", "#size-cells", 1);
    hm_test_tree_add(&tree, "/reserved-memory", "cma");
    g_autoptr(HostmemFdt) fdt = hm_test_parse_tree(&tree);
    g_autoptr(GError) error = NULL;

    hostmem_fdt_add_reserved(fdt, "hotplug", GIB, GIB, &error);
    g_assert_no_error(error);
    HM_TEST_ASSERT_CELLS(fdt, "/reserved-memory/hotplug@40000000", "reg",
                         0x40000000, 0x40000000);
}

/* One without "reg" has the name, and no range that could overlap. */
static void test_reserved_memory_keeps_a_name_that_is_taken(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(2, 2);
    hm_test_tree_add(&tree, "/", "reserved-memory");
    HM_TEST_SET_CELLS(&tree, "/reserved-memory", "#address-cells", 2);
    HM_TEST_SET_CELLS(&tree, "/reserved-memory", "#size-cells", 2);
    hm_test_tree_add(&tree, "/reserved-memory", "a@40000000");
    g_autoptr(HostmemFdt) fdt = hm_test_parse_tree(&tree);
    g_autoptr(GError) error = NULL;

    hm_test_assert_refused(hostmem_fdt_add_reserved(fdt, "a", GIB, GIB, &error),
                           &error, HOSTMEM_ERROR_EXISTS,
                           "a node /reserved-memory/a@40000000 already");
}

static void test_reserved_memory_wants_the_roots_cells(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(2, 2);
    hm_test_tree_add(&tree, "/", "reserved-memory");
    HM_TEST_SET_CELLS(&tree, "/reserved-memory", "#address-cells", 1);
    HM_TEST_SET_CELLS(&tree, "/reserved-memory", "#size-cells", 1);
    g_autoptr(HostmemFdt) fdt = hm_test_parse_tree(&tree);
    g_autoptr(GError) error = NULL;

    hm_test_assert_refused(hostmem_fdt_add_reserved(fdt, "a", GIB, GIB, &error),
                           &error, HOSTMEM_ERROR_INVALID,
                           "not those of the root");
}

static void test_reserved_memory_wants_a_name(void)
{
    g_autoptr(HostmemFdt) fdt = hostmem_fdt_new();
    static const char *const names[] = {
        "", "a/b", "a@1", "1a", "a\n", "a2345678901234567890123456789012"};

    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autoptr(GError) error = NULL;
        hm_test_assert_refused(
            hostmem_fdt_add_reserved(fdt, names[i], GIB, GIB, &error), &error,
            HOSTMEM_ERROR_INVALID, "name of a node");
    }
}

static void test_distances_are_added_and_replaced(void)
{
    g_autoptr(HostmemFdt) fdt = hostmem_fdt_new();

    g_assert_true(hostmem_fdt_set_distance(fdt, 0, 0, 10, NULL));
    g_assert_true(hostmem_fdt_set_distance(fdt, 0, 1, 30, NULL));
    g_assert_true(hostmem_fdt_set_distance(fdt, 0, 1, 20, NULL));
    HM_TEST_ASSERT_CELLS(fdt, "/distance-map", "distance-matrix", 0, 0, 10, 0,
                         1, 20);
}

static void test_distances_have_bounds(void)
{
    g_autoptr(HostmemFdt) fdt = hostmem_fdt_new();
    static const guint32 wrong[][3] = {
        {0, 0, 11}, {0, 1, 10}, {0, 1, 9}, {0, 1, 256}};

    for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(GError) error = NULL;
        hm_test_assert_refused(hostmem_fdt_set_distance(fdt, wrong[i][0],
                                                        wrong[i][1],
                                                        wrong[i][2], &error),
                               &error, HOSTMEM_ERROR_INVALID, "11 to 255");
    }
}

static void test_distances_refuse_another_map(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(2, 2);
    hm_test_tree_add(&tree, "/", "distance-map");
    hm_test_tree_set_text(&tree, "/distance-map", "compatible", "another");
    HM_TEST_SET_CELLS(&tree, "/distance-map", "distance-matrix", 0, 1, 20);
    g_autoptr(HostmemFdt) fdt = hm_test_parse_tree(&tree);
    g_autoptr(GError) error = NULL;

    hm_test_assert_refused(hostmem_fdt_set_distance(fdt, 0, 1, 20, &error),
                           &error, HOSTMEM_ERROR_INVALID,
                           "numa-distance-map-v1");
}

static HmTestTree tree_with_controller(void)
{
    HmTestTree tree = hm_test_tree_new(2, 2);

    hm_test_tree_add(&tree, "/", "intc");
    HM_TEST_SET_CELLS(&tree, "/intc", "phandle", 7);
    HM_TEST_SET_CELLS(&tree, "/intc", "#interrupt-cells", 3);
    HM_TEST_SET_CELLS(&tree, "/", "interrupt-parent", 7);
    return tree;
}

static void test_virtio_mmio_is_added(void)
{
    g_auto(HmTestTree) tree = tree_with_controller();
    g_autoptr(HostmemFdt) fdt = hm_test_parse_tree(&tree);
    g_autoptr(GError) error = NULL;
    static const guint32 interrupt[] = {0, 16, 1};

    hostmem_fdt_add_virtio_mmio(fdt, 0xa000000, 512, interrupt, 3, &error);
    g_assert_no_error(error);
    HM_TEST_ASSERT_CELLS(fdt, "/virtio_mmio@a000000", "interrupts", 0, 16, 1);
    HM_TEST_ASSERT_CELLS(fdt, "/virtio_mmio@a000000", "reg", 0, 0xa000000, 0,
                         512);
    hm_test_assert_refused(
        hostmem_fdt_add_virtio_mmio(fdt, 0xa000000, 512, interrupt, 3, &error),
        &error, HOSTMEM_ERROR_EXISTS, "/virtio_mmio@a000000");
}

static void test_virtio_mmio_wants_the_controllers_cells(void)
{
    g_auto(HmTestTree) tree = tree_with_controller();
    g_autoptr(HostmemFdt) fdt = hm_test_parse_tree(&tree);
    g_autoptr(HostmemFdt) bare = hostmem_fdt_new();
    g_autoptr(GError) error = NULL;
    static const guint32 interrupt[] = {16, 1};

    hm_test_assert_refused(
        hostmem_fdt_add_virtio_mmio(fdt, 0xa000000, 512, interrupt, 2, &error),
        &error, HOSTMEM_ERROR_INVALID, "have 3");
    hm_test_assert_refused(
        hostmem_fdt_add_virtio_mmio(bare, 0xa000000, 512, interrupt, 2, &error),
        &error, HOSTMEM_ERROR_INVALID, "no interrupt-parent");
}

static void test_virtio_mmio_wants_its_registers_alone(void)
{
    g_autoptr(HostmemFdt) fdt = hostmem_fdt_new();
    g_autoptr(GError) error = NULL;

    hostmem_fdt_add_memory(fdt, &(HostmemFdtMemory){GIB, GIB, 0}, &error);
    g_assert_no_error(error);
    hostmem_fdt_add_virtio_mmio(fdt, 0xa000000, 512, NULL, 0, &error);
    g_assert_no_error(error);
    hm_test_assert_refused(
        hostmem_fdt_add_virtio_mmio(fdt, GIB + 4096, 512, NULL, 0, &error),
        &error, HOSTMEM_ERROR_EXISTS, "'/memory@40000000' at 0x40001000");
    hm_test_assert_refused(
        hostmem_fdt_add_virtio_mmio(fdt, 0x9ffff00, 512, NULL, 0, &error),
        &error, HOSTMEM_ERROR_EXISTS, "'/virtio_mmio@a000000'");
}

#define ADD(name) g_test_add_func("/fdt-nodes/" #name, test_##name)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(reserved_memory_is_made);
    ADD(reserved_memory_goes_beside_what_is_there);
    ADD(reserved_memory_keeps_a_name_that_is_taken);
    ADD(reserved_memory_wants_the_roots_cells);
    ADD(reserved_memory_wants_a_name);
    ADD(distances_are_added_and_replaced);
    ADD(distances_have_bounds);
    ADD(distances_refuse_another_map);
    ADD(virtio_mmio_is_added);
    ADD(virtio_mmio_wants_the_controllers_cells);
    ADD(virtio_mmio_wants_its_registers_alone);
    return g_test_run();
}
