/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <hostmem/memory-pool.h>
#include "backends/memory-pool.h"
#include "object-test.h"
#include "os-fake.h"
#include "pool-test.h"
#include "util/autofd.h"
#include "util/size.h"

/* What backends borrow of a memory-pool, and give back. */

#define RAM "memory-backend-ram,share=on,pool=p0,id=m0,size="

typedef struct {
    HostmemRegistry *registry;
    HostmemMemoryPool *pool;
} World;

static World world_new(const char *pool)
{
    HostmemRegistry *registry = hostmem_registry_new();

    return (World){registry, hm_test_add(registry, pool)};
}

static void world_clear(World *self)
{
    g_clear_object(&self->registry);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(World, world_clear)

/* Taking */

static void test_one_segment(void)
{
    g_auto(World) world = world_new(HM_TEST_POOL);
    HostmemBackend *m0 = hm_test_add(world.registry, RAM "2M");
    guint n;

    hm_test_assert_segments(world.pool, 3, 1);
    hm_test_assert_reads(m0, "pool", "\"/objects/p0\"");
    hm_test_assert_reads(m0, "pool-size", "2097152");
    hm_test_assert_reads(m0, "prealloc", "true");
    g_assert_cmpuint(hostmem_backend_get_populated_size(m0), ==,
                     HM_TEST_SEGMENT);
    g_assert_nonnull(hostmem_backend_get_parts(m0, &n));
    g_assert_cmpuint(n, ==, 1);
    g_assert_cmpint(hostmem_backend_get_fd(m0), >=, 0);
    g_assert_true(hm_test_is_filled(m0, 0));
}

static void test_less_than_a_segment(void)
{
    g_auto(World) world = world_new(HM_TEST_POOL);
    HostmemBackend *m0 = hm_test_add(world.registry, RAM "1M");

    hm_test_assert_segments(world.pool, 3, 1);
    hm_test_assert_reads(m0, "size", "1048576");
    hm_test_assert_reads(m0, "pool-size", "1048576");
    hm_test_assert_reads(m0, "backed-size", "1048576");
    g_assert_true(hm_test_is_filled(m0, 0));
}

static void test_several_segments(void)
{
    g_auto(World) world = world_new(HM_TEST_POOL);
    HostmemBackend *m0 = hm_test_add(world.registry, RAM "7M");
    const HostmemBackendPart *parts;
    guint n;

    hm_test_assert_segments(world.pool, 0, 4);
    hm_test_assert_reads(m0, "pool-size", "7340032");
    hm_test_assert_reads(m0, "backed-size", "7340032");
    hm_test_assert_reads(m0, "populated-size", "7340032");
    g_assert_cmpint(hostmem_backend_get_fd(m0), ==, -1);
    parts = hostmem_backend_get_parts(m0, &n);
    g_assert_cmpuint(n, ==, 4);
    for (guint i = 0; i < n; i++) {
        g_assert_cmpuint(parts[i].offset, ==, i * HM_TEST_SEGMENT);
        g_assert_cmpuint(parts[i].fd_offset, ==, 0);
    }
    g_assert_cmpuint(parts[3].length, ==, HM_MIB);
    g_assert_true(hm_test_is_filled(m0, 0));
}

/* What one writes through the mapping is in the files, in that order. */
static void test_parts_are_in_order(void)
{
    g_auto(World) world = world_new(HM_TEST_POOL);
    HostmemBackend *m0 = hm_test_add(world.registry, RAM "8M");
    guint8 *memory = hostmem_backend_get_host_addr(m0);
    guint n;
    const HostmemBackendPart *parts = hostmem_backend_get_parts(m0, &n);

    for (guint i = 0; i < n; i++) {
        guint8 there = 0;

        memory[i * HM_TEST_SEGMENT + 5] = (guint8)(i + 1);
        g_assert_cmpint(pread(parts[i].fd, &there, 1, 5), ==, 1);
        g_assert_cmpuint(there, ==, i + 1);
    }
}

/* A size that is no multiple of a page is fine for memory-backend-ram. */
static void test_odd_size(void)
{
    g_auto(World) world = world_new(HM_TEST_POOL);
    HostmemBackend *m0 = hm_test_add(world.registry, RAM "2097153");

    hm_test_assert_segments(world.pool, 2, 2);
    hm_test_assert_reads(m0, "pool-size", "2097153");
    g_assert_true(hm_test_is_filled(m0, 0));
}

static void test_all_types(void)
{
    g_auto(World) world = world_new(HM_TEST_POOL);

    hm_test_add(world.registry, RAM "2M");
    hm_test_add(world.registry, "memory-backend-memfd,pool=p0,id=m1,size=2M");
    hm_test_add(world.registry, "memory-backend-shm,pool=p0,id=m2,size=2M");
    hm_test_assert_segments(world.pool, 1, 3);
}

static void test_async(void)
{
    g_auto(World) world = world_new(HM_TEST_POOL);
    HostmemBackend *m0 =
        hm_test_add(world.registry, RAM "8M,prealloc-async=on");

    while (hostmem_backend_get_populated_size(m0) < 4 * HM_TEST_SEGMENT) {
        g_usleep(1000);
    }
    g_assert_true(hm_test_is_filled(m0, 0));
}

/* Too little */

static void test_rest_is_fresh(void)
{
    g_auto(World) world = world_new(HM_TEST_POOL);
    HostmemBackend *m0 = hm_test_add(world.registry, RAM "12M");
    guint n;

    hm_test_assert_segments(world.pool, 0, 4);
    hm_test_assert_reads(m0, "pool-size", "8388608");
    hm_test_assert_reads(m0, "populated-size", "12582912");
    hm_test_assert_reads(m0, "backed-size", "12582912");
    hostmem_backend_get_parts(m0, &n);
    g_assert_cmpuint(n, ==, 5);
    g_assert_true(hm_test_is_filled(m0, 0));
    hm_test_fill_with(m0, 1);
    hm_test_remove(world.registry, "m0");
    hm_test_await_ready(world.pool, 4);
}

static void test_all_is_fresh(void)
{
    g_auto(World) world = world_new(HM_TEST_POOL);
    HostmemBackend *m1;

    hm_test_add(world.registry, RAM "8M");
    m1 = hm_test_add(world.registry, "memory-backend-memfd,pool=p0,id=m1,"
                                     "size=4M");
    hm_test_assert_reads(m1, "pool-size", "0");
    g_assert_cmpint(hostmem_backend_get_fd(m1), >=, 0);
    g_assert_true(hm_test_is_filled(m1, 0));
}

static void test_no_fresh_memory(void)
{
    g_auto(World) world = world_new(HM_TEST_POOL);
    guint fds = hm_test_count_fds();

    hm_fake_fail_always(HM_FAKE_MEMFD, EMFILE);
    hm_test_assert_add_fails(world.registry, RAM "12M", HOSTMEM_ERROR_LIMIT,
                             "failed to create memfd");
    hm_test_await_ready(world.pool, 4);
    g_assert_cmpuint(hm_test_count_fds(), ==, fds);
    g_assert_false(hostmem_object_is_held(HOSTMEM_OBJECT(world.pool)));
}

static void test_mapping_fails(void)
{
    g_auto(World) world = world_new(HM_TEST_POOL);

    for (guint nth = 1; nth <= 5; nth++) {
        hm_fake_fail(HM_FAKE_MAP, nth, ENOMEM);
        hm_test_assert_add_fails(world.registry, RAM "8M",
                                 HOSTMEM_ERROR_NO_MEMORY, "");
        hm_test_await_ready(world.pool, 4);
        hm_fake_fail_always(HM_FAKE_MAP, 0);
    }
    hm_test_add(world.registry, RAM "8M");
}

/* A rollback gives back what is fresh, and leaves the segments alone. */
static void test_populate_fails(void)
{
    g_auto(World) world = world_new(HM_TEST_POOL ",thp=off");

    hm_fake_fail_advice(MADV_POPULATE_WRITE, 1, EFAULT);
    hm_test_assert_add_fails(world.registry, RAM "12M,thp=off",
                             HOSTMEM_ERROR_NO_SPACE, "preallocating");
    hm_test_await_ready(world.pool, 4);
    hm_test_assert_reads(world.pool, "lent-size", "0");
}

/* Giving back */

static void test_every_byte_is_zeroed(void)
{
    g_auto(World) world = world_new(HM_TEST_POOL);

    for (guint i = 0; i < 5; i++) {
        HostmemBackend *m0 = hm_test_add(world.registry, RAM "8M");

        g_assert_true(hm_test_is_filled(m0, 0));
        hm_test_fill_with(m0, 0xa5);
        hm_test_remove(world.registry, "m0");
        hm_test_await_ready(world.pool, 4);
    }
    g_assert_cmpuint(hm_fake_count(HM_FAKE_MEMFD), ==, 5); /* one on trial */
}

static void test_holes_are_filled(void)
{
    g_auto(World) world = world_new(HM_TEST_POOL);
    HostmemBackend *m0 = hm_test_add(world.registry, RAM "4M");
    g_autoptr(GError) error = NULL;

    hm_test_fill_with(m0, 1);
    g_assert_true(
        hostmem_backend_discard(m0, HM_TEST_SEGMENT - 4096, 3 * 4096, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(hostmem_backend_get_backed_size(m0), <,
                     2 * HM_TEST_SEGMENT);
    hm_test_remove(world.registry, "m0");
    hm_test_await_ready(world.pool, 4);
    m0 = hm_test_add(world.registry, RAM "8M");
    hm_test_assert_reads(m0, "backed-size", "8388608");
    hm_test_assert_reads(m0, "pool-size", "8388608");
    g_assert_true(hm_test_is_filled(m0, 0));
}

static void test_all_discarded(void)
{
    g_auto(World) world = world_new(HM_TEST_POOL);
    HostmemBackend *m0 = hm_test_add(world.registry, RAM "8M");

    g_assert_true(hostmem_backend_discard(m0, 0, 8 * HM_MIB, NULL));
    g_assert_cmpuint(hostmem_backend_get_backed_size(m0), ==, 0);
    hm_test_remove(world.registry, "m0");
    hm_test_await_ready(world.pool, 4);
}

/* Who has it still must never see what the next one writes. */
static void test_held_is_replaced(void)
{
    g_auto(World) world = world_new(HM_TEST_POOL);
    HostmemBackend *m0 = hm_test_add(world.registry, RAM "2M");
    guint64 inode = hm_test_inode(m0);
    hm_autofd int theirs = hostmem_backend_dup_fd(m0, 0, NULL);
    guint8 byte = 0;

    g_assert_cmpint(theirs, >=, 0);
    hm_test_fill_with(m0, 7);
    hm_test_remove(world.registry, "m0");
    hm_test_await_ready(world.pool, 4);
    m0 = hm_test_add(world.registry, RAM "8M");
    g_assert_true(hm_test_is_filled(m0, 0));
    hm_test_fill_with(m0, 9);
    g_assert_cmpuint(hm_test_inode(m0), !=, inode);
    g_assert_cmpint(pread(theirs, &byte, 1, 0), ==, 1);
    g_assert_cmpuint(byte, ==, 7);
}

static void test_mapped_is_replaced(void)
{
    g_auto(World) world = world_new(HM_TEST_POOL);
    HostmemBackend *m0 = hm_test_add(world.registry, RAM "8M");
    int theirs = hostmem_backend_dup_fd(m0, 2, NULL);
    guint8 *memory = mmap(NULL, HM_TEST_SEGMENT, PROT_READ | PROT_WRITE,
                          MAP_SHARED, theirs, 0);

    g_assert_true(memory != MAP_FAILED);
    hm_os_close(theirs);
    memory[3] = 7;
    hm_test_remove(world.registry, "m0");
    hm_test_await_ready(world.pool, 4);
    m0 = hm_test_add(world.registry, RAM "8M");
    g_assert_true(hm_test_is_filled(m0, 0));
    g_assert_cmpuint(memory[3], ==, 7);
    munmap(memory, HM_TEST_SEGMENT);
}

static void test_let_go_is_used_again(void)
{
    g_auto(World) world = world_new(HM_TEST_POOL);
    HostmemBackend *m0 = hm_test_add(world.registry, RAM "8M");
    int theirs = hostmem_backend_dup_fd(m0, 0, NULL);
    guint memfds = hm_fake_count(HM_FAKE_MEMFD);

    hm_os_close(theirs);
    hm_test_remove(world.registry, "m0");
    hm_test_await_ready(world.pool, 4);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_MEMFD), ==, memfds);
}

/* A process that is exiting gets a moment: it lets go at the third look. */

typedef struct {
    int fd;
    gint looks; /* atomic */
} Exiting;

static gint64 let_go(const HmFakeRecord *record G_GNUC_UNUSED, gpointer data)
{
    Exiting *process = data;

    if (g_atomic_int_add(&process->looks, 1) == 2) {
        hm_os_close(process->fd);
    }
    return 0;
}

static void test_gets_a_moment(void)
{
    g_auto(World) world = world_new(HM_TEST_POOL);
    HostmemBackend *m0 = hm_test_add(world.registry, RAM "2M");
    Exiting process = {hostmem_backend_dup_fd(m0, 0, NULL), 0};
    guint memfds = hm_fake_count(HM_FAKE_MEMFD);

    hm_fake_hook(HM_FAKE_ONLY_USER, let_go, &process);
    hm_test_remove(world.registry, "m0");
    hm_test_await_ready(world.pool, 4);
    hm_fake_hook(HM_FAKE_ONLY_USER, NULL, NULL);
    g_assert_cmpint(g_atomic_int_get(&process.looks), >=, 3);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_MEMFD), ==, memfds);
}

