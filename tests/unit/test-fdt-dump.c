/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib/gstdio.h>
#include <hostmem/fdt-guest.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include "fdt-test.h"
#include "object-test.h"
#include "virtio-mem-test.h"

/* (transfer full): of a file in the folder of this test. */
static char *path_of(const char *name)
{
    return g_build_filename(hm_test_folder(), name, NULL);
}

/* (transfer full): of backends; ends with NULL. */
static GPtrArray *make(const char *options, ...) G_GNUC_NULL_TERMINATED;

static GPtrArray *make(const char *options, ...)
{
    GPtrArray *objects = g_ptr_array_new_with_free_func(g_object_unref);
    va_list args;

    va_start(args, options);
    for (; options; options = va_arg(args, const char *)) {
        g_ptr_array_add(objects, hm_test_make(options));
    }
    va_end(args);
    return objects;
}

/* The device of a backend of @objects, of REGION bytes at BASE. */
static void add_device(GPtrArray *objects)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");

    g_ptr_array_add(objects, g_object_ref(memdev));
    g_ptr_array_add(objects, hm_test_virtio_mem(memdev, "memaddr", BASE, NULL));
}

/* Dump to "out"; each "@" in @options becomes the folder and a slash. */
static gboolean dump(GPtrArray *objects, const char *options, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(options, "@", -1);
    g_autofree char *folder = g_strconcat(hm_test_folder(), "/", NULL);
    g_autofree char *text = g_strjoinv(folder, parts);

    return hostmem_fdt_dump(objects, text, error);
}

static HostmemFdt *load(const char *name)
{
    g_autofree char *path = path_of(name);
    g_autoptr(GError) error = NULL;
    HostmemFdt *fdt = hostmem_fdt_load(path, &error);

    g_assert_no_error(error);
    return fdt;
}

/* (transfer full): what was written. */
static HostmemFdt *dump_works(GPtrArray *objects, const char *options)
{
    g_autoptr(GError) error = NULL;

    dump(objects, options, &error);
    g_assert_no_error(error);
    return load("out");
}

static void dump_fails(GPtrArray *objects, const char *options,
                       HostmemError code, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = path_of("out");

    hm_test_assert_refused(dump(objects, options, &error), &error, code, part);
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
}

static void write_file(const char *name, gconstpointer data, gsize size)
{
    g_autofree char *path = path_of(name);

    g_assert_true(g_file_set_contents(path, data, (gssize)size, NULL));
}

/* A tree in "in", with 1 GiB at 1 GiB. */
static void write_tree(void)
{
    g_auto(HmTestTree) tree = hm_test_tree_new(2, 2);

    hm_test_tree_add_memory(&tree, "memory@40000000", 0, 0x40000000,
                            0x40000000);
    write_file("in", tree.blob, HM_TEST_BLOB_SIZE);
}

/* A tree in "in", most of which is one property. */
static void write_large_tree(gsize size)
{
    g_autofree guint8 *blob = g_malloc0(size + HM_TEST_BLOB_SIZE);
    g_autofree guint8 *value = g_malloc0(size);

    g_assert_cmpint(
        fdt_create_empty_tree(blob, (int)(size + HM_TEST_BLOB_SIZE)), ==, 0);
    g_assert_cmpint(fdt_setprop(blob, 0, "large", value, (int)size), ==, 0);
    g_assert_cmpint(fdt_setprop_u32(blob, 0, "#address-cells", 2), ==, 0);
    g_assert_cmpint(fdt_setprop_u32(blob, 0, "#size-cells", 2), ==, 0);
    write_file("in", blob, fdt_totalsize(blob));
}

/* Microseconds of CPU that a dump takes; others may be running. */
static gint64 time_dump(GPtrArray *objects, const char *options)
{
    clock_t start = clock();

    hostmem_fdt_free(dump_works(objects, options));
    return (gint64)(clock() - start) * G_USEC_PER_SEC / CLOCKS_PER_SEC;
}

