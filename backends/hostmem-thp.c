/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * Populating 2 MiB at once is 10 to 20 times faster than 4 KiB pages, and what
 * runs on the memory is faster too.  Where transparent huge pages come from
 * depends on what the memory is:
 *
 *   private anonymous     MADV_HUGEPAGE, unless the host's policy is "never"
 *   shared, no name       a file on a tmpfs of our own, mounted with
 *                         huge=always; it needs the right to mount
 *   memfd, tmpfs file     MADV_COLLAPSE while it is populated; it needs no
 *                         right and no policy but "deny" stands against it
 *   all else              nowhere
 *
 * "thp=on" is a demand: what stands against it is found before the memory is
 * mapped, and looked for again in the page tables of what was populated, for
 * free RAM may be too scattered for huge pages.
 */
#include "backends/hostmem.h"
#include "util/align.h"
#include "util/error.h"
#include "util/hostcaps.h"
#include "util/os.h"
#include "util/size.h"

#define THP_DIR "/sys/kernel/mm/transparent_hugepage"

/* Why there are no huge pages, and what to do about it. */
typedef struct {
    HostmemError code;
    const char *reason;
    const char *cure;
} Obstacle;

static gboolean fits(guint64 length)
{
    gsize huge_size = hm_hostcaps_get()->thp_size;

    return huge_size && length >= huge_size;
}

gboolean hm_backend_open_own_tmpfs(HostmemBackend *self, guint64 length)
{
    g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(self));
    g_autoptr(GError) why = NULL;

    if (self->thp == HOSTMEM_OFF || !fits(MAX(length, self->max_size)) ||
        hm_hostcaps_shmem_thp() == HM_SHMEM_THP_DENY) {
        return FALSE;
    }
    if (hm_backing_init_own_tmpfs(&self->backing, length, TRUE, &why)) {
        return TRUE;
    }
    g_info("%s: no private tmpfs of huge pages: %s", what, why->message);
    return FALSE;
}

static const Obstacle *find_anon_obstacle(void)
{
    static const Obstacle never = {
        HOSTMEM_ERROR_UNSUPPORTED, THP_DIR "/enabled is 'never'",
        "let root write 'madvise' to it, or use thp=auto"};

    return hm_hostcaps_thp() == HM_THP_NEVER ? &never : NULL;
}

static const Obstacle *find_shmem_obstacle(const HmBacking *backing)
{
    static const Obstacle deny = {
        HOSTMEM_ERROR_UNSUPPORTED, THP_DIR "/shmem_enabled is 'deny'",
        "let root write 'advise' to it, or use thp=auto"};
    static const Obstacle never = {
        HOSTMEM_ERROR_UNSUPPORTED,
        THP_DIR "/shmem_enabled is 'never', and this kernel has no "
                "MADV_COLLAPSE (Linux 6.1)",
        "let root write 'advise' to it, or use thp=auto"};
    HmShmemThpPolicy policy = hm_hostcaps_shmem_thp();

    if (policy == HM_SHMEM_THP_DENY) {
        return &deny;
    }
    /* A file with a path obeys its own tmpfs, which may be "huge=always". */
    if (policy == HM_SHMEM_THP_NEVER && !backing->own_tmpfs && !backing->path &&
        !hm_hostcaps_get()->collapse) {
        return &never;
    }
    return NULL;
}

