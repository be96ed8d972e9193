/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* File and process primitives on the real kernel. */
#include <errno.h>
#include <glib/gstdio.h>
#include <linux/memfd.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "os-test.h"
#include "util/autofd.h"
#include "util/os.h"
#include "util/size.h"

#define HUGE_PAGE (2 * HM_MIB)

static const HmTmpfsOptions huge_tmpfs = {.huge = "always", .mode = 0700};

static gsize page_size(void)
{
    return hm_os_page_size();
}

static void check_cloexec(int fd)
{
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
}

static void test_open_closes_on_exec(void)
{
    hm_autofd int fd = hm_os_open("/dev/null", O_RDWR, 0);

    check_cloexec(fd);
    g_assert_cmpint(hm_os_open("/nowhere/x", O_RDWR, 0), ==, -ENOENT);
    g_assert_cmpint(hm_os_open("/dev", O_RDWR, 0), ==, -EISDIR);
}

static void test_close_of_a_closed_one_fails(void)
{
    int fd = hm_os_open("/dev/null", O_RDWR, 0);

    g_assert_cmpint(hm_os_close(fd), ==, 0);
    g_assert_cmpint(hm_os_close(fd), ==, -EBADF);
}

static void test_memfd_can_be_sealed(void)
{
    hm_autofd int fd = hm_os_memfd("test", MFD_ALLOW_SEALING);

    check_cloexec(fd);
    g_assert_cmpint(hm_os_truncate(fd, 4096), ==, 0);
    g_assert_cmpint(hm_os_add_seals(fd, F_SEAL_GROW | F_SEAL_SHRINK), ==, 0);
    g_assert_cmpint(hm_os_truncate(fd, 8192), ==, -EPERM);
    g_assert_cmpint(hm_os_truncate(fd, 0), ==, -EPERM);
}

static void test_memfd_without_sealing_cannot(void)
{
    hm_autofd int fd = hm_os_memfd("test", 0);

    check_cloexec(fd);
    g_assert_cmpint(hm_os_add_seals(fd, F_SEAL_GROW), ==, -EPERM);
    g_assert_cmpint(hm_os_truncate(fd, 8192), ==, 0);
    g_assert_cmpint(hm_os_truncate(fd, 4096), ==, 0);
}

static void test_memfd_is_not_executable(void)
{
    hm_autofd int fd = hm_os_memfd("test", MFD_ALLOW_SEALING);
    struct stat st;

    if (!(fcntl(fd, F_GET_SEALS) & F_SEAL_EXEC)) {
        g_test_skip("kernel before 6.3");
        return;
    }
    g_assert_cmpint(hm_os_stat(fd, &st), ==, 0);
    g_assert_cmpuint(st.st_mode & 0111, ==, 0);
}

static void without_noexec(void)
{
    hm_test_deny(SYS_memfd_create, 1, MFD_NOEXEC_SEAL, EINVAL);
    test_memfd_can_be_sealed();
    test_memfd_without_sealing_cannot();
}

static void test_memfd_on_a_kernel_without_noexec(void)
{
    hm_test_in_child(without_noexec);
}

static void test_memfd_of_unknown_huge_page_size(void)
{
    unsigned flags = MFD_HUGETLB | 16u << MFD_HUGE_SHIFT; /* 64 KiB */

    g_assert_cmpint(hm_os_memfd("test", flags), <, 0);
}

static guint count_shm_files(void)
{
    g_auto(GStrv) names = NULL;

    g_assert_cmpint(hm_os_list_dir("/dev/shm", &names), ==, 0);
    return g_strv_length(names);
}

static void test_shm_has_no_name(void)
{
    guint before = count_shm_files();
    hm_autofd int one = hm_os_shm();
    hm_autofd int other = hm_os_shm();
    struct stat a, b;

    check_cloexec(one);
    check_cloexec(other);
    g_assert_cmpuint(count_shm_files(), ==, before);
    g_assert_cmpint(hm_os_stat(one, &a), ==, 0);
    g_assert_cmpint(hm_os_stat(other, &b), ==, 0);
    g_assert_cmpuint(a.st_nlink, ==, 0);
    g_assert_cmpuint(a.st_mode & 0777, ==, 0);
    g_assert_cmpuint(a.st_ino, !=, b.st_ino);
}

