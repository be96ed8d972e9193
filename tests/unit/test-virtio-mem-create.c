/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include "backends/hostmem.h"
#include "object-test.h"
#include "os-fake.h"
#include "virtio-mem-test.h"

/* What makes a device, and what does not, in QEMU's words. */

/* memdev */

static void test_memdev_must_be_set(void)
{
    hm_test_assert_no_virtio_mem(HOSTMEM_ERROR_INVALID,
                                 "'memdev' property must be set", NULL);
}

static void test_memdev_is_held_while_the_device_lives(void)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");
    HostmemVirtioMem *device = hm_test_virtio_mem(memdev, NULL);

    g_assert_true(hostmem_object_is_held(HOSTMEM_OBJECT(memdev)));
    hm_test_assert_no_virtio_mem(HOSTMEM_ERROR_BUSY,
                                 "'memdev' property specifies a busy memdev: "
                                 "mem0",
                                 "memdev", memdev, NULL);
    g_assert_true(hostmem_object_is_held(HOSTMEM_OBJECT(memdev)));
    g_object_unref(device);
    g_assert_false(hostmem_object_is_held(HOSTMEM_OBJECT(memdev)));
}

static void test_memdev_is_released_after_a_failure(void)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");

    hm_test_assert_no_virtio_mem(HOSTMEM_ERROR_INVALID, "power of two",
                                 "memdev", memdev, "block-size", 3 * HM_MIB,
                                 NULL);
    g_assert_false(hostmem_object_is_held(HOSTMEM_OBJECT(memdev)));
}

static void test_memdev_held_by_somebody_else(void)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");

    hostmem_object_hold(HOSTMEM_OBJECT(memdev));
    hm_test_assert_no_virtio_mem(HOSTMEM_ERROR_BUSY, "busy memdev: mem0",
                                 "memdev", memdev, NULL);
    hostmem_object_release(HOSTMEM_OBJECT(memdev));
}

static void test_memdev_with_prealloc(void)
{
    g_autoptr(HostmemBackend) memdev =
        hm_test_memdev("memory-backend-ram,prealloc=on");

    hm_test_assert_no_virtio_mem(
        HOSTMEM_ERROR_INVALID,
        "'memdev' property specifies a memdev with preallocation enabled: "
        "mem0. Instead, specify 'prealloc=on' for the virtio-mem device. ",
        "memdev", memdev, NULL);
    g_assert_cmpuint(hostmem_backend_get_populated_size(memdev), ==, REGION);
}

static void test_read_only_memdev(void)
{
    g_autofree char *path = g_build_filename(hm_test_folder(), "ram", NULL);
    g_autofree char *options = g_strdup_printf(
        "memory-backend-file,mem-path=%s,readonly=on,share=on", path);
    g_autofree char *content = g_malloc0(REGION);
    g_autoptr(HostmemBackend) memdev = NULL;

    g_assert_true(g_file_set_contents(path, content, REGION, NULL));
    memdev = hm_test_memdev(options);
    hm_test_assert_no_virtio_mem(HOSTMEM_ERROR_INVALID,
                                 "'memdev' property specifies an unsupported "
                                 "memdev",
                                 "memdev", memdev, NULL);
}

static void test_memdev_that_cannot_discard(void)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");

    hm_fake_fail_always(HM_FAKE_ADVISE, EINVAL);
    hm_test_assert_no_virtio_mem(HOSTMEM_ERROR_UNSUPPORTED,
                                 "its memory cannot be given back", "memdev",
                                 memdev, NULL);
    hm_fake_reset();
    g_assert_false(hostmem_object_is_held(HOSTMEM_OBJECT(memdev)));
}

static void test_memdev_that_is_locked_as_a_whole(void)
{
    GError *error = NULL;
    HostmemBackend *memdev = hm_test_try_make(
        "memory-backend-ram,id=mem0,size=64K,mem-lock=on", NULL, &error);

    if (!memdev) {
        g_test_skip(error->message);
        g_error_free(error);
        return;
    }
    hm_test_assert_no_virtio_mem(
        HOSTMEM_ERROR_INVALID,
        "'memdev' property specifies a memdev with 'mem-lock=on': mem0. "
        "Instead, specify 'mem-lock=on-fault' for it, and 'prealloc=on' for "
        "the virtio-mem device",
        "memdev", memdev, NULL);
    g_object_unref(memdev);
}