static void test_backends_lie_one_behind_the_other(void)
{
    g_autoptr(GPtrArray) objects =
        make("memory-backend-ram,id=m0,size=1G",
             "memory-backend-ram,id=m1,size=2G,guest-node=3", NULL);
    g_autoptr(HostmemFdt) fdt = dump_works(objects, "@out");

    hm_test_assert_memory(fdt, "40000000+40000000@-1 80000000+80000000@3");
}

/* Whatever the order of creation: U-Boot starts in the first node. */
static void test_the_lowest_memory_is_the_first_node(void)
{
    g_autoptr(GPtrArray) objects =
        make("memory-backend-ram,id=m0,size=1G,guest-addr=0x80000000",
             "memory-backend-ram,id=m1,size=1G,guest-addr=0x40000000",
             "memory-backend-ram,id=m2,size=1G,guest-addr=0xc0000000", NULL);
    g_autoptr(HostmemFdt) fdt = dump_works(objects, "@out");
    g_autoptr(GBytes) blob = hostmem_fdt_to_bytes(fdt);
    const void *tree = g_bytes_get_data(blob, NULL);
    int node = fdt_first_subnode(tree, 0);

    g_assert_cmpstr(fdt_get_name(tree, node, NULL), ==, "memory@40000000");
    node = fdt_next_subnode(tree, node);
    g_assert_cmpstr(fdt_get_name(tree, node, NULL), ==, "memory@80000000");
}

static void test_base_is_where_the_first_lies(void)
{
    g_autoptr(GPtrArray) objects =
        make("memory-backend-ram,id=m0,size=1G",
             "memory-backend-ram,id=m1,size=2G", NULL);
    g_autoptr(HostmemFdt) fdt = dump_works(objects, "@out,base=0x80000000");

    hm_test_assert_memory(fdt, "80000000+40000000@-1 c0000000+80000000@-1");
}

static void test_an_address_counts_and_the_next_follows(void)
{
    g_autoptr(GPtrArray) objects =
        make("memory-backend-ram,id=m0,size=1G,guest-addr=0",
             "memory-backend-ram,id=m1,size=1G,guest-addr=0x100000000",
             "memory-backend-ram,id=m2,size=2G", NULL);
    g_autoptr(HostmemFdt) fdt = dump_works(objects, "@out");

    hm_test_assert_memory(
        fdt, "0+40000000@-1 100000000+40000000@-1 140000000+80000000@-1");
}

static void test_memory_of_a_device_is_left_out(void)
{
    g_autoptr(GPtrArray) objects =
        make("memory-backend-ram,id=m0,size=1G", NULL);
    add_device(objects);
    g_autoptr(HostmemFdt) fdt = dump_works(objects, "@out");

    hm_test_assert_memory(fdt, "40000000+40000000@-1");
    g_autoptr(GBytes) blob = hostmem_fdt_to_bytes(fdt);
    g_assert_cmpint(
        fdt_path_offset(g_bytes_get_data(blob, NULL), "/reserved-memory"), ==,
        -FDT_ERR_NOTFOUND);
}

static void test_a_region_is_reserved_when_wanted(void)
{
    g_autoptr(GPtrArray) objects =
        make("memory-backend-ram,id=m0,size=1G", NULL);
    add_device(objects);
    g_autoptr(HostmemFdt) fdt = dump_works(objects, "@out,reserve=on");

    HM_TEST_ASSERT_CELLS(fdt, "/reserved-memory/hotplug@100000000", "reg", 1, 0,
                         0, REGION);
}

static void test_a_region_may_not_overlap_memory(void)
{
    g_autoptr(GPtrArray) objects =
        make("memory-backend-ram,id=m0,size=4G", NULL);
    add_device(objects);

    dump_fails(objects, "@out", HOSTMEM_ERROR_EXISTS,
               "virtio-mem: device tree: the region of 0x8000000 bytes at "
               "0x100000000 overlaps '/memory@40000000' at 0x100000000");
}

