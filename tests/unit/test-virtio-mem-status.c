/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include "object-test.h"
#include "os-fake.h"
#include "virtio-mem-test.h"

/* What an operator sees of a resize, on a clock that stands still. */

static const gint64 start = 1000 * G_USEC_PER_SEC;

static HostmemVirtioMem *make(guint64 requested)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");

    hm_fake_set_now(start);
    return hm_test_virtio_mem(memdev, "block-size", BLOCK, "requested-size",
                              requested, NULL);
}

static void wait(gint64 seconds)
{
    hm_fake_set_now(start + seconds * G_USEC_PER_SEC);
}

static HostmemVirtioMemStatus status_of(HostmemVirtioMem *device)
{
    HostmemVirtioMemStatus status;

    hostmem_virtio_mem_get_status(device, &status);
    return status;
}

#define assert_state(device, expected) \
    g_assert_cmpint(status_of(device).state, ==, HOSTMEM_RESIZE_##expected)

/* A kernel that cannot populate. */
static void take_memory(void)
{
    hm_fake_fail_always(HM_FAKE_ADVISE, ENOMEM);
    hm_fake_fail_always(HM_FAKE_ADVISE_VECTOR, ENOMEM);
}

static void give_memory(void)
{
    hm_fake_fail_always(HM_FAKE_ADVISE, 0);
    hm_fake_fail_always(HM_FAKE_ADVISE_VECTOR, 0);
}

/* State */

static void test_reached(void)
{
    g_autoptr(HostmemVirtioMem) device = make(2 * BLOCK);

    assert_state(device, RUNNING);
    hm_test_assert_answer(device, PLUG, 0, 1, ACK);
    assert_state(device, RUNNING);
    hm_test_assert_answer(device, PLUG, 5, 1, ACK);
    assert_state(device, REACHED);
    hm_test_assert_set(device, "requested-size", "2M");
    assert_state(device, RUNNING);
    hm_test_assert_answer(device, UNPLUG, 5, 1, ACK);
    assert_state(device, REACHED);
}

static void test_stalled(void)
{
    g_autoptr(HostmemVirtioMem) device = make(4 * BLOCK);

    wait(9);
    assert_state(device, RUNNING);
    hm_test_assert_answer(device, PLUG, 0, 1, ACK);
    wait(18);
    assert_state(device, RUNNING);
    wait(19);
    assert_state(device, STALLED);
    hm_test_assert_reads(device, "resize-state", "\"stalled\"");
    hm_test_assert_reads(device, "since-progress", "10");
    hm_test_assert_answer(device, PLUG, 1, 1, ACK);
    assert_state(device, RUNNING);
}

static void test_what_fails_is_no_progress(void)
{
    g_autoptr(HostmemVirtioMem) device = make(4 * BLOCK);

    wait(9);
    hm_test_assert_answer(device, PLUG, 0, 5, NACK);
    hm_test_assert_answer(device, STATE, 0, 5, ACK);
    wait(10);
    assert_state(device, STALLED);
}

static void test_reached_never_stalls(void)
{
    g_autoptr(HostmemVirtioMem) device = make(0);

    wait(1000);
    assert_state(device, REACHED);
}

/* Its microseconds are more than 32 bits hold. */
static void test_long_resize_timeout(void)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");
    g_autoptr(HostmemVirtioMem) device = NULL;

    hm_fake_set_now(start);
    device = hm_test_virtio_mem(memdev, "block-size", BLOCK, "requested-size",
                                4 * BLOCK, "resize-timeout", 4295, NULL);
    wait(4294);
    assert_state(device, RUNNING);
    wait(4295);
    assert_state(device, STALLED);
    hm_test_assert_set(device, "resize-timeout", "4294967295");
    assert_state(device, RUNNING);
}

static void test_resize_timeout(void)
{
    g_autoptr(HostmemVirtioMem) device = make(4 * BLOCK);

    hm_test_assert_set(device, "resize-timeout", "60");
    wait(59);
    assert_state(device, RUNNING);
    wait(60);
    assert_state(device, STALLED);
    hm_test_assert_set(device, "resize-timeout", "0");
    assert_state(device, RUNNING);
}

/* Counts */

