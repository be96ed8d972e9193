/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/error.h"
#include "util/idset.h"
#include "util/props.h"

/* An integer type as QEMU calls it in its messages. */
typedef struct {
    const char *name;
    gint64 min;
    gint64 max;
} IntType;

static const IntType int64_type = {"int64", G_MININT64, G_MAXINT64};
static const IntType size_type = {"uint64", 0, G_MAXINT64};
static const IntType uint32_type = {"uint32_t", 0, G_MAXUINT32};
static const IntType uint16_type = {"uint16_t", 0, G_MAXUINT16};

static const char *json_kind(const json_t *json)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a real number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        return "null";
    }
    g_return_val_if_reached("");
}

static gboolean refuse_kind(const HmProp *row, const char *expected,
                            GError **error)
{
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "Invalid parameter type for '%s', expected: %s",
                        row->name, expected);
}

/* Numbers */

/* hm_json_parse() makes reals of integers that do not fit. */
static gboolean refuse_no_integer(const HmProp *row, const IntType *type,
                                  const json_t *json, GError **error)
{
    double real = json_real_value(json);
    char digits[G_ASCII_DTOSTR_BUF_SIZE];

    if (ABS(real) < (double)G_MAXINT64) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "Parameter '%s' expects %s, not %s", row->name,
                            type->name, json_kind(json));
    }
    return hm_set_error(
        error, HOSTMEM_ERROR_INVALID, "Parameter '%s' expects %s: %s is too %s",
        row->name, type->name, g_ascii_dtostr(digits, sizeof(digits), real),
        real < 0 ? "small" : "large");
}

static gboolean read_integer(const HmProp *row, const IntType *type,
                             const json_t *json, gint64 *value, GError **error)
{
    if (!json_is_integer(json)) {
        return refuse_no_integer(row, type, json, error);
    }
    *value = json_integer_value(json);
    if (*value < type->min || *value > type->max) {
        return hm_set_error(
            error, HOSTMEM_ERROR_INVALID,
            "Parameter '%s' expects %s: %" G_GINT64_FORMAT " is %s", row->name,
            type->name, *value, *value < type->min ? "negative" : "too large");
    }
    return TRUE;
}

/* The row's own limits, on top of what its type holds. */
static gboolean check_unsigned(const HmProp *row, gint64 value, GError **error)
{
    if (value == 0 && row->flags & HM_PROP_NOT_ZERO) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "property '%s' doesn't take value '0'", row->name);
    }
    if (row->max && (guint64)value > row->max) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "Invalid %s value: %" G_GINT64_FORMAT
                            ", the largest is %" G_GUINT64_FORMAT,
                            row->name, value, row->max);
    }
    return TRUE;
}

static gboolean read_unsigned(const HmProp *row, const IntType *type,
                              const json_t *json, guint64 *value,
                              GError **error)
{
    gint64 number = 0;

    if (!read_integer(row, type, json, &number, error) ||
        !check_unsigned(row, number, error)) {
        return FALSE;
    }
    *value = (guint64)number;
    return TRUE;
}

/* From JSON, a function for each kind; @value is initialised */

static gboolean bool_from_json(const HmProp *row, const json_t *json,
                               GValue *value, GError **error)
{
    if (!json_is_boolean(json)) {
        return refuse_kind(row, "boolean", error);
    }
    g_value_set_boolean(value, json_is_true(json));
    return TRUE;
}

static gboolean uint32_from_json(const HmProp *row, const json_t *json,
                                 GValue *value, GError **error)
{
    guint64 number;

    if (!read_unsigned(row, &uint32_type, json, &number, error)) {
        return FALSE;
    }
    g_value_set_uint(value, (guint)number);
    return TRUE;
}

static gboolean size_from_json(const HmProp *row, const json_t *json,
                               GValue *value, GError **error)
{
    guint64 number;

    if (!read_unsigned(row, &size_type, json, &number, error)) {
        return FALSE;
    }
    g_value_set_uint64(value, number);
    return TRUE;
}

