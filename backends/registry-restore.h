/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/restore.h>
#include "backends/registry-entry.h"

/*
 * The text that is saved: registry-save.c writes it, registry-state.c reads it,
 * registry-restore.c makes the objects.
 *
 *   {"hostmem-state": 1, "generation": N, "serial": N, "note": TEXT,
 *    "objects": [{"path": "/objects/m0", "options": {...}, "given": {...},
 *                 "descriptors": [{"name", "device", "inode"}], "state": {},
 *                 "lost": REASON}]}
 *
 * "options" make the object as it is, "given" is what made it at first.
 */
#define HM_STATE_VERSION  1
#define HM_STATE_NOTE_MAX (64u << 10)

/** A state that was found: of the version, with all that it must have. */
typedef struct {
    json_t *root;
    guint64 generation;
    guint64 serial;
    char *name; /* of its descriptor */
    int fd;     /* owned; locked: nobody else has it */
} HmState;

/**
 * hm_state_find: the newest state that is well-formed.
 * @fds: (element-type HostmemSavedFd): those of states are taken out
 * @names: (element-type utf8): of all states are added
 *
 * Returns: (transfer full): as hostmem_registry_restore()
 */
HmState *hm_state_find(GPtrArray *fds, GPtrArray *names, GError **error);
void hm_state_free(HmState *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmState, hm_state_free)

/**
 * hm_state_lock: nobody else may have it.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_BUSY, which names the process
 */
gboolean hm_state_lock(int fd, GError **error);

/** Aliases become what they stand for; unknown keys stay. */
void hm_options_resolve_aliases(json_t *options, GObjectClass *klass);

/* One that was saved. */
typedef struct {
    const char *path; /* of the state */
    json_t *json;     /* borrowed from it */
    HmSaved *saved;   /* (nullable): owned until the object has it */
    HmEntry *entry;   /* (nullable): it failed, or was lost, before */
    gboolean visited;
    gboolean lost;
    GError *error; /* why it is not there */
} HmRestoreItem;

typedef struct {
    HostmemRegistry *registry; /* borrowed */
    HmState *state;
    GArray *items;       /* HmRestoreItem, as they were saved */
    GHashTable *by_path; /* path -> HmRestoreItem, borrowed */
    GPtrArray *order;    /* of them, each behind what it is linked to */
    GCancellable *cancellable;
    GCancellable *outer; /* (nullable): the caller's, passed on to it */
    gulong outer_handler;
    HmWaiter waiter;
    GThread *thread;
    GSource *done; /* attached by the thread */
    GError *error; /* why nothing is restored */
} HmRestore;

/* registry-restore-items.c */

/**
 * Find the items in the state, and their order.
 * @fds: (element-type utf8 int): owned descriptors by name; those that are
 *     wanted are taken out
 */
void hm_restore_read_items(HmRestore *self, GHashTable *fds);
/** (nullable): what an id or a path of an object stands for. */
HmRestoreItem *hm_restore_find_item(const HmRestore *self, const char *path);
/** Have an entry for each that is not lost and has well-formed options. */
void hm_restore_make_entries(HmRestore *self);
/** It goes on without a link; says so. */
void hm_restore_drop_link(const HmRestoreItem *item, const char *key,
                          const char *target);

/* registry-save.c, registry-restore.c */

/** Close it and forget it, which ends the lock. */
void hm_registry_clear_state(HostmemRegistry *self);
/** Wait for the thread that restores, and go on with what it did. */
void hm_restore_settle(gpointer restore);
/** End what the thread that restores is at. */
void hm_restore_cancel(gpointer restore);
