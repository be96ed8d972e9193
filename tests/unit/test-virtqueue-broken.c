/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "virtqueue-test.h"

/* What a driver that breaks the rules gets. */

/* Creation */

static void assert_not_created(const Fixture *f, guint16 size,
                               guint64 descriptors, guint64 available,
                               guint64 used, const char *part)
{
    GError *error = NULL;

    g_assert_null(hostmem_virtqueue_new(f->memory, size, descriptors, available,
                                        used, VERSION | EVENT, &error));
    hm_test_assert_error(error, HOSTMEM_ERROR_INVALID, part);
}

static void test_bad_layouts(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f, SIZE, 0);
    assert_not_created(&f, 0, BASE, BASE, BASE, "no power of two");
    assert_not_created(&f, 3, BASE, BASE, BASE, "the queue, 3,");
    assert_not_created(&f, 8, BASE + 8, BASE, BASE,
                       "the descriptor table at 0x100000008");
    assert_not_created(&f, 8, BASE, BASE + 1, BASE, "multiple of 2");
    assert_not_created(&f, 8, BASE, BASE, BASE + 2, "multiple of 4");
    assert_not_created(&f, 8, OUTSIDE - 112, BASE, BASE, "descriptor table");
    assert_not_created(&f, 8, BASE, OUTSIDE - 20, BASE,
                       "the available ring, 22 bytes at 0x10000ffec, is not");
    assert_not_created(&f, 8, BASE, BASE, OUTSIDE - 68,
                       "the used ring, 70 bytes");
    assert_not_created(&f, 8, -(guint64)16, BASE, BASE, "not in guest RAM");
    assert_not_created(&f, 32768, BASE, BASE, BASE, "not in guest RAM");
}

static void test_legacy_queues_are_not_supported(void)
{
    g_auto(Fixture) f = {0};
    GError *error = NULL;

    open_fixture(&f, SIZE, 0);
    g_assert_null(
        hostmem_virtqueue_new(f.memory, SIZE, BASE, BASE, BASE, 0, &error));
    hm_test_assert_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                         "VIRTIO_F_VERSION_1");
}

/* Broken rings */

/* Broken now, and again with the same words. */
static void assert_breaks(Fixture *f, const char *part)
{
    HostmemVirtqueueElement *element;
    GError *error = NULL;

    g_assert_false(hostmem_virtqueue_pop(f->queue, &element, &error));
    g_assert_null(element);
    hm_test_assert_error(error, HOSTMEM_ERROR_INVALID, part);
    g_assert_true(hostmem_virtqueue_is_broken(f->queue));
    error = NULL;
    g_assert_false(hostmem_virtqueue_pop(f->queue, &element, &error));
    hm_test_assert_error(error, HOSTMEM_ERROR_INVALID, part);
    g_assert_false(hostmem_virtqueue_should_notify(f->queue));
    g_assert_false(hostmem_virtqueue_enable_notifications(f->queue));
}

static void test_index_jumps(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f, SIZE, 0);
    hm_ring_set_idx(&f.ring, SIZE + 1);
    assert_breaks(&f, "index went from 0 to 9, in a queue of 8");
}

static void test_index_goes_back(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f, SIZE, 0);
    turn(&f);
    hm_ring_set_idx(&f.ring, 0);
    assert_breaks(&f, "from 1 to 0");
}

static void test_head_out_of_range(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f, SIZE, 0);
    hm_ring_set_head(&f.ring, 0, SIZE);
    hm_ring_set_idx(&f.ring, 1);
    assert_breaks(&f, "begins with descriptor 8, of 8");
}

static void test_more_chains_than_descriptors(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f, 2, 0);
    for (guint i = 0; i < 2; i++) {
        hm_ring_add(&f.ring, &one_out, 1);
        hm_ring_publish(&f.ring);
        hostmem_virtqueue_element_free(pop(&f));
    }
    hm_ring_add(&f.ring, &one_out, 1);
    hm_ring_publish(&f.ring);
    assert_breaks(&f, "while 2 are in use");
}

/* What is in descriptor 0, 1 and the first two of TABLE; and how it breaks. */
typedef struct {
    const char *path;
    struct {
        guint64 address;
        guint32 length;
        guint16 flags;
        guint16 next;
    } descriptors[4];
    const char *part;
} BadChain;

