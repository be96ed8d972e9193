/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <hostmem/backend.h>
#include <hostmem/registry.h>
#include "backends/memory-pool.h"
#include "util/autofd.h"
#include "util/os.h"
#include "util/size.h"
#include "util/zero.h"

/*
 * What a pool promises, on the real kernel: whatever a tenant did to its
 * memory, the next one gets zeroes, every byte, all of it populated and in huge
 * pages where it was.
 */

#define SEGMENT (16 * HM_MIB)
#define N       4
#define POOL    "memory-pool,id=p0,size=64M,segment-size=16M"

typedef void (*Tenant)(int fd);

static gpointer add(HostmemRegistry *registry, const char *line)
{
    g_autoptr(GError) error = NULL;
    gpointer object = hostmem_registry_add(registry, line, NULL, &error);

    if (g_error_matches(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_HUGE_PAGES)) {
        return NULL;
    }
    g_assert_no_error(error);
    return object;
}

static guint64 ready_huge(HostmemMemoryPool *pool)
{
    guint64 huge = 0;

    for (guint i = 0; i < pool->segments->len; i++) {
        const HostmemBackend *segment = g_ptr_array_index(pool->segments, i);

        huge += (guint64)MAX(
            hm_os_huge(segment->mapping.addr, segment->mapping.length), 0);
    }
    return huge;
}

static void await_ready(HostmemMemoryPool *pool)
{
    HostmemMemoryPoolStatus status;

    do {
        g_usleep(1000);
        hostmem_memory_pool_get_status(pool, &status);
    } while (status.ready < N * SEGMENT);
}

/* What tenants do; each has a descriptor of its own. */

static void write_all(int fd)
{
    guint8 *memory =
        mmap(NULL, SEGMENT, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    g_assert_true(memory != MAP_FAILED);
    memset(memory, 0xff, SEGMENT);
    munmap(memory, SEGMENT);
}

static void punch(int fd, guint64 offset, guint64 length)
{
    g_assert_cmpint(hm_os_punch(fd, offset, length), ==, 0);
}

static void punch_pages(int fd)
{
    write_all(fd);
    punch(fd, 3 * HM_MIB, 4096);
    punch(fd, 7 * HM_MIB + 8192, 8192);
    punch(fd, SEGMENT - 4096, 4096);
}

static void punch_huge_pages(int fd)
{
    write_all(fd);
    punch(fd, 4 * HM_MIB, 6 * HM_MIB);
}

static void punch_all(int fd)
{
    punch(fd, 0, SEGMENT);
}

static void advise_small(int fd)
{
    guint8 *memory =
        mmap(NULL, SEGMENT, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    g_assert_true(memory != MAP_FAILED);
    madvise(memory, SEGMENT, MADV_NOHUGEPAGE);
    memset(memory, 0x11, SEGMENT);
    madvise(memory, SEGMENT / 2, MADV_PAGEOUT);
    munmap(memory, SEGMENT);
}

static void try_to_keep_it(int fd)
{
    write_all(fd);
    g_assert_cmpint(ftruncate(fd, 0), <, 0);
    g_assert_cmpint(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), <, 0);
    g_assert_cmpint(fchmod(fd, 0666), ==, 0);
}

/* Without the descriptor that the pool looks at. */
static void visit(HostmemBackend *backend, Tenant tenant)
{
    guint n;
    const HostmemBackendPart *parts = hostmem_backend_get_parts(backend, &n);

    for (guint i = 0; i < n; i++) {
        hm_autofd int fd = hm_os_reopen(parts[i].fd, O_RDWR);

        g_assert_cmpint(fd, >=, 0);
        tenant(fd);
    }
}

static void check_all(HostmemRegistry *registry, const char *line)
{
    HostmemBackend *backend = add(registry, line);

    g_assert_cmpuint(hostmem_backend_get_pool_size(backend), ==, N * SEGMENT);
    g_assert_cmpuint(hostmem_backend_get_backed_size(backend), ==, N * SEGMENT);
    g_assert_true(
        hm_is_zero(hostmem_backend_get_host_addr(backend), N * SEGMENT));
    g_assert_true(hostmem_registry_remove(registry, "m0", NULL));
}

static void test_tenant(const char *pool_line, const char *line, Tenant tenant)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    HostmemMemoryPool *pool = add(registry, pool_line);
    guint64 huge;

    if (!pool) {
        g_test_skip("too few huge pages in the pool of 2 MiB");
        return;
    }
    huge = ready_huge(pool);
    visit(add(registry, line), tenant);
    g_assert_true(hostmem_registry_remove(registry, "m0", NULL));
    await_ready(pool);
    /* Free RAM may have become too scattered for one or the other. */
    g_assert_cmpuint(ready_huge(pool) + 4 * HM_MIB, >=, huge);
    check_all(registry, line);
}

#define RAM "memory-backend-ram,share=on,id=m0,pool=p0,size=64M"

static void test_write(void)
{
    test_tenant(POOL, RAM, write_all);
}

static void test_punch_pages(void)
{
    test_tenant(POOL, RAM, punch_pages);
}

static void test_punch_huge_pages(void)
{
    test_tenant(POOL, RAM, punch_huge_pages);
}

static void test_punch_all(void)
{
    test_tenant(POOL, RAM, punch_all);
}

static void test_small(void)
{
    test_tenant(POOL, RAM, advise_small);
}

static void test_keep(void)
{
    test_tenant(POOL, RAM, try_to_keep_it);
}

static void test_base_pages(void)
{
    test_tenant(POOL ",thp=off", RAM, punch_pages);
}

static void test_own_tmpfs(void)
{
    test_tenant(POOL ",seal=off", RAM, punch_pages);
}

static void test_hugetlb(void)
{
    test_tenant(POOL ",hugetlb=on,hugetlbsize=2M", RAM, write_all);
    test_tenant(POOL ",hugetlb=on,hugetlbsize=2M", RAM, punch_huge_pages);
}

/* It answers 0 for each kind of who still has it, and 1 for nobody. */
static void test_alone(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    HostmemMemoryPool *pool = add(registry, POOL);
    int fd = HOSTMEM_BACKEND(g_ptr_array_index(pool->segments, 0))->backing.fd;
    static const int flags[] = {O_RDWR, O_RDONLY};

    g_assert_cmpint(hm_os_only_user(fd), ==, 1);
    for (guint i = 0; i < G_N_ELEMENTS(flags); i++) {
        int theirs = hm_os_reopen(fd, flags[i]);
        void *memory = mmap(NULL, 4096, PROT_READ, MAP_SHARED, theirs, 0);

        g_assert_cmpint(hm_os_only_user(fd), ==, 0);
        hm_os_close(theirs);
        g_assert_cmpint(hm_os_only_user(fd), ==, 0);
        munmap(memory, 4096);
        g_assert_cmpint(hm_os_only_user(fd), ==, 1);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pool-claims/alone", test_alone);
    g_test_add_func("/pool-claims/write", test_write);
    g_test_add_func("/pool-claims/punch-pages", test_punch_pages);
    g_test_add_func("/pool-claims/punch-huge-pages", test_punch_huge_pages);
    g_test_add_func("/pool-claims/punch-all", test_punch_all);
    g_test_add_func("/pool-claims/small", test_small);
    g_test_add_func("/pool-claims/keep", test_keep);
    g_test_add_func("/pool-claims/base-pages", test_base_pages);
    g_test_add_func("/pool-claims/own-tmpfs", test_own_tmpfs);
    g_test_add_func("/pool-claims/hugetlb", test_hugetlb);
    return g_test_run();
}
