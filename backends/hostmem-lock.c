/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * Memory is locked as it comes (MLOCK_ONFAULT), and before it is populated,
 * with "mem-lock=on" too:
 *
 *   - The limit is met at once, not after minutes of populating; and what one
 *     backend has been allowed no other one gets.
 *   - Populating locks: what plain mlock(2) does afterwards, page by page in
 *     one thread, took a sixth to a half as long again for base pages, while
 *     locking on the way could not be told from none (measured on two cores;
 *     for huge pages it is all the same).
 *   - mlock(2) alone would populate in one thread, and shared memory for
 *     reading only.
 *   - No page can be swapped out between the two.
 *
 * So the modes differ in what is there when the backend is ready: with "on" all
 * of it.  The lock is the mapping's: what is discarded comes back locked.
 *
 * Huge pages of a pool and DAX memory are never swapped out, and the kernel
 * does not lock them: nothing is done, but counted against the limit it would
 * be.
 */
#include "backends/hostmem-lock.h"
#include "util/error.h"
#include "util/memlock.h"
#include "util/os.h"

static gboolean refuse(GError **error, const char *other, const char *instead)
{
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "'mem-lock=on' and '%s' are incompatible: all of the "
                        "memory is populated and locked when it is ready%s",
                        other, instead);
}

/* What another process has left was checked when it was made; what is live may
 * have changed since. */
static gboolean check_on(HostmemBackend *self, GError **error)
{
    if (hm_backend_is_restored(self)) {
        return TRUE;
    }
    if (!self->reserve) {
        return refuse(error, "reserve=off", "");
    }
    if (self->prealloc_async) {
        return refuse(error, "prealloc-async=on",
                      "; 'mem-lock=on-fault' locks what a job populates");
    }
    if (self->prealloc_deadline) {
        return refuse(error, "prealloc-deadline", "");
    }
    return self->prealloc_state != HOSTMEM_PREALLOC_STATE_BACKED ||
           refuse(error, "prealloc-state=backed", "");
}

/* To write to a page that was merged is a fault. */
gboolean hm_backend_check_lock(HostmemBackend *self, GError **error)
{
    if (self->mem_lock != HOSTMEM_MEM_LOCK_ON) {
        return TRUE;
    }
    self->prealloc = TRUE;
    self->merge = FALSE;
    return check_on(self, error);
}

/* Whether the kernel has anything to lock. */
static gboolean wants_lock(HostmemBackend *self)
{
    return self->mem_lock != HOSTMEM_MEM_LOCK_OFF &&
           self->backing.kind != HM_MEM_HUGETLB &&
           self->backing.kind != HM_MEM_DAX;
}

gboolean hm_backend_check_lock_limit(HostmemBackend *self, guint64 bytes,
                                     GError **error)
{
    g_autofree char *what = NULL;

    if (!wants_lock(self)) {
        return TRUE;
    }
    what = hm_object_describe(HOSTMEM_OBJECT(self));
    return hm_memlock_check(what, bytes, error);
}

gboolean hm_backend_lock_range(HostmemBackend *self, const HmRange *range,
                               GError **error)
{
    guint8 *addr = self->mapping.addr + range->offset;
    g_autofree char *what = NULL;
    int ret;

    if (!wants_lock(self)) {
        return TRUE;
    }
    ret = hm_os_mlock(addr, range->length);
    if (!ret) {
        return TRUE;
    }
    hm_os_munlock(addr, range->length); /* several files are several mappings */
    what = hm_object_describe(HOSTMEM_OBJECT(self));
    return hm_memlock_set_error(what, range->length, -ret, error);
}

/* Readable is enough for what cannot be written to. */
static gboolean check_state(HostmemBackend *self, GError **error)
{
    return self->mem_lock != HOSTMEM_MEM_LOCK_ON || !self->writable ||
           self->prealloc_state == HOSTMEM_PREALLOC_STATE_WRITABLE ||
           hm_backend_is_restored(self) ||
           refuse(error, "prealloc-state=readable", "");
}

static void tell_that_nothing_is_done(HostmemBackend *self)
{
    g_autofree char *what = NULL;

    if (self->mem_lock != HOSTMEM_MEM_LOCK_OFF) {
        what = hm_object_describe(HOSTMEM_OBJECT(self));
        g_message("%s: 'mem-lock' has nothing to do with %s, which cannot be "
                  "swapped out",
                  what, hm_mem_kind_name(self->backing.kind));
    }
}

/* Memory that somebody uses is worth more than its lock. */
static gboolean go_on_without(HostmemBackend *self, const GError *why)
{
    g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(self));

    g_message("%s: the memory is not locked any more: %s", what, why->message);
    self->mem_lock = HOSTMEM_MEM_LOCK_OFF;
    return TRUE;
}

gboolean hm_backend_lock(HostmemBackend *self, GError **error)
{
    const HmRange all = {0, self->mapping.length};
    g_autoptr(GError) why = NULL;

    if (!check_state(self, error)) {
        return FALSE;
    }
    if (!wants_lock(self)) {
        tell_that_nothing_is_done(self);
        return TRUE;
    }
    self->locked = hm_backend_lock_range(self, &all, &why);
    if (self->locked) {
        return TRUE;
    }
    if (hm_backend_is_restored(self)) {
        return go_on_without(self, why);
    }
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
}
