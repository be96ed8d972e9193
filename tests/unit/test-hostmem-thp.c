/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <sys/stat.h>
#include <hostmem/backend.h>
#include "object-test.h"
#include "os-fake.h"
#include "util/hostcaps.h"
#include "util/linux-compat.h"
#include "util/size.h"

#define SIZE    (8 * HM_MIB)
#define RAM     "memory-backend-ram,id=m0,size=8M,"
#define SHARED  RAM "share=on,"
#define MEMFD   "memory-backend-memfd,id=m0,size=8M,"
#define SHM     "memory-backend-shm,id=m0,size=8M,"
#define THP_DIR "/sys/kernel/mm/transparent_hugepage"

static void pretend_policy(const char *thp, const char *shmem)
{
    hm_fake_set_file(THP_DIR "/enabled", thp);
    hm_fake_set_file(THP_DIR "/shmem_enabled", shmem);
}

static void pretend_usual_policy(void)
{
    pretend_policy("always [madvise] never\n",
                   "always within_size advise [never] deny force\n");
}

static gboolean need_thp(void)
{
    if (!hm_hostcaps_get()->thp_size) {
        g_test_skip("no transparent huge pages here");
        return FALSE;
    }
    pretend_usual_policy();
    return TRUE;
}

static gboolean need_own_tmpfs(void)
{
    if (!need_thp()) {
        return FALSE;
    }
    if (!hm_hostcaps_get()->private_tmpfs) {
        g_test_skip("mounting is not allowed here");
        return FALSE;
    }
    hm_fake_reset();
    pretend_usual_policy();
    return TRUE;
}

/* Where shared memory comes from */

static void assert_own_tmpfs(const char *options)
{
    g_autoptr(HostmemBackend) backend = NULL;
    struct stat st;

    hm_fake_reset();
    pretend_usual_policy();
    backend = hm_test_make(options);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_TMPFS), ==, 1);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_MEMFD), ==, 0);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_SHM), ==, 0);
    g_assert_cmpint(fstat(hostmem_backend_get_fd(backend), &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, hostmem_backend_get_size(backend));
    g_assert_cmpuint(hostmem_backend_get_page_size(backend), ==,
                     hm_os_page_size());
}

static void test_own_tmpfs(void)
{
    if (need_own_tmpfs()) {
        assert_own_tmpfs(SHARED);
        assert_own_tmpfs(SHARED "thp=on");
        assert_own_tmpfs(SHM);
        assert_own_tmpfs(MEMFD "seal=off");
        assert_own_tmpfs("memory-backend-shm,id=m0,size=17412K");
    }
}

static void assert_no_tmpfs(const char *options)
{
    g_autoptr(HostmemBackend) backend = NULL;
    guint before = hm_fake_count(HM_FAKE_TMPFS);

    backend = hm_test_make(options);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_TMPFS), ==, before);
}

static void test_no_tmpfs_where_it_gains_nothing(void)
{
    if (need_own_tmpfs()) {
        assert_no_tmpfs(RAM);
        assert_no_tmpfs(SHARED "thp=off");
        assert_no_tmpfs("memory-backend-shm,id=m0,size=1M");
        assert_no_tmpfs(MEMFD);
        assert_no_tmpfs(MEMFD "seal=off,share=off");
        pretend_policy("always", "always never [deny] force");
        assert_no_tmpfs(SHARED);
    }
}

static void test_method_names_the_tmpfs(void)
{
    g_autoptr(HostmemBackend) backend = NULL;

    if (need_own_tmpfs()) {
        g_test_expect_message("hostmem", G_LOG_LEVEL_INFO,
                              "memory-backend-ram 'm0': 8 MiB by "
                              "huge-tmpfs+hugepage+populate-write, threads: "
                              "*; huge pages where advised*");
        backend = hm_test_make(SHARED "prealloc=on");
        g_test_assert_expected_messages();
        hm_test_assert_reads(backend, "prealloc-method",
                             "\"huge-tmpfs+hugepage+populate-write\"");
    }
}

static void assert_falls_back(const char *options, HmFakeCall to)
{
    g_autoptr(HostmemBackend) backend = NULL;

    hm_fake_reset();
    pretend_usual_policy();
    hm_fake_fail(HM_FAKE_TMPFS, 1, EPERM);
    g_test_expect_message("hostmem", G_LOG_LEVEL_INFO,
                          "*'m0': no private tmpfs of huge pages: failed to "
                          "mount a private tmpfs: Operation not permitted");
    backend = hm_test_make(options);
    g_test_assert_expected_messages();
    g_assert_cmpuint(hm_fake_count(HM_FAKE_TMPFS), ==, 1);
    g_assert_cmpuint(hm_fake_count(to), ==, 1);
}

