/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "libvirt-hook-test.h"

#define CELLS                                          \
    "<cpu><numa><cell id='0' memory='32' unit='MiB'/>" \
    "<cell id='1' memory='16' unit='MiB'/></numa></cpu>"
#define HUGE_PAGES(pages)                             \
    "<memoryBacking><hugepages>" pages "</hugepages>" \
    "<access mode='shared'/></memoryBacking>"

/* The places of a host whose huge pages are of 2 MiB and 1 GiB. */
static GPtrArray *find(const HookDomain *domain, GError **error)
{
    static HookMount mounts[] = {{2 * MIB, (char *)"/dev/hugepages"},
                                 {1024 * MIB, (char *)"/dev/huge1G"},
                                 {2 * MIB, (char *)"/mnt/other"}};
    g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(HookMount));
    const HookPlaces places = {
        .backing_dir = "/run/hostmem",
        .mounts = list,
        .huge_page_size = 2 * MIB,
        .base_page_size = 4096,
    };

    g_array_append_vals(list, mounts, G_N_ELEMENTS(mounts));
    return hook_blocks_find(domain, &places, error);
}

static GPtrArray *find_some(const HookDomain *domain, guint count)
{
    g_autoptr(GError) error = NULL;
    GPtrArray *blocks = find(domain, &error);

    g_assert_no_error(error);
    g_assert_cmpuint(blocks->len, ==, count);
    return blocks;
}

static void assert_none(const char *xml)
{
    g_autoptr(HookDomain) domain = parse(xml);
    g_autoptr(GPtrArray) blocks = find_some(domain, 0);
}

static void assert_refused(const char *xml, HostmemError code, const char *why)
{
    g_autoptr(HookDomain) domain = parse(xml);
    g_autoptr(GError) error = NULL;

    g_assert_null(find(domain, &error));
    g_assert_error(error, HOSTMEM_ERROR, (gint)code);
    g_assert_nonnull(strstr(error->message, why));
}

static void assert_path(const char *xml, const char *path)
{
    g_autoptr(HookDomain) domain = parse(xml);
    g_autoptr(GPtrArray) blocks = find_some(domain, 1);
    const HookBlock *block = g_ptr_array_index(blocks, 0);

    g_assert_cmpstr(block->path, ==, path);
}

static void test_one_file(void)
{
    g_autoptr(HookDomain) domain = parse(DOMAIN(SHARED_FILE));
    g_autoptr(GPtrArray) blocks = find_some(domain, 1);
    const HookBlock *block = g_ptr_array_index(blocks, 0);

    g_assert_cmpstr(block->name, ==, "pc.ram");
    g_assert_cmpstr(block->own_id, ==, "vm7");
    g_assert_cmpstr(block->id, ==, "libvirt-" UUID "-pc.ram");
    g_assert_cmpuint(block->size, ==, 64 * MIB);
    g_assert_cmpuint(block->page_size, ==, 0);
    g_assert_cmpstr(block->base, ==, "/run/hostmem/libvirt/qemu");
    g_assert_cmpstr(block->folder, ==, "/run/hostmem/libvirt/qemu/3-vm7");
    g_assert_cmpstr(block->path, ==, "/run/hostmem/libvirt/qemu/3-vm7/pc.ram");
}

static void test_file_of_each_cell(void)
{
    g_autoptr(HookDomain) domain = parse(DOMAIN(
        SHARED_FILE CELLS "<numatune><memory mode='interleave' nodeset='0-1'/>"
                          "<memnode cellid='1' mode='strict' nodeset='1'/>"
                          "<memnode cellid='7' nodeset='1'/></numatune>"));
    g_autoptr(GPtrArray) blocks = find_some(domain, 2);
    const HookBlock *first = g_ptr_array_index(blocks, 0);
    const HookBlock *second = g_ptr_array_index(blocks, 1);

    g_assert_cmpstr(first->path, ==,
                    "/run/hostmem/libvirt/qemu/3-vm7/ram-node0");
    g_assert_cmpstr(second->path, ==,
                    "/run/hostmem/libvirt/qemu/3-vm7/ram-node1");
    g_assert_cmpstr(first->own_id, ==, "vm7-node0");
    g_assert_cmpstr(second->own_id, ==, "vm7-node1");
    g_assert_cmpuint(first->size, ==, 32 * MIB);
    g_assert_cmpuint(second->size, ==, 16 * MIB);
    g_assert_cmpstr(first->numatune->nodeset, ==, "0-1");
    g_assert_cmpstr(second->numatune->nodeset, ==, "1");
}

