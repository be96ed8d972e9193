/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/virtio/virtio-mmio.h"
#include "virtio-mmio-test.h"

/* Queues that are served, by several threads. */

static void test_requests(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f);
    hm_virtio_driver_start(&f.driver, ALL_FEATURES, 8);
    g_assert_true(f.driver.indirect);
    for (guint i = 0; i < 100; i++) {
        ping(&f);
        g_assert_cmpint(g_atomic_int_get(&f.interrupts), ==, (gint)i + 1);
        set(&f, HM_REG_INTERRUPT_ACK, 1);
    }
    g_assert_cmpuint(hm_test_device_get_requests(f.device), ==, 100);
}

static void test_requests_without_features(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f);
    hm_virtio_driver_start(
        &f.driver, HOSTMEM_VIRTIO_F_VERSION_1 | HM_TEST_DEVICE_NEEDED, 2);
    for (guint i = 0; i < 10; i++) {
        ping(&f);
    }
}

static void test_batch_is_one_interrupt(void)
{
    g_auto(Fixture) f = {0};
    char in[1];

    open_fixture(&f);
    hm_virtio_driver_start(&f.driver, ALL_FEATURES, 8);
    for (guint i = 0; i < 8; i++) {
        hm_virtio_driver_send(&f.driver, "x", 1, 1);
    }
    hm_virtio_driver_kick(&f.driver);
    for (guint i = 0; i < 8; i++) {
        hm_virtio_driver_receive(&f.driver, in, 1);
    }
    g_assert_cmpint(g_atomic_int_get(&f.interrupts), ==, 1);
}

static void test_second_queue(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f);
    hm_virtio_driver_start(&f.driver, ALL_FEATURES, 8);
    hm_virtio_driver_init(&f.driver, f.mmio, f.ram, BASE, BASE + 0x8000);
    f.driver.features = ALL_FEATURES;
    hm_virtio_driver_open_queue(&f.driver, 1, 8);
    ping(&f);
}

/* Breaking the rules */

static void test_broken_ring(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f);
    hm_virtio_driver_start(&f.driver, ALL_FEATURES, 8);
    g_test_expect_message("hostmem", G_LOG_LEVEL_MESSAGE,
                          "virtio device 42 needs a reset*from 0 to 100*");
    hm_ring_set_idx(&f.driver.ring, 100);
    set(&f, HM_REG_QUEUE_NOTIFY, 0);
    g_test_assert_expected_messages();
    assert_needs_reset(&f, "from 0 to 100");
    g_assert_cmpuint(get(&f, HM_REG_INTERRUPT_STATUS), ==, 2);
    /* nothing is served any more */
    hm_ring_set_idx(&f.driver.ring, 0);
    hm_virtio_driver_send(&f.driver, "ping", 4, 4);
    hm_ring_publish(&f.driver.ring);
    set(&f, HM_REG_QUEUE_NOTIFY, 0);
    g_assert_cmpuint(hm_ring_get_used_idx(&f.driver.ring), ==, 0);
    hm_virtio_driver_start(&f.driver, ALL_FEATURES, 8);
    ping(&f);
}

static void test_broken_protocol(void)
{
    g_auto(Fixture) f = {0};
    const HmRingBuffer out = {BASE + 0x3000, 1, FALSE};

    open_fixture(&f);
    hm_virtio_driver_start(&f.driver, ALL_FEATURES, 8);
    hm_ring_add(&f.driver.ring, &out, 1);
    hm_virtio_driver_kick(&f.driver);
    assert_needs_reset(&f, "without room for an answer");
    g_assert_cmpuint(get(&f, HM_REG_INTERRUPT_STATUS), ==, 2);
    hm_virtio_driver_send(&f.driver, "ping", 4, 4);
    hm_ring_publish(&f.driver.ring);
    set(&f, HM_REG_QUEUE_NOTIFY, 0);
    g_assert_cmpuint(hm_test_device_get_requests(f.device), ==, 0);
}

/* The transport looks for itself. */
static void test_device_that_overlooks_a_broken_ring(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f);
    hm_virtio_driver_start(&f.driver, ALL_FEATURES, 8);
    hm_test_device_set_careless(f.device, TRUE);
    hm_ring_set_idx(&f.driver.ring, 100);
    set(&f, HM_REG_QUEUE_NOTIFY, 0);
    assert_needs_reset(&f, "from 0 to 100");
}

static gint messages; /* atomic */