static void test_falls_back_where_mounting_is_forbidden(void)
{
    if (need_thp()) {
        assert_falls_back(SHARED, HM_FAKE_MEMFD);
        assert_falls_back(SHM, HM_FAKE_SHM);
        assert_falls_back(MEMFD "seal=off", HM_FAKE_MEMFD);
    }
}

static void test_falls_back_without_unnamed_files(void)
{
    g_autoptr(HostmemBackend) backend = NULL;
    guint fds = hm_test_count_fds();

    if (need_own_tmpfs()) {
        hm_fake_fail(HM_FAKE_TMPFILE, 1, EOPNOTSUPP);
        backend = hm_test_make(SHARED);
        g_assert_cmpuint(hm_fake_count(HM_FAKE_MEMFD), ==, 1);
        g_assert_cmpuint(hm_test_count_fds(), ==, fds + 1);
    }
}

/* Advice */

static void assert_advice(const char *options, guint huge, guint no_huge)
{
    g_autoptr(HostmemBackend) backend = NULL;

    hm_fake_reset();
    pretend_usual_policy();
    backend = hm_test_make(options);
    g_assert_cmpuint(hm_fake_count_advice(MADV_HUGEPAGE), ==, huge);
    g_assert_cmpuint(hm_fake_count_advice(MADV_NOHUGEPAGE), ==, no_huge);
}

static void test_advice(void)
{
    if (need_thp()) {
        assert_advice(RAM, 1, 0);
        assert_advice(RAM "prealloc=on", 1, 0);
        assert_advice(RAM "thp=off", 0, 1);
        assert_advice(RAM "thp=off,prealloc=on", 0, 1);
        assert_advice(MEMFD "thp=off,prealloc=on", 0, 1);
    }
}

static void test_no_advice_about_storage(void)
{
    g_autofree char *options = g_strdup_printf(
        "memory-backend-file,id=m0,size=8M,thp=off,prealloc=on,share=on,"
        "mem-path=%s",
        hm_test_folder());
    const struct statfs ext4 = {.f_type = 0xef53, .f_bsize = 4096};
    g_autoptr(HostmemBackend) backend = NULL;

    hm_fake_set_statfs(&ext4);
    backend = hm_test_make(options);
    g_assert_cmpuint(hm_fake_count_advice(MADV_NOHUGEPAGE), ==, 0);
    g_assert_cmpuint(hm_fake_count_advice(MADV_HUGEPAGE), ==, 0);
}

/* The demand */

static void assert_refused(const char *options, gint code, const char *message)
{
    guint maps = hm_fake_count(HM_FAKE_MAP);
    guint fds = hm_test_count_fds();

    hm_test_assert_make_fails(options, code, message);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_MAP), ==, maps);
    g_assert_cmpuint(hm_test_count_fds(), ==, fds);
}

static void test_refused_by_the_kind(void)
{
    const struct statfs ext4 = {.f_type = 0xef53, .f_bsize = 4096};
    const struct statfs tmpfs = {.f_type = 0x01021994, .f_bsize = 4096};
    g_autofree char *file =
        g_strdup_printf("memory-backend-file,id=m0,size=8M,thp=on,mem-path=%s",
                        hm_test_folder());

    if (!need_thp()) {
        return;
    }
    assert_refused("memory-backend-ram,id=m0,size=1M,thp=on",
                   HOSTMEM_ERROR_INVALID,
                   "property 'thp' = 'on': the memory is smaller than a huge "
                   "page; make it larger, or use thp=auto");
    hm_fake_set_statfs(&tmpfs);
    assert_refused(file, HOSTMEM_ERROR_INVALID,
                   "a private copy of a file has base pages; use share=on");
    hm_fake_set_statfs(&ext4);
    assert_refused(file, HOSTMEM_ERROR_INVALID,
                   "a file on storage is kept in base pages; use a file on a "
                   "tmpfs, or thp=auto");
}

