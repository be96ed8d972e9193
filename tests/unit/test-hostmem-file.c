/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <hostmem/backend.h>
#include "object-test.h"
#include "os-fake.h"
#include "util/linux-compat.h"
#include "util/size.h"

static char *in_folder(const char *name)
{
    return g_build_filename(hm_test_folder(), name, NULL);
}

static char *options_for(const char *name, const char *rest)
{
    return g_strdup_printf("memory-backend-file,id=m0,mem-path=%s/%s,%s",
                           hm_test_folder(), name, rest);
}

static HostmemBackend *make(const char *name, const char *rest)
{
    g_autofree char *options = options_for(name, rest);

    return hm_test_make(options);
}

static void assert_fails(const char *name, const char *rest, gint code,
                         const char *part)
{
    g_autofree char *options = options_for(name, rest);

    hm_test_assert_make_fails(options, code, part);
}

static gboolean exists(const char *name)
{
    g_autofree char *path = in_folder(name);

    return g_file_test(path, G_FILE_TEST_EXISTS);
}

static guint64 blocks_of(const char *name)
{
    g_autofree char *path = in_folder(name);
    struct stat st;

    g_assert_cmpint(stat(path, &st), ==, 0);
    return (guint64)st.st_blocks * 512;
}

static guint64 length_of(const char *name)
{
    g_autofree char *path = in_folder(name);
    struct stat st;

    g_assert_cmpint(stat(path, &st), ==, 0);
    return (guint64)st.st_size;
}

/* A file whose every byte is @byte. */
static void write_file(const char *name, gsize length, char byte)
{
    g_autofree char *path = in_folder(name);
    g_autofree char *content = g_malloc(length);

    memset(content, byte, length);
    g_assert_true(g_file_set_contents(path, content, (gssize)length, NULL));
}

/* What is there */

static void test_defaults(void)
{
    g_autoptr(HostmemBackend) file = make("f", "size=1M");
    g_autofree char *path = g_strdup_printf("\"%s/f\"", hm_test_folder());

    hm_test_assert_reads(file, "mem-path", path);
    hm_test_assert_reads(file, "align", "0");
    hm_test_assert_reads(file, "offset", "0");
    hm_test_assert_reads(file, "discard-data", "false");
    hm_test_assert_reads(file, "pmem", "false");
    hm_test_assert_reads(file, "readonly", "false");
    hm_test_assert_reads(file, "rom", "\"off\"");
    hm_test_assert_reads(file, "share", "false");
}

static void test_created(void)
{
    HostmemBackend *file = make("f", "size=1M,share=on");

    *(char *)hostmem_backend_get_host_addr(file) = 'x';
    g_object_unref(file);
    g_assert_cmpuint(length_of("f"), ==, HM_MIB);
}

static void test_existing_is_used(void)
{
    g_autoptr(HostmemBackend) file = NULL;

    write_file("f", 3 * 4096, 'a');
    file = make("f", "size=8K,share=on");
    g_assert_cmpint(*(char *)hostmem_backend_get_host_addr(file), ==, 'a');
    g_assert_cmpuint(length_of("f"), ==, 3 * 4096);
}

static void test_private_leaves_the_file(void)
{
    g_autoptr(HostmemBackend) file = NULL;
    g_autofree char *path = in_folder("f");
    g_autofree char *content = NULL;

    write_file("f", 4096, 'a');
    file = make("f", "size=4K");
    *(char *)hostmem_backend_get_host_addr(file) = 'b';
    g_assert_true(g_file_get_contents(path, &content, NULL, NULL));
    g_assert_cmpint(*content, ==, 'a');
}

static void test_directory(void)
{
    g_autoptr(HostmemBackend) file = make("", "size=1M,share=on");
    g_autoptr(GDir) dir = g_dir_open(hm_test_folder(), 0, NULL);

    g_assert_cmpint(hostmem_backend_get_fd(file), >=, 0);
    g_assert_null(g_dir_read_name(dir));
}

