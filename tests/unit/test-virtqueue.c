/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "virtqueue-test.h"

/* What a driver that keeps the rules gets. */

/* Chains */

static void assert_sizes(const HostmemVirtqueueElement *element, guint64 out,
                         guint64 in)
{
    g_assert_nonnull(element);
    g_assert_cmpuint(hostmem_virtqueue_element_get_out_size(element), ==, out);
    g_assert_cmpuint(hostmem_virtqueue_element_get_in_size(element), ==, in);
}

/* Three buffers out and two in, apart from each other. */
static const HmRingBuffer five[] = {
    {BUFFERS, 3, FALSE},       {BUFFERS + 100, 1, FALSE},
    {BUFFERS + 200, 4, FALSE}, {BUFFERS + 300, 2, TRUE},
    {BUFFERS + 5000, 6, TRUE},
};

static void check_five(Fixture *f, HostmemVirtqueueElement *element)
{
    char text[16] = "";

    assert_sizes(element, 8, 8);
    memcpy(hm_ring_host(&f->ring, BUFFERS), "abc", 3);
    memcpy(hm_ring_host(&f->ring, BUFFERS + 100), "d", 1);
    memcpy(hm_ring_host(&f->ring, BUFFERS + 200), "efgh", 4);
    g_assert_cmpuint(hostmem_virtqueue_element_read(element, 0, text, 16), ==,
                     8);
    g_assert_cmpstr(text, ==, "abcdefgh");
    memset(text, 0, sizeof(text));
    g_assert_cmpuint(hostmem_virtqueue_element_read(element, 2, text, 3), ==,
                     3);
    g_assert_cmpstr(text, ==, "cde");
    g_assert_cmpuint(hostmem_virtqueue_element_read(element, 8, text, 1), ==,
                     0);
    g_assert_cmpuint(
        hostmem_virtqueue_element_read(element, G_MAXUINT64, text, 1), ==, 0);

    g_assert_cmpuint(hostmem_virtqueue_element_write(element, 1, "1234", 4), ==,
                     4);
    g_assert_cmpmem(hm_ring_host(&f->ring, BUFFERS + 300), 3, "\0001", 3);
    g_assert_cmpmem(hm_ring_host(&f->ring, BUFFERS + 5000), 4, "234", 4);
    g_assert_cmpuint(hostmem_virtqueue_element_write(element, 6, "xyz", 3), ==,
                     2);
}

static void test_chain(void)
{
    g_auto(Fixture) f = {0};
    HostmemVirtqueueElement *element;
    guint32 head, written;

    open_fixture(&f, SIZE, 0);
    assert_empty(&f);
    hm_ring_add(&f.ring, five, G_N_ELEMENTS(five));
    assert_empty(&f); /* not published */
    g_assert_true(hm_ring_publish(&f.ring));
    element = pop(&f);
    check_five(&f, element);
    assert_empty(&f);
    g_assert_false(hm_ring_get_used(&f.ring, &head, &written));
    push(&f, element, 8);
    g_assert_true(hm_ring_get_used(&f.ring, &head, &written));
    g_assert_cmpuint(head, ==, 0);
    g_assert_cmpuint(written, ==, 8);
    g_assert_false(hm_ring_get_used(&f.ring, &head, &written));
}

static void test_indirect_chain(void)
{
    g_auto(Fixture) f = {0};
    HostmemVirtqueueElement *element;

    open_fixture(&f, SIZE, INDIRECT);
    hm_ring_add_indirect(&f.ring, five, G_N_ELEMENTS(five), TABLE);
    hm_ring_publish(&f.ring);
    element = pop(&f);
    check_five(&f, element);
    push(&f, element, 0);
}

/* virtio 1.2, 2.7.5.3.2: the flag is to be ignored there */
static void test_indirect_table_that_says_write(void)
{
    g_auto(Fixture) f = {0};
    HostmemVirtqueueElement *element;

    open_fixture(&f, SIZE, INDIRECT);
    hm_ring_add_indirect(&f.ring, &one_out, 1, TABLE);
    hm_ring_set_descriptor(&f.ring, BASE, 0, TABLE, 16,
                           HM_RING_INDIRECT | HM_RING_WRITE, 0);
    hm_ring_publish(&f.ring);
    element = pop(&f);
    assert_sizes(element, 16, 0);
    push(&f, element, 0);
}

/* The same section: normal descriptors, then an indirect one. */
static void test_indirect_table_at_the_end(void)
{
    g_auto(Fixture) f = {0};
    HostmemVirtqueueElement *element;

    open_fixture(&f, SIZE, INDIRECT);
    hm_ring_add(&f.ring, five, 2);
    hm_ring_set_descriptor(&f.ring, BASE, 1, TABLE, 16, HM_RING_INDIRECT, 0);
    hm_ring_set_descriptor(&f.ring, TABLE, 0, BUFFERS, 7, HM_RING_WRITE, 0);
    hm_ring_publish(&f.ring);
    element = pop(&f);
    assert_sizes(element, 3, 7);
    push(&f, element, 7);
}

