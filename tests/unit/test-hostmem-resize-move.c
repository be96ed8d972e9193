/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include "object-test.h"
#include "os-fake.h"
#include "resize-test.h"
#include "util/size.h"

/* Memory that grows where there is no room. */

static void move(HostmemBackend *backend, guint64 size)
{
    g_autoptr(GError) error = NULL;

    hostmem_backend_resize(backend, size, HOSTMEM_RESIZE_MAY_MOVE, NULL,
                           &error);
    g_assert_no_error(error);
    hm_resize_assert_size(backend, size);
}

static void assert_stays(HostmemBackend *backend, guint64 size, gint code,
                         const char *part)
{
    guint8 *addr = hm_resize_memory(backend);
    const guint64 before = hostmem_backend_get_size(backend);
    GError *error = NULL;

    g_assert_false(hostmem_backend_resize(
        backend, size, HOSTMEM_RESIZE_MAY_MOVE, NULL, &error));
    hm_test_assert_error(error, code, part);
    g_assert_true(hm_resize_memory(backend) == addr);
    hm_resize_assert_size(backend, before);
}

static void test_content_goes_along(void)
{
    static const char *const all[] = {
        "memory-backend-ram,id=m0,size=1M",
        "memory-backend-ram,id=m0,size=1M,share=on",
        "memory-backend-memfd,id=m0,size=1M,seal=off",
        "memory-backend-shm,id=m0,size=1M,prealloc=on,thp=off",
    };

    for (gsize i = 0; i < G_N_ELEMENTS(all); i++) {
        g_autoptr(HostmemBackend) backend = hm_test_make(all[i]);
        guint8 *addr = hm_resize_memory(backend);

        memset(addr, 'x', HM_MIB);
        move(backend, 3 * HM_MIB);
        g_assert_true(hm_resize_memory(backend) != addr);
        hm_resize_assert_bytes(backend, 0, HM_MIB, 'x');
        hm_resize_assert_bytes(backend, HM_MIB, 2 * HM_MIB, 0);
        memset(hm_resize_memory(backend), 'y', 3 * HM_MIB);
        move(backend, 4 * HM_MIB);
        hm_resize_assert_bytes(backend, 0, 3 * HM_MIB, 'y');
    }
}

/* No address space is lost on the way. */
static void test_nothing_is_left_behind(void)
{
    const guint64 odd = HM_TEST_ODD_SIZE;
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0,size=17412K");

    g_assert_cmpuint(hm_test_count_mappings(odd), ==, 1);
    move(ram, 2 * odd);
    g_assert_cmpuint(hm_test_count_mappings(odd), ==, 0);
    g_assert_cmpuint(hm_test_count_mappings(2 * odd), ==, 1);
}

static void test_what_has_room_does_not_move(void)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0,size=2M");
    guint8 *addr = hm_resize_memory(ram);

    move(ram, HM_MIB);
    move(ram, 2 * HM_MIB);
    g_assert_true(hm_resize_memory(ram) == addr);
}

static void test_max_size_is_a_limit(void)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0,size=1M,max-size=2M");

    assert_stays(ram, 3 * HM_MIB, HOSTMEM_ERROR_INVALID, "'max-size' is 2 MiB");
}

static void test_who_holds_it_knows_its_address(void)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0,size=1M");

    hostmem_object_hold(HOSTMEM_OBJECT(ram));
    assert_stays(ram, 2 * HM_MIB, HOSTMEM_ERROR_BUSY, "knows its address");
    hostmem_object_release(HOSTMEM_OBJECT(ram));
    move(ram, 2 * HM_MIB);
}

static void test_a_sealed_file_cannot_grow(void)
{
    g_autoptr(HostmemBackend) memfd =
        hm_test_make("memory-backend-memfd,id=m0,size=1M");

    assert_stays(memfd, 2 * HM_MIB, HOSTMEM_ERROR_INVALID,
                 "is 0x100000 bytes long and sealed, 0x200000 are needed");
}

/* Parts with properties of their own are mappings of their own */

#define PART (256 * HM_KIB)

