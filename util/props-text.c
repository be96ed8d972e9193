/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include "util/error.h"
#include "util/idset.h"
#include "util/props.h"
#include "util/size.h"

static json_t *bool_from_text(const HmProp *row, const char *text,
                              GError **error)
{
    static const char *const yes[] = {"on", "yes", "true", "y", NULL};
    static const char *const no[] = {"off", "no", "false", "n", NULL};

    if (g_strv_contains(yes, text)) {
        return json_true();
    }
    if (g_strv_contains(no, text)) {
        return json_false();
    }
    hm_set_error(error, HOSTMEM_ERROR_INVALID,
                 "Parameter '%s' expects 'on' or 'off'", row->name);
    return NULL;
}

static json_t *refuse_number(const HmProp *row, const char *text,
                             const char *expected, GError **error)
{
    g_autofree char *shown = hm_error_quote(text);

    hm_set_error(error, HOSTMEM_ERROR_INVALID,
                 "Parameter '%s' expects %s value, not %s", row->name, expected,
                 shown);
    return NULL;
}

/* Decimal, 0x hexadecimal or 0 octal, as in C. */
static json_t *integer_from_text(const HmProp *row, const char *text,
                                 const char *expected, gint64 min,
                                 GError **error)
{
    const char *digits = min < 0 && *text == '-' ? text + 1 : text;
    char *end;
    gint64 value;

    errno = 0;
    value = g_ascii_strtoll(text, &end, 0);
    if (!g_ascii_isdigit(*digits) || *end || errno) {
        return refuse_number(row, text, expected, error);
    }
    return json_integer(value);
}

static json_t *size_from_text(const HmProp *row, const char *text,
                              GError **error)
{
    guint64 bytes;

    if (!hm_size_parse(text, &bytes, error)) {
        g_prefix_error(error,
                       "Parameter '%s' expects a size value: ", row->name);
        return NULL;
    }
    if (bytes > G_MAXINT64) {
        g_autofree char *shown = hm_error_quote(text);

        hm_set_error(error, HOSTMEM_ERROR_INVALID,
                     "Parameter '%s' expects a size value: %s is 2^63 or more",
                     row->name, shown);
        return NULL;
    }
    return json_integer((json_int_t)bytes);
}

static gboolean add_ids(HmIdset *set, const HmProp *row, const char *text,
                        GError **error)
{
    g_autoptr(HmIdset) added = *text ? hm_idset_parse(text, error) : NULL;

    if (added) {
        hm_idset_union(set, added);
        return TRUE;
    }
    if (!*text) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "Parameter '%s' expects a uint64 value or range",
                            row->name);
    }
    g_prefix_error(
        error, "Parameter '%s' expects a uint64 value or range: ", row->name);
    return FALSE;
}

static json_t *ids_from_texts(const HmProp *row, const char *const *texts,
                              GError **error)
{
    g_autoptr(HmIdset) set = hm_idset_new();
    g_auto(GValue) value = G_VALUE_INIT;

    for (; *texts; texts++) {
        if (!add_ids(set, row, *texts, error)) {
            return NULL;
        }
    }
    g_value_init(&value, G_TYPE_STRING);
    g_value_take_string(&value, hm_idset_to_string(set));
    return hm_prop_to_json(row, &value, NULL);
}

static json_t *string_from_text(const HmProp *row, const char *text,
                                GError **error)
{
    json_t *json = json_string(text);

    if (!json) {
        hm_set_error(error, HOSTMEM_ERROR_INVALID,
                     "Parameter '%s' expects UTF-8", row->name);
    }
    return json;
}

json_t *hm_prop_text_to_json(const HmProp *row, const char *const *texts,
                             GError **error)
{
    guint n = g_strv_length((char **)texts);
    const char *last;

    g_return_val_if_fail(n > 0, NULL);

    last = texts[n - 1];
    switch (row->kind) {
    case HM_PROP_BOOL:
        return bool_from_text(row, last, error);
    case HM_PROP_UINT32:
        return integer_from_text(row, last, "a uint64", 0, error);
    case HM_PROP_SIZE:
        return size_from_text(row, last, error);
    case HM_PROP_INT64:
        return integer_from_text(row, last, "an int64", G_MININT64, error);
    case HM_PROP_IDS:
        return ids_from_texts(row, texts, error);
    case HM_PROP_STRING:
    case HM_PROP_ENUM:
    case HM_PROP_LINK:
    case HM_PROP_ANY:
        return string_from_text(row, last, error);
    }
    g_return_val_if_reached(NULL);
}

/* For a person */

static char *enum_to_text(const HmProp *row, const GValue *value)
{
    json_auto_t *nick = hm_prop_to_json(row, value, NULL);

    return g_strdup(json_string_value(nick));
}

char *hm_prop_to_text(const HmProp *row, const GValue *value)
{
    switch (row->kind) {
    case HM_PROP_BOOL:
        return g_strdup(g_value_get_boolean(value) ? "on" : "off");
    case HM_PROP_UINT32:
        return g_strdup_printf("%u", g_value_get_uint(value));
    case HM_PROP_SIZE:
        return hm_size_format(g_value_get_uint64(value));
    case HM_PROP_INT64:
        return g_strdup_printf("%" G_GINT64_FORMAT, g_value_get_int64(value));
    case HM_PROP_ENUM:
        return enum_to_text(row, value);
    case HM_PROP_STRING:
    case HM_PROP_IDS:
        return g_strdup(g_value_get_string(value) ?: "");
    case HM_PROP_LINK:
        return g_strdup(g_value_get_object(value) ? "set" : "");
    case HM_PROP_ANY:
        break;
    }
    g_return_val_if_reached(g_strdup(""));
}

char *hm_prop_type_name(const HmProp *row)
{
    if (row->type_name) {
        return g_strdup(row->type_name);
    }
    switch (row->kind) {
    case HM_PROP_BOOL:
        return g_strdup("bool");
    case HM_PROP_UINT32:
    case HM_PROP_SIZE:
    case HM_PROP_INT64:
    case HM_PROP_IDS:
        return g_strdup("int");
    case HM_PROP_STRING:
        return g_strdup("string");
    case HM_PROP_ENUM:
        return g_strdup(g_type_name(row->type()));
    case HM_PROP_LINK:
        return g_strdup_printf("link<%s>", g_type_name(row->type()));
    case HM_PROP_ANY:
        return g_strdup("any");
    }
    g_return_val_if_reached(g_strdup(""));
}
