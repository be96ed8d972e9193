/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "util/procfield.h"
#include "util/size.h"

guint64 hm_procfield_bytes(const char *text, const char *key)
{
    g_autofree char *colon = g_strconcat(key, ":", NULL);
    guint64 bytes;

    for (const char *at = text; (at = strstr(at, colon)); at++) {
        if (at == text || g_ascii_isspace(at[-1])) {
            guint64 kib = g_ascii_strtoull(at + strlen(colon), NULL, 10);

            return g_uint64_checked_mul(&bytes, kib, HM_KIB) ? bytes : 0;
        }
    }
    return 0;
}

gboolean hm_procfield_number(const char *text, const char *key, guint64 *value)
{
    gsize length = strlen(key);

    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!strncmp(line, key, length) && line[length] == ' ') {
            *value = g_ascii_strtoull(line + length, NULL, 10);
            return TRUE;
        }
    }
    return FALSE;
}
