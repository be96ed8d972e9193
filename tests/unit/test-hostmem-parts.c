/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backends/hostmem.h"
#include "object-test.h"
#include "os-fake.h"
#include "util/size.h"

/* How others get the memory of a backend. */

#define MEMFD "memory-backend-memfd,id=m0,size=1M"

static const HostmemBackendPart *only_part(HostmemBackend *backend)
{
    guint n;
    const HostmemBackendPart *parts = hostmem_backend_get_parts(backend, &n);

    g_assert_cmpuint(n, ==, 1);
    return parts;
}

static int dup_fd(HostmemBackend *backend)
{
    g_autoptr(GError) error = NULL;
    int fd = hostmem_backend_dup_fd(backend, 0, &error);

    g_assert_no_error(error);
    g_assert_cmpint(fd, >=, 0);
    return fd;
}

static void assert_dup_fails(HostmemBackend *backend, gint code,
                             const char *part)
{
    GError *error = NULL;

    g_assert_cmpint(hostmem_backend_dup_fd(backend, 0, &error), ==, -1);
    hm_test_assert_error(error, code, part);
    g_assert_false(hm_backend_is_exposed(backend));
}

/* Parts */

static void test_one_part(void)
{
    g_autoptr(HostmemBackend) memfd = hm_test_make(MEMFD);
    const HostmemBackendPart *part = only_part(memfd);

    g_assert_cmpint(part->fd, ==, hostmem_backend_get_fd(memfd));
    g_assert_cmpuint(part->fd_offset, ==, 0);
    g_assert_cmpuint(part->offset, ==, 0);
    g_assert_cmpuint(part->length, ==, HM_MIB);
}

static void test_part_is_whole_pages(void)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0,size=5000,share=on");

    g_assert_cmpuint(only_part(ram)->length, ==, 8192);
}

static void test_part_of_a_file_has_its_offset(void)
{
    g_autofree char *options =
        g_strdup_printf("memory-backend-file,id=m0,size=4K,offset=8K,share=on,"
                        "mem-path=%s/f",
                        hm_test_folder());
    g_autoptr(HostmemBackend) file = hm_test_make(options);

    g_assert_cmpuint(only_part(file)->fd_offset, ==, 8192);
    g_assert_cmpuint(only_part(file)->offset, ==, 0);
    g_assert_cmpuint(only_part(file)->length, ==, 4096);
}

static void assert_private(const char *options)
{
    g_autoptr(HostmemBackend) backend = hm_test_make(options);
    guint n = 42;

    g_assert_null(hostmem_backend_get_parts(backend, &n));
    g_assert_cmpuint(n, ==, 0);
    assert_dup_fails(backend, HOSTMEM_ERROR_UNSUPPORTED,
                     "is private and cannot be handed over; create it with "
                     "share=on");
}

static void test_private_memory_has_none(void)
{
    assert_private("memory-backend-ram,id=m0,size=4096");
    assert_private(MEMFD ",share=off");
}

/* Descriptors to give away */

