/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/registry.h>
#include <stdlib.h>
#include <string.h>
#include "backends/object-spec.h"
#include "backends/object-types.h"
#include "util/error.h"
#include "util/jsonstream.h"
#include "util/keyval.h"

struct HmObjectSpec {
    HmSpecKind kind;
    const HmObjectType *type;
    GObjectClass *klass; /* owned; of the type */
    char *id;
    json_t *options;  /* a copy */
    GPtrArray *names; /* (element-type utf8), borrowed from rows */
    GArray *values;   /* (element-type GValue), one for each name */
};

/* The key that names the type. */
static const HmProp type_rows[HM_N_SPECS] = {
    [HM_SPEC_OBJECT] =
        {
            .name = "qom-type",
            .kind = HM_PROP_STRING,
            .flags = HM_PROP_REQUIRED,
        },
    [HM_SPEC_DEVICE] =
        {
            .name = "driver",
            .kind = HM_PROP_STRING,
            .flags = HM_PROP_REQUIRED,
        },
};

static HmObjectSpec *spec_new(HmSpecKind kind, const HmObjectType *type)
{
    HmObjectSpec *self = g_new0(HmObjectSpec, 1);

    self->kind = kind;
    self->type = type;
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
        json_decref(self->options);
        g_ptr_array_unref(self->names);
        g_array_unref(self->values);
        g_free(self);
    }
}

HmSpecKind hm_object_spec_get_kind(const HmObjectSpec *self)
{
    return self->kind;
}

const char *hm_object_spec_get_id(const HmObjectSpec *self)
{
    return self->id;
}

