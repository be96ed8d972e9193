/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "object-test.h"
#include "ring-driver.h"
#include "virtio-mem-test.h"

/* The device as a transport and a driver see it, in numbers of the
 * specification. */

#define RAM_SIZE   (2 * HM_MIB)
#define RAM_BASE   HM_MIB
#define QUEUE_SIZE 8

typedef struct {
    HostmemVirtioMem *device;
    HostmemGuestMemory *memory;
    HostmemVirtqueue *queue;
    HmRing ring;
    guint64 buffers; /* guest physical */
    gboolean interrupt;
} Fixture;

static HostmemVirtioMem *make(guint node, HostmemOnOffAuto inaccessible)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");

    return hm_test_virtio_mem(memdev, "block-size", BLOCK, "requested-size",
                              REGION / 2, "node", node,
                              "unplugged-inaccessible", inaccessible, NULL);
}

static void fixture_init(Fixture *f)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=ram,size=2M");
    g_autoptr(GError) error = NULL;

    f->device = make(0, HOSTMEM_ON);
    f->memory = hostmem_guest_memory_new();
    hostmem_guest_memory_add(f->memory, RAM_BASE, ram, 0, RAM_SIZE, NULL,
                             &error);
    g_assert_no_error(error);
    hm_ring_init(&f->ring, hostmem_backend_get_host_addr(ram), RAM_BASE,
                 RAM_BASE, QUEUE_SIZE, FALSE);
    f->buffers = (hm_ring_end(&f->ring) + 15) & ~15ull;
    f->queue = hostmem_virtqueue_new(f->memory, QUEUE_SIZE, f->ring.descriptors,
                                     f->ring.available, f->ring.used,
                                     HOSTMEM_VIRTIO_F_VERSION_1, &error);
    g_assert_no_error(error);
}

static void fixture_clear(Fixture *f)
{
    g_clear_pointer(&f->queue, hostmem_virtqueue_free);
    g_clear_object(&f->memory);
    g_clear_object(&f->device);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Fixture, fixture_clear)

static HostmemVirtioDevice *virtio(Fixture *f)
{
    return HOSTMEM_VIRTIO_DEVICE(f->device);
}

/* A request of so many bytes, with room for so many. */
static void send(Fixture *f, guint nth, guint16 type, guint64 addr,
                 guint16 nb_blocks, guint32 out, guint32 in)
{
    const guint64 at = f->buffers + 64 * nth;
    const HmRingBuffer buffers[] = {{at, out, FALSE}, {at + 32, in, TRUE}};
    guint8 *request = hm_ring_host(&f->ring, at);

    memset(request, 0xff, 64);
    type = GUINT16_TO_LE(type);
    addr = GUINT64_TO_LE(addr);
    nb_blocks = GUINT16_TO_LE(nb_blocks);
    memcpy(request, &type, 2);
    memcpy(request + 8, &addr, 8);
    memcpy(request + 16, &nb_blocks, 2);
    hm_ring_add(&f->ring, buffers, 2);
    hm_ring_publish(&f->ring);
}

static gboolean process(Fixture *f, GError **error)
{
    return hostmem_virtio_device_process(virtio(f), 0, f->queue, &f->interrupt,
                                         error);
}

static guint16 number_at(Fixture *f, guint nth, guint offset)
{
    guint16 value;

    memcpy(&value, hm_ring_host(&f->ring, f->buffers + 64 * nth + 32 + offset),
           2);
    return GUINT16_FROM_LE(value);
}

static void assert_response(Fixture *f, guint nth, guint16 type, guint16 state)
{
    guint32 head, written;

    g_assert_true(hm_ring_get_used(&f->ring, &head, &written));
    g_assert_cmpuint(written, ==, 10);
    g_assert_cmpuint(number_at(f, nth, 0), ==, type);
    g_assert_cmpuint(number_at(f, nth, 8), ==, state);
}

/* Features and configuration */

