/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "object-test.h"
#include "os-fake.h"
#include "virtio-driver.h"
#include "util/os.h"
#include "virtio-mem-test.h"

/*
 * From end to end: a driver that speaks registers and rings, virtio-mmio,
 * virtio-mem, and memory that comes and goes.  The guest has 1 MiB of RAM at
 * 0, for rings, and the region.
 */
#define BOOT_RAM     HM_MIB
#define ALL_FEATURES (~(guint64)0)

enum {
    PLUG,
    UNPLUG,
    UNPLUG_ALL,
    STATE,
};
enum {
    ACK,
    NACK,
    BUSY,
    ERROR,
};
enum { /* virtio 1.2, 5.15.4 */
    CONFIG_BLOCK_SIZE = 0,
    CONFIG_ADDR = 16,
    CONFIG_REGION_SIZE = 24,
    CONFIG_USABLE_SIZE = 32,
    CONFIG_PLUGGED_SIZE = 40,
    CONFIG_REQUESTED_SIZE = 48,
};

typedef struct {
    HostmemBackend *memdev;
    HostmemVirtioMem *device;
    HostmemGuestMemory *memory;
    HostmemVirtioMmio *mmio;
    HmVirtioDriver driver;
} Fixture;

static void add(Fixture *f, guint64 address, HostmemBackend *backend,
                gpointer source)
{
    g_autoptr(GError) error = NULL;

    hostmem_guest_memory_add(f->memory, address, backend, 0,
                             hostmem_backend_get_size(backend), source, &error);
    g_assert_no_error(error);
}

static void open_fixture(Fixture *f, const char *memdev)
{
    g_autoptr(HostmemBackend) boot =
        hm_test_make("memory-backend-ram,id=boot,size=1M");

    f->memdev = hm_test_memdev(memdev);
    f->device = hm_test_virtio_mem(f->memdev, "memaddr", BASE, "block-size",
                                   BLOCK, NULL);
    f->memory = hostmem_guest_memory_new();
    add(f, 0, boot, NULL);
    add(f, BASE, f->memdev, f->device);
    f->mmio = hostmem_virtio_mmio_new(HOSTMEM_VIRTIO_DEVICE(f->device),
                                      f->memory, NULL, NULL);
    hm_virtio_driver_init(&f->driver, f->mmio,
                          hostmem_backend_get_host_addr(boot), 0, 0);
}

static void close_fixture(Fixture *f)
{
    g_object_unref(f->mmio);
    g_object_unref(f->memory);
    g_object_unref(f->device);
    g_object_unref(f->memdev);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Fixture, close_fixture)

static void start(Fixture *f, const char *memdev, guint64 requested)
{
    g_autoptr(GError) error = NULL;

    open_fixture(f, memdev);
    hostmem_virtio_mem_set_requested_size(f->device, requested, &error);
    g_assert_no_error(error);
    hm_virtio_driver_start(&f->driver, ALL_FEATURES, 32);
}

static void put16(guint8 *bytes, guint16 value)
{
    value = GUINT16_TO_LE(value);
    memcpy(bytes, &value, sizeof(value));
}

static void put_request(guint8 *bytes, guint16 type, guint64 address, guint16 n)
{
    address = GUINT64_TO_LE(address);
    memset(bytes, 0, 24);
    put16(bytes, type);
    memcpy(bytes + 8, &address, sizeof(address));
    put16(bytes + 16, n);
}

static guint16 get16(const guint8 *bytes)
{
    return (guint16)(bytes[0] | bytes[1] << 8);
}

/* The answer; the state in *@state. */
static guint ask(Fixture *f, guint16 type, guint64 address, guint16 n,
                 guint *state)
{
    guint8 request[24], response[10];

    put_request(request, type, address, n);
    g_assert_cmpuint(hm_virtio_driver_request(&f->driver, request,
                                              sizeof(request), response,
                                              sizeof(response)),
                     ==, sizeof(response));
    if (state) {
        *state = get16(response + 8);
    }
    return get16(response);
}

static guint64 block(guint i)
{
    return BASE + i * BLOCK;
}

static guint state_of(Fixture *f, guint first, guint16 n)
{
    guint state;

    g_assert_cmpuint(ask(f, STATE, block(first), n, &state), ==, ACK);
    return state;
}

static guint64 config(Fixture *f, guint32 offset)
{
    return hm_virtio_driver_get_config64(&f->driver, offset);
}

static void assert_needs_reset(Fixture *f, const char *part)
{
    GError *error = hostmem_virtio_mmio_get_error(f->mmio);

    g_assert_true(hm_virtio_driver_get(&f->driver, HM_REG_STATUS) &
                  HM_STATUS_NEEDS_RESET);
    hm_test_assert_error(error, HOSTMEM_ERROR_INVALID, part);
}

