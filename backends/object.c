/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/object.h"
#include "util/error.h"

static void object_initable_iface_init(GInitableIface *iface);

G_DEFINE_ABSTRACT_TYPE_WITH_CODE(
    HostmemObject, hostmem_object, G_TYPE_OBJECT,
    G_IMPLEMENT_INTERFACE(G_TYPE_INITABLE, object_initable_iface_init))

static void get_type_property(gpointer object, GValue *value)
{
    g_value_set_string(value, hostmem_object_get_type_name(object));
}

static const HmProp object_props[] = {
    {
        .name = "id",
        .kind = HM_PROP_STRING,
        .offset = HM_PROP_FIELD(HostmemObject, id),
        .description = "Name of the object, unique in its registry",
    },
    {
        .name = "type",
        .kind = HM_PROP_STRING,
        .flags = HM_PROP_READ_ONLY,
        .get = get_type_property,
        .description = "Name of the object's type",
    },
};

/* Creation */

static gboolean object_complete(HostmemObject *self G_GNUC_UNUSED,
                                GCancellable *cancellable G_GNUC_UNUSED,
                                GError **error G_GNUC_UNUSED)
{
    return TRUE;
}

static gboolean object_change(HostmemObject *self G_GNUC_UNUSED,
                              const HmProp *row G_GNUC_UNUSED,
                              const GValue *value G_GNUC_UNUSED,
                              GCancellable *cancellable G_GNUC_UNUSED,
                              GError **error G_GNUC_UNUSED)
{
    return TRUE;
}

static void object_changed(HostmemObject *self G_GNUC_UNUSED)
{
}

static void object_save(HostmemObject *self G_GNUC_UNUSED,
                        HmSaved *saved G_GNUC_UNUSED)
{
}

static gboolean object_initable_init(GInitable *initable,
                                     GCancellable *cancellable, GError **error)
{
    HostmemObject *self = HOSTMEM_OBJECT(initable);

    if (hm_object_is_complete(self)) {
        return TRUE;
    }
    if (!HOSTMEM_OBJECT_GET_CLASS(self)->complete(self, cancellable, error)) {
        return FALSE;
    }
    hm_object_set_complete(self);
    return TRUE;
}

static void object_initable_iface_init(GInitableIface *iface)
{
    iface->init = object_initable_init;
}

/* QEMU words the size differently from all others; clients match on it. */
static gboolean object_refuse_change(HostmemObject *self, const HmProp *row,
                                     GError **error)
{
    const char *type = hostmem_object_get_type_name(self);

    if (g_str_equal(row->name, "size")) {
        return hm_set_error(error, HOSTMEM_ERROR_PERMISSION,
                            "cannot change property size of %s ", type);
    }
    return hm_set_error(error, HOSTMEM_ERROR_PERMISSION,
                        "cannot change property '%s' of %s.", row->name, type);
}

static void hostmem_object_init(HostmemObject *self)
{
    g_mutex_init(&self->change_lock);
    g_mutex_init(&self->value_lock);
    g_mutex_init(&self->hold_lock);
}

static void hostmem_object_finalize(GObject *object)
{
    HostmemObject *self = HOSTMEM_OBJECT(object);

    hm_props_clear(object);
    g_clear_pointer(&self->path, g_free);
    g_clear_pointer(&self->jobs, hm_job_list_unref);
    g_clear_pointer(&self->keeper, hm_keeper_unref);
    g_clear_pointer(&self->saved, hm_saved_free);
    g_mutex_clear(&self->change_lock);
    g_mutex_clear(&self->value_lock);
    g_mutex_clear(&self->hold_lock);
    G_OBJECT_CLASS(hostmem_object_parent_class)->finalize(object);
}

static void hostmem_object_class_init(HostmemObjectClass *klass)
{
    GObjectClass *object_class = G_OBJECT_CLASS(klass);

    object_class->finalize = hostmem_object_finalize;
    klass->complete = object_complete;
    klass->change = object_change;
    klass->changed = object_changed;
    klass->save = object_save;
    klass->refuse_change = object_refuse_change;
    hm_props_install(object_class, object_props, G_N_ELEMENTS(object_props));
}

void hm_object_set_jobs(HostmemObject *self, HmJobList *jobs)
{
    self->jobs = hm_job_list_ref(jobs);
}

void hm_object_set_path(HostmemObject *self, const char *path)
{
    self->path = g_strdup(path);
}

void hm_object_set_keeper(HostmemObject *self, HmKeeper *keeper)
{
    self->keeper = hm_keeper_ref(keeper);
}

void hm_object_set_saved(HostmemObject *self, HmSaved *saved)
{
    self->saved = saved;
}

