/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * What listeners were told and what the source says must never part.  So a
 * change of the source, the telling of it, and the coming and going of
 * listeners happen in turns, one thread at a time.  A late listener is told
 * in its turn what is populated: no change can fall between that and its place
 * in the list.
 *
 * A callback runs in a turn, and what it does comes from the thread that has
 * it.  Such a call cannot wait for the turn: what would change the source or
 * add to the list is refused.  To remove only marks the listener, which hears
 * no more; the list keeps its shape until the turn ends, so that whoever walks
 * through it may go on.  Marked listeners are destroyed when the turn is over,
 * because that is code of others, which may come back for anything.
 *
 * What a listener should drop, when it has vetoed or leaves, is told in one
 * call for all it may have mapped, and not run by run: the source need not be
 * asked, and a listener that gave up half way has nothing to undo of its own.
 */
#include "backends/virtio/discard.h"
#include "util/align.h"
#include "util/error.h"

G_DEFINE_INTERFACE(HostmemDiscardSource, hostmem_discard_source, G_TYPE_OBJECT)

typedef struct {
    guint id;
    HmRange section;
    HostmemDiscardListener callbacks;
    gpointer user_data;
    GDestroyNotify destroy;
    gboolean left; /* hears no more; freed when the turn ends */
} Listener;

static void hostmem_discard_source_default_init(
    HostmemDiscardSourceInterface *iface G_GNUC_UNUSED)
{
}

/* One listener */

static void listener_free(gpointer data)
{
    Listener *self = data;

    if (self->destroy) {
        self->destroy(self->user_data);
    }
    g_free(self);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Listener, listener_free)

static gboolean listener_populating(const Listener *self,
                                    HostmemDiscardSource *source,
                                    const HmRange *range, GError **error)
{
    g_autoptr(GError) reason = NULL;

    if (!self->callbacks.populating ||
        self->callbacks.populating(source, range->offset, range->length,
                                   self->user_data, &reason)) {
        return TRUE;
    }
    if (!reason) {
        hm_set_error(&reason, HOSTMEM_ERROR_BUSY, "it gives no reason");
    }
    g_propagate_prefixed_error(error, g_steal_pointer(&reason),
                               "a listener refuses %" G_GUINT64_FORMAT
                               " bytes at offset 0x%" G_GINT64_MODIFIER "x: ",
                               range->length, range->offset);
    return FALSE;
}

static void listener_discarded(const Listener *self,
                               HostmemDiscardSource *source,
                               const HmRange *range)
{
    if (self->callbacks.discarded) {
        self->callbacks.discarded(source, range->offset, range->length,
                                  self->user_data);
    }
}

/* Marked first: its callback may remove it, too. */
static void listener_leave(Listener *self, HostmemDiscardSource *source)
{
    self->left = TRUE;
    listener_discarded(self, source, &self->section);
}

/* The turn */

gboolean hm_discard_listeners_in_turn(HmDiscardListeners *self)
{
    return g_atomic_pointer_get(&self->owner) == g_thread_self();
}

static void take_turn(HmDiscardListeners *self)
{
    g_mutex_lock(&self->turn);
    g_atomic_pointer_set(&self->owner, g_thread_self());
}

/* (transfer full) (nullable): those that left in this turn. */
static GPtrArray *take_left(HmDiscardListeners *self)
{
    g_autoptr(GPtrArray) all = NULL;
    GPtrArray *left;

    if (!self->some_left) {
        return NULL;
    }
    self->some_left = FALSE;
    all = g_steal_pointer(&self->listeners);
    left = g_ptr_array_new_with_free_func(listener_free);
    self->listeners = g_ptr_array_new();
    for (guint i = 0; i < all->len; i++) {
        Listener *listener = g_ptr_array_index(all, i);

        g_ptr_array_add(listener->left ? left : self->listeners, listener);
    }
    return left;
}

static void end_turn(HmDiscardListeners *self)
{
    g_autoptr(GPtrArray) left = take_left(self);

    g_atomic_pointer_set(&self->owner, NULL);
    g_mutex_unlock(&self->turn);
}

gboolean hm_discard_listeners_begin(HmDiscardListeners *self, GError **error)
{
    if (hm_discard_listeners_in_turn(self)) {
        return hm_set_error(error, HOSTMEM_ERROR_BUSY,
                            "a listener is being told of a change: its "
                            "callback cannot make another one");
    }
    take_turn(self);
    return TRUE;
}

void hm_discard_listeners_end(HmDiscardListeners *self)
{
    g_return_if_fail(hm_discard_listeners_in_turn(self));

    end_turn(self);
}

/* Telling */

/* Tell those from @first on, oldest first in the list, newest first in time. */
static void tell_discarded(HmDiscardListeners *self, guint first,
                           const HmRange *range)
{
    for (guint i = self->listeners->len; i-- > first;) {
        const Listener *listener = g_ptr_array_index(self->listeners, i);
        HmRange common;

        if (!listener->left &&
            hm_range_intersect(&listener->section, range, &common)) {
            listener_discarded(listener, self->source, &common);
        }
    }
}

