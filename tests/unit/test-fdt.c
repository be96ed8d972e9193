/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/fdt.h>
#include <libfdt.h>
#include <string.h>

#define GIB       (1024ull * 1024 * 1024)
#define BLOB_SIZE 65536

/* A tree to begin with, made by libfdt alone. */
typedef struct {
    guint8 *blob;
} Tree;

static void tree_clear(Tree *self)
{
    g_free(self->blob);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Tree, tree_clear)

static Tree tree_new(guint32 address_cells, guint32 size_cells)
{
    Tree self = {g_malloc0(BLOB_SIZE)};

    g_assert_cmpint(fdt_create_empty_tree(self.blob, BLOB_SIZE), ==, 0);
    g_assert_cmpint(
        fdt_setprop_u32(self.blob, 0, "#address-cells", address_cells), ==, 0);
    g_assert_cmpint(fdt_setprop_u32(self.blob, 0, "#size-cells", size_cells),
                    ==, 0);
    return self;
}

static int tree_add(Tree *self, const char *parent, const char *name)
{
    int at = fdt_path_offset(self->blob, parent);
    int node = fdt_add_subnode(self->blob, at, name);

    g_assert_cmpint(node, >, 0);
    return node;
}

static void tree_set_cells(Tree *self, const char *path, const char *property,
                           const guint32 *cells, guint n)
{
    int node = fdt_path_offset(self->blob, path);

    fdt_delprop(self->blob, node, property);
    for (guint i = 0; i < n; i++) {
        g_assert_cmpint(
            fdt_appendprop_u32(self->blob, node, property, cells[i]), ==, 0);
    }
}

#define SET_CELLS(tree, path, property, ...)                       \
    tree_set_cells(tree, path, property, (guint32[]){__VA_ARGS__}, \
                   sizeof((guint32[]){__VA_ARGS__}) / sizeof(guint32))

static void tree_set_text(Tree *self, const char *path, const char *property,
                          const char *text)
{
    g_assert_cmpint(fdt_setprop_string(self->blob,
                                       fdt_path_offset(self->blob, path),
                                       property, text),
                    ==, 0);
}

/* Memory as most blobs have it, in cells of 64 bits. */
static void tree_add_memory(Tree *self, const char *name, guint32 high,
                            guint32 low, guint32 size)
{
    g_autofree char *path = g_strconcat("/", name, NULL);

    tree_add(self, "/", name);
    tree_set_text(self, path, "device_type", "memory");
    SET_CELLS(self, path, "reg", high, low, 0, size);
}

static HostmemFdt *parse(const Tree *tree)
{
    g_autoptr(GError) error = NULL;
    HostmemFdt *fdt = hostmem_fdt_parse(tree->blob, BLOB_SIZE, &error);

    g_assert_no_error(error);
    return fdt;
}

static void assert_memory(HostmemFdt *fdt, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) list = hostmem_fdt_list_memory(fdt, &error);
    g_autoptr(GString) text = g_string_new(NULL);

    g_assert_no_error(error);
    for (guint i = 0; i < list->len; i++) {
        const HostmemFdtMemory *memory =
            &g_array_index(list, HostmemFdtMemory, i);

        g_string_append_printf(text,
                               "%s%" G_GINT64_MODIFIER "x+%" G_GINT64_MODIFIER
                               "x@%" G_GINT64_FORMAT,
                               i ? " " : "", memory->base, memory->size,
                               memory->node);
    }
    g_assert_cmpstr(text->str, ==, expected);
}

static void add_memory(HostmemFdt *fdt, guint64 base, guint64 size, gint64 node)
{
    g_autoptr(GError) error = NULL;
    HostmemFdtMemory memory = {base, size, node};

    hostmem_fdt_add_memory(fdt, &memory, &error);
    g_assert_no_error(error);
}

static void assert_error(gboolean ok, GError **error, HostmemError code,
                         const char *part)
{
    g_assert_false(ok);
    g_assert_error(*error, HOSTMEM_ERROR, (gint)code);
    if (!strstr((*error)->message, part)) {
        g_test_message("'%s' lacks '%s'", (*error)->message, part);
        g_test_fail();
    }
    g_clear_error(error);
}