HmSaved *hm_object_get_saved(HostmemObject *self)
{
    return self->saved;
}

void hm_object_state_changed(HostmemObject *self)
{
    if (self->keeper) {
        hm_keeper_changed(self->keeper);
    }
}

gboolean hm_object_is_left_behind(HostmemObject *self)
{
    return self->keeper && hm_keeper_has_left(self->keeper);
}

HmQueue *hm_object_get_queue(HostmemObject *self)
{
    return self->jobs ? hm_job_list_get_queue(self->jobs) : NULL;
}

/* What it is */

const char *hostmem_object_get_id(HostmemObject *self)
{
    g_return_val_if_fail(HOSTMEM_IS_OBJECT(self), NULL);

    return self->id;
}

const char *hostmem_object_get_type_name(HostmemObject *self)
{
    g_return_val_if_fail(HOSTMEM_IS_OBJECT(self), NULL);

    return HOSTMEM_OBJECT_GET_CLASS(self)->type_name;
}

char *hm_object_describe(HostmemObject *self)
{
    const char *type = hostmem_object_get_type_name(self);

    return self->id ? g_strdup_printf("%s '%s'", type, self->id)
                    : g_strdup(type);
}

gboolean hm_object_is_complete(HostmemObject *self)
{
    return g_atomic_int_get(&self->complete);
}

void hm_object_set_complete(HostmemObject *self)
{
    g_clear_pointer(&self->saved, hm_saved_free);
    g_atomic_int_set(&self->complete, TRUE);
}

void hm_object_abandon(HostmemObject *self)
{
    g_atomic_int_set(&self->abandoned, TRUE);
}

gboolean hm_object_is_abandoned(HostmemObject *self)
{
    return g_atomic_int_get(&self->abandoned);
}

char *hm_object_get_path(HostmemObject *self)
{
    if (self->path) {
        return g_strdup(self->path);
    }
    return self->id ? g_strdup_printf("/objects/%s", self->id) : g_strdup("");
}

/* Without a registry a link can be written as a path, but not looked up. */

static GObject *no_registry_find(const char *path, gpointer data G_GNUC_UNUSED,
                                 GError **error)
{
    hm_set_error(error, HOSTMEM_ERROR_NOT_FOUND,
                 "Device '%s' not found: this object has no registry", path);
    return NULL;
}

static char *no_registry_path_of(GObject *object, gpointer data G_GNUC_UNUSED)
{
    return hm_object_get_path(HOSTMEM_OBJECT(object));
}

static const HmPropLinks no_registry = {
    .find = no_registry_find,
    .path_of = no_registry_path_of,
};

/* Properties */

static const HmProp *find_row(HostmemObject *self, const char *property,
                              GError **error)
{
    const HmProp *row = hm_props_find(G_OBJECT_GET_CLASS(self), property);

    if (!row) {
        hm_set_error(error, HOSTMEM_ERROR_NOT_FOUND,
                     "Property '%s.%s' not found",
                     hostmem_object_get_type_name(self), property);
    }
    return row;
}

/* A computed value may take long or lock for itself: no lock around it. */
static void read_value(HostmemObject *self, const HmProp *row, GValue *value)
{
    g_autoptr(GMutexLocker) locker = NULL;

    if (!row->get) {
        locker = g_mutex_locker_new(&self->value_lock);
    }
    hm_prop_get(row, G_OBJECT(self), value);
}

json_t *hm_object_get_json(HostmemObject *self, const char *property,
                           const HmPropLinks *links, GError **error)
{
    const HmProp *row = find_row(self, property, error);
    g_auto(GValue) value = G_VALUE_INIT;

    if (!row) {
        return NULL;
    }
    if (row->flags & HM_PROP_WRITE_ONLY) {
        hm_set_error(error, HOSTMEM_ERROR_PERMISSION,
                     "Property '%s.%s' is not readable",
                     hostmem_object_get_type_name(self), property);
        return NULL;
    }
    read_value(self, row, &value);
    return hm_prop_to_json(row, &value, links);
}

char *hostmem_object_get(HostmemObject *self, const char *property,
                         GError **error)
{
    g_return_val_if_fail(HOSTMEM_IS_OBJECT(self) && property, NULL);

    json_auto_t *json = hm_object_get_json(self, property, &no_registry, error);
    char *dumped;
    char *text;

    if (!json) {
        return NULL;
    }
    dumped = json_dumps(json, JSON_ENCODE_ANY | JSON_COMPACT);
    text = g_strdup(dumped);
    free(dumped);
    return text;
}

