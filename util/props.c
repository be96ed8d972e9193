/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "util/props.h"

/*
 * Theory of operation
 *
 * Each row becomes a GParamSpec that carries the row with it.  The two generic
 * property functions find the row there and the field through its offset, so
 * that a class needs neither ids nor a switch; a subclass inherits both.
 *
 * GObject calls set_property for every construct-only property, with the
 * default of those that were not given, in the order of their installation.
 * An alias shares the field of its target: installed behind it, and with
 * its default ignored, it only overwrites when it was given.
 */

static GQuark row_quark(void)
{
    return g_quark_from_static_string("hostmem-prop-row");
}

static const HmProp *row_of(GParamSpec *pspec)
{
    return g_param_spec_get_qdata(pspec, row_quark());
}

static gpointer field_of(const HmProp *row, gpointer object)
{
    return G_STRUCT_MEMBER_P(object, row->offset);
}

/* A computed value that nobody sets is kept nowhere. */
static gboolean has_field(const HmProp *row)
{
    return !row->get || !(row->flags & HM_PROP_READ_ONLY);
}

/* Fields */

static void read_field(const HmProp *row, gpointer object, GValue *value)
{
    gpointer field = field_of(row, object);

    switch (row->kind) {
    case HM_PROP_BOOL:
        g_value_set_boolean(value, *(gboolean *)field);
        break;
    case HM_PROP_UINT32:
        g_value_set_uint(value, *(guint32 *)field);
        break;
    case HM_PROP_SIZE:
        g_value_set_uint64(value, *(guint64 *)field);
        break;
    case HM_PROP_INT64:
        g_value_set_int64(value, *(gint64 *)field);
        break;
    case HM_PROP_STRING:
    case HM_PROP_IDS:
        g_value_set_string(value, *(char **)field);
        break;
    case HM_PROP_ENUM:
        g_value_set_enum(value, *(gint *)field);
        break;
    case HM_PROP_LINK:
        g_value_set_object(value, *(GObject **)field);
        break;
    case HM_PROP_ANY:
        g_return_if_reached();
    }
}

static void write_field(const HmProp *row, gpointer object, const GValue *value)
{
    gpointer field = field_of(row, object);

    switch (row->kind) {
    case HM_PROP_BOOL:
        *(gboolean *)field = g_value_get_boolean(value);
        break;
    case HM_PROP_UINT32:
        *(guint32 *)field = g_value_get_uint(value);
        break;
    case HM_PROP_SIZE:
        *(guint64 *)field = g_value_get_uint64(value);
        break;
    case HM_PROP_INT64:
        *(gint64 *)field = g_value_get_int64(value);
        break;
    case HM_PROP_STRING:
    case HM_PROP_IDS:
        g_free(*(char **)field);
        *(char **)field = g_value_dup_string(value);
        break;
    case HM_PROP_ENUM:
        *(gint *)field = g_value_get_enum(value);
        break;
    case HM_PROP_LINK:
        g_set_object((GObject **)field, g_value_get_object(value));
        break;
    case HM_PROP_ANY:
        g_return_if_reached();
    }
}

static void clear_field(const HmProp *row, gpointer object)
{
    gpointer field = field_of(row, object);

    if (row->kind == HM_PROP_STRING || row->kind == HM_PROP_IDS) {
        g_clear_pointer((char **)field, g_free);
    } else if (row->kind == HM_PROP_LINK) {
        g_clear_object((GObject **)field);
    }
}

static void read_value(const HmProp *row, GObject *object, GValue *value)
{
    if (row->get) {
        row->get(object, value);
    } else {
        read_field(row, object, value);
    }
}

void hm_prop_get(const HmProp *row, GObject *object, GValue *value)
{
    g_value_init(value, hm_prop_gtype(row));
    read_value(row, object, value);
}

void hm_prop_set(const HmProp *row, GObject *object, const GValue *value)
{
    g_return_if_fail(has_field(row));

    write_field(row, object, value);
}

/* GParamSpecs */

GType hm_prop_gtype(const HmProp *row)
{
    switch (row->kind) {
    case HM_PROP_BOOL:
        return G_TYPE_BOOLEAN;
    case HM_PROP_UINT32:
        return G_TYPE_UINT;
    case HM_PROP_SIZE:
        return G_TYPE_UINT64;
    case HM_PROP_INT64:
        return G_TYPE_INT64;
    case HM_PROP_STRING:
    case HM_PROP_IDS:
        return G_TYPE_STRING;
    case HM_PROP_ENUM:
    case HM_PROP_LINK:
        return row->type();
    case HM_PROP_ANY:
        break;
    }
    g_return_val_if_reached(G_TYPE_INVALID);
}

static GParamFlags pspec_flags(const HmProp *row)
{
    if (row->flags & HM_PROP_READ_ONLY) {
        return G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;
    }
    return G_PARAM_WRITABLE | G_PARAM_CONSTRUCT_ONLY | G_PARAM_STATIC_STRINGS |
           (row->flags & HM_PROP_WRITE_ONLY ? 0 : G_PARAM_READABLE);
}