json_t *hm_object_spec_get_options(const HmObjectSpec *self)
{
    return self->options;
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

static const HmObjectType *find_object_type(const char *name, GError **error)
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

static const HmObjectType *find_device_type(const char *name, GError **error)
{
    const HmObjectType *type = hm_object_type_find(name);
    g_autofree char *quoted = NULL;

    if (type && hm_object_type_is_device(type)) {
        return type;
    }
    if (type && type->device) {
        hm_set_error(error, HOSTMEM_ERROR_INVALID,
                     "Parameter 'driver' expects a non-abstract device type");
        return NULL;
    }
    quoted = hm_error_quote(name);
    hm_set_error(error, HOSTMEM_ERROR_INVALID,
                 "%s is not a valid device model name", quoted);
    return NULL;
}

static const HmObjectType *find_type(HmSpecKind kind, const char *name,
                                     GError **error)
{
    return kind == HM_SPEC_DEVICE ? find_device_type(name, error)
                                  : find_object_type(name, error);
}

static const HmObjectType *find_json_type(HmSpecKind kind, json_t *options,
                                          GError **error)
{
    const HmProp *row = &type_rows[kind];
    json_t *json = json_object_get(options, row->name);
    g_auto(GValue) value = G_VALUE_INIT;

    if (!json) {
        missing(row->name, error);
        return NULL;
    }
    if (!hm_prop_from_json(row, json, NULL, &value, error)) {
        return NULL;
    }
    return find_type(kind, g_value_get_string(&value), error);
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

    if (!id) {
        return TRUE;
    }
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
static const HmProp *find_row(const char *key, gpointer data)
{
    const HmObjectSpec *self = data;
    const HmProp *row;

    if (g_str_equal(key, type_rows[self->kind].name)) {
        return &type_rows[self->kind];
    }
    row = hm_props_find(self->klass, key);
    return row && !(row->flags & HM_PROP_READ_ONLY) ? row : NULL;
}

/* What is read-only is of the type itself, whatever name was asked for. */
static gboolean refuse_device_key(const HmObjectSpec *self, const char *key,
                                  GError **error)
{
    gboolean read_only = hm_props_find(self->klass, key) != NULL;
    const char *type =
        read_only ? hm_object_type_name(G_OBJECT_CLASS_TYPE(self->klass))
                  : self->type->name;
    g_autofree char *path = g_strdup_printf("%s.%s", type, key);
    g_autofree char *quoted = hm_error_quote(path);

    return hm_set_error(error, HOSTMEM_ERROR_INVALID, "Property %s %s", quoted,
                        read_only ? "is not writable" : "not found");
}

/* QEMU has other words for each kind. */
static gboolean refuse_key(const HmObjectSpec *self, const char *key,
                           GError **error)
{
    g_autofree char *quoted = NULL;

    if (self->kind == HM_SPEC_DEVICE) {
        return refuse_device_key(self, key, error);
    }
    quoted = hm_error_quote(key);
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "Parameter %s is unexpected", quoted);
}

static gboolean refuse_others(HmObjectSpec *self, json_t *options,
                              GError **error)
{
    const char *key;
    json_t *value;

    json_object_foreach(options, key, value)
    {
        if (!find_row(key, self)) {
            return refuse_key(self, key, error);
        }
    }
    return TRUE;
}

static gboolean has_needed_id(HmSpecKind kind, json_t *options, GError **error)
{
    return kind == HM_SPEC_DEVICE || json_object_get(options, "id") ||
           missing("id", error);
}

HmObjectSpec *hm_object_spec_from_json(HmSpecKind kind, json_t *options,
                                       const HmPropLinks *links, GError **error)
{
    const HmObjectType *type = find_json_type(kind, options, error);
    g_autoptr(HmObjectSpec) self = NULL;

    if (!type || !has_needed_id(kind, options, error)) {
        return NULL;
    }
    self = spec_new(kind, type);
    if (!take_properties(self, options, links, error) ||
        !refuse_others(self, options, error) ||
        !take_id(self, options, error)) {
        return NULL;
    }
    self->options = json_deep_copy(options);
    return g_steal_pointer(&self);
}

/* Text */

/* The type decides what a key means. */
static json_t *keyval_to_json(HmSpecKind kind, const HmObjectType *type,
                              const HmKeyval *keyval, GError **error)
{
    g_autoptr(HmObjectSpec) self = spec_new(kind, type);
    const char *unknown = kind == HM_SPEC_DEVICE
                              ? hm_keyval_find_unknown(keyval, find_row, self)
                              : NULL;

    if (unknown) {
        refuse_key(self, unknown, error);
        return NULL;
    }
    return hm_keyval_to_json(keyval, find_row, self, error);
}

static json_t *parse_keyval(HmSpecKind kind, const char *text, GError **error)
{
    const char *key = type_rows[kind].name;
    g_autoptr(HmKeyval) keyval = hm_keyval_parse(text, key, error);
    const HmObjectType *type;
    const char *name;

    if (!keyval) {
        return NULL;
    }
    name = hm_keyval_get(keyval, key);
    if (!name) {
        missing(key, error);
        return NULL;
    }
    type = find_type(kind, name, error);
    return type ? keyval_to_json(kind, type, keyval, error) : NULL;
}

json_t *hm_object_spec_parse(HmSpecKind kind, const char *text, GError **error)
{
    return *text == '{' ? hm_json_parse(text, strlen(text), error)
                        : parse_keyval(kind, text, error);
}

HmObjectSpec *hm_object_spec_from_text(HmSpecKind kind, const char *text,
                                       const HmPropLinks *links, GError **error)
{
    json_auto_t *options = hm_object_spec_parse(kind, text, error);

    return options ? hm_object_spec_from_json(kind, options, links, error)
                   : NULL;
}

/* Two tables at once: of whoever has keys beside the object's. */
typedef struct {
    HmObjectSpec *spec;
    const HmProp *rows;
    gsize n;
} Mixture;

static const HmProp *find_mixed(const char *key, gpointer data)
{
    const Mixture *mixture = data;

    for (gsize i = 0; i < mixture->n; i++) {
        if (g_str_equal(mixture->rows[i].name, key)) {
            return &mixture->rows[i];
        }
    }
    return find_row(key, mixture->spec);
}

static json_t *parse_mixed(const char *text, const HmProp *rows, gsize n,
                           const char *default_type, GError **error)
{
    g_autoptr(HmKeyval) keyval = hm_keyval_parse(text, rows[0].name, error);
    const char *name =
        keyval ? hm_keyval_get(keyval, type_rows[HM_SPEC_OBJECT].name) : NULL;
    const HmObjectType *type =
        keyval ? find_object_type(name ? name : default_type, error) : NULL;
    g_autoptr(HmObjectSpec) spec = NULL;

    if (!type) {
        return NULL;
    }
    spec = spec_new(HM_SPEC_OBJECT, type);
    Mixture mixture = {spec, rows, n};
    return hm_keyval_to_json(keyval, find_mixed, &mixture, error);
}

json_t *hm_object_spec_parse_with(const char *text, const HmProp *rows, gsize n,
                                  const char *type, GError **error)
{
    const char *key = type_rows[HM_SPEC_OBJECT].name;
    json_t *options = *text == '{' ? hm_json_parse(text, strlen(text), error)
                                   : parse_mixed(text, rows, n, type, error);

    if (options && !json_object_get(options, key)) {
        json_object_set_new(options, key, json_string(type));
    }
    return options;
}

static char *text_to_json(HmSpecKind kind, const char *text, GError **error)
{
    json_auto_t *options = hm_object_spec_parse(kind, text, error);
    char *dumped = options ? json_dumps(options, 0) : NULL;
    char *json = g_strdup(dumped);

    free(dumped);
    return json;
}

char *hostmem_object_options_to_json(const char *options, GError **error)
{
    g_return_val_if_fail(options, NULL);
    return text_to_json(HM_SPEC_OBJECT, options, error);
}

char *hostmem_device_options_to_json(const char *options, GError **error)
{
    g_return_val_if_fail(options, NULL);
    return text_to_json(HM_SPEC_DEVICE, options, error);
}
