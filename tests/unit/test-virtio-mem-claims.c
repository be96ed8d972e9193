/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>
#include "backends/hostmem.h"
#include "object-test.h"
#include "util/pagesize.h"
#include "virtio-mem-test.h"

/*
 * What a plug and an unplug promise, on the real kernel: plugged memory can be
 * touched, whatever others do with huge pages; unplugged memory is given back.
 */

#define POOL_FILE "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"

/* Huge pages */

/* The pool has exactly 8 free pages while a test has it; one holder at a time
 * on the host. */
typedef struct {
    int fd;
    char before[32];
    HmHugePool pool;
} Pool;

#define POOL_PAGES 8

static gboolean write_pool(int fd, const char *text)
{
    return pwrite(fd, text, strlen(text), 0) == (gssize)strlen(text);
}

static guint64 free_pages(void)
{
    HmHugePool pool = {0};

    hm_huge_pool_read(2 * HM_MIB, &pool, NULL);
    return pool.free;
}

static guint64 available_pages(void)
{
    HmHugePool pool = {0};

    hm_huge_pool_read(2 * HM_MIB, &pool, NULL);
    return pool.free - pool.reserved;
}

static gboolean take_pool(Pool *self)
{
    g_autofree char *wanted = NULL;
    HmHugePool pool = {0};
    gssize n;

    self->fd = open(POOL_FILE, O_RDWR | O_CLOEXEC);
    if (self->fd < 0) {
        g_test_skip("cannot change the pool of huge pages");
        return FALSE;
    }
    g_assert_cmpint(flock(self->fd, LOCK_EX), ==, 0);
    n = read(self->fd, self->before, sizeof(self->before) - 1);
    g_assert_cmpint(n, >, 0);
    hm_huge_pool_read(2 * HM_MIB, &pool, NULL);
    wanted = g_strdup_printf("%" G_GUINT64_FORMAT,
                             pool.total - pool.free + POOL_PAGES);
    g_assert_true(write_pool(self->fd, wanted));
    if (available_pages() != POOL_PAGES) {
        g_test_skip("the host has no 8 huge pages");
        return FALSE;
    }
    return TRUE;
}

static void pool_clear(Pool *self)
{
    if (self->fd >= 0) {
        g_assert_true(write_pool(self->fd, self->before));
        close(self->fd);
    }
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Pool, pool_clear)

/* Somebody else takes huge pages, as many as there are. */
typedef struct {
    gpointer addr;
    gsize length;
} Thief;

static void steal(Thief *self)
{
    *self = (Thief){0};
    if (!available_pages()) {
        return;
    }
    self->length = available_pages() * 2 * HM_MIB;
    self->addr =
        mmap(NULL, self->length, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);
    g_assert_true(self->addr != MAP_FAILED);
    g_assert_cmpuint(available_pages(), ==, 0);
}

static void give_back(Thief *self)
{
    if (self->length) {
        g_assert_cmpint(munmap(self->addr, self->length), ==, 0);
    }
}

static HostmemVirtioMem *make(const char *options, gboolean prealloc)
{
    g_autoptr(HostmemBackend) memdev = hm_test_memdev(options);

    return hm_test_virtio_mem(memdev, "block-size", BLOCK, "requested-size",
                              REGION, "prealloc", prealloc, NULL);
}

static guint8 *memory_of(HostmemVirtioMem *device, guint block)
{
    guint8 *addr =
        hostmem_backend_get_host_addr(hostmem_virtio_mem_get_memdev(device));

    return addr + block * BLOCK;
}

#define HUGETLB "memory-backend-memfd,hugetlb=on,hugetlbsize=2M"

/* A SIGBUS would end the test program. */
static void check_stolen_pages(const char *options, gboolean prealloc)
{
    g_auto(Pool) pool = {.fd = -1};
    g_autoptr(HostmemVirtioMem) device = NULL;
    Thief thief;

    if (!take_pool(&pool)) {
        return;
    }
    device = make(options, prealloc);
    hm_test_assert_answer(device, PLUG, 0, 4, ACK);
    steal(&thief);
    memset(memory_of(device, 0), 1, 4 * BLOCK);
    hm_test_assert_answer(device, PLUG, 4, 1, BUSY);
    hm_test_assert_answer(device, UNPLUG, 1, 2, ACK);
    g_assert_cmpuint(available_pages(), ==, 2);
    give_back(&thief);
    steal(&thief);
    hm_test_assert_answer(device, PLUG, 1, 2, BUSY);
    give_back(&thief);
    hm_test_assert_answer(device, PLUG, 1, 2, ACK);
    memset(memory_of(device, 0), 2, 4 * BLOCK);
    hm_test_assert_answer(device, UNPLUG_ALL, 0, 0, ACK);
    g_assert_cmpuint(available_pages(), ==, POOL_PAGES);
}