static void test_counts(void)
{
    g_autoptr(HostmemVirtioMem) device = make(4 * BLOCK);

    hm_test_assert_answer(device, PLUG, 0, 2, ACK);
    hm_test_assert_answer(device, STATE, 0, 2, ACK);
    hm_test_assert_answer(device, PLUG, 2, 3, NACK);
    hm_test_assert_answer(device, PLUG, 0, 1, ERROR);
    hm_test_assert_answer(device, PLUG, 0, 1, ERROR);
    hm_test_assert_answer(device, UNPLUG, 9, 1, ERROR);
    hostmem_virtio_mem_set_busy(device, TRUE);
    hm_test_assert_answer(device, UNPLUG, 0, 1, BUSY);
    hm_test_assert_reads(device, "ack-count", "2");
    hm_test_assert_reads(device, "nack-count", "1");
    hm_test_assert_reads(device, "error-count", "3");
    hm_test_assert_reads(device, "busy-count", "1");
}

static void test_a_new_resize_counts_anew(void)
{
    g_autoptr(HostmemVirtioMem) device = make(4 * BLOCK);

    hm_test_assert_answer(device, PLUG, 0, 1, ACK);
    hm_test_assert_answer(device, PLUG, 0, 1, ERROR);
    hm_test_assert_set(device, "requested-size", "4M");
    hm_test_assert_reads(device, "ack-count", "0");
    hm_test_assert_reads(device, "error-count", "0");
    hm_test_assert_reads(device, "last-reason", "\"\"");
}

/* Reasons */

static void test_reasons(void)
{
    g_autoptr(HostmemVirtioMem) device = make(4 * BLOCK);

    hm_test_assert_reads(device, "last-reason", "\"\"");
    hm_test_assert_answer(device, PLUG, 0, 5, NACK);
    hm_test_assert_reads(device, "last-reason",
                         "\"0xa00000 bytes more than the 0x0 that are plugged "
                         "would exceed 'requested-size', 0x800000\"");
    hm_test_assert_answer(device, UNPLUG, 1, 1, ERROR);
    hm_test_assert_reads(device, "last-reason",
                         "\"some of the blocks at offset 0x200000, 0x200000 "
                         "bytes, are not plugged\"");
    hm_test_assert_answer(device, PLUG, 0, 1, ACK);
    g_assert_true(
        g_str_has_prefix(status_of(device).reason, "some of the blocks"));
}

static void test_a_busy_device_says_why_now_and_then(void)
{
    g_autoptr(HostmemVirtioMem) device = make(4 * BLOCK);

    hm_test_assert_answer(device, PLUG, 0, 1, ACK);
    take_memory();
    g_test_expect_message("hostmem", G_LOG_LEVEL_MESSAGE,
                          "virtio-mem: a request is answered with BUSY: "
                          "cannot discard * Cannot allocate memory");
    hm_test_assert_answer(device, UNPLUG, 0, 1, BUSY);
    hm_test_assert_answer(device, UNPLUG, 0, 1, BUSY);
    hm_test_assert_answer(device, UNPLUG, 0, 1, BUSY);
    g_test_assert_expected_messages();
    wait(10);
    g_test_expect_message("hostmem", G_LOG_LEVEL_MESSAGE,
                          "*(and 2 times before)");
    hm_test_assert_answer(device, UNPLUG, 0, 1, BUSY);
    g_test_assert_expected_messages();
    give_memory();
}

/* Signals */

typedef struct {
    GString *log;
    HostmemVirtioMem *device;
} Ear;

static void on_size(HostmemVirtioMem *device G_GNUC_UNUSED, guint64 size,
                    Ear *ear)
{
    g_string_append_printf(ear->log, "size %u ", (guint)(size / BLOCK));
}

static void on_requested(HostmemVirtioMem *device G_GNUC_UNUSED, guint64 size,
                         Ear *ear)
{
    g_string_append_printf(ear->log, "requested %u ", (guint)(size / BLOCK));
}

static void on_resize(HostmemVirtioMem *device G_GNUC_UNUSED,
                      HostmemResizeState state, Ear *ear)
{
    static const char *const names[] = {"reached", "running", "stalled"};

    g_string_append_printf(ear->log, "%s ", names[state]);
}

static void listen(Ear *ear, HostmemVirtioMem *device)
{
    ear->log = g_string_new(NULL);
    ear->device = device;
    g_signal_connect(device, "size-changed", G_CALLBACK(on_size), ear);
    g_signal_connect(device, "requested-size-changed", G_CALLBACK(on_requested),
                     ear);
    g_signal_connect(device, "resize-changed", G_CALLBACK(on_resize), ear);
}

static void assert_heard(Ear *ear, const char *expected)
{
    g_assert_cmpstr(ear->log->str, ==, expected);
    g_string_truncate(ear->log, 0);
}

