/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "hostmemd.h"

/* Longer than what we write. */
#define MAX_TEXT 32

struct HmPidfile {
    char *path;
    int fd;
};

static gboolean fail(GError **error, const char *what, const char *path,
                     int err)
{
    g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM,
                "cannot create PID file: cannot %s %s: %s", what, path,
                g_strerror(err));
    return FALSE;
}

static gboolean check_folder(const char *path, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(path);

    return access(folder, W_OK | X_OK) == 0 || fail(error, "open", path, errno);
}

static gboolean check_unlocked(int fd, const char *path, GError **error)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    if (fcntl(fd, F_GETLK, &lock) < 0) {
        return fail(error, "lock", path, errno);
    }
    return lock.l_type == F_UNLCK || fail(error, "lock", path, EAGAIN);
}

/* What an earlier process left, or the file is somebody else's: a file of
 * /proc, that is empty but has something to read, too. */
static gboolean check_ours(int fd, const char *path, GError **error)
{
    char text[MAX_TEXT + 1] = {'\0'};
    struct stat st;
    gssize length;

    if (fstat(fd, &st) < 0 || (length = pread(fd, text, MAX_TEXT, 0)) < 0) {
        return fail(error, "read", path, errno);
    }
    if (S_ISREG(st.st_mode) && st.st_size == length &&
        strspn(text, "0123456789 \n") == (gsize)length) {
        return TRUE;
    }
    g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID,
                "cannot create PID file: %s is there and is none: it has "
                "something else in it than the number of a process",
                path);
    return FALSE;
}

/* To create it now would tell that we are ready. */
gboolean hm_pidfile_check(const char *path, GError **error)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    gboolean ok;

    if (fd < 0) {
        return errno == ENOENT ? check_folder(path, error)
                               : fail(error, "open", path, errno);
    }
    ok = check_ours(fd, path, error) && check_unlocked(fd, path, error);
    close(fd);
    return ok;
}

/* Whether @path still names the file that is open: its last owner may have
 * removed it between our open and our lock. */
static gboolean still_there(int fd, const char *path)
{
    struct stat ours, there;
    return fstat(fd, &ours) == 0 && stat(path, &there) == 0 &&
           ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

static gboolean open_locked(HmPidfile *self, GError **error)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    for (;;) {
        self->fd = open(self->path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
        if (self->fd < 0) {
            return fail(error, "open", self->path, errno);
        }
        if (fcntl(self->fd, F_SETLK, &lock) < 0) {
            return fail(error, "lock", self->path, errno);
        }
        if (still_there(self->fd, self->path)) {
            return check_ours(self->fd, self->path, error);
        }
        close(self->fd);
    }
}

static gboolean write_pid(HmPidfile *self, GError **error)
{
    g_autofree char *text = g_strdup_printf("%ld\n", (long)getpid());
    gssize length = strlen(text);

    if (ftruncate(self->fd, 0) < 0) {
        return fail(error, "empty", self->path, errno);
    }
    gssize written = write(self->fd, text, length);
    if (written == length) {
        return TRUE;
    }
    int err = written < 0 ? errno : ENOSPC;
    unlink(self->path);
    return fail(error, "write", self->path, err);
}

static void release(HmPidfile *self)
{
    if (self->fd >= 0) {
        close(self->fd);
    }
    g_free(self->path);
    g_free(self);
}

HmPidfile *hm_pidfile_new(const char *path, GError **error)
{
    HmPidfile *self = g_new0(HmPidfile, 1);

    /* Absolute, because -daemonize leaves the working directory. */
    self->path = g_canonicalize_filename(path, NULL);
    self->fd = -1;
    if (!open_locked(self, error) || !write_pid(self, error)) {
        release(self);
        return NULL;
    }
    return self;
}

void hm_pidfile_free(HmPidfile *self)
{
    unlink(self->path);
    release(self);
}
