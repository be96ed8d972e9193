/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include "hostmemd.h"

gboolean hm_text_put(FILE *stream, const char *text, GError **error)
{
    if (fputs(text, stream) >= 0 && fflush(stream) == 0) {
        return TRUE;
    }
    g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM,
                "cannot write the output: %s", g_strerror(errno));
    return FALSE;
}
