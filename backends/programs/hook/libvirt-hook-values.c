/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "libvirt-hook-values.h"

#define MESSAGE_MAX 200 /* characters */

/* What was read may be long. */
gboolean hook_refuse(GError **error, HostmemError code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *message = g_utf8_make_valid(text, -1);
    if (g_utf8_strlen(message, -1) > MESSAGE_MAX) {
        *g_utf8_offset_to_pointer(message, MESSAGE_MAX) = '\0';
    }
    g_set_error_literal(error, HOSTMEM_ERROR, code, message);
    return FALSE;
}

/* Numbers and sizes */

gboolean hook_parse_number(const char *text, guint64 max, guint64 *number,
                           GError **error)
{
    g_autofree char *trimmed = g_strstrip(g_strdup(text));

    if (!g_ascii_isdigit(trimmed[0])) {
        return hook_refuse(error, HOSTMEM_ERROR_INVALID, "'%s' is no number",
                           text);
    }
    return g_ascii_string_to_unsigned(trimmed, 10, 0, max, number, NULL) ||
           hook_refuse(error, HOSTMEM_ERROR_INVALID,
                       "'%s' is no number up to %" G_GUINT64_FORMAT, text, max);
}

/* Units of libvirt: KiB without one; "k" and "KiB" are 1024, "KB" is 1000. */
gboolean hook_parse_unit(const char *unit, guint64 *scale, GError **error)
{
    static const char letters[] = "kmgtpe";
    const char *letter =
        unit && *unit ? strchr(letters, g_ascii_tolower(*unit)) : letters;
    guint64 base = 1024;

    *scale = 1;
    if (unit && (g_ascii_strcasecmp(unit, "b") == 0 ||
                 g_ascii_strcasecmp(unit, "byte") == 0 ||
                 g_ascii_strcasecmp(unit, "bytes") == 0)) {
        return TRUE;
    }
    if (unit && *unit && unit[1]) {
        base = g_ascii_strcasecmp(unit + 1, "b") == 0    ? 1000
               : g_ascii_strcasecmp(unit + 1, "ib") == 0 ? 1024
                                                         : 0;
    }
    if (!letter || !*letter || !base) {
        return hook_refuse(error, HOSTMEM_ERROR_INVALID, "'%s' is no unit",
                           unit);
    }
    for (const char *at = letters; at <= letter; at++) {
        *scale *= base;
    }
    return TRUE;
}

gboolean hook_parse_scaled(const char *text, guint64 scale, guint64 *size,
                           GError **error)
{
    guint64 number;

    if (!hook_parse_number(text, G_MAXINT64 / scale, &number, error)) {
        return FALSE;
    }
    *size = number * scale;
    return TRUE;
}

gboolean hook_parse_size(const char *text, const char *unit, guint64 *size,
                         GError **error)
{
    guint64 scale;

    return hook_parse_unit(unit, &scale, error) &&
           hook_parse_scaled(text, scale, size, error);
}

/* Sets of numbers */

/* "3", "0-3" or "^2" */
static gboolean parse_range(const char *text, gboolean *ids, GError **error)
{
    gboolean value = text[0] != '^';
    g_auto(GStrv) ends = g_strsplit(value ? text : text + 1, "-", 2);
    guint64 first, last;

    if (!ends[0]) {
        return hook_refuse(error, HOSTMEM_ERROR_INVALID, "a number is missing");
    }
    if (!hook_parse_number(ends[0], HOOK_IDS_MAX - 1, &first, error) ||
        !hook_parse_number(ends[1] ? ends[1] : ends[0], HOOK_IDS_MAX - 1, &last,
                           error)) {
        return FALSE;
    }
    if (last < first) {
        return hook_refuse(error, HOSTMEM_ERROR_INVALID,
                           "'%s' ends before it begins", text);
    }
    for (; first <= last; first++) {
        ids[first] = value;
    }
    return TRUE;
}

gboolean hook_nodeset_parse(const char *text, gboolean *ids, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(text, ",", -1);

    memset(ids, 0, HOOK_IDS_MAX * sizeof(*ids));
    for (char **part = parts; *part; part++) {
        if (!parse_range(*part, ids, error)) {
            return FALSE;
        }
    }
    return TRUE;
}
