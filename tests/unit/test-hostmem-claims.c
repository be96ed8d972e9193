/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <hostmem/backend.h>
#include "backends/object-spec.h"
#include "os-test.h"
#include "util/autofd.h"
#include "util/hostcaps.h"
#include "util/os.h"
#include "util/pagesize.h"
#include "util/size.h"

/*
 * What prealloc=on promises, on the real kernel: each page is there, and
 * writing to it does not fault.  The kernel itself counts the faults.
 */

#define SIZE (64 * HM_MIB)
#define ON   ",size=64M,prealloc=on"

/* A context switch at a bad moment; a huge page missing would be 1 in 32. */
#define STRAY_FAULTS 2

/*
 * The kernel may take a promise back in between.  Reclaim unmaps what it had
 * isolated before it was mapped, as DAMON does between the fallocate and the
 * touch, though without swap it cannot even free it: locking memory as it
 * comes (mlock2(2), MLOCK_ONFAULT) keeps reclaim off and populates nothing.
 * Nothing keeps off two others: writing back a shared file protects its pages,
 * so that the kernel knows when they are dirty again; khugepaged unmaps base
 * pages to put a huge page in their place, where thp=off does not forbid it.
 * Only there a promise may be kept at a later try.
 */
#define TRIES 5

static gboolean locked;

static guint tries_of(const char *options)
{
    return locked && strstr(options, "thp=off") ? 1 : TRIES;
}

/* NULL, and the test is skipped, when there are no huge pages (any more). */
static HostmemBackend *make(const char *options)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HmObjectSpec) spec =
        hm_object_spec_from_text(HM_SPEC_OBJECT, options, NULL, &error);
    g_autoptr(HostmemObject) object = NULL;

    g_assert_no_error(error);
    object = hm_object_spec_instantiate(spec);
    if (!g_initable_init(G_INITABLE(object), NULL, &error)) {
        g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_HUGE_PAGES);
        g_test_skip(error->message);
        return NULL;
    }
    return HOSTMEM_BACKEND(g_steal_pointer(&object));
}

static void lock_as_it_comes(void)
{
    locked = mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0;
}

static guint64 count_faults(void)
{
    struct rusage usage;

    g_assert_cmpint(getrusage(RUSAGE_THREAD, &usage), ==, 0);
    return (guint64)usage.ru_minflt + (guint64)usage.ru_majflt;
}

/* Faults of writing to every base page. */
static guint64 faults_of_writing(HostmemBackend *backend)
{
    volatile guint8 *addr = hostmem_backend_get_host_addr(backend);
    gsize page = hm_os_page_size();
    guint64 before;

    count_faults(); /* the code is there from now */
    before = count_faults();
    for (gsize at = 0; at < SIZE; at += page) {
        addr[at] = 42;
    }
    return count_faults() - before;
}

static gboolean keeps_promise(HostmemBackend *backend)
{
    return hostmem_backend_get_populated_size(backend) == SIZE &&
           faults_of_writing(backend) <= STRAY_FAULTS;
}

static void assert_populated(HostmemBackend *backend, const char *options)
{
    g_autoptr(GError) error = NULL;

    for (guint i = 1; !keeps_promise(backend); i++) {
        g_assert_cmpuint(i, <, tries_of(options));
        hostmem_backend_discard(backend, 0, SIZE, &error);
        g_assert_no_error(error);
        hostmem_backend_populate(backend, 0, SIZE, NULL, &error);
        g_assert_no_error(error);
    }
}

static void assert_keeps(const char *options)
{
    g_autoptr(HostmemBackend) backend = make(options);

    g_test_message("%s", options);
    if (backend) {
        assert_populated(backend, options);
    }
}

/* With one thread and two, because the methods differ. */
static void check(const char *options)
{
    g_autofree char *one = g_strconcat(options, ",prealloc-threads=1", NULL);
    g_autofree char *two = g_strconcat(options, ",prealloc-threads=2", NULL);

    assert_keeps(one);
    assert_keeps(two);
}

static gboolean has_thp(void)
{
    if (hm_hostcaps_get()->thp_size && hm_hostcaps_thp() != HM_THP_NEVER &&
        hm_hostcaps_shmem_thp() != HM_SHMEM_THP_DENY &&
        hm_hostcaps_get()->collapse) {
        return TRUE;
    }
    g_test_skip("the host gives no transparent huge pages");
    return FALSE;
}

/* "on" can fail for scattered memory, but not break its promise. */
static void check_huge(const char *options)
{
    g_autoptr(HostmemBackend) backend = has_thp() ? make(options) : NULL;

    if (!backend) {
        return;
    }
    assert_populated(backend, options);
    if (hostmem_backend_get_populated_huge_size(backend)) {
        g_assert_cmpuint(hostmem_backend_get_populated_huge_size(backend), ==,
                         SIZE);
    }
}

/* Backends without a path */

#define RAM    "memory-backend-ram,id=m0" ON
#define SHARED RAM ",share=on"
#define MEMFD  "memory-backend-memfd,id=m0" ON
#define LOOSE  MEMFD ",seal=off"
#define SHM    "memory-backend-shm,id=m0" ON

static void test_options(gconstpointer options)
{
    check(options);
}

static void test_huge(gconstpointer options)
{
    check_huge(options);
}

static const char *const plain[] = {
    RAM,
    RAM ",thp=off",
    SHARED,
    SHARED ",thp=off",
    MEMFD,
    MEMFD ",thp=off",
    MEMFD ",share=off",
    LOOSE,
    LOOSE ",thp=off",
    SHM,
    SHM ",thp=off",
};