/* (transfer full): four of them, of 256 KiB. */
static HostmemBackend *make_several(void)
{
    HostmemBackend *ram = hm_test_make("memory-backend-ram,id=m0,size=1M");
    guint8 *addr = hm_resize_memory(ram);

    for (guint i = 0; i < 4; i++) {
        memset(addr + i * PART, 'a' + (int)i, PART);
    }
    g_assert_cmpint(hm_os_advise(addr + PART, PART, MADV_RANDOM), ==, 0);
    g_assert_cmpint(hm_os_advise(addr + 3 * PART, PART, MADV_SEQUENTIAL), ==,
                    0);
    return ram;
}

static void assert_several(HostmemBackend *ram)
{
    for (guint i = 0; i < 4; i++) {
        hm_resize_assert_bytes(ram, i * PART, PART, 'a' + (int)i);
    }
}

static void test_several_mappings_move_one_by_one(void)
{
    g_autoptr(HostmemBackend) ram = make_several();
    guint8 *addr = hm_resize_memory(ram);

    move(ram, 2 * HM_MIB);
    g_assert_true(hm_resize_memory(ram) != addr);
    /* In vain as a whole, then four of them. */
    g_assert_cmpuint(hm_fake_count(HM_FAKE_MOVE), ==, 5);
    assert_several(ram);
    hm_resize_assert_bytes(ram, HM_MIB, HM_MIB, 0);
    move(ram, 3 * HM_MIB);
    assert_several(ram);
    hm_resize_assert_bytes(ram, HM_MIB, 2 * HM_MIB, 0);
}

/* Whichever of them does not move. */
static void test_several_mappings_go_back(void)
{
    for (guint nth = 2; nth <= 5; nth++) {
        g_autoptr(HostmemBackend) ram = make_several();

        hm_fake_reset();
        hm_fake_fail(HM_FAKE_MOVE, nth, ENOMEM);
        assert_stays(ram, 2 * HM_MIB, HOSTMEM_ERROR_NO_MEMORY,
                     "cannot move guest memory 'm0'");
        assert_several(ram);
        move(ram, 2 * HM_MIB);
        assert_several(ram);
    }
}

/* What is new is there before anything moves. */
static void test_no_room_behind_several_mappings(void)
{
    g_autoptr(HostmemBackend) ram = make_several();

    hm_fake_reset();
    /* The new place, that again, and what is new in it. */
    hm_fake_fail(HM_FAKE_MAP, 3, ENOMEM);
    assert_stays(ram, 2 * HM_MIB, HOSTMEM_ERROR_NO_MEMORY, "");
    g_assert_cmpuint(hm_fake_count(HM_FAKE_MOVE), ==, 1);
    assert_several(ram);
}

static void test_several_mappings_when_populating_fails(void)
{
    g_autoptr(HostmemBackend) ram = make_several();
    guint8 *addr = hm_resize_memory(ram);

    g_assert_true(
        hostmem_object_set(HOSTMEM_OBJECT(ram), "prealloc", "on", NULL, NULL));
    hm_fake_fail_advice(MADV_POPULATE_WRITE, 1, ENOMEM);
    g_assert_false(hostmem_backend_resize(ram, 2 * HM_MIB,
                                          HOSTMEM_RESIZE_MAY_MOVE, NULL, NULL));
    g_assert_true(hm_resize_memory(ram) == addr);
    hm_resize_assert_size(ram, HM_MIB);
    assert_several(ram);
}

static void test_what_is_not_mapped_cannot_move(void)
{
    g_autoptr(HostmemBackend) ram = make_several();
    guint8 *addr = hm_resize_memory(ram);
    void *again;

    hm_os_unmap(addr + PART, PART);
    assert_stays(ram, 2 * HM_MIB, HOSTMEM_ERROR_UNSUPPORTED,
                 "not mapped any more");
    hm_os_map(addr + PART, PART, PROT_READ | PROT_WRITE,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0, &again);
}

static void test_more_than_may_be_locked(void)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0,size=1M");

    hm_fake_fail(HM_FAKE_MOVE, 1, EAGAIN);
    assert_stays(ram, 2 * HM_MIB, HOSTMEM_ERROR_LIMIT, "RLIMIT_MEMLOCK");
}

