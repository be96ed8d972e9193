/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory pools, and what they have lent, over a restart. */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>
#include <hostmem/memory-pool.h>
#include "backends/memory-pool.h"
#include "backends/registry-entry.h"
#include "keeper-test.h"
#include "object-test.h"
#include "os-fake.h"
#include "pool-test.h"

#define RAM     "memory-backend-ram,share=on,pool=p0,id=m0,size="
#define PATTERN 0x5a

/* With m0, which has @size of the pool, and something in it. */
static void set_up(HmTestKeeper *keeper, const char *size)
{
    g_autofree char *line = g_strconcat(RAM, size, NULL);

    hm_test_keeper_init(keeper);
    hm_test_keeper_add(keeper, HM_TEST_POOL);
    hm_test_fill_with(hm_test_keeper_add(keeper, line), PATTERN);
}

static void assert_restored(HmTestKeeper *keeper)
{
    hm_test_keeper_assert(keeper, "/objects/p0", HOSTMEM_RESTORE_RESTORED,
                          NULL);
    hm_test_keeper_assert(keeper, "/objects/m0", HOSTMEM_RESTORE_RESTORED,
                          NULL);
    g_assert_true(
        hm_test_is_filled(hm_test_keeper_find(keeper, "m0"), PATTERN));
}

/* What came back was looked at, and is of use or gone. */
static void await_none_dirty(HostmemMemoryPool *pool)
{
    HostmemMemoryPoolStatus status;

    do {
        g_usleep(1000);
        hostmem_memory_pool_get_status(pool, &status);
    } while (status.dirty);
}

static void test_lent_and_ready(void)
{
    HmTestKeeper keeper;
    guint64 inode;

    set_up(&keeper, "3M");
    inode = hm_test_inode(hm_test_keeper_find(&keeper, "m0"));
    for (guint i = 0; i < 2; i++) {
        hm_test_keeper_restart(&keeper);
        assert_restored(&keeper);
        hm_test_assert_segments(hm_test_keeper_find(&keeper, "p0"), 2, 2);
        hm_test_assert_reads(hm_test_keeper_find(&keeper, "m0"), "pool-size",
                             "3145728");
        g_assert_cmpuint(hm_test_inode(hm_test_keeper_find(&keeper, "m0")), ==,
                         inode);
        g_assert_cmpuint(keeper.kept->len, ==, 5); /* with the state */
    }
    hm_test_remove(keeper.registry, "m0");
    hm_test_await_ready(hm_test_keeper_find(&keeper, "p0"), 4);
    hm_test_keeper_clear(&keeper);
}

static void test_rest_that_was_fresh(void)
{
    HmTestKeeper keeper;

    set_up(&keeper, "11M");
    hm_test_keeper_restart(&keeper);
    assert_restored(&keeper);
    hm_test_assert_reads(hm_test_keeper_find(&keeper, "m0"), "pool-size",
                         "8388608");
    hm_test_keeper_clear(&keeper);
}

/* A segment may be large: nothing of what is ready is looked at. */
static void test_ready_costs_nothing(void)
{
    HmTestKeeper keeper;
    guint populated;

    hm_test_keeper_init(&keeper);
    hm_test_keeper_add(&keeper, HM_TEST_POOL);
    hm_test_keeper_save(&keeper);
    hm_test_keeper_kill(&keeper);
    populated = hm_fake_count_advice(MADV_POPULATE_WRITE);
    g_assert_true(hm_test_keeper_try_restore(&keeper, NULL));
    hm_test_assert_segments(hm_test_keeper_find(&keeper, "p0"), 4, 0);
    g_assert_cmpuint(hm_fake_count_advice(MADV_POPULATE_WRITE), ==, populated);
    hm_test_keeper_clear(&keeper);
}

/* The state calls all of it ready; the files know better. */
static void test_lent_since_it_was_saved(void)
{
    HmTestKeeper keeper;
    gpointer all;

    hm_test_keeper_init(&keeper);
    hm_test_keeper_add(&keeper, HM_TEST_POOL);
    hm_test_keeper_save(&keeper);
    hm_test_fill_with(hm_test_keeper_add(&keeper, RAM "5M"), PATTERN);
    hm_test_keeper_kill(&keeper);
    g_assert_true(hm_test_keeper_try_restore(&keeper, NULL));
    hm_test_await_ready(hm_test_keeper_find(&keeper, "p0"), 4);
    all = hm_test_keeper_add(&keeper, RAM "8M");
    hm_test_assert_reads(all, "pool-size", "8388608");
    g_assert_true(hm_test_is_filled(all, 0));
    hm_test_keeper_clear(&keeper);
}