/* Where it cannot be told, only who was never given away is used again. */
static void test_cannot_be_told(void)
{
    g_auto(World) world = world_new(HM_TEST_POOL);
    HostmemBackend *m0 = hm_test_add(world.registry, RAM "2M");
    guint memfds = hm_fake_count(HM_FAKE_MEMFD);

    hm_fake_fail_always(HM_FAKE_ONLY_USER, EINVAL);
    hm_test_remove(world.registry, "m0");
    hm_test_await_ready(world.pool, 4);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_MEMFD), ==, memfds);

    m0 = hm_test_add(world.registry, RAM "2M");
    hm_os_close(hostmem_backend_dup_fd(m0, 0, NULL));
    hm_test_remove(world.registry, "m0");
    hm_test_await_ready(world.pool, 4);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_MEMFD), ==, memfds + 1);
}

/* Without owner and mode nothing is known. */
static void test_cannot_be_taken_back(void)
{
    g_auto(World) world = world_new(HM_TEST_POOL);
    guint memfds;

    hm_test_add(world.registry, RAM "2M");
    memfds = hm_fake_count(HM_FAKE_MEMFD);
    hm_fake_fail(HM_FAKE_CHOWN, 1, EPERM);
    hm_test_remove(world.registry, "m0");
    hm_test_await_ready(world.pool, 4);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_MEMFD), ==, memfds + 1);
}

