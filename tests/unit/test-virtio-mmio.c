/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "virtio-mmio-test.h"

/* Registers. */

#define OWN_FEATURES HOSTMEM_VIRTQUEUE_FEATURES

static void test_identity(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f);
    g_assert_cmphex(get(&f, HM_REG_MAGIC), ==, 0x74726976);
    g_assert_cmpuint(get(&f, HM_REG_VERSION), ==, 2);
    g_assert_cmpuint(get(&f, HM_REG_DEVICE_ID), ==, HM_TEST_DEVICE_ID);
    g_assert_cmphex(get(&f, HM_REG_VENDOR_ID), ==, 0x4d454d48);
}

static void test_no_shared_memory(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f);
    set(&f, HM_REG_SHM_SEL, 0);
    g_assert_cmphex(get(&f, HM_REG_SHM_LEN), ==, 0xffffffff);
    g_assert_cmphex(get(&f, HM_REG_SHM_LEN + 4), ==, 0xffffffff);
    g_assert_cmphex(get(&f, HM_REG_SHM_BASE), ==, 0xffffffff);
    g_assert_cmphex(get(&f, HM_REG_SHM_BASE + 4), ==, 0xffffffff);
}

/* What no driver does reads as 0, and changes nothing. */
static void test_odd_accesses(void)
{
    g_auto(Fixture) f = {0};
    static const struct {
        guint64 offset;
        guint size;
    } odd[] = {
        {HM_REG_MAGIC, 1},       {HM_REG_MAGIC, 2},
        {HM_REG_MAGIC, 8},       {HM_REG_MAGIC + 1, 4},
        {HM_REG_STATUS, 1},      {HM_REG_QUEUE_NOTIFY, 4},
        {HM_REG_QUEUE_NUM, 4},   {0x0fe, 4},
        {HM_REG_CONFIG + 16, 1}, {HM_REG_CONFIG + 15, 2},
        {HM_REG_CONFIG + 9, 8},  {HM_REG_CONFIG, 3},
        {HM_REG_CONFIG, 0},      {0x200, 4},
        {G_MAXUINT64, 8},        {G_MAXUINT64 - 3, 4},
    };

    open_fixture(&f);
    hm_virtio_driver_start(&f.driver, ALL_FEATURES, 8);
    hm_test_device_set_value(f.device, G_MAXUINT64, FALSE);
    for (guint i = 0; i < G_N_ELEMENTS(odd); i++) {
        g_assert_cmphex(
            hostmem_virtio_mmio_read(f.mmio, odd[i].offset, odd[i].size), ==,
            0);
        if (odd[i].offset != HM_REG_QUEUE_NOTIFY) {
            hostmem_virtio_mmio_write(f.mmio, odd[i].offset, 0, odd[i].size);
        }
    }
    set(&f, HM_REG_MAGIC, 0);
    g_assert_cmphex(get(&f, HM_REG_STATUS), ==, 0xf);
    ping(&f);
}

/* Features */

static void test_offered_features(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f);
    g_assert_cmphex(hm_virtio_driver_get_offered(&f.driver), ==,
                    OWN_FEATURES | HM_TEST_DEVICE_FEATURES);
    set(&f, HM_REG_DEVICE_FEATURES_SEL, 2);
    g_assert_cmphex(get(&f, HM_REG_DEVICE_FEATURES), ==, 0);
    set(&f, HM_REG_DEVICE_FEATURES_SEL, G_MAXUINT32);
    g_assert_cmphex(get(&f, HM_REG_DEVICE_FEATURES), ==, 0);
}

static void accept(Fixture *f, guint64 features)
{
    set(f, HM_REG_DRIVER_FEATURES_SEL, 0);
    set(f, HM_REG_DRIVER_FEATURES, (guint32)features);
    set(f, HM_REG_DRIVER_FEATURES_SEL, 1);
    set(f, HM_REG_DRIVER_FEATURES, (guint32)(features >> 32));
    set(f, HM_REG_STATUS, 3 | HM_STATUS_FEATURES_OK);
}

static void test_refused_features(void)
{
    const guint64 needed = HOSTMEM_VIRTIO_F_VERSION_1 | HM_TEST_DEVICE_NEEDED;
    g_auto(Fixture) f = {0};

    open_fixture(&f);
    hm_virtio_driver_begin(&f.driver);
    accept(&f, needed | 2); /* not offered */
    g_assert_cmphex(get(&f, HM_REG_STATUS), ==, 3);
    accept(&f, needed | (guint64)1 << 63);
    g_assert_cmphex(get(&f, HM_REG_STATUS), ==, 3);
    accept(&f, HM_TEST_DEVICE_NEEDED); /* legacy */
    g_assert_cmphex(get(&f, HM_REG_STATUS), ==, 3);
    accept(&f, HOSTMEM_VIRTIO_F_VERSION_1); /* the device refuses */
    g_assert_cmphex(get(&f, HM_REG_STATUS), ==, 3);
    accept(&f, needed);
    g_assert_cmphex(get(&f, HM_REG_STATUS), ==, 11);
}

