/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "fuzz.h"
#include "util/size.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_autoptr(GError) error = NULL;
    g_autofree char *shown = NULL;
    g_autofree char *decimal = NULL;
    guint64 bytes = 0;
    guint64 again = 0;
    gboolean ok = hm_size_parse(text, &bytes, &error);

    fuzz_check_error(ok, error);
    if (!ok) {
        return 0;
    }
    g_assert_null(strchr(text, '-'));
    shown = hm_size_format(bytes);
    g_assert_nonnull(strchr(shown, 'B'));
    decimal = g_strdup_printf("%" G_GUINT64_FORMAT, bytes);
    g_assert_true(hm_size_parse(decimal, &again, NULL));
    g_assert_cmpuint(again, ==, bytes);
    return 0;
}
