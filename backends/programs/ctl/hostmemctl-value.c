/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "hostmemctl.h"

static json_t *refuse(const char *text, const char *what, GError **error)
{
    g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID, "'%s' is not %s",
                text, what);
    return NULL;
}

static json_t *bool_of(const char *text, GError **error)
{
    static const char *const on[] = {"on", "yes", "true", "y", NULL};
    static const char *const off[] = {"off", "no", "false", "n", NULL};

    if (g_strv_contains(on, text)) {
        return json_true();
    }
    return g_strv_contains(off, text) ? json_false()
                                      : refuse(text, "'on' or 'off'", error);
}

static json_t *number_of(const char *text, GError **error)
{
    guint64 bytes;
    gint64 number;

    if (g_ascii_string_to_signed(text, 10, G_MININT64, G_MAXINT64, &number,
                                 NULL)) {
        return json_integer(number);
    }
    if (hostmem_size_parse(text, &bytes, NULL) && bytes <= G_MAXINT64) {
        return json_integer((json_int_t)bytes);
    }
    return refuse(text, "a number or a size, such as 512M", error);
}

static gboolean append_ids(json_t *list, const char *range)
{
    g_auto(GStrv) ends = g_strsplit(range, "-", 2);
    const char *last = ends[0] && ends[1] ? ends[1] : ends[0];
    guint64 from, to;

    if (!last ||
        !g_ascii_string_to_unsigned(ends[0], 10, 0, G_MAXUINT16, &from, NULL) ||
        !g_ascii_string_to_unsigned(last, 10, from, G_MAXUINT16, &to, NULL)) {
        return FALSE;
    }
    for (guint64 id = from; id <= to; id++) {
        json_array_append_new(list, json_integer((json_int_t)id));
    }
    return TRUE;
}

static json_t *list_of(const char *text, GError **error)
{
    g_auto(GStrv) ranges = g_strsplit(text, ",", -1);
    json_auto_t *list = json_array();

    for (char **range = ranges; *range; range++) {
        if (!append_ids(list, *range)) {
            return refuse(text, "a list such as 0-3,8", error);
        }
    }
    return json_incref(list);
}

json_t *ctl_value_parse(const char *kind, const char *text, GError **error)
{
    if (g_str_equal(kind, "boolean")) {
        return bool_of(text, error);
    }
    if (g_str_equal(kind, "int")) {
        return number_of(text, error);
    }
    if (g_str_equal(kind, "string")) {
        return json_string(text);
    }
    if (g_str_equal(kind, "array") && *text != '[') {
        return list_of(text, error);
    }
    return peer_json_parse(text, error);
}

json_t *ctl_value_guess(const char *text)
{
    json_t *value = peer_json_parse(text, NULL);

    return value ? value : json_string(text);
}