static void test_numbers(void)
{
    g_autoptr(HostmemVirtioMem) device = make(0, HOSTMEM_ON);
    HostmemVirtioDevice *virtio = HOSTMEM_VIRTIO_DEVICE(device);

    g_assert_cmpuint(hostmem_virtio_device_get_device_id(virtio), ==, 24);
    g_assert_cmpuint(hostmem_virtio_device_get_n_queues(virtio), ==, 1);
    g_assert_cmpuint(hostmem_virtio_device_get_queue_size(virtio), ==, 128);
    g_assert_cmpuint(hostmem_virtio_device_get_config_size(virtio), ==, 56);
}

static void assert_features(guint node, HostmemOnOffAuto inaccessible,
                            guint64 expected)
{
    g_autoptr(HostmemVirtioMem) device = make(node, inaccessible);

    g_assert_cmpuint(
        hostmem_virtio_device_get_features(HOSTMEM_VIRTIO_DEVICE(device)), ==,
        expected);
}

static void test_features(void)
{
    assert_features(0, HOSTMEM_ON, 2);
    assert_features(1, HOSTMEM_ON, 3);
    assert_features(1, HOSTMEM_OFF, 1);
    assert_features(0, HOSTMEM_AUTO, 0);
}

static void test_driver_must_accept_inaccessible(void)
{
    g_autoptr(HostmemVirtioMem) on = make(1, HOSTMEM_ON);
    g_autoptr(HostmemVirtioMem) off = make(1, HOSTMEM_OFF);

    g_assert_false(
        hostmem_virtio_device_check_features(HOSTMEM_VIRTIO_DEVICE(on), 1));
    g_assert_true(
        hostmem_virtio_device_check_features(HOSTMEM_VIRTIO_DEVICE(on), 2));
    g_assert_true(
        hostmem_virtio_device_check_features(HOSTMEM_VIRTIO_DEVICE(off), 0));
}

static guint64 config_at(HostmemVirtioMem *device, gsize offset, gsize length)
{
    guint64 value = 0;

    hostmem_virtio_device_read_config(HOSTMEM_VIRTIO_DEVICE(device), offset,
                                      &value, length);
    return GUINT64_FROM_LE(value);
}

static void test_configuration(void)
{
    g_autoptr(HostmemVirtioMem) device = make(7, HOSTMEM_ON);

    hm_test_assert_answer(device, PLUG, 3, 5, ACK);
    g_assert_cmphex(config_at(device, 0, 8), ==, BLOCK);
    g_assert_cmphex(config_at(device, 8, 2), ==, 7);
    g_assert_cmphex(config_at(device, 8, 8), ==, 7);
    g_assert_cmphex(config_at(device, 16, 8), ==, BASE);
    g_assert_cmphex(config_at(device, 24, 8), ==, REGION);
    g_assert_cmphex(config_at(device, 32, 8), ==, REGION);
    g_assert_cmphex(config_at(device, 40, 8), ==, 5 * BLOCK);
    g_assert_cmphex(config_at(device, 48, 8), ==, REGION / 2);
    g_assert_cmphex(config_at(device, 20, 4), ==, BASE >> 32);
}

static void count(gpointer device G_GNUC_UNUSED, gpointer n)
{
    ++*(guint *)n;
}

/* As in QEMU: not when the guest's own requests change it. */
static void test_configuration_changes_with_requested_size(void)
{
    g_autoptr(HostmemVirtioMem) device = make(0, HOSTMEM_ON);
    guint n = 0;

    g_signal_connect(device, "config-changed", G_CALLBACK(count), &n);
    hm_test_assert_answer(device, PLUG, 0, 1, ACK);
    hm_test_assert_answer(device, UNPLUG_ALL, 0, 0, ACK);
    g_assert_cmpuint(n, ==, 0);
    hm_test_assert_set(device, "requested-size", "0");
    g_assert_cmpuint(n, ==, 1);
    hm_test_assert_set(device, "requested-size", "0");
    g_assert_cmpuint(n, ==, 2);
}

