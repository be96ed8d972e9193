/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <sys/mman.h>
#include "discard-ear.h"
#include "object-test.h"
#include "os-fake.h"
#include "util/linux-compat.h"
#include "virtio-mem-test.h"

/*
 * An hour of a cloud in a minute: guests that plug and unplug, an operator who
 * resizes and resets, users of the memory who come, go and refuse, and a kernel
 * that fails.  At the end of each round the device, the host's memory and the
 * listeners must agree.  Two seconds of it by default, a minute with -m slow.
 */

#define N_BLOCKS    (REGION / BLOCK)
#define ROUND_US    100000
#define QUICK_US    (2 * G_USEC_PER_SEC)
#define SLOW_US     (60 * G_USEC_PER_SEC)
#define FAIL_ONE_IN 40

typedef struct {
    HostmemVirtioMem *device;
    guint8 *host; /* where the memory is */
    HmEar all;    /* listens all the time */
    gboolean prealloc;
    gboolean discards_fail;
    guint32 seed;
    gint stop; /* atomic */
} Round;

static gboolean goes_on(Round *self)
{
    return !g_atomic_int_get(&self->stop);
}

/* The kernel */

static gboolean strikes(void)
{
    return !g_random_int_range(0, FAIL_ONE_IN);
}

/* HmFakeHooks. */
static gint64 fail_advice(const HmFakeRecord *record, gpointer data)
{
    const Round *round = data;

    switch (record->arg) {
    case MADV_POPULATE_WRITE:
        return strikes() ? -(g_random_boolean() ? ENOMEM : EFAULT) : 0;
    case MADV_COLLAPSE:
        return strikes() ? -ENOMEM : 0;
    case MADV_DONTNEED:
        return round->discards_fail && strikes() ? -ENOMEM : 0;
    default:
        return 0;
    }
}

static gint64 fail_allocation(const HmFakeRecord *record G_GNUC_UNUSED,
                              gpointer data G_GNUC_UNUSED)
{
    return strikes() ? -ENOSPC : 0;
}

static gint64 fail_punch(const HmFakeRecord *record G_GNUC_UNUSED,
                         gpointer data)
{
    const Round *round = data;

    return round->discards_fail && strikes() ? -EIO : 0;
}

static void bend_kernel(Round *round)
{
    hm_fake_hook(HM_FAKE_ADVISE, fail_advice, round);
    hm_fake_hook(HM_FAKE_ALLOCATE, fail_allocation, round);
    hm_fake_hook(HM_FAKE_PUNCH, fail_punch, round);
}

static void mend_kernel(void)
{
    hm_fake_hook(HM_FAKE_ADVISE, NULL, NULL);
    hm_fake_hook(HM_FAKE_ALLOCATE, NULL, NULL);
    hm_fake_hook(HM_FAKE_PUNCH, NULL, NULL);
}

/* The guest */

static HostmemVirtioMemRequestType any_request(GRand *rand)
{
    gint32 dice = g_rand_int_range(rand, 0, 100);

    return dice < 50   ? HOSTMEM_VIRTIO_MEM_PLUG
           : dice < 90 ? HOSTMEM_VIRTIO_MEM_UNPLUG
           : dice < 99 ? HOSTMEM_VIRTIO_MEM_STATE
                       : HOSTMEM_VIRTIO_MEM_UNPLUG_ALL;
}

/* Now and then blocks that are not there. */
static gpointer guest(gpointer data)
{
    Round *round = data;
    g_autoptr(GRand) rand = g_rand_new_with_seed(round->seed);

    while (goes_on(round)) {
        hm_test_ask(round->device, any_request(rand),
                    g_rand_int_range(rand, -1, N_BLOCKS + 1),
                    (guint16)g_rand_int_range(rand, 0, 5));
    }
    return NULL;
}

/* The operator */

static void operate(HostmemVirtioMem *device, GRand *rand)
{
    gint32 dice = g_rand_int_range(rand, 0, 100);
    HostmemVirtioMemStatus status;

    if (dice < 60) {
        guint64 size = (guint64)g_rand_int_range(rand, 0, N_BLOCKS + 1) * BLOCK;

        g_assert_true(
            hostmem_virtio_mem_set_requested_size(device, size, NULL));
    } else if (dice < 80) {
        hostmem_virtio_mem_get_status(device, &status);
        g_assert_cmpuint(status.plugged, <=, REGION);
    } else if (dice < 90) {
        hostmem_virtio_mem_set_busy(device, dice & 1);
    } else if (dice < 92) {
        hostmem_virtio_mem_reset(device);
    }
}

static gpointer operator(gpointer data)
{
    Round *round = data;
    g_autoptr(GRand) rand = g_rand_new_with_seed(round->seed + 1);

    while (goes_on(round)) {
        operate(round->device, rand);
        g_usleep((gulong)g_rand_int_range(rand, 0, 2000));
    }
    return NULL;
}

/* Those who map the memory */

