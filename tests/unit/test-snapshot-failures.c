/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include "snapshot-fixture.h"

/* As the implementation has them. */
#define MOST_COPIES (SIZE / 8 / HM_IMAGE_BLOCK)

/* Failures: no image is left, and whoever writes goes on. */

static void assert_free(Fixture *fixture)
{
    memset(fixture->mapping.addr, 9, SIZE);
    g_assert_cmpint(g_access(fixture->path, F_OK), ==, -1);
}

static void assert_run_fails(Fixture *fixture, GCancellable *cancellable,
                             GQuark domain, gint code)
{
    HmTestWriter *writer = hm_test_writer_start(fixture->mapping.addr, SIZE);
    g_autoptr(GError) error = NULL;
    HmSnapshot *snapshot;

    hm_test_writer_wait(writer, 1000);
    snapshot = start(fixture);
    g_assert_false(hm_snapshot_run(snapshot, cancellable, &error));
    g_assert_error(error, domain, code);
    hm_test_writer_wait(writer, 1000);
    hm_test_writer_free(writer);
    assert_free(fixture);
    hm_snapshot_free(snapshot);
}

static void test_disk_full(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    if (can_protect()) {
        hm_fake_fail(HM_FAKE_WRITE_AT, 10, ENOSPC);
        assert_run_fails(fixture, NULL, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_SPACE);
    }
}

static void test_cannot_sync(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    if (can_protect()) {
        hm_fake_fail(HM_FAKE_SYNC, 1, EIO);
        assert_run_fails(fixture, NULL, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM);
    }
}

static void test_cannot_lift(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    if (can_protect()) {
        hm_fake_fail(HM_FAKE_WRITE_PROTECT, 5, ENOMEM);
        assert_run_fails(fixture, NULL, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_MEMORY);
    }
}

static void test_cannot_read(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    if (can_protect()) {
        hm_fake_fail_advice(MADV_POPULATE_READ, 5, EHWPOISON);
        assert_run_fails(fixture, NULL, HOSTMEM_ERROR, HOSTMEM_ERROR_CHANGED);
    }
}

/* A HmFakeHook: between the look for holes and the copy. */
static gint64 truncate_file(const HmFakeRecord *record, gpointer data)
{
    if (record->arg == MADV_POPULATE_READ) {
        g_assert_cmpint(hm_os_truncate(GPOINTER_TO_INT(data), 0), ==, 0);
    }
    return 0;
}

static void test_truncated(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    HmSnapshot *snapshot;

    if (!can_protect()) {
        return;
    }
    memset(fixture->mapping.addr, 1, SIZE);
    snapshot = start(fixture);
    hm_fake_without_advice(MADV_POPULATE_READ);
    hm_fake_hook(HM_FAKE_ADVISE, truncate_file,
                 GINT_TO_POINTER(fixture->backing.fd));
    g_assert_false(hm_snapshot_run(snapshot, NULL, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_CHANGED);
    g_assert_cmpint(hm_os_truncate(fixture->backing.fd, SIZE), ==, 0);
    assert_free(fixture);
    hm_snapshot_free(snapshot);
}

static void test_cannot_be_told(Fixture *fixture,
                                gconstpointer data G_GNUC_UNUSED)
{
    if (can_protect()) {
        hm_fake_fail(HM_FAKE_FAULTFD_READ, 1, EIO);
        assert_run_fails(fixture, NULL, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM);
    }
}

static void test_cancelled(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GCancellable) cancellable = g_cancellable_new();

    if (can_protect()) {
        g_cancellable_cancel(cancellable);
        assert_run_fails(fixture, cancellable, G_IO_ERROR,
                         G_IO_ERROR_CANCELLED);
    }
}

static void test_dropped(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    if (can_protect()) {
        hm_snapshot_free(start(fixture));
        assert_free(fixture);
    }
}

