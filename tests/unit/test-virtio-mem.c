/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/magic.h>
#include <string.h>
#include "object-test.h"
#include "os-fake.h"
#include "virtio-mem-test.h"

/* Requests and their answers, as QEMU's. */

static HostmemVirtioMem *make(guint64 requested)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");

    return hm_test_virtio_mem(memdev, "block-size", BLOCK, "requested-size",
                              requested, NULL);
}

static void set_requested(HostmemVirtioMem *device, guint64 size)
{
    g_autoptr(GError) error = NULL;

    hostmem_virtio_mem_set_requested_size(device, size, &error);
    g_assert_no_error(error);
}

static guint64 size_of(HostmemVirtioMem *device)
{
    return hostmem_virtio_mem_get_size(device) / BLOCK;
}

/* Plug */

static void test_plug(void)
{
    g_autoptr(HostmemVirtioMem) device = make(32 * BLOCK);

    hm_test_assert_answer(device, PLUG, 0, 1, ACK);
    hm_test_assert_answer(device, PLUG, 2, 30, ACK);
    g_assert_cmpuint(size_of(device), ==, 31);
    hm_test_assert_reads(device, "size", "65011712");
}

static void test_plug_of_plugged_blocks_is_an_error(void)
{
    g_autoptr(HostmemVirtioMem) device = make(32 * BLOCK);

    hm_test_assert_answer(device, PLUG, 5, 1, ACK);
    hm_test_assert_answer(device, PLUG, 5, 1, ERROR);
    hm_test_assert_answer(device, PLUG, 0, 10, ERROR);
    g_assert_cmpuint(size_of(device), ==, 1);
}

static void test_plug_beyond_requested_size_is_refused(void)
{
    g_autoptr(HostmemVirtioMem) device = make(32 * BLOCK);

    hm_test_assert_answer(device, PLUG, 0, 33, NACK);
    hm_test_assert_answer(device, PLUG, 0, 32, ACK);
    hm_test_assert_answer(device, PLUG, 32, 1, NACK);
    g_assert_cmpuint(size_of(device), ==, 32);
}

/* QEMU looks at the size first. */
static void test_too_much_is_told_before_plugged_already(void)
{
    g_autoptr(HostmemVirtioMem) device = make(2 * BLOCK);

    hm_test_assert_answer(device, PLUG, 0, 2, ACK);
    hm_test_assert_answer(device, PLUG, 0, 1, NACK);
}

static void test_plug_without_room_in_the_filesystem_is_busy(void)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-memfd");
    g_autoptr(HostmemVirtioMem) device = hm_test_virtio_mem(
        memdev, "block-size", BLOCK, "requested-size", REGION, NULL);
    const struct statfs full = {
        .f_type = TMPFS_MAGIC,
        .f_bsize = 4096,
        .f_blocks = 2048,
        .f_bavail = 1023,
    };

    hm_fake_set_statfs(&full);
    hm_test_assert_answer(device, PLUG, 0, 2, BUSY);
    hm_test_assert_reads(device, "last-reason",
                         "\"the filesystem has no room for 4 MiB: 3.99 MiB "
                         "are free\"");
    hm_test_assert_answer(device, PLUG, 0, 1, ACK);
}

/* Unplug */

static void test_unplug(void)
{
    g_autoptr(HostmemVirtioMem) device = make(32 * BLOCK);

    hm_test_assert_answer(device, PLUG, 0, 32, ACK);
    hm_test_assert_answer(device, UNPLUG, 4, 8, ACK);
    g_assert_cmpuint(size_of(device), ==, 24);
    hm_test_assert_answer(device, PLUG, 4, 8, ACK);
}

static void test_unplug_of_unplugged_blocks_is_an_error(void)
{
    g_autoptr(HostmemVirtioMem) device = make(32 * BLOCK);

    hm_test_assert_answer(device, PLUG, 0, 4, ACK);
    hm_test_assert_answer(device, UNPLUG, 3, 2, ERROR);
    hm_test_assert_answer(device, UNPLUG, 10, 1, ERROR);
    g_assert_cmpuint(size_of(device), ==, 4);
}

