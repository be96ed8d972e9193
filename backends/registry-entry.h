/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "backends/device-watch.h"
#include "backends/device.h"
#include "backends/object-spec.h"
#include "backends/pool-watch.h"
#include "backends/registry-private.h"

struct _HostmemRegistry {
    GObject parent_instance;

    GMainContext *context;
    GHashTable *by_path; /* path -> HmEntry, borrowed */
    GPtrArray *entries;  /* owned, in the order of creation */
    GPtrArray *batches;  /* borrowed, at work in threads: registry-batch.c */
    HmPropLinks links;
    HmJobList *jobs;
    HmAddressSpace *space; /* of the devices */
    HmKeeper *keeper;
    GHashTable *kept;      /* names of descriptors that were handed out */
    GPtrArray *old_states; /* names of states, to be forgotten */
    int state_fd;          /* of the last one, locked; -1: none */
    guint64 generation;    /* of it */
    char *note;            /* (nullable): saved along */
    GPtrArray *restored;   /* (element-type HostmemRestored) */
    gpointer restoring;    /* (nullable): at work: registry-restore.c */
    guint n_unnamed;       /* devices without an id, so far */
    HostmemExportDir *export_dir; /* (nullable): of memory to come */
};

/* Where objects and devices are; ids are unique in each. */
#define HM_OBJECTS_PATH "/objects/"
#define HM_DEVICES_PATH "/machine/peripheral/"
#define HM_UNNAMED_PATH "/machine/peripheral-anon/"

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

/* One path of a registry; all of it is of the registry's thread but @error. */
typedef struct {
    HostmemRegistry *registry; /* borrowed */
    HmSpecKind kind;
    char *path;
    const char *id; /* the end of the path, also when the object has none */
    HostmemObject *object;
    json_t *given;     /* what it was asked for, owned */
    gboolean restored; /* made by another process at first */
    gboolean matched;  /* and asked for again by the line it was made by */
    HmEntryState state;
    gboolean announced;      /* "added" was emitted */
    guint64 size;            /* bytes, of a backend, that was told of */
    HmDeviceWatch *watch;    /* (nullable): of a READY device */
    HmPoolWatch *pool_watch; /* (nullable): of a READY memory-pool */

    GCancellable *cancellable; /* of the creation */
    GCancellable *outer;       /* (nullable): the caller's, passed on to it */
    gulong outer_handler;

    GSource *done;   /* attached by the thread; NULL: nothing goes on */
    GThread *thread; /* NULL: no thread was to be had, @done is attached */
    GError *error;   /* why creation failed; of the thread until it is done */

    gboolean add_waits;
    HmWaiter add;
    gboolean removal_waits;
    HmWaiter removal;
} HmEntry;

/** An entry in CREATING, in the table; its path, (transfer full), is free. */
HmEntry *hm_entry_new(HostmemRegistry *registry, const HmObjectSpec *spec,
                      char *path);
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
/** Creation is over: with @error of the entry, cancelled, or ready. */
void hm_entry_created(HmEntry *entry, gboolean cancelled);
/** (transfer full): "creation of object 'm0' was cancelled". */
GError *hm_entry_cancelled_error(const HmEntry *entry);
/** Emit "backend-size-changed" for the backends that were resized. */
void hm_entries_tell_sizes(HostmemRegistry *registry);
/** Free a READY object here and now. */
void hm_entry_remove(HmEntry *entry);
/** Free a READY object in a thread, or cancel the creation of one. */
void hm_entry_remove_async(HmEntry *entry, const HmWaiter *waiter);
/** Wait for the thread of a busy entry and go on with what it did. */
void hm_entry_settle(HmEntry *entry);

/** "object" or "device", for messages. */
const char *hm_entry_noun(const HmEntry *entry);
gboolean hm_entry_is_creating(const HmEntry *entry);
/** Also while its creation is being cancelled: then it is gone for others. */
gboolean hm_entry_is_leaving(const HmEntry *entry);
gboolean hm_entry_is_ready_object(const HmEntry *entry);
gboolean hm_entry_is_ready_device(const HmEntry *entry);

/** (transfer full): a task that answers in the registry's context. */
GTask *hm_registry_new_task(HostmemRegistry *self, const HmWaiter *waiter,
                            gpointer tag);

/* registry.c, for both kinds of entries */

/** As hostmem_registry_add(). */
HostmemObject *hm_registry_add(HostmemRegistry *self, HmSpecKind kind,
                               const char *options, GCancellable *cancellable,
                               GError **error);
/** As hostmem_registry_add_async(). */
void hm_registry_add_async(HostmemRegistry *self, HmSpecKind kind,
                           const char *options, GCancellable *cancellable,
                           GAsyncReadyCallback callback, gpointer user_data);
/** (nullable): the entry at a path, when it is in that state. */
HmEntry *hm_registry_find(HostmemRegistry *self, const char *path,
                          HmEntryState state);
/** (transfer container) (element-type HostmemObject): of the wanted entries. */
GPtrArray *hm_registry_list(HostmemRegistry *self,
                            gboolean (*wanted)(const HmEntry *entry));
/** An entry for a checked line, whose path is free; NULL with @error, also when
 * @spec is, with @error set. */
HmEntry *hm_registry_add_entry(HostmemRegistry *self, const HmObjectSpec *spec,
                               GError **error);

/* registry-remove.c, for both kinds of entries */

/** As hostmem_registry_remove(), of an entry that is not leaving already. */
gboolean hm_registry_remove(HmEntry *entry, GError **error);
/**
 * As hostmem_registry_remove_async().
 * @entry: (nullable): NULL with @error, (transfer full), which is answered
 */
void hm_registry_remove_async(HostmemRegistry *self, HmEntry *entry,
                              GError *error, GAsyncReadyCallback callback,
                              gpointer user_data);

/* registry-batch.c */

/** Wait for the thread of a batch and go on with what it did. */
void hm_batch_settle(gpointer batch);
