/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * A process that is killed may have lent a segment a moment ago, and not have
 * had the time, or the room, to have that stored.  So it is noted in the file
 * itself, which outlives the process, before anybody can write to it: by the
 * sticky bit, which means nothing on a file.  It goes when the zeroes are
 * written.
 *
 * A borrower that was made the owner of the file can take the bit away, but not
 * the ownership, which says the same.  When that is taken back the group has to
 * say it until the bit is there again, as one call changes both owner and
 * group: a process may be killed between any two.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backends/pool-home.h"
#include "backends/pool-segment.h"
#include "util/error.h"
#include "util/os.h"

#define SAMPLE 64

typedef struct {
    HostmemBackendClass parent_class;
} HmPoolSegmentClass;

G_DEFINE_TYPE(HmPoolSegment, hm_pool_segment, HOSTMEM_TYPE_BACKEND)

/* Whose it is, and whether it is clean */

#define CLEAN_MODE 0600
#define USED_MODE  (CLEAN_MODE | S_ISVTX)

/* Of no file that is clean; where there are users at all, there is this one. */
static gid_t used_group(void)
{
    return getegid() ? 0 : 1;
}

static int take_from_owner(int fd)
{
    struct stat st;
    int ret = hm_os_stat(fd, &st);

    return ret < 0 || st.st_uid == geteuid()
               ? ret
               : hm_os_chown(fd, geteuid(), used_group());
}

int hm_pool_segment_own(int fd, gboolean clean)
{
    int ret = take_from_owner(fd);

    if (ret == 0) {
        ret = hm_os_chmod(fd, USED_MODE);
    }
    if (ret == 0) {
        ret = hm_os_chown(fd, geteuid(), getegid());
    }
    return ret == 0 && clean ? hm_os_chmod(fd, CLEAN_MODE) : ret;
}

gboolean hm_pool_segment_mark(HmPoolSegment *self, GError **error)
{
    const int fd = self->parent_instance.backing.fd;
    struct stat st;
    int ret = hm_os_stat(fd, &st);

    if (ret == 0 && st.st_uid == geteuid()) {
        ret = hm_os_chmod(fd, USED_MODE);
    }
    return ret == 0 || hm_set_error_errno(error, -ret,
                                          "a segment of a pool cannot be "
                                          "marked as used");
}

gboolean hm_pool_segment_is_clean(const HmPoolSegment *self)
{
    struct stat st;

    return hm_os_stat(self->parent_instance.backing.fd, &st) == 0 &&
           st.st_uid == geteuid() && st.st_gid == getegid() &&
           (st.st_mode & ALLPERMS) == CLEAN_MODE;
}

/* Opening */

static gboolean own(const HmBacking *backing, GError **error)
{
    int ret = hm_pool_segment_own(backing->fd, TRUE);

    return !ret ||
           hm_set_error_errno(error, -ret, "cannot own the file of a segment");
}

static gboolean open_unnamed(HostmemBackend *backend, GError **error)
{
    const HmPoolSegment *self = HM_POOL_SEGMENT(backend);
    gboolean on_tmpfs = !self->seal && !self->huge_page_size &&
                        hm_backend_open_own_tmpfs(backend, backend->size);

    return on_tmpfs || hm_backing_init_memfd(
                           &backend->backing, "memory-pool", backend->size,
                           self->huge_page_size, self->seal, TRUE, error);
}

static gboolean pool_segment_open(HostmemBackend *backend, GError **error)
{
    const HmPoolSegment *self = HM_POOL_SEGMENT(backend);
    gboolean ok =
        self->export_dir
            ? hm_pool_home_open(backend, self->export_dir, self->huge_page_size,
                                self->keeps_name, error)
            : open_unnamed(backend, error);

    return ok && own(&backend->backing, error);
}

static gboolean pool_segment_adopt(HostmemBackend *backend, GError **error)
{
    const HmPoolSegment *self = HM_POOL_SEGMENT(backend);
    const gsize huge = self->huge_page_size;
    const HmBackingAdoptOptions expected = {
        .kind = huge ? HM_MEM_HUGETLB : HM_MEM_SHMEM,
        .page_size = huge ? huge : hm_os_page_size(),
        .sealed = self->seal,
    };

    return hm_backend_adopt(backend, &expected, error);
}

static HmPoolSegment *instantiate(const HmSegmentRecipe *recipe, guint64 size)
{
    HmPoolSegment *self = g_object_new(
        HM_TYPE_POOL_SEGMENT, "id", hostmem_object_get_id(recipe->pool), "size",
        size, "share", TRUE, "merge", FALSE, "thp", recipe->thp, "host-nodes",
        recipe->host_nodes, "policy", recipe->policy, "prealloc-threads",
        recipe->threads, "prealloc-context", recipe->context, NULL);

    self->huge_page_size = recipe->huge_page_size;
    self->seal = recipe->seal;
    self->export_dir = recipe->export_dir;
    if (recipe->pool->jobs) {
        hm_object_set_jobs(HOSTMEM_OBJECT(self), recipe->pool->jobs);
    }
    if (recipe->pool->keeper) {
        hm_object_set_keeper(HOSTMEM_OBJECT(self), recipe->pool->keeper);
    }
    return self;
}