static void refuse_memory(HostmemFdt *fdt, guint64 base, guint64 size,
                          HostmemError code, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) before = hostmem_fdt_to_bytes(fdt);
    HostmemFdtMemory memory = {base, size, HOSTMEM_FDT_NO_NODE};

    assert_error(hostmem_fdt_add_memory(fdt, &memory, &error), &error, code,
                 part);
    g_autoptr(GBytes) after = hostmem_fdt_to_bytes(fdt);
    g_assert_true(g_bytes_equal(before, after));
}

static void refuse_list(const Tree *tree, const char *part)
{
    g_autoptr(HostmemFdt) fdt = parse(tree);
    g_autoptr(GError) error = NULL;

    assert_error(hostmem_fdt_list_memory(fdt, &error) != NULL, &error,
                 HOSTMEM_ERROR_INVALID, part);
}

static void refuse_blob(const void *blob, gsize size, HostmemError code,
                        const char *part)
{
    g_autoptr(GError) error = NULL;

    assert_error(hostmem_fdt_parse(blob, size, &error) != NULL, &error, code,
                 part);
}

/* What a blob says, as libfdt sees it. */
static const fdt32_t *cells_at(GBytes *blob, const char *path,
                               const char *property, guint n)
{
    const void *tree = g_bytes_get_data(blob, NULL);
    int length;
    const fdt32_t *cells =
        fdt_getprop(tree, fdt_path_offset(tree, path), property, &length);

    g_assert_nonnull(cells);
    g_assert_cmpint(length, ==, (int)(n * sizeof(*cells)));
    return cells;
}

static void assert_cells(HostmemFdt *fdt, const char *path,
                         const char *property, const guint32 *expected, guint n)
{
    g_autoptr(GBytes) blob = hostmem_fdt_to_bytes(fdt);
    const fdt32_t *cells = cells_at(blob, path, property, n);

    for (guint i = 0; i < n; i++) {
        g_assert_cmphex(fdt32_ld(&cells[i]), ==, expected[i]);
    }
}

#define ASSERT_CELLS(fdt, path, property, ...)                  \
    assert_cells(fdt, path, property, (guint32[]){__VA_ARGS__}, \
                 sizeof((guint32[]){__VA_ARGS__}) / sizeof(guint32))

static void test_new_has_no_memory(void)
{
    g_autoptr(HostmemFdt) fdt = hostmem_fdt_new();

    assert_memory(fdt, "");
    ASSERT_CELLS(fdt, "/", "#address-cells", 2);
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
    assert_memory(again, "40000000+80000000@0 200000000+400000000@1 "
                         "1000000000+40000000@-1");
    ASSERT_CELLS(fdt, "/memory@200000000", "reg", 2, 0, 4, 0);
    ASSERT_CELLS(fdt, "/memory@200000000", "numa-node-id", 1);
}

static void test_memory_takes_the_roots_cells(void)
{
    g_auto(Tree) tree = tree_new(1, 1);
    g_autoptr(HostmemFdt) fdt = parse(&tree);

    add_memory(fdt, GIB, 3 * GIB, HOSTMEM_FDT_NO_NODE);
    ASSERT_CELLS(fdt, "/memory@40000000", "reg", 0x40000000, 0xc0000000);
    refuse_memory(fdt, 4 * GIB, GIB, HOSTMEM_ERROR_INVALID, "#address-cells");
    refuse_memory(fdt, 0, 8 * GIB, HOSTMEM_ERROR_INVALID, "#size-cells is 1");
}

static void test_memory_may_not_overlap(void)
{
    g_auto(Tree) tree = tree_new(2, 2);
    tree_add_memory(&tree, "memory@40000000", 0, 0x40000000, 0x40000000);
    g_autoptr(HostmemFdt) fdt = parse(&tree);

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
    g_auto(Tree) tree = tree_new(2, 2);
    tree_add(&tree, "/", "memory@40000000");
    g_autoptr(HostmemFdt) fdt = parse(&tree);

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
    g_auto(Tree) tree = tree_new(2, 2);
    tree_add(&tree, "/", "chosen");
    tree_set_text(&tree, "/chosen", "bootargs", "console=ttyAMA0");
    g_autoptr(HostmemFdt) fdt = parse(&tree);

    add_memory(fdt, GIB, GIB, 0);
    g_autoptr(GBytes) blob = hostmem_fdt_to_bytes(fdt);
    const void *after = g_bytes_get_data(blob, NULL);
    g_assert_cmpstr(
        fdt_getprop(after, fdt_path_offset(after, "/chosen"), "bootargs", NULL),
        ==, "console=ttyAMA0");
}

