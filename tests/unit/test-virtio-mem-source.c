/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "object-test.h"
#include "os-fake.h"
#include "virtio-mem-test.h"

/*
 * Who is told of what a guest plugs.  What they hear is written down:
 * "+2:3" blocks 2 to 4 are about to be plugged, "-2:3" they have gone; "M0:16"
 * blocks 0 to 15 are to be mapped, "U0:16" unmapped.
 */
typedef struct {
    HostmemVirtioMem *device;
    GString *log;
    gboolean refuses;
    gboolean maps_nothing;
    void (*then)(gpointer fixture); /* (nullable): in each callback */
} Fixture;

static void note(Fixture *f, char what, guint64 offset, guint64 length)
{
    g_string_append_printf(f->log, "%c%u:%u ", what, (guint)(offset / BLOCK),
                           (guint)(length / BLOCK));
    if (f->then) {
        f->then(f);
    }
}

static gboolean agree(gboolean refuses, GError **error)
{
    if (refuses) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_LIMIT, "no room");
    }
    return !refuses;
}

static gboolean on_populating(HostmemDiscardSource *source G_GNUC_UNUSED,
                              guint64 offset, guint64 length,
                              gpointer user_data, GError **error)
{
    Fixture *f = user_data;

    note(f, '+', offset, length);
    return agree(f->refuses, error);
}

static void on_discarded(HostmemDiscardSource *source G_GNUC_UNUSED,
                         guint64 offset, guint64 length, gpointer user_data)
{
    note(user_data, '-', offset, length);
}

static gboolean on_slot(HostmemVirtioMem *device G_GNUC_UNUSED, guint64 offset,
                        guint64 length, gboolean needed, gpointer user_data,
                        GError **error)
{
    Fixture *f = user_data;

    note(f, needed ? 'M' : 'U', offset, length);
    return !needed || agree(f->maps_nothing, error);
}

static void assert_heard(Fixture *f, const char *expected)
{
    g_assert_cmpstr(f->log->str, ==, expected);
    g_string_truncate(f->log, 0);
}

static HostmemDiscardSource *source_of(Fixture *f)
{
    return HOSTMEM_DISCARD_SOURCE(f->device);
}

static guint listen(Fixture *f)
{
    const HostmemDiscardListener listener = {on_populating, on_discarded};

    return hostmem_discard_source_add_listener(source_of(f), 0, G_MAXUINT64,
                                               &listener, f, NULL, NULL);
}

static gboolean map_slots(Fixture *f, GError **error)
{
    return hostmem_virtio_mem_set_slot_func(f->device, on_slot, f, NULL, error);
}

static void fixture_init(Fixture *f, HostmemVirtioMem *device)
{
    f->device = device;
    f->log = g_string_new(NULL);
}

static void fixture_clear(Fixture *f)
{
    g_clear_object(&f->device);
    g_string_free(f->log, TRUE);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Fixture, fixture_clear)

static HostmemVirtioMem *make(void)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");

    return hm_test_virtio_mem(memdev, "block-size", BLOCK, "requested-size",
                              REGION, NULL);
}

/* Three slots: two of 1 GiB, the last one of 512 MiB. */
static HostmemVirtioMem *make_with_slots(void)
{
    g_autoptr(HostmemBackend) memdev =
        hm_test_make("memory-backend-ram,id=m0,size=2560M");

    return hm_test_virtio_mem(memdev, "block-size", BLOCK, "requested-size",
                              2560 * HM_MIB, "dynamic-memslots", TRUE, NULL);
}

#define SLOT ((gint)(HM_GIB / BLOCK))

/* Listeners */

static void test_is_a_source(void)
{
    g_auto(Fixture) f = {0};

    fixture_init(&f, make());
    g_assert_cmpuint(hostmem_discard_source_get_size(source_of(&f)), ==,
                     REGION);
    g_assert_cmpuint(hostmem_discard_source_get_granularity(source_of(&f)), ==,
                     BLOCK);
    hm_test_assert_answer(f.device, PLUG, 3, 2, ACK);
    g_assert_true(hostmem_discard_source_is_populated(
        source_of(&f), 3 * BLOCK + 1, 2 * BLOCK - 1));
    g_assert_false(hostmem_discard_source_is_populated(source_of(&f), 2 * BLOCK,
                                                       2 * BLOCK));
}

