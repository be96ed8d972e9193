/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include "fuzz.h"
#include "util/jsonstream.h"

static void record(json_t *value, const GError *error, gpointer user_data)
{
    GString *said = user_data;
    char *dumped;

    fuzz_check_error(value != NULL, error);
    if (error) {
        g_string_append_printf(said, "!%s\n", error->message);
        return;
    }
    dumped = json_dumps(value, JSON_ENCODE_ANY);
    g_assert_nonnull(dumped);
    g_string_append_printf(said, "%s\n", dumped);
    free(dumped);
}

/* Pieces of @piece bytes. */
static char *feed(const char *data, gsize size, gsize piece)
{
    GString *said = g_string_new(NULL);
    g_autoptr(HmJsonStream) stream = hm_json_stream_new(record, said);

    for (gsize i = 0; i < size; i += piece) {
        hm_json_stream_feed(stream, data + i, MIN(piece, size - i));
    }
    hm_json_stream_end(stream);
    return g_string_free(said, FALSE);
}

/* The split makes no difference. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *whole = feed((const char *)data, size, MAX(size, 1));
    g_autofree char *bytes = feed((const char *)data, size, 1);
    g_autofree char *pieces = feed((const char *)data, size, 5);

    g_assert_cmpstr(whole, ==, bytes);
    g_assert_cmpstr(whole, ==, pieces);
    return 0;
}
