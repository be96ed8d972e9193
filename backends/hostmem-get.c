/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/hostmem.h"
#include "util/os.h"

/* What is asked of a backend; another thread may still be creating it. */

static gboolean is_ready(HostmemBackend *self)
{
    return hm_object_is_complete(HOSTMEM_OBJECT(self));
}

gpointer hostmem_backend_get_host_addr(HostmemBackend *self)
{
    g_autoptr(GRWLockReaderLocker) locker = NULL;

    g_return_val_if_fail(HOSTMEM_IS_BACKEND(self), NULL);

    locker = g_rw_lock_reader_locker_new(&self->extent_lock);
    return is_ready(self) ? self->mapping.addr : NULL;
}

guint64 hostmem_backend_get_size(HostmemBackend *self)
{
    g_autoptr(GMutexLocker) locker = NULL;

    g_return_val_if_fail(HOSTMEM_IS_BACKEND(self), 0);

    locker = g_mutex_locker_new(&HOSTMEM_OBJECT(self)->value_lock);
    return self->size;
}

gint64 hostmem_backend_get_guest_address(HostmemBackend *self)
{
    g_return_val_if_fail(HOSTMEM_IS_BACKEND(self), HM_GUEST_UNSAID);

    return self->guest_addr;
}

gint64 hostmem_backend_get_guest_node(HostmemBackend *self)
{
    g_return_val_if_fail(HOSTMEM_IS_BACKEND(self), HM_GUEST_UNSAID);

    return self->guest_node;
}

guint64 hostmem_backend_get_max_size(HostmemBackend *self)
{
    g_return_val_if_fail(HOSTMEM_IS_BACKEND(self), 0);

    return self->max_size;
}

gsize hostmem_backend_get_page_size(HostmemBackend *self)
{
    g_return_val_if_fail(HOSTMEM_IS_BACKEND(self), 0);

    return is_ready(self) ? self->backing.page_size : 0;
}

int hostmem_backend_get_fd(HostmemBackend *self)
{
    g_return_val_if_fail(HOSTMEM_IS_BACKEND(self), -1);

    return is_ready(self) ? self->backing.fd : -1;
}

guint64 hostmem_backend_get_fd_offset(HostmemBackend *self)
{
    g_return_val_if_fail(HOSTMEM_IS_BACKEND(self), 0);

    return is_ready(self) ? self->backing.offset : 0;
}

gboolean hostmem_backend_get_share(HostmemBackend *self)
{
    g_return_val_if_fail(HOSTMEM_IS_BACKEND(self), FALSE);

    return self->share;
}

guint64 hostmem_backend_get_populated_size(HostmemBackend *self)
{
    g_autoptr(GRWLockReaderLocker) locker = NULL;
    gint64 bytes;

    g_return_val_if_fail(HOSTMEM_IS_BACKEND(self), 0);

    if (!is_ready(self)) {
        return 0;
    }
    locker = g_rw_lock_reader_locker_new(&self->extent_lock);
    bytes = hm_os_populated(self->mapping.addr, self->mapping.length);
    return MAX(bytes, 0);
}

guint64 hostmem_backend_get_populated_huge_size(HostmemBackend *self)
{
    g_autoptr(GRWLockReaderLocker) locker = NULL;
    gint64 bytes;

    g_return_val_if_fail(HOSTMEM_IS_BACKEND(self), 0);

    if (!is_ready(self)) {
        return 0;
    }
    locker = g_rw_lock_reader_locker_new(&self->extent_lock);
    bytes = hm_os_huge(self->mapping.addr, self->mapping.length);
    return MAX(bytes, 0);
}

guint64 hostmem_backend_get_backed_size(HostmemBackend *self)
{
    g_autoptr(GRWLockReaderLocker) locker = NULL;

    g_return_val_if_fail(HOSTMEM_IS_BACKEND(self), 0);

    if (!is_ready(self)) {
        return 0;
    }
    locker = g_rw_lock_reader_locker_new(&self->extent_lock);
    if (g_atomic_int_get(&self->reserved)) {
        return self->mapping.length;
    }
    return hm_backing_backed_size(&self->backing, self->mapping.addr);
}