static void test_tmpfs_has_huge_pages_and_no_limit(void)
{
    hm_autofd int root = hm_os_tmpfs(&huge_tmpfs);
    hm_autofd int fd = -1;
    struct statfs fs;
    struct stat st;

    if (hm_test_missing(root, "mounting a tmpfs")) {
        return;
    }
    check_cloexec(root);
    g_assert_cmpint(hm_os_statfs(root, &fs), ==, 0);
    g_assert_cmpint((gint64)fs.f_type, ==, TMPFS_MAGIC);
    g_assert_cmpuint(fs.f_blocks, ==, 0);
    fd = hm_os_tmpfile(root, 0600);
    check_cloexec(fd);
    g_assert_cmpint(hm_os_truncate(fd, 2 * HUGE_PAGE), ==, 0);
    g_assert_cmpint(hm_os_allocate(fd, 0, page_size()), ==, 0);
    g_assert_cmpint(hm_os_stat(fd, &st), ==, 0);
    g_assert_cmpuint((guint64)st.st_blocks * 512, ==, HUGE_PAGE);
}

static void test_tmpfs_refuses_an_unknown_policy(void)
{
    const HmTmpfsOptions options = {.huge = "sometimes", .mode = 0700};
    int ret = hm_os_tmpfs(&options);

    if (ret != -EPERM && ret != -ENOSYS) {
        g_assert_cmpint(ret, ==, -EINVAL);
    }
}

static void without_fsopen(void)
{
    hm_test_deny(SYS_fsopen, 1, 0, ENOSYS);
    g_assert_cmpint(hm_os_tmpfs(&huge_tmpfs), ==, -ENOSYS);
}

static void test_tmpfs_on_a_kernel_without_fsopen(void)
{
    hm_test_in_child(without_fsopen);
}

static void test_tmpfile_needs_a_directory(void)
{
    hm_autofd int null = hm_os_open("/dev/null", O_RDWR, 0);
    hm_autofd int proc = hm_os_open("/proc", O_PATH | O_DIRECTORY, 0);

    g_assert_cmpint(hm_os_tmpfile(null, 0600), ==, -ENOTDIR);
    g_assert_cmpint(hm_os_tmpfile(proc, 0600), ==, -EOPNOTSUPP);
}

