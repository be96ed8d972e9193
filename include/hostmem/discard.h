/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>
#include <hostmem/error.h>

G_BEGIN_DECLS

/**
 * HostmemDiscardSource:
 *
 * Memory that comes and goes in parts.  Who pins or maps guest memory (VFIO,
 * vhost-user, vDPA, a dumper) listens to the source, and maps only what is
 * populated: there for the guest to use.  What is not is discarded: it may
 * have no storage, and nobody should touch it.  QEMU's RamDiscardManager, as
 * an interface; a HostmemVirtioMem is one.  Objects of this library alone
 * implement it.
 *
 * Offsets and lengths are bytes from the start of the memory.  A range that a
 * caller gives is widened to multiples of the granularity.  Every function may
 * be called from any thread.
 */
#define HOSTMEM_TYPE_DISCARD_SOURCE (hostmem_discard_source_get_type())
typedef struct _HostmemDiscardSource HostmemDiscardSource;
typedef struct _HostmemDiscardSourceInterface HostmemDiscardSourceInterface;
#define HOSTMEM_DISCARD_SOURCE(obj)                                 \
    (G_TYPE_CHECK_INSTANCE_CAST((obj), HOSTMEM_TYPE_DISCARD_SOURCE, \
                                HostmemDiscardSource))
#define HOSTMEM_IS_DISCARD_SOURCE(obj) \
    (G_TYPE_CHECK_INSTANCE_TYPE((obj), HOSTMEM_TYPE_DISCARD_SOURCE))
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostmemDiscardSource, g_object_unref)

GType hostmem_discard_source_get_type(void) G_GNUC_CONST;

/**
 * HostmemDiscardListener: what is told to somebody who maps the memory.
 * @populating: (nullable): the range is about to be populated; FALSE with
 *     @error vetoes that.  All listeners agree before the source counts the
 *     range as populated and before the guest may use it.  %NULL agrees.
 * @discarded: (nullable): the range is not populated any more, its memory has
 *     been given back: drop every mapping of it.  It cannot fail, and must bear
 *     ranges that were never populated, or in part: what it vetoed itself, and
 *     its whole section when all goes or it leaves.
 *
 * Listeners are told newest first, each of what lies in its section, in
 * multiples of the granularity.  What was told in one piece may go in many, and
 * the other way round.  After a veto the listeners told so far, and the one
 * that vetoed, are told that the range is discarded; the others hear nothing.
 *
 * Callbacks of a source run one at a time, in the thread that populates,
 * discards, adds or removes.  In a callback:
 * - the source may be asked anything; a range that comes or goes does not count
 *   as populated;
 * - listeners may be removed, the running one too;
 * - adding a listener, populating and discarding are refused with
 *   %HOSTMEM_ERROR_BUSY;
 * - other threads that do any of these things wait for its return: it must not
 *   wait for them.
 */
typedef struct {
    gboolean (*populating)(HostmemDiscardSource *source, guint64 offset,
                           guint64 length, gpointer user_data, GError **error);
    void (*discarded)(HostmemDiscardSource *source, guint64 offset,
                      guint64 length, gpointer user_data);
} HostmemDiscardListener;

/** Returns: bytes, a power of two; constant. */
guint64 hostmem_discard_source_get_granularity(HostmemDiscardSource *self);

/** Returns: bytes, a multiple of the granularity; constant. */
guint64 hostmem_discard_source_get_size(HostmemDiscardSource *self);

/**
 * hostmem_discard_source_is_populated: may all of a range be used?
 * @offset: bytes
 * @length: bytes
 *
 * The answer may be outdated when it arrives: who needs to rely on it listens,
 * or asks in a callback.
 *
 * Returns: whether every byte is populated; FALSE when the range is empty, or
 * reaches beyond the memory
 */
gboolean hostmem_discard_source_is_populated(HostmemDiscardSource *self,
                                             guint64 offset, guint64 length);

/**
 * HostmemDiscardReplay: called for a run that is populated, or discarded.
 * @offset: bytes
 * @length: bytes
 *
 * Returns: FALSE with @error to stop there
 */
typedef gboolean (*HostmemDiscardReplay)(guint64 offset, guint64 length,
                                         gpointer user_data, GError **error);

/**
 * hostmem_discard_source_replay_populated: go through what is populated.
 * @offset: bytes
 * @length: bytes; what reaches beyond the memory is left out
 * @replay: called for each maximal run in the range, in ascending order, by
 *     this thread; the rules for the callbacks of a listener hold for it too
 *
 * Nothing comes or goes meanwhile: other threads that try wait for the end.
 *
 * Returns: FALSE with the error of @replay, which is not called again
 */
gboolean hostmem_discard_source_replay_populated(HostmemDiscardSource *self,
                                                 guint64 offset, guint64 length,
                                                 HostmemDiscardReplay replay,
                                                 gpointer user_data,
                                                 GError **error);

/** The same for what is discarded. */
gboolean hostmem_discard_source_replay_discarded(HostmemDiscardSource *self,
                                                 guint64 offset, guint64 length,
                                                 HostmemDiscardReplay replay,
                                                 gpointer user_data,
                                                 GError **error);

/**
 * hostmem_discard_source_add_listener: be told of what comes and goes.
 * @offset: bytes; start of its section
 * @length: bytes; what reaches beyond the memory is left out
 * @listener: copied
 * @destroy: (nullable): called with @user_data when no callback will run any
 *     more, also after a failure; may call anything here
 *
 * What is populated in the section already is told as populating, run by run,
 * before this returns.  After a veto it is told that its whole section is
 * discarded, and is not added.
 *
 * A listener keeps no reference on the source.  When the source goes, a
 * listener that is left is told that its section is discarded, and removed.
 *
 * Returns: an id, never 0; or 0 with %HOSTMEM_ERROR_INVALID (no byte of the
 * section is in the memory), %HOSTMEM_ERROR_BUSY (called in a callback) or the
 * listener's error
 */
guint hostmem_discard_source_add_listener(
    HostmemDiscardSource *self, guint64 offset, guint64 length,
    const HostmemDiscardListener *listener, gpointer user_data,
    GDestroyNotify destroy, GError **error);

/**
 * hostmem_discard_source_remove_listener: be told no more.
 *
 * The listener is told that its whole section is discarded.  After this returns
 * no callback of it runs, nor will; in a callback, none besides those that are
 * on the stack of this thread.  Its @destroy has been called by then, or is
 * called once this thread has left the outermost callback.
 *
 * Does nothing when @id is not, or no longer, that of a listener.
 */
void hostmem_discard_source_remove_listener(HostmemDiscardSource *self,
                                            guint id);

G_END_DECLS
