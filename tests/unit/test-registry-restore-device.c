/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <hostmem/backend.h>
#include <hostmem/virtio-mem.h>
#include "keeper-test.h"
#include "object-test.h"
#include "util/size.h"

#define BLOCK  (2 * HM_MIB)
#define DEVICE "virtio-mem,memdev=m0,block-size=2M,requested-size=8M"
#define PATH   "/machine/peripheral-anon/device[0]"

static void add_region(HmTestKeeper *keeper, const char *device)
{
    hm_test_keeper_add(keeper, "memory-backend-memfd,id=m0,size=64M,thp=off");
    hm_test_keeper_add_device(keeper, device);
}

static void plug(HostmemVirtioMem *device, guint block, guint16 n)
{
    const HostmemVirtioMemRequest request = {
        .type = HOSTMEM_VIRTIO_MEM_PLUG,
        .addr = hostmem_virtio_mem_get_address(device) + block * BLOCK,
        .nb_blocks = n,
    };
    HostmemVirtioMemResponse response;

    hostmem_virtio_mem_request(device, &request, &response, NULL);
    g_assert_cmpint(response.answer, ==, HOSTMEM_VIRTIO_MEM_ACK);
}

static HostmemVirtioMemState state_of(HostmemVirtioMem *device, guint block,
                                      guint16 n)
{
    const HostmemVirtioMemRequest request = {
        .type = HOSTMEM_VIRTIO_MEM_STATE,
        .addr = hostmem_virtio_mem_get_address(device) + block * BLOCK,
        .nb_blocks = n,
    };
    HostmemVirtioMemResponse response;

    hostmem_virtio_mem_request(device, &request, &response, NULL);
    g_assert_cmpint(response.answer, ==, HOSTMEM_VIRTIO_MEM_ACK);
    return response.state;
}

static gpointer find_device(HmTestKeeper *keeper, const char *path)
{
    return hostmem_registry_lookup_device(keeper->registry, path, NULL);
}

/* Blocks 0, 1 and 3 are plugged; somebody has touched block 7 as well. */
static void test_device(void)
{
    HostmemVirtioMem *device;
    HmTestKeeper keeper;
    guint8 *memory;

    hm_test_keeper_init(&keeper);
    add_region(&keeper, DEVICE);
    device = find_device(&keeper, PATH);
    plug(device, 0, 2);
    plug(device, 3, 1);
    memory = hostmem_backend_get_host_addr(hm_test_keeper_find(&keeper, "m0"));
    memset(memory, 1, 8 * BLOCK);
    hm_test_assert_set(device, "resize-timeout", "7");
    hm_test_keeper_restart(&keeper);
    device = find_device(&keeper, PATH);
    memory = hostmem_backend_get_host_addr(hm_test_keeper_find(&keeper, "m0"));
    g_assert_nonnull(device);
    g_assert_cmpuint(hostmem_virtio_mem_get_size(device), ==, 3 * BLOCK);
    g_assert_cmpuint(hostmem_virtio_mem_get_address(device), ==, 4 * HM_GIB);
    hm_test_assert_reads(device, "requested-size", "8388608");
    hm_test_assert_reads(device, "resize-timeout", "7");
    g_assert_cmpint(state_of(device, 0, 2), ==, HOSTMEM_VIRTIO_MEM_PLUGGED);
    g_assert_cmpint(state_of(device, 2, 1), ==, HOSTMEM_VIRTIO_MEM_UNPLUGGED);
    g_assert_cmpint(state_of(device, 3, 1), ==, HOSTMEM_VIRTIO_MEM_PLUGGED);
    for (guint block = 0; block < 8; block++) {
        gboolean plugged = block < 2 || block == 3;

        g_assert_cmpuint(memory[block * BLOCK], ==, plugged);
        g_assert_cmpuint(memory[(block + 1) * BLOCK - 1], ==, plugged);
    }
    plug(device, 2, 1);
    hm_test_keeper_clear(&keeper);
}

static void test_device_holds_its_memdev(void)
{
    HmTestKeeper keeper;

    hm_test_keeper_init(&keeper);
    add_region(&keeper, DEVICE ",id=vm0,memaddr=8G");
    hm_test_keeper_restart(&keeper);
    g_assert_cmpuint(
        hostmem_virtio_mem_get_address(find_device(&keeper, "vm0")), ==,
        8 * HM_GIB);
    g_assert_false(hostmem_registry_remove(keeper.registry, "m0", NULL));
    hm_test_keeper_clear(&keeper);
}