static void test_unlink_removes(void)
{
    g_autofree char *dir = g_dir_make_tmp("hostmem-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "file", NULL);
    hm_autofd int fd = hm_os_open(path, O_RDWR | O_CREAT | O_EXCL, 0600);

    check_cloexec(fd);
    g_assert_cmpint(hm_os_unlink(path), ==, 0);
    g_assert_cmpint(hm_os_unlink(path), ==, -ENOENT);
    g_rmdir(dir);
}

static void test_nothing_ordinary_is_dax(void)
{
    hm_autofd int null = hm_os_open("/dev/null", O_RDWR, 0);
    hm_autofd int memfd = hm_os_memfd("test", 0);

    g_assert_cmpint(hm_os_is_dax(null), ==, 0);
    g_assert_cmpint(hm_os_is_dax(memfd), ==, 0);
    g_assert_cmpint(hm_os_is_dax(-1), ==, -EBADF);
}

static void test_truncate_of_2_to_the_63(void)
{
    hm_autofd int fd = hm_os_memfd("test", 0);

    g_assert_cmpint(hm_os_truncate(fd, (guint64)G_MAXINT64 + 1), ==, -EINVAL);
    g_assert_cmpint(hm_os_truncate(fd, G_MAXUINT64), ==, -EINVAL);
}

static void test_allocate_and_punch_move_storage(void)
{
    gsize page = page_size();
    hm_autofd int fd = hm_os_memfd("test", 0);
    struct stat st;

    g_assert_cmpint(hm_os_truncate(fd, 4 * page), ==, 0);
    g_assert_cmpint(hm_os_seek(fd, 0, SEEK_DATA), ==, -ENXIO);
    g_assert_cmpint(hm_os_allocate(fd, page, 2 * page), ==, 0);
    hm_os_stat(fd, &st);
    g_assert_cmpuint((guint64)st.st_blocks * 512, ==, 2 * page);
    g_assert_cmpint(hm_os_punch(fd, page, page), ==, 0);
    hm_os_stat(fd, &st);
    g_assert_cmpuint((guint64)st.st_blocks * 512, ==, page);
    g_assert_cmpint(st.st_size, ==, (gint64)(4 * page));
    g_assert_cmpint(hm_os_allocate(fd, G_MAXINT64, page), <, 0);
}

static void test_seek_finds_data(void)
{
    gsize page = page_size();
    hm_autofd int fd = hm_os_memfd("test", 0);

    g_assert_cmpint(hm_os_truncate(fd, 4 * page), ==, 0);
    g_assert_cmpint(pwrite(fd, "x", 1, (off_t)(2 * page)), ==, 1);
    g_assert_cmpint(hm_os_seek(fd, 0, SEEK_DATA), ==, (gint64)(2 * page));
    g_assert_cmpint(hm_os_seek(fd, 2 * page, SEEK_HOLE), ==,
                    (gint64)(3 * page));
}

/* this process and host */

static void test_affinity_is_read_and_written(void)
{
    g_autoptr(HmIdset) before = hm_idset_new();
    g_autoptr(HmIdset) one = hm_idset_new();
    g_autoptr(HmIdset) after = hm_idset_new();
    guint cpu = 0;

    g_assert_cmpint(hm_os_get_affinity(0, before), ==, 0);
    g_assert_true(hm_idset_next(before, 0, &cpu));
    hm_idset_add(one, cpu);
    g_assert_cmpint(hm_os_set_affinity(hm_os_thread_id(), one), ==, 0);
    hm_idset_add(after, HM_IDSET_MAX);
    g_assert_cmpint(hm_os_get_affinity(0, after), ==, 0);
    g_assert_cmpuint(hm_idset_count(after), ==, 1);
    g_assert_true(hm_idset_contains(after, cpu));
    g_assert_cmpint(hm_os_set_affinity(0, before), ==, 0);
}

static void test_affinity_to_no_cpu_is_refused(void)
{
    g_autoptr(HmIdset) cpus = hm_idset_new();

    g_assert_cmpint(hm_os_set_affinity(0, cpus), ==, -EINVAL);
    hm_idset_add(cpus, HM_IDSET_MAX);
    g_assert_cmpint(hm_os_set_affinity(0, cpus), ==, -EINVAL);
}

typedef struct {
    HmPriority priority;
    int policy;
    int nice;
} Scheduling;

/* In a thread, because there may be no way back. */
static gpointer lower_and_look(gpointer data)
{
    Scheduling *is = data;

    g_assert_cmpint(hm_os_lower_priority(is->priority), ==, 0);
    is->policy = sched_getscheduler(0);
    is->nice = getpriority(PRIO_PROCESS, (id_t)hm_os_thread_id());
    return NULL;
}

static Scheduling scheduling_of(HmPriority priority)
{
    Scheduling is = {.priority = priority};

    g_thread_join(g_thread_new("lower", lower_and_look, &is));
    return is;
}

static void test_priority_is_lowered_for_one_thread(void)
{
    int policy = sched_getscheduler(0);
    int nice = getpriority(PRIO_PROCESS, 0);

    g_assert_cmpint(scheduling_of(HM_PRIORITY_NORMAL).policy, ==, policy);
    g_assert_cmpint(scheduling_of(HM_PRIORITY_NORMAL).nice, ==, nice);
    g_assert_cmpint(scheduling_of(HM_PRIORITY_LOW).policy, ==, policy);
    g_assert_cmpint(scheduling_of(HM_PRIORITY_LOW).nice, ==, 19);
    g_assert_cmpint(scheduling_of(HM_PRIORITY_IDLE).policy, ==, SCHED_IDLE);
    g_assert_cmpint(sched_getscheduler(0), ==, policy);
    g_assert_cmpint(getpriority(PRIO_PROCESS, 0), ==, nice);
}

static void test_get_limit_tells_the_soft_one(void)
{
    struct rlimit both;
    guint64 limit = 0;

    g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &both), ==, 0);
    g_assert_cmpint(hm_os_get_limit(RLIMIT_NOFILE, &limit), ==, 0);
    g_assert_cmpuint(limit, ==, both.rlim_cur);
    g_assert_cmpint(hm_os_get_limit(9999, &limit), ==, -EINVAL);
}

static void test_now_goes_forward(void)
{
    gint64 before = hm_os_now();

    g_assert_cmpint(hm_os_now(), >=, before);
}

static void test_read_text_of_proc(void)
{
    g_autofree char *text = NULL;
    g_autofree char *expect = g_strdup_printf("\nPid:\t%d\n", getpid());

    g_assert_cmpint(hm_os_read_text("/proc/self/status", &text), ==, 0);
    g_assert_nonnull(strstr(text, expect));
}

static void test_read_text_fails_without_a_result(void)
{
    char *text = NULL;

    g_assert_cmpint(hm_os_read_text("/proc/nothing", &text), ==, -ENOENT);
    g_assert_cmpint(hm_os_read_text("/proc", &text), ==, -EISDIR);
    g_assert_null(text);
}

