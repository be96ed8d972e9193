/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <glib/gstdio.h>
#include <hostmem/snapshot.h>
#include <string.h>
#include <unistd.h>
#include "backends/hostmem-snapshot.h"
#include "image-test.h"
#include "object-test.h"
#include "os-fake.h"
#include "snapshot-test.h"
#include "util/autofd.h"
#include "util/size.h"

#define MIB_A_S HM_MIB /* bytes a second: it lasts until it is ended */

/* (transfer full) */
static char *path_of(const char *name)
{
    return g_build_filename(hm_test_folder(), name, NULL);
}

static gboolean is_there(const char *name)
{
    g_autofree char *path = path_of(name);

    return g_access(path, F_OK) == 0;
}

static guint8 *addr_of(HostmemBackend *backend)
{
    return hostmem_backend_get_host_addr(backend);
}

static HostmemJob *try_start(HostmemBackend *backend, const char *name,
                             const HostmemSnapshotOptions *options,
                             GError **error)
{
    g_autofree char *path = path_of(name);

    return hostmem_backend_snapshot(backend, path, options, error);
}

static HostmemJob *start(HostmemBackend *backend, const char *name,
                         const HostmemSnapshotOptions *options)
{
    g_autoptr(GError) error = NULL;
    HostmemJob *job = try_start(backend, name, options, &error);

    g_assert_no_error(error);
    return job;
}

static HostmemJob *start_slow(HostmemBackend *backend, const char *name)
{
    const HostmemSnapshotOptions options = {.max_bandwidth = MIB_A_S};

    return start(backend, name, &options);
}

static void assert_refused(HostmemBackend *backend, gint code, const char *part)
{
    GError *error = NULL;

    g_assert_null(try_start(backend, "image", NULL, &error));
    hm_test_assert_error(error, code, part);
    g_assert_false(hostmem_object_is_held(HOSTMEM_OBJECT(backend)));
}

/* (transfer full) (nullable): how it ended. */
static GError *wait_for(HostmemJob *job)
{
    while (!hostmem_job_is_over(job)) {
        g_usleep(1000);
    }
    return hostmem_job_get_error(job);
}

static void wait_for_success(HostmemJob *job)
{
    g_autoptr(GError) error = wait_for(job);

    g_assert_no_error(error);
}

static void cancel(HostmemJob *job)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(hostmem_job_cancel(job, NULL));
    error = wait_for(job);
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

static void remove_image(void)
{
    g_autofree char *path = path_of("image");

    g_assert_cmpint(g_unlink(path), ==, 0);
}

/* Taking one */

static void check_round(const char *type)
{
    g_autoptr(HostmemBackend) restored = NULL;

    hm_test_make_image(type);
    restored = hm_test_restore(type);
    hm_test_assert_filled(restored);
    remove_image();
}

static void test_round(void)
{
    if (hm_test_can_protect()) {
        check_round(HM_TEST_RAM);
        check_round(HM_TEST_RAM ",share=on");
        check_round(HM_TEST_MEMFD);
        check_round(HM_TEST_MEMFD ",share=off");
        check_round("memory-backend-shm,id=m0,size=16M");
    }
}

static void test_job(void)
{
    g_autoptr(HostmemBackend) backend = NULL;
    g_autoptr(HostmemJob) job = NULL;
    g_autoptr(HostmemJob) same = NULL;
    g_autofree char *type = NULL;
    HostmemSnapshotReport report;
    guint64 done, total;

    if (!hm_test_can_protect()) {
        return;
    }
    backend = hm_test_make(HM_TEST_RAM);
    g_assert_null(hostmem_backend_get_snapshot_job(backend));
    hm_test_fill(backend);
    job = start(backend, "image", NULL);
    g_object_get(job, "type", &type, NULL);
    g_assert_cmpstr(type, ==, "snapshot");
    g_assert_cmpstr(hostmem_job_get_id(job), ==, "m0:snapshot");
    same = hostmem_backend_get_snapshot_job(backend);
    g_assert_true(same == job);
    wait_for_success(job);
    hostmem_job_get_progress(job, &done, &total);
    g_assert_cmpuint(done, ==, HM_TEST_IMAGE_SIZE);
    g_assert_cmpuint(total, ==, HM_TEST_IMAGE_SIZE);
    hostmem_backend_get_snapshot_report(backend, &report);
    g_assert_cmpuint(report.stored, ==, HM_TEST_IMAGE_SIZE * 3 / 4);
    g_assert_false(hostmem_object_is_held(HOSTMEM_OBJECT(backend)));
    g_assert_true(hostmem_job_dismiss(job, NULL));
    g_assert_null(hostmem_backend_get_snapshot_job(backend));
}