static void test_backends_may_not_overlap(void)
{
    g_autoptr(GPtrArray) objects =
        make("memory-backend-ram,id=m0,size=1G",
             "memory-backend-ram,id=m1,size=1M,guest-addr=0x7ff00000", NULL);

    dump_fails(objects, "@out", HOSTMEM_ERROR_EXISTS,
               "memory-backend-ram 'm1': device tree: memory of 0x100000 "
               "bytes at 0x7ff00000 overlaps '/memory@40000000' at 0x7ff00000");
}

static void test_memdevs_choose_and_order(void)
{
    g_autoptr(GPtrArray) objects = make(
        "memory-backend-ram,id=m0,size=1G", "memory-backend-ram,id=m1,size=2G",
        "memory-backend-ram,id=m2,size=1M", NULL);
    g_autoptr(HostmemFdt) fdt = dump_works(
        objects, "{\"filename\": \"@out\", \"memdevs\": [\"m2\", \"m1\"]}");

    hm_test_assert_memory(fdt, "40000000+100000@-1 40100000+80000000@-1");
    g_autofree char *path = path_of("out");
    g_unlink(path);
    dump_fails(
        objects, "{\"filename\": \"@out\", \"memdevs\": [\"m1\", \"x\"]}",
        HOSTMEM_ERROR_NOT_FOUND, "memdevs[1]: there is no memory backend 'x'");
}

static void test_memory_of_a_device_is_not_chosen(void)
{
    g_autoptr(GPtrArray) objects =
        make("memory-backend-ram,id=m0,size=1G", NULL);
    add_device(objects);

    dump_fails(objects, "{\"filename\": \"@out\", \"memdevs\": [\"mem0\"]}",
               HOSTMEM_ERROR_INVALID,
               "memdevs[0]: 'mem0' is the memory of virtio-mem");
}

/* Those of another guest may be where this one has memory. */
static void test_devices_are_chosen(void)
{
    g_autoptr(GPtrArray) objects =
        make("memory-backend-ram,id=m0,size=4G", NULL);
    add_device(objects);
    g_autoptr(HostmemFdt) fdt =
        dump_works(objects, "{\"filename\": \"@out\", \"devices\": [], "
                            "\"reserve\": true}");

    hm_test_assert_memory(fdt, "40000000+100000000@-1");
}

static void test_a_tree_is_added_to(void)
{
    g_autoptr(GPtrArray) objects =
        make("memory-backend-ram,id=m0,size=1G,guest-addr=0x80000000", NULL);
    write_tree();
    g_autoptr(HostmemFdt) fdt = dump_works(objects, "@out,dtb=@in");

    hm_test_assert_memory(fdt, "40000000+40000000@-1 80000000+40000000@-1");
}

static void test_a_trees_memory_is_in_the_way(void)
{
    g_autoptr(GPtrArray) objects =
        make("memory-backend-ram,id=m0,size=1G", NULL);
    write_tree();

    dump_fails(objects, "@out,dtb=@in", HOSTMEM_ERROR_EXISTS,
               "overlaps '/memory@40000000'");
    g_autoptr(HostmemFdt) fdt = dump_works(objects, "@out,dtb=@in,replace=on");
    hm_test_assert_memory(fdt, "40000000+40000000@-1");
}

static void test_a_file_may_be_changed_in_place(void)
{
    g_autoptr(GPtrArray) objects =
        make("memory-backend-ram,id=m0,size=2G", NULL);
    g_autoptr(GError) error = NULL;
    write_tree();

    dump(objects, "@in,dtb=@in,replace=on", &error);
    g_assert_no_error(error);
    g_autoptr(HostmemFdt) fdt = load("in");
    hm_test_assert_memory(fdt, "40000000+80000000@-1");
}