static void test_read_text_stops_at_1_mib(void)
{
    g_autofree char *dir = g_dir_make_tmp("hostmem-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "file", NULL);
    g_autofree char *big = g_strnfill(HM_MIB, 'x');
    g_autofree char *text = NULL;

    g_assert_true(g_file_set_contents(path, big, HM_MIB, NULL));
    g_assert_cmpint(hm_os_read_text(path, &text), ==, 0);
    g_assert_cmpuint(strlen(text), ==, HM_MIB);
    g_clear_pointer(&text, g_free);
    g_assert_cmpint(truncate(path, HM_MIB + 1), ==, 0);
    g_assert_cmpint(hm_os_read_text(path, &text), ==, -EFBIG);
    g_unlink(path);
    g_rmdir(dir);
}

static void test_list_dir_is_sorted(void)
{
    g_auto(GStrv) names = NULL;

    g_assert_cmpint(hm_os_list_dir("/proc/self", &names), ==, 0);
    g_assert_true(g_strv_contains((const char *const *)names, "pagemap"));
    g_assert_false(g_strv_contains((const char *const *)names, ".."));
    for (guint i = 1; names[i]; i++) {
        g_assert_cmpint(strcmp(names[i - 1], names[i]), <, 0);
    }
}

static void test_list_dir_of_nothing(void)
{
    GStrv names = NULL;

    g_assert_cmpint(hm_os_list_dir("/proc/nothing", &names), ==, -ENOENT);
    g_assert_null(names);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/os-files/open-closes-on-exec", test_open_closes_on_exec);
    g_test_add_func("/os-files/close-of-a-closed-one-fails",
                    test_close_of_a_closed_one_fails);
    g_test_add_func("/os-files/memfd/can-be-sealed", test_memfd_can_be_sealed);
    g_test_add_func("/os-files/memfd/without-sealing-cannot",
                    test_memfd_without_sealing_cannot);
    g_test_add_func("/os-files/memfd/is-not-executable",
                    test_memfd_is_not_executable);
    g_test_add_func("/os-files/memfd/on-a-kernel-without-noexec",
                    test_memfd_on_a_kernel_without_noexec);
    g_test_add_func("/os-files/memfd/of-unknown-huge-page-size",
                    test_memfd_of_unknown_huge_page_size);
    g_test_add_func("/os-files/shm-has-no-name", test_shm_has_no_name);
    g_test_add_func("/os-files/tmpfs/has-huge-pages-and-no-limit",
                    test_tmpfs_has_huge_pages_and_no_limit);
    g_test_add_func("/os-files/tmpfs/refuses-an-unknown-policy",
                    test_tmpfs_refuses_an_unknown_policy);
    g_test_add_func("/os-files/tmpfs/on-a-kernel-without-fsopen",
                    test_tmpfs_on_a_kernel_without_fsopen);
    g_test_add_func("/os-files/tmpfile-needs-a-directory",
                    test_tmpfile_needs_a_directory);
    g_test_add_func("/os-files/unlink-removes", test_unlink_removes);
    g_test_add_func("/os-files/nothing-ordinary-is-dax",
                    test_nothing_ordinary_is_dax);
    g_test_add_func("/os-files/truncate-of-2-to-the-63",
                    test_truncate_of_2_to_the_63);
    g_test_add_func("/os-files/allocate-and-punch-move-storage",
                    test_allocate_and_punch_move_storage);
    g_test_add_func("/os-files/seek-finds-data", test_seek_finds_data);
    g_test_add_func("/os-files/affinity-is-read-and-written",
                    test_affinity_is_read_and_written);
    g_test_add_func("/os-files/priority-is-lowered-for-one-thread",
                    test_priority_is_lowered_for_one_thread);
    g_test_add_func("/os-files/affinity-to-no-cpu-is-refused",
                    test_affinity_to_no_cpu_is_refused);
    g_test_add_func("/os-files/get-limit-tells-the-soft-one",
                    test_get_limit_tells_the_soft_one);
    g_test_add_func("/os-files/now-goes-forward", test_now_goes_forward);
    g_test_add_func("/os-files/read-text/of-proc", test_read_text_of_proc);
    g_test_add_func("/os-files/read-text/fails-without-a-result",
                    test_read_text_fails_without_a_result);
    g_test_add_func("/os-files/read-text/stops-at-1-mib",
                    test_read_text_stops_at_1_mib);
    g_test_add_func("/os-files/list-dir/is-sorted", test_list_dir_is_sorted);
    g_test_add_func("/os-files/list-dir/of-nothing", test_list_dir_of_nothing);
    return g_test_run();
}