/* Requests */

static void test_config(void)
{
    g_auto(Fixture) f = {0};

    start(&f, "memory-backend-ram", 4 * BLOCK);
    g_assert_cmpuint(hm_virtio_driver_get(&f.driver, HM_REG_DEVICE_ID), ==, 24);
    g_assert_cmphex(f.driver.features & 3, ==, 2);
    g_assert_cmpuint(config(&f, CONFIG_BLOCK_SIZE), ==, BLOCK);
    g_assert_cmphex(config(&f, CONFIG_ADDR), ==, BASE);
    g_assert_cmpuint(config(&f, CONFIG_REGION_SIZE), ==, REGION);
    g_assert_cmpuint(config(&f, CONFIG_USABLE_SIZE), ==, REGION);
    g_assert_cmpuint(config(&f, CONFIG_PLUGGED_SIZE), ==, 0);
    g_assert_cmpuint(config(&f, CONFIG_REQUESTED_SIZE), ==, 4 * BLOCK);
}

static void test_driver_must_know_what_is_inaccessible(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f, "memory-backend-ram");
    hm_virtio_driver_begin(&f.driver);
    g_assert_false(
        hm_virtio_driver_negotiate(&f.driver, HOSTMEM_VIRTIO_F_VERSION_1));
}

static void test_answers(void)
{
    g_auto(Fixture) f = {0};

    start(&f, "memory-backend-ram", 4 * BLOCK);
    g_assert_cmpuint(ask(&f, PLUG, block(0), 2, NULL), ==, ACK);
    g_assert_cmpuint(config(&f, CONFIG_PLUGGED_SIZE), ==, 2 * BLOCK);
    g_assert_cmpuint(state_of(&f, 0, 2), ==, 0);
    g_assert_cmpuint(state_of(&f, 2, 2), ==, 1);
    g_assert_cmpuint(state_of(&f, 1, 2), ==, 2);
    g_assert_cmpuint(ask(&f, PLUG, block(1), 1, NULL), ==, ERROR);
    g_assert_cmpuint(ask(&f, PLUG, block(2), 3, NULL), ==, NACK);
    g_assert_cmpuint(ask(&f, PLUG, block(2) + 1, 1, NULL), ==, ERROR);
    g_assert_cmpuint(ask(&f, PLUG, block(2), 0, NULL), ==, ERROR);
    g_assert_cmpuint(ask(&f, PLUG, block(64), 1, NULL), ==, ERROR);
    g_assert_cmpuint(ask(&f, PLUG, -BLOCK, 2, NULL), ==, ERROR);
    g_assert_cmpuint(ask(&f, UNPLUG, block(1), 2, NULL), ==, ERROR);
    g_assert_cmpuint(ask(&f, UNPLUG, block(0), 1, NULL), ==, ACK);
    hostmem_virtio_mem_set_busy(f.device, TRUE);
    g_assert_cmpuint(ask(&f, PLUG, block(2), 1, NULL), ==, BUSY);
    hostmem_virtio_mem_set_busy(f.device, FALSE);
    g_assert_cmpuint(ask(&f, UNPLUG_ALL, 0, 0, NULL), ==, ACK);
    g_assert_cmpuint(config(&f, CONFIG_PLUGGED_SIZE), ==, 0);
}

/* Memory is there between plug and unplug, and only then. */
static void check_memory(const char *memdev)
{
    g_auto(Fixture) f = {0};
    guint64 before, word = 1;

    start(&f, memdev, REGION);
    before = hostmem_backend_get_populated_size(f.memdev);
    g_assert_false(hostmem_guest_memory_write(f.memory, block(3), "x", 1));
    g_assert_cmpuint(ask(&f, PLUG, block(3), 2, NULL), ==, ACK);
    for (guint64 at = 0; at < 2 * BLOCK; at += 4096) {
        g_assert_true(
            hostmem_guest_memory_write(f.memory, block(3) + at, "x", 1));
    }
    g_assert_cmpuint(hostmem_backend_get_populated_size(f.memdev), ==,
                     before + 2 * BLOCK);
    g_assert_cmpuint(ask(&f, UNPLUG, block(3), 2, NULL), ==, ACK);
    g_assert_cmpuint(hostmem_backend_get_populated_size(f.memdev), ==, before);
    g_assert_false(hostmem_guest_memory_read(f.memory, block(3), &word, 8));
    g_assert_cmpuint(ask(&f, PLUG, block(3), 1, NULL), ==, ACK);
    g_assert_true(hostmem_guest_memory_read(f.memory, block(3), &word, 8));
    g_assert_cmphex(word, ==, 0);
}

static void test_memory_of_ram(void)
{
    check_memory("memory-backend-ram");
}