static const char *const huge[] = {
    RAM ",thp=on",   SHARED ",thp=on", MEMFD ",thp=on",
    LOOSE ",thp=on", SHM ",thp=on",
};

/* Who changes the pool holds this lock meanwhile. */
static int lock_pool(void)
{
    int fd = hm_os_open(
        "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", O_RDONLY, 0);

    if (fd >= 0) {
        g_assert_cmpint(flock(fd, LOCK_EX), ==, 0);
    }
    return fd;
}

static void test_hugetlb(void)
{
    G_GNUC_UNUSED hm_autofd int lock = lock_pool();
    HmHugePool pool;

    if (!hm_huge_pool_read(2 * HM_MIB, &pool, NULL) ||
        hm_huge_pool_available(&pool) < SIZE / (2 * HM_MIB)) {
        g_test_skip("fewer than 32 free huge pages of 2 MiB");
        return;
    }
    check(MEMFD ",hugetlb=on,hugetlbsize=2M");
}

/* Files */

static char *file_options(const char *folder, const char *more)
{
    return g_strdup_printf("memory-backend-file,id=m0" ON ",mem-path=%s,%s",
                           folder, more);
}

static gboolean need_tmpfs(void)
{
    hm_autofd int fd = hm_os_open("/dev/shm", O_PATH | O_DIRECTORY, 0);
    struct statfs fs;

    if (fd < 0 || hm_os_statfs(fd, &fs) < 0 || fs.f_type != TMPFS_MAGIC ||
        fs.f_bavail * (guint64)fs.f_bsize < 2 * SIZE) {
        g_test_skip("no tmpfs with room at /dev/shm");
        return FALSE;
    }
    return TRUE;
}

static void test_tmpfs_file(void)
{
    g_autofree char *automatic = file_options("/dev/shm", "share=on");
    g_autofree char *off = file_options("/dev/shm", "share=on,thp=off");
    g_autofree char *copy = file_options("/dev/shm", "share=off");

    if (need_tmpfs()) {
        check(automatic);
        check(off);
        check(copy);
    }
}

static void test_huge_tmpfs_file(void)
{
    g_autofree char *options = file_options("/dev/shm", "share=on,thp=on");

    if (need_tmpfs()) {
        check_huge(options);
    }
}

static gboolean need_storage(void)
{
    hm_autofd int fd = hm_os_open(g_get_tmp_dir(), O_PATH | O_DIRECTORY, 0);
    struct statfs fs;

    if (fd < 0 || hm_os_statfs(fd, &fs) < 0 || fs.f_type == TMPFS_MAGIC) {
        g_test_skip("the temporary directory is not on storage");
        return FALSE;
    }
    return TRUE;
}

static void test_storage_file(void)
{
    g_autofree char *options = file_options(g_get_tmp_dir(), "share=on");

    if (need_storage()) {
        check(options);
    }
}

static void test_private_storage_file(void)
{
    g_autofree char *options = file_options(g_get_tmp_dir(), "share=off");

    if (need_storage()) {
        check(options);
    }
}

/* Memory that was read before has pages, but none that can be written. */
static void test_after_reading(gconstpointer data)
{
    g_autoptr(HostmemBackend) backend = make(data);
    volatile guint8 *addr = hostmem_backend_get_host_addr(backend);
    g_autoptr(GError) error = NULL;

    for (gsize at = 0; at < SIZE; at += hm_os_page_size()) {
        g_assert_cmpuint(addr[at], ==, 0);
    }
    hostmem_object_set(HOSTMEM_OBJECT(backend), "prealloc", "on", NULL, &error);
    g_assert_no_error(error);
    assert_populated(backend, data);
}

static const char *const unpopulated[] = {
    "memory-backend-ram,id=m0,size=64M",
    "memory-backend-ram,id=m0,size=64M,thp=off",
    "memory-backend-ram,id=m0,size=64M,share=on",
    "memory-backend-memfd,id=m0,size=64M",
    "memory-backend-memfd,id=m0,size=64M,thp=off",
    "memory-backend-memfd,id=m0,size=64M,share=off",
};

/* An older kernel */

static void without_populate(void)
{
    lock_as_it_comes(); /* a child does not inherit it */
    hm_test_deny(SYS_madvise, 2, MADV_POPULATE_WRITE, EINVAL);
    for (gsize i = 0; i < G_N_ELEMENTS(plain); i++) {
        assert_keeps(plain[i]);
    }
}

static void test_without_populate(void)
{
    hm_test_in_child(without_populate);
}

static void add_all(const char *folder, const char *const *options, gsize n,
                    GTestDataFunc func)
{
    for (gsize i = 0; i < n; i++) {
        g_autofree char *path =
            g_strdup_printf("/hostmem-claims/%s/%s", folder,
                            options[i] + strlen("memory-backend-"));

        g_test_add_data_func(path, options[i], func);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    lock_as_it_comes();
    /* First: what the host can do is found out once. */
    g_test_add_func("/hostmem-claims/without-populate", test_without_populate);
    add_all("written", plain, G_N_ELEMENTS(plain), test_options);
    add_all("huge", huge, G_N_ELEMENTS(huge), test_huge);
    add_all("after-reading", unpopulated, G_N_ELEMENTS(unpopulated),
            test_after_reading);
    g_test_add_func("/hostmem-claims/hugetlb", test_hugetlb);
    g_test_add_func("/hostmem-claims/tmpfs-file", test_tmpfs_file);
    g_test_add_func("/hostmem-claims/huge-tmpfs-file", test_huge_tmpfs_file);
    g_test_add_func("/hostmem-claims/storage-file", test_storage_file);
    g_test_add_func("/hostmem-claims/private-storage-file",
                    test_private_storage_file);
    return g_test_run();
}
