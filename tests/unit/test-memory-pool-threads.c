/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <string.h>
#include <hostmem/memory-pool.h>
#include "backends/memory-pool.h"
#include "object-test.h"
#include "os-fake.h"
#include "pool-test.h"
#include "util/size.h"
#include "util/zero.h"

/* Many at once: whoever takes, gives back, resizes and looks. */

#define POOL    "memory-pool,id=p0,size=1M,segment-size=64K,thp=off"
#define SEGMENT (64 * HM_KIB)
#define ROUNDS  200

/* A tenant without a backend: takes memory, checks it, makes it dirty. */
static gpointer borrow_and_return(gpointer data)
{
    HostmemMemoryPool *pool = data;

    for (guint i = 0; i < ROUNDS; i++) {
        const HmPoolDemand demand = {.length = (1 + i % 3) * SEGMENT};
        g_autoptr(GError) error = NULL;
        HmPoolLoan *loan = hm_memory_pool_borrow(pool, &demand, &error);

        g_assert_no_error(error);
        for (guint s = 0; s < loan->segments->len; s++) {
            const HostmemBackend *segment =
                g_ptr_array_index(loan->segments, s);

            g_assert_true(hm_is_zero(segment->mapping.addr, SEGMENT));
            memset(segment->mapping.addr, 0x5a, SEGMENT);
        }
        hm_pool_loan_end(loan, i % 2);
    }
    return NULL;
}

static gpointer resize(gpointer data)
{
    static const char *const sizes[] = {"256K", "2M", "1M", "64K", "1M"};

    for (guint i = 0; i < ROUNDS / 4; i++) {
        hm_test_assert_set(data, "size", sizes[i % G_N_ELEMENTS(sizes)]);
        g_usleep(500);
    }
    hm_test_assert_set(data, "size", "1M");
    return NULL;
}

static gpointer look(gpointer data)
{
    for (guint i = 0; i < ROUNDS; i++) {
        HostmemMemoryPoolStatus status;
        guint64 done, total;

        hostmem_memory_pool_get_status(data, &status);
        g_assert_cmpuint(status.ready % SEGMENT, ==, 0);
        hostmem_memory_pool_get_progress(data, &done, &total, NULL);
        g_clear_error(&(GError *){hostmem_memory_pool_get_error(data)});
        g_usleep(100);
    }
    return NULL;
}

static void test_all_at_once(void)
{
    static const GThreadFunc funcs[] = {borrow_and_return, borrow_and_return,
                                        borrow_and_return, resize, look};
    g_autoptr(HostmemMemoryPool) pool =
        hm_test_make(POOL ",zero-threads=3,low-water=512K");
    GThread *threads[G_N_ELEMENTS(funcs)];

    for (guint i = 0; i < G_N_ELEMENTS(funcs); i++) {
        threads[i] = g_thread_new("test", funcs[i], pool);
    }
    for (guint i = 0; i < G_N_ELEMENTS(funcs); i++) {
        g_thread_join(threads[i]);
    }
    hm_test_await_ready(pool, 16);
    g_assert_false(hostmem_object_is_held(HOSTMEM_OBJECT(pool)));
}

/* The last one goes to one of two, and the other gets fresh memory. */

typedef struct {
    HostmemMemoryPool *pool;
    gint *ready;
    HmPoolLoan *loan;
} Racer;

static gpointer race(gpointer data)
{
    Racer *self = data;
    const HmPoolDemand demand = {.length = SEGMENT};

    g_atomic_int_inc(self->ready);
    while (g_atomic_int_get(self->ready) < 2) {
    }
    self->loan = hm_memory_pool_borrow(self->pool, &demand, NULL);
    return NULL;
}

static void test_last_segment(void)
{
    g_autoptr(HostmemMemoryPool) pool =
        hm_test_make("memory-pool,id=p0,size=64K,segment-size=64K,thp=off");

    for (guint i = 0; i < 50; i++) {
        gint ready = 0;
        Racer racers[2] = {{pool, &ready, NULL}, {pool, &ready, NULL}};
        GThread *threads[2];

        for (guint r = 0; r < 2; r++) {
            threads[r] = g_thread_new("test", race, &racers[r]);
        }
        for (guint r = 0; r < 2; r++) {
            g_thread_join(threads[r]);
        }
        g_assert_cmpuint(racers[0].loan->from_pool + racers[1].loan->from_pool,
                         ==, SEGMENT);
        g_assert_cmpuint(racers[0].loan->fresh.length +
                             racers[1].loan->fresh.length,
                         ==, SEGMENT);
        hm_pool_loan_end(racers[0].loan, FALSE);
        hm_pool_loan_end(racers[1].loan, FALSE);
        hm_test_await_ready(pool, 1);
    }
}

/* The pool goes while its threads zero, and some wait for who lets go. */
static void test_goes_at_once(void)
{
    for (guint i = 0; i < 20; i++) {
        HostmemMemoryPool *pool = hm_test_make(POOL ",zero-threads=2");
        const HmPoolDemand demand = {.length = 8 * SEGMENT};
        HmPoolLoan *loan = hm_memory_pool_borrow(pool, &demand, NULL);
        HmPoolSegment *first = g_ptr_array_index(loan->segments, 0);
        int theirs = hm_os_reopen(first->parent_instance.backing.fd, O_RDWR);

        hm_pool_loan_end(loan, TRUE);
        g_object_unref(pool);
        hm_os_close(theirs);
    }
}

/* Its last owner lets go while one of its threads tells that it is low. */

typedef struct {
    HostmemMemoryPool *pool;
    gint shrunk;
    gint told;
    gint gone;
} Owner;

/* What is being filled will be too much. */
static gint64 shrink(const HmFakeRecord *record G_GNUC_UNUSED, gpointer data)
{
    Owner *self = data;

    if (g_atomic_int_compare_and_exchange(&self->shrunk, FALSE, TRUE)) {
        hm_test_assert_set(self->pool, "size", "64K");
    }
    return 0;
}

static void on_low(gpointer pool G_GNUC_UNUSED, guint64 ready G_GNUC_UNUSED,
                   guint64 low_water G_GNUC_UNUSED, gpointer data)
{
    Owner *self = data;

    g_atomic_int_set(&self->told, TRUE);
    while (!g_atomic_int_get(&self->gone)) {
        g_usleep(100);
    }
}

static void test_goes_while_it_tells(void)
{
    guint fds = hm_test_count_fds();
    Owner owner = {0};

    owner.pool = hm_test_make("memory-pool,id=p0,size=64K,segment-size=64K,"
                              "thp=off,low-water=128K");
    g_signal_connect(owner.pool, "low", G_CALLBACK(on_low), &owner);
    hm_fake_hook(HM_FAKE_ADVISE, shrink, &owner);
    hm_test_assert_set(owner.pool, "size", "1M");
    while (!g_atomic_int_get(&owner.told)) {
        g_usleep(100);
    }
    g_object_unref(owner.pool);
    g_atomic_int_set(&owner.gone, TRUE);
    hm_fake_hook(HM_FAKE_ADVISE, NULL, NULL);
    while (hm_test_count_fds() > fds) {
        g_usleep(100);
    }
}

static const HmTest tests[] = {
    {"/pool-threads/all-at-once", test_all_at_once},
    {"/pool-threads/last-segment", test_last_segment},
    {"/pool-threads/goes-at-once", test_goes_at_once},
    {"/pool-threads/goes-while-it-tells", test_goes_while_it_tells},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