/* Zeroes are not what it had. */
static void test_zeroed_since_it_was_saved(void)
{
    HmTestKeeper keeper;

    set_up(&keeper, "4M");
    hm_test_keeper_save(&keeper);
    hm_test_remove(keeper.registry, "m0");
    hm_test_await_ready(hm_test_keeper_find(&keeper, "p0"), 4);
    hm_test_keeper_kill(&keeper);
    g_assert_true(hm_test_keeper_try_restore(&keeper, NULL));
    hm_test_keeper_assert(&keeper, "/objects/m0", HOSTMEM_RESTORE_FAILED,
                          "segment 0 of the 2 that its pool has lent");
    hm_test_await_ready(hm_test_keeper_find(&keeper, "p0"), 4);
    hm_test_keeper_clear(&keeper);
}

/* What another process goes on with does not come back to this one. */
static void test_nothing_is_zeroed_at_the_end(void)
{
    HmTestKeeper keeper;
    HostmemMemoryPool *pool;

    set_up(&keeper, "4M");
    pool = g_object_ref(hm_test_keeper_find(&keeper, "p0"));
    hm_test_keeper_save(&keeper);
    hm_test_keeper_kill(&keeper);
    hm_test_assert_segments(pool, 2, 2);
    g_assert_null(pool->zeroers[0].thread);
    g_object_unref(pool);
    g_assert_true(hm_test_keeper_try_restore(&keeper, NULL));
    assert_restored(&keeper);
    hm_test_keeper_clear(&keeper);
}

typedef struct {
    GCancellable *cancellable;
    HmTestKeeper *keeper;
    HostmemMemoryPool *pool;
} GivenUp;

/* While the thread-context is made; pool and borrower are back already. */
static gint64 give_up(const HmFakeRecord *record G_GNUC_UNUSED, gpointer data)
{
    GivenUp *self = data;
    const HmEntry *entry =
        g_ptr_array_index(self->keeper->registry->entries, 0);

    self->pool = g_object_ref(HOSTMEM_MEMORY_POOL(entry->object));
    hm_test_assert_segments(self->pool, 2, 2);
    g_cancellable_cancel(self->cancellable);
    return 0;
}

