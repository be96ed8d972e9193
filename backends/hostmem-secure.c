/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * Memory that was discarded may have been taken by others when it is wanted
 * again, and a guest that touches what cannot be had dies of SIGBUS.  What the
 * kernel offers against that, short of populating:
 *
 *   huge pages   A shared mapping of a range, however short it lives, reserves
 *                what the file does not have.  The reservation is the file's:
 *                it serves every other mapping, and goes when the page that
 *                took its place is discarded.  What was never touched stays
 *                reserved, as it is from the start with reserve=on.  With
 *                reserve=off there shall be no such rest, private memory has no
 *                such reservation, and memory bound to nodes gets nothing from
 *                one, which is of the whole host: these are populated, as are
 *                segments of a pool.
 *   files        fallocate, which takes no time.
 *   tmpfs        fallocate would take the memory as much as populating does,
 *                which is not wanted here.  A look at a filesystem with a limit
 *                is no guarantee, but finds what has no chance.
 *   anonymous    Nothing: what is short is RAM, and nobody gets a SIGBUS.
 */
#include <errno.h>
#include <sys/mman.h>
#include "backends/hostmem.h"
#include "util/error.h"
#include "util/os.h"
#include "util/pagesize.h"
#include "util/size.h"

static gboolean populate(HostmemBackend *self, const HmRange *range,
                         HmPreallocState state, GCancellable *cancellable,
                         GError **error)
{
    const HmPopulateHow how = {.state = state, .keep = TRUE};

    return hm_backend_populate_range(self, range, &how, cancellable, error);
}

static gboolean no_huge_pages(const HostmemBackend *self, const HmRange *range,
                              GError **error)
{
    g_autofree char *size = hm_size_format(self->backing.page_size);
    HmHugePool pool;

    hm_huge_pool_read(self->backing.page_size, &pool, NULL);
    return hm_set_error(error, HOSTMEM_ERROR_NO_HUGE_PAGES,
                        "cannot reserve %" G_GUINT64_FORMAT
                        " huge pages of %s: %" G_GUINT64_FORMAT
                        " of %" G_GUINT64_FORMAT " in the pool are free",
                        range->length / self->backing.page_size, size,
                        hm_huge_pool_available(&pool), pool.total);
}

static gboolean reserve_huge_pages(HostmemBackend *self, const HmRange *range,
                                   GError **error)
{
    void *addr;
    int ret =
        hm_os_map(NULL, range->length, PROT_NONE, MAP_SHARED, self->backing.fd,
                  self->backing.offset + range->offset, &addr);

    if (ret == -ENOMEM) {
        return no_huge_pages(self, range, error);
    }
    if (ret < 0) {
        return hm_set_error_errno(error, -ret, "cannot reserve huge pages");
    }
    hm_os_unmap(addr, range->length);
    return TRUE;
}

static gboolean secure_huge_pages(HostmemBackend *self, const HmRange *range,
                                  GCancellable *cancellable, GError **error)
{
    if (self->backing.shared && self->reserve && !self->backing.parts &&
        self->policy != HOSTMEM_POLICY_BIND) {
        return reserve_huge_pages(self, range, error);
    }
    return populate(self, range, HM_STATE_WRITABLE, cancellable, error);
}

static gboolean look_for_space(HostmemBackend *self, const HmRange *range,
                               GError **error)
{
    g_autofree char *needed = NULL;
    g_autofree char *there = NULL;
    struct statfs fs;
    guint64 free;

    if (hm_os_statfs(self->backing.fd, &fs) < 0 || !fs.f_blocks) {
        return TRUE;
    }
    free = (guint64)fs.f_bavail * (guint64)fs.f_bsize;
    if (range->length <= free) {
        return TRUE;
    }
    needed = hm_size_format(range->length);
    there = hm_size_format(free);
    return hm_set_error(error, HOSTMEM_ERROR_NO_SPACE,
                        "the filesystem has no room for %s: %s are free",
                        needed, there);
}

gboolean hm_backend_secure(HostmemBackend *self, const HmRange *range,
                           GCancellable *cancellable, GError **error)
{
    const HmBacking *backing = &self->backing;

    if (backing->kind == HM_MEM_HUGETLB) {
        return secure_huge_pages(self, range, cancellable, error);
    }
    if (!backing->shared) {
        return TRUE;
    }
    if (backing->kind == HM_MEM_SHMEM) {
        return look_for_space(self, range, error);
    }
    return populate(self, range, HM_STATE_BACKED, cancellable, error);
}
