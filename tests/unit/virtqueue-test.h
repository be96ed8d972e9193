/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/virtqueue.h>
#include "object-test.h"
#include "os-fake.h"
#include "ring-driver.h"
#include "util/size.h"

/*
 * A guest of 64 KiB at 4 GiB: rings first, then an indirect table, then
 * buffers.
 */
#define BASE     (4 * HM_GIB)
#define RAM      (64 * HM_KIB)
#define SIZE     8
#define TABLE    (BASE + 8 * HM_KIB)
#define BUFFERS  (BASE + 16 * HM_KIB)
#define OUTSIDE  (BASE + RAM)

#define INDIRECT HOSTMEM_VIRTIO_F_INDIRECT_DESC
#define EVENT    HOSTMEM_VIRTIO_F_EVENT_IDX
#define VERSION  HOSTMEM_VIRTIO_F_VERSION_1

typedef struct {
    HostmemGuestMemory *memory;
    HmRing ring;
    HostmemVirtqueue *queue;
} Fixture;

static inline HostmemVirtqueue *queue_new(const Fixture *f, guint64 features)
{
    g_autoptr(GError) error = NULL;
    HostmemVirtqueue *queue = hostmem_virtqueue_new(
        f->memory, f->ring.size, f->ring.descriptors, f->ring.available,
        f->ring.used, features | VERSION, &error);

    g_assert_no_error(error);
    return queue;
}

static inline void open_fixture(Fixture *f, guint16 size, guint64 features)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0,size=64K");
    g_autoptr(GError) error = NULL;

    f->memory = hostmem_guest_memory_new();
    hostmem_guest_memory_add(f->memory, BASE, ram, 0, RAM, NULL, &error);
    g_assert_no_error(error);
    hm_ring_init(&f->ring, hostmem_backend_get_host_addr(ram), BASE, BASE, size,
                 (features & EVENT) != 0);
    g_assert_cmpuint(hm_ring_end(&f->ring), <=, TABLE);
    f->queue = queue_new(f, features);
}

static inline void close_fixture(Fixture *f)
{
    hostmem_virtqueue_free(f->queue);
    g_object_unref(f->memory);
}

/* A new fixture that goes with its scope. */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Fixture, close_fixture)

static inline HostmemVirtqueueElement *pop(Fixture *f)
{
    HostmemVirtqueueElement *element;
    g_autoptr(GError) error = NULL;

    hostmem_virtqueue_pop(f->queue, &element, &error);
    g_assert_no_error(error);
    return element;
}

static inline void push(Fixture *f, HostmemVirtqueueElement *element,
                        guint32 written)
{
    g_autoptr(GError) error = NULL;

    hostmem_virtqueue_push(f->queue, element, written, &error);
    g_assert_no_error(error);
}

static inline void assert_empty(Fixture *f)
{
    g_assert_null(pop(f));
}

static const HmRingBuffer one_out = {BUFFERS, 16, FALSE};

/* One chain out and back. */
static inline void turn(Fixture *f)
{
    hm_ring_add(&f->ring, &one_out, 1);
    hm_ring_publish(&f->ring);
    push(f, pop(f), 0);
}

/* Both sides have done so many turns. */
static inline void start_at(Fixture *f, guint16 index)
{
    hostmem_virtqueue_set_indexes(f->queue, index, index);
    f->ring.next_available = index;
    f->ring.published = index;
    f->ring.seen_used = index;
}
