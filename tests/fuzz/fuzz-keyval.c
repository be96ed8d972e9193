/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuzz.h"
#include "util/keyval.h"

/* What is read from text is JSON of the row's type, or refused by it. */
static void check_object(json_t *object)
{
    const char *key;
    json_t *value;

    json_object_foreach(object, key, value)
    {
        const HmProp *row = fuzz_find_row(key, NULL);

        g_assert_nonnull(row);
        g_assert_false(row->flags & HM_PROP_READ_ONLY);
        fuzz_check_value(row, value);
    }
}

static void check_keyval(const HmKeyval *keyval)
{
    g_autoptr(GError) error = NULL;
    json_auto_t *object =
        hm_keyval_to_json(keyval, fuzz_find_row, NULL, &error);

    fuzz_check_error(object != NULL, error);
    hm_keyval_get(keyval, "id");
    check_object(object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_autoptr(GError) error = NULL;
    g_autoptr(HmKeyval) keyval = hm_keyval_parse(text, "how", &error);

    fuzz_check_error(keyval != NULL, error);
    if (keyval) {
        check_keyval(keyval);
    }
    return 0;
}
