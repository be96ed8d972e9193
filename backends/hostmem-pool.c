/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * With "pool" a backend opens nothing of its own: its memory is what the pool
 * has ready, and fresh memory of the same kind for the rest.  All that follows
 * is as for any other memory: the files are mapped one behind the other, and
 * populated, which for what is ready only fills page tables.  So "pool" turns
 * "prealloc" on; to be lent memory that is there, and to leave the rest of it
 * to chance, would be half a promise.
 *
 * The policy of shared memory belongs to the file: the backend's holds as long
 * as it has the segment, and the pool restores its own.  Pages do not move for
 * it.  Where "policy=bind" forbids what lies elsewhere, it is not taken; the
 * other policies prefer, and a message says so.
 */
#include "backends/hostmem.h"
#include "backends/memory-pool.h"
#include "util/align.h"
#include "util/error.h"
#include "util/os.h"
#include "util/size.h"

static HostmemMemoryPool *pool_of(const HostmemBackend *self)
{
    return (HostmemMemoryPool *)self->pool;
}

/* check */

static gboolean refuse(GError **error, const char *why)
{
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "property 'pool' does not go with %s", why);
}

static gboolean check_ready(const HostmemBackend *self, GError **error)
{
    HostmemObject *pool = HOSTMEM_OBJECT(self->pool);
    g_autofree char *what = NULL;

    if (hm_object_is_complete(pool)) {
        return TRUE;
    }
    what = hm_object_describe(pool);
    return hm_set_error(error, HOSTMEM_ERROR_BUSY,
                        "property 'pool' names %s, which is still being "
                        "created",
                        what);
}

static gboolean check_pages(HostmemBackend *self, GError **error)
{
    const gsize page_size = pool_of(self)->page_size;
    g_autofree char *what = NULL;
    g_autofree char *size = NULL;
    g_autofree char *unit = NULL;

    if (page_size == hm_os_page_size() ||
        hm_is_aligned(self->size, page_size)) {
        return TRUE;
    }
    what = hm_object_describe(HOSTMEM_OBJECT(self->pool));
    size = hm_size_format(self->size);
    unit = hm_size_format(page_size);
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "'size', %s, is no multiple of the page size of %s, %s",
                        size, what, unit);
}

gboolean hm_backend_check_pool(HostmemBackend *self, GError **error)
{
    if (!self->pool) {
        return TRUE;
    }
    if (!self->share) {
        return refuse(error, "'share=off': a private copy is other memory");
    }
    if (!self->reserve) {
        return refuse(error, "'reserve=off': the memory is there");
    }
    if (self->export_path && !pool_of(self)->export_dir) {
        return refuse(error, "'export-path': the memory of a pool without "
                             "'export-dir' has no name");
    }
    return check_ready(self, error) && check_pages(self, error);
}

gboolean hm_backend_check_pool_kind(HostmemBackend *self, gsize page_size,
                                    gboolean seal, GError **error)
{
    const HostmemMemoryPool *pool = pool_of(self);
    g_autofree char *what = NULL;
    g_autofree char *have = NULL;
    g_autofree char *want = NULL;

    if (!pool) {
        return TRUE;
    }
    what = hm_object_describe(HOSTMEM_OBJECT(self->pool));
    if (pool->page_size != page_size) {
        have = hm_size_format(pool->page_size);
        want = hm_size_format(page_size);
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "%s has pages of %s, but 'hugetlb' and "
                            "'hugetlbsize' ask for %s",
                            what, have, want);
    }
    return pool->seal || !seal ||
           hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "%s has 'seal=off', but 'seal=on' is asked for", what);
}

/* open */

static void tell_what_is_fresh(HostmemBackend *self, guint64 length)
{
    guint64 fresh = length - self->loan->from_pool;
    g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(self));
    g_autofree char *pool = hm_object_describe(HOSTMEM_OBJECT(self->pool));
    g_autofree char *size = hm_size_format(fresh);
    g_autofree char *all = hm_size_format(length);

    if (fresh) {
        g_message("%s: %s had too little ready: %s of %s are fresh memory",
                  what, pool, size, all);
    }
}

static void tell_what_is_misplaced(HostmemBackend *self)
{
    g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(self));
    g_autofree char *pool = hm_object_describe(HOSTMEM_OBJECT(self->pool));

    if (self->loan->misplaced) {
        g_message("%s: %u of %u segments of %s do not lie on host nodes %s",
                  what, self->loan->misplaced, self->loan->segments->len, pool,
                  self->host_nodes);
    }
}

static gboolean is_on_own_tmpfs(const HmPoolLoan *loan)
{
    gboolean all = !loan->fresh.length || loan->fresh.own_tmpfs;

    for (guint i = 0; i < loan->segments->len; i++) {
        const HostmemBackend *segment = g_ptr_array_index(loan->segments, i);

        all &= segment->backing.own_tmpfs;
    }
    return all;
}

static void make_backing(HostmemBackend *self, guint64 length)
{
    const HostmemMemoryPool *pool = pool_of(self);
    const HmPoolLoan *loan = self->loan;

    self->backing = (HmBacking){
        .kind = pool->hugetlb ? HM_MEM_HUGETLB : HM_MEM_SHMEM,
        .fd = loan->n_parts == 1 ? loan->parts[0].fd : -1,
        .borrowed = TRUE,
        .length = length,
        .page_size = pool->page_size,
        .shared = TRUE,
        .own_tmpfs = is_on_own_tmpfs(loan),
    };
    if (loan->n_parts > 1) {
        self->backing.n_parts = loan->n_parts;
        self->backing.parts =
            g_memdup2(loan->parts, loan->n_parts * sizeof(*loan->parts));
    }
}

