/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <hostmem/backend.h>
#include <hostmem/registry.h>
#include "backends/hostmem.h"
#include "object-test.h"
#include "os-fake.h"
#include "util/linux-compat.h"
#include "util/size.h"

#define SIZE    HM_TEST_ODD_SIZE
#define RAM     PRIVATE ",share=on,prealloc-threads=1"
#define PRIVATE "memory-backend-ram,id=m0,size=17412K"

/* The test's folder, as if it were a tmpfs. */
static const char *tmpfs(void)
{
    const struct statfs fs = {.f_type = TMPFS_MAGIC, .f_bsize = 4096};

    hm_fake_set_statfs(&fs);
    return hm_test_folder();
}

/* The same, mounted with options. */
static void pretend_options(const char *text)
{
    g_autofree char *line = NULL;
    GStatBuf st;

    g_assert_cmpint(g_stat(tmpfs(), &st), ==, 0);
    line = g_strdup_printf("30 25 %u:%u / /mnt rw - tmpfs none %s\n",
                           major(st.st_dev), minor(st.st_dev), text);
    hm_fake_set_file("/proc/self/mountinfo", line);
}

static char *in_folder(const char *name)
{
    return g_build_filename(hm_test_folder(), name, NULL);
}

static char *options_for(const char *name, const char *base)
{
    return g_strdup_printf("%s,export-path=%s/%s", base, tmpfs(), name);
}

static HostmemBackend *make(const char *name, const char *base)
{
    g_autofree char *options = options_for(name, base);

    return hm_test_make(options);
}

static void assert_fails(const char *name, const char *base, gint code,
                         const char *part)
{
    g_autofree char *options = options_for(name, base);
    guint fds = hm_test_count_fds();

    hm_test_assert_make_fails(options, code, part);
    g_assert_cmpuint(hm_test_count_fds(), ==, fds);
    g_assert_cmpuint(hm_test_count_mappings(SIZE), ==, 0);
}

/* Bytes; -1 when there is no such file. */
static gint64 length_of(const char *name)
{
    g_autofree char *path = in_folder(name);
    GStatBuf st;

    return g_stat(path, &st) < 0 ? -1 : st.st_size;
}

/* A name */

static void test_name_lives_as_long_as_the_object(void)
{
    static const char *const kinds[] = {
        RAM, RAM ",prealloc=on", "memory-backend-shm,id=m0,size=17412K",
        "memory-backend-memfd,id=m0,seal=off,size=17412K,prealloc=on"};

    for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
        HostmemBackend *backend = make("vm", kinds[i]);

        g_assert_cmpint(length_of("vm"), ==, SIZE);
        memset(hostmem_backend_get_host_addr(backend), 'x', SIZE);
        g_object_unref(backend);
        g_assert_cmpint(length_of("vm"), ==, -1);
    }
}

static void test_others_see_the_memory(void)
{
    g_autoptr(HostmemBackend) backend = make("vm", RAM ",prealloc=on");
    g_autofree char *path = in_folder("vm");
    g_autofree char *content = NULL;
    gsize length;

    memset(hostmem_backend_get_host_addr(backend), 'x', SIZE);
    g_assert_true(g_file_get_contents(path, &content, &length, NULL));
    g_assert_cmpuint(length, ==, SIZE);
    g_assert_cmpint(content[0], ==, 'x');
    g_assert_cmpint(content[SIZE - 1], ==, 'x');
}

static void test_reads_as_the_path(void)
{
    g_autoptr(HostmemBackend) backend = make("vm", RAM);
    g_autoptr(HostmemBackend) other = hm_test_make(PRIVATE);
    g_autofree char *path = in_folder("vm");
    g_autofree char *quoted = g_strdup_printf("\"%s\"", path);

    hm_test_assert_reads(backend, "export-path", quoted);
    g_assert_cmpstr(hm_backend_get_export_path(backend), ==, path);
    hm_test_assert_reads(other, "export-path", "\"\"");
    hm_test_assert_reads(other, "export-owner", "\"\"");
    g_assert_null(hm_backend_get_export_path(other));
}