static gpointer come_and_go(gpointer data)
{
    Round *round = data;
    g_autoptr(GRand) rand = g_rand_new_with_seed(round->seed + 2);

    while (goes_on(round)) {
        HmEar ear;

        hm_ear_init(&ear, HOSTMEM_DISCARD_SOURCE(round->device),
                    (guint)g_rand_int_range(rand, 0, 20), g_rand_int(rand));
        if (hm_ear_add(&ear)) {
            hm_ear_compare(&ear);
            g_usleep((gulong)g_rand_int_range(rand, 0, 3000));
            hm_ear_compare(&ear);
            hm_ear_remove(&ear);
        }
        hm_ear_clear(&ear);
    }
    return NULL;
}

/* A round */

static guint64 populated_in(const Round *round, guint block)
{
    gint64 bytes = hm_os_populated(round->host + block * BLOCK, BLOCK);

    g_assert_cmpint(bytes, >=, 0);
    return (guint64)bytes;
}

/* Returns: whether it is plugged; all who know say the same */
static gboolean check_block(Round *round, guint i)
{
    HostmemVirtioMemState state = hm_test_state(round->device, i, 1);
    gboolean plugged = state == HOSTMEM_VIRTIO_MEM_PLUGGED;

    g_assert_cmpint(state, !=, HOSTMEM_VIRTIO_MEM_MIXED);
    g_assert_cmpint(round->all.told[i], ==, plugged);
    if (plugged || !round->discards_fail) {
        g_assert_cmpuint(populated_in(round, i), ==,
                         plugged && round->prealloc ? BLOCK : 0);
    }
    return plugged;
}

static void check_agreement(Round *round)
{
    guint64 plugged = 0;

    /* All of the region may be asked about. */
    g_assert_true(
        hostmem_virtio_mem_set_requested_size(round->device, REGION, NULL));
    for (guint i = 0; i < N_BLOCKS; i++) {
        plugged += check_block(round, i) ? BLOCK : 0;
    }
    g_assert_cmpuint(hostmem_virtio_mem_get_size(round->device), ==, plugged);
    hm_ear_compare(&round->all);
}

/* The device has been through nothing that lasts. */
static void check_health(Round *round)
{
    HostmemBackend *memdev = hostmem_virtio_mem_get_memdev(round->device);

    hm_test_assert_answer(round->device, UNPLUG_ALL, 0, 0, ACK);
    hm_test_assert_answer(round->device, PLUG, 0, N_BLOCKS, ACK);
    check_agreement(round);
    hm_test_assert_answer(round->device, UNPLUG_ALL, 0, 0, ACK);
    g_assert_cmpuint(hostmem_virtio_mem_get_size(round->device), ==, 0);
    g_assert_cmpuint(hostmem_backend_get_populated_size(memdev), ==, 0);
    g_assert_cmpuint(hostmem_backend_get_backed_size(memdev), ==, 0);
}

static void run_threads(Round *round)
{
    static const GThreadFunc funcs[] = {guest, guest, operator, come_and_go,
                                        come_and_go};
    GThread *threads[G_N_ELEMENTS(funcs)];

    for (guint i = 0; i < G_N_ELEMENTS(funcs); i++) {
        threads[i] = g_thread_new("stress", funcs[i], round);
    }
    g_usleep(ROUND_US);
    g_atomic_int_set(&round->stop, TRUE);
    for (guint i = 0; i < G_N_ELEMENTS(funcs); i++) {
        g_thread_join(threads[i]);
    }
}

static void run_round(const char *memory, gboolean prealloc,
                      gboolean discards_fail)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev(memory);
    g_autoptr(HostmemVirtioMem) device = hm_test_virtio_mem(
        memdev, "block-size", BLOCK, "prealloc", prealloc, NULL);
    Round round = {
        .device = device,
        .host = hostmem_backend_get_host_addr(memdev),
        .prealloc = prealloc,
        .discards_fail = discards_fail,
        .seed = (guint32)g_test_rand_int(),
    };

    hm_ear_init(&round.all, HOSTMEM_DISCARD_SOURCE(device), 0, round.seed);
    g_assert_true(hm_ear_add(&round.all));
    bend_kernel(&round);
    run_threads(&round);
    mend_kernel();
    hostmem_virtio_mem_set_busy(device, FALSE);
    check_agreement(&round);
    check_health(&round);
    hm_ear_remove(&round.all);
    hm_ear_clear(&round.all);
}

static void test_stress(void)
{
    static const char *const memory[] = {
        "memory-backend-ram",
        "memory-backend-ram,share=on",
        "memory-backend-memfd",
        "memory-backend-memfd,prealloc-threads=2",
    };
    gint64 end = g_get_monotonic_time() + (g_test_slow() ? SLOW_US : QUICK_US);
    guint rounds = 0;

    do {
        hm_fake_reset();
        run_round(memory[rounds % G_N_ELEMENTS(memory)], rounds % 5 != 4,
                  rounds / G_N_ELEMENTS(memory) % 2);
        rounds++;
    } while (g_get_monotonic_time() < end);
    g_test_message("%u rounds", rounds);
}

static const HmTest tests[] = {
    {"/virtio-mem-stress", test_stress},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