static GLogWriterOutput count_messages(GLogLevelFlags level,
                                       const GLogField *fields G_GNUC_UNUSED,
                                       gsize n G_GNUC_UNUSED,
                                       gpointer data G_GNUC_UNUSED)
{
    if (level & G_LOG_LEVEL_MESSAGE) {
        g_atomic_int_inc(&messages);
    }
    return G_LOG_WRITER_HANDLED;
}

static void break_ring(Fixture *f)
{
    hm_virtio_driver_start(&f->driver, ALL_FEATURES, 8);
    hm_ring_set_idx(&f->driver.ring, 100);
    set(f, HM_REG_QUEUE_NOTIFY, 0);
}

static void test_guest_cannot_flood_the_log(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f);
    g_atomic_int_set(&messages, 0);
    hm_fake_set_now(5 * G_USEC_PER_SEC);
    for (guint i = 0; i < 50; i++) {
        break_ring(&f);
    }
    g_assert_cmpint(g_atomic_int_get(&messages), ==, 1);
    hm_fake_set_now(6 * G_USEC_PER_SEC);
    break_ring(&f);
    g_assert_cmpint(g_atomic_int_get(&messages), ==, 2);
}

static void test_ring_that_loses_its_memory(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f);
    hm_virtio_driver_start(&f.driver, ALL_FEATURES, 8);
    g_assert_true(hostmem_guest_memory_remove(f.memory, BASE, NULL));
    set(&f, HM_REG_QUEUE_NOTIFY, 0);
    assert_needs_reset(&f, "ring is not in guest RAM any more");
}

/* Threads */

static gpointer notify(gpointer data)
{
    hostmem_virtio_mmio_notify(data, 0);
    return NULL;
}

static gpointer reset(gpointer data)
{
    hostmem_virtio_mmio_write(data, HM_REG_STATUS, 0, 4);
    return NULL;
}

static gpointer close_queue(gpointer data)
{
    hostmem_virtio_mmio_write(data, HM_REG_QUEUE_READY, 0, 4);
    return NULL;
}

/* A request is being served by a thread, which cannot go on. */
static GThread *hold_request(Fixture *f)
{
    GThread *server;

    hm_test_device_hold(f->device, TRUE);
    hm_virtio_driver_send(&f->driver, "ping", 4, 4);
    hm_ring_publish(&f->driver.ring);
    server = g_thread_new("server", notify, f->mmio);
    hm_test_device_await_held(f->device);
    return server;
}

/* Registers answer meanwhile, and a second notify does not wait. */
static void test_served_by_another_thread(void)
{
    g_auto(Fixture) f = {0};
    GThread *server;
    char in[4];

    open_fixture(&f);
    hm_virtio_driver_start(&f.driver, ALL_FEATURES, 8);
    server = hold_request(&f);
    g_assert_cmphex(get(&f, HM_REG_STATUS), ==, 0xf);
    g_assert_cmpuint(get(&f, HM_REG_QUEUE_READY), ==, 1);
    hm_virtio_driver_send(&f.driver, "ping", 4, 4);
    hm_ring_publish(&f.driver.ring);
    hostmem_virtio_mmio_notify(f.mmio, 0);
    g_assert_cmpuint(hm_test_device_get_requests(f.device), ==, 1);
    hm_test_device_hold(f.device, FALSE);
    g_thread_join(server);
    hm_virtio_driver_receive(&f.driver, in, 4);
    hm_virtio_driver_receive(&f.driver, in, 4);
    g_assert_cmpuint(hm_test_device_get_requests(f.device), ==, 2);
}

/* Until a reset, or who closes a queue, waits for the request. */
static void await_change(HostmemVirtioMmio *mmio)
{
    gboolean changing;

    do {
        g_usleep(100);
        g_mutex_lock(&mmio->lock);
        changing = mmio->changing;
        g_mutex_unlock(&mmio->lock);
    } while (!changing);
}

/* It waits for the request at hand, and for no other. */
static void check_waits(GThreadFunc change)
{
    g_auto(Fixture) f = {0};
    GThread *server, *waiter;

    open_fixture(&f);
    hm_virtio_driver_start(&f.driver, ALL_FEATURES, 8);
    server = hold_request(&f);
    for (guint i = 0; i < 3; i++) {
        hm_virtio_driver_send(&f.driver, "ping", 4, 4);
    }
    hm_ring_publish(&f.driver.ring);
    waiter = g_thread_new("waiter", change, f.mmio);
    await_change(f.mmio);
    g_assert_cmphex(get(&f, HM_REG_STATUS), ==, 0xf);
    hm_test_device_hold(f.device, FALSE);
    g_thread_join(waiter);
    g_thread_join(server);
    g_assert_cmpuint(hm_test_device_get_requests(f.device), ==, 1);
    g_assert_cmpuint(hm_ring_get_used_idx(&f.driver.ring), ==, 1);
    g_assert_cmpuint(get(&f, HM_REG_QUEUE_READY), ==, 0);
}