/* The pool takes them back when it gets them back. */
static gboolean give_to_owner(HostmemBackend *self, GError **error)
{
    for (guint i = 0; i < self->loan->n_parts; i++) {
        if (!hm_backend_give_to_owner(self, self->loan->parts[i].fd, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* The file is that of the segment. */
static gboolean open_name(HostmemBackend *self, GError **error)
{
    const HmPoolLoan *loan = self->loan;
    g_autofree char *path = NULL;
    g_autofree char *size = NULL;

    if (!self->export_path) {
        return TRUE;
    }
    if (loan->n_parts > 1) {
        size = hm_size_format(loan->pool->segment_size);
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "property 'export-path' needs memory in one file, "
                            "and this is in %u: its pool has segments of %s",
                            loan->n_parts, size);
    }
    path = hm_backend_resolve_export(self, error);
    self->export =
        path ? hm_export_new_for_file(path, self->backing.fd, error) : NULL;
    if (!self->export) {
        g_prefix_error(error, "property 'export-path': ");
    }
    return self->export != NULL;
}

gboolean hm_backend_open_pool(HostmemBackend *self, GError **error)
{
    HmPoolDemand demand = {
        .borrower = hostmem_object_get_id(HOSTMEM_OBJECT(self)),
        .nodes = self->nodes,
        .strict = self->policy == HOSTMEM_POLICY_BIND,
    };

    /* No overflow: the size was checked. */
    hm_align_up(self->size, pool_of(self)->page_size, &demand.length);
    self->loan = hm_memory_pool_borrow(pool_of(self), &demand, error);
    if (!self->loan) {
        return FALSE;
    }
    make_backing(self, demand.length);
    if (!open_name(self, error) || !give_to_owner(self, error) ||
        !hm_pool_loan_mark(self->loan, error)) {
        return FALSE;
    }
    tell_what_is_fresh(self, demand.length);
    tell_what_is_misplaced(self);
    return TRUE;
}

/* Over a restart */

#define SAVED_SEGMENTS "segments"

void hm_backend_save_loan(HostmemBackend *self, HmSaved *saved)
{
    const HmPoolLoan *loan = self->loan;

    json_object_set_new(hm_saved_get_state(saved), SAVED_SEGMENTS,
                        json_integer(loan->segments->len));
    if (loan->fresh.length) {
        hm_saved_add_fd(saved, &self->fd_name, loan->fresh.fd);
    }
}

/* What the pool did not have is the backend's own. */
static gboolean adopt_fresh(HostmemBackend *self, guint64 length,
                            HmBacking *fresh, GError **error)
{
    const HostmemMemoryPool *pool = pool_of(self);
    const HmBackingAdoptOptions expected = {
        .kind = pool->hugetlb ? HM_MEM_HUGETLB : HM_MEM_SHMEM,
        .page_size = pool->page_size,
        .size = length,
        .sealed = pool->seal,
    };

    if (!hm_backend_adopt(self, &expected, error)) {
        return FALSE;
    }
    *fresh = self->backing;
    self->backing = (HmBacking)HM_BACKING_INIT;
    return TRUE;
}

static gboolean read_segments(HostmemBackend *self, guint64 length,
                              guint64 *segments, GError **error)
{
    const guint64 most = (length - 1) / pool_of(self)->segment_size + 1;
    HmSaved *saved = hm_object_get_saved(HOSTMEM_OBJECT(self));

    *segments = 0;
    return hm_saved_read_size(saved, SAVED_SEGMENTS, segments, error) &&
           (*segments <= most ||
            hm_set_error(error, HOSTMEM_ERROR_INVALID,
                         "'%s' of its saved state is more than its memory",
                         SAVED_SEGMENTS));
}

gboolean hm_backend_adopt_loan(HostmemBackend *self, GError **error)
{
    const char *id = hostmem_object_get_id(HOSTMEM_OBJECT(self));
    const guint64 segment_size = pool_of(self)->segment_size;
    g_auto(HmBacking) fresh = HM_BACKING_INIT;
    guint64 length = 0, segments;

    /* No overflow: the size was checked. */
    hm_align_up(self->size, pool_of(self)->page_size, &length);
    if (!read_segments(self, length, &segments, error)) {
        return FALSE;
    }
    if (segments * segment_size < length &&
        !adopt_fresh(self, length - segments * segment_size, &fresh, error)) {
        return FALSE;
    }
    self->loan = hm_memory_pool_reclaim(pool_of(self), id, segments, length,
                                        &fresh, error);
    if (!self->loan) {
        return FALSE;
    }
    make_backing(self, length);
    return TRUE;
}

/* Others */

void hm_backend_give_pool_to(HostmemBackend *self, uid_t uid)
{
    if (!self->loan || self->export_owner || uid == 0) {
        return;
    }
    for (guint i = 0; i < self->loan->n_parts; i++) {
        hm_os_chown(self->loan->parts[i].fd, uid, (gid_t)-1);
    }
}

void hm_backend_give_back_pool(HostmemBackend *self)
{
    if (self->loan) {
        hm_pool_loan_end(g_steal_pointer(&self->loan),
                         hm_backend_is_exposed(self));
    }
}

/* What can be asked */

HostmemMemoryPool *hostmem_backend_get_pool(HostmemBackend *self)
{
    g_return_val_if_fail(HOSTMEM_IS_BACKEND(self), NULL);

    return pool_of(self);
}

guint64 hostmem_backend_get_pool_size(HostmemBackend *self)
{
    g_return_val_if_fail(HOSTMEM_IS_BACKEND(self), 0);

    if (!hm_object_is_complete(HOSTMEM_OBJECT(self)) || !self->loan) {
        return 0;
    }
    return MIN(self->loan->from_pool, self->size);
}