static void test_dup_is_the_same_memory(void)
{
    g_autoptr(HostmemBackend) memfd = hm_test_make(MEMFD);
    guint8 *ours = hostmem_backend_get_host_addr(memfd);
    int fd = dup_fd(memfd);
    guint8 *theirs =
        mmap(NULL, HM_MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    g_assert_true(theirs != MAP_FAILED);
    close(fd);
    ours[0] = 'a';
    theirs[HM_MIB - 1] = 'z';
    g_assert_cmpint(theirs[0], ==, 'a');
    g_assert_cmpint(ours[HM_MIB - 1], ==, 'z');
    munmap(theirs, HM_MIB);
}

static void test_dup_is_another_open_file(void)
{
    g_autoptr(HostmemBackend) memfd = hm_test_make(MEMFD);
    int fd = dup_fd(memfd);

    g_assert_cmpint(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
    g_assert_cmpint(fcntl(fd, F_GETFL) & O_ACCMODE, ==, O_RDWR);
    g_assert_cmpint(lseek(fd, 4096, SEEK_SET), ==, 4096);
    g_assert_cmpint(lseek(hostmem_backend_get_fd(memfd), 0, SEEK_CUR), ==, 0);
    close(fd);
}

/* It may run as a user to whom the file would be closed otherwise. */
static void test_who_has_it_may_open_it(void)
{
    static const char *const kinds[] = {
        "memory-backend-shm,id=m0,size=4K",
        "memory-backend-memfd,id=m0,size=4K,seal=off",
        "memory-backend-ram,id=m0,size=4K,share=on",
    };

    for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
        g_autoptr(HostmemBackend) backend = hm_test_make(kinds[i]);
        int fd = dup_fd(backend);
        struct stat st;

        g_assert_cmpint(fstat(fd, &st), ==, 0);
        g_assert_cmpuint(st.st_mode & 0666, ==, 0666);
        close(fd);
    }
}

static HostmemBackend *make_file(const char *rest)
{
    g_autofree char *options =
        g_strdup_printf("memory-backend-file,id=m0,size=4K,share=on,"
                        "mem-path=%s/f%s",
                        hm_test_folder(), rest);

    return hm_test_make(options);
}

static void test_mode_of_a_named_file_stays(void)
{
    g_autoptr(HostmemBackend) file = make_file("");
    struct stat before, after;

    g_assert_cmpint(fstat(hostmem_backend_get_fd(file), &before), ==, 0);
    close(dup_fd(file));
    g_assert_cmpint(fstat(hostmem_backend_get_fd(file), &after), ==, 0);
    g_assert_cmpuint(before.st_mode & 02, ==, 0);
    g_assert_cmpuint(after.st_mode, ==, before.st_mode);
}

static void test_dup_of_read_only_memory(void)
{
    g_autofree char *path = g_build_filename(hm_test_folder(), "f", NULL);
    g_autofree char *content = g_malloc0(4096);
    g_autoptr(HostmemBackend) file = NULL;
    int fd;

    g_assert_true(g_file_set_contents(path, content, 4096, NULL));
    file = make_file(",readonly=on");
    fd = dup_fd(file);
    g_assert_cmpint(fcntl(fd, F_GETFL) & O_ACCMODE, ==, O_RDONLY);
    close(fd);
}

static void test_dup_fails(void)
{
    g_autoptr(HostmemBackend) memfd = hm_test_make(MEMFD);

    hm_fake_fail(HM_FAKE_REOPEN, 1, EACCES);
    assert_dup_fails(memfd, HOSTMEM_ERROR_PERMISSION,
                     "cannot open the memory of memory-backend-memfd 'm0'");
    hm_fake_fail(HM_FAKE_REOPEN, 1, EMFILE);
    assert_dup_fails(memfd, HOSTMEM_ERROR_LIMIT, "Too many open files");
}

/* Who has it */

static void assert_in_use(HostmemBackend *backend, int expected)
{
    g_assert_cmpint(hm_backend_is_in_use(backend), ==, expected);
}

static void test_in_use(void)
{
    g_autoptr(HostmemBackend) memfd = hm_test_make(MEMFD);
    int fd;

    assert_in_use(memfd, 0);
    fd = dup_fd(memfd);
    assert_in_use(memfd, 1);
    close(fd);
    assert_in_use(memfd, 0);
    hm_fake_fail(HM_FAKE_ONLY_USER, 1, EACCES);
    assert_in_use(memfd, -EACCES);
}

static void test_in_use_cannot_be_told(void)
{
    g_autoptr(HostmemBackend) none =
        hm_test_make("memory-backend-ram,id=m0,size=4K");
    g_autoptr(HostmemBackend) memfd = NULL;

    assert_in_use(none, -EINVAL);
    hm_fake_fail(HM_FAKE_REOPEN, 1, ENOENT);
    memfd = hm_test_make(MEMFD);
    assert_in_use(memfd, -EINVAL);
}

static gpointer ask_often(gpointer backend)
{
    for (guint i = 0; i < 2000; i++) {
        assert_in_use(backend, 0);
    }
    return NULL;
}

static void test_several_ask_who_has_it(void)
{
    g_autoptr(HostmemBackend) memfd = hm_test_make(MEMFD);
    GThread *other = g_thread_new("test", ask_often, memfd);

    ask_often(memfd);
    g_thread_join(other);
}

/* Exposed */

static void fail_to_populate(HostmemBackend *backend)
{
    GError *error = NULL;

    hm_fake_fail_advice(MADV_POPULATE_WRITE, 3, EIO);
    g_assert_false(hostmem_object_set(HOSTMEM_OBJECT(backend), "prealloc", "on",
                                      NULL, &error));
    hm_test_assert_error(error, HOSTMEM_ERROR_SYSTEM,
                         "preallocating memory failed");
}

static HostmemBackend *make_large(void)
{
    return hm_test_make("memory-backend-memfd,id=m0,size=64M,thp=off,"
                        "prealloc-threads=1");
}

static void test_failure_takes_nothing_from_exposed_memory(void)
{
    g_autoptr(HostmemBackend) memfd = make_large();

    close(dup_fd(memfd));
    g_assert_true(hm_backend_is_exposed(memfd));
    fail_to_populate(memfd);
    g_assert_cmpuint(hostmem_backend_get_populated_size(memfd), >, 0);
}

static void test_failure_rolls_back_before(void)
{
    g_autoptr(HostmemBackend) memfd = make_large();

    fail_to_populate(memfd);
    g_assert_cmpuint(hostmem_backend_get_populated_size(memfd), ==, 0);
}

/* Whoever gets it in the middle may have written where it was populated. */
static gint64 expose_and_write(const HmFakeRecord *record, gpointer backend)
{
    guint8 *addr = hostmem_backend_get_host_addr(backend);

    if (record->arg != MADV_POPULATE_WRITE || record->addr == addr ||
        hm_backend_is_exposed(backend)) {
        return 0;
    }
    hm_backend_expose(backend);
    *addr = 42;
    return -EIO;
}

static void test_exposed_in_the_middle(void)
{
    g_autoptr(HostmemBackend) memfd = make_large();
    GError *error = NULL;

    hm_fake_hook(HM_FAKE_ADVISE, expose_and_write, memfd);
    g_assert_false(hostmem_object_set(HOSTMEM_OBJECT(memfd), "prealloc", "on",
                                      NULL, &error));
    hm_test_assert_error(error, HOSTMEM_ERROR_SYSTEM,
                         "preallocating memory failed");
    g_assert_cmpuint(*(guint8 *)hostmem_backend_get_host_addr(memfd), ==, 42);
}

static const HmTest tests[] = {
    {"/hostmem-parts/one-part", test_one_part},
    {"/hostmem-parts/part-is-whole-pages", test_part_is_whole_pages},
    {"/hostmem-parts/part-of-a-file-has-its-offset",
     test_part_of_a_file_has_its_offset},
    {"/hostmem-parts/private-memory-has-none", test_private_memory_has_none},
    {"/hostmem-parts/dup-is-the-same-memory", test_dup_is_the_same_memory},
    {"/hostmem-parts/dup-is-another-open-file", test_dup_is_another_open_file},
    {"/hostmem-parts/who-has-it-may-open-it", test_who_has_it_may_open_it},
    {"/hostmem-parts/mode-of-a-named-file-stays",
     test_mode_of_a_named_file_stays},
    {"/hostmem-parts/dup-of-read-only-memory", test_dup_of_read_only_memory},
    {"/hostmem-parts/dup-fails", test_dup_fails},
    {"/hostmem-parts/in-use", test_in_use},
    {"/hostmem-parts/in-use-cannot-be-told", test_in_use_cannot_be_told},
    {"/hostmem-parts/several-ask", test_several_ask_who_has_it},
    {"/hostmem-parts/failure-takes-nothing-from-exposed-memory",
     test_failure_takes_nothing_from_exposed_memory},
    {"/hostmem-parts/failure-rolls-back-before",
     test_failure_rolls_back_before},
    {"/hostmem-parts/exposed-in-the-middle", test_exposed_in_the_middle},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
