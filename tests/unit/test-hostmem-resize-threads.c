/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/backend.h>
#include "backends/hostmem.h"
#include "object-test.h"
#include "util/size.h"

/*
 * Many threads on one backend, whose size changes all the time.  Whoever holds
 * it finds what it was told of: size, address, content.  A race is a SIGSEGV or
 * a SIGBUS, or found by ThreadSanitizer.
 */

#define TURNS 150
#define LEAST (64 * HM_KIB)
#define MOST  (2 * HM_MIB)

typedef struct {
    HostmemBackend *backend;
    HostmemResizeFlags flags;
    gint done;     /* atomic: the one who resizes has had enough */
    guint resized; /* how often it could */
    gint held;     /* atomic: how often somebody could hold it */
} Crowd;

static gboolean goes_on(Crowd *crowd)
{
    return !g_atomic_int_get(&crowd->done);
}

static gpointer resize(gpointer data)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    Crowd *crowd = data;

    /* However late the others begin. */
    for (guint i = 0;
         i < TURNS || !crowd->resized || !g_atomic_int_get(&crowd->held); i++) {
        const guint64 pages = LEAST / 4096 + g_rand_int_range(rand, 0, 496);

        crowd->resized += hostmem_backend_resize(crowd->backend, pages * 4096,
                                                 crowd->flags, NULL, NULL);
        g_usleep(50);
    }
    g_atomic_int_set(&crowd->done, TRUE);
    return NULL;
}

/* Nothing becomes less under a hold, and nothing moves. */
static gpointer hold(gpointer data)
{
    Crowd *crowd = data;
    HostmemObject *object = HOSTMEM_OBJECT(crowd->backend);

    while (goes_on(crowd)) {
        guint64 size;
        guint8 *addr;

        hostmem_object_hold(object);
        size = hostmem_backend_get_size(crowd->backend);
        addr = hostmem_backend_get_host_addr(crowd->backend);
        g_usleep(20);
        addr[size - 1] = 1;
        g_assert_true(hostmem_backend_get_host_addr(crowd->backend) == addr);
        g_assert_cmpuint(hostmem_backend_get_size(crowd->backend), >=, size);
        hostmem_object_release(object);
        g_atomic_int_inc(&crowd->held);
        g_usleep(200);
    }
    return NULL;
}

/* Of a device, which needs the start of it. */
static gpointer need(gpointer data)
{
    Crowd *crowd = data;
    HostmemObject *object = HOSTMEM_OBJECT(crowd->backend);

    while (goes_on(crowd)) {
        guint8 *addr;

        hostmem_object_hold(object);
        hm_backend_need(crowd->backend, LEAST);
        addr = hostmem_backend_get_host_addr(crowd->backend);
        for (guint64 at = 1; at < LEAST; at += 4096) {
            addr[at] = 2;
        }
        hm_backend_need_no_more(crowd->backend, LEAST);
        hostmem_object_release(object);
        g_usleep(200);
    }
    return NULL;
}

static gpointer populate(gpointer data)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(2);
    Crowd *crowd = data;

    while (goes_on(crowd)) {
        const guint64 offset = (guint64)g_rand_int_range(rand, 0, 512) * 4096;

        hostmem_backend_populate(crowd->backend, offset, 8192, NULL, NULL);
    }
    return NULL;
}

static gpointer discard(gpointer data)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(3);
    Crowd *crowd = data;

    while (goes_on(crowd)) {
        const guint64 offset = (guint64)g_rand_int_range(rand, 0, 512) * 4096;

        hostmem_backend_discard(crowd->backend, offset, 8192, NULL);
    }
    return NULL;
}

static gpointer ask(gpointer data)
{
    Crowd *crowd = data;

    while (goes_on(crowd)) {
        HostmemPreallocReport report;
        const HostmemBackendPart *parts;
        guint n;

        g_assert_cmpuint(hostmem_backend_get_populated_size(crowd->backend), <=,
                         MOST);
        g_assert_cmpuint(hostmem_backend_get_backed_size(crowd->backend), <=,
                         MOST);
        hostmem_backend_get_report(crowd->backend, &report);
        parts = hostmem_backend_get_parts(crowd->backend, &n);
        g_assert_true(!n || parts[n - 1].length >= LEAST);
        hm_test_read_number(crowd->backend, "size");
    }
    return NULL;
}

static void run(const char *options, HostmemResizeFlags flags)
{
    static const GThreadFunc all[] = {resize,   hold,    need,
                                      populate, discard, ask};
    g_autoptr(HostmemBackend) backend = hm_test_make(options);
    Crowd crowd = {.backend = backend, .flags = flags};
    GThread *threads[G_N_ELEMENTS(all)];

    for (gsize i = 0; i < G_N_ELEMENTS(all); i++) {
        threads[i] = g_thread_new("crowd", all[i], &crowd);
    }
    for (gsize i = 0; i < G_N_ELEMENTS(all); i++) {
        g_thread_join(threads[i]);
    }
    g_assert_true(hostmem_backend_populate(
        backend, 0, hostmem_backend_get_size(backend), NULL, NULL));
}

#define ROOM ",id=m0,size=64K,max-size=2M,thp=off"

static void test_ram(void)
{
    run("memory-backend-ram" ROOM, HOSTMEM_RESIZE_IN_PLACE);
}

static void test_a_sealed_memfd(void)
{
    run("memory-backend-memfd" ROOM, HOSTMEM_RESIZE_IN_PLACE);
}

static void test_an_unsealed_memfd(void)
{
    run("memory-backend-memfd,seal=off" ROOM, HOSTMEM_RESIZE_IN_PLACE);
}

static void test_populated_memory(void)
{
    run("memory-backend-shm,prealloc=on,prealloc-threads=2" ROOM,
        HOSTMEM_RESIZE_IN_PLACE);
}

static void test_memory_that_moves(void)
{
    run("memory-backend-ram,id=m0,size=64K,thp=off", HOSTMEM_RESIZE_MAY_MOVE);
}

static void test_shared_memory_that_moves(void)
{
    run("memory-backend-ram,share=on,id=m0,size=64K,thp=off,prealloc=on",
        HOSTMEM_RESIZE_MAY_MOVE);
}

static void on_gone(gpointer gone, GObject *where G_GNUC_UNUSED)
{
    g_atomic_int_set((gint *)gone, TRUE);
}

/* The thread that resizes it has the last reference. */
static void test_the_last_unref(void)
{
    for (guint i = 0; i < 20; i++) {
        HostmemBackend *backend =
            hm_test_make("memory-backend-memfd,prealloc=on" ROOM);
        gint gone = FALSE;

        g_object_weak_ref(G_OBJECT(backend), on_gone, &gone);
        hostmem_backend_resize_async(backend, MOST, HOSTMEM_RESIZE_IN_PLACE,
                                     NULL, NULL, NULL);
        g_object_unref(backend);
        while (!g_atomic_int_get(&gone)) {
            g_main_context_iteration(NULL, FALSE);
            g_usleep(100);
        }
    }
}

static const HmTest tests[] = {
    {"/hostmem-resize-threads/ram", test_ram},
    {"/hostmem-resize-threads/a-sealed-memfd", test_a_sealed_memfd},
    {"/hostmem-resize-threads/an-unsealed-memfd", test_an_unsealed_memfd},
    {"/hostmem-resize-threads/populated-memory", test_populated_memory},
    {"/hostmem-resize-threads/memory-that-moves", test_memory_that_moves},
    {"/hostmem-resize-threads/shared-memory-that-moves",
     test_shared_memory_that_moves},
    {"/hostmem-resize-threads/the-last-unref", test_the_last_unref},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