static void test_reset_waits_for_the_request(void)
{
    check_waits(reset);
}

static void test_closing_waits_for_the_request(void)
{
    check_waits(close_queue);
}

static gpointer say_driver(gpointer data)
{
    hostmem_virtio_mmio_write(data, HM_REG_STATUS, 3, 4);
    return NULL;
}

/* What is written while a reset waits is not lost in it. */
static void test_writes_wait_for_a_reset(void)
{
    g_auto(Fixture) f = {0};
    GThread *server, *waiter, *writer;

    open_fixture(&f);
    hm_virtio_driver_start(&f.driver, ALL_FEATURES, 8);
    server = hold_request(&f);
    waiter = g_thread_new("waiter", reset, f.mmio);
    await_change(f.mmio);
    writer = g_thread_new("writer", say_driver, f.mmio);
    g_usleep(20 * 1000);
    hm_test_device_hold(f.device, FALSE);
    g_thread_join(writer);
    g_thread_join(waiter);
    g_thread_join(server);
    g_assert_cmphex(get(&f, HM_REG_STATUS), ==, 3);
}

typedef struct {
    Fixture *f;
    gint stop; /* atomic */
} Storm;

static gpointer notify_on(gpointer data)
{
    Storm *storm = data;

    while (!g_atomic_int_get(&storm->stop)) {
        hostmem_virtio_mmio_notify(storm->f->mmio, 0);
        g_usleep(1);
    }
    return NULL;
}

static gpointer change_on(gpointer data)
{
    Storm *storm = data;

    for (guint64 i = 0; !g_atomic_int_get(&storm->stop); i++) {
        hm_test_device_set_value(storm->f->device, i << 32 | i, TRUE);
        g_usleep(1);
    }
    return NULL;
}

static gpointer reset_on(gpointer data)
{
    Storm *storm = data;

    while (!g_atomic_int_get(&storm->stop)) {
        hostmem_virtio_mmio_reset(storm->f->mmio);
        g_usleep(500);
    }
    return NULL;
}

static void run_storm(Storm *storm, const GThreadFunc *funcs, guint n,
                      void (*func)(Fixture *f))
{
    GThread *threads[4];

    for (guint i = 0; i < n; i++) {
        threads[i] = g_thread_new("storm", funcs[i], storm);
    }
    for (guint i = 0; i < 200; i++) {
        func(storm->f);
    }
    g_atomic_int_set(&storm->stop, TRUE);
    for (guint i = 0; i < n; i++) {
        g_thread_join(threads[i]);
    }
}

static void check_config(Fixture *f)
{
    guint64 value = hm_virtio_driver_get_config64(&f->driver, 8);

    g_assert_cmphex(value >> 32, ==, value & G_MAXUINT32);
    ping(f);
}

/* Whole requests and whole numbers, whatever others do. */
static void test_requests_in_a_storm(void)
{
    static const GThreadFunc funcs[] = {notify_on, notify_on, change_on};
    g_auto(Fixture) f = {0};
    Storm storm = {&f, FALSE};

    open_fixture(&f);
    hm_virtio_driver_start(&f.driver, ALL_FEATURES, 8);
    run_storm(&storm, funcs, G_N_ELEMENTS(funcs), check_config);
}

/* A driver to whom resets happen at any moment. */
static void try_request(Fixture *f)
{
    HmVirtioDriver *driver = &f->driver;

    set(f, HM_REG_STATUS, 3);
    if (!hm_virtio_driver_negotiate(driver, ALL_FEATURES)) {
        return;
    }
    set(f, HM_REG_QUEUE_SEL, 0);
    if (!get(f, HM_REG_QUEUE_READY)) {
        hm_ring_init(&driver->ring, f->ram, BASE, BASE, 8, TRUE);
        set(f, HM_REG_QUEUE_NUM, 8);
        set(f, HM_REG_QUEUE_DESC, (guint32)driver->ring.descriptors);
        set(f, HM_REG_QUEUE_DESC + 4,
            (guint32)(driver->ring.descriptors >> 32));
        set(f, HM_REG_QUEUE_DRIVER, (guint32)driver->ring.available);
        set(f, HM_REG_QUEUE_DRIVER + 4,
            (guint32)(driver->ring.available >> 32));
        set(f, HM_REG_QUEUE_DEVICE, (guint32)driver->ring.used);
        set(f, HM_REG_QUEUE_DEVICE + 4, (guint32)(driver->ring.used >> 32));
        set(f, HM_REG_QUEUE_READY, 1);
    }
    hm_virtio_driver_finish(driver);
    hm_virtio_driver_send(driver, "ping", 4, 4);
    hm_virtio_driver_kick(driver);
}