static void test_memory_of_memfd(void)
{
    check_memory("memory-backend-memfd");
}

static void test_resize_interrupts(void)
{
    g_auto(Fixture) f = {0};
    guint32 generation;

    start(&f, "memory-backend-ram", 0);
    g_assert_cmpuint(config(&f, CONFIG_REQUESTED_SIZE), ==, 0);
    generation = hm_virtio_driver_get(&f.driver, HM_REG_CONFIG_GENERATION);
    g_assert_true(hostmem_virtio_mem_set_requested_size(f.device, BLOCK, NULL));
    g_assert_cmpuint(hm_virtio_driver_get(&f.driver, HM_REG_INTERRUPT_STATUS),
                     ==, 2);
    g_assert_cmpuint(hm_virtio_driver_get(&f.driver, HM_REG_CONFIG_GENERATION),
                     !=, generation);
    g_assert_cmpuint(config(&f, CONFIG_REQUESTED_SIZE), ==, BLOCK);
}

/* virtio 1.2, 5.15.5.2: a device reset changes no block. */
static void test_reset_unplugs_nothing(void)
{
    g_auto(Fixture) f = {0};

    start(&f, "memory-backend-ram", BLOCK);
    g_assert_cmpuint(ask(&f, PLUG, block(0), 1, NULL), ==, ACK);
    hm_virtio_driver_start(&f.driver, ALL_FEATURES, 32);
    g_assert_cmpuint(config(&f, CONFIG_PLUGGED_SIZE), ==, BLOCK);
    g_assert_cmpuint(state_of(&f, 0, 1), ==, 0);
}

static void test_short_request(void)
{
    g_auto(Fixture) f = {0};
    guint8 request[24];

    start(&f, "memory-backend-ram", BLOCK);
    put_request(request, PLUG, block(0), 1);
    hm_virtio_driver_send(&f.driver, request, 23, 10);
    hm_virtio_driver_kick(&f.driver);
    assert_needs_reset(&f, "less than 24 bytes");
}

/* Random requests, and a model of what they should do. */
static void test_random_requests(void)
{
    g_auto(Fixture) f = {0};
    g_autoptr(GRand) random = g_rand_new_with_seed(1);
    gboolean plugged[64] = {FALSE};

    start(&f, "memory-backend-memfd", REGION);
    for (guint i = 0; i < 2000; i++) {
        guint first = g_rand_int(random) % 64;
        guint n = 1 + g_rand_int(random) % MIN(8, 64 - first);
        gboolean plug = g_rand_boolean(random);
        guint expected = ACK;

        for (guint j = first; j < first + n; j++) {
            expected = plugged[j] == plug ? ERROR : expected;
        }
        g_assert_cmpuint(
            ask(&f, plug ? PLUG : UNPLUG, block(first), (guint16)n, NULL), ==,
            expected);
        for (guint j = first; expected == ACK && j < first + n; j++) {
            plugged[j] = plug;
        }
    }
    for (guint i = 0; i < 64; i++) {
        g_assert_cmpuint(state_of(&f, i, 1), ==, !plugged[i]);
        g_assert_cmpint(hostmem_guest_memory_write(f.memory, block(i), "x", 1),
                        ==, plugged[i]);
    }
}

/* Rings and buffers in memory that comes and goes */

static void test_ring_in_unplugged_memory(void)
{
    g_auto(Fixture) f = {0};
    HmVirtioDriver *driver = &f.driver;

    open_fixture(&f, "memory-backend-memfd");
    hm_virtio_driver_begin(driver);
    g_assert_true(hm_virtio_driver_negotiate(driver, ALL_FEATURES));
    hm_virtio_driver_set(driver, HM_REG_QUEUE_NUM, 8);
    hm_virtio_driver_set(driver, HM_REG_QUEUE_DESC + 4, BASE >> 32);
    hm_virtio_driver_set(driver, HM_REG_QUEUE_READY, 1);
    assert_needs_reset(&f, "at 0x100000000, is not in guest RAM");
    g_assert_cmpuint(hostmem_backend_get_populated_size(f.memdev), ==, 0);
}

/* The request takes away the ring that its answer is to be put in. */
static void test_ring_unplugs_itself(void)
{
    g_auto(Fixture) f = {0};
    HmVirtioDriver inner;
    guint8 request[24];

    start(&f, "memory-backend-memfd", 2 * BLOCK);
    g_assert_cmpuint(ask(&f, PLUG, block(0), 2, NULL), ==, ACK);
    hm_virtio_driver_init(&inner, f.mmio,
                          hostmem_backend_get_host_addr(f.memdev), BASE, BASE);
    hm_virtio_driver_start(&inner, ALL_FEATURES, 32);
    put_request(request, UNPLUG, block(0), 1);
    hm_virtio_driver_send(&inner, request, 24, 10);
    hm_virtio_driver_kick(&inner);
    assert_needs_reset(&f, "the used ring is not in guest RAM any more");
    g_assert_cmpuint(hostmem_virtio_mem_get_size(f.device), ==, BLOCK);
    g_assert_cmpuint(hostmem_backend_get_populated_size(f.memdev), ==, 0);
    /* and it goes on */
    hm_virtio_driver_start(&f.driver, ALL_FEATURES, 32);
    g_assert_cmpuint(state_of(&f, 0, 2), ==, 2);
}