static void test_size_in_whole_pages(void)
{
    g_autoptr(HostmemBackend) backend =
        make("vm", "memory-backend-ram,id=m0,share=on,size=5000");

    g_assert_cmpint(length_of("vm"), ==, 8192);
}

static gint64 assert_no_name(const HmFakeRecord *record,
                             gpointer data G_GNUC_UNUSED)
{
    if (record->arg == MADV_POPULATE_WRITE) {
        g_assert_cmpint(length_of("vm"), ==, -1);
    }
    return 0;
}

static void test_name_comes_when_all_is_populated(void)
{
    g_autoptr(HostmemBackend) backend = NULL;

    hm_fake_hook(HM_FAKE_ADVISE, assert_no_name, NULL);
    backend = make("vm", RAM ",prealloc=on");
    g_assert_cmpuint(hm_fake_count_advice(MADV_POPULATE_WRITE), >, 0);
    g_assert_cmpint(length_of("vm"), ==, SIZE);
}

static void test_name_comes_when_all_is_backed(void)
{
    g_autoptr(HostmemBackend) backend =
        make("vm", RAM ",prealloc=on,prealloc-async=on");

    g_assert_cmpuint(hostmem_backend_get_backed_size(backend), ==, SIZE);
    g_assert_cmpint(length_of("vm"), ==, SIZE);
}

/* None */

static void test_failed_population_leaves_no_name(void)
{
    hm_fake_fail_advice(MADV_POPULATE_WRITE, 1, EIO);
    assert_fails("vm", RAM ",prealloc=on", HOSTMEM_ERROR_SYSTEM, "");
    g_assert_cmpuint(hm_fake_count(HM_FAKE_LINK), ==, 0);
}

static void test_name_that_is_taken_meanwhile(void)
{
    hm_fake_fail(HM_FAKE_LINK, 1, EEXIST);
    assert_fails("vm", RAM ",prealloc=on", HOSTMEM_ERROR_EXISTS,
                 "property 'export-path': ");
    hm_fake_fail(HM_FAKE_LINK, 1, EEXIST);
    assert_fails("vm", RAM ",prealloc=on,prealloc-async=on",
                 HOSTMEM_ERROR_EXISTS, "vm");
}

static void test_taken_name_is_found_first(void)
{
    g_autoptr(HostmemBackend) backend = make("vm", RAM);

    g_autofree char *options = options_for("vm", RAM);
    guint maps = hm_fake_count(HM_FAKE_MAP);

    hm_test_assert_make_fails(options, HOSTMEM_ERROR_EXISTS,
                              "property 'export-path': ");
    g_assert_cmpuint(hm_fake_count(HM_FAKE_MAP), ==, maps);
    g_assert_cmpint(length_of("vm"), ==, SIZE);
}

static void test_memory_that_nobody_else_can_see(void)
{
    assert_fails("vm", PRIVATE, HOSTMEM_ERROR_INVALID,
                 "property 'export-path' needs 'share' = 'on'");
    assert_fails("vm", "memory-backend-memfd,id=m0,size=17412K",
                 HOSTMEM_ERROR_INVALID,
                 "property 'export-path' needs 'seal' = 'off'");
    hm_test_assert_make_fails(PRIVATE ",export-owner=root",
                              HOSTMEM_ERROR_INVALID,
                              "property 'export-owner' needs 'share' = 'on'");
}

static void test_file_has_a_name(void)
{
    g_autofree char *file = g_strdup_printf(
        "memory-backend-file,id=m0,size=17412K,share=on,mem-path=%s/f",
        tmpfs());
    g_autofree char *owned = g_strconcat(file, ",export-owner=0", NULL);

    assert_fails("vm", file, HOSTMEM_ERROR_INVALID,
                 "others find its memory by mem-path");
    hm_test_assert_make_fails(owned, HOSTMEM_ERROR_INVALID,
                              "the file of mem-path keeps its owner");
    g_assert_cmpint(length_of("f"), ==, -1);
}

