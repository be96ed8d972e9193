/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * A pool outlives its process by the descriptors of its segments, and the state
 * says what each of them was.  That may be older than the truth by what was not
 * stored in time; so what was ready is ready again only if its file says that
 * it was not lent since, see pool-segment.c, and is zeroed otherwise.  Ready
 * costs nothing then: neither a page nor a page table is touched.
 *
 *     saved as      becomes
 *     READY, clean  READY
 *     LENT, used    KEPT, until the borrower of that id has come back: LENT;
 *                   or all others have, and it has not: DIRTY
 *     all else      DIRTY
 *
 * Borrowers come back after their pool.  Until all have, nobody works on the
 * pool, so that a restore that is given up has changed nothing.  What was being
 * filled is not saved: the pool fills up in the background.
 */
#include "backends/memory-pool.h"
#include "util/error.h"
#include "util/numa.h"
#include "util/size.h"

#define SAVED_SEGMENTS "segments"
#define STATE_READY    "ready"
#define STATE_LENT     "lent"
#define STATE_DIRTY    "dirty"

/* Saving */

static const char *state_name(const HmPoolSegment *segment)
{
    if (segment->state == HM_SEGMENT_LENT && segment->borrower) {
        return STATE_LENT;
    }
    return segment->state == HM_SEGMENT_READY ? STATE_READY : STATE_DIRTY;
}

static json_t *describe(HmPoolSegment *segment)
{
    const char *path = hm_backend_get_export_path(HOSTMEM_BACKEND(segment));
    g_autofree char *where =
        segment->where ? hm_idset_to_string(segment->where) : NULL;
    json_t *entry = json_pack("{s:s,s:I}", "state", state_name(segment), "huge",
                              (json_int_t)segment->huge);

    if (where) {
        json_object_set_new(entry, "nodes", json_string(where));
    }
    if (path) {
        json_object_set_new(entry, HM_SAVED_EXPORT, json_string(path));
    }
    if (segment->borrower) {
        json_object_set_new(entry, "borrower", json_string(segment->borrower));
        json_object_set_new(entry, "place", json_integer(segment->place));
    }
    return entry;
}

/* (transfer full): all that can outlive the process; each in @list. */
static GPtrArray *take_stock(HostmemMemoryPool *self, json_t *list)
{
    GPtrArray *segments = g_ptr_array_new_with_free_func(g_object_unref);
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    for (guint i = 0; i < self->segments->len; i++) {
        HmPoolSegment *segment = g_ptr_array_index(self->segments, i);

        if (segment->state != HM_SEGMENT_FILLING) {
            g_ptr_array_add(segments, g_object_ref(segment));
            json_array_append_new(list, describe(segment));
        }
    }
    return segments;
}

void hm_memory_pool_save(HostmemObject *object, HmSaved *saved)
{
    json_t *list = json_array();
    g_autoptr(GPtrArray) segments =
        take_stock(HOSTMEM_MEMORY_POOL(object), list);

    for (guint i = 0; i < segments->len; i++) {
        HostmemBackend *segment = g_ptr_array_index(segments, i);

        hm_saved_add_fd(saved, &segment->fd_name, segment->backing.fd);
    }
    json_object_set_new(hm_saved_get_state(saved), SAVED_SEGMENTS, list);
}

/* Restoring: anything may be there */

static void read_where(HmPoolSegment *segment, json_t *entry)
{
    const char *text = json_string_value(json_object_get(entry, "nodes"));

    segment->where = text ? hm_idset_parse(text, NULL) : NULL;
}

static gboolean read_borrower(HmPoolSegment *segment, json_t *entry)
{
    const char *id = json_string_value(json_object_get(entry, "borrower"));
    json_int_t place = json_integer_value(json_object_get(entry, "place"));

    if (!id || place < 0 || place > G_MAXINT) {
        return FALSE;
    }
    segment->borrower = g_strdup(id);
    segment->place = (guint)place;
    return TRUE;
}

