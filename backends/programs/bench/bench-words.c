/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "bench.h"

static const char units[] = "KMGT";

gboolean bench_parse_size(const char *text, guint64 *size, GError **error)
{
    gsize digits = strspn(text, "0123456789");
    g_autofree char *number = g_strndup(text, digits);
    const char *unit = text + digits;
    const char *found = *unit ? strchr(units, g_ascii_toupper(*unit)) : NULL;
    guint shift = found ? 10 * (found - units + 1) : 0;

    if ((*unit && (!found || unit[1])) ||
        !g_ascii_string_to_unsigned(number, 10, 1, G_MAXUINT64 >> shift, size,
                                    NULL)) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID,
                    "'%s' is not a size, such as 512M or 4G", text);
        return FALSE;
    }
    *size <<= shift;
    return TRUE;
}

char *bench_format_size(guint64 bytes)
{
    guint unit = 0;

    while (unit < strlen(units) && bytes >> (10 * (unit + 1))) {
        unit++;
    }
    if (unit == 0) {
        return g_strdup_printf("%" G_GUINT64_FORMAT " bytes", bytes);
    }
    double value = (double)bytes / (G_GUINT64_CONSTANT(1) << (10 * unit));
    return g_strdup_printf(value == (guint64)value ? "%.0f %ciB" : "%.1f %ciB",
                           value, units[unit - 1]);
}

gboolean bench_set_errno(GError **error, const char *what, int number)
{
    g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM, "%s: %s", what,
                g_strerror(number));
    return FALSE;
}