static gboolean int64_from_json(const HmProp *row, const json_t *json,
                                GValue *value, GError **error)
{
    gint64 number = 0;

    if (!read_integer(row, &int64_type, json, &number, error)) {
        return FALSE;
    }
    g_value_set_int64(value, number);
    return TRUE;
}

static gboolean string_from_json(const HmProp *row, const json_t *json,
                                 GValue *value, GError **error)
{
    if (!json_is_string(json)) {
        return refuse_kind(row, "string", error);
    }
    g_value_set_string(value, json_string_value(json));
    return TRUE;
}

static gboolean enum_from_json(const HmProp *row, const json_t *json,
                               GValue *value, GError **error)
{
    g_autoptr(GEnumClass) klass = g_type_class_ref(row->type());
    const char *nick = json_string_value(json);
    const GEnumValue *found;

    if (!nick) {
        return refuse_kind(row, "string", error);
    }
    found = g_enum_get_value_by_nick(klass, nick);
    if (!found) {
        g_autofree char *shown = hm_error_quote(nick);

        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "Parameter '%s' does not accept value %s",
                            row->name, shown);
    }
    g_value_set_enum(value, found->value);
    return TRUE;
}

static gboolean ids_from_json(const HmProp *row, json_t *json, GValue *value,
                              GError **error)
{
    g_autoptr(HmIdset) set = hm_idset_new();
    json_t *element;
    gsize i;

    if (!json_is_array(json)) {
        return refuse_kind(row, "array", error);
    }
    json_array_foreach(json, i, element)
    {
        guint64 id;

        if (!read_unsigned(row, &uint16_type, element, &id, error)) {
            return FALSE;
        }
        hm_idset_add(set, (guint)id);
    }
    g_value_take_string(value, hm_idset_to_string(set));
    return TRUE;
}

/* "thread-context" of "link<thread-context>"; (transfer full) */
static char *link_target(const HmProp *row)
{
    g_autofree char *name = hm_prop_type_name(row);
    const char *open = strchr(name, '<');
    const char *close = strchr(name, '>');

    return open && close > open ? g_strndup(open + 1, close - open - 1)
                                : g_steal_pointer(&name);
}

/* An empty string is no object. */
static gboolean link_from_json(const HmProp *row, const json_t *json,
                               const HmPropLinks *links, GValue *value,
                               GError **error)
{
    const char *path = json_string_value(json);
    g_autofree char *target = NULL;
    GObject *object;

    if (!path) {
        return refuse_kind(row, "string", error);
    }
    if (!*path) {
        return TRUE;
    }
    g_return_val_if_fail(links, FALSE);
    object = links->find(path, links->data, error);
    if (!object) {
        return FALSE;
    }
    if (!g_type_is_a(G_OBJECT_TYPE(object), row->type())) {
        target = link_target(row);
        return refuse_kind(row, target, error);
    }
    g_value_set_object(value, object);
    return TRUE;
}

static gboolean set_from_json(const HmProp *row, json_t *json,
                              const HmPropLinks *links, GValue *value,
                              GError **error)
{
    switch (row->kind) {
    case HM_PROP_BOOL:
        return bool_from_json(row, json, value, error);
    case HM_PROP_UINT32:
        return uint32_from_json(row, json, value, error);
    case HM_PROP_SIZE:
        return size_from_json(row, json, value, error);
    case HM_PROP_INT64:
        return int64_from_json(row, json, value, error);
    case HM_PROP_STRING:
        return string_from_json(row, json, value, error);
    case HM_PROP_ENUM:
        return enum_from_json(row, json, value, error);
    case HM_PROP_IDS:
        return ids_from_json(row, json, value, error);
    case HM_PROP_LINK:
        return link_from_json(row, json, links, value, error);
    case HM_PROP_ANY:
        break;
    }
    g_return_val_if_reached(FALSE);
}

gboolean hm_prop_from_json(const HmProp *row, json_t *json,
                           const HmPropLinks *links, GValue *value,
                           GError **error)
{
    g_auto(GValue) made = G_VALUE_INIT;

    g_value_init(&made, hm_prop_gtype(row));
    if (!set_from_json(row, json, links, &made, error)) {
        return FALSE;
    }
    *value = made;
    made = (GValue)G_VALUE_INIT;
    return TRUE;
}

