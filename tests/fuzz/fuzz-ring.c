/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <hostmem/virtio-mem.h>
#include <hostmem/virtio-mmio.h>
#include "fuzz.h"
#include "os-fake.h"
#include "util/size.h"

/*
 * A guest that does what the fuzzer wants to the registers of virtio-mem, to
 * its rings, and to its memory.  The input is a sequence of steps, each a byte
 * that says which, and what belongs to it, little endian:
 *
 *   0 register, value       offset / 4 in a byte; 32 bits
 *   1 register, size        offset in 16 bits; read, a byte
 *   2 address, n, bytes     16 bits; a byte; written to RAM
 *   3 -                     a driver that keeps the rules, up to DRIVER_OK
 *   4 table, i, flags, next, length, address
 *                           a descriptor: a byte each for the first four, 16
 *                           bits, 64 bits
 *   5 head                  one more chain is available; notify
 *   6 type, block, n        a whole request, as a driver makes it; a byte each
 *   7 n                     as many blocks are requested
 *   8 which                 the device, or the machine, is reset
 *
 * RAM is 64 KiB at 0, in the middle of a backend whose other pages nobody may
 * touch.  Behind 4 GiB is the region.
 */
#define STEPS   9
#define PAD     (16 * HM_KIB)
#define RAM     (64 * HM_KIB)
#define BASE    (4 * HM_GIB)
#define BLOCK   (2 * HM_MIB)
#define REGION  (4 * BLOCK)
#define SIZE    8
#define DESC    0x0000
#define AVAIL   0x0100
#define USED    0x0200
#define TABLE   0x0300
#define REQUEST 0x0400
#define ANSWER  0x0420

typedef struct {
    const guint8 *data;
    gsize left;
    HostmemBackend *ram;
    guint8 *host; /* of guest address 0 */
    HostmemBackend *memdev;
    HostmemVirtioMem *device;
    HostmemGuestMemory *memory;
    HostmemVirtioMmio *mmio;
    gint level; /* of the interrupt line */
} Guest;

static guint64 take(Guest *guest, guint bytes)
{
    guint64 value = 0;

    for (guint i = 0; i < bytes && guest->left; i++) {
        value |= (guint64)*guest->data++ << (8 * i);
        guest->left--;
    }
    return value;
}

static void set(Guest *guest, guint64 reg, guint32 value)
{
    hostmem_virtio_mmio_write(guest->mmio, reg, value, 4);
}

static void put(Guest *guest, guint address, guint64 value, guint bytes)
{
    value = GUINT64_TO_LE(value);
    memcpy(guest->host + address, &value, bytes);
}

/* Steps */

static void write_register(Guest *guest)
{
    guint64 reg = 4 * take(guest, 1);

    set(guest, reg, (guint32)take(guest, 4));
}

static void read_register(Guest *guest)
{
    guint64 offset = take(guest, 2);

    hostmem_virtio_mmio_read(guest->mmio, offset, (guint)take(guest, 1));
}

static void write_memory(Guest *guest)
{
    guint64 address = take(guest, 2);
    guint64 n = take(guest, 1);

    for (guint64 i = 0; i < n && address + i < RAM; i++) {
        guest->host[address + i] = (guint8)take(guest, 1);
    }
}

static void start_driver(Guest *guest)
{
    memset(guest->host, 0, REQUEST);
    set(guest, 0x70, 0);
    set(guest, 0x70, 3);
    for (guint32 i = 0; i < 2; i++) {
        set(guest, 0x14, i);
        set(guest, 0x24, i);
        set(guest, 0x20,
            (guint32)hostmem_virtio_mmio_read(guest->mmio, 0x10, 4));
    }
    set(guest, 0x70, 11);
    set(guest, 0x38, SIZE);
    set(guest, 0x80, DESC);
    set(guest, 0x90, AVAIL);
    set(guest, 0xa0, USED);
    set(guest, 0x44, 1);
    set(guest, 0x70, 15);
    g_assert_cmphex(hostmem_virtio_mmio_read(guest->mmio, 0x70, 4), ==, 15);
}

static void put_descriptor(Guest *guest, guint at, guint flags, guint next,
                           guint length, guint64 address)
{
    put(guest, at, address, 8);
    put(guest, at + 8, length, 4);
    put(guest, at + 12, flags, 2);
    put(guest, at + 14, next, 2);
}

static void write_descriptor(Guest *guest)
{
    guint table = take(guest, 1) % 2 ? TABLE : DESC;
    guint at = table + 16 * (take(guest, 1) % (SIZE + 1));
    guint flags = (guint)take(guest, 1);
    guint next = (guint)take(guest, 1);
    guint length = (guint)take(guest, 2);

    put_descriptor(guest, at, flags, next, length, take(guest, 8));
}

static void publish(Guest *guest, guint head)
{
    guint idx = (guint)(guest->host[AVAIL + 2] | guest->host[AVAIL + 3] << 8);

    put(guest, AVAIL + 4 + 2 * (idx % SIZE), head, 2);
    put(guest, AVAIL + 2, idx + 1, 2);
    set(guest, 0x50, 0);
}