static void test_names_without_a_directory(void)
{
    hm_test_assert_make_fails(RAM ",export-path=vm", HOSTMEM_ERROR_INVALID,
                              "'vm' is a name in an export directory, and "
                              "there is none");
    hm_test_assert_make_fails(RAM ",export-path=a/b", HOSTMEM_ERROR_INVALID,
                              "'a/b' is neither a name nor an absolute path");
    hm_test_assert_make_fails(RAM ",export-path=", HOSTMEM_ERROR_INVALID,
                              "neither a name nor an absolute path");
}

static void test_huge_pages_have_names_elsewhere(void)
{
    assert_fails(
        "vm",
        "memory-backend-memfd,id=m0,seal=off,hugetlb=on,hugetlbsize=2M,"
        "size=4M",
        HOSTMEM_ERROR_INVALID, "mount -t hugetlbfs");
}

static void test_base_pages_on_a_tmpfs_of_huge_ones(void)
{
    hm_fake_set_file("/sys/kernel/mm/transparent_hugepage/shmem_enabled",
                     "always [never] deny");
    pretend_options("rw,huge=always");
    assert_fails("vm", RAM ",thp=off", HOSTMEM_ERROR_INVALID,
                 "property 'thp' = 'off'");
}

/* Whose it is */

static void test_owner_that_does_not_exist(void)
{
    assert_fails("vm", RAM ",export-owner=no-such-user",
                 HOSTMEM_ERROR_NOT_FOUND,
                 "property 'export-owner': this host has no user "
                 "'no-such-user'");
    g_assert_cmpuint(hm_fake_count(HM_FAKE_TMPFILE), ==, 0);
}

static void test_owner_is_told(void)
{
    g_autofree char *owned =
        g_strdup_printf(RAM ",export-owner=%u", (guint)getuid());
    g_autoptr(HostmemBackend) backend = make("vm", owned);
    g_autoptr(HostmemBackend) other = make("other", RAM);
    uid_t uid = 12345;

    g_assert_true(hm_backend_get_export_uid(backend, &uid));
    g_assert_cmpuint(uid, ==, getuid());
    g_assert_false(hm_backend_get_export_uid(other, &uid));
}

static void test_owner_of_a_memfd(void)
{
    g_autofree char *owned = g_strdup_printf(
        "memory-backend-memfd,id=m0,size=17412K,export-owner=%u",
        (guint)getuid());
    g_autoptr(HostmemBackend) backend = hm_test_make(owned);
    HmFakeRecord record;
    struct stat st;

    g_assert_true(hm_fake_get_call(HM_FAKE_CHOWN, 1, &record));
    g_assert_cmpint(record.fd, ==, hostmem_backend_get_fd(backend));
    g_assert_cmpint(fstat(record.fd, &st), ==, 0);
    g_assert_cmpuint(st.st_mode & 07777, ==, 0600);
    hm_fake_fail(HM_FAKE_CHOWN, 1, EPERM);
    hm_test_assert_make_fails(owned, HOSTMEM_ERROR_PERMISSION,
                              "property 'export-owner': ");
}

/* Together */

static void test_batch_that_fails_leaves_no_name(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    g_autofree char *first = options_for("vm", RAM ",prealloc=on");
    g_autofree char *second = g_strdup_printf(
        RAM ",prealloc=on,id=m1,export-path=%s/vm", hm_test_folder());
    const char *const lines[] = {first, second, NULL};
    GError *error = NULL;
    guint failed = 0;

    g_assert_false(
        hostmem_registry_add_batch(registry, lines, NULL, &failed, &error));
    hm_test_assert_error(error, HOSTMEM_ERROR_EXISTS, "vm");
    g_assert_cmpuint(failed, ==, 1);
    g_assert_cmpint(length_of("vm"), ==, -1);
    g_assert_cmpuint(hm_test_count_mappings(SIZE), ==, 0);
}

