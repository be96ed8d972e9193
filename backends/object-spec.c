/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "backends/object-spec.h"
#include "backends/object-types.h"
#include "util/error.h"
#include "util/jsonstream.h"
#include "util/keyval.h"

struct HmObjectSpec {
    GObjectClass *klass; /* owned */
    char *id;
    GPtrArray *names; /* (element-type utf8), borrowed from rows */
    GArray *values;   /* (element-type GValue), one for each name */
};

static const HmProp type_row = {
    .name = "qom-type",
    .kind = HM_PROP_STRING,
    .flags = HM_PROP_REQUIRED,
};

static HmObjectSpec *spec_new(const HmObjectType *type)
{
    HmObjectSpec *self = g_new0(HmObjectSpec, 1);

    self->klass = g_type_class_ref(type->get_type());
    self->names = g_ptr_array_new();
    self->values = g_array_new(FALSE, TRUE, sizeof(GValue));
    g_array_set_clear_func(self->values, (GDestroyNotify)g_value_unset);
    return self;
}

void hm_object_spec_free(HmObjectSpec *self)
{
    if (self) {
        g_type_class_unref(self->klass);
        g_free(self->id);
        g_ptr_array_unref(self->names);
        g_array_unref(self->values);
        g_free(self);
    }
}

const char *hm_object_spec_get_id(const HmObjectSpec *self)
{
    return self->id;
}

HostmemObject *hm_object_spec_instantiate(const HmObjectSpec *self)
{
    GObject *object = g_object_new_with_properties(
        G_OBJECT_CLASS_TYPE(self->klass), self->names->len,
        (const char **)self->names->pdata, (const GValue *)self->values->data);

    return HOSTMEM_OBJECT(object);
}

/* The type and the id */

static gboolean missing(const char *name, GError **error)
{
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "Parameter '%s' is missing", name);
}

static const HmObjectType *find_type(const char *name, GError **error)
{
    const HmObjectType *type = hm_object_type_find(name);
    g_autofree char *quoted = NULL;

    if (type && hm_object_type_is_object(type)) {
        return type;
    }
    quoted = hm_error_quote(name);
    hm_set_error(error, HOSTMEM_ERROR_INVALID,
                 "Parameter 'qom-type' does not accept value %s", quoted);
    return NULL;
}

static const HmObjectType *find_json_type(json_t *options, GError **error)
{
    json_t *json = json_object_get(options, type_row.name);
    g_auto(GValue) value = G_VALUE_INIT;

    if (!json) {
        missing(type_row.name, error);
        return NULL;
    }
    if (!hm_prop_from_json(&type_row, json, NULL, &value, error)) {
        return NULL;
    }
    return find_type(g_value_get_string(&value), error);
}

static gboolean is_wellformed(const char *id)
{
    return g_ascii_isalpha(*id) &&
           !id[strspn(id, G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "-._")];
}

static gboolean take_id(HmObjectSpec *self, json_t *options, GError **error)
{
    /* The row of "id" has made sure that it is a string. */
    const char *id = json_string_value(json_object_get(options, "id"));

    if (!is_wellformed(id)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "Parameter 'id' expects an identifier: letters, "
                            "digits, '-', '.', '_', starting with a letter");
    }
    self->id = g_strdup(id);
    return TRUE;
}

/* The properties */

/* QEMU's words for it name the type, which a row does not know. */
static gboolean refuse_zero(const HmObjectSpec *self, const HmProp *row,
                            GError **error)
{
    const HostmemObjectClass *klass = HOSTMEM_OBJECT_CLASS(self->klass);

    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "property '%s' of %s doesn't take value '0'", row->name,
                        klass->type_name);
}

static gboolean take_value(HmObjectSpec *self, const HmProp *row, json_t *json,
                           const HmPropLinks *links, GError **error)
{
    GValue value = G_VALUE_INIT;

    if (row->flags & HM_PROP_NOT_ZERO && json_is_integer(json) &&
        !json_integer_value(json)) {
        return refuse_zero(self, row, error);
    }
    if (!hm_prop_from_json(row, json, links, &value, error)) {
        return FALSE;
    }
    g_ptr_array_add(self->names, (gpointer)row->name);
    g_array_append_val(self->values, value);
    return TRUE;
}

static gboolean take_property(HmObjectSpec *self, const HmProp *row,
                              json_t *options, const HmPropLinks *links,
                              GError **error)
{
    json_t *json = json_object_get(options, row->name);

    if (!json) {
        return !(row->flags & HM_PROP_REQUIRED) || missing(row->name, error);
    }
    if (row->alias_of && json_object_get(options, row->alias_of)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "Parameters '%s' and '%s' are the same", row->name,
                            row->alias_of);
    }
    return take_value(self, row, json, links, error);
}

static gboolean take_properties(HmObjectSpec *self, json_t *options,
                                const HmPropLinks *links, GError **error)
{
    g_autoptr(GPtrArray) rows = hm_props_list(self->klass);

    for (guint i = 0; i < rows->len; i++) {
        const HmProp *row = g_ptr_array_index(rows, i);

        if (!(row->flags & HM_PROP_READ_ONLY) &&
            !take_property(self, row, options, links, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* (nullable): the row of what may be given at creation. */
static const HmProp *find_row(const char *key, gpointer klass)
{
    const HmProp *row;

    if (g_str_equal(key, type_row.name)) {
        return &type_row;
    }
    row = hm_props_find(klass, key);
    return row && !(row->flags & HM_PROP_READ_ONLY) ? row : NULL;
}

static gboolean refuse_others(const HmObjectSpec *self, json_t *options,
                              GError **error)
{
    const char *key;
    json_t *value;

    json_object_foreach(options, key, value)
    {
        if (!find_row(key, self->klass)) {
            g_autofree char *quoted = hm_error_quote(key);

            return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                                "Parameter %s is unexpected", quoted);
        }
    }
    return TRUE;
}

HmObjectSpec *hm_object_spec_from_json(json_t *options,
                                       const HmPropLinks *links, GError **error)
{
    const HmObjectType *type = find_json_type(options, error);
    g_autoptr(HmObjectSpec) self = NULL;

    if (!type) {
        return NULL;
    }
    if (!json_object_get(options, "id")) {
        missing("id", error);
        return NULL;
    }
    self = spec_new(type);
    if (!take_properties(self, options, links, error) ||
        !refuse_others(self, options, error) ||
        !take_id(self, options, error)) {
        return NULL;
    }
    return g_steal_pointer(&self);
}

/* Text */

static json_t *parse_keyval(const char *text, GError **error)
{
    g_autoptr(HmKeyval) keyval = hm_keyval_parse(text, type_row.name, error);
    g_autoptr(GTypeClass) klass = NULL;
    const HmObjectType *type;
    const char *name;

    if (!keyval) {
        return NULL;
    }
    name = hm_keyval_get(keyval, type_row.name);
    if (!name) {
        missing(type_row.name, error);
        return NULL;
    }
    type = find_type(name, error);
    if (!type) {
        return NULL;
    }
    klass = g_type_class_ref(type->get_type());
    return hm_keyval_to_json(keyval, find_row, klass, error);
}

HmObjectSpec *hm_object_spec_from_text(const char *text,
                                       const HmPropLinks *links, GError **error)
{
    json_auto_t *options = *text == '{'
                               ? hm_json_parse(text, strlen(text), error)
                               : parse_keyval(text, error);

    return options ? hm_object_spec_from_json(options, links, error) : NULL;
}
