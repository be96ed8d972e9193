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
 * A segment that comes back is DIRTY, whatever the borrower did with it.
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
                   guint needed, GPtrArray *chosen)
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
    guint needed = (guint)((demand->length - 1) / self->segment_size + 1);
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

    mark_dirty(self, exposed);
    g_ptr_array_unref(self->segments);
    hm_backing_clear(&self->fresh);
    g_free(self->parts);
    g_free(self);
    hm_memory_pool_trim(pool);
    hm_memory_pool_look(pool);
    hostmem_object_release(HOSTMEM_OBJECT(pool));
    g_object_unref(pool);
}
