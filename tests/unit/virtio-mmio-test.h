/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "object-test.h"
#include "os-fake.h"
#include "util/size.h"
#include "virtio-device-test.h"
#include "virtio-driver.h"

/* A guest of 256 KiB at 4 GiB, the test device, and a driver for it. */
#define BASE         (4 * HM_GIB)
#define RAM          (256 * HM_KIB)
#define ALL_FEATURES (~(guint64)0)

typedef struct {
    HmTestDevice *device;
    HostmemGuestMemory *memory;
    guint8 *ram;
    HostmemVirtioMmio *mmio;
    HmVirtioDriver driver;
    gint level;      /* atomic: of the interrupt line */
    gint interrupts; /* atomic: how often it was said to be up */
} Fixture;

static inline void on_interrupt(gboolean pending, gpointer user_data)
{
    Fixture *f = user_data;

    g_atomic_int_set(&f->level, pending);
    if (pending) {
        g_atomic_int_inc(&f->interrupts);
    }
}

static inline void open_fixture(Fixture *f)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0,size=256K");
    g_autoptr(GError) error = NULL;

    f->device = hm_test_device_new();
    f->memory = hostmem_guest_memory_new();
    f->ram = hostmem_backend_get_host_addr(ram);
    hostmem_guest_memory_add(f->memory, BASE, ram, 0, RAM, NULL, &error);
    g_assert_no_error(error);
    f->mmio = hostmem_virtio_mmio_new(HOSTMEM_VIRTIO_DEVICE(f->device),
                                      f->memory, on_interrupt, f);
    hm_virtio_driver_init(&f->driver, f->mmio, f->ram, BASE, BASE);
}

static inline void close_fixture(Fixture *f)
{
    g_object_unref(f->mmio);
    g_object_unref(f->memory);
    g_object_unref(f->device);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Fixture, close_fixture)

static inline guint32 get(Fixture *f, guint32 reg)
{
    return hm_virtio_driver_get(&f->driver, reg);
}

static inline void set(Fixture *f, guint32 reg, guint32 value)
{
    hm_virtio_driver_set(&f->driver, reg, value);
}

/* A request that is answered as the device should. */
static inline void ping(Fixture *f)
{
    char in[4];

    g_assert_cmpuint(
        hm_virtio_driver_request(&f->driver, "ping", 4, in, sizeof(in)), ==, 4);
    g_assert_cmpmem(in, 4, "\x8f\x96\x91\x98", 4);
}

/* The device needs a reset, and says why. */
static inline void assert_needs_reset(Fixture *f, const char *part)
{
    GError *error = hostmem_virtio_mmio_get_error(f->mmio);

    g_assert_true(get(f, HM_REG_STATUS) & HM_STATUS_NEEDS_RESET);
    hm_test_assert_error(error, HOSTMEM_ERROR_INVALID, part);
}