/* Needed, allowed, used. */
static void test_a_limit_that_was_lowered_meanwhile(void)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0,size=1M");

    hm_fake_set_limit(RLIMIT_MEMLOCK, HM_MIB);
    hm_fake_set_file("/proc/self/status", "VmLck:\t    1024 kB\n"
                                          "CapEff:\t0000000000000000\n");
    hm_fake_fail(HM_FAKE_MOVE, 1, EAGAIN);
    assert_stays(ram, 2 * HM_MIB, HOSTMEM_ERROR_LIMIT,
                 "needs 1 MiB locked in memory: RLIMIT_MEMLOCK allows 1 MiB "
                 "and 1 MiB is used");
}

/* A populate that fails has to find it in its old place. */

static gint64 begin_to_hold(const HmFakeRecord *record, gpointer backend)
{
    if (record->arg != MADV_POPULATE_WRITE) {
        return 0;
    }
    hostmem_object_hold(backend);
    return -ENOMEM;
}

static void test_whoever_comes_meanwhile_knows_the_new_address(void)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0,size=1M,prealloc=on,thp=off");
    guint8 *addr = hm_resize_memory(ram);

    memset(addr, 'x', HM_MIB);
    hm_fake_hook(HM_FAKE_ADVISE, begin_to_hold, ram);
    g_assert_false(hostmem_backend_resize(ram, 2 * HM_MIB,
                                          HOSTMEM_RESIZE_MAY_MOVE, NULL, NULL));
    hm_fake_hook(HM_FAKE_ADVISE, NULL, NULL);
    g_assert_true(hm_resize_memory(ram) != addr);
    hm_resize_assert_size(ram, HM_MIB);
    hm_resize_assert_bytes(ram, 0, HM_MIB, 'x');
}

static void test_a_place_that_was_taken(void)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0,size=1M,prealloc=on,thp=off");
    guint8 *addr = hm_resize_memory(ram);

    memset(addr, 'x', HM_MIB);
    /* The reservation of the new place, and then of the old one. */
    hm_fake_fail(HM_FAKE_MAP, 2, EEXIST);
    hm_fake_fail_advice(MADV_POPULATE_WRITE, 1, ENOMEM);
    g_assert_false(hostmem_backend_resize(ram, 2 * HM_MIB,
                                          HOSTMEM_RESIZE_MAY_MOVE, NULL, NULL));
    hm_resize_assert_size(ram, HM_MIB);
    hm_resize_assert_bytes(ram, 0, HM_MIB, 'x');
    move(ram, 2 * HM_MIB);
    hm_resize_assert_bytes(ram, 0, HM_MIB, 'x');
}

static const HmTest tests[] = {
    {"/hostmem-resize-move/content-goes-along", test_content_goes_along},
    {"/hostmem-resize-move/nothing-is-left-behind",
     test_nothing_is_left_behind},
    {"/hostmem-resize-move/what-has-room-does-not-move",
     test_what_has_room_does_not_move},
    {"/hostmem-resize-move/max-size-is-a-limit", test_max_size_is_a_limit},
    {"/hostmem-resize-move/who-holds-it-knows-its-address",
     test_who_holds_it_knows_its_address},
    {"/hostmem-resize-move/a-sealed-file-cannot-grow",
     test_a_sealed_file_cannot_grow},
    {"/hostmem-resize-move/several-mappings-move-one-by-one",
     test_several_mappings_move_one_by_one},
    {"/hostmem-resize-move/several-mappings-go-back",
     test_several_mappings_go_back},
    {"/hostmem-resize-move/no-room-behind-several-mappings",
     test_no_room_behind_several_mappings},
    {"/hostmem-resize-move/several-mappings-when-populating-fails",
     test_several_mappings_when_populating_fails},
    {"/hostmem-resize-move/what-is-not-mapped-cannot-move",
     test_what_is_not_mapped_cannot_move},
    {"/hostmem-resize-move/more-than-may-be-locked",
     test_more_than_may_be_locked},
    {"/hostmem-resize-move/a-limit-that-was-lowered-meanwhile",
     test_a_limit_that_was_lowered_meanwhile},
    {"/hostmem-resize-move/whoever-comes-meanwhile-knows-the-new-address",
     test_whoever_comes_meanwhile_knows_the_new_address},
    {"/hostmem-resize-move/a-place-that-was-taken",
     test_a_place_that_was_taken},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
