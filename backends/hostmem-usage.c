/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How much of a backend is there, for who asks again and again.
 */
#include "backends/hostmem.h"

static gboolean is_ready(HostmemBackend *self)
{
    return hm_object_is_complete(HOSTMEM_OBJECT(self));
}

/* Page tables would be walked once more for private memory. */
static guint64 backed_size(HostmemBackend *self, guint64 populated)
{
    if (g_atomic_int_get(&self->reserved)) {
        return self->mapping.length;
    }
    return self->backing.shared ? hm_backing_backed_size(&self->backing, NULL)
                                : populated;
}

void hostmem_backend_get_usage(HostmemBackend *self, HostmemBackendUsage *usage)
{
    g_autoptr(GRWLockReaderLocker) locker = NULL;
    HmUsageSums sums;

    g_return_if_fail(HOSTMEM_IS_BACKEND(self) && usage);

    *usage = (HostmemBackendUsage){0};
    if (!is_ready(self)) {
        return;
    }
    locker = g_rw_lock_reader_locker_new(&self->extent_lock);
    hm_usage_look(self->usage, self->mapping.addr, self->mapping.length, &sums);
    *usage = (HostmemBackendUsage){
        .mapped = self->mapping.length,
        .backed = backed_size(self, sums.populated),
        .populated = sums.populated,
        .resident = sums.resident,
        .locked = sums.locked,
        .huge = sums.huge,
        .age_us = sums.age_us,
    };
    if (self->backing.kind == HM_MEM_HUGETLB) {
        usage->locked = sums.resident; /* not that the kernel would say so */
    }
}

/* Properties */

void hm_backend_get_resident_size(gpointer object, GValue *value)
{
    HostmemBackendUsage usage;

    hostmem_backend_get_usage(object, &usage);
    g_value_set_uint64(value, usage.resident);
}

void hm_backend_get_locked_size(gpointer object, GValue *value)
{
    HostmemBackendUsage usage;

    hostmem_backend_get_usage(object, &usage);
    g_value_set_uint64(value, usage.locked);
}
