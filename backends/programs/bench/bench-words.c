/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench.h"

gboolean bench_set_errno(GError **error, const char *what, int number)
{
    g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM, "%s: %s", what,
                g_strerror(number));
    return FALSE;
}
