/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include "backends/virtio/virtio-mem.h"
#include "object-test.h"
#include "os-fake.h"
#include "util/linux-compat.h"
#include "virtio-mem-test.h"

/* What is made ready before the guest asks for it. */

static HostmemVirtioMem *make(HostmemBackend *memdev, guint64 requested,
                              guint64 ahead)
{
    return hm_test_virtio_mem(memdev, "block-size", BLOCK, "requested-size",
                              requested, "prealloc", TRUE, "prealloc-ahead",
                              ahead, NULL);
}

static gboolean is_idle(HostmemVirtioMem *device)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&device->state_lock);

    return !device->ahead_runs;
}

static void wait_until_idle(HostmemVirtioMem *device)
{
    while (!is_idle(device)) {
        g_usleep(100);
    }
}

/* So many blocks are ready, and that is all of the memory that is there. */
static void assert_ahead(HostmemVirtioMem *device, guint64 blocks)
{
    HostmemBackend *memdev = hostmem_virtio_mem_get_memdev(device);

    wait_until_idle(device);
    g_assert_cmpuint(hm_test_read_number(device, "ahead-size"), ==,
                     blocks * BLOCK);
    g_assert_cmpuint(hostmem_backend_get_populated_size(memdev), ==,
                     hostmem_virtio_mem_get_size(device) + blocks * BLOCK);
}

static void test_off_by_default(void)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");
    g_autoptr(HostmemVirtioMem) device = make(memdev, REGION, 0);

    assert_ahead(device, 0);
    hm_test_assert_answer(device, PLUG, 0, 1, ACK);
    assert_ahead(device, 0);
}

static void test_the_next_blocks_are_ready(void)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");
    g_autoptr(HostmemVirtioMem) device = make(memdev, REGION, 12 * BLOCK);
    HostmemDiscardSource *source = HOSTMEM_DISCARD_SOURCE(device);

    assert_ahead(device, 12);
    g_assert_true(hm_block_map_all_plugged(device->ahead, 0, 12));
    g_assert_cmpuint(hostmem_virtio_mem_get_size(device), ==, 0);
    g_assert_false(hostmem_discard_source_is_populated(source, 0, BLOCK));
    g_assert_cmpint(hm_test_state(device, 0, 12), ==,
                    HOSTMEM_VIRTIO_MEM_UNPLUGGED);
}

static void test_plugged_blocks_make_room_for_others(void)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");
    g_autoptr(HostmemVirtioMem) device = make(memdev, REGION, 12 * BLOCK);

    wait_until_idle(device);
    hm_test_assert_answer(device, PLUG, 0, 8, ACK);
    assert_ahead(device, 12);
    g_assert_true(hm_block_map_all_plugged(device->ahead, 8, 12));
}

static void test_what_is_ready_is_not_populated_again(void)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");
    g_autoptr(HostmemVirtioMem) device = make(memdev, 8 * BLOCK, 8 * BLOCK);
    guint8 *memory = hostmem_backend_get_host_addr(memdev);

    wait_until_idle(device);
    memory[0] = 42; /* by nobody, but shows that the page stays */
    hm_test_assert_answer(device, PLUG, 0, 8, ACK);
    g_assert_cmpuint(memory[0], ==, 42);
    assert_ahead(device, 0);
}

static void test_never_beyond_requested_size(void)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");
    g_autoptr(HostmemVirtioMem) device = make(memdev, 5 * BLOCK, REGION);

    assert_ahead(device, 5);
    hm_test_assert_answer(device, PLUG, 30, 3, ACK);
    assert_ahead(device, 2);
    hm_test_assert_answer(device, PLUG, 40, 2, ACK);
    assert_ahead(device, 0);
    hm_test_assert_answer(device, UNPLUG, 30, 1, ACK);
    assert_ahead(device, 1);
}

static void test_a_smaller_requested_size_gives_back(void)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");
    g_autoptr(HostmemVirtioMem) device = make(memdev, 40 * BLOCK, REGION);

    assert_ahead(device, 40);
    hm_test_assert_set(device, "requested-size", "20M");
    assert_ahead(device, 10);
    g_assert_true(hm_block_map_all_plugged(device->ahead, 0, 10));
    hm_test_assert_set(device, "requested-size", "0");
    assert_ahead(device, 0);
    hm_test_assert_set(device, "requested-size", "8M");
    assert_ahead(device, 4);
}

static void test_reset_gives_back(void)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");
    g_autoptr(HostmemVirtioMem) device = make(memdev, 40 * BLOCK, 8 * BLOCK);

    wait_until_idle(device);
    hostmem_virtio_mem_reset(device);
    assert_ahead(device, 0);
    hm_test_assert_answer(device, PLUG, 0, 1, ACK);
    assert_ahead(device, 8);
    hm_test_assert_answer(device, UNPLUG_ALL, 0, 0, ACK);
    assert_ahead(device, 0);
}