static const BadChain bad_chains[] = {
    {"loop", {{BUFFERS, 1, HM_RING_NEXT, 0}}, "8 descriptors, or a loop"},
    {"longer-loop",
     {{BUFFERS, 1, HM_RING_NEXT, 1}, {BUFFERS, 1, HM_RING_NEXT, 0}},
     "8 descriptors, or a loop"},
    {"loop-in-table",
     {{TABLE, 32, HM_RING_INDIRECT, 0},
      {0},
      {BUFFERS, 1, HM_RING_NEXT, 1},
      {BUFFERS, 1, HM_RING_NEXT, 0}},
     "8 descriptors, or a loop"},
    {"next-out-of-range",
     {{BUFFERS, 1, HM_RING_NEXT, SIZE}},
     "the next descriptor is 8, of 8"},
    {"next-out-of-table",
     {{TABLE, 32, HM_RING_INDIRECT, 0}, {0}, {BUFFERS, 1, HM_RING_NEXT, 2}},
     "the next descriptor is 2, of 2"},
    {"empty-buffer", {{BUFFERS, 0, 0, 0}}, "a buffer at 0x100004000 is empty"},
    {"out-after-in",
     {{BUFFERS, 1, HM_RING_WRITE | HM_RING_NEXT, 1}, {BUFFERS, 1, 0, 0}},
     "a readable buffer follows a writable one"},
    {"outside", {{OUTSIDE, 1, 0, 0}}, "1 bytes at 0x100010000 is not"},
    {"half-outside", {{OUTSIDE - 1, 2, 0, 0}}, "not in guest RAM"},
    {"write-outside", {{0, 1, HM_RING_WRITE, 0}}, "not in writable guest RAM"},
    {"wraps", {{-(guint64)1, 2, 0, 0}}, "0xffffffffffffffff is not"},
    {"huge", {{BUFFERS, G_MAXUINT32, 0, 0}}, "4294967295 bytes"},
    {"empty-table", {{TABLE, 0, HM_RING_INDIRECT, 0}}, "has 0 bytes"},
    {"odd-table", {{TABLE, 24, HM_RING_INDIRECT, 0}}, "has 24 bytes"},
    {"table-in-table",
     {{TABLE, 32, HM_RING_INDIRECT, 0}, {0}, {TABLE, 16, HM_RING_INDIRECT, 0}},
     "in an indirect table is indirect"},
    {"table-and-next",
     {{TABLE, 32, HM_RING_INDIRECT | HM_RING_NEXT, 1}},
     "an indirect descriptor has a next one"},
    {"table-outside",
     {{OUTSIDE, 32, HM_RING_INDIRECT, 0}},
     "descriptor 0 at 0x100010000"},
    {"table-half-outside",
     {{OUTSIDE - 16, 32, HM_RING_INDIRECT, 0}, {0}, {0}, {0}},
     "a buffer at 0x0 is empty"},
    {"table-wraps",
     {{-(guint64)16, 32, HM_RING_INDIRECT, 0}},
     "exceeds 64 bits"},
};

static void test_bad_chain(gconstpointer data)
{
    const BadChain *bad = data;
    const guint64 tables[] = {BASE, BASE, TABLE, TABLE};
    g_auto(Fixture) f = {0};

    hm_fake_reset();
    open_fixture(&f, SIZE, INDIRECT);
    for (guint i = 0; i < G_N_ELEMENTS(tables); i++) {
        hm_ring_set_descriptor(
            &f.ring, tables[i], i % 2, bad->descriptors[i].address,
            bad->descriptors[i].length, bad->descriptors[i].flags,
            bad->descriptors[i].next);
    }
    hm_ring_set_idx(&f.ring, 1);
    assert_breaks(&f, bad->part);
}

static void test_indirect_without_the_feature(void)
{
    g_auto(Fixture) f = {0};

    open_fixture(&f, SIZE, 0);
    hm_ring_add_indirect(&f.ring, &one_out, 1, TABLE);
    hm_ring_publish(&f.ring);
    assert_breaks(&f, "without VIRTIO_F_INDIRECT_DESC");
}