static void test_stolen_huge_pages(void)
{
    check_stolen_pages(HUGETLB ",reserve=off", FALSE);
}

static void test_stolen_huge_pages_with_prealloc(void)
{
    check_stolen_pages(HUGETLB ",reserve=off", TRUE);
}

static void test_stolen_private_huge_pages(void)
{
    check_stolen_pages(HUGETLB ",share=off,reserve=off", FALSE);
}

/* 8 pages, all of the pool, are reserved when the memdev is made. */
static HostmemVirtioMem *make_reserved(void)
{
    g_autoptr(HostmemBackend) memdev = hm_test_make(HUGETLB ",id=m0,size=16M");

    return hm_test_virtio_mem(memdev, "requested-size", 16 * HM_MIB, NULL);
}

static void test_reserved_huge_pages_are_not_populated(void)
{
    g_auto(Pool) pool = {.fd = -1};
    g_autoptr(HostmemVirtioMem) device = NULL;

    if (!take_pool(&pool)) {
        return;
    }
    device = make_reserved();
    hm_test_assert_answer(device, PLUG, 0, 4, ACK);
    g_assert_cmpuint(available_pages(), ==, 0);
    g_assert_cmpuint(free_pages(), ==, POOL_PAGES);
}

static void test_stolen_reserved_huge_pages(void)
{
    g_auto(Pool) pool = {.fd = -1};
    g_autoptr(HostmemVirtioMem) device = NULL;
    Thief thief;

    if (!take_pool(&pool)) {
        return;
    }
    device = make_reserved();
    hm_test_assert_answer(device, PLUG, 0, 4, ACK);
    memset(memory_of(device, 0), 1, 4 * BLOCK);
    hm_test_assert_answer(device, UNPLUG, 0, 4, ACK);
    g_assert_cmpuint(available_pages(), ==, 4);
    steal(&thief);
    hm_test_assert_answer(device, PLUG, 0, 1, BUSY);
    hm_test_assert_answer(device, PLUG, 4, 4, ACK);
    memset(memory_of(device, 4), 2, 4 * BLOCK);
    give_back(&thief);
    hm_test_assert_answer(device, PLUG, 0, 4, ACK);
    steal(&thief);
    memset(memory_of(device, 0), 3, 8 * BLOCK);
    give_back(&thief);
}

static void test_plug_that_finds_too_few_takes_none(void)
{
    g_auto(Pool) pool = {.fd = -1};
    g_autoptr(HostmemVirtioMem) device = NULL;
    HostmemVirtioMemStatus status;

    if (!take_pool(&pool)) {
        return;
    }
    device = make(HUGETLB ",reserve=off", TRUE);
    hm_test_assert_answer(device, PLUG, 0, 6, ACK);
    hm_test_assert_answer(device, PLUG, 6, 3, BUSY);
    g_assert_cmpuint(available_pages(), ==, 2);
    hostmem_virtio_mem_get_status(device, &status);
    g_assert_nonnull(strstr(status.reason, "huge pages"));
    hm_test_assert_answer(device, PLUG, 6, 2, ACK);
}

/* What is given back */

static void check_given_back(const char *options, gboolean prealloc)
{
    g_autoptr(HostmemVirtioMem) device = make(options, prealloc);
    HostmemBackend *memdev = hostmem_virtio_mem_get_memdev(device);

    hm_test_assert_answer(device, PLUG, 0, 8, ACK);
    memset(memory_of(device, 0), 0xaa, 8 * BLOCK);
    hm_test_assert_answer(device, UNPLUG, 2, 3, ACK);
    g_assert_cmpuint(hostmem_backend_get_backed_size(memdev), ==, 5 * BLOCK);
    g_assert_cmpuint(hostmem_backend_get_populated_size(memdev), ==, 5 * BLOCK);
    g_assert_cmpuint(*memory_of(device, 2), ==, 0);
    g_assert_cmpuint(*memory_of(device, 5), ==, 0xaa);
    hm_test_assert_answer(device, UNPLUG_ALL, 0, 0, ACK);
    g_assert_cmpuint(hostmem_backend_get_backed_size(memdev), ==, 0);
}