static void test_owner_is_restored(void)
{
    g_auto(World) world = world_new(HM_TEST_POOL);
    HostmemBackend *m0 = hm_test_add(world.registry, RAM "8M");
    struct stat st;
    guint n;
    const HostmemBackendPart *parts = hostmem_backend_get_parts(m0, &n);

    g_assert_cmpint(fchmod(parts[0].fd, 0666), ==, 0);
    hm_test_remove(world.registry, "m0");
    hm_test_await_ready(world.pool, 4);
    m0 = hm_test_add(world.registry, RAM "8M");
    parts = hostmem_backend_get_parts(m0, &n);
    for (guint i = 0; i < n; i++) {
        g_assert_cmpint(fstat(parts[i].fd, &st), ==, 0);
        g_assert_cmpuint(st.st_mode & 07777, ==, 01600);
    }
}

/* Not sealed: whoever has it can do that. */
static void test_truncated_is_replaced(void)
{
    g_auto(World) world = world_new(HM_TEST_POOL ",seal=off");
    HostmemBackend *m0 = hm_test_add(world.registry, RAM "2M");
    guint opened = hm_fake_count(HM_FAKE_TRUNCATE);

    g_assert_cmpint(ftruncate(hostmem_backend_get_fd(m0), 4096), ==, 0);
    hm_test_remove(world.registry, "m0");
    hm_test_await_ready(world.pool, 4);
    m0 = hm_test_add(world.registry, RAM "8M");
    hm_test_assert_reads(m0, "pool-size", "8388608");
    g_assert_cmpuint(hm_fake_count(HM_FAKE_TRUNCATE), ==, opened + 1);
    g_assert_true(hm_test_is_filled(m0, 0));
}

