/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <hostmem/qmp.h>
#include <string.h>
#include "fuzz.h"
#include "os-fake.h"
#include "util/size.h"

/* A session that says what the fuzzer wants, on a kernel without files. */

static const char greeting[] =
    "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}}";

static gint64 refuse_large(const HmFakeRecord *record,
                           gpointer data G_GNUC_UNUSED)
{
    return record->length > HM_MIB ? -ENOMEM : 0;
}

static void bend_kernel(void)
{
    hm_fake_reset();
    hm_fake_hook(HM_FAKE_MAP, refuse_large, NULL);
    hm_fake_fail_always(HM_FAKE_OPEN, EACCES);
    hm_fake_fail_always(HM_FAKE_UNLINK, EACCES);
}

static GInputStream *input_new(const uint8_t *data, size_t size)
{
    GInputStream *input = g_memory_input_stream_new_from_data(
        greeting, (gssize)strlen(greeting), NULL);

    g_memory_input_stream_add_data(G_MEMORY_INPUT_STREAM(input), data,
                                   (gssize)size, NULL);
    return input;
}

/* Every line is an answer, an event, or the greeting; none is cut short. */
static void check_line(const char *line)
{
    json_auto_t *message = json_loads(line, JSON_REJECT_DUPLICATES, NULL);

    g_assert_true(g_str_has_suffix(line, "\r"));
    g_assert_cmpint(!!json_object_get(message, "return") +
                        !!json_object_get(message, "error") +
                        !!json_object_get(message, "event") +
                        !!json_object_get(message, "QMP"),
                    ==, 1);
}

static void check_output(GOutputStream *output)
{
    GMemoryOutputStream *memory = G_MEMORY_OUTPUT_STREAM(output);
    g_autofree char *text =
        g_strndup(g_memory_output_stream_get_data(memory),
                  g_memory_output_stream_get_data_size(memory));
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    guint n = g_strv_length(lines);

    g_assert_cmpuint(n, >=, 3);
    g_assert_cmpstr(lines[n - 1], ==, "");
    for (guint i = 0; i + 1 < n; i++) {
        check_line(lines[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    g_autoptr(HostmemQmpServer) server = hostmem_qmp_server_new(registry);
    g_autoptr(GInputStream) input = input_new(data, size);
    g_autoptr(GOutputStream) output = g_memory_output_stream_new_resizable();
    g_autoptr(GIOStream) stream = g_simple_io_stream_new(input, output);

    bend_kernel();
    hostmem_qmp_server_add_stream(server, stream);
    while (!g_io_stream_is_closed(stream)) {
        g_main_context_iteration(NULL, TRUE);
    }
    check_output(output);
    return 0;
}