/* Nobody saves, so the copies run out, and who serves the writers waits. */
static void test_dropped_with_all_copies_taken(Fixture *fixture,
                                               gconstpointer data G_GNUC_UNUSED)
{
    HmTestWriter *writer;
    HmSnapshot *snapshot;
    HmSnapshotStats stats;

    if (!can_protect()) {
        return;
    }
    writer = hm_test_writer_start(fixture->mapping.addr, SIZE);
    hm_test_writer_wait(writer, 1000);
    snapshot = start(fixture);
    do {
        g_usleep(1000);
        hm_snapshot_get_stats(snapshot, &stats);
    } while (stats.faults < MOST_COPIES);
    hm_snapshot_free(snapshot);
    hm_test_writer_wait(writer, 1000);
    hm_test_writer_stop(writer);
    hm_test_writer_free(writer);
}

static void test_cannot_arm(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(HmRangeList) all = hm_range_list_new();
    g_autoptr(GError) error = NULL;
    const HmRange range = {0, SIZE};
    HmSnapshot *snapshot;

    if (!can_protect()) {
        return;
    }
    hm_range_list_add(all, &range);
    snapshot = hm_snapshot_new(&fixture->options, &error);
    g_assert_no_error(error);
    hm_fake_fail(HM_FAKE_WRITE_PROTECT, 1, ENOMEM);
    g_assert_false(hm_snapshot_arm(snapshot, all, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_MEMORY);
    assert_free(fixture);
    hm_snapshot_free(snapshot);
}

/* Refusals */

static void assert_refused(Fixture *fixture, gint code, const char *part)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(hm_snapshot_new(&fixture->options, &error));
    g_assert_error(error, HOSTMEM_ERROR, code);
    if (!strstr(error->message, part)) {
        g_error("'%s' has no '%s' in it", error->message, part);
    }
}

static void test_not_allowed(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    hm_fake_fail_always(HM_FAKE_FAULTFD_FEATURES, EPERM);
    assert_refused(fixture, HOSTMEM_ERROR_PERMISSION, "CAP_SYS_PTRACE");
}

static void test_no_faultfd(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    hm_fake_fail_always(HM_FAKE_FAULTFD_FEATURES, ENOSYS);
    assert_refused(fixture, HOSTMEM_ERROR_UNSUPPORTED, "no userfaultfd");
}

static void test_no_write_protect(Fixture *fixture,
                                  gconstpointer data G_GNUC_UNUSED)
{
    if (can_protect()) {
        hm_fake_set_fault_features(0);
        assert_refused(fixture, HOSTMEM_ERROR_UNSUPPORTED, "Linux 5.7");
    }
}

static void test_no_shared_write_protect(Fixture *fixture,
                                         gconstpointer data G_GNUC_UNUSED)
{
    if (can_protect()) {
        hm_fake_set_fault_features(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
        assert_refused(fixture, HOSTMEM_ERROR_UNSUPPORTED, "Linux 5.19");
    }
}

static void test_taken_name(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    if (can_protect()) {
        g_assert_true(g_file_set_contents(fixture->path, "mine", -1, NULL));
        assert_refused(fixture, HOSTMEM_ERROR_EXISTS, fixture->path);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("fails/disk-full", ANON, test_disk_full);
    ADD("fails/cannot-sync", MEMFD, test_cannot_sync);
    ADD("fails/cannot-lift", MEMFD, test_cannot_lift);
    ADD("fails/cannot-read", ANON, test_cannot_read);
    ADD("fails/truncated", UNSEALED, test_truncated);
    ADD("fails/cannot-be-told", ANON, test_cannot_be_told);
    ADD("fails/cannot-arm", ANON, test_cannot_arm);
    ADD("fails/cancelled", ANON, test_cancelled);
    ADD("fails/dropped", MEMFD, test_dropped);
    ADD("fails/dropped-with-all-copies-taken", ANON,
        test_dropped_with_all_copies_taken);
    ADD("refused/not-allowed", ANON, test_not_allowed);
    ADD("refused/no-userfaultfd", ANON, test_no_faultfd);
    ADD("refused/no-write-protect", ANON, test_no_write_protect);
    ADD("refused/no-shared-write-protect", MEMFD, test_no_shared_write_protect);
    ADD("refused/taken-name", ANON, test_taken_name);
    return g_test_run();
}