static void read_entry(HmPoolSegment *segment, json_t *entry)
{
    const char *state = json_string_value(json_object_get(entry, "state"));
    json_int_t huge = json_integer_value(json_object_get(entry, "huge"));
    gboolean clean = hm_pool_segment_is_clean(segment);

    segment->huge = (guint64)MAX(huge, 0);
    segment->exposed = TRUE;
    segment->state = HM_SEGMENT_DIRTY;
    if (clean && g_strcmp0(state, STATE_READY) == 0) {
        read_where(segment, entry);
        segment->exposed = FALSE;
        segment->state = HM_SEGMENT_READY;
    }
    if (!clean && g_strcmp0(state, STATE_LENT) == 0 &&
        read_borrower(segment, entry)) {
        segment->state = HM_SEGMENT_KEPT;
    }
}

static void log_useless(HostmemMemoryPool *self, const GError *why)
{
    g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(self));
    g_autofree char *size = hm_size_format(self->segment_size);

    g_message("%s: a segment of %s that was kept is not used: %s", what, size,
              why->message);
}

/* FALSE: it is cancelled. */
static gboolean adopt(HostmemMemoryPool *self, HmSaved *saved, json_t *entry,
                      GCancellable *cancellable, GError **error)
{
    json_t *path = json_object_get(entry, HM_SAVED_EXPORT);
    g_autoptr(GError) why = NULL;
    HmPoolSegment *segment;

    if (path) {
        json_object_set(hm_saved_get_state(saved), HM_SAVED_EXPORT, path);
    }
    segment = hm_pool_segment_adopt(&self->recipe, saved, cancellable, &why);
    if (g_error_matches(why, G_IO_ERROR, G_IO_ERROR_CANCELLED)) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    if (!segment) {
        log_useless(self, why);
        return TRUE;
    }
    read_entry(segment, entry);
    g_mutex_lock(&self->lock);
    g_ptr_array_add(self->segments, segment);
    g_mutex_unlock(&self->lock);
    return TRUE;
}

static gboolean adopt_all(HostmemMemoryPool *self, GCancellable *cancellable,
                          GError **error)
{
    HmSaved *saved = hm_object_get_saved(HOSTMEM_OBJECT(self));
    json_t *list = json_object_get(hm_saved_get_state(saved), SAVED_SEGMENTS);

    for (guint i = 0; i < hm_saved_n_fds(saved); i++) {
        if (!adopt(self, hm_saved_take_part(saved, i), json_array_get(list, i),
                   cancellable, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean find_nodes(HostmemMemoryPool *self, GError **error)
{
    g_autoptr(HmIdset) nodes =
        hm_idset_parse(self->host_nodes ? self->host_nodes : "", error);

    if (nodes && !hm_idset_is_empty(nodes)) {
        self->nodes = hm_idset_copy(nodes);
    }
    return nodes != NULL;
}

gboolean hm_memory_pool_restore(HostmemMemoryPool *self,
                                GCancellable *cancellable, GError **error)
{
    self->restoring = TRUE;
    hm_memory_pool_make_hands(self);
    return find_nodes(self, error) && adopt_all(self, cancellable, error);
}

static void take_back_kept(HostmemMemoryPool *self)
{
    for (guint i = 0; i < self->segments->len; i++) {
        HmPoolSegment *segment = g_ptr_array_index(self->segments, i);

        if (segment->state == HM_SEGMENT_KEPT) {
            segment->state = HM_SEGMENT_DIRTY;
            g_clear_pointer(&segment->borrower, g_free);
        }
    }
}

/* Nobody who could be told that it is low is there yet. */
void hm_memory_pool_end_restore(HostmemMemoryPool *self)
{
    g_mutex_lock(&self->lock);
    self->restoring = FALSE;
    take_back_kept(self);
    hm_memory_pool_look_at_mark(self);
    g_mutex_unlock(&self->lock);
    hm_memory_pool_trim(self);
    hm_memory_pool_look(self);
}