static void test_locked_memory_on_an_old_kernel(void)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");

    /* As if "mem-lock" had locked it: a region is more than may be locked. */
    memdev->locked = TRUE;
    hm_fake_fail_advice(MADV_DONTNEED, 1, EINVAL);
    hm_fake_without_advice(MADV_DONTNEED_LOCKED);
    hm_test_assert_no_virtio_mem(HOSTMEM_ERROR_UNSUPPORTED,
                                 "its memory cannot be given back", "memdev",
                                 memdev, NULL);
}

static void test_locked_memory_is_fine_where_it_can_be_discarded(void)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");
    g_autoptr(HostmemVirtioMem) device = NULL;
    guint8 *addr = hostmem_backend_get_host_addr(memdev);

    if (mlock2(addr, BLOCK, MLOCK_ONFAULT)) {
        g_test_skip("cannot lock memory");
        return;
    }
    memset(addr, 1, BLOCK);
    device = hm_test_virtio_mem(memdev, NULL);
    g_assert_cmpuint(addr[0], ==, 0);
}

static void test_device_empties_its_memdev(void)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-memfd");
    g_autoptr(HostmemVirtioMem) device = NULL;
    guint8 *addr = hostmem_backend_get_host_addr(memdev);

    memset(addr, 1, 4 * BLOCK);
    device = hm_test_virtio_mem(memdev, NULL);
    g_assert_cmpuint(hostmem_backend_get_backed_size(memdev), ==, 0);
    g_assert_cmpuint(addr[0], ==, 0);
}

/* block-size */

static guint64 default_block_size(const char *thp_size)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");
    g_autoptr(HostmemVirtioMem) device = hm_test_virtio_mem(memdev, NULL);

    g_assert_nonnull(thp_size);
    return hostmem_virtio_mem_get_block_size(device);
}

static void test_default_block_size_is_a_huge_page(void)
{
    g_autofree char *text = NULL;

    if (!g_file_get_contents(
            "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", &text, NULL,
            NULL)) {
        g_test_skip("no transparent huge pages");
        return;
    }
    g_assert_cmpuint(default_block_size(text), ==,
                     MAX(g_ascii_strtoull(text, NULL, 10), HM_MIB));
}

static void test_default_block_size_of_huge_pages(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HostmemBackend) memdev = hm_test_try_make(
        "memory-backend-memfd,id=m0,size=2G,hugetlb=on,hugetlbsize=1G,"
        "reserve=off",
        NULL, &error);
    g_autoptr(HostmemVirtioMem) device = NULL;

    if (!memdev) {
        g_test_skip(error->message);
        return;
    }
    device = hm_test_virtio_mem(memdev, NULL);
    g_assert_cmpuint(hostmem_virtio_mem_get_block_size(device), ==, HM_GIB);
    g_clear_object(&device);
    hm_test_assert_no_virtio_mem(HOSTMEM_ERROR_INVALID,
                                 "'block-size' property has to be at least the "
                                 "page size (0x40000000)",
                                 "memdev", memdev, "block-size", 2 * HM_MIB,
                                 NULL);
}

static void assert_bad_block_size(guint64 value, const char *part)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");

    hm_test_assert_no_virtio_mem(HOSTMEM_ERROR_INVALID, part, "memdev", memdev,
                                 "block-size", value, NULL);
}

static void test_block_size(void)
{
    assert_bad_block_size(HM_MIB / 2,
                          "'block-size' property has to be at least 0x100000");
    assert_bad_block_size(3 * HM_MIB,
                          "'block-size' property has to be a power of two");
}

static void test_small_blocks_are_worth_a_line(void)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");
    g_autoptr(HostmemVirtioMem) device = NULL;

    if (default_block_size("") == HM_MIB) {
        g_test_skip("no transparent huge pages");
        return;
    }
    g_test_expect_message("hostmem", G_LOG_LEVEL_MESSAGE,
                          "*smaller than the default block size*");
    device = hm_test_virtio_mem(memdev, "block-size", HM_MIB, NULL);
    g_test_assert_expected_messages();
    g_assert_cmpuint(hostmem_virtio_mem_get_block_size(device), ==, HM_MIB);
}