static void make_request(Guest *guest)
{
    guint64 type = take(guest, 1);
    guint64 block = take(guest, 1);

    put(guest, REQUEST, type, 8);
    put(guest, REQUEST + 8, BASE + block * BLOCK, 8);
    put(guest, REQUEST + 16, take(guest, 1), 8);
    put_descriptor(guest, DESC, 1, 1, 24, REQUEST);
    put_descriptor(guest, DESC + 16, 2, 0, 10, ANSWER);
    publish(guest, 0);
}

static void resize(Guest *guest)
{
    guint64 size = take(guest, 1) * BLOCK;

    g_assert_cmpint(
        hostmem_virtio_mem_set_requested_size(guest->device, size, NULL), ==,
        size <= REGION);
}

static void reset(Guest *guest)
{
    if (take(guest, 1) % 2) {
        hostmem_virtio_mem_reset(guest->device);
    }
    hostmem_virtio_mmio_reset(guest->mmio);
    g_assert_cmphex(hostmem_virtio_mmio_read(guest->mmio, 0x70, 4), ==, 0);
    g_assert_cmpint(guest->level, ==, 0);
}

static void step(Guest *guest)
{
    switch (take(guest, 1) % STEPS) {
    case 0:
        write_register(guest);
        break;
    case 1:
        read_register(guest);
        break;
    case 2:
        write_memory(guest);
        break;
    case 3:
        start_driver(guest);
        break;
    case 4:
        write_descriptor(guest);
        break;
    case 5:
        publish(guest, (guint)take(guest, 1));
        break;
    case 6:
        make_request(guest);
        break;
    case 7:
        resize(guest);
        break;
    default:
        reset(guest);
    }
}

/* What must hold */

static void check_state(Guest *guest)
{
    g_autoptr(GError) error = hostmem_virtio_mmio_get_error(guest->mmio);
    guint64 status = hostmem_virtio_mmio_read(guest->mmio, 0x70, 4);

    fuzz_check_error(!(status & 0x40), error);
    g_assert_cmpint(guest->level, ==,
                    hostmem_virtio_mmio_read(guest->mmio, 0x60, 4) != 0);
}

static gboolean is_zero(const guint8 *bytes, gsize n)
{
    return n == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, n - 1) == 0);
}

static void check_memory(Guest *guest)
{
    g_assert_true(is_zero(guest->host - PAD, PAD));
    g_assert_true(is_zero(guest->host + RAM, PAD));
    g_assert_cmpuint(hostmem_backend_get_populated_size(guest->memdev), <=,
                     hostmem_virtio_mem_get_size(guest->device));
}

/* Life */

static gpointer make(GType type, const char *property, gpointer value,
                     guint64 size)
{
    g_autoptr(GError) error = NULL;
    gpointer object =
        value ? g_initable_new(type, NULL, &error, property, value, "memaddr",
                               BASE, "block-size", BLOCK, NULL)
              : g_initable_new(type, NULL, &error, property, size, NULL);

    g_assert_no_error(error);
    return object;
}

static void on_interrupt(gboolean pending, gpointer user_data)
{
    Guest *guest = user_data;

    guest->level = pending;
}

static void drop_message(const char *domain G_GNUC_UNUSED,
                         GLogLevelFlags level G_GNUC_UNUSED,
                         const char *message G_GNUC_UNUSED,
                         gpointer data G_GNUC_UNUSED)
{
}

static void open_guest(Guest *guest)
{
    hm_fake_reset();
    guest->ram = make(HOSTMEM_TYPE_BACKEND_RAM, "size", NULL, RAM + 2 * PAD);
    guest->host = (guint8 *)hostmem_backend_get_host_addr(guest->ram) + PAD;
    guest->memdev = make(HOSTMEM_TYPE_BACKEND_RAM, "size", NULL, REGION);
    guest->device = make(HOSTMEM_TYPE_VIRTIO_MEM, "memdev", guest->memdev, 0);
    guest->memory = hostmem_guest_memory_new();
    g_assert_true(hostmem_guest_memory_add(guest->memory, 0, guest->ram, PAD,
                                           RAM, NULL, NULL));
    g_assert_true(
        hostmem_guest_memory_add(guest->memory, BASE, guest->memdev, 0, REGION,
                                 HOSTMEM_DISCARD_SOURCE(guest->device), NULL));
    guest->mmio = hostmem_virtio_mmio_new(HOSTMEM_VIRTIO_DEVICE(guest->device),
                                          guest->memory, on_interrupt, guest);
}

static void close_guest(Guest *guest)
{
    g_object_unref(guest->mmio);
    g_object_unref(guest->memory);
    g_object_unref(guest->device);
    g_object_unref(guest->memdev);
    g_object_unref(guest->ram);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static guint handler;
    Guest guest = {.data = data, .left = size};

    if (!handler) {
        handler = g_log_set_handler("hostmem", G_LOG_LEVEL_MESSAGE,
                                    drop_message, NULL);
    }
    open_guest(&guest);
    while (guest.left) {
        step(&guest);
        check_state(&guest);
    }
    check_memory(&guest);
    close_guest(&guest);
    return 0;
}
