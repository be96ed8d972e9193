/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * To lend is to change the state of segments with the lock held, so that two
 * who want the last one cannot both get it.  Nothing is mapped, zeroed or
 * populated here: what is ready is ready.  What the pool does not have is one
 * fresh file, which the borrower populates as any other memory, and which goes
 * when it does: it would be one segment too many here.
 *
 * A segment that comes back is DIRTY, whatever the borrower did with it.  When
 * another process goes on with borrower and pool, nothing comes back.
 */
#include "backends/memory-pool.h"
#include "util/error.h"

/* Choosing; with the lock */

static gboolean lies_on(const HmPoolSegment *segment, const HmIdset *nodes)
{
    if (!segment->where) {
        return FALSE;
    }
    HM_IDSET_FOREACH (segment->where, node) {
        if (!hm_idset_contains(nodes, node)) {
            return FALSE;
        }
    }
    return TRUE;
}

static void choose(HostmemMemoryPool *self, const HmIdset *nodes, gboolean fit,
                   guint64 needed, GPtrArray *chosen)
{
    for (guint i = 0; i < self->segments->len && chosen->len < needed; i++) {
        HmPoolSegment *segment = g_ptr_array_index(self->segments, i);

        if (segment->state == HM_SEGMENT_READY &&
            (!nodes || lies_on(segment, nodes) == fit)) {
            g_ptr_array_add(chosen, g_object_ref(segment));
        }
    }
}

static void mark_lent(GPtrArray *chosen, const char *borrower)
{
    for (guint i = 0; i < chosen->len; i++) {
        HmPoolSegment *segment = g_ptr_array_index(chosen, i);

        segment->state = HM_SEGMENT_LENT;
        segment->place = i;
        g_free(segment->borrower);
        segment->borrower = g_strdup(borrower);
    }
}

static void take_ready(HmPoolLoan *loan, const HmPoolDemand *demand)
{
    HostmemMemoryPool *self = loan->pool;
    guint64 needed = (demand->length - 1) / self->segment_size + 1;
    guint fitting;
    gboolean low;

    g_mutex_lock(&self->lock);
    choose(self, demand->nodes, TRUE, needed, loan->segments);
    fitting = loan->segments->len;
    if (demand->nodes && !demand->strict) {
        choose(self, demand->nodes, FALSE, needed, loan->segments);
    }
    loan->misplaced = loan->segments->len - fitting;
    mark_lent(loan->segments, demand->borrower);
    low = hm_memory_pool_look_at_mark(self);
    g_mutex_unlock(&self->lock);
    if (low) {
        hm_memory_pool_tell_low(self);
    }
}

/* Parts */

static void add_part(HmPoolLoan *loan, int fd, guint64 *offset, guint64 length)
{
    loan->parts[loan->n_parts++] = (HmBackingPart){
        .fd = fd,
        .offset = *offset,
        .length = length,
    };
    *offset += length;
}

static void lay_out(HmPoolLoan *loan, guint64 length)
{
    guint64 offset = 0;

    loan->parts = g_new0(HmBackingPart, loan->segments->len + 1);
    for (guint i = 0; i < loan->segments->len; i++) {
        const HostmemBackend *segment = g_ptr_array_index(loan->segments, i);

        add_part(loan, segment->backing.fd, &offset,
                 MIN(segment->backing.length, length - offset));
    }
    loan->from_pool = offset;
    if (loan->fresh.length) {
        add_part(loan, loan->fresh.fd, &offset, loan->fresh.length);
    }
}

static gboolean open_fresh(HmPoolLoan *loan, guint64 length, GError **error)
{
    guint64 ready = loan->segments->len * loan->pool->segment_size;

    return ready >= length ||
           hm_pool_segment_open_file(&loan->pool->recipe, length - ready,
                                     &loan->fresh, error);
}