gboolean hm_discard_listeners_populating(HmDiscardListeners *self,
                                         const HmRange *range, GError **error)
{
    g_return_val_if_fail(hm_discard_listeners_in_turn(self), FALSE);

    for (guint i = self->listeners->len; i-- > 0;) {
        const Listener *listener = g_ptr_array_index(self->listeners, i);
        HmRange common;

        if (!listener->left &&
            hm_range_intersect(&listener->section, range, &common) &&
            !listener_populating(listener, self->source, &common, error)) {
            tell_discarded(self, i, range);
            return FALSE;
        }
    }
    return TRUE;
}

void hm_discard_listeners_discarded(HmDiscardListeners *self,
                                    const HmRange *range)
{
    g_return_if_fail(hm_discard_listeners_in_turn(self));

    tell_discarded(self, 0, range);
}

/* Life */

void hm_discard_listeners_init(HmDiscardListeners *self,
                               HostmemDiscardSource *source)
{
    *self = (HmDiscardListeners){.source = source};
    g_mutex_init(&self->turn);
    self->listeners = g_ptr_array_new();
}

void hm_discard_listeners_remove_all(HmDiscardListeners *self)
{
    take_turn(self);
    for (guint i = self->listeners->len; i-- > 0;) {
        Listener *listener = g_ptr_array_index(self->listeners, i);

        if (!listener->left) {
            self->some_left = TRUE;
            listener_leave(listener, self->source);
        }
    }
    end_turn(self);
}

void hm_discard_listeners_clear(HmDiscardListeners *self)
{
    g_ptr_array_set_free_func(self->listeners, listener_free);
    g_clear_pointer(&self->listeners, g_ptr_array_unref);
    g_mutex_clear(&self->turn);
}

/* What is asked of a source */

static HmDiscardListeners *listeners_of(HostmemDiscardSource *self)
{
    return HOSTMEM_DISCARD_SOURCE_GET_IFACE(self)->get_listeners(self);
}

guint64 hostmem_discard_source_get_granularity(HostmemDiscardSource *self)
{
    g_return_val_if_fail(HOSTMEM_IS_DISCARD_SOURCE(self), 0);

    return HOSTMEM_DISCARD_SOURCE_GET_IFACE(self)->get_granularity(self);
}

guint64 hostmem_discard_source_get_size(HostmemDiscardSource *self)
{
    g_return_val_if_fail(HOSTMEM_IS_DISCARD_SOURCE(self), 0);

    return HOSTMEM_DISCARD_SOURCE_GET_IFACE(self)->get_size(self);
}

/*
 * Widen a range to the granularity, and cut it at the end of the memory.
 * Returns: FALSE when no byte of it is in the memory
 */
static gboolean fit_range(HostmemDiscardSource *self, guint64 offset,
                          guint64 length, HmRange *range)
{
    const guint64 granularity = hostmem_discard_source_get_granularity(self);
    const guint64 size = hostmem_discard_source_get_size(self);
    guint64 end;

    if (!length || offset >= size) {
        return FALSE;
    }
    if (!g_uint64_checked_add(&end, offset, length) ||
        !hm_align_up(end, granularity, &end)) {
        end = size;
    }
    offset = hm_align_down(offset, granularity);
    return hm_range_init(range, offset, MIN(end, size) - offset);
}

static guint64 get_run(HostmemDiscardSource *self, guint64 offset, guint64 end,
                       gboolean *populated)
{
    return HOSTMEM_DISCARD_SOURCE_GET_IFACE(self)->get_run(self, offset, end,
                                                           populated);
}

gboolean hostmem_discard_source_is_populated(HostmemDiscardSource *self,
                                             guint64 offset, guint64 length)
{
    gboolean populated;
    HmRange range;
    guint64 end;

    g_return_val_if_fail(HOSTMEM_IS_DISCARD_SOURCE(self), FALSE);

    if (!g_uint64_checked_add(&end, offset, length) ||
        end > hostmem_discard_source_get_size(self) ||
        !fit_range(self, offset, length, &range)) {
        return FALSE;
    }
    end = hm_range_end(&range);
    return get_run(self, range.offset, end, &populated) == range.length &&
           populated;
}

/* Replays */