static void test_signals(void)
{
    g_autoptr(HostmemVirtioMem) device = make(2 * BLOCK);
    Ear ear;

    listen(&ear, device);
    hm_test_assert_answer(device, PLUG, 0, 1, ACK);
    assert_heard(&ear, "size 1 ");
    hm_test_assert_answer(device, PLUG, 1, 1, ACK);
    assert_heard(&ear, "size 2 reached ");
    hm_test_assert_answer(device, PLUG, 1, 1, NACK);
    assert_heard(&ear, "");
    hm_test_assert_set(device, "requested-size", "6M");
    assert_heard(&ear, "requested 3 running ");
    hm_test_assert_set(device, "requested-size", "6M");
    assert_heard(&ear, "requested 3 ");
    hm_test_assert_answer(device, UNPLUG_ALL, 0, 0, ACK);
    assert_heard(&ear, "size 0 ");
    hm_test_assert_answer(device, UNPLUG_ALL, 0, 0, ACK);
    assert_heard(&ear, "");
    hm_test_assert_set_fails(device, "requested-size", "1M",
                             HOSTMEM_ERROR_INVALID,
                             "'requested-size' has to be multiples of "
                             "'block-size' (0x200000)");
    assert_heard(&ear, "");
    g_string_free(ear.log, TRUE);
}

static void test_signal_of_a_stalled_resize(void)
{
    g_autoptr(HostmemVirtioMem) device = make(2 * BLOCK);
    Ear ear;

    listen(&ear, device);
    wait(10);
    hm_test_assert_answer(device, PLUG, 0, 3, NACK);
    assert_heard(&ear, "stalled ");
    status_of(device);
    assert_heard(&ear, "");
    hm_test_assert_answer(device, PLUG, 0, 1, ACK);
    assert_heard(&ear, "size 1 running ");
    wait(20);
    status_of(device);
    assert_heard(&ear, "stalled ");
    g_string_free(ear.log, TRUE);
}

static void test_reset_is_a_signal(void)
{
    g_autoptr(HostmemVirtioMem) device = make(2 * BLOCK);
    Ear ear;

    hm_test_assert_answer(device, PLUG, 0, 2, ACK);
    listen(&ear, device);
    hostmem_virtio_mem_reset(device);
    assert_heard(&ear, "size 0 running ");
    hostmem_virtio_mem_reset(device);
    assert_heard(&ear, "");
    g_string_free(ear.log, TRUE);
}

/* A handler may do what it likes, since no lock is held. */

static void shrink(HostmemVirtioMem *device, guint64 size, Ear *ear)
{
    on_size(device, size, ear);
    if (size > BLOCK) {
        hm_test_assert_set(device, "requested-size", "2M");
        hm_test_assert_answer(device, UNPLUG, 0, 1, ACK);
    }
}

static void test_handlers_may_make_requests(void)
{
    g_autoptr(HostmemVirtioMem) device = make(2 * BLOCK);
    Ear ear = {g_string_new(NULL), device};

    g_signal_connect(device, "size-changed", G_CALLBACK(shrink), &ear);
    hm_test_assert_answer(device, PLUG, 0, 2, ACK);
    assert_heard(&ear, "size 2 size 1 ");
    assert_state(device, REACHED);
    g_string_free(ear.log, TRUE);
}

static const HmTest tests[] = {
    {"/virtio-mem-status/reached", test_reached},
    {"/virtio-mem-status/stalled", test_stalled},
    {"/virtio-mem-status/what-fails-is-no-progress",
     test_what_fails_is_no_progress},
    {"/virtio-mem-status/reached-never-stalls", test_reached_never_stalls},
    {"/virtio-mem-status/resize-timeout", test_resize_timeout},
    {"/virtio-mem-status/long-resize-timeout", test_long_resize_timeout},
    {"/virtio-mem-status/counts", test_counts},
    {"/virtio-mem-status/a-new-resize-counts-anew",
     test_a_new_resize_counts_anew},
    {"/virtio-mem-status/reasons", test_reasons},
    {"/virtio-mem-status/a-busy-device-says-why-now-and-then",
     test_a_busy_device_says_why_now_and_then},
    {"/virtio-mem-status/signals", test_signals},
    {"/virtio-mem-status/signal-of-a-stalled-resize",
     test_signal_of_a_stalled_resize},
    {"/virtio-mem-status/reset-is-a-signal", test_reset_is_a_signal},
    {"/virtio-mem-status/handlers-may-make-requests",
     test_handlers_may_make_requests},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