static void test_end_of_the_device_gives_back(void)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");
    HostmemVirtioMem *device = make(memdev, REGION, REGION);

    g_object_unref(device); /* while it is at work, or not */
    g_assert_cmpuint(hostmem_backend_get_populated_size(memdev), ==, 0);
    device = make(memdev, REGION, REGION);
    wait_until_idle(device);
    g_object_unref(device);
    g_assert_cmpuint(hostmem_backend_get_populated_size(memdev), ==, 0);
}

static void test_a_busy_device_is_left_alone(void)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");
    g_autoptr(HostmemVirtioMem) device = make(memdev, 0, 8 * BLOCK);

    hostmem_virtio_mem_set_busy(device, TRUE);
    hm_test_assert_set(device, "requested-size", "16M");
    assert_ahead(device, 0);
    hostmem_virtio_mem_set_busy(device, FALSE);
    assert_ahead(device, 8);
}

static void test_nothing_to_make_ready_without_prealloc(void)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");
    g_autoptr(HostmemVirtioMem) device =
        hm_test_virtio_mem(memdev, "block-size", BLOCK, "requested-size",
                           8 * BLOCK, "prealloc-ahead", REGION, NULL);

    wait_until_idle(device);
    g_assert_cmpuint(hostmem_backend_get_populated_size(memdev), ==, 0);
}

/* A host on which one thing at a time can be had. */

typedef struct {
    HostmemBackend *memdev;
    guint64 room; /* bytes */
} Host;

/* A HmFakeHook. */
static gint64 find_room(const HmFakeRecord *record, gpointer data)
{
    Host *host = data;
    gboolean fits =
        hostmem_backend_get_populated_size(host->memdev) + record->length <=
        host->room;

    return record->arg != MADV_POPULATE_WRITE || fits ? 0 : -ENOMEM;
}

static void test_a_request_goes_before_what_is_ready(void)
{
    g_autoptr(HostmemBackend) memdev =
        hm_test_memdev("memory-backend-ram,prealloc-threads=1");
    g_autoptr(HostmemVirtioMem) device = make(memdev, 0, 8 * BLOCK);
    Host host = {memdev, 8 * BLOCK};

    hm_fake_hook(HM_FAKE_ADVISE, find_room, &host);
    hm_test_assert_set(device, "requested-size", "128M");
    assert_ahead(device, 8);
    hm_test_assert_answer(device, PLUG, 32, 8, ACK);
    assert_ahead(device, 0);
    hm_fake_hook(HM_FAKE_ADVISE, NULL, NULL);
}

static void test_what_fails_is_not_tried_for_ever(void)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");
    g_autoptr(HostmemVirtioMem) device = make(memdev, 0, 8 * BLOCK);

    hm_fake_fail_always(HM_FAKE_ADVISE, ENOMEM);
    hm_test_assert_set(device, "requested-size", "128M");
    assert_ahead(device, 0);
    hm_fake_fail_always(HM_FAKE_ADVISE, 0);
    hm_test_assert_set(device, "requested-size", "128M");
    assert_ahead(device, 8);
}

static const HmTest tests[] = {
    {"/virtio-mem-ahead/off-by-default", test_off_by_default},
    {"/virtio-mem-ahead/the-next-blocks-are-ready",
     test_the_next_blocks_are_ready},
    {"/virtio-mem-ahead/plugged-blocks-make-room-for-others",
     test_plugged_blocks_make_room_for_others},
    {"/virtio-mem-ahead/what-is-ready-is-not-populated-again",
     test_what_is_ready_is_not_populated_again},
    {"/virtio-mem-ahead/never-beyond-requested-size",
     test_never_beyond_requested_size},
    {"/virtio-mem-ahead/a-smaller-requested-size-gives-back",
     test_a_smaller_requested_size_gives_back},
    {"/virtio-mem-ahead/reset-gives-back", test_reset_gives_back},
    {"/virtio-mem-ahead/end-of-the-device-gives-back",
     test_end_of_the_device_gives_back},
    {"/virtio-mem-ahead/a-busy-device-is-left-alone",
     test_a_busy_device_is_left_alone},
    {"/virtio-mem-ahead/nothing-to-make-ready-without-prealloc",
     test_nothing_to_make_ready_without_prealloc},
    {"/virtio-mem-ahead/a-request-goes-before-what-is-ready",
     test_a_request_goes_before_what_is_ready},
    {"/virtio-mem-ahead/what-fails-is-not-tried-for-ever",
     test_what_fails_is_not_tried_for_ever},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