static void test_listener_hears_of_requests(void)
{
    g_auto(Fixture) f = {0};

    fixture_init(&f, make());
    listen(&f);
    hm_test_assert_answer(f.device, PLUG, 4, 8, ACK);
    assert_heard(&f, "+4:8 ");
    hm_test_assert_answer(f.device, UNPLUG, 5, 1, ACK);
    assert_heard(&f, "-5:1 ");
    hm_test_assert_answer(f.device, UNPLUG_ALL, 0, 0, ACK);
    assert_heard(&f, "-0:64 ");
    hm_test_assert_answer(f.device, UNPLUG_ALL, 0, 0, ACK);
    assert_heard(&f, "");
}

static void test_listener_hears_nothing_of_what_fails(void)
{
    g_auto(Fixture) f = {0};

    fixture_init(&f, make());
    hm_test_assert_answer(f.device, PLUG, 0, 1, ACK);
    listen(&f);
    assert_heard(&f, "+0:1 ");
    hm_test_assert_answer(f.device, PLUG, 0, 1, ERROR);
    hm_test_assert_answer(f.device, UNPLUG, 1, 1, ERROR);
    hm_fake_fail_always(HM_FAKE_ADVISE, ENOMEM);
    hm_fake_fail_always(HM_FAKE_ADVISE_VECTOR, ENOMEM);
    hm_test_assert_answer(f.device, UNPLUG, 0, 1, BUSY);
    hm_test_assert_answer(f.device, UNPLUG_ALL, 0, 0, BUSY);
    hm_fake_reset();
    assert_heard(&f, "");
}

static void test_veto(void)
{
    g_auto(Fixture) f = {0};

    fixture_init(&f, make());
    listen(&f);
    f.refuses = TRUE;
    hm_test_assert_answer(f.device, PLUG, 4, 2, BUSY);
    assert_heard(&f, "+4:2 -4:2 ");
    g_assert_cmpuint(hostmem_virtio_mem_get_size(f.device), ==, 0);
    f.refuses = FALSE;
    hm_test_assert_answer(f.device, PLUG, 4, 2, ACK);
    assert_heard(&f, "+4:2 ");
}

static void test_veto_gives_back_what_was_populated(void)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev("memory-backend-ram");
    g_auto(Fixture) f = {0};

    fixture_init(&f, hm_test_virtio_mem(memdev, "block-size", BLOCK,
                                        "requested-size", REGION, "prealloc",
                                        TRUE, NULL));
    listen(&f);
    f.refuses = TRUE;
    hm_test_assert_answer(f.device, PLUG, 4, 2, BUSY);
    g_assert_cmpuint(hostmem_backend_get_populated_size(memdev), ==, 0);
}

static void check_not_yet(gpointer fixture)
{
    Fixture *f = fixture;

    g_assert_false(hostmem_discard_source_is_populated(source_of(f), 0, BLOCK));
    g_assert_cmpuint(hostmem_virtio_mem_get_size(f->device), ==, 0);
}

static void test_told_before_it_counts_and_after(void)
{
    g_auto(Fixture) f = {0};

    fixture_init(&f, make());
    listen(&f);
    f.then = check_not_yet;
    hm_test_assert_answer(f.device, PLUG, 0, 1, ACK);
    hm_test_assert_answer(f.device, UNPLUG, 0, 1, ACK);
    assert_heard(&f, "+0:1 -0:1 ");
    f.then = NULL;
}

static void request_within(gpointer fixture)
{
    Fixture *f = fixture;

    f->then = NULL;
    hm_test_assert_answer(f->device, PLUG, 8, 1, BUSY);
    hm_test_assert_answer(f->device, UNPLUG_ALL, 0, 0, BUSY);
}

static void test_request_within_a_request_is_busy(void)
{
    g_auto(Fixture) f = {0};

    fixture_init(&f, make());
    listen(&f);
    f.then = request_within;
    hm_test_assert_answer(f.device, PLUG, 0, 1, ACK);
    assert_heard(&f, "+0:1 ");
    g_assert_cmpuint(hostmem_virtio_mem_get_size(f.device), ==, BLOCK);
}

