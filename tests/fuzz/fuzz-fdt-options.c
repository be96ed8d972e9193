/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "backends/fdt-options.h"
#include "fuzz.h"
#include "util/jsonstream.h"

static void check_dump(const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HmFdtDump) dump = hm_fdt_dump_parse(text, &error);

    fuzz_check_error(dump != NULL, error);
    if (!dump) {
        return;
    }
    g_assert_nonnull(dump->filename);
    for (guint i = 0; i < dump->transports->len; i++) {
        const HmFdtTransport *transport =
            &g_array_index(dump->transports, HmFdtTransport, i);

        g_assert_cmpuint(transport->n_cells, <=, HM_FDT_MAX_INTERRUPT_CELLS);
        g_assert_cmpuint(transport->addr, <=, G_MAXINT64);
    }
}

/* What comes of it says what the tree says, whatever the template has. */
static void check_applied(const HmFdtTemplate *template)
{
    g_autofree char *line =
        hm_fdt_template_apply(template, "ram0", 4096, 8192, 3);
    json_auto_t *json = hm_json_parse(line, strlen(line), NULL);

    g_assert_cmpstr(json_string_value(json_object_get(json, "id")), ==, "ram0");
    g_assert_cmpint(json_integer_value(json_object_get(json, "size")), ==,
                    4096);
    g_assert_cmpint(json_integer_value(json_object_get(json, "guest-addr")), ==,
                    8192);
    g_assert_null(json_object_get(json, "file"));
    g_assert_null(json_object_get(json, "per"));
}

static void check_template(const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HmFdtTemplate) template = hm_fdt_template_parse(text, &error);

    fuzz_check_error(template != NULL, error);
    if (template) {
        g_assert_nonnull(template->file);
        check_applied(template);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);

    check_dump(text);
    check_template(text);
    return 0;
}
