/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include "backends/virtio/virtio-mem.h"
#include "object-test.h"
#include "os-fake.h"
#include "util/linux-compat.h"
#include "virtio-mem-test.h"

/* Requests, resets, questions and listeners in threads of their own. */

static HostmemVirtioMem *make(gboolean prealloc, guint64 ahead)
{
    g_autoptr(HostmemBackend) memdev =
        hm_test_memdev("memory-backend-ram,prealloc-threads=1");

    return hm_test_virtio_mem(memdev, "block-size", BLOCK, "requested-size",
                              REGION, "prealloc", prealloc, "prealloc-ahead",
                              ahead, NULL);
}

/* A populate that takes as long as one likes */

typedef struct {
    GMutex lock;
    GCond changed;
    gboolean begun;
    gboolean go_on;
} Gate;

static void set(Gate *gate, gboolean *what)
{
    g_mutex_lock(&gate->lock);
    *what = TRUE;
    g_cond_broadcast(&gate->changed);
    g_mutex_unlock(&gate->lock);
}

static void wait_for(Gate *gate, gboolean *what)
{
    g_mutex_lock(&gate->lock);
    while (!*what) {
        g_cond_wait(&gate->changed, &gate->lock);
    }
    g_mutex_unlock(&gate->lock);
}

/* A HmFakeHook. */
static gint64 stop_at_the_gate(const HmFakeRecord *record, gpointer data)
{
    Gate *gate = data;

    if (record->arg == MADV_POPULATE_WRITE) {
        set(gate, &gate->begun);
        wait_for(gate, &gate->go_on);
    }
    return 0;
}

static gpointer plug_all(gpointer device)
{
    return GINT_TO_POINTER(
        hm_test_ask(device, HOSTMEM_VIRTIO_MEM_PLUG, 0, REGION / BLOCK));
}

static gpointer reset(gpointer device)
{
    hostmem_virtio_mem_reset(device);
    return NULL;
}

static void test_questions_do_not_wait_for_a_plug(void)
{
    g_autoptr(HostmemVirtioMem) device = make(TRUE, 0);
    Gate gate = {0};
    GThread *guest;

    hm_fake_hook(HM_FAKE_ADVISE, stop_at_the_gate, &gate);
    guest = g_thread_new("guest", plug_all, device);
    wait_for(&gate, &gate.begun);
    hm_test_assert_reads(device, "size", "0");
    hm_test_assert_reads(device, "resize-state", "\"running\"");
    hm_test_assert_reads(device, "requested-size", "134217728");
    hm_test_assert_set(device, "requested-size", "2M");
    g_assert_false(hostmem_discard_source_is_populated(
        HOSTMEM_DISCARD_SOURCE(device), 0, BLOCK));
    set(&gate, &gate.go_on);
    /* As if it had been set a little later. */
    g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(guest)), ==,
                    HOSTMEM_VIRTIO_MEM_ACK);
    hm_test_assert_reads(device, "size", "134217728");
}

static gboolean agree(HostmemDiscardSource *source G_GNUC_UNUSED,
                      guint64 offset G_GNUC_UNUSED,
                      guint64 length G_GNUC_UNUSED, gpointer n,
                      GError **error G_GNUC_UNUSED)
{
    g_atomic_int_inc((gint *)n);
    return TRUE;
}

static void test_listeners_do_not_wait_for_a_plug(void)
{
    const HostmemDiscardListener listener = {.populating = agree};
    g_autoptr(HostmemVirtioMem) device = make(TRUE, 0);
    HostmemDiscardSource *source = HOSTMEM_DISCARD_SOURCE(device);
    Gate gate = {0};
    GThread *guest;
    gint heard = 0;
    guint gone;

    hm_fake_hook(HM_FAKE_ADVISE, stop_at_the_gate, &gate);
    guest = g_thread_new("guest", plug_all, device);
    wait_for(&gate, &gate.begun);
    gone = hostmem_discard_source_add_listener(source, 0, REGION, &listener,
                                               &heard, NULL, NULL);
    hostmem_discard_source_add_listener(source, 0, REGION, &listener, &heard,
                                        NULL, NULL);
    hostmem_discard_source_remove_listener(source, gone);
    set(&gate, &gate.go_on);
    g_thread_join(guest);
    g_assert_cmpint(heard, ==, 1);
}