static void test_device_goes_with_its_memdev(void)
{
    HmTestKeeper keeper;

    hm_test_keeper_init(&keeper);
    add_region(&keeper, DEVICE ",id=vm0");
    hm_test_keeper_save(&keeper);
    hm_test_keeper_kill(&keeper);
    hm_test_keeper_replace(&keeper, "m0/", -1);
    g_assert_true(hm_test_keeper_try_restore(&keeper, NULL));
    hm_test_keeper_assert(&keeper, "/machine/peripheral/vm0",
                          HOSTMEM_RESTORE_FAILED,
                          "'/objects/m0', which it needs, was not restored");
    hm_test_keeper_clear(&keeper);
}

static void test_devices_without_id_keep_their_numbers(void)
{
    HmTestKeeper keeper;

    hm_test_keeper_init(&keeper);
    add_region(&keeper, DEVICE ",unplugged-inaccessible=on");
    hm_test_keeper_add(&keeper, "memory-backend-memfd,id=m1,size=64M");
    hm_test_keeper_add(&keeper, "memory-backend-memfd,id=m2,size=64M");
    hm_test_keeper_add_device(&keeper, "virtio-mem,memdev=m1");
    hm_test_assert_set(find_device(&keeper, PATH), "requested-size", "0");
    g_assert_true(hostmem_registry_remove_device(keeper.registry, PATH, NULL));
    hm_test_keeper_restart(&keeper);
    g_assert_null(find_device(&keeper, PATH));
    g_assert_nonnull(
        find_device(&keeper, "/machine/peripheral-anon/device[1]"));
    hm_test_keeper_add_device(&keeper, "virtio-mem,memdev=m2");
    g_assert_nonnull(
        find_device(&keeper, "/machine/peripheral-anon/device[2]"));
    hm_test_keeper_clear(&keeper);
}

static void assert_blocks_refused(const char *blocks)
{
    g_autofree char *text = NULL;
    g_autoptr(GString) changed = NULL;
    g_autofree char *with = NULL;
    HmTestKeeper keeper;

    hm_test_keeper_init(&keeper);
    add_region(&keeper, DEVICE ",id=vm0");
    plug(find_device(&keeper, "vm0"), 0, 2);
    hm_test_keeper_save(&keeper);
    hm_test_keeper_kill(&keeper);
    text = hm_test_keeper_text(&keeper);
    changed = g_string_new(text);
    with = g_strdup_printf("\"plugged\":\"%s\"", blocks);
    g_assert_cmpuint(g_string_replace(changed, "\"plugged\":\"0+2\"", with, 0),
                     ==, 1);
    hm_test_keeper_set_text(&keeper, HOSTMEM_STATE_NAME, changed->str);
    g_assert_true(hm_test_keeper_try_restore(&keeper, NULL));
    hm_test_keeper_assert(&keeper, "/machine/peripheral/vm0",
                          HOSTMEM_RESTORE_FAILED, "blocks");
    g_assert_nonnull(hm_test_keeper_find(&keeper, "m0"));
    hm_test_keeper_clear(&keeper);
}

static void test_blocks_that_make_no_sense(void)
{
    static const char *const texts[] = {
        "0",
        "0+",
        "+1",
        "0+0",
        "0+2,",
        "0+2,1+1",
        "4+1,0+1",
        "31+2",
        "32+1",
        "0+18446744073709551615",
        "1+18446744073709551615",
        "0-2",
        "x",
        "0+2 ",
        "99999999999999999999+1",
    };

    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        assert_blocks_refused(texts[i]);
    }
}

int main(int argc, char **argv)
{
    static const HmTest tests[] = {
        {"/restore/device/blocks", test_device},
        {"/restore/device/memdev", test_device_holds_its_memdev},
        {"/restore/device/without-memdev", test_device_goes_with_its_memdev},
        {"/restore/device/numbers", test_devices_without_id_keep_their_numbers},
        {"/restore/device/no-blocks", test_blocks_that_make_no_sense},
    };

    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
