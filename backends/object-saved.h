/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/error.h>
#include <jansson.h>

/**
 * HmKeeper: what the objects of a registry need, so that their memory can
 * outlive the process: names for descriptors, and a way to say that something
 * has changed.
 *
 * Reference counted, as objects may outlive the registry.  Any thread, where
 * nothing else is said.
 */
typedef struct HmKeeper HmKeeper;

/** In the thread of the context. */
typedef void (*HmKeeperFunc)(gpointer data);

/** @changed is called in @context, once for many changes, ahead of what waits
 * there at the usual priority. */
HmKeeper *hm_keeper_new(GMainContext *context, HmKeeperFunc changed,
                        gpointer data);
HmKeeper *hm_keeper_ref(HmKeeper *self);
void hm_keeper_unref(HmKeeper *self);
/** Nobody is told any more; in the thread of the context. */
void hm_keeper_close(HmKeeper *self);
/** What would be saved has changed. */
void hm_keeper_changed(HmKeeper *self);
/** What is there is left to another process: see
 * hm_object_is_left_behind(). */
void hm_keeper_leave(HmKeeper *self);
gboolean hm_keeper_has_left(HmKeeper *self);
/** The number of the next name; names are never used twice. */
guint64 hm_keeper_get_serial(HmKeeper *self);
void hm_keeper_set_serial(HmKeeper *self, guint64 serial);

/**
 * HmSaved: what it takes to make an object again in another process: its
 * options, its descriptors, and what its type alone knows, its state.
 *
 * Used twice: the vfunc save() of a class fills it; and complete() of an object
 * that is made again finds it, see hm_object_get_saved().  Nothing in it is to
 * be trusted then: it comes from outside.  One thread at a time.
 */
typedef struct HmSaved HmSaved;

/* Filling it */

/** (transfer none): an object; "memaddr" that was chosen may be set here. */
json_t *hm_saved_get_options(HmSaved *self);
/** (transfer none): an object; the keys are the type's. */
json_t *hm_saved_get_state(HmSaved *self);
/**
 * hm_saved_add_fd: a descriptor that shall outlive the process.
 * @name: where the caller keeps the name of it; NULL at first: made here
 * @fd: borrowed
 */
void hm_saved_add_fd(HmSaved *self, char **name, int fd);
/** It cannot be made again: "its memory is private". */
void hm_saved_set_lost(HmSaved *self, const char *why);

/* Finding it */

guint hm_saved_n_fds(const HmSaved *self);
/**
 * hm_saved_take_part: (transfer full): the i-th descriptor alone, for an object
 * that no registry knows, a part of this one; no options, no state.
 */
HmSaved *hm_saved_take_part(HmSaved *self, guint i);
/** What a descriptor is, as it was saved. */
typedef struct {
    char *name;     /* (transfer full) */
    guint64 device; /* st_dev and st_ino of the file */
    guint64 inode;
} HmSavedFile;
/**
 * hm_saved_take_fd: take a descriptor.
 * @i: as they were added, from 0
 * @file: (out): @name is set after success only
 *
 * Returns: (transfer full): close-on-exec; or -1 with %HOSTMEM_ERROR_NOT_FOUND
 */
int hm_saved_take_fd(HmSaved *self, guint i, HmSavedFile *file, GError **error);
/**
 * hm_saved_read_size: a number of the state; what is missing is untouched.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (it is no number, or negative)
 */
gboolean hm_saved_read_size(HmSaved *self, const char *key, guint64 *value,
                            GError **error);
/** The same of a text, (transfer none). */
gboolean hm_saved_read_text(HmSaved *self, const char *key, const char **value,
                            GError **error);

/* For the registry */

/**
 * hm_saved_new: to be filled.
 * @id: (nullable): for names
 * @options: (transfer full)
 * @known: (element-type utf8 gpointer): names of descriptors that were handed
 *     out before: these are not duplicated
 */
HmSaved *hm_saved_new(HmKeeper *keeper, const char *id, json_t *options,
                      GHashTable *known);
/**
 * hm_saved_read: what was filled.
 * @entry: as hm_saved_write() has made it, or anything
 * @fds: (element-type utf8 int): owned descriptors by name; those that are of
 *     this object are taken out of it
 *
 * Returns: NULL with %HOSTMEM_ERROR_INVALID
 */
HmSaved *hm_saved_read(json_t *entry, GHashTable *fds, GError **error);
void hm_saved_free(HmSaved *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmSaved, hm_saved_free)

/** (transfer full): for hm_saved_read(). */
json_t *hm_saved_write(HmSaved *self);
/** (nullable) */
const char *hm_saved_get_lost(const HmSaved *self);
/** Why a descriptor could not be had: FALSE with the error. */
gboolean hm_saved_check(const HmSaved *self, GError **error);
/** The i-th: its name, and our duplicate, (transfer full); -1: it is known. */
const char *hm_saved_get_name(const HmSaved *self, guint i);
int hm_saved_steal_fd(HmSaved *self, guint i);