static void test_offset(void)
{
    g_autoptr(HostmemBackend) file = make("f", "size=4K,offset=8K,share=on");

    g_assert_cmpuint(length_of("f"), ==, 12288);
    g_assert_cmpuint(hostmem_backend_get_fd_offset(file), ==, 8192);
}

static void test_align(void)
{
    g_autoptr(HostmemBackend) file = make("f", "size=4K,align=4M");
    guintptr addr = (guintptr)hostmem_backend_get_host_addr(file);

    g_assert_cmpuint(addr % (4 * HM_MIB), ==, 0);
}

/* readonly and rom */

static void test_readonly(void)
{
    g_autoptr(HostmemBackend) file = NULL;
    HmFakeRecord record;

    write_file("f", 4096, 'a');
    file = make("f", "size=4K,readonly=on");
    hm_test_assert_reads(file, "rom", "\"on\"");
    g_assert_cmpint(*(char *)hostmem_backend_get_host_addr(file), ==, 'a');
    g_assert_true(hm_fake_get_call(HM_FAKE_MAP, 2, &record));
    g_assert_cmpint(record.arg, ==, PROT_READ);
}

static void test_copy_of_readonly(void)
{
    g_autoptr(HostmemBackend) file = NULL;

    write_file("f", 4096, 'a');
    file = make("f", "size=4K,readonly=on,rom=off,prealloc=on");
    *(char *)hostmem_backend_get_host_addr(file) = 'b';
    hm_test_assert_reads(file, "rom", "\"off\"");
}

static void test_rom_errors(void)
{
    write_file("f", 4096, 'a');
    assert_fails("f", "size=4K,rom=on", HOSTMEM_ERROR_INVALID,
                 "property 'rom' = 'on' is not supported with 'readonly' = "
                 "'off'");
    assert_fails("f", "size=4K,readonly=on,rom=off,share=on",
                 HOSTMEM_ERROR_INVALID,
                 "property 'rom' = 'off' is incompatible with 'readonly' = "
                 "'on' and 'share' = 'on'");
    assert_fails("f", "size=4K,readonly=on,prealloc=on", HOSTMEM_ERROR_INVALID,
                 "property 'prealloc' = 'on' is incompatible with 'readonly' = "
                 "'on'");
    g_assert_cmpuint(hm_fake_count(HM_FAKE_OPEN), ==, 0);
}

