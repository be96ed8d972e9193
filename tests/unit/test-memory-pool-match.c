/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/memory-pool.h>
#include "backends/memory-pool.h"
#include "object-test.h"
#include "os-fake.h"
#include "pool-test.h"
#include "util/size.h"

/* Which memory of a pool a backend gets, and which backends get none. */

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

/* Nodes */

static World two_nodes(const char *pool)
{
    hm_fake_set_nodes(2, 2, 8 * HM_GIB);
    return world_new(pool);
}

static void test_node_fits(void)
{
    g_auto(World) world = two_nodes(HM_TEST_POOL ",host-nodes=1,policy=bind");
    HostmemBackend *m0 =
        hm_test_add(world.registry, RAM "8M,host-nodes=0-1,policy=bind");

    hm_test_assert_reads(m0, "pool-size", "8388608");
}

static void test_bind_takes_no_other_node(void)
{
    g_auto(World) world = two_nodes(HM_TEST_POOL ",host-nodes=1,policy=bind");
    HostmemBackend *m0 =
        hm_test_add(world.registry, RAM "2M,host-nodes=0,policy=bind");

    hm_test_assert_reads(m0, "pool-size", "0");
    hm_test_assert_segments(world.pool, 4, 0);
}

static void test_preferred_takes_another_node(void)
{
    g_auto(World) world = two_nodes(HM_TEST_POOL ",host-nodes=1,policy=bind");
    HostmemBackend *m0 =
        hm_test_add(world.registry, RAM "2M,host-nodes=0,policy=preferred");

    hm_test_assert_reads(m0, "pool-size", "2097152");
}

static void test_fitting_segments_first(void)
{
    g_auto(World) world =
        two_nodes(HM_TEST_POOL ",host-nodes=0-1,policy=interleave");
    g_autoptr(HmIdset) zero = hm_idset_parse("0", NULL);
    HostmemBackend *m0;
    HmPoolSegment *third = g_ptr_array_index(world.pool->segments, 2);

    g_clear_pointer(&third->where, hm_idset_free);
    third->where = g_steal_pointer(&zero);
    m0 = hm_test_add(world.registry, RAM "2M,host-nodes=0,policy=preferred");
    g_assert_cmpint(hostmem_backend_get_fd(m0), ==,
                    third->parent_instance.backing.fd);
}

/* The policy is the file's, so that a borrower's would stay; each segment is
 * unbound first. */
static void test_policy_is_restored(void)
{
    g_auto(World) world = two_nodes(HM_TEST_POOL ",host-nodes=1,policy=bind");
    const HmPoolSegment *segment = g_ptr_array_index(world.pool->segments, 0);
    guint binds;

    hm_test_add(world.registry, RAM "8M,host-nodes=0,policy=preferred");
    binds = hm_fake_count(HM_FAKE_BIND);
    hm_test_remove(world.registry, "m0");
    hm_test_await_ready(world.pool, 4);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_BIND), ==, binds + 2 * 4);
    g_autofree char *nodes =
        hm_fake_bound_to(segment->parent_instance.mapping.addr);
    g_assert_cmpstr(nodes, ==, "1");
}

/* What does not go together */

static void test_refused(void)
{
    g_auto(World) world = world_new(HM_TEST_POOL);
    g_autofree char *file = g_strdup_printf(
        "memory-backend-file,id=m0,size=2M,share=on,pool=p0,mem-path=%s",
        hm_test_folder());

    hm_test_assert_add_fails(
        world.registry, "memory-backend-ram,pool=p0,id=m0,size=2M",
        HOSTMEM_ERROR_INVALID, "property 'pool' does not go with 'share=off'");
    hm_test_assert_add_fails(world.registry, file, HOSTMEM_ERROR_INVALID,
                             "property 'pool' does not go with "
                             "memory-backend-file");
    hm_test_assert_add_fails(world.registry, RAM "2M,reserve=off",
                             HOSTMEM_ERROR_INVALID,
                             "property 'pool' does not go with 'reserve=off'");
    hm_test_assert_add_fails(world.registry,
                             "memory-backend-memfd,id=m0,size=2M,pool=p0,"
                             "hugetlb=on,hugetlbsize=2M",
                             HOSTMEM_ERROR_INVALID,
                             "memory-pool 'p0' has pages of 4 KiB, but "
                             "'hugetlb' and 'hugetlbsize' ask for 2 MiB");
    hm_test_assert_add_fails(world.registry,
                             "memory-backend-ram,share=on,id=m0,size=2M,"
                             "pool=p1",
                             HOSTMEM_ERROR_NOT_FOUND, "Device 'p1' not found");
    hm_test_assert_segments(world.pool, 4, 0);
}

static void test_seal_is_refused(void)
{
    g_auto(World) world = world_new(HM_TEST_POOL ",seal=off");

    hm_test_assert_add_fails(
        world.registry, "memory-backend-memfd,id=m0,size=2M,pool=p0",
        HOSTMEM_ERROR_INVALID, "memory-pool 'p0' has 'seal=off'");
    hm_test_add(world.registry,
                "memory-backend-memfd,id=m0,size=2M,pool=p0,seal=off");
}

static void test_wrong_type_of_link(void)
{
    g_auto(World) world = world_new(HM_TEST_POOL);

    hm_test_add(world.registry, "memory-backend-ram,id=x,size=2M");
    hm_test_assert_add_fails(world.registry,
                             "memory-backend-ram,share=on,id=m0,size=2M,pool=x",
                             HOSTMEM_ERROR_INVALID, "memory-pool");
}

static const HmTest tests[] = {
    {"/pool-match/node-fits", test_node_fits},
    {"/pool-match/bind", test_bind_takes_no_other_node},
    {"/pool-match/preferred", test_preferred_takes_another_node},
    {"/pool-match/fitting-first", test_fitting_segments_first},
    {"/pool-match/policy", test_policy_is_restored},
    {"/pool-match/refused", test_refused},
    {"/pool-match/seal", test_seal_is_refused},
    {"/pool-match/link", test_wrong_type_of_link},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
