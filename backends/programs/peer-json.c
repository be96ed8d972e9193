/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/error.h>
#include <stdlib.h>
#include "backends/programs/peer-json.h"

json_t *peer_json_parse(const char *text, GError **error)
{
    json_error_t why;
    json_t *value = json_loads(text, JSON_DECODE_ANY, &why);

    if (!value && json_error_code(&why) == json_error_numeric_overflow) {
        value =
            json_loads(text, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &why);
    }
    if (!value) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID,
                    "this is no JSON: %s", why.text);
    }
    return value;
}

char *peer_json_to_text(const json_t *value)
{
    char *dumped = json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
    char *text = g_strdup(dumped);

    free(dumped);
    return text;
}

const char *peer_json_string(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

gboolean peer_json_number(const json_t *object, const char *key,
                          guint64 *number)
{
    const json_t *member = json_object_get(object, key);
    gboolean is_number =
        json_is_integer(member) && json_integer_value(member) >= 0;

    *number = is_number ? (guint64)json_integer_value(member) : 0;
    return is_number;
}

json_t *peer_json_find(const json_t *array, const char *key, const char *value)
{
    json_t *element;
    gsize i;

    json_array_foreach(array, i, element)
    {
        if (g_strcmp0(peer_json_string(element, key), value) == 0) {
            return element;
        }
    }
    return NULL;
}
