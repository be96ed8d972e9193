/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include "snapshot-fixture.h"

static void test_moment(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    guint8 *addr = fixture->mapping.addr;
    HmTestWriter *writers[2];
    guint64 earliest[2];
    HmSnapshot *snapshot;
    guint8 *image;

    if (!can_protect()) {
        return;
    }
    for (guint i = 0; i < 2; i++) {
        writers[i] = hm_test_writer_start(addr + i * SIZE / 2, SIZE / 2);
        hm_test_writer_wait(writers[i], 1000);
        earliest[i] = hm_test_writer_generation(writers[i]);
    }
    snapshot = start(fixture);
    guint64 latest[2];
    for (guint i = 0; i < 2; i++) {
        latest[i] = hm_test_writer_generation(writers[i]) + 1000;
    }
    run(snapshot);
    for (guint i = 0; i < 2; i++) {
        hm_test_writer_wait(writers[i], 1000); /* nobody is stuck */
        hm_test_writer_stop(writers[i]);
    }
    image = load(fixture);
    for (guint i = 0; i < 2; i++) {
        hm_test_writer_assert_moment(writers[i], image + i * SIZE / 2,
                                     earliest[i], latest[i]);
        hm_test_writer_free(writers[i]);
    }
    hm_os_unmap(image, SIZE);
    hm_snapshot_free(snapshot);
}

/* For a single thread the moment is known.  It can be ahead of the disk by some
 * copies. */
static void check_before_and_after(Fixture *fixture)
{
    guint8 *addr = fixture->mapping.addr;
    HmSnapshotStats stats;
    HmSnapshot *snapshot;
    guint8 *image;

    for (gsize at = 0; at < SIZE / 2; at += 4096) {
        addr[at] = 1;
    }
    snapshot = start(fixture);
    for (gsize at = 0; at < SIZE; at += SIZE / 4) {
        hm_test_set_memory(addr + at, 2, 1);
    }
    hm_snapshot_get_stats(snapshot, &stats);
    g_assert_cmpuint(stats.faults, >, 0);
    run(snapshot);
    g_assert_cmpint(fixture->progress.done, ==, SIZE);
    image = load(fixture);
    for (gsize at = 0; at < SIZE; at += 4096) {
        g_assert_cmpuint(image[at], ==, at < SIZE / 2);
        g_assert_cmpuint(addr[at], ==,
                         at % (SIZE / 4) == 0 ? 2 : at < SIZE / 2);
    }
    hm_os_unmap(image, SIZE);
    hm_snapshot_free(snapshot);
}

static void test_before_and_after(Fixture *fixture,
                                  gconstpointer data G_GNUC_UNUSED)
{
    if (can_protect()) {
        check_before_and_after(fixture);
    }
}

/* A step at a time, as with huge pages of a gigabyte. */
static void test_large_units(Fixture *fixture, gconstpointer data)
{
    fixture->options.unit = 8 * HM_MIB;
    test_moment(fixture, data);
}

static void test_sparse(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    guint8 *addr = fixture->mapping.addr;
    HmSnapshot *snapshot;
    HmSnapshotStats stats;
    struct stat st;

    if (!can_protect()) {
        return;
    }
    addr[5 * HM_MIB] = 1;
    addr[9 * HM_MIB] = 0;
    snapshot = start(fixture);
    run(snapshot);
    hm_snapshot_get_stats(snapshot, &stats);
    g_assert_cmpuint(stats.stored, ==, 4096);
    g_assert_cmpint(g_stat(fixture->path, &st), ==, 0);
    g_assert_cmpint(st.st_size, >, SIZE);
    g_assert_cmpint(st.st_blocks * 512, <, 1 * HM_MIB);
    hm_snapshot_free(snapshot);
}

/* To read a hole would fill it. */
static void test_holes_stay(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    HmSnapshot *snapshot;

    if (!can_protect()) {
        return;
    }
    fixture->mapping.addr[5 * HM_MIB] = 1;
    snapshot = start(fixture);
    run(snapshot);
    hm_snapshot_free(snapshot);
    g_assert_cmpuint(
        hm_backing_backed_size(&fixture->backing, fixture->mapping.addr), <=,
        64 * HM_KIB);
}

static void assert_huge(const Fixture *fixture)
{
    g_assert_cmpint(hm_os_huge(fixture->mapping.addr, SIZE), ==, SIZE);
}

static void test_huge_pages_stay(Fixture *fixture,
                                 gconstpointer data G_GNUC_UNUSED)
{
    HmSnapshot *snapshot;
    HmSnapshotStats stats;

    if (!can_protect()) {
        return;
    }
    memset(fixture->mapping.addr, 1, SIZE);
    if (hm_os_huge(fixture->mapping.addr, SIZE) != SIZE) {
        g_test_skip("the host gives no transparent huge pages");
        return;
    }
    snapshot = start(fixture);
    hm_test_set_memory(fixture->mapping.addr + 3 * HM_MIB, 2, 1);
    assert_huge(fixture);
    run(snapshot);
    hm_snapshot_get_stats(snapshot, &stats);
    g_assert_cmpuint(stats.unit, ==, 2 * HM_MIB);
    g_assert_cmpuint(stats.faults, ==, 1);
    assert_huge(fixture);
    hm_snapshot_free(snapshot);
}