static void test_list_takes_several_ranges_of_a_node(void)
{
    g_auto(Tree) tree = tree_new(2, 1);
    tree_add_memory(&tree, "memory@80000000", 0, 0, 0);
    SET_CELLS(&tree, "/memory@80000000", "reg", 0, 0x80000000, 0x1000, 1, 0,
              0x2000, 2, 0, 0);
    SET_CELLS(&tree, "/memory@80000000", "numa-node-id", 3);
    g_autoptr(HostmemFdt) fdt = parse(&tree);

    assert_memory(fdt, "80000000+1000@3 100000000+2000@3");
}

static void test_list_leaves_out_disabled_and_other_nodes(void)
{
    g_auto(Tree) tree = tree_new(2, 2);
    tree_add_memory(&tree, "memory@0", 0, 0, 0x1000);
    tree_set_text(&tree, "/memory@0", "status", "disabled");
    tree_add_memory(&tree, "memory@10000", 0, 0x10000, 0x1000);
    tree_set_text(&tree, "/memory@10000", "status", "okay");
    tree_add_memory(&tree, "flash@20000", 0, 0x20000, 0x1000);
    tree_set_text(&tree, "/flash@20000", "device_type", "memory-not");
    g_autoptr(HostmemFdt) fdt = parse(&tree);

    assert_memory(fdt, "10000+1000@-1");
}

static void test_list_refuses_overlap(void)
{
    g_auto(Tree) tree = tree_new(2, 2);
    tree_add_memory(&tree, "memory@0", 0, 0, 0x2000);
    tree_add_memory(&tree, "memory@1000", 0, 0x1000, 0x1000);

    refuse_list(&tree, "'/memory@0' and '/memory@1000' overlap at 0x1000");
}

static void test_list_refuses_a_bad_reg(void)
{
    g_auto(Tree) tree = tree_new(2, 2);
    tree_add_memory(&tree, "memory@0", 0, 0, 0);

    SET_CELLS(&tree, "/memory@0", "reg", 0, 0, 1);
    refuse_list(&tree, "whole ranges");
    SET_CELLS(&tree, "/memory@0", "reg", 0xffffffff, 0xffffffff, 0, 2);
    refuse_list(&tree, "64 bits");
    fdt_delprop(tree.blob, fdt_path_offset(tree.blob, "/memory@0"), "reg");
    refuse_list(&tree, "\"reg\" of '/memory@0' is missing");
}

static void test_parse_refuses_what_is_no_tree(void)
{
    g_auto(Tree) tree = tree_new(2, 2);
    guint size = fdt_totalsize(tree.blob);

    refuse_blob("", 0, HOSTMEM_ERROR_INVALID, "header");
    refuse_blob(tree.blob, 39, HOSTMEM_ERROR_INVALID, "header");
    refuse_blob(tree.blob, size - 1, HOSTMEM_ERROR_INVALID, "it is cut");
    memset(tree.blob + fdt_off_dt_struct(tree.blob), 0xff, 4);
    refuse_blob(tree.blob, size, HOSTMEM_ERROR_INVALID, "malformed");
}

static void test_parse_refuses_a_giant(void)
{
    g_auto(Tree) tree = tree_new(2, 2);

    fdt_set_totalsize(tree.blob, 0x7fffffff);
    refuse_blob(tree.blob, BLOB_SIZE, HOSTMEM_ERROR_LIMIT, "16 MiB");
}

static void test_parse_refuses_a_deep_tree(void)
{
    g_auto(Tree) tree = tree_new(2, 2);
    int node = 0;

    for (guint i = 0; i < 63; i++) {
        node = fdt_add_subnode(tree.blob, node, "n");
        g_assert_cmpint(node, >, 0);
    }
    hostmem_fdt_free(parse(&tree));
    node = fdt_add_subnode(tree.blob, node, "n");
    refuse_blob(tree.blob, BLOB_SIZE, HOSTMEM_ERROR_LIMIT, "deeper than 64");
}