static void test_unplug_may_go_below_requested_size(void)
{
    g_autoptr(HostmemVirtioMem) device = make(4 * BLOCK);

    hm_test_assert_answer(device, PLUG, 0, 4, ACK);
    hm_test_assert_answer(device, UNPLUG, 0, 4, ACK);
    g_assert_cmpuint(size_of(device), ==, 0);
}

static void test_unplugged_memory_reads_as_zero(void)
{
    g_autoptr(HostmemVirtioMem) device = make(4 * BLOCK);
    HostmemBackend *memdev = hostmem_virtio_mem_get_memdev(device);
    guint8 *memory = hostmem_backend_get_host_addr(memdev);

    hm_test_assert_answer(device, PLUG, 0, 4, ACK);
    memset(memory, 0xaa, 4 * BLOCK);
    hm_test_assert_answer(device, UNPLUG, 1, 2, ACK);
    g_assert_cmpuint(hostmem_backend_get_populated_size(memdev), ==, 2 * BLOCK);
    g_assert_cmpuint(memory[BLOCK - 1], ==, 0xaa);
    g_assert_cmpuint(memory[BLOCK], ==, 0);
    g_assert_cmpuint(memory[3 * BLOCK - 1], ==, 0);
    g_assert_cmpuint(memory[3 * BLOCK], ==, 0xaa);
}

static void test_unplug_that_cannot_discard_is_busy(void)
{
    g_autoptr(HostmemVirtioMem) device = make(4 * BLOCK);

    hm_test_assert_answer(device, PLUG, 0, 4, ACK);
    hm_fake_fail_always(HM_FAKE_ADVISE, ENOMEM);
    hm_fake_fail_always(HM_FAKE_ADVISE_VECTOR, ENOMEM);
    hm_test_assert_answer(device, UNPLUG, 0, 1, BUSY);
    hm_test_assert_answer(device, UNPLUG_ALL, 0, 0, BUSY);
    g_assert_cmpuint(size_of(device), ==, 4);
}

/* Unplug all */

static void test_unplug_all(void)
{
    g_autoptr(HostmemVirtioMem) device = make(4 * BLOCK);

    hm_test_assert_answer(device, PLUG, 0, 2, ACK);
    hm_test_assert_answer(device, PLUG, 3, 1, ACK);
    hm_test_assert_answer(device, UNPLUG_ALL, -7, 12345, ACK);
    g_assert_cmpuint(size_of(device), ==, 0);
    hm_test_assert_answer(device, UNPLUG_ALL, 0, 0, ACK);
}

/* State */

static void test_state(void)
{
    g_autoptr(HostmemVirtioMem) device = make(4 * BLOCK);

    hm_test_assert_answer(device, PLUG, 1, 3, ACK);
    g_assert_cmpint(hm_test_state(device, 1, 3), ==,
                    HOSTMEM_VIRTIO_MEM_PLUGGED);
    g_assert_cmpint(hm_test_state(device, 4, 60), ==,
                    HOSTMEM_VIRTIO_MEM_UNPLUGGED);
    g_assert_cmpint(hm_test_state(device, 0, 2), ==, HOSTMEM_VIRTIO_MEM_MIXED);
    g_assert_cmpint(hm_test_state(device, 0, 64), ==, HOSTMEM_VIRTIO_MEM_MIXED);
}

/* Ranges */

static void assert_all_refuse(HostmemVirtioMem *device, guint64 addr, guint16 n)
{
    static const HostmemVirtioMemRequestType types[] = {
        HOSTMEM_VIRTIO_MEM_PLUG,
        HOSTMEM_VIRTIO_MEM_UNPLUG,
        HOSTMEM_VIRTIO_MEM_STATE,
    };

    for (guint i = 0; i < G_N_ELEMENTS(types); i++) {
        const HostmemVirtioMemRequest request = {types[i], addr, n};
        HostmemVirtioMemResponse response;
        GError *error = NULL;

        hostmem_virtio_mem_request(device, &request, &response, &error);
        g_assert_cmpint(response.answer, ==, HOSTMEM_VIRTIO_MEM_ERROR);
        hm_test_assert_error(error, HOSTMEM_ERROR_INVALID, "usable region");
    }
}