/* Those of a file are mapped as such again. */
static void test_huge_pages_come_back(Fixture *fixture,
                                      gconstpointer data G_GNUC_UNUSED)
{
    HmSnapshot *snapshot;

    if (!can_protect()) {
        return;
    }
    hm_os_advise(fixture->mapping.addr, SIZE, MADV_HUGEPAGE);
    memset(fixture->mapping.addr, 1, SIZE);
    hm_os_advise(fixture->mapping.addr, SIZE, MADV_COLLAPSE);
    if (hm_os_huge(fixture->mapping.addr, SIZE) != SIZE) {
        g_test_skip("the host makes no huge pages of a memfd");
        return;
    }
    snapshot = start(fixture);
    hm_test_set_memory(fixture->mapping.addr + 3 * HM_MIB, 2, 1);
    run(snapshot);
    assert_huge(fixture);
    hm_snapshot_free(snapshot);
}

#define MEMINFO "MemTotal: 1000000 kB\nSwapTotal: %d kB\n"

/* Returns: how much a snapshot of memory without pages has mapped of it */
static gint64 mapped_by_run(Fixture *fixture, int swap_later)
{
    g_autofree char *later = g_strdup_printf(MEMINFO, swap_later);
    g_autofree char *now = g_strdup_printf(MEMINFO, 0);
    HmSnapshot *snapshot;

    hm_fake_set_file("/proc/meminfo", now);
    snapshot = start(fixture);
    hm_fake_set_file("/proc/meminfo", later);
    run(snapshot);
    hm_snapshot_free(snapshot);
    g_unlink(fixture->path);
    return hm_os_populated(fixture->mapping.addr, SIZE);
}

/* What is swapped out looks as if it was not there, so all of it is read, by
 * who is not told where swapped pages lie. */
static void test_swap_comes_meanwhile(Fixture *fixture,
                                      gconstpointer data G_GNUC_UNUSED)
{
    if (can_protect()) {
        hm_fake_fail_always(HM_FAKE_FAULT_MARK, EPERM);
        g_assert_cmpint(mapped_by_run(fixture, 0), ==, 0);
        g_assert_cmpint(mapped_by_run(fixture, 1000), ==, SIZE);
    }
}

static gboolean can_tell_marks(void)
{
    guint64 mark;
    int ret = hm_os_fault_mark(&mark);

    if (ret == -EPERM || ret == -EINVAL) {
        g_test_skip("swapped pages are told of with CAP_SYS_ADMIN, from Linux "
                    "6.4 on");
        return FALSE;
    }
    g_assert_cmpint(ret, ==, 0);
    return TRUE;
}

/* All that is there is saved, and nothing else is read. */
static void test_swap_and_marks(Fixture *fixture,
                                gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *meminfo = g_strdup_printf(MEMINFO, 1000);
    HmSnapshot *snapshot;
    HmSnapshotStats stats;
    guint8 *image;

    if (!can_protect() || !can_tell_marks()) {
        return;
    }
    hm_fake_set_file("/proc/meminfo", meminfo);
    fixture->mapping.addr[5 * HM_MIB] = 1;
    snapshot = start(fixture);
    run(snapshot);
    hm_snapshot_get_stats(snapshot, &stats);
    g_assert_cmpuint(stats.stored, ==, 4096);
    g_assert_cmpint(hm_os_populated(fixture->mapping.addr, SIZE), <=,
                    (gint64)stats.unit);
    image = load(fixture);
    g_assert_cmpuint(image[5 * HM_MIB], ==, 1);
    hm_os_unmap(image, SIZE);
    hm_snapshot_free(snapshot);
}

/* It was told once, and is not any more. */
static void test_marks_cannot_be_read(Fixture *fixture,
                                      gconstpointer data G_GNUC_UNUSED)
{
    if (can_protect() && can_tell_marks()) {
        hm_fake_fail_always(HM_FAKE_KEPT_RANGES, EPERM);
        g_assert_cmpint(mapped_by_run(fixture, 1000), ==, SIZE);
    }
}

/* The kernel writes for somebody, as read(2) does. */
static void test_system_call(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    HmSnapshot *snapshot;
    guint8 *image;
    int fd;

    if (!can_protect()) {
        return;
    }
    memset(fixture->mapping.addr, 1, SIZE);
    snapshot = start(fixture);
    fd = hm_os_open("/dev/zero", O_RDONLY, 0);
    g_assert_cmpint(read(fd, fixture->mapping.addr + HM_MIB, 100000), ==,
                    100000);
    hm_os_close(fd);
    run(snapshot);
    g_assert_cmpuint(fixture->mapping.addr[HM_MIB], ==, 0);
    image = load(fixture);
    for (gsize at = 0; at < SIZE; at += 512) {
        g_assert_cmpuint(image[at], ==, 1);
    }
    hm_os_unmap(image, SIZE);
    hm_snapshot_free(snapshot);
}

