/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <stdlib.h>
#include "virtio-driver.h"

#include <hostmem/hostmem.h>

/*
 * A virtio-mem behind virtio-mmio, and a driver that asks it what standard
 * input says, by registers and rings alone:
 *
 *     virtio-mem-mmio OBJECT BLOCK-SIZE MEMADDR
 *
 *     resize SIZE             1, or 0 when it is refused
 *     sizes                   usable, plugged and requested, as the guest reads
 *     ask N                   and N lines "TYPE ADDR NB-BLOCKS" behind it, made
 *                             available at once: N lines "ANSWER STATE"
 */

#define RAM       (64 * 1024)
#define RING      64
#define MAX_LINE  128

#define USABLE    0x20 /* in the device's configuration */
#define PLUGGED   0x28
#define REQUESTED 0x30

/* On the wire; the hosts of this test are little endian. */
typedef struct {
    guint16 type;
    guint16 padding[3];
    guint64 addr;
    guint16 nb_blocks;
    guint16 more_padding[3];
} Request;

typedef struct {
    guint16 type;
    guint16 padding[3];
    guint16 state;
} Response;

#define RESPONSE_SIZE 10

typedef struct {
    HostmemVirtioMem *device;
    HmVirtioDriver driver;
} Guest;

static void on_interrupt(G_GNUC_UNUSED gboolean pending,
                         G_GNUC_UNUSED gpointer user_data)
{
}

static gpointer add(HostmemRegistry *registry, const char *line)
{
    g_autoptr(GError) error = NULL;
    HostmemObject *object = hostmem_registry_add(registry, line, NULL, &error);

    g_assert_no_error(error);
    return object;
}

static void make_device(Guest *guest, HostmemRegistry *registry, char **argv)
{
    g_autoptr(GError) error = NULL;

    guest->device = g_initable_new(
        HOSTMEM_TYPE_VIRTIO_MEM, NULL, &error, "memdev", add(registry, argv[1]),
        "block-size", g_ascii_strtoull(argv[2], NULL, 10), "memaddr",
        g_ascii_strtoull(argv[3], NULL, 10), NULL);
    g_assert_no_error(error);
}

static void start_driver(Guest *guest, HostmemRegistry *registry)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HostmemGuestMemory) memory = hostmem_guest_memory_new();
    g_autofree char *line =
        g_strdup_printf("memory-backend-ram,id=ram,size=%d", RAM);
    HostmemBackend *ram = add(registry, line);

    hostmem_guest_memory_add(memory, 0, ram, 0, RAM, NULL, &error);
    g_assert_no_error(error);
    hm_virtio_driver_init(
        &guest->driver,
        hostmem_virtio_mmio_new(HOSTMEM_VIRTIO_DEVICE(guest->device), memory,
                                on_interrupt, NULL),
        hostmem_backend_get_host_addr(ram), 0, 0);
    hm_virtio_driver_start(&guest->driver, ~G_GUINT64_CONSTANT(0), RING);
}

static void read_line(char line[MAX_LINE])
{
    if (!fgets(line, MAX_LINE, stdin)) {
        exit(EXIT_SUCCESS);
    }
}

static void send_request(Guest *guest)
{
    Request request = {0};
    char line[MAX_LINE];
    int n;

    read_line(line);
    n = sscanf(line, "%hu %" G_GUINT64_FORMAT " %hu", &request.type,
               &request.addr, &request.nb_blocks);
    g_assert_cmpint(n, ==, 3);
    hm_virtio_driver_send(&guest->driver, &request, sizeof(request),
                          RESPONSE_SIZE);
}

static void ask(Guest *guest, guint n)
{
    Response response;

    g_assert_cmpuint(n, <=, RING);
    for (guint i = 0; i < n; i++) {
        send_request(guest);
    }
    hm_virtio_driver_kick(&guest->driver);
    for (guint i = 0; i < n; i++) {
        guint32 written =
            hm_virtio_driver_receive(&guest->driver, &response, RESPONSE_SIZE);
        g_assert_cmpuint(written, ==, RESPONSE_SIZE);
        printf("%u %u\n", response.type, response.state);
    }
}

static guint64 config(Guest *guest, guint32 offset)
{
    return hm_virtio_driver_get_config64(&guest->driver, offset);
}

static void serve(Guest *guest, const char *line)
{
    guint64 number;

    if (sscanf(line, "resize %" G_GUINT64_FORMAT, &number) == 1) {
        printf("%d\n", hostmem_virtio_mem_set_requested_size(guest->device,
                                                             number, NULL));
    } else if (sscanf(line, "ask %" G_GUINT64_FORMAT, &number) == 1) {
        ask(guest, (guint)number);
    } else {
        printf("%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT
               "\n",
               config(guest, USABLE), config(guest, PLUGGED),
               config(guest, REQUESTED));
    }
    fflush(stdout);
}

int main(G_GNUC_UNUSED int argc, char **argv)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    Guest guest = {0};
    char line[MAX_LINE];

    make_device(&guest, registry, argv);
    start_driver(&guest, registry);
    for (;;) {
        read_line(line);
        serve(&guest, line);
    }
}