/* Other sizes */

static void assert_refused(const char *property, guint64 value,
                           const char *part)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");

    hm_test_assert_no_virtio_mem(HOSTMEM_ERROR_INVALID, part, "memdev", memdev,
                                 "block-size", BLOCK, property, value, NULL);
}

static void test_requested_size(void)
{
    assert_refused("requested-size", BLOCK + 1,
                   "'requested-size' property has to be multiples of "
                   "'block-size' (0x200000)");
    assert_refused("requested-size", REGION + BLOCK,
                   "'requested-size' cannot exceed the memory backend "
                   "size(0x8000000)");
    assert_refused("requested-size", G_MAXINT64 & ~(BLOCK - 1),
                   "cannot exceed");
}

static void test_memory_must_be_whole_blocks(void)
{
    g_autoptr(HostmemBackend) memdev =
        hm_test_make("memory-backend-ram,id=m0,size=3M");

    hm_test_assert_no_virtio_mem(HOSTMEM_ERROR_INVALID,
                                 "'memdev' property memdev size has to be "
                                 "multiples of 'block-size' (0x200000)",
                                 "memdev", memdev, "block-size", BLOCK, NULL);
}

static void test_address(void)
{
    assert_refused("memaddr", 5 * HM_GIB + HM_MIB,
                   "address must be aligned to 0x200000 bytes");
    assert_refused("memaddr", -BLOCK, "can't add memory device");
}

static void test_live_requested_size(void)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");
    g_autoptr(HostmemVirtioMem) device =
        hm_test_virtio_mem(memdev, "block-size", BLOCK, NULL);

    hm_test_assert_set_fails(device, "requested-size", "1M",
                             HOSTMEM_ERROR_INVALID,
                             "'requested-size' has to be multiples of "
                             "'block-size' (0x200000)");
    hm_test_assert_set_fails(device, "requested-size", "130M",
                             HOSTMEM_ERROR_INVALID,
                             "'requested-size' cannot exceed the memory "
                             "backend size(0x8000000)");
    hm_test_assert_set(device, "requested-size", "128M");
    hm_test_assert_reads(device, "requested-size", "134217728");
}

static void test_what_cannot_change(void)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");
    g_autoptr(HostmemVirtioMem) device =
        hm_test_virtio_mem(memdev, "id", "v0", "block-size", BLOCK, NULL);

    hm_test_assert_set_fails(device, "block-size", "4M",
                             HOSTMEM_ERROR_PERMISSION,
                             "'block-size' cannot be changed");
    hm_test_assert_set_fails(device, "size", "4M", HOSTMEM_ERROR_PERMISSION,
                             "Property 'virtio-mem.size' is not writable");
    hm_test_assert_set_fails(device, "prealloc", "on", HOSTMEM_ERROR_PERMISSION,
                             "Attempt to set property 'prealloc' on device "
                             "'v0' (type 'virtio-mem') after it was realized");
}

/* The rest */

static void test_defaults(void)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");
    g_autoptr(HostmemVirtioMem) device = hm_test_virtio_mem(memdev, NULL);

    hm_test_assert_reads(device, "requested-size", "0");
    hm_test_assert_reads(device, "size", "0");
    hm_test_assert_reads(device, "node", "0");
    hm_test_assert_reads(device, "prealloc", "false");
    hm_test_assert_reads(device, "unplugged-inaccessible", "\"on\"");
    hm_test_assert_reads(device, "dynamic-memslots", "false");
    hm_test_assert_reads(device, "memdev", "\"/objects/mem0\"");
    hm_test_assert_reads(device, "memaddr", "4294967296");
    hm_test_assert_reads(device, "resize-state", "\"reached\"");
}

static void test_slots_need_inaccessible(void)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");

    hm_test_assert_no_virtio_mem(
        HOSTMEM_ERROR_INVALID,
        "'dynamic-memslots' property set to 'on' requires "
        "'unplugged-inaccessible' to be 'on'",
        "memdev", memdev, "dynamic-memslots", TRUE, "unplugged-inaccessible",
        HOSTMEM_AUTO, NULL);
}

