/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuzz.h"
#include "util/idset.h"

static void check_set(const HmIdset *set)
{
    g_autofree char *text = hm_idset_to_string(set);
    g_autoptr(HmIdset) again = hm_idset_parse(text, NULL);
    g_autofree char *text_again = NULL;
    guint n = 0;

    g_assert_nonnull(again);
    text_again = hm_idset_to_string(again);
    g_assert_cmpstr(text, ==, text_again);
    HM_IDSET_FOREACH (set, id) {
        g_assert_true(hm_idset_contains(again, id));
        n++;
    }
    g_assert_cmpuint(n, ==, hm_idset_count(set));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_autoptr(GError) error = NULL;
    g_autoptr(HmIdset) set = hm_idset_parse(text, &error);

    fuzz_check_error(set != NULL, error);
    if (set) {
        check_set(set);
    }
    return 0;
}
