/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <gio/gio.h>
#include <hostmem/error.h>
#include "fuzz.h"

/* No message repeats more than a few quoted texts. */
#define MESSAGE_MAX 1024

const HmProp fuzz_rows[] = {
    {.name = "flag", .kind = HM_PROP_BOOL},
    {.name = "count", .kind = HM_PROP_UINT32, .flags = HM_PROP_NOT_ZERO},
    {.name = "size", .kind = HM_PROP_SIZE},
    {.name = "delta", .kind = HM_PROP_INT64},
    {.name = "id", .kind = HM_PROP_STRING, .flags = HM_PROP_REQUIRED},
    {.name = "how", .kind = HM_PROP_ENUM, .type = g_socket_protocol_get_type},
    {.name = "nodes", .kind = HM_PROP_IDS, .max = 127},
    {.name = "friend", .kind = HM_PROP_LINK, .type = g_cancellable_get_type},
    {.name = "any", .kind = HM_PROP_ANY},
    {.name = "seen", .kind = HM_PROP_BOOL, .flags = HM_PROP_READ_ONLY},
};
const gsize fuzz_n_rows = G_N_ELEMENTS(fuzz_rows);

void fuzz_check_error(gboolean ok, const GError *error)
{
    g_assert_true(ok == (error == NULL));
    if (error) {
        g_assert_true(error->domain == HOSTMEM_ERROR);
        g_assert_cmpuint(strlen(error->message), <=, MESSAGE_MAX);
        g_assert_true(g_utf8_validate(error->message, -1, NULL));
    }
}

const HmProp *fuzz_find_row(const char *name, gpointer unused G_GNUC_UNUSED)
{
    for (gsize i = 0; i < fuzz_n_rows; i++) {
        if (g_str_equal(fuzz_rows[i].name, name)) {
            return &fuzz_rows[i];
        }
    }
    return NULL;
}

/* Every path but "nobody" leads to the one object. */
static GObject *find_link(const char *path, gpointer data, GError **error)
{
    if (!g_str_equal(path, "nobody")) {
        return data;
    }
    g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NOT_FOUND,
                "Device '%s' not found", path);
    return NULL;
}

static char *link_path(GObject *object, gpointer data)
{
    g_assert_true(object == data);
    return g_strdup("/objects/one");
}

static void check_written(const HmProp *row, const GValue *value,
                          const HmPropLinks *links)
{
    g_autofree char *text = hm_prop_to_text(row, value);
    json_auto_t *written = hm_prop_to_json(row, value, links);
    json_auto_t *again = NULL;
    g_auto(GValue) read = G_VALUE_INIT;

    g_assert_nonnull(text);
    g_assert_true(hm_prop_from_json(row, written, links, &read, NULL));
    again = hm_prop_to_json(row, &read, links);
    g_assert_true(json_equal(written, again));
}

void fuzz_check_value(const HmProp *row, json_t *json)
{
    g_autoptr(GCancellable) one = g_cancellable_new();
    HmPropLinks links = {find_link, link_path, one};
    g_auto(GValue) value = G_VALUE_INIT;
    g_autoptr(GError) error = NULL;
    gboolean ok;

    if (row->kind == HM_PROP_ANY) {
        return;
    }
    ok = hm_prop_from_json(row, json, &links, &value, &error);
    fuzz_check_error(ok, error);
    if (ok) {
        check_written(row, &value, &links);
    }
}
