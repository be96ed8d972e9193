/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include "hostmemd.h"

#define GIB (1024.0 * 1024 * 1024)

char *hm_text_gib_per_second(guint64 bytes, gint64 elapsed_us)
{
    if (elapsed_us <= 0) {
        return g_strdup("-");
    }
    return g_strdup_printf("%.1f", bytes / GIB * G_USEC_PER_SEC / elapsed_us);
}

char *hm_text_time(gint64 elapsed_us)
{
    if (elapsed_us < G_USEC_PER_SEC) {
        return g_strdup_printf("%.0f ms", elapsed_us / 1000.0);
    }
    return g_strdup_printf("%.2f s", (double)elapsed_us / G_USEC_PER_SEC);
}

gboolean hm_text_put(FILE *stream, const char *text, GError **error)
{
    if (fputs(text, stream) >= 0 && fflush(stream) == 0) {
        return TRUE;
    }
    g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM,
                "cannot write the output: %s", g_strerror(errno));
    return FALSE;
}
