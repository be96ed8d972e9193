/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * Who borrows a segment may do anything to its file: write, punch holes, bind
 * it to other nodes, keep a descriptor or a mapping, change its owner if it was
 * given that, and truncate it if it is not sealed.  No further seal can be
 * added: F_SEAL_SEAL is set, sealed or not, and a tmpfs has none.  So nothing
 * is believed of a segment that comes back; what matters is asked of the
 * kernel, in this order:
 *
 *   owner and mode   taken back, so that nobody else can open it any more
 *   alone?           whoever has it open or mapped sees what the next one
 *                    writes: then it is never used again.  A process that is
 *                    just exiting gets a moment.
 *   length           only what is not sealed can have changed
 *   policy           that of the pool again; it belongs to the file
 *   huge pages       where one is missing all of its place is given back and
 *                    populated anew: what was there is garbage anyway
 *   holes            populated again
 *   zeroes           written; nothing faults any more
 *
 * From "alone" on the memory is ours, and nothing of this can be undone by
 * somebody else.  Two cannot be seen and are kept out by owner and mode: a
 * descriptor with O_PATH, and who may look at our own in /proc.  Root needs to
 * be trusted.
 *
 * Nor is a page seen that a borrower had the kernel pin, for a pipe (vmsplice),
 * a ring (io_uring's registered buffers) or a device (VFIO, udmabuf): what has
 * pinned it goes on with the page when the file is closed and unmapped, and the
 * kernel tells nobody how often a page is pinned.  Against that only other
 * pages help: "reuse=off" of the pool.
 */
#include <errno.h>
#include <sys/mman.h>
#include "backends/pool-segment.h"
#include "util/align.h"
#include "util/error.h"
#include "util/hostcaps.h"
#include "util/os.h"
#include "util/size.h"
#include "util/zero.h"

/* Pages that are looked at, of a whole segment. */
#define SAMPLE 64

/* Between two looks for a cancel. */
#define ZERO_PIECE (32 * HM_MIB)

/* What a process that is exiting gets to let go: a second. */
#define ALONE_TRIES    20
#define ALONE_PAUSE_US 50000

static gboolean may_be_used(const HmPoolSegment *self, int alone,
                            GError **error)
{
    if (alone == 0) {
        return hm_set_error(error, HOSTMEM_ERROR_BUSY,
                            "another process still has it open or mapped");
    }
    return !self->exposed ||
           hm_set_error(error, HOSTMEM_ERROR_BUSY,
                        "another process has had it, and whether it still has "
                        "cannot be told: %s",
                        g_strerror(-alone));
}

/* FALSE: it is cancelled. */
static gboolean pause_or_cancel(GCancellable *cancellable, GError **error)
{
    g_usleep(ALONE_PAUSE_US);
    return !g_cancellable_set_error_if_cancelled(cancellable, error);
}

static gboolean get_alone(HmPoolSegment *self, GCancellable *cancellable,
                          GError **error)
{
    const int fd = self->parent_instance.backing.fd;
    int ret = hm_pool_segment_own(fd, FALSE);

    if (ret < 0) {
        return hm_set_error_errno(error, -ret, "its file cannot be taken back");
    }
    ret = hm_os_only_user(fd);
    for (guint i = 0; ret == 0 && i < ALONE_TRIES; i++) {
        if (!pause_or_cancel(cancellable, error)) {
            return FALSE;
        }
        ret = hm_os_only_user(fd);
    }
    return ret == 1 || may_be_used(self, ret, error);
}

static gboolean check_length(const HostmemBackend *backend, GError **error)
{
    struct stat st;
    int ret = hm_os_stat(backend->backing.fd, &st);

    if (ret < 0) {
        return hm_set_error_errno(error, -ret, "its length cannot be told");
    }
    return (guint64)st.st_size == backend->backing.length ||
           hm_set_error(error, HOSTMEM_ERROR_CHANGED,
                        "it was resized: it has %" G_GINT64_FORMAT
                        " bytes now, %" G_GUINT64_FORMAT " are expected",
                        (gint64)st.st_size, backend->backing.length);
}

static gboolean populate(HostmemBackend *backend, const HmRange *range,
                         GCancellable *cancellable, GError **error)
{
    const HmPopulateHow how = {
        .state = HM_STATE_WRITABLE,
        .background = TRUE,
        .keep = TRUE,
    };

    return hm_backend_populate_range(backend, range, &how, cancellable, error);
}

/* Places of huge pages that none maps. */
static HmRangeList *find_split(const HostmemBackend *backend)
{
    const gsize huge_size = hm_hostcaps_get()->thp_size;
    const guint64 end = hm_align_down(backend->mapping.length, huge_size);
    g_autoptr(HmRangeList) huge = hm_range_list_new();
    HmRangeList *split = hm_range_list_new();
    guint64 at = 0;

    if (hm_os_huge_ranges(backend->mapping.addr, backend->mapping.length,
                          huge) < 0) {
        return split;
    }
    for (guint i = 0; i <= huge->len; i++) {
        const HmRange *run =
            i < huge->len ? hm_range_list_get(huge, i) : &(HmRange){end, 0};

        if (at < MIN(run->offset, end)) {
            const HmRange range = {at, MIN(run->offset, end) - at};

            hm_range_list_add(split, &range);
        }
        at = hm_range_end(run);
    }
    return split;
}

/* Where a tmpfs gives huge pages by itself, it takes only what is free; a
 * collapse makes room for one. */
static gboolean make_anew(HostmemBackend *backend, const HmRange *range,
                          GCancellable *cancellable, GError **error)
{
    if (!hostmem_backend_discard(backend, range->offset, range->length,
                                 error) ||
        !populate(backend, range, cancellable, error)) {
        return FALSE;
    }
    hm_os_advise(backend->mapping.addr + range->offset, range->length,
                 MADV_COLLAPSE);
    return TRUE;
}

/*
 * The mapping begins at a multiple of the size of huge pages, as the file does.
 * Where free RAM is too scattered for huge pages, base pages must do.
 */
static gboolean mend_huge_pages(HmPoolSegment *self, GCancellable *cancellable,
                                GError **error)
{
    HostmemBackend *backend = HOSTMEM_BACKEND(self);
    g_autoptr(HmRangeList) split = NULL;

    if (backend->backing.kind == HM_MEM_HUGETLB ||
        hm_pool_segment_count_huge(self) >= self->huge) {
        return TRUE;
    }
    split = find_split(backend);
    for (guint i = 0; i < split->len; i++) {
        if (!make_anew(backend, hm_range_list_get(split, i), cancellable,
                       error)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* Of what another process has left nothing is in the page tables, by which huge
 * pages are counted. */
static gboolean map_all(HmPoolSegment *self, const HmRange *all,
                        GCancellable *cancellable, GError **error)
{
    if (self->unmapped &&
        !populate(HOSTMEM_BACKEND(self), all, cancellable, error)) {
        return FALSE;
    }
    self->unmapped = FALSE;
    return TRUE;
}

/* Nothing is missing then; to find that out is one call. */
static gboolean is_all_huge(const HmPoolSegment *self)
{
    return hm_pool_segment_count_huge(self) ==
           self->parent_instance.mapping.length;
}

static gboolean mend(HmPoolSegment *self, GCancellable *cancellable,
                     GError **error)
{
    HostmemBackend *backend = HOSTMEM_BACKEND(self);
    const HmRange all = {0, backend->mapping.length};

    hm_backend_bind_again(backend);
    if (is_all_huge(self)) {
        return TRUE;
    }
    return map_all(self, &all, cancellable, error) &&
           mend_huge_pages(self, cancellable, error) &&
           populate(backend, &all, cancellable, error);
}

static gboolean zero(const HostmemBackend *backend, GCancellable *cancellable,
                     GError **error)
{
    const guint64 length = backend->mapping.length;

    for (guint64 at = 0; at < length; at += ZERO_PIECE) {
        if (g_cancellable_set_error_if_cancelled(cancellable, error) ||
            !hm_zero_guarded(backend->mapping.addr + at,
                             MIN(ZERO_PIECE, length - at), error)) {
            return FALSE;
        }
    }
    return TRUE;
}

#ifdef HM_DEBUG
/* The first bytes of pages all over it; nobody else can write to them. */
static void verify_sample(const HostmemBackend *backend)
{
    const gsize n = MIN(backend->mapping.length / hm_os_page_size(), SAMPLE);
    const gsize step =
        hm_align_down(backend->mapping.length / n, hm_os_page_size());

    for (gsize i = 0; i < n; i++) {
        g_assert(
            hm_is_zero(backend->mapping.addr + i * step, hm_os_page_size()));
    }
}
#else
static void verify_sample(const HostmemBackend *backend G_GNUC_UNUSED)
{
}
#endif

static gboolean mark_clean(const HostmemBackend *backend, GError **error)
{
    int ret = hm_pool_segment_own(backend->backing.fd, TRUE);

    return !ret ||
           hm_set_error_errno(error, -ret, "it cannot be marked as clean");
}

gboolean hm_pool_segment_renew(HmPoolSegment *self, GCancellable *cancellable,
                               GError **error)
{
    HostmemBackend *backend = HOSTMEM_BACKEND(self);

    if (!get_alone(self, cancellable, error) || !check_length(backend, error) ||
        !mend(self, cancellable, error) || !zero(backend, cancellable, error)) {
        return FALSE;
    }
    verify_sample(backend);
    return mark_clean(backend, error);
}