static void test_readonly_is_not_populated(void)
{
    g_autoptr(HostmemBackend) file = NULL;
    g_autoptr(GError) error = NULL;

    write_file("f", 4096, 'a');
    file = make("f", "size=4K,readonly=on");
    g_assert_false(hostmem_backend_populate(file, 0, 4096, NULL, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
    hm_test_assert_set_fails(file, "prealloc", "on", HOSTMEM_ERROR_INVALID,
                             "cannot preallocate memory-backend-file 'm0': its "
                             "memory is read-only");
}

static void test_readonly_is_not_discarded(void)
{
    g_autoptr(HostmemBackend) file = NULL;
    g_autoptr(GError) error = NULL;

    write_file("f", 4096, 'a');
    file = make("f", "size=4K,readonly=on,share=on");
    g_assert_false(hostmem_backend_discard(file, 0, 4096, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED);
}

/* Errors */

static void test_path_errors(void)
{
    hm_test_assert_make_fails("memory-backend-file,id=m0,size=1M",
                              HOSTMEM_ERROR_INVALID,
                              "Parameter 'mem-path' is missing");
    hm_test_assert_make_fails(
        "memory-backend-file,id=m0,size=1M,mem-path=", HOSTMEM_ERROR_INVALID,
        "mem-path property not set");
    assert_fails("nodir/x", "size=1M", HOSTMEM_ERROR_NOT_FOUND,
                 "can't open backing store");
    assert_fails("f", "size=1M,readonly=on", HOSTMEM_ERROR_NOT_FOUND,
                 "can't open backing store");
    assert_fails("", "size=1M,readonly=on", HOSTMEM_ERROR_INVALID,
                 "Is a directory");
}

static void test_fifo(void)
{
    g_autofree char *path = in_folder("fifo");

    g_assert_cmpint(mkfifo(path, 0600), ==, 0);
    assert_fails("fifo", "size=1M", HOSTMEM_ERROR_INVALID, "a FIFO");
}

static void test_too_small(void)
{
    write_file("f", 8192, 'a');
    assert_fails("f", "size=16K", HOSTMEM_ERROR_INVALID,
                 "m0 backing store size 0x2000 is too small for 'size' option "
                 "0x4000 plus 'offset' option 0x0");
}

static void test_geometry_errors(void)
{
    assert_fails("f", "size=1M,align=1", HOSTMEM_ERROR_INVALID,
                 "alignment 0x1 must be multiples of page size 0x1000");
    assert_fails("f", "size=1M,align=12288", HOSTMEM_ERROR_INVALID,
                 "alignment 0x3000 must be a power of two");
    assert_fails("f", "size=1M,offset=100", HOSTMEM_ERROR_INVALID,
                 "offset 0x64 must be multiples of page size 0x1000");
    assert_fails("f", "size=5000", HOSTMEM_ERROR_INVALID,
                 "backend 'memory-backend-file' memory size must be multiple "
                 "of 4 KiB");
    assert_fails("f", "size=100", HOSTMEM_ERROR_INVALID,
                 "memory size 0x64 must be equal to or larger than page size "
                 "0x1000");
    assert_fails("f", "size=1M,offset=0x7ffffffffffff000",
                 HOSTMEM_ERROR_INVALID, "8 EiB");
    g_assert_false(exists("f"));
}

static void test_pmem_errors(void)
{
    assert_fails("f", "size=1M,pmem=on", HOSTMEM_ERROR_INVALID,
                 "property 'pmem' = 'on' needs 'share' = 'on'");
    assert_fails("f", "size=1M,pmem=on,share=on", HOSTMEM_ERROR_UNSUPPORTED,
                 "no persistent memory");
    g_assert_false(exists("f"));
}

static void test_live_errors(void)
{
    static const struct {
        const char *property;
        const char *value;
    } changes[] = {
        {"mem-path", "/x"}, {"align", "4K"}, {"offset", "4K"},
        {"pmem", "on"},     {"rom", "on"},   {"readonly", "on"},
    };
    g_autoptr(HostmemBackend) file = make("f", "size=1M");

    for (gsize i = 0; i < G_N_ELEMENTS(changes); i++) {
        g_autofree char *message = g_strdup_printf(
            "cannot change property '%s' of memory-backend-file.",
            changes[i].property);

        hm_test_assert_set_fails(file, changes[i].property, changes[i].value,
                                 HOSTMEM_ERROR_PERMISSION, message);
    }
}

/* What stays behind */

static void test_failure_removes_what_it_made(void)
{
    hm_fake_fail(HM_FAKE_MAP, 2, ENOMEM);
    assert_fails("f", "size=1M,share=on", HOSTMEM_ERROR_NO_MEMORY,
                 "unable to map backing store for guest RAM: Cannot allocate "
                 "memory");
    g_assert_false(exists("f"));
    hm_fake_fail_advice(MADV_POPULATE_WRITE, 1, EIO);
    assert_fails("f", "size=1M,share=on,prealloc=on", HOSTMEM_ERROR_SYSTEM,
                 "preallocating memory failed");
    g_assert_false(exists("f"));
}

static void test_failure_keeps_what_was_there(void)
{
    write_file("f", HM_MIB, 'a');
    hm_fake_fail(HM_FAKE_MAP, 2, ENOMEM);
    assert_fails("f", "size=1M,share=on,discard-data=on",
                 HOSTMEM_ERROR_NO_MEMORY, "unable to map");
    g_assert_cmpuint(blocks_of("f"), >=, HM_MIB);
}

static void test_data_stays(void)
{
    HostmemBackend *file = make("f", "size=1M,share=on,prealloc=on");

    g_object_unref(file);
    g_assert_cmpuint(blocks_of("f"), >=, HM_MIB);
}

static void test_data_is_discarded(void)
{
    HostmemBackend *file =
        make("f", "size=1M,share=on,prealloc=on,discard-data=on");

    g_assert_cmpuint(blocks_of("f"), >=, HM_MIB);
    g_object_unref(file);
    g_assert_cmpuint(blocks_of("f"), ==, 0);
    g_assert_cmpuint(length_of("f"), ==, HM_MIB);
}

static void test_discard_data_is_live(void)
{
    HostmemBackend *file = make("f", "size=1M,share=on,prealloc=on");

    hm_test_assert_set(file, "discard-data", "on");
    g_object_unref(file);
    g_assert_cmpuint(blocks_of("f"), ==, 0);
}

static void test_private_data_is_not_discarded(void)
{
    HostmemBackend *file;

    write_file("f", HM_MIB, 'a');
    file = make("f", "size=1M,discard-data=on");
    *(char *)hostmem_backend_get_host_addr(file) = 'b';
    g_object_unref(file);
    g_assert_cmpuint(blocks_of("f"), >=, HM_MIB);
    g_assert_cmpuint(hm_fake_count_advice(MADV_REMOVE), ==, 0);
}

static void test_failing_discard_is_told(void)
{
    HostmemBackend *file = make("f", "size=1M,share=on,discard-data=on");

    hm_fake_fail_advice(MADV_REMOVE, 1, EOPNOTSUPP);
    g_test_expect_message("hostmem", G_LOG_LEVEL_MESSAGE,
                          "discard-data: the blocks of */f stay: *");
    g_object_unref(file);
    g_test_assert_expected_messages();
}

/* Without fallocate nothing is sure to be had later. */
static void test_what_cannot_be_backed_is_refused(void)
{
    hm_fake_fail_always(HM_FAKE_ALLOCATE, EOPNOTSUPP);
    assert_fails("f", "size=1M,share=on,prealloc=on,prealloc-async=on",
                 HOSTMEM_ERROR_UNSUPPORTED, "(fallocate)");
    assert_fails("f", "size=1M,share=on,prealloc=on,prealloc-state=backed",
                 HOSTMEM_ERROR_UNSUPPORTED, "(fallocate)");
    g_assert_false(exists("f"));
}

static const HmTest tests[] = {
    {"/hostmem-file/defaults", test_defaults},
    {"/hostmem-file/created", test_created},
    {"/hostmem-file/existing-is-used", test_existing_is_used},
    {"/hostmem-file/private-leaves-the-file", test_private_leaves_the_file},
    {"/hostmem-file/directory", test_directory},
    {"/hostmem-file/offset", test_offset},
    {"/hostmem-file/align", test_align},
    {"/hostmem-file/readonly", test_readonly},
    {"/hostmem-file/copy-of-readonly", test_copy_of_readonly},
    {"/hostmem-file/rom-errors", test_rom_errors},
    {"/hostmem-file/readonly-is-not-populated", test_readonly_is_not_populated},
    {"/hostmem-file/readonly-is-not-discarded", test_readonly_is_not_discarded},
    {"/hostmem-file/path-errors", test_path_errors},
    {"/hostmem-file/fifo", test_fifo},
    {"/hostmem-file/too-small", test_too_small},
    {"/hostmem-file/geometry-errors", test_geometry_errors},
    {"/hostmem-file/pmem-errors", test_pmem_errors},
    {"/hostmem-file/live-errors", test_live_errors},
    {"/hostmem-file/failure-removes-what-it-made",
     test_failure_removes_what_it_made},
    {"/hostmem-file/failure-keeps-what-was-there",
     test_failure_keeps_what_was_there},
    {"/hostmem-file/what-cannot-be-backed-is-refused",
     test_what_cannot_be_backed_is_refused},
    {"/hostmem-file/data-stays", test_data_stays},
    {"/hostmem-file/data-is-discarded", test_data_is_discarded},
    {"/hostmem-file/discard-data-is-live", test_discard_data_is_live},
    {"/hostmem-file/private-data-is-not-discarded",
     test_private_data_is_not_discarded},
    {"/hostmem-file/failing-discard-is-told", test_failing_discard_is_told},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