gboolean hm_pool_segment_open_file(const HmSegmentRecipe *recipe, guint64 size,
                                   HmBacking *backing, GError **error)
{
    g_autoptr(HmPoolSegment) opener = instantiate(recipe, size);
    HostmemBackend *backend = HOSTMEM_BACKEND(opener);

    if (!pool_segment_open(backend, error)) {
        hm_backing_clear(&backend->backing);
        return FALSE;
    }
    *backing = backend->backing;
    backend->backing = (HmBacking)HM_BACKING_INIT;
    return TRUE;
}

/* (transfer full) (nullable) */
static HmPoolSegment *prepare(const HmSegmentRecipe *recipe, HmSaved *saved,
                              GCancellable *cancellable, GError **error)
{
    g_autoptr(HmPoolSegment) self = instantiate(recipe, recipe->size);

    self->keeps_name = TRUE;
    if (saved) {
        hm_object_set_saved(HOSTMEM_OBJECT(self), saved);
        self->unmapped = TRUE;
    }
    if (!hm_backend_prepare(HOSTMEM_BACKEND(self), cancellable, error)) {
        return NULL;
    }
    hm_object_set_complete(HOSTMEM_OBJECT(self));
    return g_steal_pointer(&self);
}

HmPoolSegment *hm_pool_segment_new(const HmSegmentRecipe *recipe,
                                   GCancellable *cancellable, GError **error)
{
    return prepare(recipe, NULL, cancellable, error);
}

HmPoolSegment *hm_pool_segment_adopt(const HmSegmentRecipe *recipe,
                                     HmSaved *saved, GCancellable *cancellable,
                                     GError **error)
{
    return prepare(recipe, saved, cancellable, error);
}

/* Filling */

HmIdset *hm_pool_segment_find_nodes(HmPoolSegment *self)
{
    const HostmemBackend *backend = HOSTMEM_BACKEND(self);
    const gsize page_size = backend->backing.page_size;
    const gsize n_pages = backend->mapping.length / page_size;
    const gsize n = MIN(n_pages, SAMPLE);
    /* An odd number: pages may be interleaved over two nodes, or four. */
    const gsize step = ((n_pages / n - 1) | 1) * page_size;
    g_autoptr(HmIdset) found = hm_idset_new();
    void *pages[SAMPLE];
    int nodes[SAMPLE];

    for (gsize i = 0; i < n; i++) {
        pages[i] = backend->mapping.addr + i * step;
    }
    if (hm_os_page_nodes(pages, n, nodes) < 0) {
        return NULL;
    }
    for (gsize i = 0; i < n; i++) {
        if (nodes[i] >= 0) {
            hm_idset_add(found, (guint)nodes[i]);
        }
    }
    return hm_idset_is_empty(found) ? NULL : g_steal_pointer(&found);
}

guint64 hm_pool_segment_count_huge(const HmPoolSegment *self)
{
    const HostmemBackend *backend = &self->parent_instance;
    gint64 huge = hm_os_huge(backend->mapping.addr, backend->mapping.length);

    return MAX(huge, 0);
}

static gboolean prepare_all(GPtrArray *segments, gboolean background,
                            HmProgress *progresses, GPtrArray *runs,
                            GError **error)
{
    for (guint i = 0; i < segments->len; i++) {
        HostmemBackend *backend = g_ptr_array_index(segments, i);
        const HmRange all = {0, backend->mapping.length};
        const HmPopulateHow how = {
            .state = HM_STATE_WRITABLE,
            .background = background,
            .progress = progresses ? &progresses[i] : NULL,
        };
        HmPopulate *run = hm_populate_new(backend, &all, &how, error);

        if (!run) {
            return FALSE;
        }
        g_ptr_array_add(runs, run);
    }
    return TRUE;
}

gboolean hm_pool_segments_fill(GPtrArray *segments, gboolean background,
                               HmProgress *progresses,
                               GCancellable *cancellable, GError **error)
{
    g_autoptr(GPtrArray) runs =
        g_ptr_array_new_with_free_func((GDestroyNotify)hm_populate_free);
    guint failed;

    if (!prepare_all(segments, background, progresses, runs, error)) {
        return FALSE;
    }
    if (!hm_populate_run_all(runs, cancellable, &failed)) {
        g_propagate_error(
            error, hm_populate_steal_error(g_ptr_array_index(runs, failed)));
        return FALSE;
    }
    for (guint i = 0; i < segments->len; i++) {
        HmPoolSegment *self = g_ptr_array_index(segments, i);

        self->huge = hm_pool_segment_count_huge(self);
    }
    return TRUE;
}

/* Life */

static void hm_pool_segment_init(HmPoolSegment *self G_GNUC_UNUSED)
{
}

static void hm_pool_segment_finalize(GObject *object)
{
    HmPoolSegment *self = HM_POOL_SEGMENT(object);

    g_clear_pointer(&self->where, hm_idset_free);
    g_clear_pointer(&self->borrower, g_free);
    G_OBJECT_CLASS(hm_pool_segment_parent_class)->finalize(object);
}

static void hm_pool_segment_class_init(HmPoolSegmentClass *klass)
{
    G_OBJECT_CLASS(klass)->finalize = hm_pool_segment_finalize;
    HOSTMEM_OBJECT_CLASS(klass)->type_name = "memory-pool";
    HOSTMEM_BACKEND_CLASS(klass)->open_backing = pool_segment_open;
    HOSTMEM_BACKEND_CLASS(klass)->adopt_backing = pool_segment_adopt;
}
