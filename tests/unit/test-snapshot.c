/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>
#include <hostmem/error.h>
#include "os-fake.h"
#include "snapshot-test.h"
#include "util/mmap.h"
#include "util/size.h"
#include "util/snapshot.h"

#define SIZE (32 * HM_MIB)

/* Memory, and where its image goes. */
typedef struct {
    HmBacking backing;
    HmMapping mapping;
    char *folder;
    char *path;
    HmProgress progress;
    HmSnapshotOptions options;
} Fixture;

typedef enum {
    ANON,
    HUGE,
    MEMFD,
} Kind;

static void map_kind(Fixture *fixture, Kind kind)
{
    const HmMappingOptions options = {.name = "test"};
    g_autoptr(GError) error = NULL;

    if (kind == MEMFD) {
        hm_backing_init_memfd(&fixture->backing, "test", SIZE, 0, TRUE, TRUE,
                              &error);
    } else {
        hm_backing_init_anon(&fixture->backing, SIZE, &error);
    }
    g_assert_no_error(error);
    hm_mapping_init(&fixture->mapping, &fixture->backing, &options, &error);
    g_assert_no_error(error);
    hm_os_advise(fixture->mapping.addr, SIZE,
                 kind == HUGE ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

static void set_up(Fixture *fixture, gconstpointer data)
{
    hm_fake_reset();
    fixture->backing = (HmBacking)HM_BACKING_INIT;
    map_kind(fixture, (Kind)GPOINTER_TO_INT(data));
    fixture->folder = g_dir_make_tmp("hostmem-snapshot-XXXXXX", NULL);
    fixture->path = g_build_filename(fixture->folder, "image", NULL);
    fixture->options = (HmSnapshotOptions){
        .backing = &fixture->backing,
        .addr = fixture->mapping.addr,
        .size = SIZE,
        .path = fixture->path,
        .threads = 2,
        .progress = &fixture->progress,
    };
}

static void tear_down(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    hm_fake_reset();
    g_unlink(fixture->path);
    g_assert_cmpint(g_rmdir(fixture->folder), ==, 0);
    hm_mapping_clear(&fixture->mapping);
    hm_backing_clear(&fixture->backing);
    g_free(fixture->folder);
    g_free(fixture->path);
}

static HmSnapshot *start(Fixture *fixture)
{
    g_autoptr(HmRangeList) all = hm_range_list_new();
    g_autoptr(GError) error = NULL;
    const HmRange range = {0, SIZE};
    HmSnapshot *snapshot = hm_snapshot_new(&fixture->options, &error);

    g_assert_no_error(error);
    hm_range_list_add(all, &range);
    hm_snapshot_arm(snapshot, all, &error);
    g_assert_no_error(error);
    return snapshot;
}

static void run(HmSnapshot *snapshot)
{
    g_autoptr(GError) error = NULL;

    hm_snapshot_run(snapshot, NULL, &error);
    g_assert_no_error(error);
}

/* (transfer full): what the image holds; munmap() it. */
static guint8 *load(Fixture *fixture)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HmImage) image = hm_image_open(fixture->path, SIZE, &error);
    void *addr;

    g_assert_no_error(error);
    g_assert_cmpint(hm_os_map(NULL, SIZE, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &addr),
                    ==, 0);
    hm_image_load(image, addr, 2, NULL, NULL, &error);
    g_assert_no_error(error);
    return addr;
}

static gboolean can_protect(void)
{
    const char *why = hm_test_no_write_protect();

    if (why) {
        g_test_skip(why);
    }
    return !why;
}

/* Tests */

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

static void test_taken_name(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    if (can_protect()) {
        g_assert_true(g_file_set_contents(fixture->path, "mine", -1, NULL));
        assert_refused(fixture, HOSTMEM_ERROR_EXISTS, fixture->path);
    }
}

/* A filesystem without unnamed files. */
static void test_no_unnamed_files(Fixture *fixture, gconstpointer data)
{
    if (can_protect()) {
        hm_fake_fail_always(HM_FAKE_TMPFILE, EOPNOTSUPP);
        test_before_and_after(fixture, data);
    }
}

#define ADD(path, kind, func)                                             \
    g_test_add("/snapshot/" path, Fixture, GINT_TO_POINTER(kind), set_up, \
               func, tear_down)

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
    ADD("huge-pages-stay", HUGE, test_huge_pages_stay);
    ADD("huge-pages-come-back", MEMFD, test_huge_pages_come_back);
    ADD("system-call/anon", ANON, test_system_call);
    ADD("system-call/memfd", MEMFD, test_system_call);
    ADD("save-before-discard/anon", ANON, test_save_before_discard);
    ADD("save-before-discard/memfd", MEMFD, test_save_before_discard);
    ADD("some-ranges", MEMFD, test_some_ranges);
    ADD("fails/disk-full", ANON, test_disk_full);
    ADD("fails/cannot-sync", MEMFD, test_cannot_sync);
    ADD("fails/cannot-lift", MEMFD, test_cannot_lift);
    ADD("fails/cannot-read", ANON, test_cannot_read);
    ADD("fails/cannot-be-told", ANON, test_cannot_be_told);
    ADD("fails/cannot-arm", ANON, test_cannot_arm);
    ADD("fails/cancelled", ANON, test_cancelled);
    ADD("fails/dropped", MEMFD, test_dropped);
    ADD("refused/not-allowed", ANON, test_not_allowed);
    ADD("refused/no-userfaultfd", ANON, test_no_faultfd);
    ADD("refused/no-write-protect", ANON, test_no_write_protect);
    ADD("refused/no-shared-write-protect", MEMFD, test_no_shared_write_protect);
    ADD("refused/taken-name", ANON, test_taken_name);
    ADD("old-kernel/no-marks", ANON, test_no_marks);
    ADD("no-unnamed-files", ANON, test_no_unnamed_files);
    return g_test_run();
}