static void shrink_within(gpointer fixture)
{
    Fixture *f = fixture;

    g_assert_true(hostmem_virtio_mem_set_requested_size(f->device, 0, NULL));
}

static void test_requested_size_can_be_set_within_a_request(void)
{
    g_auto(Fixture) f = {0};

    fixture_init(&f, make());
    listen(&f);
    f.then = shrink_within;
    hm_test_assert_answer(f.device, PLUG, 0, 1, ACK);
    hm_test_assert_answer(f.device, PLUG, 1, 1, NACK);
    f.then = NULL;
}

static void test_last_listeners_hear_that_the_device_goes(void)
{
    g_auto(Fixture) f = {0};

    fixture_init(&f, make());
    listen(&f);
    hm_test_assert_answer(f.device, PLUG, 0, 1, ACK);
    g_clear_object(&f.device);
    assert_heard(&f, "+0:1 -0:64 ");
}

/* Slots */

static void test_slots_are_mapped_while_needed(void)
{
    g_auto(Fixture) f = {0};

    fixture_init(&f, make_with_slots());
    g_assert_true(map_slots(&f, NULL));
    hm_test_assert_answer(f.device, PLUG, SLOT - 1, 1, ACK);
    assert_heard(&f, "M0:512 ");
    hm_test_assert_answer(f.device, PLUG, SLOT, 2, ACK);
    assert_heard(&f, "M512:512 ");
    hm_test_assert_answer(f.device, UNPLUG, SLOT - 1, 2, ACK);
    assert_heard(&f, "U0:512 ");
    hm_test_assert_answer(f.device, UNPLUG, SLOT + 1, 1, ACK);
    assert_heard(&f, "U512:512 ");
}

static void test_last_slot_may_be_small(void)
{
    g_auto(Fixture) f = {0};

    fixture_init(&f, make_with_slots());
    g_assert_true(map_slots(&f, NULL));
    hm_test_assert_answer(f.device, PLUG, 0, 5 * SLOT / 2, ACK);
    assert_heard(&f, "M0:512 M512:512 M1024:256 ");
    hm_test_assert_answer(f.device, UNPLUG_ALL, 0, 0, ACK);
    assert_heard(&f, "U0:512 U512:512 U1024:256 ");
}

static void test_slots_are_mapped_before_listeners_hear(void)
{
    g_auto(Fixture) f = {0};

    fixture_init(&f, make_with_slots());
    g_assert_true(map_slots(&f, NULL));
    listen(&f);
    hm_test_assert_answer(f.device, PLUG, 0, 1, ACK);
    assert_heard(&f, "M0:512 +0:1 ");
    hm_test_assert_answer(f.device, UNPLUG, 0, 1, ACK);
    assert_heard(&f, "-0:1 U0:512 ");
}

static void test_veto_unmaps_what_the_request_mapped(void)
{
    g_auto(Fixture) f = {0};

    fixture_init(&f, make_with_slots());
    g_assert_true(map_slots(&f, NULL));
    hm_test_assert_answer(f.device, PLUG, 0, 1, ACK);
    listen(&f);
    assert_heard(&f, "M0:512 +0:1 ");
    f.refuses = TRUE;
    hm_test_assert_answer(f.device, PLUG, SLOT, 1, BUSY);
    assert_heard(&f, "M512:512 +512:1 -512:1 U512:512 ");
}

static void test_slot_that_cannot_be_mapped_is_busy(void)
{
    g_auto(Fixture) f = {0};

    fixture_init(&f, make_with_slots());
    g_assert_true(map_slots(&f, NULL));
    f.maps_nothing = TRUE;
    hm_test_assert_answer(f.device, PLUG, 0, 1, BUSY);
    assert_heard(&f, "M0:512 ");
    g_assert_cmpuint(hostmem_virtio_mem_get_size(f.device), ==, 0);
    hm_test_assert_reads(f.device, "last-reason",
                         "\"cannot map 0x40000000 bytes at offset 0x0: no "
                         "room\"");
}