/* Requests */

static void test_request(void)
{
    g_auto(Fixture) f = {0};

    fixture_init(&f);
    send(&f, 0, 0, BASE + 2 * BLOCK, 3, 24, 10);
    g_assert_true(process(&f, NULL));
    g_assert_true(f.interrupt);
    assert_response(&f, 0, 0, 0);
    g_assert_cmpuint(hostmem_virtio_mem_get_size(f.device), ==, 3 * BLOCK);
}

static void test_all_requests_of_the_ring(void)
{
    g_auto(Fixture) f = {0};

    fixture_init(&f);
    send(&f, 0, 0, BASE, 1, 24, 10);
    send(&f, 1, 3, BASE, 2, 24, 10);
    send(&f, 2, 1, BASE, 2, 24, 10);
    send(&f, 3, 0, BASE, G_MAXUINT16, 24, 10);
    g_assert_true(process(&f, NULL));
    assert_response(&f, 0, 0, 0);
    assert_response(&f, 1, 0, 2);
    assert_response(&f, 2, 3, 0);
    assert_response(&f, 3, 3, 0);
    g_assert_true(process(&f, NULL));
    g_assert_false(f.interrupt);
}

static void test_longer_requests_and_responses(void)
{
    g_auto(Fixture) f = {0};

    fixture_init(&f);
    send(&f, 0, 3, BASE, 1, 32, 32);
    g_assert_true(process(&f, NULL));
    assert_response(&f, 0, 0, 1);
}

static void assert_violation(guint16 type, guint32 out, guint32 in,
                             const char *part)
{
    g_auto(Fixture) f = {0};
    guint32 head, written;
    GError *error = NULL;

    fixture_init(&f);
    send(&f, 0, 0, BASE, 1, 24, 10);
    send(&f, 1, type, BASE + BLOCK, 1, out, in);
    send(&f, 2, 0, BASE + 2 * BLOCK, 1, 24, 10);
    g_assert_false(process(&f, &error));
    hm_test_assert_error(error, HOSTMEM_ERROR_INVALID, part);
    assert_response(&f, 0, 0, 0);
    g_assert_false(hm_ring_get_used(&f.ring, &head, &written));
    g_assert_cmpuint(hostmem_virtio_mem_get_size(f.device), ==, BLOCK);
}

static void test_protocol_violations(void)
{
    assert_violation(4, 24, 10, "unknown type");
    assert_violation(G_MAXUINT16, 24, 10, "unknown type");
    assert_violation(0, 23, 10, "24 bytes");
    assert_violation(0, 24, 9, "10 bytes");
}

static void test_reset_by_the_driver_unplugs_nothing(void)
{
    g_autoptr(HostmemVirtioMem) device = make(0, HOSTMEM_ON);

    hm_test_assert_answer(device, PLUG, 0, 4, ACK);
    hostmem_virtio_device_reset(HOSTMEM_VIRTIO_DEVICE(device));
    g_assert_cmpuint(hostmem_virtio_mem_get_size(device), ==, 4 * BLOCK);
}

static const HmTest tests[] = {
    {"/virtio-mem-device/numbers", test_numbers},
    {"/virtio-mem-device/features", test_features},
    {"/virtio-mem-device/driver-must-accept-inaccessible",
     test_driver_must_accept_inaccessible},
    {"/virtio-mem-device/configuration", test_configuration},
    {"/virtio-mem-device/configuration-changes-with-requested-size",
     test_configuration_changes_with_requested_size},
    {"/virtio-mem-device/request", test_request},
    {"/virtio-mem-device/all-requests-of-the-ring",
     test_all_requests_of_the_ring},
    {"/virtio-mem-device/longer-requests-and-responses",
     test_longer_requests_and_responses},
    {"/virtio-mem-device/protocol-violations", test_protocol_violations},
    {"/virtio-mem-device/reset-by-the-driver-unplugs-nothing",
     test_reset_by_the_driver_unplugs_nothing},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