static void on_added(GObject *source G_GNUC_UNUSED, GAsyncResult *result,
                     gpointer data)
{
    g_set_object((GAsyncResult **)data, result);
}

static void test_cancelled_when_it_is_ready(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autofree char *options = options_for("vm", RAM ",prealloc=on");
    g_autoptr(GAsyncResult) result = NULL;
    g_autoptr(GError) error = NULL;

    hostmem_registry_add_async(registry, options, cancellable, on_added,
                               &result);
    while (length_of("vm") < 0) {
        g_usleep(1000);
    }
    g_cancellable_cancel(cancellable);
    while (!result) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_null(hostmem_registry_add_finish(registry, result, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_assert_cmpint(length_of("vm"), ==, -1);
}

/* Somebody else's doing */

static void test_peer_that_truncates_it(void)
{
    g_autoptr(HostmemBackend) backend = make("vm", RAM);
    g_autofree char *path = in_folder("vm");
    GError *error = NULL;

    g_assert_cmpint(truncate(path, 0), ==, 0);
    g_assert_false(hostmem_backend_populate(backend, 0, SIZE, NULL, &error));
    hm_test_assert_error(error, HOSTMEM_ERROR_CHANGED, "truncated");
    g_clear_object(&backend);
    g_assert_cmpint(length_of("vm"), ==, -1);
}

static void test_peer_that_puts_a_file_in_its_place(void)
{
    HostmemBackend *backend = make("vm", RAM);
    g_autofree char *path = in_folder("vm");

    g_assert_true(g_file_set_contents(path, "mine", -1, NULL));
    g_object_unref(backend);
    g_assert_cmpint(length_of("vm"), ==, 4);
}

static const HmTest tests[] = {
    {"/hostmem-export/name-lives-as-long-as-the-object",
     test_name_lives_as_long_as_the_object},
    {"/hostmem-export/others-see-the-memory", test_others_see_the_memory},
    {"/hostmem-export/reads-as-the-path", test_reads_as_the_path},
    {"/hostmem-export/size-in-whole-pages", test_size_in_whole_pages},
    {"/hostmem-export/name-comes-when-all-is-populated",
     test_name_comes_when_all_is_populated},
    {"/hostmem-export/name-comes-when-all-is-backed",
     test_name_comes_when_all_is_backed},
    {"/hostmem-export/failed-population-leaves-no-name",
     test_failed_population_leaves_no_name},
    {"/hostmem-export/name-that-is-taken-meanwhile",
     test_name_that_is_taken_meanwhile},
    {"/hostmem-export/taken-name-is-found-first",
     test_taken_name_is_found_first},
    {"/hostmem-export/memory-that-nobody-else-can-see",
     test_memory_that_nobody_else_can_see},
    {"/hostmem-export/file-has-a-name", test_file_has_a_name},
    {"/hostmem-export/names-without-a-directory",
     test_names_without_a_directory},
    {"/hostmem-export/huge-pages-have-names-elsewhere",
     test_huge_pages_have_names_elsewhere},
    {"/hostmem-export/base-pages-on-a-tmpfs-of-huge-ones",
     test_base_pages_on_a_tmpfs_of_huge_ones},
    {"/hostmem-export/owner-that-does-not-exist",
     test_owner_that_does_not_exist},
    {"/hostmem-export/owner-is-told", test_owner_is_told},
    {"/hostmem-export/owner-of-a-memfd", test_owner_of_a_memfd},
    {"/hostmem-export/batch-that-fails-leaves-no-name",
     test_batch_that_fails_leaves_no_name},
    {"/hostmem-export/cancelled-when-it-is-ready",
     test_cancelled_when_it_is_ready},
    {"/hostmem-export/peer-that-truncates-it", test_peer_that_truncates_it},
    {"/hostmem-export/peer-that-puts-a-file-in-its-place",
     test_peer_that_puts_a_file_in_its_place},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