static void test_held(void)
{
    g_autoptr(HostmemBackend) backend = NULL;
    g_autoptr(HostmemJob) job = NULL;
    GError *error = NULL;

    if (!hm_test_can_protect()) {
        return;
    }
    backend = hm_test_make(HM_TEST_RAM);
    hm_test_fill(backend);
    job = start_slow(backend, "image");
    g_assert_true(hostmem_object_is_held(HOSTMEM_OBJECT(backend)));
    g_assert_true(hm_backend_is_shot(backend));
    g_assert_null(try_start(backend, "other", NULL, &error));
    hm_test_assert_error(error, HOSTMEM_ERROR_BUSY, "another one");
    cancel(job);
    g_assert_false(hostmem_object_is_held(HOSTMEM_OBJECT(backend)));
    g_assert_false(hm_backend_is_shot(backend));
    g_assert_false(is_there("image"));
}

static void test_last_unref_cancels(void)
{
    g_autoptr(HostmemJob) job = NULL;
    HostmemBackend *backend;

    if (!hm_test_can_protect()) {
        return;
    }
    backend = hm_test_make(HM_TEST_RAM);
    hm_test_fill(backend);
    job = start_slow(backend, "image");
    g_object_unref(backend);
    g_assert_cmpint(hostmem_job_get_status(job), ==, HOSTMEM_JOB_NULL);
    g_assert_false(is_there("image"));
}

static void test_again(void)
{
    g_autoptr(HostmemBackend) backend = NULL;
    g_autoptr(HostmemJob) first = NULL;
    g_autoptr(HostmemJob) second = NULL;
    GError *error = NULL;

    if (!hm_test_can_protect()) {
        return;
    }
    backend = hm_test_make(HM_TEST_RAM);
    first = start(backend, "first", NULL);
    wait_for_success(first);
    g_assert_null(try_start(backend, "first", NULL, &error));
    hm_test_assert_error(error, HOSTMEM_ERROR_EXISTS, "first");
    second = start(backend, "second", NULL);
    g_assert_cmpint(hostmem_job_get_status(first), ==, HOSTMEM_JOB_NULL);
    wait_for_success(second);
}

static void check_discard(const char *type)
{
    const HostmemSnapshotOptions slow = {.max_bandwidth = 4 * HM_MIB};
    g_autoptr(HostmemBackend) backend = hm_test_make(type);
    g_autoptr(HostmemBackend) restored = NULL;
    g_autoptr(HostmemJob) job = NULL;
    g_autoptr(GError) error = NULL;

    hm_test_fill(backend);
    job = start(backend, "image", &slow);
    hostmem_backend_discard(backend, 2 * HM_MIB, 10 * HM_MIB, &error);
    g_assert_no_error(error);
    g_assert_false(hostmem_job_is_over(job));
    g_assert_cmpuint(addr_of(backend)[5 * HM_MIB], ==, 0);
    wait_for_success(job);
    restored = hm_test_restore(type);
    hm_test_assert_filled(restored);
    remove_image();
}

static void test_discard_meanwhile(void)
{
    if (hm_test_can_protect()) {
        check_discard(HM_TEST_RAM);
        check_discard(HM_TEST_MEMFD);
    }
}

static void test_resize_meanwhile(void)
{
    g_autoptr(HostmemBackend) backend = NULL;
    g_autoptr(HostmemBackend) restored = NULL;
    g_autoptr(HostmemJob) slow = NULL;
    g_autoptr(HostmemJob) job = NULL;

    if (!hm_test_can_protect()) {
        return;
    }
    backend = hm_test_make(HM_TEST_MEMFD ",max-size=32M");
    hm_test_fill(backend);
    slow = start_slow(backend, "image");
    hm_test_assert_set_fails(
        backend, "size", "32M", HOSTMEM_ERROR_BUSY,
        "cannot resize memory-backend-memfd 'm0': a snapshot of it is being "
        "taken; wait for its end, or cancel it");
    cancel(slow);
    hm_test_assert_set(backend, "size", "32M");
    hm_test_assert_set(backend, "size", "16M");
    job = start(backend, "image", NULL);
    wait_for_success(job);
    restored = hm_test_restore(HM_TEST_RAM ",max-size=64M");
    hm_test_assert_filled(restored);
}

/* Failures */

static void test_disk_full(void)
{
    const HmTmpfsOptions options = {
        .huge = "never", .mode = 0700, .size = 4 * HM_MIB};
    g_autoptr(HostmemBackend) backend = NULL;
    g_autoptr(HostmemJob) job = NULL;
    g_autoptr(GError) error = NULL;
    g_autofree char *path = NULL;
    hm_autofd int root = -1;

    if (!hm_test_can_protect()) {
        return;
    }
    root = hm_os_tmpfs(&options);
    if (root < 0) {
        g_test_skip("mounting is not allowed here");
        return;
    }
    path = g_strdup_printf("/proc/self/fd/%d/image", root);
    backend = hm_test_make(HM_TEST_RAM);
    hm_test_fill(backend);
    job = hostmem_backend_snapshot(backend, path, NULL, &error);
    g_assert_no_error(error);
    /* nobody waits for ever */
    hm_test_set_memory(addr_of(backend), 9, HM_TEST_IMAGE_SIZE);
    error = wait_for(job);
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_SPACE);
    g_assert_cmpint(g_access(path, F_OK), ==, -1);
    memset(addr_of(backend), 8, HM_TEST_IMAGE_SIZE);
}

