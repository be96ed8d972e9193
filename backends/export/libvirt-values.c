/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/libvirt.h>
#include <string.h>
#include "util/error.h"

gboolean hostmem_libvirt_parse_number(const char *text, guint64 max,
                                      guint64 *number, GError **error)
{
    g_autofree char *trimmed = NULL;
    g_autofree char *quoted = NULL;

    g_return_val_if_fail(text && number, FALSE);
    trimmed = g_strstrip(g_strdup(text));
    if (g_ascii_isdigit(trimmed[0]) &&
        g_ascii_string_to_unsigned(trimmed, 10, 0, max, number, NULL)) {
        return TRUE;
    }
    quoted = hm_error_quote(text);
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "%s is no number from 0 to %" G_GUINT64_FORMAT, quoted,
                        max);
}

static gboolean is_one_of(const char *text, const char *const *names)
{
    for (; *names; names++) {
        if (g_ascii_strcasecmp(text, *names) == 0) {
            return TRUE;
        }
    }
    return FALSE;
}

/* 0: there is no such unit. */
static guint64 scale_of(const char *unit)
{
    static const char *const bytes[] = {"b", "byte", "bytes", NULL};
    static const char *const binary[] = {"", "ib", NULL};
    static const char letters[] = "kmgtpe";
    const char *letter = strchr(letters, g_ascii_tolower(*unit));
    guint64 base, scale = 1;

    if (is_one_of(unit, bytes)) {
        return 1;
    }
    if (!*unit || !letter) {
        return 0;
    }
    base = is_one_of(unit + 1, binary)              ? 1024
           : g_ascii_strcasecmp(unit + 1, "b") == 0 ? 1000
                                                    : 0;
    for (const char *at = letters; at <= letter; at++) {
        scale *= base;
    }
    return scale;
}

gboolean hostmem_libvirt_parse_size(const char *text, const char *unit,
                                    guint64 *bytes, GError **error)
{
    guint64 scale = scale_of(unit && *unit ? unit : "KiB");
    guint64 number;

    g_return_val_if_fail(text && bytes, FALSE);
    if (!scale) {
        g_autofree char *quoted = hm_error_quote(unit);

        return hm_set_error(error, HOSTMEM_ERROR_INVALID, "%s is no unit",
                            quoted);
    }
    if (!hostmem_libvirt_parse_number(text, G_MAXINT64 / scale, &number,
                                      error)) {
        return FALSE;
    }
    *bytes = number * scale;
    return TRUE;
}