/* What is about to be discarded is saved first, and all of it. */
static void test_save_before_discard(Fixture *fixture,
                                     gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(HmRangeList) ranges = hm_range_list_new();
    const HmRange range = {4 * HM_MIB, 8 * HM_MIB};
    HmSnapshot *snapshot;
    guint8 *image;

    if (!can_protect()) {
        return;
    }
    memset(fixture->mapping.addr, 7, SIZE);
    snapshot = start(fixture);
    hm_range_list_add(ranges, &range);
    hm_snapshot_save(snapshot, ranges);
    if (fixture->backing.fd >= 0) {
        hm_os_punch(fixture->backing.fd, range.offset, range.length);
    } else {
        hm_os_advise(fixture->mapping.addr + range.offset, range.length,
                     MADV_DONTNEED);
    }
    run(snapshot);
    image = load(fixture);
    for (gsize at = 0; at < SIZE; at += 4096) {
        g_assert_cmpuint(image[at], ==, 7);
    }
    g_assert_cmpuint(fixture->mapping.addr[5 * HM_MIB], ==, 0);
    hm_os_unmap(image, SIZE);
    hm_snapshot_free(snapshot);
}

/* What is not asked for is zero in the image, and nobody waits for it. */
static void test_some_ranges(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(HmRangeList) ranges = hm_range_list_new();
    const HmRange range = {8 * HM_MIB, 8 * HM_MIB};
    g_autoptr(GError) error = NULL;
    HmSnapshot *snapshot;
    HmSnapshotStats stats;
    guint8 *image;

    if (!can_protect()) {
        return;
    }
    memset(fixture->mapping.addr, 7, SIZE);
    hm_range_list_add(ranges, &range);
    snapshot = hm_snapshot_new(&fixture->options, &error);
    g_assert_no_error(error);
    hm_snapshot_arm(snapshot, ranges, &error);
    g_assert_no_error(error);
    hm_test_set_memory(fixture->mapping.addr, 8, 8 * HM_MIB);
    run(snapshot);
    hm_snapshot_get_stats(snapshot, &stats);
    g_assert_cmpuint(stats.faults, ==, 0);
    image = load(fixture);
    for (gsize at = 0; at < SIZE; at += 4096) {
        g_assert_cmpuint(image[at], ==,
                         at >= range.offset && at < hm_range_end(&range) ? 7
                                                                         : 0);
    }
    hm_os_unmap(image, SIZE);
    hm_snapshot_free(snapshot);
}

/* Before Linux 6.4 pages must be there to be protected. */
static void test_no_marks(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *mapped_first =
        g_strdup_printf("advise:%d write_protect", MADV_POPULATE_READ);
    g_autofree char *calls = NULL;

    if (!can_protect()) {
        return;
    }
    hm_fake_set_fault_features(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
    check_before_and_after(fixture);
    calls = hm_fake_sequence();
    g_assert_nonnull(strstr(calls, mapped_first));
}

/* A filesystem without unnamed files. */
static void test_no_unnamed_files(Fixture *fixture, gconstpointer data)
{
    if (can_protect()) {
        hm_fake_fail_always(HM_FAKE_TMPFILE, EOPNOTSUPP);
        test_before_and_after(fixture, data);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("moment/anon", ANON, test_moment);
    ADD("moment/huge", HUGE, test_moment);
    ADD("moment/memfd", MEMFD, test_moment);
    ADD("moment/large-units", ANON, test_large_units);
    ADD("before-and-after/anon", ANON, test_before_and_after);
    ADD("before-and-after/huge", HUGE, test_before_and_after);
    ADD("before-and-after/memfd", MEMFD, test_before_and_after);
    ADD("sparse/anon", ANON, test_sparse);
    ADD("sparse/memfd", MEMFD, test_sparse);
    ADD("holes-stay/anon", ANON, test_holes_stay);
    ADD("holes-stay/memfd", MEMFD, test_holes_stay);
    ADD("swap-comes-meanwhile", ANON, test_swap_comes_meanwhile);
    ADD("swap-and-marks", ANON, test_swap_and_marks);
    ADD("marks-cannot-be-read", ANON, test_marks_cannot_be_read);
    ADD("huge-pages-stay", HUGE, test_huge_pages_stay);
    ADD("huge-pages-come-back", MEMFD, test_huge_pages_come_back);
    ADD("system-call/anon", ANON, test_system_call);
    ADD("system-call/memfd", MEMFD, test_system_call);
    ADD("save-before-discard/anon", ANON, test_save_before_discard);
    ADD("save-before-discard/memfd", MEMFD, test_save_before_discard);
    ADD("some-ranges", MEMFD, test_some_ranges);
    ADD("old-kernel/no-marks", ANON, test_no_marks);
    ADD("no-unnamed-files", ANON, test_no_unnamed_files);
    return g_test_run();
}