static void test_table_longer_than_the_queue(void)
{
    g_auto(Fixture) f = {0};
    HmRingBuffer buffers[SIZE + 1];

    open_fixture(&f, SIZE, INDIRECT);
    for (guint i = 0; i < G_N_ELEMENTS(buffers); i++) {
        buffers[i] = one_out;
    }
    hm_ring_add_indirect(&f.ring, buffers, G_N_ELEMENTS(buffers), TABLE);
    hm_ring_publish(&f.ring);
    assert_breaks(&f, "8 descriptors, or a loop");
}

static void test_read_only_memory(void)
{
    g_autofree char *path = g_build_filename(hm_test_folder(), "rom", NULL);
    g_autofree char *content = g_strnfill(4096, 'x');
    g_autofree char *options =
        g_strdup_printf("memory-backend-file,id=rom,size=4K,mem-path=%s,"
                        "share=on,readonly=on",
                        path);
    const guint64 at = 2 * BASE;
    const HmRingBuffer out = {at, 16, FALSE};
    const HmRingBuffer in = {at, 16, TRUE};
    g_autoptr(HostmemBackend) rom = NULL;
    g_auto(Fixture) f = {0};

    g_assert_true(g_file_set_contents(path, content, 4096, NULL));
    rom = hm_test_make(options);
    open_fixture(&f, SIZE, 0);
    g_assert_true(
        hostmem_guest_memory_add(f.memory, at, rom, 0, 4096, NULL, NULL));
    assert_not_created(&f, SIZE, BASE, BASE, at, "not in writable guest RAM");
    hm_ring_add(&f.ring, &out, 1);
    hm_ring_publish(&f.ring);
    push(&f, pop(&f), 0);
    hm_ring_add(&f.ring, &in, 1);
    hm_ring_publish(&f.ring);
    assert_breaks(&f, "not in writable guest RAM");
}

/* virtio 1.2, 2.7.5: 2^32 bytes in all; nothing of them is touched. */
static void test_chain_of_more_than_4_gib(void)
{
    g_autoptr(HostmemBackend) large =
        hm_test_make("memory-backend-ram,id=m1,size=2G,reserve=off");
    const guint64 at = 2 * BASE;
    const HmRingBuffer two[] = {
        {at, 1u << 31, FALSE},
        {at, 1u << 31, TRUE},
    };
    const HmRingBuffer three[] = {two[0], two[1], {BUFFERS, 1, TRUE}};
    g_auto(Fixture) f = {0};

    open_fixture(&f, SIZE, 0);
    g_assert_true(hostmem_guest_memory_add(f.memory, at, large, 0, 2 * HM_GIB,
                                           NULL, NULL));
    hm_ring_add(&f.ring, two, 2);
    hm_ring_publish(&f.ring);
    push(&f, pop(&f), 0);
    hm_ring_add(&f.ring, three, 3);
    hm_ring_publish(&f.ring);
    assert_breaks(&f, "a chain has more than 4 GiB");
}

static void test_memory_goes_below_the_queue(void)
{
    g_auto(Fixture) f = {0};
    HostmemVirtqueueElement *element;
    GError *error = NULL;

    open_fixture(&f, SIZE, 0);
    hm_ring_add(&f.ring, &one_out, 1);
    hm_ring_publish(&f.ring);
    element = pop(&f);
    g_assert_true(hostmem_guest_memory_remove(f.memory, BASE, NULL));
    g_assert_false(hostmem_virtqueue_push(f.queue, element, 0, &error));
    hm_test_assert_error(error, HOSTMEM_ERROR_INVALID,
                         "the used ring is not in guest RAM any more");
    assert_breaks(&f, "the used ring");
}

/* A driver that rewrites descriptor 0 while it is read, on purpose. */
typedef struct {
    HmRing *ring;
    gint stop;   /* atomic */
    gint rounds; /* atomic */
} Rewriting;

#define ROUNDS 5000000

