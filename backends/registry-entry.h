/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "backends/object-spec.h"
#include "backends/registry-private.h"

struct _HostmemRegistry {
    GObject parent_instance;

    GMainContext *context;
    GHashTable *by_id;  /* id -> HmEntry, borrowed */
    GPtrArray *entries; /* owned, in the order of creation */
    HmPropLinks links;
    HmJobList *jobs;
};

typedef enum {
    HM_ENTRY_CREATING,
    HM_ENTRY_READY,
    HM_ENTRY_LEAVING,
} HmEntryState;

/* Who is to be told. */
typedef struct {
    GAsyncReadyCallback callback;
    gpointer data;
} HmWaiter;

/* One id of a registry; all of it is of the registry's thread but @error. */
typedef struct {
    HostmemRegistry *registry; /* borrowed */
    char *id;
    HostmemObject *object;
    HmEntryState state;

    GCancellable *cancellable; /* of the creation */
    GCancellable *outer;       /* (nullable): the caller's, passed on to it */
    gulong outer_handler;

    GSource *done;   /* attached by the thread; NULL: nothing goes on */
    GThread *thread; /* NULL: no thread was to be had, @done is attached */
    GError *error;   /* why creation failed; of the thread until it is done */

    gboolean add_waits;
    HmWaiter add;
    GArray *removals; /* (element-type HmWaiter) */
} HmEntry;

/** An entry in CREATING, in the table; its id is free. */
HmEntry *hm_entry_new(HostmemRegistry *registry, const HmObjectSpec *spec);
/** The free function of the table. */
void hm_entry_free(gpointer entry);
/** Take an entry on which nothing goes on out of the table, and free it. */
void hm_entry_drop(HmEntry *entry);

/** Create here and now; the entry is gone when it fails. */
gboolean hm_entry_create(HmEntry *entry, GCancellable *cancellable,
                         GError **error);
/** Create in a thread; @waiter is answered as by add_async(). */
void hm_entry_create_async(HmEntry *entry, GCancellable *cancellable,
                           const HmWaiter *waiter);
/** Free a READY object here and now. */
void hm_entry_remove(HmEntry *entry);
/** Free a READY object in a thread, or cancel the creation of one. */
void hm_entry_remove_async(HmEntry *entry, const HmWaiter *waiter);
/** Wait for the thread of a busy entry and go on with what it did. */
void hm_entry_settle(HmEntry *entry);

/** (transfer full): a task that answers in the registry's context. */
GTask *hm_registry_new_task(HostmemRegistry *self, const HmWaiter *waiter,
                            gpointer tag);
