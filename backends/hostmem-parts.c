/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include "backends/hostmem-snapshot.h"
#include "backends/hostmem.h"
#include "util/error.h"
#include "util/os.h"

/* Several files, of a pool. */
static void copy_parts(HostmemBackend *self)
{
    const HmBacking *backing = &self->backing;

    self->parts = g_new(HostmemBackendPart, backing->n_parts);
    self->n_parts = backing->n_parts;
    for (guint i = 0; i < backing->n_parts; i++) {
        const HmBackingPart *part = &backing->parts[i];

        self->parts[i] = (HostmemBackendPart){
            .fd = part->fd,
            .fd_offset = part->fd_offset,
            .offset = part->offset,
            .length = part->length,
        };
    }
}

static void keep_old_parts(HostmemBackend *self)
{
    if (!self->old_parts) {
        self->old_parts = g_ptr_array_new_with_free_func(g_free);
    }
    g_ptr_array_add(self->old_parts, self->parts);
}

void hm_backend_set_parts(HostmemBackend *self)
{
    if (self->parts) {
        keep_old_parts(self);
    }
    if (self->backing.parts) {
        copy_parts(self);
        return;
    }
    if (!self->backing.shared || self->backing.fd < 0) {
        return;
    }
    self->parts = g_new(HostmemBackendPart, 1);
    self->n_parts = 1;
    self->parts[0] = (HostmemBackendPart){
        .fd = self->backing.fd,
        .fd_offset = self->backing.offset,
        .length = self->backing.length,
    };
}

void hm_backend_clear_parts(HostmemBackend *self)
{
    g_clear_pointer(&self->parts, g_free);
    g_clear_pointer(&self->old_parts, g_ptr_array_unref);
    self->n_parts = 0;
}

const HostmemBackendPart *hostmem_backend_get_parts(HostmemBackend *self,
                                                    guint *n_parts)
{
    g_autoptr(GRWLockReaderLocker) locker = NULL;

    g_return_val_if_fail(n_parts, NULL);
    *n_parts = 0;
    g_return_val_if_fail(HOSTMEM_IS_BACKEND(self), NULL);

    if (!hm_object_is_complete(HOSTMEM_OBJECT(self))) {
        return NULL;
    }
    locker = g_rw_lock_reader_locker_new(&self->extent_lock);
    *n_parts = self->n_parts;
    return self->parts;
}

static void refuse_private(HostmemBackend *self, GError **error)
{
    g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(self));

    hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                 hm_object_is_complete(HOSTMEM_OBJECT(self))
                     ? "the memory of %s is private and cannot be handed "
                       "over; create it with share=on"
                     : "the memory of %s is not ready to be handed over",
                 what);
}

/*
 * A file without a name can only be opened by who has a descriptor of it; a
 * VMM of another user, which opens what it inherited anew, shall be able to.
 * But of what a pool has lent, who had it before may have kept a descriptor
 * that has opened nothing yet (O_PATH): the mode keeps it from doing so.
 */
static void let_holders_open(HostmemBackend *self, int fd)
{
    struct stat st;
    uid_t uid;

    if (self->loan || hm_backend_get_export_uid(self, &uid)) {
        return; /* a pool's is ours alone, and the other is theirs */
    }
    if (hm_os_stat(fd, &st) == 0 && st.st_nlink == 0) {
        hm_os_chmod(fd, 0666);
    }
}

static int reopen(HostmemBackend *self, const HostmemBackendPart *part,
                  GError **error)
{
    g_autofree char *what = NULL;
    int fd;

    let_holders_open(self, part->fd);
    fd = hm_os_reopen(part->fd, self->backing.readonly ? O_RDONLY : O_RDWR);
    if (fd >= 0) {
        return fd;
    }
    what = hm_object_describe(HOSTMEM_OBJECT(self));
    hm_set_error_errno(error, -fd, "cannot open the memory of %s anew", what);
    return -1;
}

static gboolean check_shot(HostmemBackend *self, GError **error)
{
    g_autofree char *what = NULL;

    if (hm_backend_may_expose(self)) {
        return TRUE;
    }
    what = hm_object_describe(HOSTMEM_OBJECT(self));
    return hm_set_error(error, HOSTMEM_ERROR_BUSY,
                        "the memory of %s cannot be handed over while a "
                        "snapshot of it is taken",
                        what);
}

int hostmem_backend_dup_fd(HostmemBackend *self, guint part, GError **error)
{
    const HostmemBackendPart *parts;
    guint n_parts;
    int fd;

    g_return_val_if_fail(HOSTMEM_IS_BACKEND(self), -1);

    parts = hostmem_backend_get_parts(self, &n_parts);
    if (!parts) {
        refuse_private(self, error);
        return -1;
    }
    g_return_val_if_fail(part < n_parts, -1);
    if (!check_shot(self, error)) {
        return -1;
    }
    fd = reopen(self, &parts[part], error);
    if (fd < 0) {
        return -1;
    }
    hm_backend_expose(self);
    if (!check_shot(self, error)) { /* one has begun meanwhile */
        hm_os_close(fd);
        return -1;
    }
    return fd;
}

void hm_backend_expose(HostmemBackend *self)
{
    hm_object_expose(HOSTMEM_OBJECT(self));
}

gboolean hm_backend_is_exposed(HostmemBackend *self)
{
    return hm_object_is_exposed(HOSTMEM_OBJECT(self));
}

int hm_backend_is_in_use(HostmemBackend *self)
{
    guint n_parts;
    const HostmemBackendPart *parts = hostmem_backend_get_parts(self, &n_parts);
    int alone = n_parts && !self->backing.uncounted ? 1 : -EINVAL;

    for (guint i = 0; i < n_parts && alone == 1; i++) {
        alone = hm_os_only_user(parts[i].fd);
    }
    return alone < 0 ? alone : !alone;
}

gboolean hostmem_backend_may_be_in_use(HostmemBackend *self)
{
    g_return_val_if_fail(HOSTMEM_IS_BACKEND(self), TRUE);

    return hm_backend_is_in_use(self) != 0;
}