static GParamSpec *make_pspec(const HmProp *row)
{
    const char *name = row->name;
    const char *blurb = row->description;
    GParamFlags flags = pspec_flags(row);

    switch (row->kind) {
    case HM_PROP_BOOL:
        return g_param_spec_boolean(name, name, blurb, row->def != 0, flags);
    case HM_PROP_UINT32:
        return g_param_spec_uint(name, name, blurb, 0,
                                 row->max ? (guint)row->max : G_MAXUINT32,
                                 (guint)row->def, flags);
    case HM_PROP_SIZE:
        return g_param_spec_uint64(name, name, blurb, 0,
                                   row->max ? row->max : G_MAXUINT64, row->def,
                                   flags);
    case HM_PROP_INT64:
        return g_param_spec_int64(name, name, blurb, G_MININT64, G_MAXINT64,
                                  (gint64)row->def, flags);
    case HM_PROP_STRING:
    case HM_PROP_IDS:
        return g_param_spec_string(name, name, blurb, NULL, flags);
    case HM_PROP_ENUM:
        return g_param_spec_enum(name, name, blurb, row->type(), (gint)row->def,
                                 flags);
    case HM_PROP_LINK:
        return g_param_spec_object(name, name, blurb, row->type(), flags);
    case HM_PROP_ANY:
        break;
    }
    g_return_val_if_reached(NULL);
}

/* The generic property functions */

static void get_property(GObject *object, guint id G_GNUC_UNUSED, GValue *value,
                         GParamSpec *pspec)
{
    read_value(row_of(pspec), object, value);
}

static void set_property(GObject *object, guint id G_GNUC_UNUSED,
                         const GValue *value, GParamSpec *pspec)
{
    const HmProp *row = row_of(pspec);

    if (!row->alias_of || !g_param_value_defaults(pspec, value)) {
        write_field(row, object, value);
    }
}

/* Classes */

static const HmProp *find_target(const HmProp *rows, gsize n,
                                 const HmProp *alias)
{
    for (gsize i = 0; i < n; i++) {
        if (g_str_equal(rows[i].name, alias->alias_of)) {
            return &rows[i];
        }
    }
    g_error("property '%s' is an alias of '%s', which its table lacks",
            alias->name, alias->alias_of);
}

/* An alias is its target under another name; it lives as long as the class. */
static HmProp *resolve_alias(const HmProp *target, const HmProp *alias)
{
    HmProp *resolved = g_memdup2(target, sizeof(*target));

    resolved->name = alias->name;
    resolved->flags &= ~(guint)HM_PROP_REQUIRED;
    resolved->alias_of = alias->alias_of;
    resolved->description = alias->description;
    return resolved;
}

static void install(GObjectClass *klass, guint id, const HmProp *row,
                    GDestroyNotify free_row)
{
    GParamSpec *pspec = make_pspec(row);

    g_param_spec_set_qdata_full(pspec, row_quark(), (gpointer)row, free_row);
    g_object_class_install_property(klass, id, pspec);
}

void hm_props_install(GObjectClass *klass, const HmProp *rows, gsize n)
{
    guint id = 1;

    klass->get_property = get_property;
    klass->set_property = set_property;
    for (gsize i = 0; i < n; i++) {
        if (!rows[i].alias_of) {
            install(klass, id++, &rows[i], NULL);
        }
    }
    for (gsize i = 0; i < n; i++) {
        if (rows[i].alias_of) {
            const HmProp *target = find_target(rows, n, &rows[i]);

            install(klass, id++, resolve_alias(target, &rows[i]), g_free);
        }
    }
}

void hm_props_clear(GObject *object)
{
    g_autofree GParamSpec **pspecs = NULL;
    guint n;

    pspecs = g_object_class_list_properties(G_OBJECT_GET_CLASS(object), &n);
    for (guint i = 0; i < n; i++) {
        const HmProp *row = row_of(pspecs[i]);

        if (row && has_field(row)) {
            clear_field(row, object);
        }
    }
}

const HmProp *hm_props_find(GObjectClass *klass, const char *name)
{
    GParamSpec *pspec = g_object_class_find_property(klass, name);
    const HmProp *row = pspec ? row_of(pspec) : NULL;

    /* GObject takes other spellings too: '_' for '-', "Type::name" */
    return row && g_str_equal(row->name, name) ? row : NULL;
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
    const HmProp *const *first = a;
    const HmProp *const *second = b;

    return strcmp((*first)->name, (*second)->name);
}

GPtrArray *hm_props_list(GObjectClass *klass)
{
    GPtrArray *list = g_ptr_array_new();
    g_autofree GParamSpec **pspecs = NULL;
    guint n;

    pspecs = g_object_class_list_properties(klass, &n);
    for (guint i = 0; i < n; i++) {
        const HmProp *row = row_of(pspecs[i]);

        if (row) {
            g_ptr_array_add(list, (gpointer)row);
        }
    }
    g_ptr_array_sort(list, compare_names);
    return list;
}