static void test_chain_as_long_as_the_queue(void)
{
    g_auto(Fixture) f = {0};
    HmRingBuffer buffers[SIZE];
    HostmemVirtqueueElement *element;

    open_fixture(&f, SIZE, 0);
    for (guint i = 0; i < SIZE; i++) {
        buffers[i] = one_out;
    }
    hm_ring_add(&f.ring, buffers, SIZE);
    hm_ring_publish(&f.ring);
    element = pop(&f);
    assert_sizes(element, SIZE * 16, 0);
    push(&f, element, 0);
}

static void test_indexes_wrap(void)
{
    g_auto(Fixture) f = {0};
    guint16 available, used;
    guint32 head, written;

    open_fixture(&f, SIZE, EVENT);
    start_at(&f, 65530);
    for (guint i = 0; i < 11; i++) {
        turn(&f);
        g_assert_true(hm_ring_get_used(&f.ring, &head, &written));
        g_assert_cmpuint(head, ==, i % SIZE);
    }
    hostmem_virtqueue_get_indexes(f.queue, &available, &used);
    g_assert_cmpuint(available, ==, 5);
    g_assert_cmpuint(used, ==, 5);
}

static void test_full_ring_in_any_order(void)
{
    g_auto(Fixture) f = {0};
    HostmemVirtqueueElement *elements[SIZE];
    guint32 head, written;

    open_fixture(&f, SIZE, 0);
    for (guint i = 0; i < SIZE; i++) {
        hm_ring_add(&f.ring, &one_out, 1);
    }
    hm_ring_publish(&f.ring);
    for (guint i = 0; i < SIZE; i++) {
        elements[i] = pop(&f);
    }
    assert_empty(&f);
    for (guint i = 0; i < SIZE; i++) {
        push(&f, elements[SIZE - 1 - i], 0);
        g_assert_true(hm_ring_get_used(&f.ring, &head, &written));
        g_assert_cmpuint(head, ==, SIZE - 1 - i);
    }
}

static void test_saved_indexes(void)
{
    g_auto(Fixture) f = {0};
    guint16 available, used;

    open_fixture(&f, SIZE, 0);
    turn(&f);
    turn(&f);
    hostmem_virtqueue_get_indexes(f.queue, &available, &used);
    hostmem_virtqueue_free(f.queue);
    f.queue = queue_new(&f, 0);
    hostmem_virtqueue_set_indexes(f.queue, available, used);
    assert_empty(&f);
    turn(&f);
    g_assert_cmpuint(hm_ring_get_used_idx(&f.ring), ==, 3);
}

static void test_stopped(void)
{
    g_auto(Fixture) f = {0};
    HostmemVirtqueueElement *element;

    open_fixture(&f, SIZE, 0);
    hm_ring_add(&f.ring, &one_out, 1);
    hm_ring_add(&f.ring, &one_out, 1);
    hm_ring_publish(&f.ring);
    element = pop(&f);
    hostmem_virtqueue_stop(f.queue);
    assert_empty(&f);
    g_assert_false(hostmem_virtqueue_enable_notifications(f.queue));
    push(&f, element, 0);
    g_assert_cmpuint(hm_ring_get_used_idx(&f.ring), ==, 1);
}

static void test_element_outlives_its_queue(void)
{
    g_auto(Fixture) f = {0};
    g_autoptr(HostmemVirtqueueElement) element = NULL;
    char byte;

    open_fixture(&f, SIZE, 0);
    hm_ring_add(&f.ring, &one_out, 1);
    hm_ring_publish(&f.ring);
    element = pop(&f);
    g_clear_pointer(&f.queue, hostmem_virtqueue_free);
    g_assert_cmpuint(hostmem_virtqueue_element_read(element, 0, &byte, 1), ==,
                     1);
    g_assert_true(hostmem_guest_memory_remove(f.memory, BASE, NULL));
    g_assert_cmpuint(hostmem_virtqueue_element_read(element, 0, &byte, 1), ==,
                     0);
}

/* Notifications */

static void test_flags_suppress_interrupts(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f, SIZE, 0);
    g_assert_false(hostmem_virtqueue_should_notify(f.queue));
    turn(&f);
    g_assert_true(hostmem_virtqueue_should_notify(f.queue));
    g_assert_false(hostmem_virtqueue_should_notify(f.queue));
    hm_ring_set_no_interrupt(&f.ring, TRUE);
    turn(&f);
    g_assert_false(hostmem_virtqueue_should_notify(f.queue));
    hm_ring_set_no_interrupt(&f.ring, FALSE);
    turn(&f);
    g_assert_true(hostmem_virtqueue_should_notify(f.queue));
}