static void test_features_are_fixed(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f);
    hm_virtio_driver_begin(&f.driver);
    g_assert_true(hm_virtio_driver_negotiate(
        &f.driver, HOSTMEM_VIRTIO_F_VERSION_1 | HM_TEST_DEVICE_NEEDED));
    accept(&f, ALL_FEATURES); /* too late: no event index from here on */
    hm_virtio_driver_open_queue(&f.driver, 0, 8);
    hm_virtio_driver_finish(&f.driver);
    hm_virtio_driver_send(&f.driver, "ping", 4, 4);
    hm_virtio_driver_kick(&f.driver);
    g_assert_cmpuint(hm_ring_get_available_event(&f.driver.ring), ==, 0);
    g_assert_cmpuint(hm_ring_get_used_idx(&f.driver.ring), ==, 1);
}

/* Status */

static void test_status_bits_are_added(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f);
    set(&f, HM_REG_STATUS, HM_STATUS_ACKNOWLEDGE);
    set(&f, HM_REG_STATUS, HM_STATUS_DRIVER);
    g_assert_cmphex(get(&f, HM_REG_STATUS), ==, 3);
    set(&f, HM_REG_STATUS, HM_STATUS_DRIVER_OK); /* without FEATURES_OK */
    g_assert_cmphex(get(&f, HM_REG_STATUS), ==, 3);
    set(&f, HM_REG_STATUS, HM_STATUS_NEEDS_RESET); /* not the driver's */
    g_assert_cmphex(get(&f, HM_REG_STATUS), ==, 3);
    set(&f, HM_REG_STATUS, HM_STATUS_FAILED | 0xffff0030);
    g_assert_cmphex(get(&f, HM_REG_STATUS), ==, 0x83);
    set(&f, HM_REG_STATUS, 0);
    g_assert_cmphex(get(&f, HM_REG_STATUS), ==, 0);
}

static void test_reset_forgets_everything(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f);
    hm_virtio_driver_start(&f.driver, ALL_FEATURES, 8);
    ping(&f);
    g_assert_cmpuint(get(&f, HM_REG_INTERRUPT_STATUS), ==, 1);
    g_assert_true(g_atomic_int_get(&f.level));
    guint resets = hm_test_device_get_resets(f.device);
    set(&f, HM_REG_STATUS, 0);
    g_assert_cmpuint(hm_test_device_get_resets(f.device), ==, resets + 1);
    g_assert_cmpuint(get(&f, HM_REG_INTERRUPT_STATUS), ==, 0);
    g_assert_false(g_atomic_int_get(&f.level));
    g_assert_cmpuint(get(&f, HM_REG_QUEUE_READY), ==, 0);
    hm_virtio_driver_send(&f.driver, "ping", 4, 4);
    hm_ring_publish(&f.driver.ring);
    set(&f, HM_REG_QUEUE_NOTIFY, 0);
    g_assert_cmpuint(hm_ring_get_used_idx(&f.driver.ring), ==, 1);
    hm_virtio_driver_start(&f.driver, ALL_FEATURES, 4);
    ping(&f);
}

static void test_machine_reset(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f);
    hm_virtio_driver_start(&f.driver, ALL_FEATURES, 8);
    hostmem_virtio_mmio_reset(f.mmio);
    g_assert_cmphex(get(&f, HM_REG_STATUS), ==, 0);
    hm_virtio_driver_start(&f.driver, ALL_FEATURES, 8);
    ping(&f);
}

/* Queues */

static void test_queues_that_are_not_there(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f);
    hm_virtio_driver_begin(&f.driver);
    g_assert_true(hm_virtio_driver_negotiate(&f.driver, ALL_FEATURES));
    for (guint32 i = 0; i < 2; i++) {
        set(&f, HM_REG_QUEUE_SEL, i);
        g_assert_cmpuint(get(&f, HM_REG_QUEUE_NUM_MAX), ==, 8);
    }
    set(&f, HM_REG_QUEUE_SEL, 2);
    g_assert_cmpuint(get(&f, HM_REG_QUEUE_NUM_MAX), ==, 0);
    set(&f, HM_REG_QUEUE_NUM, 8);
    set(&f, HM_REG_QUEUE_READY, 1);
    g_assert_cmpuint(get(&f, HM_REG_QUEUE_READY), ==, 0);
    set(&f, HM_REG_QUEUE_NOTIFY, 2);
    hostmem_virtio_mmio_notify(f.mmio, G_MAXUINT);
    g_assert_cmphex(get(&f, HM_REG_STATUS), ==, 11);
}