static void test_resets_in_a_storm(void)
{
    static const GThreadFunc funcs[] = {notify_on, change_on, reset_on};
    g_auto(Fixture) f = {0};
    Storm storm = {&f, FALSE};

    open_fixture(&f);
    run_storm(&storm, funcs, G_N_ELEMENTS(funcs), try_request);
    hm_virtio_driver_start(&f.driver, ALL_FEATURES, 8);
    ping(&f);
}

/* An interrupt that takes its time. */
typedef struct {
    gint called; /* atomic */
    gint gone;   /* atomic: its owner has dropped the registers */
    gint late;   /* atomic: it was still at work then */
} SlowInterrupt;

static void interrupt_slowly(gboolean pending, gpointer user_data)
{
    SlowInterrupt *slow = user_data;

    if (!pending) {
        return;
    }
    g_atomic_int_set(&slow->called, TRUE);
    g_usleep(20000);
    g_atomic_int_set(&slow->late, g_atomic_int_get(&slow->gone));
}

static gpointer change_config(gpointer data)
{
    hostmem_virtio_device_config_changed(data);
    return NULL;
}

static void test_unref_waits_for_the_interrupt(void)
{
    g_auto(Fixture) f = {0};
    SlowInterrupt slow = {0};
    HmVirtioDriver driver;
    HostmemVirtioMmio *mmio;
    GThread *thread;

    open_fixture(&f);
    mmio = hostmem_virtio_mmio_new(HOSTMEM_VIRTIO_DEVICE(f.device), f.memory,
                                   interrupt_slowly, &slow);
    hm_virtio_driver_init(&driver, mmio, f.ram, BASE, BASE);
    hm_virtio_driver_start(&driver, ALL_FEATURES, 8);
    thread = g_thread_new("config", change_config, f.device);
    while (!g_atomic_int_get(&slow.called)) {
        g_thread_yield();
    }
    g_object_unref(mmio);
    g_atomic_int_set(&slow.gone, TRUE);
    g_thread_join(thread);
    g_assert_false(slow.late);
}

static const HmTest tests[] = {
    {"/virtio-mmio/serve/requests", test_requests},
    {"/virtio-mmio/serve/unref-waits-for-the-interrupt",
     test_unref_waits_for_the_interrupt},
    {"/virtio-mmio/serve/requests-without-features",
     test_requests_without_features},
    {"/virtio-mmio/serve/batch-is-one-interrupt", test_batch_is_one_interrupt},
    {"/virtio-mmio/serve/second-queue", test_second_queue},
    {"/virtio-mmio/serve/broken-ring", test_broken_ring},
    {"/virtio-mmio/serve/broken-protocol", test_broken_protocol},
    {"/virtio-mmio/serve/device-that-overlooks-a-broken-ring",
     test_device_that_overlooks_a_broken_ring},
    {"/virtio-mmio/serve/ring-that-loses-its-memory",
     test_ring_that_loses_its_memory},
    {"/virtio-mmio/serve/served-by-another-thread",
     test_served_by_another_thread},
    {"/virtio-mmio/serve/reset-waits-for-the-request",
     test_reset_waits_for_the_request},
    {"/virtio-mmio/serve/closing-waits-for-the-request",
     test_closing_waits_for_the_request},
    {"/virtio-mmio/serve/writes-wait-for-a-reset",
     test_writes_wait_for_a_reset},
    {"/virtio-mmio/serve/requests-in-a-storm", test_requests_in_a_storm},
    {"/virtio-mmio/serve/guest-cannot-flood-the-log",
     test_guest_cannot_flood_the_log},
    {"/virtio-mmio/serve/resets-in-a-storm", test_resets_in_a_storm},
};

int main(int argc, char **argv)
{
    g_log_set_writer_func(count_messages, NULL, NULL);
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
