/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/discard.h>
#include "util/range.h"

/*
 * What a source embeds: the listeners, and the turn.
 *
 * Who populates or discards takes the turn first and gives it back last, so
 * that what listeners were told and what the source says stay one:
 *
 *     hm_discard_listeners_begin(&self->listeners, &error)   may refuse
 *     ... make the memory of the range ...
 *     hm_discard_listeners_populating(&self->listeners, &range, &error)
 *     ... mark the range as populated; or, after a veto, give it back ...
 *     hm_discard_listeners_end(&self->listeners)
 *
 *     hm_discard_listeners_begin(&self->listeners, &error)
 *     ... mark the range as discarded, and give its memory back ...
 *     hm_discard_listeners_discarded(&self->listeners, &range)
 *     hm_discard_listeners_end(&self->listeners)
 *
 * The turn is a lock: take it before the locks that get_run() takes, and hold
 * none of those when listeners are told, because they may ask the source.
 */
typedef struct {
    HostmemDiscardSource *source; /* not owned: it embeds this */
    GMutex turn;
    gpointer owner;       /* atomic: the GThread that has the turn */
    GPtrArray *listeners; /* oldest first; changed by who has the turn */
    gboolean some_left;   /* listeners have been removed in this turn */
    guint last_id;
} HmDiscardListeners;

void hm_discard_listeners_init(HmDiscardListeners *self,
                               HostmemDiscardSource *source);
/** In dispose: the listeners that are left hear that all is discarded. */
void hm_discard_listeners_remove_all(HmDiscardListeners *self);
/** In finalize. */
void hm_discard_listeners_clear(HmDiscardListeners *self);

/**
 * hm_discard_listeners_begin: wait for the turn.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_BUSY when this thread has it, which means
 * that it is in a callback
 */
gboolean hm_discard_listeners_begin(HmDiscardListeners *self, GError **error);
void hm_discard_listeners_end(HmDiscardListeners *self);
/** Whether this thread has the turn: it is in a callback, or a source's. */
gboolean hm_discard_listeners_in_turn(HmDiscardListeners *self);

/**
 * hm_discard_listeners_populating: ask whether a range may be populated.
 * @range: multiples of the granularity, within the memory
 *
 * Pre: this thread has the turn, nothing of @range is populated
 *
 * Returns: FALSE with the error of who vetoed; all has been undone
 */
gboolean hm_discard_listeners_populating(HmDiscardListeners *self,
                                         const HmRange *range, GError **error);

/**
 * hm_discard_listeners_discarded: tell that a range is not populated any more.
 * @range: multiples of the granularity, within the memory; it need not have
 *     been populated, and may be all of the memory
 *
 * Pre: this thread has the turn, nothing of @range is populated
 */
void hm_discard_listeners_discarded(HmDiscardListeners *self,
                                    const HmRange *range);

#define HOSTMEM_DISCARD_SOURCE_GET_IFACE(obj)                          \
    (G_TYPE_INSTANCE_GET_INTERFACE((obj), HOSTMEM_TYPE_DISCARD_SOURCE, \
                                   HostmemDiscardSourceInterface))

/*
 * What a source implements.  Any thread may call, in a callback too.
 */
struct _HostmemDiscardSourceInterface {
    GTypeInterface parent;

    /* Bytes, a power of two; constant. */
    guint64 (*get_granularity)(HostmemDiscardSource *self);
    /* Bytes, a multiple of the granularity; constant. */
    guint64 (*get_size)(HostmemDiscardSource *self);
    /* The run that starts at @offset, a multiple of the granularity within the
     * memory, and ends at @end at the latest.  Returns: its length in bytes,
     * not 0; whether it is populated in *@populated */
    guint64 (*get_run)(HostmemDiscardSource *self, guint64 offset, guint64 end,
                       gboolean *populated);
    /* The embedded listeners. */
    HmDiscardListeners *(*get_listeners)(HostmemDiscardSource *self);
};