/* Races with the device: ThreadSanitizer is not to see this side of it. */
__attribute__((no_sanitize("thread"))) static gpointer rewrite(gpointer data)
{
    static const guint64 addresses[] = {BUFFERS, OUTSIDE - 16, OUTSIDE - 8,
                                        TABLE, G_MAXUINT64};
    static const guint32 lengths[] = {16, 16, 0, G_MAXUINT32};
    static const guint16 flags[] = {0, HM_RING_WRITE, HM_RING_NEXT,
                                    HM_RING_WRITE | HM_RING_NEXT,
                                    HM_RING_INDIRECT};
    Rewriting *self = data;
    guint8 *descriptor = hm_ring_host(self->ring, BASE);

    for (guint i = 0; !g_atomic_int_get(&self->stop); i++) {
        *(volatile guint64 *)descriptor =
            GUINT64_TO_LE(addresses[i % G_N_ELEMENTS(addresses)]);
        *(volatile guint32 *)(descriptor + 8) =
            GUINT32_TO_LE(lengths[i / 3 % G_N_ELEMENTS(lengths)]);
        *(volatile guint16 *)(descriptor + 12) =
            GUINT16_TO_LE(flags[i / 7 % G_N_ELEMENTS(flags)]);
        *(volatile guint16 *)(descriptor + 14) =
            GUINT16_TO_LE((guint16)(i / 11 % (SIZE + 2)));
        g_atomic_int_set(&self->rounds, (gint)MIN(i, ROUNDS));
    }
    return NULL;
}

/* What passed the checks is what is used: all of it can be copied. */
static void check_copies(HostmemVirtqueueElement *element)
{
    guint8 bytes[16 * SIZE] = {0};
    guint64 out = hostmem_virtqueue_element_get_out_size(element);
    guint64 in = hostmem_virtqueue_element_get_in_size(element);

    g_assert_cmpuint(out + in, <=, sizeof(bytes));
    g_assert_cmpuint(
        hostmem_virtqueue_element_read(element, 0, bytes, sizeof(bytes)), ==,
        out);
    g_assert_cmpuint(
        hostmem_virtqueue_element_write(element, 0, bytes, sizeof(bytes)), ==,
        in);
}

static void test_driver_that_rewrites_descriptors(void)
{
    g_auto(Fixture) f = {0};
    Rewriting rewriting = {&f.ring, FALSE, 0};
    GThread *driver;

    open_fixture(&f, SIZE, INDIRECT);
    for (guint16 i = 1; i < SIZE; i++) {
        hm_ring_set_descriptor(&f.ring, BASE, i, BUFFERS, 16, HM_RING_NEXT, 0);
    }
    hm_ring_set_idx(&f.ring, 1);
    driver = g_thread_new("driver", rewrite, &rewriting);
    while (g_atomic_int_get(&rewriting.rounds) < ROUNDS) {
        g_autoptr(HostmemVirtqueueElement) element = NULL;
        g_autoptr(HostmemVirtqueue) queue = queue_new(&f, INDIRECT);

        if (hostmem_virtqueue_pop(queue, &element, NULL)) {
            check_copies(element);
        }
    }
    g_atomic_int_set(&rewriting.stop, TRUE);
    g_thread_join(driver);
}

static const HmTest tests[] = {
    {"/virtqueue/broken/bad-layouts", test_bad_layouts},
    {"/virtqueue/broken/legacy-is-not-supported",
     test_legacy_queues_are_not_supported},
    {"/virtqueue/broken/index-jumps", test_index_jumps},
    {"/virtqueue/broken/index-goes-back", test_index_goes_back},
    {"/virtqueue/broken/head-out-of-range", test_head_out_of_range},
    {"/virtqueue/broken/more-chains-than-descriptors",
     test_more_chains_than_descriptors},
    {"/virtqueue/broken/indirect-without-the-feature",
     test_indirect_without_the_feature},
    {"/virtqueue/broken/table-longer-than-the-queue",
     test_table_longer_than_the_queue},
    {"/virtqueue/broken/driver-that-rewrites-descriptors",
     test_driver_that_rewrites_descriptors},
    {"/virtqueue/broken/read-only-memory", test_read_only_memory},
    {"/virtqueue/broken/chain-of-more-than-4-gib",
     test_chain_of_more_than_4_gib},
    {"/virtqueue/broken/memory-goes-below-the-queue",
     test_memory_goes_below_the_queue},
};

int main(int argc, char **argv)
{
    for (guint i = 0; i < G_N_ELEMENTS(bad_chains); i++) {
        g_autofree char *path =
            g_strconcat("/virtqueue/broken/chain/", bad_chains[i].path, NULL);

        g_test_add_data_func(path, &bad_chains[i], test_bad_chain);
    }
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