static void test_grown_is_replaced(void)
{
    g_auto(World) world = world_new(HM_TEST_POOL ",seal=off");
    HostmemBackend *m0 = hm_test_add(world.registry, RAM "2M");
    guint opened = hm_fake_count(HM_FAKE_TRUNCATE);

    g_assert_cmpint(ftruncate(hostmem_backend_get_fd(m0), 4 * HM_MIB), ==, 0);
    hm_test_remove(world.registry, "m0");
    hm_test_await_ready(world.pool, 4);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_TRUNCATE), ==, opened + 1);
}

/* Size and removal of the pool */

static void test_lent_is_in_use(void)
{
    g_auto(World) world = world_new(HM_TEST_POOL);
    GError *error = NULL;

    hm_test_add(world.registry, RAM "2M");
    g_assert_false(hostmem_registry_remove(world.registry, "p0", &error));
    hm_test_assert_error(error, HOSTMEM_ERROR_BUSY,
                         "object 'p0' is in use, can not be deleted");
    hm_test_remove(world.registry, "m0");
    hm_test_remove(world.registry, "p0");
}

static void test_shrinks_as_it_comes_back(void)
{
    g_auto(World) world = world_new(HM_TEST_POOL);
    guint fds = hm_test_count_fds();

    hm_test_add(world.registry, RAM "6M");
    hm_test_assert_set(world.pool, "size", "2M");
    hm_test_assert_segments(world.pool, 0, 3);
    hm_test_remove(world.registry, "m0");
    hm_test_await_ready(world.pool, 1);
    g_assert_cmpuint(hm_test_count_fds(), ==, fds - 3);
}