static void test_ranges_that_make_no_sense(void)
{
    g_autoptr(HostmemVirtioMem) device = make(4 * BLOCK);

    assert_all_refuse(device, BASE, 0);
    assert_all_refuse(device, BASE + 1, 1);
    assert_all_refuse(device, BASE + BLOCK / 2, 1);
    assert_all_refuse(device, BASE - BLOCK, 1);
    assert_all_refuse(device, BASE - BLOCK, 2);
    assert_all_refuse(device, BASE + REGION, 1);
    assert_all_refuse(device, BASE + REGION - BLOCK, 2);
    assert_all_refuse(device, BASE, G_MAXUINT16);
    assert_all_refuse(device, 0, 1);
    assert_all_refuse(device, -BLOCK, 1);
    assert_all_refuse(device, -BLOCK, G_MAXUINT16);
    g_assert_cmpuint(size_of(device), ==, 0);
}

/* The usable region: 128 MiB of memory would be usable at once. */

static HostmemVirtioMem *make_1_gib(guint64 requested)
{
    g_autoptr(HostmemBackend) memdev =
        hm_test_make("memory-backend-ram,id=m0,size=1G");

    return hm_test_virtio_mem(memdev, "block-size", BLOCK, "requested-size",
                              requested, NULL);
}

static void assert_usable(HostmemVirtioMem *device, guint64 mib)
{
    g_assert_cmpuint(hostmem_virtio_mem_get_usable_region_size(device), ==,
                     mib * HM_MIB);
}

#ifdef __aarch64__
#define EXTENT 1024
#else
#define EXTENT 256
#endif

static void test_usable_region_grows_with_requested_size(void)
{
    g_autoptr(HostmemVirtioMem) device = make_1_gib(64 * HM_MIB);

    assert_usable(device, MIN(64 + EXTENT, 1024));
    set_requested(device, 512 * HM_MIB);
    assert_usable(device, MIN(512 + EXTENT, 1024));
    set_requested(device, HM_GIB);
    assert_usable(device, 1024);
}

static void test_usable_region_shrinks_with_unplug_all_only(void)
{
    g_autoptr(HostmemVirtioMem) device = make_1_gib(512 * HM_MIB);

    set_requested(device, 16 * HM_MIB);
    assert_usable(device, MIN(512 + EXTENT, 1024));
    hm_test_assert_answer(device, UNPLUG_ALL, 0, 0, ACK);
    assert_usable(device, MIN(16 + EXTENT, 1024));
    set_requested(device, 0);
    assert_usable(device, MIN(16 + EXTENT, 1024));
    hm_test_assert_answer(device, UNPLUG_ALL, 0, 0, ACK);
    assert_usable(device, 0);
    hm_test_assert_answer(device, PLUG, 0, 1, ERROR);
}

static void test_busy_unplug_all_shrinks_nothing(void)
{
    g_autoptr(HostmemVirtioMem) device = make_1_gib(512 * HM_MIB);

    hm_test_assert_answer(device, PLUG, 0, 1, ACK);
    set_requested(device, 0);
    hostmem_virtio_mem_set_busy(device, TRUE);
    hm_test_assert_answer(device, UNPLUG_ALL, 0, 0, BUSY);
    assert_usable(device, MIN(512 + EXTENT, 1024));
}

/* Busy, reset */