gboolean hm_pool_loan_mark(HmPoolLoan *self, GError **error)
{
    for (guint i = 0; i < self->segments->len; i++) {
        if (!hm_pool_segment_mark(g_ptr_array_index(self->segments, i),
                                  error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static HmPoolLoan *loan_new(HostmemMemoryPool *pool)
{
    HmPoolLoan *self = g_new0(HmPoolLoan, 1);

    hostmem_object_hold(HOSTMEM_OBJECT(pool));
    self->pool = g_object_ref(pool);
    self->segments = g_ptr_array_new_with_free_func(g_object_unref);
    self->fresh = (HmBacking)HM_BACKING_INIT;
    return self;
}

HmPoolLoan *hm_memory_pool_borrow(HostmemMemoryPool *self,
                                  const HmPoolDemand *demand, GError **error)
{
    HmPoolLoan *loan = loan_new(self);

    take_ready(loan, demand);
    if (!open_fresh(loan, demand->length, error)) {
        hm_pool_loan_end(loan, FALSE);
        return NULL;
    }
    lay_out(loan, demand->length);
    return loan;
}

/* Lent by another process */

static HmPoolSegment *find_kept(HostmemMemoryPool *self, const char *borrower,
                                guint64 place)
{
    for (guint i = 0; i < self->segments->len; i++) {
        HmPoolSegment *segment = g_ptr_array_index(self->segments, i);

        if (segment->state == HM_SEGMENT_KEPT && segment->place == place &&
            g_strcmp0(segment->borrower, borrower) == 0) {
            return segment;
        }
    }
    return NULL;
}

/* All of them, or none. */
static gboolean take_kept(HmPoolLoan *loan, const char *borrower, guint64 n,
                          GError **error)
{
    HostmemMemoryPool *self = loan->pool;
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    for (guint64 i = 0; i < n; i++) {
        HmPoolSegment *segment = find_kept(self, borrower, i);

        if (!segment) {
            g_ptr_array_set_size(loan->segments, 0);
            return hm_set_error(error, HOSTMEM_ERROR_NOT_FOUND,
                                "segment %" G_GUINT64_FORMAT
                                " of the %" G_GUINT64_FORMAT
                                " that its pool has lent is missing",
                                i, n);
        }
        g_ptr_array_add(loan->segments, g_object_ref(segment));
    }
    mark_lent(loan->segments, borrower);
    return TRUE;
}

HmPoolLoan *hm_memory_pool_reclaim(HostmemMemoryPool *self,
                                   const char *borrower, guint64 segments,
                                   guint64 length, HmBacking *fresh,
                                   GError **error)
{
    HmPoolLoan *loan = loan_new(self);

    if (!take_kept(loan, borrower, segments, error)) {
        hm_pool_loan_end(loan, FALSE);
        return NULL;
    }
    loan->fresh = *fresh;
    *fresh = (HmBacking)HM_BACKING_INIT;
    lay_out(loan, length);
    return loan;
}

/* Giving back */

static void mark_dirty(HmPoolLoan *loan, gboolean exposed)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&loan->pool->lock);

    for (guint i = 0; i < loan->segments->len; i++) {
        HmPoolSegment *segment = g_ptr_array_index(loan->segments, i);

        segment->state = HM_SEGMENT_DIRTY;
        segment->exposed |= exposed;
        g_clear_pointer(&segment->borrower, g_free);
    }
}

void hm_pool_loan_end(HmPoolLoan *self, gboolean exposed)
{
    HostmemMemoryPool *pool = self->pool;

    gboolean left = hm_object_is_left_behind(HOSTMEM_OBJECT(pool));

    if (!left) {
        mark_dirty(self, exposed);
    }
    g_ptr_array_unref(self->segments);
    hm_backing_clear(&self->fresh);
    g_free(self->parts);
    g_free(self);
    if (!left) {
        hm_memory_pool_trim(pool);
        hm_memory_pool_look(pool);
    }
    hostmem_object_release(HOSTMEM_OBJECT(pool));
    g_object_unref(pool);
}