/* To JSON */

/* What a GObject user stored need not be UTF-8, what we send must be. */
static json_t *string_to_json(const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text ? text : "", -1);

    return json_string(valid);
}

static json_t *enum_to_json(const GValue *value)
{
    g_autoptr(GEnumClass) klass = g_type_class_ref(G_VALUE_TYPE(value));
    const GEnumValue *found = g_enum_get_value(klass, g_value_get_enum(value));

    g_return_val_if_fail(found, json_null());
    return json_string(found->value_nick);
}

static json_t *ids_to_json(const char *text)
{
    g_autoptr(HmIdset) set = text ? hm_idset_parse(text, NULL) : NULL;
    json_t *array = json_array();

    if (set) {
        HM_IDSET_FOREACH (set, id) {
            json_array_append_new(array, json_integer(id));
        }
    }
    return array;
}

static json_t *link_to_json(GObject *object, const HmPropLinks *links)
{
    g_autofree char *path = NULL;

    if (object) {
        g_return_val_if_fail(links, json_null());
        path = links->path_of(object, links->data);
    }
    return string_to_json(path);
}

json_t *hm_prop_to_json(const HmProp *row, const GValue *value,
                        const HmPropLinks *links)
{
    switch (row->kind) {
    case HM_PROP_BOOL:
        return json_boolean(g_value_get_boolean(value));
    case HM_PROP_UINT32:
        return json_integer(g_value_get_uint(value));
    case HM_PROP_SIZE:
        return json_integer(
            (json_int_t)MIN(g_value_get_uint64(value), G_MAXINT64));
    case HM_PROP_INT64:
        return json_integer(g_value_get_int64(value));
    case HM_PROP_STRING:
        return string_to_json(g_value_get_string(value));
    case HM_PROP_ENUM:
        return enum_to_json(value);
    case HM_PROP_IDS:
        return ids_to_json(g_value_get_string(value));
    case HM_PROP_LINK:
        return link_to_json(g_value_get_object(value), links);
    case HM_PROP_ANY:
        break;
    }
    g_return_val_if_reached(json_null());
}

/* Tables of arguments */

static gboolean check_argument(const HmProp *row, json_t *json, GError **error)
{
    g_auto(GValue) value = G_VALUE_INIT;

    if (row->kind == HM_PROP_ANY) {
        return TRUE;
    }
    if (row->kind == HM_PROP_LINK) {
        return json_is_string(json) || refuse_kind(row, "string", error);
    }
    return hm_prop_from_json(row, json, NULL, &value, error);
}

static gboolean check_row(const HmProp *row, const json_t *object,
                          GError **error)
{
    json_t *json = json_object_get(object, row->name);

    if (row->flags & HM_PROP_READ_ONLY) {
        return TRUE;
    }
    if (json) {
        return check_argument(row, json, error);
    }
    if (row->flags & HM_PROP_REQUIRED) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "Parameter '%s' is missing", row->name);
    }
    return TRUE;
}

static gboolean is_expected(const HmProp *rows, gsize n, const char *key)
{
    for (gsize i = 0; i < n; i++) {
        if (g_str_equal(rows[i].name, key)) {
            return !(rows[i].flags & HM_PROP_READ_ONLY);
        }
    }
    return FALSE;
}

gboolean hm_props_check_json(const HmProp *rows, gsize n, json_t *object,
                             GError **error)
{
    const char *key;
    json_t *json;

    g_return_val_if_fail(json_is_object(object), FALSE);

    for (gsize i = 0; i < n; i++) {
        if (!check_row(&rows[i], object, error)) {
            return FALSE;
        }
    }
    json_object_foreach(object, key, json)
    {
        if (!is_expected(rows, n, key)) {
            g_autofree char *shown = hm_error_quote(key);

            return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                                "Parameter %s is unexpected", shown);
        }
    }
    return TRUE;
}
