/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names, locks and owners on the real kernel.  Mounts: test-export-dir.c. */
#include <errno.h>
#include <glib/gstdio.h>
#include <linux/memfd.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "os-test.h"
#include "util/autofd.h"
#include "util/os.h"

typedef struct {
    char *path;
    int dir;
} Folder;

static void set_up(Folder *self, gconstpointer data G_GNUC_UNUSED)
{
    self->path = g_dir_make_tmp("hostmem-XXXXXX", NULL);
    self->dir = hm_os_open(self->path, O_PATH | O_DIRECTORY, 0);
    g_assert_cmpint(self->dir, >=, 0);
}

static void tear_down(Folder *self, gconstpointer data G_GNUC_UNUSED)
{
    hm_os_close(self->dir);
    g_assert_cmpint(g_rmdir(self->path), ==, 0);
    g_free(self->path);
}

static int make(const Folder *self, const char *name)
{
    int fd = hm_os_open_at(self->dir, name, O_RDWR | O_CREAT | O_EXCL, 0600);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
    return fd;
}

static void test_names(Folder *self, gconstpointer data G_GNUC_UNUSED)
{
    hm_autofd int fd = make(self, "file");

    g_assert_cmpint(
        hm_os_open_at(self->dir, "file", O_RDWR | O_CREAT | O_EXCL, 0600), ==,
        -EEXIST);
    g_assert_cmpint(hm_os_unlink_at(self->dir, "file"), ==, 0);
    g_assert_cmpint(hm_os_unlink_at(self->dir, "file"), ==, -ENOENT);
    g_assert_cmpint(hm_os_open_at(self->dir, "file", O_RDWR, 0), ==, -ENOENT);
}

static void test_unnamed_file_gets_a_name(Folder *self,
                                          gconstpointer data G_GNUC_UNUSED)
{
    hm_autofd int fd = hm_os_tmpfile(self->dir, 0600);
    struct stat st;

    if (hm_test_missing(fd, "an unnamed file") || fd == -EOPNOTSUPP) {
        return;
    }
    g_assert_cmpint(hm_os_link(fd, self->dir, "file"), ==, 0);
    g_assert_cmpint(hm_os_link(fd, self->dir, "file"), ==, -EEXIST);
    g_assert_cmpint(hm_os_stat(fd, &st), ==, 0);
    g_assert_cmpuint(st.st_nlink, ==, 1);
    g_assert_cmpint(hm_os_unlink_at(self->dir, "file"), ==, 0);
}

static void test_mode_and_owner(Folder *self, gconstpointer data G_GNUC_UNUSED)
{
    hm_autofd int fd = make(self, "file");
    struct stat st;

    g_assert_cmpint(hm_os_chmod(fd, 0640), ==, 0);
    g_assert_cmpint(hm_os_chown(fd, getuid(), (gid_t)-1), ==, 0);
    g_assert_cmpint(hm_os_stat(fd, &st), ==, 0);
    g_assert_cmpuint(st.st_mode & 07777, ==, 0640);
    g_assert_cmpuint(st.st_uid, ==, getuid());
    if (geteuid() != 0) {
        g_assert_cmpint(hm_os_chown(fd, 0, 0), ==, -EPERM);
    }
    hm_os_unlink_at(self->dir, "file");
}

static void test_lock(Folder *self, gconstpointer data G_GNUC_UNUSED)
{
    hm_autofd int one = hm_os_open(self->path, O_RDONLY | O_DIRECTORY, 0);
    hm_autofd int two = hm_os_open(self->path, O_RDONLY | O_DIRECTORY, 0);

    g_assert_cmpint(hm_os_flock(one), ==, 0);
    g_assert_cmpint(hm_os_flock(one), ==, 0);
    g_assert_cmpint(hm_os_flock(two), ==, -EAGAIN);
}

static void test_only_user(Folder *self, gconstpointer data G_GNUC_UNUSED)
{
    hm_autofd int fd = make(self, "file");
    int other;
    void *map;

    g_assert_cmpint(hm_os_truncate(fd, 4096), ==, 0);
    g_assert_cmpint(hm_os_only_user(fd), ==, 1);
    other = hm_os_open_at(self->dir, "file", O_RDONLY, 0);
    g_assert_cmpint(hm_os_only_user(fd), ==, 0);
    map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, other, 0);
    hm_os_close(other);
    g_assert_cmpint(hm_os_only_user(fd), ==, 0);
    munmap(map, 4096);
    g_assert_cmpint(hm_os_only_user(fd), ==, 1);
    hm_os_unlink_at(self->dir, "file");
    g_assert_cmpint(hm_os_only_user(self->dir), ==, -EBADF);
}

static void test_only_user_of_a_sealed_memfd(Folder *self G_GNUC_UNUSED,
                                             gconstpointer data G_GNUC_UNUSED)
{
    hm_autofd int memfd = hm_os_memfd("test", MFD_ALLOW_SEALING);
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", memfd);
    hm_autofd int fd = -1;
    hm_autofd int other = -1;

    g_assert_cmpint(hm_os_add_seals(memfd, F_SEAL_GROW | F_SEAL_SHRINK), ==, 0);
    fd = hm_os_open(path, O_RDWR, 0);
    hm_os_close(hm_steal_fd(&memfd));
    g_assert_cmpint(hm_os_only_user(fd), ==, 1);
    g_free(path);
    path = g_strdup_printf("/proc/self/fd/%d", fd);
    other = hm_os_open(path, O_RDWR, 0);
    g_assert_cmpint(hm_os_only_user(fd), ==, 0);
}

/* Opens it again and again, until it is killed. */
static pid_t start_opener(const char *path)
{
    pid_t child = fork();

    g_assert_cmpint(child, >=, 0);
    while (child == 0) {
        close(open(path, O_RDONLY | O_CLOEXEC));
    }
    return child;
}

static void
test_only_user_survives_who_opens_it(Folder *self,
                                     gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *path = g_build_filename(self->path, "file", NULL);
    hm_autofd int fd = make(self, "file");
    pid_t opener = start_opener(path);

    for (guint i = 0; i < 20000; i++) {
        int ret = hm_os_only_user(fd);

        g_assert_true(ret == 0 || ret == 1);
    }
    kill(opener, SIGKILL);
    g_assert_cmpint(waitpid(opener, NULL, 0), ==, opener);
    hm_os_unlink_at(self->dir, "file");
}

#define ADD(name, func) \
    g_test_add("/os-names/" name, Folder, NULL, set_up, func, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("names", test_names);
    ADD("unnamed-file-gets-a-name", test_unnamed_file_gets_a_name);
    ADD("mode-and-owner", test_mode_and_owner);
    ADD("lock", test_lock);
    ADD("only-user", test_only_user);
    ADD("only-user-of-a-sealed-memfd", test_only_user_of_a_sealed_memfd);
    ADD("only-user-survives-who-opens-it",
        test_only_user_survives_who_opens_it);
    return g_test_run();
}