static void test_accessible_memory_that_costs_is_worth_a_line(void)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-memfd");
    g_autoptr(HostmemVirtioMem) device = NULL;

    g_test_expect_message("hostmem", G_LOG_LEVEL_MESSAGE,
                          "*'unplugged-inaccessible' property is 'off'*");
    device =
        hm_test_virtio_mem(memdev, "unplugged-inaccessible", HOSTMEM_OFF, NULL);
    g_test_assert_expected_messages();
}

static void test_cancelled_creation(void)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autoptr(GError) error = NULL;

    g_cancellable_cancel(cancellable);
    g_assert_null(g_initable_new(HOSTMEM_TYPE_VIRTIO_MEM, cancellable, &error,
                                 "memdev", memdev, NULL));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_assert_false(hostmem_object_is_held(HOSTMEM_OBJECT(memdev)));
}

/* As in QEMU: sparse memory is made of large regions. */
static void test_a_large_region_takes_no_memory(void)
{
    g_autoptr(HostmemBackend) memdev = hm_test_try_make(
        "memory-backend-ram,id=m0,size=1T,reserve=off", NULL, NULL);
    g_autoptr(HostmemVirtioMem) device = NULL;

    if (!memdev) {
        g_test_skip("no TiB of address space, as under valgrind");
        return;
    }
    device = hm_test_virtio_mem(memdev, "block-size", BLOCK, "requested-size",
                                HM_GIB * 1024, NULL);
    hm_test_assert_answer(device, PLUG, 524287, 1, ACK);
    g_assert_cmpuint(hostmem_virtio_mem_get_size(device), ==, BLOCK);
    g_assert_cmpint(hm_test_state(device, 524286, 2), ==,
                    HOSTMEM_VIRTIO_MEM_MIXED);
}

static const HmTest tests[] = {
    {"/virtio-mem-create/memdev-must-be-set", test_memdev_must_be_set},
    {"/virtio-mem-create/memdev-is-held-while-the-device-lives",
     test_memdev_is_held_while_the_device_lives},
    {"/virtio-mem-create/memdev-is-released-after-a-failure",
     test_memdev_is_released_after_a_failure},
    {"/virtio-mem-create/memdev-held-by-somebody-else",
     test_memdev_held_by_somebody_else},
    {"/virtio-mem-create/memdev-with-prealloc", test_memdev_with_prealloc},
    {"/virtio-mem-create/read-only-memdev", test_read_only_memdev},
    {"/virtio-mem-create/memdev-that-cannot-discard",
     test_memdev_that_cannot_discard},
    {"/virtio-mem-create/memdev-that-is-locked-as-a-whole",
     test_memdev_that_is_locked_as_a_whole},
    {"/virtio-mem-create/locked-memory-on-an-old-kernel",
     test_locked_memory_on_an_old_kernel},
    {"/virtio-mem-create/locked-memory-is-fine-where-it-can-be-discarded",
     test_locked_memory_is_fine_where_it_can_be_discarded},
    {"/virtio-mem-create/device-empties-its-memdev",
     test_device_empties_its_memdev},
    {"/virtio-mem-create/default-block-size-is-a-huge-page",
     test_default_block_size_is_a_huge_page},
    {"/virtio-mem-create/default-block-size-of-huge-pages",
     test_default_block_size_of_huge_pages},
    {"/virtio-mem-create/block-size", test_block_size},
    {"/virtio-mem-create/small-blocks-are-worth-a-line",
     test_small_blocks_are_worth_a_line},
    {"/virtio-mem-create/requested-size", test_requested_size},
    {"/virtio-mem-create/memory-must-be-whole-blocks",
     test_memory_must_be_whole_blocks},
    {"/virtio-mem-create/address", test_address},
    {"/virtio-mem-create/live-requested-size", test_live_requested_size},
    {"/virtio-mem-create/what-cannot-change", test_what_cannot_change},
    {"/virtio-mem-create/defaults", test_defaults},
    {"/virtio-mem-create/slots-need-inaccessible",
     test_slots_need_inaccessible},
    {"/virtio-mem-create/accessible-memory-that-costs-is-worth-a-line",
     test_accessible_memory_that_costs_is_worth_a_line},
    {"/virtio-mem-create/cancelled-creation", test_cancelled_creation},
    {"/virtio-mem-create/a-large-region-takes-no-memory",
     test_a_large_region_takes_no_memory},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