static void test_late_slot_func(void)
{
    g_auto(Fixture) f = {0};
    GError *error = NULL;

    fixture_init(&f, make_with_slots());
    hm_test_assert_answer(f.device, PLUG, SLOT, 1, ACK);
    hm_test_assert_answer(f.device, PLUG, 2 * SLOT, 1, ACK);
    f.maps_nothing = TRUE;
    g_assert_false(map_slots(&f, &error));
    hm_test_assert_error(error, HOSTMEM_ERROR_LIMIT, "no room");
    assert_heard(&f, "M512:512 ");
    f.maps_nothing = FALSE;
    g_assert_true(map_slots(&f, NULL));
    assert_heard(&f, "M512:512 M1024:256 ");
    error = NULL;
    g_assert_false(map_slots(&f, &error));
    hm_test_assert_error(error, HOSTMEM_ERROR_EXISTS, "already");
}

static void test_slot_func_without_dynamic_memslots(void)
{
    g_auto(Fixture) f = {0};
    GError *error = NULL;

    fixture_init(&f, make());
    g_assert_false(map_slots(&f, &error));
    hm_test_assert_error(error, HOSTMEM_ERROR_INVALID, "'dynamic-memslots'");
}

static void test_slot_size(void)
{
    g_autoptr(HostmemVirtioMem) device = make();
    g_autoptr(HostmemVirtioMem) slots = make_with_slots();
    g_autoptr(HostmemBackend) large = hm_test_try_make(
        "memory-backend-ram,id=m1,size=1T,reserve=off", NULL, NULL);
    g_autoptr(HostmemVirtioMem) many = NULL;

    g_assert_cmpuint(hostmem_virtio_mem_get_slot_size(device), ==, REGION);
    g_assert_cmpuint(hostmem_virtio_mem_get_slot_size(slots), ==, HM_GIB);
    if (!large) {
        g_test_skip("no TiB of address space, as under valgrind");
        return;
    }
    many = hm_test_virtio_mem(large, "block-size", BLOCK, "dynamic-memslots",
                              TRUE, NULL);
    g_assert_cmpuint(hostmem_virtio_mem_get_slot_size(many), ==, 4 * HM_GIB);
}

static const HmTest tests[] = {
    {"/virtio-mem-source/is-a-source", test_is_a_source},
    {"/virtio-mem-source/listener-hears-of-requests",
     test_listener_hears_of_requests},
    {"/virtio-mem-source/listener-hears-nothing-of-what-fails",
     test_listener_hears_nothing_of_what_fails},
    {"/virtio-mem-source/veto", test_veto},
    {"/virtio-mem-source/veto-gives-back-what-was-populated",
     test_veto_gives_back_what_was_populated},
    {"/virtio-mem-source/told-before-it-counts-and-after",
     test_told_before_it_counts_and_after},
    {"/virtio-mem-source/request-within-a-request-is-busy",
     test_request_within_a_request_is_busy},
    {"/virtio-mem-source/requested-size-can-be-set-within-a-request",
     test_requested_size_can_be_set_within_a_request},
    {"/virtio-mem-source/last-listeners-hear-that-the-device-goes",
     test_last_listeners_hear_that_the_device_goes},
    {"/virtio-mem-source/slots-are-mapped-while-needed",
     test_slots_are_mapped_while_needed},
    {"/virtio-mem-source/last-slot-may-be-small", test_last_slot_may_be_small},
    {"/virtio-mem-source/slots-are-mapped-before-listeners-hear",
     test_slots_are_mapped_before_listeners_hear},
    {"/virtio-mem-source/veto-unmaps-what-the-request-mapped",
     test_veto_unmaps_what_the_request_mapped},
    {"/virtio-mem-source/slot-that-cannot-be-mapped-is-busy",
     test_slot_that_cannot_be_mapped_is_busy},
    {"/virtio-mem-source/late-slot-func", test_late_slot_func},
    {"/virtio-mem-source/slot-func-without-dynamic-memslots",
     test_slot_func_without_dynamic_memslots},
    {"/virtio-mem-source/slot-size", test_slot_size},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