static void test_queue_before_features(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f);
    hm_virtio_driver_begin(&f.driver);
    set(&f, HM_REG_QUEUE_NUM, 8);
    set(&f, HM_REG_QUEUE_READY, 1);
    g_assert_cmpuint(get(&f, HM_REG_QUEUE_READY), ==, 0);
    g_assert_cmphex(get(&f, HM_REG_STATUS), ==, 3);
}

static void test_queue_outside_ram(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f);
    hm_virtio_driver_begin(&f.driver);
    g_assert_true(hm_virtio_driver_negotiate(&f.driver, ALL_FEATURES));
    set(&f, HM_REG_QUEUE_NUM, 8);
    set(&f, HM_REG_QUEUE_DESC + 4, 0xfff);
    set(&f, HM_REG_QUEUE_READY, 1);
    g_assert_cmpuint(get(&f, HM_REG_QUEUE_READY), ==, 0);
    assert_needs_reset(&f, "the descriptor table, 128 bytes at 0xfff00000000");
    g_assert_cmpint(g_atomic_int_get(&f.interrupts), ==, 0); /* no DRIVER_OK */
    set(&f, HM_REG_STATUS, 0);
    g_assert_null(hostmem_virtio_mmio_get_error(f.mmio));
    hm_virtio_driver_start(&f.driver, ALL_FEATURES, 8);
    ping(&f);
}

static void test_queue_too_large(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f);
    hm_virtio_driver_begin(&f.driver);
    g_assert_true(hm_virtio_driver_negotiate(&f.driver, ALL_FEATURES));
    set(&f, HM_REG_QUEUE_NUM, 0x10008); /* 8, in 16 bits */
    set(&f, HM_REG_QUEUE_READY, 1);
    assert_needs_reset(&f, "65544 entries, of at most 8");
}

static void test_ready_queue_cannot_be_moved(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f);
    hm_virtio_driver_start(&f.driver, ALL_FEATURES, 8);
    set(&f, HM_REG_QUEUE_NUM, 2);
    set(&f, HM_REG_QUEUE_DESC, 0x10);
    set(&f, HM_REG_QUEUE_DRIVER, 0x10);
    set(&f, HM_REG_QUEUE_DEVICE, 0x10);
    set(&f, HM_REG_QUEUE_READY, 1);
    ping(&f);
    /* they are what they were */
    set(&f, HM_REG_QUEUE_READY, 0);
    hm_ring_init(&f.driver.ring, f.ram, BASE, BASE, 8, TRUE);
    set(&f, HM_REG_QUEUE_READY, 1);
    ping(&f);
    set(&f, HM_REG_QUEUE_READY, 0);
    g_assert_cmpuint(get(&f, HM_REG_QUEUE_READY), ==, 0);
    hm_virtio_driver_open_queue(&f.driver, 0, 4);
    ping(&f);
}

/* Configuration */

static void test_config_sizes(void)
{
    g_auto(Fixture) f = {0};
    const guint64 value = 0x1122334455667788;

    open_fixture(&f);
    hm_test_device_set_value(f.device, value, FALSE);
    g_assert_cmphex(hostmem_virtio_mmio_read(f.mmio, 0x100, 8), ==, value);
    g_assert_cmphex(hostmem_virtio_mmio_read(f.mmio, 0x108, 8), ==, value);
    g_assert_cmphex(hostmem_virtio_mmio_read(f.mmio, 0x104, 4), ==, 0x11223344);
    g_assert_cmphex(hostmem_virtio_mmio_read(f.mmio, 0x10a, 2), ==, 0x5566);
    g_assert_cmphex(hostmem_virtio_mmio_read(f.mmio, 0x10f, 1), ==, 0x11);
    g_assert_cmphex(hostmem_virtio_mmio_read(f.mmio, 0x101, 4), ==, 0x44556677);
}

static void test_config_writes(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f);
    hostmem_virtio_mmio_write(f.mmio, 0x100, 0x1122334455667788, 8);
    g_assert_cmphex(hm_test_device_get_written(f.device), ==,
                    0x1122334455667788);
    hostmem_virtio_mmio_write(f.mmio, 0x10e, 0xffff1234, 2);
    g_assert_cmphex(hm_test_device_get_written(f.device), ==, 0x1234);
}

