/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <hostmem/backend.h>
#include "object-test.h"
#include "os-fake.h"
#include "util/hostcaps.h"
#include "util/pagesize.h"
#include "util/size.h"

/* memory-backend-memfd and memory-backend-shm. */

#define MEMFD "memory-backend-memfd,id=m0,"
#define SHM   "memory-backend-shm,id=m0,"

static void test_defaults(void)
{
    g_autoptr(HostmemBackend) memfd = hm_test_make(MEMFD "size=1M");

    hm_test_assert_reads(memfd, "share", "true");
    hm_test_assert_reads(memfd, "hugetlb", "false");
    hm_test_assert_reads(memfd, "hugetlbsize", "0");
    hm_test_assert_reads(memfd, "seal", "true");
    g_assert_cmpint(hostmem_backend_get_fd(memfd), >=, 0);
}

static void test_sealed(void)
{
    g_autoptr(HostmemBackend) memfd = hm_test_make(MEMFD "size=1M");
    int fd = hostmem_backend_get_fd(memfd);

    g_assert_cmpint(ftruncate(fd, 0), <, 0);
    g_assert_cmpint(ftruncate(fd, 2 * HM_MIB), <, 0);
    g_assert_cmpint(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), <, 0);
}

static void test_not_sealed(void)
{
    g_autoptr(HostmemBackend) memfd = hm_test_make(MEMFD "size=1M,seal=off");

    g_assert_cmpint(ftruncate(hostmem_backend_get_fd(memfd), 2 * HM_MIB), ==,
                    0);
}

static void test_private_is_anonymous(void)
{
    g_autoptr(HostmemBackend) memfd = hm_test_make(MEMFD "size=1M,share=off");

    g_assert_cmpint(hostmem_backend_get_fd(memfd), ==, -1);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_MEMFD), ==, 0);
}

static void test_private_huge_pages(void)
{
    g_autoptr(HostmemBackend) memfd = NULL;
    char there = 'x';

    if (!hm_hostcaps_get()->memfd_hugetlb ||
        !hm_huge_pool_read(2 * HM_MIB, &(HmHugePool){0}, NULL)) {
        g_test_skip("no huge pages of 2 MiB here");
        return;
    }
    memfd = hm_test_make(MEMFD "size=2M,share=off,hugetlb=on,hugetlbsize=2M,"
                               "reserve=off");
    g_assert_cmpint(pread(hostmem_backend_get_fd(memfd), &there, 1, 0), ==, 1);
    g_assert_cmpint(there, ==, 0);
}

static void test_size_errors(void)
{
    hm_test_assert_make_fails(MEMFD "size=5000", HOSTMEM_ERROR_INVALID,
                              "backend 'memory-backend-memfd' memory size must "
                              "be multiple of 4 KiB");
    hm_test_assert_make_fails(MEMFD "size=1M,hugetlb=on,hugetlbsize=2M",
                              HOSTMEM_ERROR_INVALID,
                              "backend 'memory-backend-memfd' memory size must "
                              "be multiple of 2 MiB");
    g_assert_cmpuint(hm_fake_count(HM_FAKE_MEMFD), ==, 0);
}

static void test_hugetlbsize_errors(void)
{
    hm_test_assert_make_fails(MEMFD "size=6M,hugetlb=on,hugetlbsize=3M",
                              HOSTMEM_ERROR_INVALID,
                              "Hugepage size must be a power of 2");
    hm_test_assert_make_fails(MEMFD "size=6M,hugetlbsize=3M",
                              HOSTMEM_ERROR_INVALID,
                              "Hugepage size must be a power of 2");
    hm_test_assert_make_fails(MEMFD "size=2M,hugetlb=on,hugetlbsize=0",
                              HOSTMEM_ERROR_INVALID,
                              "property 'hugetlbsize' of memory-backend-memfd "
                              "doesn't take value '0'");
    hm_test_assert_make_fails(MEMFD "size=2M,hugetlb=on,hugetlbsize=64K",
                              HOSTMEM_ERROR_UNSUPPORTED,
                              "failed to create memfd with flags");
}

/* Refused before anything is mapped, with the numbers of the pool. */
static void test_no_huge_pages(void)
{
    hm_fake_set_huge_pool(2 * HM_MIB, 4, 1, 0);
    hm_test_assert_make_fails(
        MEMFD "size=4M,hugetlb=on,hugetlbsize=2M", HOSTMEM_ERROR_NO_HUGE_PAGES,
        "unable to map backing store for guest RAM: memory-backend-memfd 'm0' "
        "needs 2 huge pages of 2 MiB: 1 are free");
    hm_test_assert_make_fails(
        MEMFD "size=4M,hugetlb=on,hugetlbsize=2M,prealloc=on",
        HOSTMEM_ERROR_NO_HUGE_PAGES,
        "preallocating memory failed: memory-backend-memfd 'm0' needs 2 huge "
        "pages of 2 MiB: 1 are free");
    g_assert_cmpuint(hm_fake_count(HM_FAKE_MAP), ==, 0);
}