static void test_refused_of_a_pool(void)
{
    if (!hm_hostcaps_get()->memfd_hugetlb ||
        hm_hostcaps_get()->huge_page_size != 2 * HM_MIB) {
        g_test_skip("no huge pages of 2 MiB here");
        return;
    }
    assert_refused(MEMFD "hugetlb=on,thp=on", HOSTMEM_ERROR_INVALID,
                   "property 'thp' = 'on': the pages come from a pool of huge "
                   "pages; leave thp out");
}

static void test_refused_by_the_policy(void)
{
    if (!need_thp()) {
        return;
    }
    pretend_policy("always madvise [never]\n", "[deny]\n");
    assert_refused(RAM "thp=on", HOSTMEM_ERROR_UNSUPPORTED,
                   "property 'thp' = 'on': /sys/kernel/mm/"
                   "transparent_hugepage/enabled is 'never'; let root write "
                   "'madvise' to it, or use thp=auto");
    assert_refused(SHARED "thp=on", HOSTMEM_ERROR_UNSUPPORTED,
                   "/shmem_enabled is 'deny'; let root write 'advise' to it");
}

/* What the host can do is found out once: in another process. */
static void test_refused_by_an_old_kernel(void)
{
    if (g_test_subprocess()) {
        hm_fake_without_advice(MADV_COLLAPSE);
        hm_fake_fail_always(HM_FAKE_TMPFS, EPERM);
        if (need_thp()) {
            assert_refused(SHARED "thp=on", HOSTMEM_ERROR_UNSUPPORTED,
                           "/shmem_enabled is 'never', and this kernel has no "
                           "MADV_COLLAPSE (Linux 6.1)");
        }
        return;
    }
    g_test_trap_subprocess(NULL, 0, G_TEST_SUBPROCESS_INHERIT_STDERR);
    g_test_trap_assert_passed();
}

static void test_auto_takes_what_there_is(void)
{
    g_autoptr(HostmemBackend) ram = NULL;
    g_autoptr(HostmemBackend) shm = NULL;

    if (need_thp()) {
        pretend_policy("always madvise [never]\n", "[deny]\n");
        ram = hm_test_make(RAM "prealloc=on");
        shm = hm_test_make(SHM "prealloc=on");
        g_assert_cmpuint(hostmem_backend_get_populated_size(ram), ==, SIZE);
        g_assert_cmpuint(hostmem_backend_get_populated_size(shm), ==, SIZE);
    }
}

/* What was populated */

static gint64 one_huge_page(const HmFakeRecord *record G_GNUC_UNUSED,
                            gpointer data G_GNUC_UNUSED)
{
    return 2 * HM_MIB;
}

static gboolean need_thp_of_2_mib(void)
{
    if (need_thp() && hm_hostcaps_get()->thp_size != 2 * HM_MIB) {
        g_test_skip("huge pages of another size");
        return FALSE;
    }
    return hm_hostcaps_get()->thp_size;
}

static void test_scattered_memory_fails(void)
{
    if (need_thp_of_2_mib()) {
        guint fds = hm_test_count_fds();

        hm_fake_hook(HM_FAKE_HUGE, one_huge_page, NULL);
        hm_test_assert_make_fails(
            RAM "thp=on,prealloc=on", HOSTMEM_ERROR_NO_HUGE_PAGES,
            "property 'thp' = 'on': 6 MiB of 8 MiB got base pages: free RAM is "
            "too scattered for huge pages; let root write 1 to /proc/sys/vm/"
            "compact_memory, or use thp=auto");
        g_assert_cmpuint(hm_test_count_fds(), ==, fds);
    }
}

static void test_scattered_memory_is_given_back(void)
{
    g_autoptr(HostmemBackend) ram = NULL;
    g_autoptr(GError) error = NULL;

    if (need_thp_of_2_mib()) {
        ram = hm_test_make(RAM "thp=on");
        hm_fake_hook(HM_FAKE_HUGE, one_huge_page, NULL);
        g_assert_false(hostmem_object_set(HOSTMEM_OBJECT(ram), "prealloc", "on",
                                          NULL, &error));
        g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_HUGE_PAGES);
        hm_test_assert_reads(ram, "populated-size", "0");
    }
}

/* Storage has no page tables that could be looked at. */
static void test_backed_memory_is_not_looked_at(void)
{
    g_autoptr(HostmemBackend) shm = NULL;

    if (need_thp()) {
        shm = hm_test_make(SHM "thp=on,prealloc=on,prealloc-state=backed");
        g_assert_cmpuint(hm_fake_count(HM_FAKE_HUGE), ==, 0);
    }
}