static void test_buffer_in_unplugged_memory(void)
{
    const HmRingBuffer buffers[] = {
        {BASE, 24, FALSE},
        {0x8000, 10, TRUE},
    };
    g_auto(Fixture) f = {0};

    start(&f, "memory-backend-memfd", BLOCK);
    hm_ring_add(&f.driver.ring, buffers, 2);
    hm_virtio_driver_kick(&f.driver);
    assert_needs_reset(&f, "a buffer of 24 bytes at 0x100000000");
}

/* Threads */

typedef struct {
    Fixture *f;
    gint stop; /* atomic */
} Storm;

static gpointer resize_on(gpointer data)
{
    Storm *storm = data;

    for (guint i = 0; !g_atomic_int_get(&storm->stop); i++) {
        hostmem_virtio_mem_set_requested_size(storm->f->device,
                                              (16 + i % 16) * BLOCK, NULL);
        g_usleep(20);
    }
    return NULL;
}

static gpointer notify_on(gpointer data)
{
    Storm *storm = data;

    while (!g_atomic_int_get(&storm->stop)) {
        hostmem_virtio_mmio_notify(storm->f->mmio, 0);
        g_usleep(20);
    }
    return NULL;
}

static gpointer read_on(gpointer data)
{
    Storm *storm = data;
    guint64 word;

    for (guint i = 0; !g_atomic_int_get(&storm->stop); i++) {
        hostmem_guest_memory_read(storm->f->memory, block(i % 16), &word, 8);
        g_usleep(20);
    }
    return NULL;
}

/* Requests and device resets, while others resize, notify and read. */
static void test_storm(void)
{
    static const GThreadFunc funcs[] = {resize_on, notify_on, read_on};
    g_auto(Fixture) f = {0};
    Storm storm = {&f, FALSE};
    GThread *threads[G_N_ELEMENTS(funcs)];

    start(&f, "memory-backend-memfd", 16 * BLOCK);
    for (guint i = 0; i < G_N_ELEMENTS(funcs); i++) {
        threads[i] = g_thread_new("storm", funcs[i], &storm);
    }
    for (guint i = 0; i < 300; i++) {
        g_assert_cmpuint(ask(&f, PLUG, block(i % 16), 1, NULL), ==, ACK);
        if (i % 10 == 0) {
            hm_virtio_driver_start(&f.driver, ALL_FEATURES, 32);
        }
        g_assert_cmpuint(config(&f, CONFIG_PLUGGED_SIZE), ==, BLOCK);
        g_assert_cmpuint(ask(&f, UNPLUG, block(i % 16), 1, NULL), ==, ACK);
    }
    g_atomic_int_set(&storm.stop, TRUE);
    for (guint i = 0; i < G_N_ELEMENTS(funcs); i++) {
        g_thread_join(threads[i]);
    }
    /* Who reads while a block goes may read a page of the hole: one a block,
     * for it is always the same. */
    g_assert_cmpuint(hostmem_backend_get_populated_size(f.memdev), <=,
                     16 * hm_os_page_size());
}

static const HmTest tests[] = {
    {"/virtio-mem/ring/config", test_config},
    {"/virtio-mem/ring/driver-must-know-what-is-inaccessible",
     test_driver_must_know_what_is_inaccessible},
    {"/virtio-mem/ring/answers", test_answers},
    {"/virtio-mem/ring/memory-of-ram", test_memory_of_ram},
    {"/virtio-mem/ring/memory-of-memfd", test_memory_of_memfd},
    {"/virtio-mem/ring/resize-interrupts", test_resize_interrupts},
    {"/virtio-mem/ring/reset-unplugs-nothing", test_reset_unplugs_nothing},
    {"/virtio-mem/ring/short-request", test_short_request},
    {"/virtio-mem/ring/random-requests", test_random_requests},
    {"/virtio-mem/ring/ring-in-unplugged-memory",
     test_ring_in_unplugged_memory},
    {"/virtio-mem/ring/ring-unplugs-itself", test_ring_unplugs_itself},
    {"/virtio-mem/ring/buffer-in-unplugged-memory",
     test_buffer_in_unplugged_memory},
    {"/virtio-mem/ring/storm", test_storm},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