static void test_huge_pages_without_reserve(void)
{
    g_autoptr(HostmemBackend) memfd = NULL;

    if (!hm_hostcaps_get()->memfd_hugetlb ||
        !hm_huge_pool_read(2 * HM_MIB, &(HmHugePool){0}, NULL)) {
        g_test_skip("no huge pages of 2 MiB here");
        return;
    }
    memfd = hm_test_make(MEMFD "size=4M,hugetlb=on,hugetlbsize=2M,reserve=off");
    hm_test_assert_reads(memfd, "page-size", "2097152");
    hm_test_assert_set_fails(
        memfd, "prealloc", "on", HOSTMEM_ERROR_INVALID,
        "'prealloc=on' and 'reserve=off' are incompatible");
}

static void test_live_errors(void)
{
    static const char *const properties[] = {"hugetlb", "hugetlbsize", "seal"};
    g_autoptr(HostmemBackend) memfd = hm_test_make(MEMFD "size=1M");

    for (gsize i = 0; i < G_N_ELEMENTS(properties); i++) {
        g_autofree char *message = g_strdup_printf(
            "cannot change property '%s' of memory-backend-memfd.",
            properties[i]);

        hm_test_assert_set_fails(memfd, properties[i], "1",
                                 HOSTMEM_ERROR_PERMISSION, message);
    }
}

static void test_memfd_fails(void)
{
    hm_fake_fail(HM_FAKE_MEMFD, 1, EMFILE);
    hm_test_assert_make_fails(MEMFD "size=1M", HOSTMEM_ERROR_LIMIT,
                              "failed to create memfd with flags 0x");
    hm_fake_fail(HM_FAKE_TRUNCATE, 1, EINVAL);
    hm_test_assert_make_fails(MEMFD "size=1M", HOSTMEM_ERROR_INVALID,
                              "failed to resize memfd to 1048576");
    hm_fake_fail(HM_FAKE_ADD_SEALS, 1, EPERM);
    hm_test_assert_make_fails(MEMFD "size=1M", HOSTMEM_ERROR_PERMISSION,
                              "failed to add seals 0x");
}

/* memory-backend-shm */

static void test_shm(void)
{
    g_autoptr(HostmemBackend) shm = hm_test_make(SHM "size=1M");

    hm_test_assert_reads(shm, "share", "true");
    g_assert_cmpint(hostmem_backend_get_fd(shm), >=, 0);
    *(char *)hostmem_backend_get_host_addr(shm) = 'x';
}

static void test_shm_errors(void)
{
    hm_test_assert_make_fails(SHM "size=1M,share=off", HOSTMEM_ERROR_INVALID,
                              "can't create shm backend with `share=off`");
    hm_test_assert_make_fails(
        SHM "size=5000", HOSTMEM_ERROR_INVALID,
        "backend 'memory-backend-shm' memory size must be "
        "multiple of 4 KiB");
    hm_fake_fail(HM_FAKE_SHM, 1, EACCES);
    hm_test_assert_make_fails(SHM "size=1M", HOSTMEM_ERROR_PERMISSION,
                              "failed to create POSIX shared memory");
    hm_fake_fail(HM_FAKE_TRUNCATE, 1, EFBIG);
    hm_test_assert_make_fails(
        SHM "size=1M", HOSTMEM_ERROR_LIMIT,
        "failed to resize POSIX shared memory to 1048576");
}

static const HmTest tests[] = {
    {"/hostmem-memfd/defaults", test_defaults},
    {"/hostmem-memfd/sealed", test_sealed},
    {"/hostmem-memfd/not-sealed", test_not_sealed},
    {"/hostmem-memfd/private-is-anonymous", test_private_is_anonymous},
    {"/hostmem-memfd/private-huge-pages", test_private_huge_pages},
    {"/hostmem-memfd/size-errors", test_size_errors},
    {"/hostmem-memfd/hugetlbsize-errors", test_hugetlbsize_errors},
    {"/hostmem-memfd/no-huge-pages", test_no_huge_pages},
    {"/hostmem-memfd/huge-pages-without-reserve",
     test_huge_pages_without_reserve},
    {"/hostmem-memfd/live-errors", test_live_errors},
    {"/hostmem-memfd/memfd-fails", test_memfd_fails},
    {"/hostmem-memfd/shm", test_shm},
    {"/hostmem-memfd/shm-errors", test_shm_errors},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
