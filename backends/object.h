/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/object.h>
#include "backends/job-list.h"
#include "backends/object-saved.h"
#include "util/props.h"

/*
 * Locks, in the order in which they may be taken:
 *
 *   change_lock   one change of a live object at a time; may be held long
 *   value_lock    the fields behind HM_PROP_LIVE rows; never held long
 *   hold_lock     the holds; also kept while memory is rolled back
 *
 * A live field is written under both and may be read under either.  Fields
 * of other rows do not change once complete() has been called.
 */
struct _HostmemObject {
    GObject parent_instance;

    char *id;
    char *path;   /* (nullable): in the registry's tree; constant */
    gint holds;   /* atomic; raised under hold_lock */
    gint exposed; /* atomic; set under hold_lock, for good */
    GMutex change_lock;
    GMutex value_lock;
    GMutex hold_lock;
    gboolean complete;  /* creation succeeded; written once, atomic */
    gboolean abandoned; /* see hm_object_abandon(); atomic */
    HmJobList *jobs;    /* (nullable): where its jobs are; constant */
    HmKeeper *keeper;   /* (nullable): who saves it; constant */
    HmSaved *saved;     /* (nullable): what it is made of; during creation */
};

/*
 * A class gives its QOM name, its rows (hm_props_install() in class_init) and
 * these; a class that leaves one out chains to its parent's.
 */
struct _HostmemObjectClass {
    GObjectClass parent_class;

    const char *type_name; /* "memory-backend-ram"; NULL for the base */

    /* All that can fail in creation; any thread. */
    gboolean (*complete)(HostmemObject *self, GCancellable *cancellable,
                         GError **error);
    /*
     * Change a HM_PROP_LIVE row of a complete object; under change_lock.  The
     * field is stored behind it, so it still has the old value here.
     */
    gboolean (*change)(HostmemObject *self, const HmProp *row,
                       const GValue *value, GCancellable *cancellable,
                       GError **error);
    /* A change is done, and no lock is held: the place for signals. */
    void (*changed)(HostmemObject *self);
    /*
     * Write down what makes a complete object again, besides its options; chain
     * to the parent's first.  In the registry's thread, at each change: quick.
     */
    void (*save)(HostmemObject *self, HmSaved *saved);
    /* Say why a row that is not live does not change.  Returns: FALSE */
    gboolean (*refuse_change)(HostmemObject *self, const HmProp *row,
                              GError **error);
};

#define HOSTMEM_OBJECT_CLASS(klass) \
    (G_TYPE_CHECK_CLASS_CAST((klass), HOSTMEM_TYPE_OBJECT, HostmemObjectClass))
#define HOSTMEM_OBJECT_GET_CLASS(obj) \
    (G_TYPE_INSTANCE_GET_CLASS((obj), HOSTMEM_TYPE_OBJECT, HostmemObjectClass))

/** "memory-backend-memfd 'm0'", or the type alone; (transfer full). */
char *hm_object_describe(HostmemObject *self);

/** (transfer none) (nullable): of the CPUs that it shares with others. */
HmQueue *hm_object_get_queue(HostmemObject *self);

/** Where the jobs of the object go; before creation is complete. */
void hm_object_set_jobs(HostmemObject *self, HmJobList *jobs);

/** What hm_object_get_path() shall return; before creation is complete. */
void hm_object_set_path(HostmemObject *self, const char *path);

/** Who saves the object; before creation is complete. */
void hm_object_set_keeper(HostmemObject *self, HmKeeper *keeper);
/** Make it of this, (transfer full), rather than anew; before creation. */
void hm_object_set_saved(HostmemObject *self, HmSaved *saved);
/** (transfer none) (nullable): for complete(), to be made of it. */
HmSaved *hm_object_get_saved(HostmemObject *self);
/**
 * hm_object_state_changed: what save() writes has changed, or will have before
 * whoever asked for it is answered.  Any thread, any lock held.
 */
void hm_object_state_changed(HostmemObject *self);
/** For the last unref: another process goes on with what the object has, so
 * nothing of it is removed, given back or made empty. */
gboolean hm_object_is_left_behind(HostmemObject *self);

/** Whether creation has succeeded, and all that it made can be used. */
gboolean hm_object_is_complete(HostmemObject *self);
/** For who creates it other than by GInitable. */
void hm_object_set_complete(HostmemObject *self);

/**
 * hm_object_abandon: nobody will ever use the object, undo its creation as if
 * that had failed.
 *
 * Before the last unref: for who cancels a creation that was faster.
 */
void hm_object_abandon(HostmemObject *self);
gboolean hm_object_is_abandoned(HostmemObject *self);

/**
 * hm_object_hold_alone: hostmem_object_hold(), for who wants to be the only
 * one.
 *
 * Others may hold the object as well later.
 *
 * Returns: FALSE when somebody holds it already
 */
gboolean hm_object_hold_alone(HostmemObject *self);

/**
 * hm_object_expose: somebody outside this process gets the object, and nobody
 * can tell for how long: nothing of it is rolled back from now on.
 *
 * Waits for a rollback that is under way.  Unlike a hold it does not keep the
 * object from being removed.
 */
void hm_object_expose(HostmemObject *self);
gboolean hm_object_is_exposed(HostmemObject *self);
/** Whether somebody may depend on what is there: it is held, or exposed. */
gboolean hm_object_is_in_use(HostmemObject *self);

/**
 * hm_object_begin_rollback: keep everybody from holding the object and from
 * exposing it, so that what nobody depends on can be undone.
 *
 * Returns: FALSE, and nothing to end, when it is in use already
 */
gboolean hm_object_begin_rollback(HostmemObject *self);
/** After a hm_object_begin_rollback() that returned TRUE; the same thread. */
void hm_object_end_rollback(HostmemObject *self);

/**
 * (transfer full): where its registry has it; without one "/objects/ID", or ""
 * when it has no id.
 */
char *hm_object_get_path(HostmemObject *self);

/** As hostmem_object_get(), as JSON; LINKs are written with @links. */
json_t *hm_object_get_json(HostmemObject *self, const char *property,
                           const HmPropLinks *links, GError **error);
/** As hostmem_object_set(), from JSON. */
gboolean hm_object_set_json(HostmemObject *self, const char *property,
                            json_t *value, const HmPropLinks *links,
                            GCancellable *cancellable, GError **error);