static void test_distances_and_transports(void)
{
    g_autoptr(GPtrArray) objects =
        make("memory-backend-ram,id=m0,size=1G,guest-node=0", NULL);
    g_autoptr(HostmemFdt) fdt = dump_works(
        objects, "{\"filename\": \"@out\", \"distances\": [{\"src\": 0, "
                 "\"dst\": 1, \"val\": 20}, {\"src\": 1, \"dst\": 0, \"val\": "
                 "30}], \"virtio-mmio\": [{\"addr\": 4096, \"interrupt\": []}, "
                 "{\"addr\": 8192, \"size\": 4096}]}");

    HM_TEST_ASSERT_CELLS(fdt, "/distance-map", "distance-matrix", 0, 1, 20, 1,
                         0, 30);
    HM_TEST_ASSERT_CELLS(fdt, "/virtio_mmio@1000", "reg", 0, 4096, 0, 512);
    HM_TEST_ASSERT_CELLS(fdt, "/virtio_mmio@2000", "reg", 0, 8192, 0, 4096);
}

/* One way of a thousand, a transport of two. */
static void test_the_bad_one_of_many_is_named(void)
{
    g_autoptr(GPtrArray) objects =
        make("memory-backend-ram,id=m0,size=1G", NULL);
    g_autoptr(GString) list = g_string_new(NULL);

    for (guint i = 0; i < 1000; i++) {
        g_string_append_printf(list, "{\"src\": 0, \"dst\": %u, \"val\": %u},",
                               i + 1, i == 700 ? 9 : 20);
    }
    g_string_truncate(list, list->len - 1);
    g_autofree char *distances = g_strdup_printf(
        "{\"filename\": \"@out\", \"distances\": [%s]}", list->str);
    dump_fails(objects, distances, HOSTMEM_ERROR_INVALID,
               "distances[700]: device tree: the distance");
    dump_fails(objects,
               "{\"filename\": \"@out\", \"virtio-mmio\": [{\"addr\": 4096}, "
               "{\"addr\": 8192}, {\"addr\": 4352}]}",
               HOSTMEM_ERROR_EXISTS,
               "virtio-mmio[2]: device tree: virtio_mmio of 0x200 bytes at "
               "0x1100 overlaps '/virtio_mmio@1000' at 0x1100");
}

static void test_bad_elements_are_named(void)
{
    static const struct {
        const char *member;
        const char *part;
    } wrong[] = {
        {"\"memdevs\": \"m0\"",
         "Invalid parameter type for 'memdevs', expected: array"},
        {"\"memdevs\": [0]",
         "memdevs[0]: Invalid parameter type, expected: string"},
        {"\"memdevs\": [\"m0\", \"m0\"]", "memdevs[1]: 'm0' is there twice"},
        {"\"memdevs\": [\"m0\", \"x\"]",
         "memdevs[1]: there is no memory backend 'x'"},
        {"\"devices\": [\"m0\"]", "devices[0]: there is no device 'm0'"},
        {"\"distances\": [0]", "distances[0]: Invalid parameter type"},
        {"\"distances\": [{\"src\": 0, \"dst\": 1}]",
         "distances[0]: Parameter 'val' is missing"},
        {"\"distances\": [{\"src\": 0, \"dst\": 1, \"val\": 9}]",
         "distances[0]: device tree: the distance from NUMA node 0 to 1"},
        {"\"distances\": [{\"src\": 0, \"dst\": 1, \"val\": -1}]",
         "distances[0]: Parameter 'val' expects"},
        {"\"virtio-mmio\": [{\"addr\": 0, \"x\": 1}]",
         "virtio-mmio[0]: Parameter 'x' is unexpected"},
        {"\"virtio-mmio\": [{\"addr\": 0}, {\"size\": 1}]",
         "virtio-mmio[1]: Parameter 'addr' is missing"},
        {"\"virtio-mmio\": [{\"addr\": 0, \"size\": 0}]",
         "virtio-mmio[0]: device tree: virtio_mmio of 0x0 bytes"},
        {"\"virtio-mmio\": [{\"addr\": 0, \"interrupt\": 1}]",
         "virtio-mmio[0]: Invalid parameter type for 'interrupt'"},
        {"\"virtio-mmio\": [{\"addr\": 0, \"interrupt\": [4294967296]}]",
         "virtio-mmio[0]: Parameter 'interrupt' expects cells of 32 bits"},
        {"\"virtio-mmio\": [{\"addr\": 0, \"interrupt\": [0,0,0,0,0,0,0,0,0]}]",
         "virtio-mmio[0]: Parameter 'interrupt' has more than 8 cells"},
        {"\"virtio-mmio\": [{\"addr\": 0, \"interrupt\": [1]}]",
         "virtio-mmio[0]: device tree: the root has no interrupt-parent"},
        {"\"virtio-mmio\": [{\"addr\": 1073741824}]",
         "virtio-mmio[0]: device tree: virtio_mmio of 0x200 bytes at "
         "0x40000000 overlaps '/memory@40000000'"},
    };
    g_autoptr(GPtrArray) objects =
        make("memory-backend-ram,id=m0,size=1G", NULL);

    for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autofree char *options =
            g_strdup_printf("{\"filename\": \"@out\", %s}", wrong[i].member);
        g_autoptr(GError) error = NULL;

        g_assert_false(dump(objects, options, &error));
        g_assert_nonnull(strstr(error->message, wrong[i].part));
    }
}