static void test_low_water(void)
{
    g_auto(World) world = world_new(HM_TEST_POOL ",low-water=6M");

    hm_test_add(world.registry, RAM "4M");
    g_assert_true(world.pool->below);
    hm_test_remove(world.registry, "m0");
    hm_test_await_ready(world.pool, 4);
    g_assert_false(world.pool->below);
}

static const HmTest tests[] = {
    {"/pool-lend/one", test_one_segment},
    {"/pool-lend/less", test_less_than_a_segment},
    {"/pool-lend/several", test_several_segments},
    {"/pool-lend/order", test_parts_are_in_order},
    {"/pool-lend/odd-size", test_odd_size},
    {"/pool-lend/all-types", test_all_types},
    {"/pool-lend/async", test_async},
    {"/pool-lend/rest-is-fresh", test_rest_is_fresh},
    {"/pool-lend/all-is-fresh", test_all_is_fresh},
    {"/pool-lend/no-fresh-memory", test_no_fresh_memory},
    {"/pool-lend/map-fails", test_mapping_fails},
    {"/pool-lend/populate-fails", test_populate_fails},
    {"/pool-lend/zeroed", test_every_byte_is_zeroed},
    {"/pool-lend/holes", test_holes_are_filled},
    {"/pool-lend/all-discarded", test_all_discarded},
    {"/pool-lend/held", test_held_is_replaced},
    {"/pool-lend/mapped", test_mapped_is_replaced},
    {"/pool-lend/let-go", test_let_go_is_used_again},
    {"/pool-lend/a-moment", test_gets_a_moment},
    {"/pool-lend/cannot-be-told", test_cannot_be_told},
    {"/pool-lend/cannot-be-taken-back", test_cannot_be_taken_back},
    {"/pool-lend/owner", test_owner_is_restored},
    {"/pool-lend/truncated", test_truncated_is_replaced},
    {"/pool-lend/grown", test_grown_is_replaced},
    {"/pool-lend/in-use", test_lent_is_in_use},
    {"/pool-lend/shrinks", test_shrinks_as_it_comes_back},
    {"/pool-lend/low-water", test_low_water},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