static void test_busy_device(void)
{
    g_autoptr(HostmemVirtioMem) device = make(4 * BLOCK);

    hm_test_assert_answer(device, PLUG, 0, 1, ACK);
    hostmem_virtio_mem_set_busy(device, TRUE);
    hm_test_assert_answer(device, PLUG, 1, 1, BUSY);
    hm_test_assert_answer(device, UNPLUG, 0, 1, BUSY);
    hm_test_assert_answer(device, PLUG, 0, 1, ERROR);
    hm_test_assert_answer(device, STATE, 0, 1, ACK);
    hostmem_virtio_mem_set_busy(device, FALSE);
    hm_test_assert_answer(device, PLUG, 1, 1, ACK);
}

static void test_reset_unplugs_all(void)
{
    g_autoptr(HostmemVirtioMem) device = make_1_gib(512 * HM_MIB);
    HostmemBackend *memdev = hostmem_virtio_mem_get_memdev(device);

    hm_test_assert_answer(device, PLUG, 0, 4, ACK);
    memset(hostmem_backend_get_host_addr(memdev), 1, 4 * BLOCK);
    set_requested(device, 64 * HM_MIB);
    hostmem_virtio_mem_reset(device);
    g_assert_cmpuint(size_of(device), ==, 0);
    g_assert_cmpuint(hostmem_backend_get_populated_size(memdev), ==, 0);
    assert_usable(device, MIN(64 + EXTENT, 1024));
    hm_test_assert_answer(device, PLUG, 0, 1, ACK);
}

static void test_reset_of_a_busy_device_leaves_it_plugged(void)
{
    g_autoptr(HostmemVirtioMem) device = make(4 * BLOCK);

    hm_test_assert_answer(device, PLUG, 0, 4, ACK);
    hostmem_virtio_mem_set_busy(device, TRUE);
    g_test_expect_message("hostmem", G_LOG_LEVEL_MESSAGE, "*over a reset*");
    hostmem_virtio_mem_reset(device);
    g_test_assert_expected_messages();
    g_assert_cmpuint(size_of(device), ==, 4);
}

static const HmTest tests[] = {
    {"/virtio-mem/plug", test_plug},
    {"/virtio-mem/plug-of-plugged-blocks-is-an-error",
     test_plug_of_plugged_blocks_is_an_error},
    {"/virtio-mem/plug-beyond-requested-size-is-refused",
     test_plug_beyond_requested_size_is_refused},
    {"/virtio-mem/too-much-is-told-before-plugged-already",
     test_too_much_is_told_before_plugged_already},
    {"/virtio-mem/plug-without-room-in-the-filesystem-is-busy",
     test_plug_without_room_in_the_filesystem_is_busy},
    {"/virtio-mem/unplug", test_unplug},
    {"/virtio-mem/unplug-of-unplugged-blocks-is-an-error",
     test_unplug_of_unplugged_blocks_is_an_error},
    {"/virtio-mem/unplug-may-go-below-requested-size",
     test_unplug_may_go_below_requested_size},
    {"/virtio-mem/unplugged-memory-reads-as-zero",
     test_unplugged_memory_reads_as_zero},
    {"/virtio-mem/unplug-that-cannot-discard-is-busy",
     test_unplug_that_cannot_discard_is_busy},
    {"/virtio-mem/unplug-all", test_unplug_all},
    {"/virtio-mem/state", test_state},
    {"/virtio-mem/ranges-that-make-no-sense", test_ranges_that_make_no_sense},
    {"/virtio-mem/usable-region-grows-with-requested-size",
     test_usable_region_grows_with_requested_size},
    {"/virtio-mem/usable-region-shrinks-with-unplug-all-only",
     test_usable_region_shrinks_with_unplug_all_only},
    {"/virtio-mem/busy-unplug-all-shrinks-nothing",
     test_busy_unplug_all_shrinks_nothing},
    {"/virtio-mem/busy-device", test_busy_device},
    {"/virtio-mem/reset-unplugs-all", test_reset_unplugs_all},
    {"/virtio-mem/reset-of-a-busy-device-leaves-it-plugged",
     test_reset_of_a_busy_device_leaves_it_plugged},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
