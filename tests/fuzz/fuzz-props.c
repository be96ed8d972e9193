/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuzz.h"
#include "util/jsonstream.h"

static void check_object(json_t *object)
{
    g_autoptr(GError) error = NULL;
    const char *key;
    json_t *value;
    gboolean ok = hm_props_check_json(fuzz_rows, fuzz_n_rows, object, &error);

    fuzz_check_error(ok, error);
    json_object_foreach(object, key, value)
    {
        const HmProp *row = fuzz_find_row(key, NULL);

        g_assert_true(row || !ok);
        if (row) {
            fuzz_check_value(row, value);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    json_auto_t *json = hm_json_parse((const char *)data, size, &error);

    fuzz_check_error(json != NULL, error);
    if (json_is_object(json)) {
        check_object(json);
    }
    return 0;
}
