/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/export/libvirt-reduce.h"
#include "fuzz.h"

/* What is left of XML is XML, of which nothing more is left out. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *xml = g_strndup((const char *)data, size);
    g_autoptr(GError) error = NULL;
    g_autofree char *reduced = hm_libvirt_reduce(xml, &error);

    fuzz_check_error(reduced != NULL, error);
    if (reduced) {
        g_autofree char *again = hm_libvirt_reduce(reduced, &error);

        g_assert_no_error(error);
        g_assert_cmpstr(again, ==, reduced);
    }
    return 0;
}
