/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/libvirt.h>
#include <string.h>
#include "fuzz.h"

/*
 * A command line, an argument a line.  What is found says the same of itself.
 */

static const HostmemLibvirtPlace places[] = {
    {"/root/ram", "/var/ram", "files"},
    {"/root/huge", NULL, "huge pages"},
};

static char **read_options(char **argv)
{
    g_autoptr(GError) error = NULL;
    char **options = hostmem_libvirt_memory_options(
        (const char *const *)argv, places, G_N_ELEMENTS(places), &error);

    fuzz_check_error(options != NULL, error);
    return options;
}

static void check_json(const char *text)
{
    json_auto_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

    g_assert_true(json_is_object(json));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_auto(GStrv) argv = g_strsplit(text, "\n", -1);
    g_auto(GStrv) options = read_options(argv);

    if (!options) {
        return 0;
    }
    for (char **p = options; *p; p += 2) {
        g_assert_true(g_str_equal(p[0], "-object") ||
                      g_str_equal(p[0], "-device"));
        check_json(p[1]);
    }

    g_auto(GStrv) again = read_options(options);
    g_assert_true(
        g_strv_equal((const char *const *)options, (const char *const *)again));
    return 0;
}