static const HmProp *find_changeable(HostmemObject *self, const char *property,
                                     GError **error)
{
    const HmProp *row = find_row(self, property, error);

    if (!row) {
        return NULL;
    }
    if (row->flags & HM_PROP_READ_ONLY) {
        hm_set_error(error, HOSTMEM_ERROR_PERMISSION,
                     "Property '%s.%s' is not writable",
                     hostmem_object_get_type_name(self), property);
        return NULL;
    }
    if (!(row->flags & HM_PROP_LIVE)) {
        HOSTMEM_OBJECT_GET_CLASS(self)->refuse_change(self, row, error);
        return NULL;
    }
    if (!hm_object_is_complete(self)) {
        g_autofree char *what = hm_object_describe(self);

        hm_set_error(error, HOSTMEM_ERROR_BUSY, "%s is still being created",
                     what);
        return NULL;
    }
    return row;
}

static void store_value(HostmemObject *self, const HmProp *row,
                        const GValue *value)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->value_lock);

    hm_prop_set(row, G_OBJECT(self), value);
}

static gboolean change_value(HostmemObject *self, const HmProp *row,
                             const GValue *value, GCancellable *cancellable,
                             GError **error)
{
    HostmemObjectClass *klass = HOSTMEM_OBJECT_GET_CLASS(self);
    gboolean ok;

    g_mutex_lock(&self->change_lock);
    ok = klass->change(self, row, value, cancellable, error);
    if (ok) {
        store_value(self, row, value);
    }
    g_mutex_unlock(&self->change_lock);
    if (ok) {
        hm_object_state_changed(self);
        klass->changed(self);
    }
    return ok;
}

static gboolean set_row_json(HostmemObject *self, const HmProp *row,
                             json_t *json, const HmPropLinks *links,
                             GCancellable *cancellable, GError **error)
{
    g_auto(GValue) value = G_VALUE_INIT;

    return hm_prop_from_json(row, json, links, &value, error) &&
           change_value(self, row, &value, cancellable, error);
}

gboolean hm_object_set_json(HostmemObject *self, const char *property,
                            json_t *value, const HmPropLinks *links,
                            GCancellable *cancellable, GError **error)
{
    const HmProp *row = find_changeable(self, property, error);

    return row && set_row_json(self, row, value, links, cancellable, error);
}

gboolean hostmem_object_set(HostmemObject *self, const char *property,
                            const char *value, GCancellable *cancellable,
                            GError **error)
{
    const char *const texts[] = {value, NULL};
    json_auto_t *json = NULL;
    const HmProp *row;

    g_return_val_if_fail(HOSTMEM_IS_OBJECT(self) && property && value, FALSE);

    row = find_changeable(self, property, error);
    if (!row) {
        return FALSE;
    }
    json = hm_prop_text_to_json(row, texts, error);
    return json &&
           set_row_json(self, row, json, &no_registry, cancellable, error);
}

/* Holds */

void hostmem_object_hold(HostmemObject *self)
{
    g_return_if_fail(HOSTMEM_IS_OBJECT(self));

    g_mutex_lock(&self->hold_lock);
    g_atomic_int_inc(&self->holds);
    g_mutex_unlock(&self->hold_lock);
}

gboolean hm_object_hold_alone(HostmemObject *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->hold_lock);

    if (hostmem_object_is_held(self)) {
        return FALSE;
    }
    g_atomic_int_inc(&self->holds);
    return TRUE;
}

void hostmem_object_release(HostmemObject *self)
{
    gint before;

    g_return_if_fail(HOSTMEM_IS_OBJECT(self));

    before = g_atomic_int_add(&self->holds, -1);
    g_return_if_fail(before > 0);
}

gboolean hostmem_object_is_held(HostmemObject *self)
{
    g_return_val_if_fail(HOSTMEM_IS_OBJECT(self), FALSE);

    return g_atomic_int_get(&self->holds) > 0;
}

void hm_object_expose(HostmemObject *self)
{
    g_mutex_lock(&self->hold_lock);
    g_atomic_int_set(&self->exposed, TRUE);
    g_mutex_unlock(&self->hold_lock);
}

gboolean hm_object_is_exposed(HostmemObject *self)
{
    return g_atomic_int_get(&self->exposed);
}

gboolean hm_object_is_in_use(HostmemObject *self)
{
    return hostmem_object_is_held(self) || hm_object_is_exposed(self);
}

gboolean hm_object_begin_rollback(HostmemObject *self)
{
    g_mutex_lock(&self->hold_lock);
    if (!hm_object_is_in_use(self)) {
        return TRUE;
    }
    g_mutex_unlock(&self->hold_lock);
    return FALSE;
}

void hm_object_end_rollback(HostmemObject *self)
{
    g_mutex_unlock(&self->hold_lock);
}