static void test_scattered_memory_will_do(void)
{
    g_autoptr(HostmemBackend) ram = NULL;

    hm_fake_hook(HM_FAKE_HUGE, one_huge_page, NULL);
    ram = hm_test_make(RAM "prealloc=on");
    g_assert_cmpuint(hostmem_backend_get_populated_size(ram), ==, SIZE);
}

static void test_taken_for_granted_before_linux_6_7(void)
{
    g_autoptr(HostmemBackend) ram = NULL;

    if (need_thp()) {
        hm_fake_fail_always(HM_FAKE_HUGE, EOPNOTSUPP);
        ram = hm_test_make(RAM "thp=on,prealloc=on");
        hm_test_assert_reads(ram, "populated-huge-size", "0");
    }
}

static void test_parts_below_a_huge_page(void)
{
    g_autoptr(HostmemBackend) ram = NULL;
    g_autoptr(GError) error = NULL;

    if (need_thp()) {
        ram = hm_test_make(RAM "thp=on");
        hostmem_backend_populate(ram, 4096, HM_MIB, NULL, &error);
        g_assert_no_error(error);
    }
}

static void test_reads_back(void)
{
    g_autoptr(HostmemBackend) ram = hm_test_make(RAM);
    g_autoptr(HostmemBackend) off = hm_test_make(RAM "thp=off");

    hm_test_assert_reads(ram, "thp", "\"auto\"");
    hm_test_assert_reads(off, "thp", "\"off\"");
    hm_test_assert_set_fails(ram, "thp", "on", HOSTMEM_ERROR_PERMISSION,
                             "cannot change property 'thp' of "
                             "memory-backend-ram.");
}

/* Storage is made of the pages that populating would make. */
static void test_collapsed_pages_are_storage(void)
{
    g_autoptr(HostmemBackend) memfd = NULL;

    if (!need_thp() || !hm_hostcaps_get()->collapse) {
        return;
    }
    memfd = hm_test_make(MEMFD "prealloc=on,prealloc-state=backed");
    hm_test_assert_reads(memfd, "prealloc-method",
                         "\"hugepage+seed+collapse+fallocate\"");
    g_assert_cmpuint(hostmem_backend_get_backed_size(memfd), ==, SIZE);
}

static const HmTest tests[] = {
    {"/hostmem-thp/own-tmpfs", test_own_tmpfs},
    {"/hostmem-thp/no-tmpfs-where-it-gains-nothing",
     test_no_tmpfs_where_it_gains_nothing},
    {"/hostmem-thp/method-names-the-tmpfs", test_method_names_the_tmpfs},
    {"/hostmem-thp/falls-back-where-mounting-is-forbidden",
     test_falls_back_where_mounting_is_forbidden},
    {"/hostmem-thp/falls-back-without-unnamed-files",
     test_falls_back_without_unnamed_files},
    {"/hostmem-thp/advice", test_advice},
    {"/hostmem-thp/no-advice-about-storage", test_no_advice_about_storage},
    {"/hostmem-thp/refused-by-the-kind", test_refused_by_the_kind},
    {"/hostmem-thp/refused-of-a-pool", test_refused_of_a_pool},
    {"/hostmem-thp/refused-by-the-policy", test_refused_by_the_policy},
    {"/hostmem-thp/refused-by-an-old-kernel", test_refused_by_an_old_kernel},
    {"/hostmem-thp/auto-takes-what-there-is", test_auto_takes_what_there_is},
    {"/hostmem-thp/scattered-memory-fails", test_scattered_memory_fails},
    {"/hostmem-thp/scattered-memory-is-given-back",
     test_scattered_memory_is_given_back},
    {"/hostmem-thp/backed-memory-is-not-looked-at",
     test_backed_memory_is_not_looked_at},
    {"/hostmem-thp/scattered-memory-will-do", test_scattered_memory_will_do},
    {"/hostmem-thp/taken-for-granted-before-linux-6.7",
     test_taken_for_granted_before_linux_6_7},
    {"/hostmem-thp/parts-below-a-huge-page", test_parts_below_a_huge_page},
    {"/hostmem-thp/collapsed-pages-are-storage",
     test_collapsed_pages_are_storage},
    {"/hostmem-thp/reads-back", test_reads_back},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