static void test_only_cell_has_the_name_of_the_domain(void)
{
    g_autoptr(HookDomain) domain = parse(DOMAIN(
        SHARED_FILE "<cpu><numa><cell id='0' memory='65536'/></numa></cpu>"));
    g_autoptr(GPtrArray) blocks = find_some(domain, 1);
    const HookBlock *block = g_ptr_array_index(blocks, 0);

    g_assert_cmpstr(block->name, ==, "ram-node0");
    g_assert_cmpstr(block->own_id, ==, "vm7");
}

static void test_name_is_cut_after_characters(void)
{
    assert_path("<domain id='12'><name>\xc3\xa4\xc3\xb6 23456789012345678901"
                "</name><uuid>" UUID "</uuid><memory>1</memory>"
                "<os><type arch='x86_64' machine='pc'/></os>" SHARED_FILE
                "</domain>",
                "/run/hostmem/libvirt/qemu/12-\xc3\xa4\xc3\xb6 "
                "23456789012345678/pc.ram");
}

static void test_name_of_the_memory_depends_on_the_machine(void)
{
    static const char *const rows[][3] = {
        {"x86_64", "pc-i440fx-7.2", "pc.ram"},
        {"x86_64", "microvm", "microvm.ram"},
        {"aarch64", "virt-7.2", "mach-virt.ram"},
        {"riscv64", "virt", "riscv_virt_board.ram"},
        {"s390x", "s390-ccw-virtio-7.2", "s390.ram"},
        {"ppc64le", "pseries-7.2", "ppc_spapr.ram"},
    };

    for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *xml = g_strdup_printf(
            "<domain id='1'><name>a</name><uuid>%s</uuid><memory>1</memory>"
            "<os><type arch='%s' machine='%s'/></os>%s</domain>",
            UUID, rows[i][0], rows[i][1], SHARED_FILE);
        g_autofree char *path =
            g_strconcat("/run/hostmem/libvirt/qemu/1-a/", rows[i][2], NULL);

        assert_path(xml, path);
    }
    assert_refused(
        "<domain id='1'><name>a</name><uuid>" UUID "</uuid><memory>1"
        "</memory><os><type arch='aarch64' machine='raspi3b'/></os>" SHARED_FILE
        "</domain>",
        HOSTMEM_ERROR_UNSUPPORTED, "raspi3b");
}

static void test_without_an_id_there_is_no_path(void)
{
    assert_path("<domain><name>a</name><uuid>" UUID "</uuid><memory>1</memory>"
                "<os><type arch='x86_64' machine='pc'/></os>" SHARED_FILE
                "</domain>",
                NULL);
}

static void test_memory_that_is_in_no_file(void)
{
    assert_none(DOMAIN(""));
    assert_none(DOMAIN(CELLS));
    assert_none(DOMAIN("<memoryBacking><source type='file'/></memoryBacking>"));
    assert_none(DOMAIN("<memoryBacking><source type='file'/><access "
                       "mode='private'/></memoryBacking>"));
    assert_none(DOMAIN("<memoryBacking><source type='memfd'/><access "
                       "mode='shared'/></memoryBacking>"));
    assert_none(DOMAIN("<memoryBacking><access mode='shared'/>"
                       "</memoryBacking>"));
    assert_none(DOMAIN("<memoryBacking><hugepages/></memoryBacking>"));
    /* Whatever it is, it does not ask. */
    assert_none("<domain><name>a</name><uuid>" UUID "</uuid></domain>");
}

static void test_access_of_a_cell_counts(void)
{
    g_autoptr(HookDomain) domain = parse(
        DOMAIN("<memoryBacking><source type='file'/></memoryBacking><cpu><numa>"
               "<cell id='0' memory='1024'/>"
               "<cell id='1' memory='2048' memAccess='shared'/></numa></cpu>"));
    g_autoptr(GPtrArray) blocks = find_some(domain, 1);
    const HookBlock *block = g_ptr_array_index(blocks, 0);

    g_assert_cmpstr(block->name, ==, "ram-node1");
    g_assert_cmpstr(block->own_id, ==, "vm7-node1");
}

static void test_huge_pages_are_one_file(void)
{
    g_autoptr(HookDomain) domain = parse(DOMAIN(HUGE_PAGES("")));
    g_autoptr(GPtrArray) blocks = find_some(domain, 1);
    const HookBlock *block = g_ptr_array_index(blocks, 0);

    g_assert_cmpuint(block->page_size, ==, 2 * MIB);
    g_assert_null(block->folder);
    g_assert_cmpstr(block->base, ==, "/dev/hugepages/libvirt/qemu");
    g_assert_cmpstr(block->path, ==, "/dev/hugepages/libvirt/qemu/3-vm7");
}