static void test_not_allowed(void)
{
    g_autoptr(HostmemBackend) backend = hm_test_make(HM_TEST_RAM);

    hm_fake_fail_always(HM_FAKE_FAULTFD_FEATURES, EPERM);
    assert_refused(backend, HOSTMEM_ERROR_PERMISSION,
                   "vm.unprivileged_userfaultfd=1");
    g_assert_false(is_there("image"));
}

static void test_no_directory(void)
{
    g_autoptr(HostmemBackend) backend = NULL;
    GError *error = NULL;

    if (hm_test_can_protect()) {
        backend = hm_test_make(HM_TEST_RAM);
        g_assert_null(try_start(backend, "no/image", NULL, &error));
        hm_test_assert_error(error, HOSTMEM_ERROR_NOT_FOUND, "/no'");
    }
}

/* The kernel holds up nobody who writes to a file of a disk. */
static void test_file(void)
{
    g_autoptr(HostmemBackend) backend = NULL;
    const HostmemSnapshotOptions trusting = {.allow_exposed = TRUE};
    g_autofree char *options = NULL;
    GError *error = NULL;
    struct statfs fs;
    hm_autofd int fd = -1;

    if (!hm_test_can_protect()) {
        return;
    }
    fd = hm_os_open(hm_test_folder(), O_RDONLY, 0);
    if (hm_os_statfs(fd, &fs) < 0 || fs.f_type == TMPFS_MAGIC) {
        g_test_skip("the temporary folder is on a tmpfs");
        return;
    }
    options = g_strdup_printf("memory-backend-file,id=m0,size=16M,share=on,"
                              "mem-path=%s/memory",
                              hm_test_folder());
    backend = hm_test_make(options);
    assert_refused(backend, HOSTMEM_ERROR_UNSUPPORTED, "by name");
    g_assert_null(try_start(backend, "image", &trusting, &error));
    hm_test_assert_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                         "cannot write-protect");
}

/* Others */

static void test_exposed(void)
{
    const HostmemSnapshotOptions trusting = {.allow_exposed = TRUE};
    g_autoptr(HostmemBackend) backend = NULL;
    g_autoptr(HostmemJob) job = NULL;
    hm_autofd int fd = -1;

    if (!hm_test_can_protect()) {
        return;
    }
    backend = hm_test_make(HM_TEST_MEMFD);
    fd = hostmem_backend_dup_fd(backend, 0, NULL);
    g_assert_cmpint(fd, >=, 0);
    assert_refused(backend, HOSTMEM_ERROR_UNSUPPORTED, "another process");
    job = start(backend, "image", &trusting);
    wait_for_success(job);
}

static void test_expose_meanwhile(void)
{
    g_autoptr(HostmemBackend) backend = NULL;
    g_autoptr(HostmemJob) job = NULL;
    GError *error = NULL;
    hm_autofd int fd = -1;

    if (!hm_test_can_protect()) {
        return;
    }
    backend = hm_test_make(HM_TEST_MEMFD);
    hm_test_fill(backend);
    job = start_slow(backend, "image");
    g_assert_cmpint(hostmem_backend_dup_fd(backend, 0, &error), ==, -1);
    hm_test_assert_error(error, HOSTMEM_ERROR_BUSY, "snapshot");
    cancel(job);
    fd = hostmem_backend_dup_fd(backend, 0, NULL);
    g_assert_cmpint(fd, >=, 0);
}

static const HmTest tests[] = {
    {"/hostmem-snapshot/round", test_round},
    {"/hostmem-snapshot/job", test_job},
    {"/hostmem-snapshot/held", test_held},
    {"/hostmem-snapshot/last-unref-cancels", test_last_unref_cancels},
    {"/hostmem-snapshot/again", test_again},
    {"/hostmem-snapshot/discard-meanwhile", test_discard_meanwhile},
    {"/hostmem-snapshot/resize-meanwhile", test_resize_meanwhile},
    {"/hostmem-snapshot/disk-full", test_disk_full},
    {"/hostmem-snapshot/not-allowed", test_not_allowed},
    {"/hostmem-snapshot/no-directory", test_no_directory},
    {"/hostmem-snapshot/file", test_file},
    {"/hostmem-snapshot/exposed", test_exposed},
    {"/hostmem-snapshot/expose-meanwhile", test_expose_meanwhile},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
