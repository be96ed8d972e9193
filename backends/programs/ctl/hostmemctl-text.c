/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include "hostmemctl.h"

#define BAR_WIDTH 16

/* Peers */

/* Marks that turn the direction of what follows could make a line say
 * something else; those that separate lines could forge one. */
static gboolean is_safe(gunichar c)
{
    switch (g_unichar_type(c)) {
    case G_UNICODE_CONTROL:
    case G_UNICODE_FORMAT:
    case G_UNICODE_LINE_SEPARATOR:
    case G_UNICODE_PARAGRAPH_SEPARATOR:
    case G_UNICODE_PRIVATE_USE:
    case G_UNICODE_SURROGATE:
    case G_UNICODE_UNASSIGNED:
        return FALSE;
    default:
        return TRUE;
    }
}

char *ctl_text_safe(const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    GString *safe = g_string_new(NULL);

    for (const char *at = valid; *at; at = g_utf8_next_char(at)) {
        gunichar c = g_utf8_get_char(at);

        if (is_safe(c)) {
            g_string_append_unichar(safe, c);
        } else {
            g_string_append_printf(safe, c < 0x100 ? "\\x%02x" : "\\u{%x}", c);
        }
    }
    return g_string_free(safe, FALSE);
}

/* "0,1,3" of numbers; NULL when there is something else in it. */
static char *text_of_numbers(const json_t *array)
{
    g_autoptr(GString) text = g_string_new(NULL);
    json_t *element;
    gsize i;

    json_array_foreach(array, i, element)
    {
        if (!json_is_integer(element)) {
            return NULL;
        }
        g_string_append_printf(text, "%s%" JSON_INTEGER_FORMAT, i ? "," : "",
                               json_integer_value(element));
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

char *ctl_text_of(const json_t *value)
{
    if (json_is_string(value)) {
        return g_strdup(json_string_value(value));
    }
    if (json_is_boolean(value)) {
        return g_strdup(json_is_true(value) ? "on" : "off");
    }
    char *numbers = json_is_array(value) ? text_of_numbers(value) : NULL;
    return numbers ? numbers : peer_json_to_text(value);
}

char *ctl_text_member(const json_t *object, const char *key)
{
    const json_t *member = json_object_get(object, key);

    return member && !json_is_null(member) ? ctl_text_of(member) : NULL;
}

char *ctl_text_size(const json_t *object, const char *key)
{
    guint64 bytes;

    return peer_json_number(object, key, &bytes) ? hostmem_size_to_string(bytes)
                                                 : NULL;
}

char *ctl_text_bar(guint64 done, guint64 total)
{
    double part = total ? MIN((double)done / total, 1.0) : 1.0;
    int full = part * BAR_WIDTH;
    g_autofree char *bar = g_strnfill(BAR_WIDTH, '.');

    for (int i = 0; i < full; i++) {
        bar[i] = '#';
    }
    return g_strdup_printf("[%s] %3d %%", bar, (int)(part * 100));
}

char *ctl_text_time(gint64 time_us)
{
    g_autoptr(GDateTime) utc =
        g_date_time_new_from_unix_utc(time_us / G_USEC_PER_SEC);
    g_autoptr(GDateTime) local = g_date_time_to_local(utc);

    return g_date_time_format(local, "%Y-%m-%d %H:%M:%S");
}

/* Terminals */

static gsize cells_of(gunichar c)
{
    if (g_unichar_iszerowidth(c)) {
        return 0;
    }
    return g_unichar_iswide(c) ? 2 : 1;
}

gsize ctl_text_width(const char *text)
{
    gsize width = 0;

    for (; *text; text = g_utf8_next_char(text)) {
        width += cells_of(g_utf8_get_char(text));
    }
    return width;
}

char *ctl_text_cut(const char *text, gsize width)
{
    const char *at = text;
    gsize used = 0;

    while (*at && (used += cells_of(g_utf8_get_char(at))) <= width) {
        at = g_utf8_next_char(at);
    }
    return g_strndup(text, at - text);
}

/* Output */

gboolean ctl_put(const char *text, GError **error)
{
    if (fputs(text, stdout) >= 0 && fflush(stdout) == 0) {
        return TRUE;
    }
    g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM,
                "cannot write the output: %s", g_strerror(errno));
    return FALSE;
}

gboolean ctl_put_json(const json_t *value, GError **error)
{
    g_autofree char *text = peer_json_to_text(value);
    g_autofree char *line = g_strconcat(text, "\n", NULL);

    return ctl_put(line, error);
}
