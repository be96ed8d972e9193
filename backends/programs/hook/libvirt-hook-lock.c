/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * libvirt calls its hooks for a domain one after the other; but others may call
 * them as well, while one is still at work.  Each call of ours has a lock on a
 * file that stands for the domain in this folder of libvirt's.  Only root may
 * write where that is: the user of QEMU could keep us from working otherwise.
 *
 * The file goes with the call.  One that was killed leaves it, without the
 * lock, to the next one.  So who gets the lock looks whether it is still that
 * of the file of that name.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "libvirt-hook.h"

#define ROOT_DIR "/run"
#define PREFIX   "hostmem-libvirt-hook-"
#define POLL_US  (10 * 1000)

struct HookLock {
    char *path;
    int fd;
};

static char *volatile held; /* the path of the lock that we have */

/* (transfer full): names of domains may have any characters. */
static char *path_of(const HookDomain *domain, const HookBlock *block)
{
    const char *dir = geteuid() == 0 ? ROOT_DIR : g_get_user_runtime_dir();
    g_autofree char *key = g_strconcat(block->base, "/", domain->name, NULL);
    g_autofree char *sum =
        g_compute_checksum_for_string(G_CHECKSUM_SHA256, key, -1);

    return g_strdup_printf("%s/" PREFIX "%.32s", dir, sum);
}

static gboolean refuse(const char *path, const char *what, GError **error)
{
    return hook_refuse(error, HOSTMEM_ERROR_SYSTEM, "cannot %s %s: %s", what,
                       path, g_strerror(errno));
}

static gboolean is_current(const HookLock *self)
{
    struct stat ours, there;

    return fstat(self->fd, &ours) == 0 && lstat(self->path, &there) == 0 &&
           ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

static void close_file(HookLock *self)
{
    close(self->fd);
    self->fd = -1;
}

static gboolean open_file(HookLock *self, GError **error)
{
    if (self->fd < 0) {
        self->fd =
            open(self->path,
                 O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    }
    return self->fd >= 0 || refuse(self->path, "open", error);
}

/* FALSE without an error: somebody else has it, or has had it until now. */
static gboolean try(HookLock *self, GError **error)
{
    if (!open_file(self, error)) {
        return FALSE;
    }
    if (flock(self->fd, LOCK_EX | LOCK_NB) < 0) {
        return errno != EWOULDBLOCK && errno != EINTR &&
               refuse(self->path, "lock", error);
    }
    if (!is_current(self)) {
        close_file(self);
    }
    return self->fd >= 0;
}

static void lock_free(HookLock *self)
{
    if (self->fd >= 0) {
        close_file(self);
    }
    g_free(self->path);
    g_free(self);
}

HookLock *hook_lock_take(const HookDomain *domain, const HookBlock *block,
                         GCancellable *cancellable, GError **error)
{
    HookLock *self = g_new0(HookLock, 1);
    GError *why = NULL;

    self->fd = -1;
    self->path = path_of(domain, block);
    while (!try(self, &why)) {
        if (!why && g_cancellable_is_cancelled(cancellable)) {
            hook_refuse(&why, HOSTMEM_ERROR_BUSY,
                        "another call for this domain is still at work");
        }
        if (why) {
            g_propagate_error(error, why);
            lock_free(self);
            return NULL;
        }
        g_usleep(POLL_US);
    }
    held = self->path;
    return self;
}

void hook_lock_release(HookLock *self)
{
    held = NULL;
    unlink(self->path);
    lock_free(self);
}

void hook_lock_drop(void)
{
    const char *path = held;

    if (path) {
        unlink(path);
    }
}