/* What stands against huge pages of a kind of memory; NULL: nothing. */
static const Obstacle *find_obstacle(const HmBacking *backing)
{
    static const Obstacle pool = {HOSTMEM_ERROR_INVALID,
                                  "the pages come from a pool of huge pages",
                                  "leave thp out"};
    static const Obstacle storage = {HOSTMEM_ERROR_INVALID,
                                     "a file on storage is kept in base pages",
                                     "use a file on a tmpfs, or thp=auto"};
    static const Obstacle copy = {HOSTMEM_ERROR_INVALID,
                                  "a private copy of a file has base pages",
                                  "use share=on, or thp=auto"};
    static const Obstacle kernel = {HOSTMEM_ERROR_UNSUPPORTED,
                                    "this kernel has no transparent huge pages",
                                    "use thp=auto"};
    static const Obstacle small = {HOSTMEM_ERROR_INVALID,
                                   "the memory is smaller than a huge page",
                                   "make it larger, or use thp=auto"};

    if (backing->kind == HM_MEM_HUGETLB) {
        return &pool;
    }
    if (backing->kind == HM_MEM_FILE || backing->kind == HM_MEM_DAX) {
        return &storage;
    }
    if (backing->kind == HM_MEM_SHMEM && !backing->shared) {
        return &copy;
    }
    if (!fits(backing->length)) {
        return hm_hostcaps_get()->thp_size ? &small : &kernel;
    }
    return backing->kind == HM_MEM_ANON ? find_anon_obstacle()
                                        : find_shmem_obstacle(backing);
}

gboolean hm_backend_check_huge_tmpfs(HostmemBackend *self, GError **error)
{
    HmBacking *backing = &self->backing;

    /* "deny" stands above the mount. */
    backing->own_tmpfs &= hm_hostcaps_shmem_thp() != HM_SHMEM_THP_DENY;
    if (self->thp != HOSTMEM_OFF || !backing->own_tmpfs ||
        !fits(backing->length)) {
        return TRUE;
    }
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "property 'thp' = 'off': %s is on a tmpfs whose files "
                        "get huge pages; export to another one, or use "
                        "thp=auto",
                        backing->path);
}

gboolean hm_backend_check_thp(HostmemBackend *self, GError **error)
{
    const Obstacle *obstacle;

    if (self->thp != HOSTMEM_ON) {
        return TRUE;
    }
    obstacle = find_obstacle(&self->backing);
    return !obstacle ||
           hm_set_error(error, obstacle->code, "property 'thp' = 'on': %s; %s",
                        obstacle->reason, obstacle->cure);
}

/* Storage on disk is far slower with the advice. */
void hm_backend_advise_thp(HostmemBackend *self, const HmRange *range,
                           gboolean huge)
{
    const HmBacking *backing = &self->backing;
    guint8 *addr = self->mapping.addr + range->offset;

    if (backing->kind != HM_MEM_ANON && backing->kind != HM_MEM_SHMEM) {
        return;
    }
    if (self->thp == HOSTMEM_OFF) {
        hm_os_advise(addr, (gsize)range->length, MADV_NOHUGEPAGE);
    } else if (huge) {
        self->huge_advised =
            hm_os_advise(addr, (gsize)range->length, MADV_HUGEPAGE) == 0;
    }
}

/* The huge pages that have a place in @range; FALSE: none. */
static gboolean huge_range(const HostmemBackend *self, const HmRange *range,
                           guint8 **start, guint64 *length)
{
    gsize huge_size = hm_hostcaps_get()->thp_size;
    guint64 first = (guintptr)self->mapping.addr + range->offset;
    guint64 end = hm_align_down(first + range->length, huge_size);
    guint64 aligned;

    if (!hm_align_up(first, huge_size, &aligned) || aligned >= end) {
        return FALSE;
    }
    *start = (guint8 *)(guintptr)aligned;
    *length = end - aligned;
    return TRUE;
}

gboolean hm_backend_verify_thp(HostmemBackend *self, const HmRange *range,
                               GError **error)
{
    g_autofree char *small = NULL;
    g_autofree char *all = NULL;
    guint8 *start;
    guint64 length;
    gint64 huge;

    if (self->thp != HOSTMEM_ON || !huge_range(self, range, &start, &length)) {
        return TRUE;
    }
    huge = hm_os_huge(start, length);
    if (huge < 0 || (guint64)huge >= length) {
        return TRUE;
    }
    small = hm_size_format(length - (guint64)huge);
    all = hm_size_format(length);
    return hm_set_error(error, HOSTMEM_ERROR_NO_HUGE_PAGES,
                        "property 'thp' = 'on': %s of %s got base pages: free "
                        "RAM is too scattered for huge pages; let root write "
                        "1 to /proc/sys/vm/compact_memory, or use thp=auto",
                        small, all);
}