/* And has told the request at hand so. */
static gboolean reset_waits(HostmemVirtioMem *device)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&device->state_lock);

    return device->resets > 0 && g_cancellable_is_cancelled(device->current);
}

static void test_reset_ends_a_plug(void)
{
    g_autoptr(HostmemVirtioMem) device = make(TRUE, 0);
    HostmemBackend *memdev = hostmem_virtio_mem_get_memdev(device);
    GThread *guest, *machine;
    Gate gate = {0};

    hm_fake_hook(HM_FAKE_ADVISE, stop_at_the_gate, &gate);
    guest = g_thread_new("guest", plug_all, device);
    wait_for(&gate, &gate.begun);
    machine = g_thread_new("machine", reset, device);
    while (!reset_waits(device)) {
        g_thread_yield();
    }
    set(&gate, &gate.go_on);
    g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(guest)), ==,
                    HOSTMEM_VIRTIO_MEM_BUSY);
    g_thread_join(machine);
    g_assert_cmpuint(hostmem_virtio_mem_get_size(device), ==, 0);
    g_assert_cmpuint(hostmem_backend_get_populated_size(memdev), ==, 0);
    hm_test_assert_answer(device, PLUG, 0, 1, ACK);
}

/* Everything at once */

#define TURNS 400

typedef struct {
    HostmemVirtioMem *device;
    gint size;   /* atomic: blocks, of the last signal */
    gint mapped; /* atomic: blocks that a listener has */
} Crowd;

static void on_size(HostmemVirtioMem *device G_GNUC_UNUSED, guint64 size,
                    Crowd *crowd)
{
    g_atomic_int_set(&crowd->size, (gint)(size / BLOCK));
}

static gpointer be_a_guest(gpointer data)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    Crowd *crowd = data;

    for (guint i = 0; i < TURNS; i++) {
        HostmemVirtioMemRequestType type =
            g_rand_int_range(rand, 0, 20)
                ? (HostmemVirtioMemRequestType)g_rand_int_range(rand, 0, 2)
                : HOSTMEM_VIRTIO_MEM_UNPLUG_ALL;

        hm_test_ask(crowd->device, type, g_rand_int_range(rand, 0, 64),
                    (guint16)g_rand_int_range(rand, 1, 4));
        g_usleep(10);
    }
    return NULL;
}

static gpointer be_a_machine(gpointer data)
{
    Crowd *crowd = data;

    for (guint i = 0; i < TURNS / 20; i++) {
        hostmem_virtio_mem_reset(crowd->device);
        g_usleep(500);
    }
    return NULL;
}

static gpointer be_an_operator(gpointer data)
{
    Crowd *crowd = data;

    for (guint i = 0; i < TURNS; i++) {
        HostmemVirtioMemStatus status;

        hostmem_virtio_mem_set_requested_size(crowd->device,
                                              (i * 7 + 40) % 64 * BLOCK, NULL);
        hostmem_virtio_mem_get_status(crowd->device, &status);
        hostmem_virtio_mem_set_busy(crowd->device, i % 16 == 0);
        g_usleep(20);
    }
    return NULL;
}

/* Vetoes now and then. */
static gboolean map_some(HostmemDiscardSource *source G_GNUC_UNUSED,
                         guint64 offset, guint64 length G_GNUC_UNUSED,
                         gpointer n, GError **error)
{
    if (offset / BLOCK % 16 == 7) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_LIMIT, "not there");
        return FALSE;
    }
    g_atomic_int_inc((gint *)n);
    return TRUE;
}

static gpointer be_a_vhost(gpointer data)
{
    const HostmemDiscardListener listener = {.populating = map_some};
    Crowd *crowd = data;

    for (guint i = 0; i < TURNS; i++) {
        HostmemDiscardSource *source = HOSTMEM_DISCARD_SOURCE(crowd->device);
        guint id = hostmem_discard_source_add_listener(
            source, 0, REGION, &listener, &crowd->mapped, NULL, NULL);

        hostmem_discard_source_remove_listener(source, id);
    }
    return NULL;
}