static void test_parse_refuses_strange_cells(void)
{
    g_auto(Tree) tree = tree_new(3, 2);

    refuse_blob(tree.blob, BLOB_SIZE, HOSTMEM_ERROR_INVALID, "of / must be");
}

static void test_parse_takes_any_alignment(void)
{
    g_auto(Tree) tree = tree_new(2, 2);
    g_autofree guint8 *copy = g_malloc(BLOB_SIZE + 1);
    g_autoptr(GError) error = NULL;

    memcpy(copy + 1, tree.blob, BLOB_SIZE);
    g_autoptr(HostmemFdt) fdt = hostmem_fdt_parse(copy + 1, BLOB_SIZE, &error);
    g_assert_no_error(error);
    add_memory(fdt, 0, GIB, 0);
}

static void test_reserved_memory_is_made(void)
{
    g_autoptr(HostmemFdt) fdt = hostmem_fdt_new();
    g_autoptr(GError) error = NULL;

    hostmem_fdt_add_reserved(fdt, "hotplug", 8 * GIB, GIB, &error);
    g_assert_no_error(error);
    ASSERT_CELLS(fdt, "/reserved-memory", "#address-cells", 2);
    ASSERT_CELLS(fdt, "/reserved-memory/hotplug@200000000", "reg", 2, 0, 0,
                 0x40000000);
    assert_error(
        hostmem_fdt_add_reserved(fdt, "b", 8 * GIB + 4096, 4096, &error),
        &error, HOSTMEM_ERROR_EXISTS, "'/reserved-memory/hotplug@200000000'");
}

static void test_reserved_memory_goes_beside_what_is_there(void)
{
    g_auto(Tree) tree = tree_new(1, 1);
    tree_add(&tree, "/", "reserved-memory");
    SET_CELLS(&tree, "/reserved-memory", "#address-cells", 1);
    SET_CELLS(&tree, "/reserved-memory", "#size-cells", 1);
    tree_add(&tree, "/reserved-memory", "cma");
    g_autoptr(HostmemFdt) fdt = parse(&tree);
    g_autoptr(GError) error = NULL;

    hostmem_fdt_add_reserved(fdt, "hotplug", GIB, GIB, &error);
    g_assert_no_error(error);
    ASSERT_CELLS(fdt, "/reserved-memory/hotplug@40000000", "reg", 0x40000000,
                 0x40000000);
}

static void test_reserved_memory_wants_the_roots_cells(void)
{
    g_auto(Tree) tree = tree_new(2, 2);
    tree_add(&tree, "/", "reserved-memory");
    SET_CELLS(&tree, "/reserved-memory", "#address-cells", 1);
    SET_CELLS(&tree, "/reserved-memory", "#size-cells", 1);
    g_autoptr(HostmemFdt) fdt = parse(&tree);
    g_autoptr(GError) error = NULL;

    assert_error(hostmem_fdt_add_reserved(fdt, "a", GIB, GIB, &error), &error,
                 HOSTMEM_ERROR_INVALID, "not those of the root");
}

static void test_reserved_memory_wants_a_name(void)
{
    g_autoptr(HostmemFdt) fdt = hostmem_fdt_new();
    static const char *const names[] = {
        "", "a/b", "a@1", "1a", "a\n", "a2345678901234567890123456789012"};

    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autoptr(GError) error = NULL;
        assert_error(hostmem_fdt_add_reserved(fdt, names[i], GIB, GIB, &error),
                     &error, HOSTMEM_ERROR_INVALID, "name of a node");
    }
}

static void test_distances_are_added_and_replaced(void)
{
    g_autoptr(HostmemFdt) fdt = hostmem_fdt_new();

    g_assert_true(hostmem_fdt_set_distance(fdt, 0, 0, 10, NULL));
    g_assert_true(hostmem_fdt_set_distance(fdt, 0, 1, 30, NULL));
    g_assert_true(hostmem_fdt_set_distance(fdt, 0, 1, 20, NULL));
    ASSERT_CELLS(fdt, "/distance-map", "distance-matrix", 0, 0, 10, 0, 1, 20);
}