static void test_generation(void)
{
    g_auto(Fixture) f = {0};
    guint32 generation;

    open_fixture(&f);
    generation = get(&f, HM_REG_CONFIG_GENERATION);
    g_assert_cmpuint(get(&f, HM_REG_CONFIG_GENERATION), ==, generation);
    /* the device changes between two halves, and has not said so yet */
    g_assert_cmphex(get(&f, HM_REG_CONFIG), ==, 0);
    hm_test_device_set_value(f.device, 1, FALSE);
    g_assert_cmphex(get(&f, HM_REG_CONFIG + 4), ==, 0);
    g_assert_cmpuint(get(&f, HM_REG_CONFIG_GENERATION), ==, generation + 1);
    /* nobody has read the value in between */
    hm_test_device_set_value(f.device, 2, FALSE);
    hm_test_device_set_value(f.device, 1, FALSE);
    g_assert_cmpuint(get(&f, HM_REG_CONFIG_GENERATION), ==, generation + 1);
}

static void test_config_interrupt(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f);
    hm_test_device_set_value(f.device, 1, TRUE);
    g_assert_cmpuint(get(&f, HM_REG_INTERRUPT_STATUS), ==, 0);
    hm_virtio_driver_start(&f.driver, ALL_FEATURES, 8);
    hm_test_device_set_value(f.device, 2, TRUE);
    g_assert_cmpuint(get(&f, HM_REG_INTERRUPT_STATUS), ==, 2);
    g_assert_cmpint(g_atomic_int_get(&f.interrupts), ==, 1);
    g_assert_cmphex(hm_virtio_driver_get_config64(&f.driver, 0), ==, 2);
    hm_test_device_set_value(f.device, 3, TRUE); /* not acknowledged yet */
    g_assert_cmpint(g_atomic_int_get(&f.interrupts), ==, 2);
}

static void test_acknowledge(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f);
    hm_virtio_driver_start(&f.driver, ALL_FEATURES, 8);
    ping(&f);
    hm_test_device_set_value(f.device, 2, TRUE);
    g_assert_cmpuint(get(&f, HM_REG_INTERRUPT_STATUS), ==, 3);
    set(&f, HM_REG_INTERRUPT_ACK, 0xfffffffe);
    g_assert_cmpuint(get(&f, HM_REG_INTERRUPT_STATUS), ==, 1);
    g_assert_true(g_atomic_int_get(&f.level));
    set(&f, HM_REG_INTERRUPT_ACK, 1);
    g_assert_cmpuint(get(&f, HM_REG_INTERRUPT_STATUS), ==, 0);
    g_assert_false(g_atomic_int_get(&f.level));
}

static void test_device_outlives_its_registers(void)
{
    g_auto(Fixture) f = {0};
    HostmemVirtioMmio *other;

    open_fixture(&f);
    other = hostmem_virtio_mmio_new(HOSTMEM_VIRTIO_DEVICE(f.device), f.memory,
                                    NULL, NULL);
    g_object_unref(other);
    hm_test_device_set_value(f.device, 1, TRUE);
}

static const HmTest tests[] = {
    {"/virtio-mmio/identity", test_identity},
    {"/virtio-mmio/no-shared-memory", test_no_shared_memory},
    {"/virtio-mmio/odd-accesses", test_odd_accesses},
    {"/virtio-mmio/offered-features", test_offered_features},
    {"/virtio-mmio/refused-features", test_refused_features},
    {"/virtio-mmio/features-are-fixed", test_features_are_fixed},
    {"/virtio-mmio/status-bits-are-added", test_status_bits_are_added},
    {"/virtio-mmio/reset-forgets-everything", test_reset_forgets_everything},
    {"/virtio-mmio/machine-reset", test_machine_reset},
    {"/virtio-mmio/queues-that-are-not-there", test_queues_that_are_not_there},
    {"/virtio-mmio/queue-before-features", test_queue_before_features},
    {"/virtio-mmio/queue-outside-ram", test_queue_outside_ram},
    {"/virtio-mmio/queue-too-large", test_queue_too_large},
    {"/virtio-mmio/ready-queue-cannot-be-moved",
     test_ready_queue_cannot_be_moved},
    {"/virtio-mmio/config-sizes", test_config_sizes},
    {"/virtio-mmio/config-writes", test_config_writes},
    {"/virtio-mmio/generation", test_generation},
    {"/virtio-mmio/config-interrupt", test_config_interrupt},
    {"/virtio-mmio/acknowledge", test_acknowledge},
    {"/virtio-mmio/device-outlives-its-registers",
     test_device_outlives_its_registers},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
