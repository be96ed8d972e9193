/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * The part of the kernel's door that is about names: where files and mounts
 * are found, whose they are, and who else has them.  A directory is a
 * descriptor here, so that nobody can put another one in its place between two
 * calls.
 */
#include <linux/mount.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "util/autofd.h"
#include "util/os-private.h"
#include "util/os.h"

/* "/proc/self/fd/" and a number. */
#define FD_PATH_SIZE 32

static void write_fd_path(char *path, int fd)
{
    snprintf(path, FD_PATH_SIZE, "/proc/self/fd/%d", fd);
}

/* files */

int hm_os_open_at(int dir_fd, const char *name, int flags, mode_t mode)
{
    return result(TEMP_FAILURE_RETRY(
        openat(dir_fd, name, flags | O_CLOEXEC | O_NOCTTY, mode)));
}

int hm_os_unlink_at(int dir_fd, const char *name)
{
    return result(unlinkat(dir_fd, name, 0));
}

/* AT_EMPTY_PATH instead of /proc would need CAP_DAC_READ_SEARCH. */
int hm_os_link(int fd, int dir_fd, const char *name)
{
    char path[FD_PATH_SIZE];

    write_fd_path(path, fd);
    return result(linkat(AT_FDCWD, path, dir_fd, name, AT_SYMLINK_FOLLOW));
}

int hm_os_chown(int fd, uid_t uid, gid_t gid)
{
    return result(fchown(fd, uid, gid));
}

int hm_os_flock(int fd)
{
    return result(TEMP_FAILURE_RETRY(flock(fd, LOCK_EX | LOCK_NB)));
}

/*
 * A lease on writing can be had of a file that nobody else has open.  Whoever
 * opens it while we have one waits, and we get a signal: one that is ignored
 * unless somebody wants it, because SIGIO would kill us.
 */
int hm_os_only_user(int fd)
{
    int ret = result(fcntl(fd, F_SETSIG, SIGURG));

    if (ret < 0) {
        return ret;
    }
    ret = result(fcntl(fd, F_SETLEASE, F_WRLCK));
    if (ret == -EAGAIN) {
        return 0;
    }
    if (ret < 0) {
        return ret;
    }
    ret = result(fcntl(fd, F_SETLEASE, F_UNLCK));
    /* Another thread that asks at the same time has given it back. */
    return ret < 0 && ret != -EAGAIN ? ret : 1;
}

/* mounts */

static int set_text(int context, const char *key, const char *value)
{
    return result(
        syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, key, value, 0));
}

static int set_options(int context, const HmTmpfsOptions *options)
{
    g_autofree char *size =
        g_strdup_printf("%" G_GUINT64_FORMAT, options->size);
    g_autofree char *mode = g_strdup_printf("%04o", (unsigned)options->mode);
    const char *texts[][2] = {{"huge", options->huge},
                              {"size", size},
                              {"mode", mode},
                              {"source", options->source}};
    int ret = 0;

    for (guint i = 0; ret == 0 && i < G_N_ELEMENTS(texts); i++) {
        if (texts[i][1]) {
            ret = set_text(context, texts[i][0], texts[i][1]);
        }
    }
    return ret;
}

int hm_os_tmpfs(const HmTmpfsOptions *options)
{
    hm_autofd int context =
        result(syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC));
    int ret;

    if (context < 0) {
        return hm_steal_fd(&context);
    }
    ret = set_options(context, options);
    if (ret < 0) {
        return ret;
    }
    ret = result(
        syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
    if (ret < 0) {
        return ret;
    }
    return result(
        syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC,
                MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
}

int hm_os_attach(int mount_fd, int dir_fd)
{
    return result(syscall(SYS_move_mount, mount_fd, "", dir_fd, "",
                          MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
}

int hm_os_detach(int root_fd)
{
    char path[FD_PATH_SIZE];

    write_fd_path(path, root_fd);
    return result(umount2(path, MNT_DETACH));
}