static void test_distances_have_bounds(void)
{
    g_autoptr(HostmemFdt) fdt = hostmem_fdt_new();
    static const guint32 wrong[][3] = {
        {0, 0, 11}, {0, 1, 10}, {0, 1, 9}, {0, 1, 256}};

    for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(GError) error = NULL;
        assert_error(hostmem_fdt_set_distance(fdt, wrong[i][0], wrong[i][1],
                                              wrong[i][2], &error),
                     &error, HOSTMEM_ERROR_INVALID, "11 to 255");
    }
}

static void test_distances_refuse_another_map(void)
{
    g_auto(Tree) tree = tree_new(2, 2);
    tree_add(&tree, "/", "distance-map");
    tree_set_text(&tree, "/distance-map", "compatible", "another");
    SET_CELLS(&tree, "/distance-map", "distance-matrix", 0, 1, 20);
    g_autoptr(HostmemFdt) fdt = parse(&tree);
    g_autoptr(GError) error = NULL;

    assert_error(hostmem_fdt_set_distance(fdt, 0, 1, 20, &error), &error,
                 HOSTMEM_ERROR_INVALID, "numa-distance-map-v1");
}

static Tree tree_with_controller(void)
{
    Tree tree = tree_new(2, 2);

    tree_add(&tree, "/", "intc");
    SET_CELLS(&tree, "/intc", "phandle", 7);
    SET_CELLS(&tree, "/intc", "#interrupt-cells", 3);
    SET_CELLS(&tree, "/", "interrupt-parent", 7);
    return tree;
}

static void test_virtio_mmio_is_added(void)
{
    g_auto(Tree) tree = tree_with_controller();
    g_autoptr(HostmemFdt) fdt = parse(&tree);
    g_autoptr(GError) error = NULL;
    static const guint32 interrupt[] = {0, 16, 1};

    hostmem_fdt_add_virtio_mmio(fdt, 0xa000000, 512, interrupt, 3, &error);
    g_assert_no_error(error);
    ASSERT_CELLS(fdt, "/virtio_mmio@a000000", "interrupts", 0, 16, 1);
    ASSERT_CELLS(fdt, "/virtio_mmio@a000000", "reg", 0, 0xa000000, 0, 512);
    assert_error(
        hostmem_fdt_add_virtio_mmio(fdt, 0xa000000, 512, interrupt, 3, &error),
        &error, HOSTMEM_ERROR_EXISTS, "/virtio_mmio@a000000");
}

static void test_virtio_mmio_wants_the_controllers_cells(void)
{
    g_auto(Tree) tree = tree_with_controller();
    g_autoptr(HostmemFdt) fdt = parse(&tree);
    g_autoptr(HostmemFdt) bare = hostmem_fdt_new();
    g_autoptr(GError) error = NULL;
    static const guint32 interrupt[] = {16, 1};

    assert_error(
        hostmem_fdt_add_virtio_mmio(fdt, 0xa000000, 512, interrupt, 2, &error),
        &error, HOSTMEM_ERROR_INVALID, "have 3");
    assert_error(
        hostmem_fdt_add_virtio_mmio(bare, 0xa000000, 512, interrupt, 2, &error),
        &error, HOSTMEM_ERROR_INVALID, "no interrupt-parent");
}

#define ADD(name) g_test_add_func("/fdt/" #name, test_##name)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(new_has_no_memory);
    ADD(memory_comes_back);
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
    ADD(parse_refuses_what_is_no_tree);
    ADD(parse_refuses_a_giant);
    ADD(parse_refuses_a_deep_tree);
    ADD(parse_refuses_strange_cells);
    ADD(parse_takes_any_alignment);
    ADD(reserved_memory_is_made);
    ADD(reserved_memory_goes_beside_what_is_there);
    ADD(reserved_memory_wants_the_roots_cells);
    ADD(reserved_memory_wants_a_name);
    ADD(distances_are_added_and_replaced);
    ADD(distances_have_bounds);
    ADD(distances_refuse_another_map);
    ADD(virtio_mmio_is_added);
    ADD(virtio_mmio_wants_the_controllers_cells);
    return g_test_run();
}