/* Each of them used to move all of the tree several times. */
static void test_many_transports_into_a_large_tree(void)
{
    g_autoptr(GPtrArray) objects = g_ptr_array_new();
    g_autoptr(GString) options =
        g_string_new("{\"filename\": \"@out\", \"dtb\": \"@in\", "
                     "\"virtio-mmio\": [{\"addr\": 0}");
    gint64 once, all;

    write_large_tree(4 << 20);
    once = time_dump(objects, "{\"filename\": \"@out\", \"dtb\": \"@in\", "
                              "\"virtio-mmio\": [{\"addr\": 0}]}");
    for (guint i = 1; i < 1024; i++) {
        g_string_append_printf(options, ", {\"addr\": %u}", i * 512);
    }
    g_string_append(options, "]}");
    all = time_dump(objects, options->str);
    g_assert_cmpint(all, <, 50 * MAX(once, 1000));

    g_autoptr(HostmemFdt) fdt = load("out");
    for (guint i = 0; i < 1024; i += 341) {
        g_autofree char *path = g_strdup_printf("/virtio_mmio@%x", i * 512);
        HM_TEST_ASSERT_CELLS(fdt, path, "reg", 0, i * 512, 0, 512);
    }
}

static void test_bad_options_are_named(void)
{
    g_autoptr(GPtrArray) objects = g_ptr_array_new();

    dump_fails(objects, "", HOSTMEM_ERROR_INVALID,
               "Parameter 'filename' is missing");
    dump_fails(objects, "@out,x=1", HOSTMEM_ERROR_INVALID,
               "Invalid parameter 'x'");
    dump_fails(objects, "@out,base=here", HOSTMEM_ERROR_INVALID,
               "Parameter 'base' expects a size value");
    dump_fails(objects, "@out,distances=1", HOSTMEM_ERROR_INVALID,
               "Invalid parameter type for 'distances', expected: array");
    dump_fails(objects, "{\"filename\": 1}", HOSTMEM_ERROR_INVALID,
               "Invalid parameter type for 'filename', expected: string");
    dump_fails(objects, "{", HOSTMEM_ERROR_INVALID, "JSON parse error");
}

static void test_a_failure_leaves_the_tree(void)
{
    g_autoptr(HostmemFdt) fdt = hostmem_fdt_new();
    g_autoptr(GBytes) before = hostmem_fdt_to_bytes(fdt);
    g_autoptr(GPtrArray) objects =
        make("memory-backend-ram,id=m0,size=1G",
             "memory-backend-ram,id=m1,size=1M,guest-addr=0x40000000", NULL);
    g_autoptr(GError) error = NULL;

    hm_test_assert_refused(
        hostmem_fdt_add_objects(fdt, objects, GIB, FALSE, &error), &error,
        HOSTMEM_ERROR_EXISTS, "'m1'");
    g_autoptr(GBytes) after = hostmem_fdt_to_bytes(fdt);
    g_assert_true(g_bytes_equal(before, after));
}