static void test_given_back(gconstpointer options)
{
    check_given_back(options, FALSE);
    check_given_back(options, TRUE);
}

static void test_plugged_file_has_storage(void)
{
    g_autofree char *options = g_strdup_printf(
        "memory-backend-file,share=on,mem-path=%s", g_get_tmp_dir());
    g_autoptr(HostmemVirtioMem) device = make(options, FALSE);
    HostmemBackend *memdev = hostmem_virtio_mem_get_memdev(device);

    if (memdev->backing.kind != HM_MEM_FILE) {
        g_test_skip("the folder for temporary files is on no disk");
        return;
    }
    hm_test_assert_answer(device, PLUG, 3, 4, ACK);
    g_assert_cmpuint(hostmem_backend_get_backed_size(memdev), ==, 4 * BLOCK);
    g_assert_cmpuint(hostmem_backend_get_populated_size(memdev), ==, 0);
    hm_test_assert_answer(device, UNPLUG, 3, 2, ACK);
    g_assert_cmpuint(hostmem_backend_get_backed_size(memdev), ==, 2 * BLOCK);
}

static void test_private_file_is_left_alone(void)
{
    g_autofree char *dir = g_dir_make_tmp("hostmem-test-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "ram", NULL);
    g_autofree char *content = g_malloc(REGION);
    g_autofree char *options =
        g_strdup_printf("memory-backend-file,mem-path=%s", path);
    g_autoptr(HostmemVirtioMem) device = NULL;
    g_autofree char *after = NULL;
    gsize length;

    memset(content, 0x55, REGION);
    g_assert_true(g_file_set_contents(path, content, REGION, NULL));
    device = make(options, TRUE);
    hm_test_assert_answer(device, PLUG, 0, 4, ACK);
    memset(memory_of(device, 0), 0xaa, 4 * BLOCK);
    hm_test_assert_answer(device, UNPLUG, 0, 2, ACK);
    hm_test_assert_answer(device, UNPLUG_ALL, 0, 0, ACK);
    g_assert_true(g_file_get_contents(path, &after, &length, NULL));
    g_assert_cmpmem(after, length, content, REGION);
    g_assert_cmpint(unlink(path), ==, 0);
    g_assert_cmpint(rmdir(dir), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio-mem-claims/stolen-huge-pages",
                    test_stolen_huge_pages);
    g_test_add_func("/virtio-mem-claims/stolen-huge-pages-with-prealloc",
                    test_stolen_huge_pages_with_prealloc);
    g_test_add_func("/virtio-mem-claims/stolen-private-huge-pages",
                    test_stolen_private_huge_pages);
    g_test_add_func("/virtio-mem-claims/reserved-huge-pages-are-not-populated",
                    test_reserved_huge_pages_are_not_populated);
    g_test_add_func("/virtio-mem-claims/stolen-reserved-huge-pages",
                    test_stolen_reserved_huge_pages);
    g_test_add_func("/virtio-mem-claims/plug-that-finds-too-few-takes-none",
                    test_plug_that_finds_too_few_takes_none);
    g_test_add_data_func("/virtio-mem-claims/given-back/private",
                         "memory-backend-ram", test_given_back);
    g_test_add_data_func("/virtio-mem-claims/given-back/shared",
                         "memory-backend-ram,share=on", test_given_back);
    g_test_add_data_func("/virtio-mem-claims/given-back/memfd",
                         "memory-backend-memfd", test_given_back);
    g_test_add_data_func("/virtio-mem-claims/given-back/shm",
                         "memory-backend-shm", test_given_back);
    g_test_add_func("/virtio-mem-claims/plugged-file-has-storage",
                    test_plugged_file_has_storage);
    g_test_add_func("/virtio-mem-claims/private-file-is-left-alone",
                    test_private_file_is_left_alone);
    return g_test_run();
}