/* Each fifth populate fails. */
static gint64 fail_some(const HmFakeRecord *record, gpointer data)
{
    if (record->arg == MADV_POPULATE_WRITE &&
        g_atomic_int_add((gint *)data, 1) % 5 == 4) {
        return -ENOMEM;
    }
    return 0;
}

/* What a listener is told that comes when all is over. */
static gboolean add_up(HostmemDiscardSource *source G_GNUC_UNUSED,
                       guint64 offset G_GNUC_UNUSED, guint64 length,
                       gpointer blocks, GError **error G_GNUC_UNUSED)
{
    *(guint64 *)blocks += length / BLOCK;
    return TRUE;
}

static gboolean looks_ahead(HostmemVirtioMem *device)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&device->state_lock);

    return device->ahead_runs;
}

static void assert_all_agree(Crowd *crowd)
{
    const HostmemDiscardListener listener = {.populating = add_up};
    HostmemBackend *memdev = hostmem_virtio_mem_get_memdev(crowd->device);
    guint64 size = hostmem_virtio_mem_get_size(crowd->device) / BLOCK;
    guint64 told = 0;

    hostmem_discard_source_add_listener(HOSTMEM_DISCARD_SOURCE(crowd->device),
                                        0, REGION, &listener, &told, NULL,
                                        NULL);
    g_assert_cmpuint(told, ==, size);
    g_assert_cmpuint(g_atomic_int_get(&crowd->size), ==, size);
    hostmem_virtio_mem_set_requested_size(crowd->device, 0, NULL);
    while (looks_ahead(crowd->device)) {
        g_usleep(100);
    }
    hm_test_assert_reads(crowd->device, "ahead-size", "0");
    g_assert_cmpuint(hostmem_backend_get_populated_size(memdev), ==,
                     size * BLOCK);
    g_assert_true(hm_block_map_is_consistent(crowd->device->map));
}

static void ignore_log(const char *domain G_GNUC_UNUSED,
                       GLogLevelFlags level G_GNUC_UNUSED,
                       const char *message G_GNUC_UNUSED,
                       gpointer data G_GNUC_UNUSED)
{
}

static void check_all_at_once(guint64 ahead)
{
    static const GThreadFunc roles[] = {be_a_guest, be_a_guest, be_a_machine,
                                        be_an_operator, be_a_vhost};
    g_autoptr(HostmemVirtioMem) device = make(TRUE, ahead);
    guint handler = g_log_set_handler(
        "hostmem", G_LOG_LEVEL_MESSAGE | G_LOG_LEVEL_INFO, ignore_log, NULL);
    Crowd crowd = {.device = device};
    GThread *threads[G_N_ELEMENTS(roles)];
    gint populates = 0;

    hm_fake_hook(HM_FAKE_ADVISE, fail_some, &populates);
    g_signal_connect(device, "size-changed", G_CALLBACK(on_size), &crowd);
    for (guint i = 0; i < G_N_ELEMENTS(roles); i++) {
        threads[i] = g_thread_new("role", roles[i], &crowd);
    }
    for (guint i = 0; i < G_N_ELEMENTS(roles); i++) {
        g_thread_join(threads[i]);
    }
    hm_fake_hook(HM_FAKE_ADVISE, NULL, NULL);
    g_log_remove_handler("hostmem", handler);
    g_assert_cmpint(populates, >, 0);
    assert_all_agree(&crowd);
}

static void test_all_at_once(void)
{
    check_all_at_once(0);
}

static void test_all_at_once_with_ahead(void)
{
    check_all_at_once(REGION / 4);
}

static const HmTest tests[] = {
    {"/virtio-mem-threads/questions-do-not-wait-for-a-plug",
     test_questions_do_not_wait_for_a_plug},
    {"/virtio-mem-threads/listeners-do-not-wait-for-a-plug",
     test_listeners_do_not_wait_for_a_plug},
    {"/virtio-mem-threads/reset-ends-a-plug", test_reset_ends_a_plug},
    {"/virtio-mem-threads/all-at-once", test_all_at_once},
    {"/virtio-mem-threads/all-at-once-with-ahead", test_all_at_once_with_ahead},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