/* Files */

static void test_what_is_no_file_is_not_read(void)
{
    g_autoptr(GPtrArray) objects = g_ptr_array_new();
    g_autofree char *fifo = path_of("fifo");

    g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
    write_file("text", "no tree", 7);
    write_file("empty", "", 0);
    dump_fails(objects, "@out,dtb=@fifo", HOSTMEM_ERROR_INVALID,
               "is no regular file");
    dump_fails(objects, "@out,dtb=@.", HOSTMEM_ERROR_INVALID,
               "is no regular file");
    dump_fails(objects, "@out,dtb=@none", HOSTMEM_ERROR_NOT_FOUND,
               "cannot open");
    dump_fails(objects, "@out,dtb=@text", HOSTMEM_ERROR_INVALID,
               "text': device tree: the first bytes of 7 are not its header");
    dump_fails(objects, "@out,dtb=@empty", HOSTMEM_ERROR_INVALID,
               "empty': device tree: the first bytes of 0");
}

static void test_what_is_no_file_is_not_replaced(void)
{
    g_autoptr(GPtrArray) objects = g_ptr_array_new();

    dump_fails(objects, "@.", HOSTMEM_ERROR_INVALID, "is no regular file");
    dump_fails(objects, "/dev/null", HOSTMEM_ERROR_INVALID,
               "'/dev/null' is no regular file");
    dump_fails(objects, "/dev/stdout", HOSTMEM_ERROR_INVALID,
               "'/dev/stdout' is no regular file");
    dump_fails(objects, "@none/out", HOSTMEM_ERROR_NOT_FOUND,
               "none/out': No such file or directory");
    write_file("file", "", 0);
    dump_fails(objects, "@file/out", HOSTMEM_ERROR_INVALID,
               "file/out': Not a directory");
}

static void test_a_link_stays_one(void)
{
    g_autoptr(GPtrArray) objects =
        make("memory-backend-ram,id=m0,size=1G", NULL);
    g_autofree char *link = path_of("link");
    g_autoptr(GError) error = NULL;

    write_file("out", "", 0);
    g_assert_cmpint(symlink("out", link), ==, 0);
    dump(objects, "@link", &error);
    g_assert_no_error(error);
    g_assert_true(g_file_test(link, G_FILE_TEST_IS_SYMLINK));
    g_autoptr(HostmemFdt) fdt = load("out");
    hm_test_assert_memory(fdt, "40000000+40000000@-1");
}

#define TEST(name)                      \
    {                                   \
        "/fdt-dump/" #name, test_##name \
    }

static const HmTest tests[] = {
    TEST(backends_lie_one_behind_the_other),
    TEST(the_lowest_memory_is_the_first_node),
    TEST(base_is_where_the_first_lies),
    TEST(an_address_counts_and_the_next_follows),
    TEST(memory_of_a_device_is_left_out),
    TEST(a_region_is_reserved_when_wanted),
    TEST(a_region_may_not_overlap_memory),
    TEST(backends_may_not_overlap),
    TEST(memdevs_choose_and_order),
    TEST(memory_of_a_device_is_not_chosen),
    TEST(devices_are_chosen),
    TEST(a_tree_is_added_to),
    TEST(a_trees_memory_is_in_the_way),
    TEST(a_file_may_be_changed_in_place),
    TEST(distances_and_transports),
    TEST(the_bad_one_of_many_is_named),
    TEST(bad_elements_are_named),
    TEST(many_transports_into_a_large_tree),
    TEST(bad_options_are_named),
    TEST(a_failure_leaves_the_tree),
    TEST(what_is_no_file_is_not_read),
    TEST(what_is_no_file_is_not_replaced),
    TEST(a_link_stays_one),
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