static gboolean replay_runs(HostmemDiscardSource *self, const HmRange *range,
                            gboolean wanted, HostmemDiscardReplay replay,
                            gpointer user_data, GError **error)
{
    const guint64 end = hm_range_end(range);
    guint64 length;

    for (guint64 offset = range->offset; offset < end; offset += length) {
        gboolean populated;

        length = get_run(self, offset, end, &populated);
        if (populated == wanted && !replay(offset, length, user_data, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean replay_in_turn(HostmemDiscardSource *self, guint64 offset,
                               guint64 length, gboolean wanted,
                               HostmemDiscardReplay replay, gpointer user_data,
                               GError **error)
{
    HmDiscardListeners *listeners = listeners_of(self);
    HmRange range;
    gboolean ok;

    if (!fit_range(self, offset, length, &range)) {
        return TRUE;
    }
    if (hm_discard_listeners_in_turn(listeners)) {
        return replay_runs(self, &range, wanted, replay, user_data, error);
    }
    take_turn(listeners);
    ok = replay_runs(self, &range, wanted, replay, user_data, error);
    end_turn(listeners);
    return ok;
}

gboolean hostmem_discard_source_replay_populated(HostmemDiscardSource *self,
                                                 guint64 offset, guint64 length,
                                                 HostmemDiscardReplay replay,
                                                 gpointer user_data,
                                                 GError **error)
{
    g_return_val_if_fail(HOSTMEM_IS_DISCARD_SOURCE(self) && replay, FALSE);

    return replay_in_turn(self, offset, length, TRUE, replay, user_data, error);
}

gboolean hostmem_discard_source_replay_discarded(HostmemDiscardSource *self,
                                                 guint64 offset, guint64 length,
                                                 HostmemDiscardReplay replay,
                                                 gpointer user_data,
                                                 GError **error)
{
    g_return_val_if_fail(HOSTMEM_IS_DISCARD_SOURCE(self) && replay, FALSE);

    return replay_in_turn(self, offset, length, FALSE, replay, user_data,
                          error);
}

/* Listeners come and go */

static Listener *find_listener(const HmDiscardListeners *self, guint id)
{
    for (guint i = 0; i < self->listeners->len; i++) {
        Listener *listener = g_ptr_array_index(self->listeners, i);

        if (listener->id == id) {
            return listener->left ? NULL : listener;
        }
    }
    return NULL;
}

static guint new_id(HmDiscardListeners *self)
{
    do {
        self->last_id++;
    } while (!self->last_id || find_listener(self, self->last_id));
    return self->last_id;
}

typedef struct {
    const Listener *listener;
    HostmemDiscardSource *source;
} Late;

/* A HostmemDiscardReplay. */
static gboolean tell_late(guint64 offset, guint64 length, gpointer user_data,
                          GError **error)
{
    const Late *late = user_data;
    const HmRange range = {offset, length};

    return listener_populating(late->listener, late->source, &range, error);
}

static guint add_in_turn(HmDiscardListeners *self, Listener **listenerp,
                         GError **error)
{
    Listener *listener = *listenerp;
    Late late = {listener, self->source};

    if (!replay_runs(self->source, &listener->section, TRUE, tell_late, &late,
                     error)) {
        listener_discarded(listener, self->source, &listener->section);
        return 0;
    }
    listener->id = new_id(self);
    g_ptr_array_add(self->listeners, g_steal_pointer(listenerp));
    return listener->id;
}

guint hostmem_discard_source_add_listener(
    HostmemDiscardSource *self, guint64 offset, guint64 length,
    const HostmemDiscardListener *listener, gpointer user_data,
    GDestroyNotify destroy, GError **error)
{
    g_autoptr(Listener) added = NULL;
    HmDiscardListeners *listeners;
    guint id;

    g_return_val_if_fail(HOSTMEM_IS_DISCARD_SOURCE(self) && listener, 0);

    added = g_new0(Listener, 1);
    added->callbacks = *listener;
    added->user_data = user_data;
    added->destroy = destroy;
    if (!fit_range(self, offset, length, &added->section)) {
        hm_set_error(error, HOSTMEM_ERROR_INVALID,
                     "cannot listen to %" G_GUINT64_FORMAT
                     " bytes at offset 0x%" G_GINT64_MODIFIER
                     "x: no byte of them is in the memory, which has "
                     "%" G_GUINT64_FORMAT " bytes",
                     length, offset, hostmem_discard_source_get_size(self));
        return 0;
    }
    listeners = listeners_of(self);
    if (!hm_discard_listeners_begin(listeners, error)) {
        return 0;
    }
    id = add_in_turn(listeners, &added, error);
    end_turn(listeners);
    return id;
}

static void remove_in_turn(HmDiscardListeners *self, guint id)
{
    Listener *listener = find_listener(self, id);

    if (listener) {
        self->some_left = TRUE;
        listener_leave(listener, self->source);
    }
}

void hostmem_discard_source_remove_listener(HostmemDiscardSource *self,
                                            guint id)
{
    HmDiscardListeners *listeners;

    g_return_if_fail(HOSTMEM_IS_DISCARD_SOURCE(self));

    listeners = listeners_of(self);
    if (hm_discard_listeners_in_turn(listeners)) {
        remove_in_turn(listeners, id);
        return;
    }
    take_turn(listeners);
    remove_in_turn(listeners, id);
    end_turn(listeners);
}