static void test_given_up(void)
{
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autoptr(GError) error = NULL;
    HmTestKeeper keeper;
    GivenUp given_up = {cancellable, &keeper, NULL};

    set_up(&keeper, "4M");
    hm_test_keeper_add(&keeper, "thread-context,id=tc,cpu-affinity=0");
    hm_test_keeper_save(&keeper);
    hm_test_keeper_kill(&keeper);
    hm_fake_hook(HM_FAKE_SET_AFFINITY, give_up, &given_up);
    keeper.cancellable = cancellable;
    g_assert_false(hm_test_keeper_try_restore(&keeper, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    hm_fake_hook(HM_FAKE_SET_AFFINITY, NULL, NULL);
    g_assert_null(given_up.pool->zeroers[0].thread);
    g_object_unref(given_up.pool);

    keeper.cancellable = NULL;
    hm_test_keeper_kill(&keeper);
    g_assert_true(hm_test_keeper_try_restore(&keeper, NULL));
    assert_restored(&keeper);
    hm_test_keeper_clear(&keeper);
}

static void test_borrower_that_fails(void)
{
    HmTestKeeper keeper;
    gpointer all;

    set_up(&keeper, "11M");
    hm_test_keeper_save(&keeper);
    hm_test_keeper_replace(&keeper, "m0/", -1);
    hm_test_keeper_kill(&keeper);
    g_assert_true(hm_test_keeper_try_restore(&keeper, NULL));
    hm_test_keeper_assert(&keeper, "/objects/m0", HOSTMEM_RESTORE_FAILED,
                          "descriptor 'm0/");
    hm_test_await_ready(hm_test_keeper_find(&keeper, "p0"), 4);
    all = hm_test_keeper_add(&keeper, RAM "8M");
    g_assert_true(hm_test_is_filled(all, 0));
    hm_test_keeper_clear(&keeper);
}

/* More segments than 32 bits count, of a state that nobody has saved. */
static void test_far_too_many_segments(void)
{
    g_autoptr(GError) error = NULL;
    HmBacking fresh = HM_BACKING_INIT;
    HmTestKeeper keeper;
    gpointer pool;

    hm_test_keeper_init(&keeper);
    pool = hm_test_keeper_add(&keeper, HM_TEST_POOL);
    g_assert_null(hm_memory_pool_reclaim(pool, "m0",
                                         G_GUINT64_CONSTANT(1) << 32,
                                         HM_TEST_SEGMENT, &fresh, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NOT_FOUND);
    hm_test_keeper_clear(&keeper);
}

/* No mark, no memory: nobody could tell later that it was used. */
static void test_mark_that_fails(void)
{
    HmTestKeeper keeper;

    hm_test_keeper_init(&keeper);
    hm_test_keeper_add(&keeper, HM_TEST_POOL);
    hm_fake_fail(HM_FAKE_CHMOD, 1, EPERM);
    hm_test_assert_add_fails(keeper.registry, RAM "2M",
                             HOSTMEM_ERROR_PERMISSION,
                             "cannot be marked as used");
    hm_test_await_ready(hm_test_keeper_find(&keeper, "p0"), 4);
    hm_test_keeper_clear(&keeper);
}

/*
 * The owner of a file says that it is used, and then its mode.  A process that
 * is killed in between, and that could not store what it has lent, leaves this.
 */
static void test_killed_while_it_takes_back(void)
{
    HmTestKeeper keeper;
    gpointer all;

    if (geteuid() != 0) {
        g_test_skip("only root may give files away");
        return;
    }
    hm_test_keeper_init(&keeper);
    hm_test_keeper_add(&keeper, HM_TEST_POOL);
    hm_test_keeper_save(&keeper);
    hm_test_fill_with(hm_test_keeper_add(&keeper, RAM "8M,export-owner=65534"),
                      PATTERN);
    hm_fake_fail_always(HM_FAKE_CHMOD, EPERM);
    hm_test_remove(keeper.registry, "m0");
    await_none_dirty(hm_test_keeper_find(&keeper, "p0"));
    hm_test_keeper_kill(&keeper);
    hm_fake_fail_always(HM_FAKE_CHMOD, 0);
    g_assert_true(hm_test_keeper_try_restore(&keeper, NULL));
    hm_test_await_ready(hm_test_keeper_find(&keeper, "p0"), 4);
    all = hm_test_keeper_add(&keeper, RAM "8M");
    hm_test_assert_reads(all, "pool-size", "8388608");
    g_assert_true(hm_test_is_filled(all, 0));
    hm_test_keeper_clear(&keeper);
}

/* The last time that the mode of a segment is set it is clean. */
static void test_mark_that_stays(void)
{
    HmTestKeeper keeper;
    guint memfds;

    set_up(&keeper, "2M");
    memfds = hm_fake_count(HM_FAKE_MEMFD);
    hm_fake_fail(HM_FAKE_CHMOD, 3, EPERM);
    hm_test_remove(keeper.registry, "m0");
    hm_test_await_ready(hm_test_keeper_find(&keeper, "p0"), 4);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_MEMFD), >, memfds);
    hm_test_keeper_clear(&keeper);
}

static void test_changes_are_told(void)
{
    HmTestKeeper keeper;
    guint before;

    set_up(&keeper, "2M");
    hm_test_settle();
    before = keeper.changes;
    hm_test_remove(keeper.registry, "m0");
    hm_test_settle();
    g_assert_cmpuint(keeper.changes, >, before);
    hm_test_await_ready(hm_test_keeper_find(&keeper, "p0"), 4);
    before = keeper.changes;
    hm_test_assert_set(hm_test_keeper_find(&keeper, "p0"), "size", "6M");
    hm_test_settle();
    g_assert_cmpuint(keeper.changes, >, before);
    hm_test_keeper_save(&keeper);
    g_assert_cmpuint(keeper.kept->len, ==, 4);
    hm_test_keeper_clear(&keeper);
}

static const HmTest tests[] = {
    {"/restore-pool/lent-and-ready", test_lent_and_ready},
    {"/restore-pool/rest-is-fresh", test_rest_that_was_fresh},
    {"/restore-pool/ready-costs-nothing", test_ready_costs_nothing},
    {"/restore-pool/lent-since", test_lent_since_it_was_saved},
    {"/restore-pool/zeroed-since", test_zeroed_since_it_was_saved},
    {"/restore-pool/end", test_nothing_is_zeroed_at_the_end},
    {"/restore-pool/given-up", test_given_up},
    {"/restore-pool/borrower-fails", test_borrower_that_fails},
    {"/restore-pool/far-too-many", test_far_too_many_segments},
    {"/restore-pool/mark-fails", test_mark_that_fails},
    {"/restore-pool/mark-stays", test_mark_that_stays},
    {"/restore-pool/killed-while-it-takes-back",
     test_killed_while_it_takes_back},
    {"/restore-pool/changes", test_changes_are_told},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
