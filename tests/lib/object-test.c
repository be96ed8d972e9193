/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>
#include "object-test.h"
#include "os-fake.h"

static void run_test(gconstpointer data)
{
    const HmTest *test = data;

    hm_fake_reset();
    test->func();
    hm_fake_reset();
}

int hm_test_main(int argc, char **argv, const HmTest *tests, gsize n)
{
    g_test_init(&argc, &argv, NULL);
    for (gsize i = 0; i < n; i++) {
        g_test_add_data_func(tests[i].path, &tests[i], run_test);
    }
    return g_test_run();
}

static char *read_property(gpointer object, const char *property)
{
    g_autoptr(GError) error = NULL;
    char *text = hostmem_object_get(object, property, &error);

    g_assert_no_error(error);
    return text;
}

void hm_test_assert_reads(gpointer object, const char *property,
                          const char *expected)
{
    g_autofree char *text = read_property(object, property);

    g_assert_cmpstr(text, ==, expected);
}

guint64 hm_test_read_number(gpointer object, const char *property)
{
    g_autofree char *text = read_property(object, property);

    return g_ascii_strtoull(text, NULL, 10);
}

void hm_test_assert_set(gpointer object, const char *property,
                        const char *value)
{
    g_autoptr(GError) error = NULL;

    hostmem_object_set(object, property, value, NULL, &error);
    g_assert_no_error(error);
}

void hm_test_assert_set_fails(gpointer object, const char *property,
                              const char *value, gint code, const char *message)
{
    g_autofree char *before = hostmem_object_get(object, property, NULL);
    g_autofree char *after = NULL;
    g_autoptr(GError) error = NULL;

    g_assert_false(hostmem_object_set(object, property, value, NULL, &error));
    g_assert_error(error, HOSTMEM_ERROR, code);
    g_assert_cmpstr(error->message, ==, message);
    after = hostmem_object_get(object, property, NULL);
    g_assert_cmpstr(after, ==, before);
}

void hm_test_assert_error(GError *error, gint code, const char *part)
{
    g_assert_error(error, HOSTMEM_ERROR, code);
    if (!strstr(error->message, part)) {
        g_error("'%s' has no '%s' in it", error->message, part);
    }
    g_error_free(error);
}

guint hm_test_count_fds(void)
{
    g_autoptr(GDir) dir = g_dir_open("/proc/self/fd", 0, NULL);
    guint n = 0;

    while (g_dir_read_name(dir)) {
        n++;
    }
    return n;
}

guint hm_test_count_mappings(void)
{
    g_autofree char *text = NULL;
    guint n = 0;

    g_file_get_contents("/proc/self/maps", &text, NULL, NULL);
    for (const char *line = text; (line = strchr(line, '\n')); line++) {
        n++;
    }
    return n;
}
