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
    if (!hostmem_libvirt_parse_number(ends[0], HOOK_IDS_MAX - 1, &first,
                                      error) ||
        !hostmem_libvirt_parse_number(ends[1] ? ends[1] : ends[0],
                                      HOOK_IDS_MAX - 1, &last, error)) {
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