static void test_size_of_huge_pages_chooses_the_place(void)
{
    assert_path(DOMAIN(HUGE_PAGES("<page size='1' unit='GiB'/>")),
                "/dev/huge1G/libvirt/qemu/3-vm7");
    assert_path(DOMAIN(HUGE_PAGES("<page size='2048' nodeset='0'/>")),
                "/dev/hugepages/libvirt/qemu/3-vm7");
    assert_refused(DOMAIN(HUGE_PAGES("<page size='16' unit='GiB'/>")),
                   HOSTMEM_ERROR_UNSUPPORTED, "16777216 KiB");
    assert_refused(DOMAIN(HUGE_PAGES("<page size='2048' nodeset='x'/>")),
                   HOSTMEM_ERROR_INVALID, "no number");
}

static void test_huge_pages_of_the_base_size_are_none(void)
{
    assert_none(DOMAIN(HUGE_PAGES("<page size='4'/>")));
}

static void test_cells_with_huge_pages_of_different_sizes(void)
{
    g_autoptr(HookDomain) domain = parse(
        DOMAIN(HUGE_PAGES("<page size='2048' nodeset='0'/>"
                          "<page size='1' unit='G' nodeset='1'/>") CELLS));
    g_autoptr(GPtrArray) blocks = find_some(domain, 2);
    const HookBlock *second = g_ptr_array_index(blocks, 1);

    g_assert_cmpstr(second->path, ==, "/dev/huge1G/libvirt/qemu/3-vm7");
}

/* QEMU would find the memory of one in the file of the other. */
static void test_huge_pages_that_would_be_one_memory_twice(void)
{
    assert_refused(DOMAIN(HUGE_PAGES("") CELLS), HOSTMEM_ERROR_UNSUPPORTED,
                   "several NUMA cells");
    assert_refused(DOMAIN(HUGE_PAGES("") "<maxMemory slots='1'>1</maxMemory>"),
                   HOSTMEM_ERROR_UNSUPPORTED, "plugged in");
}

static void test_file_beside_memory_that_is_plugged_in(void)
{
    assert_path(DOMAIN(SHARED_FILE "<maxMemory slots='1'>1</maxMemory>"),
                "/run/hostmem/libvirt/qemu/3-vm7/pc.ram");
}

static void test_memory_without_a_size(void)
{
    assert_refused("<domain><name>a</name><uuid>" UUID "</uuid>"
                   "<os><type arch='x86_64' machine='pc'/></os>" SHARED_FILE
                   "</domain>",
                   HOSTMEM_ERROR_INVALID, "size of pc.ram");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/libvirt-hook/blocks/file", test_one_file);
    g_test_add_func("/libvirt-hook/blocks/cells", test_file_of_each_cell);
    g_test_add_func("/libvirt-hook/blocks/only-cell",
                    test_only_cell_has_the_name_of_the_domain);
    g_test_add_func("/libvirt-hook/blocks/name",
                    test_name_is_cut_after_characters);
    g_test_add_func("/libvirt-hook/blocks/machine",
                    test_name_of_the_memory_depends_on_the_machine);
    g_test_add_func("/libvirt-hook/blocks/no-id",
                    test_without_an_id_there_is_no_path);
    g_test_add_func("/libvirt-hook/blocks/none",
                    test_memory_that_is_in_no_file);
    g_test_add_func("/libvirt-hook/blocks/access",
                    test_access_of_a_cell_counts);
    g_test_add_func("/libvirt-hook/blocks/huge", test_huge_pages_are_one_file);
    g_test_add_func("/libvirt-hook/blocks/huge-size",
                    test_size_of_huge_pages_chooses_the_place);
    g_test_add_func("/libvirt-hook/blocks/huge-base",
                    test_huge_pages_of_the_base_size_are_none);
    g_test_add_func("/libvirt-hook/blocks/huge-cells",
                    test_cells_with_huge_pages_of_different_sizes);
    g_test_add_func("/libvirt-hook/blocks/huge-twice",
                    test_huge_pages_that_would_be_one_memory_twice);
    g_test_add_func("/libvirt-hook/blocks/grows",
                    test_file_beside_memory_that_is_plugged_in);
    g_test_add_func("/libvirt-hook/blocks/no-size", test_memory_without_a_size);
    return g_test_run();
}