static void take_used(Fixture *f)
{
    guint32 head, written;

    while (hm_ring_get_used(&f->ring, &head, &written)) {
        continue;
    }
}

static void test_used_event(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f, SIZE, EVENT);
    /* flags mean nothing with it */
    hm_ring_set_no_interrupt(&f.ring, TRUE);
    start_at(&f, 65500);
    for (guint i = 0; i < 24; i++) {
        guint16 wanted = (guint16)(1 + i % 3);

        hm_ring_set_used_event(&f.ring, wanted);
        for (guint16 n = 1; n <= 3; n++) {
            turn(&f);
            g_assert_cmpint(hostmem_virtqueue_should_notify(f.queue), ==,
                            n == wanted);
        }
        take_used(&f);
    }
}

static void test_used_event_within_a_batch(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f, SIZE, EVENT);
    start_at(&f, 65500);
    for (guint i = 0; i < 24; i++) {
        hm_ring_set_used_event(&f.ring, (guint16)(1 + i % 4));
        turn(&f);
        turn(&f);
        turn(&f);
        g_assert_cmpint(hostmem_virtqueue_should_notify(f.queue), ==,
                        i % 4 < 3);
        take_used(&f);
    }
}

/* A batch in which the index goes round has passed every event. */
static void test_batch_of_more_than_all_indexes(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f, SIZE, EVENT);
    hm_ring_set_used_event(&f.ring, 1);
    turn(&f);
    g_assert_true(hostmem_virtqueue_should_notify(f.queue));
    for (guint i = 0; i < 65536; i++) {
        turn(&f);
    }
    g_assert_true(hostmem_virtqueue_should_notify(f.queue));
}

static void test_driver_notifies_by_flags(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f, SIZE, 0);
    hm_ring_add(&f.ring, &one_out, 1);
    g_assert_true(hm_ring_publish(&f.ring));
    hostmem_virtqueue_disable_notifications(f.queue);
    hm_ring_add(&f.ring, &one_out, 1);
    g_assert_false(hm_ring_publish(&f.ring));
    g_assert_true(hostmem_virtqueue_enable_notifications(f.queue));
    push(&f, pop(&f), 0);
    push(&f, pop(&f), 0);
    g_assert_false(hostmem_virtqueue_enable_notifications(f.queue));
    hm_ring_add(&f.ring, &one_out, 1);
    g_assert_true(hm_ring_publish(&f.ring));
}

static void test_driver_notifies_by_event(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f, SIZE, EVENT);
    for (guint i = 0; i < 20; i++) { /* of all that was popped */
        hm_ring_add(&f.ring, &one_out, 1);
        g_assert_true(hm_ring_publish(&f.ring));
        push(&f, pop(&f), 0);
    }
    hostmem_virtqueue_disable_notifications(f.queue);
    hm_ring_add(&f.ring, &one_out, 1);
    g_assert_true(hm_ring_publish(&f.ring));
    push(&f, pop(&f), 0);
    hm_ring_add(&f.ring, &one_out, 1);
    g_assert_false(hm_ring_publish(&f.ring));
    g_assert_true(hostmem_virtqueue_enable_notifications(f.queue));
    push(&f, pop(&f), 0);
    g_assert_false(hostmem_virtqueue_enable_notifications(f.queue));
    hm_ring_add(&f.ring, &one_out, 1);
    g_assert_true(hm_ring_publish(&f.ring));
    g_assert_cmpuint(hm_ring_get_used_flags(&f.ring), ==, 0);
}

static const HmTest tests[] = {
    {"/virtqueue/chain", test_chain},
    {"/virtqueue/indirect-chain", test_indirect_chain},
    {"/virtqueue/indirect-table-that-says-write",
     test_indirect_table_that_says_write},
    {"/virtqueue/indirect-table-at-the-end", test_indirect_table_at_the_end},
    {"/virtqueue/chain-as-long-as-the-queue", test_chain_as_long_as_the_queue},
    {"/virtqueue/indexes-wrap", test_indexes_wrap},
    {"/virtqueue/full-ring-in-any-order", test_full_ring_in_any_order},
    {"/virtqueue/saved-indexes", test_saved_indexes},
    {"/virtqueue/stopped", test_stopped},
    {"/virtqueue/element-outlives-its-queue", test_element_outlives_its_queue},
    {"/virtqueue/flags-suppress-interrupts", test_flags_suppress_interrupts},
    {"/virtqueue/used-event", test_used_event},
    {"/virtqueue/used-event-within-a-batch", test_used_event_within_a_batch},
    {"/virtqueue/batch-of-more-than-all-indexes",
     test_batch_of_more_than_all_indexes},
    {"/virtqueue/driver-notifies-by-flags", test_driver_notifies_by_flags},
    {"/virtqueue/driver-notifies-by-event", test_driver_notifies_by_event},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
