/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib/gstdio.h>
#include <string.h>
#include "backends/object-spec.h"
#include "object-test.h"
#include "os-fake.h"

static char *folder;

const char *hm_test_folder(void)
{
    if (!folder) {
        folder = g_dir_make_tmp("hostmem-test-XXXXXX", NULL);
        g_assert_nonnull(folder);
    }
    return folder;
}

static void remove_folder(void)
{
    g_autoptr(GDir) dir = NULL;
    const char *name;

    if (!folder) {
        return;
    }
    dir = g_dir_open(folder, 0, NULL);
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);

        g_assert_cmpint(g_unlink(path), ==, 0);
    }
    g_assert_cmpint(g_rmdir(folder), ==, 0);
    g_clear_pointer(&folder, g_free);
}

static void run_test(gconstpointer data)
{
    const HmTest *test = data;

    hm_fake_reset();
    test->func();
    hm_fake_reset();
    remove_folder();
}

int hm_test_main(int argc, char **argv, const HmTest *tests, gsize n)
{
    g_test_init(&argc, &argv, NULL);
    for (gsize i = 0; i < n; i++) {
        g_test_add_data_func(tests[i].path, &tests[i], run_test);
    }
    return g_test_run();
}

gpointer hm_test_try_make(const char *options, GCancellable *cancellable,
                          GError **error)
{
    g_autoptr(HmObjectSpec) spec =
        hm_object_spec_from_text(HM_SPEC_OBJECT, options, NULL, error);
    g_autoptr(HostmemObject) object = NULL;

    if (!spec) {
        return NULL;
    }
    object = hm_object_spec_instantiate(spec);
    if (!g_initable_init(G_INITABLE(object), cancellable, error)) {
        return NULL;
    }
    return g_steal_pointer(&object);
}

gpointer hm_test_make(const char *options)
{
    g_autoptr(GError) error = NULL;
    gpointer object = hm_test_try_make(options, NULL, &error);

    g_assert_no_error(error);
    return object;
}

void hm_test_assert_make_fails(const char *options, gint code, const char *part)
{
    GError *error = NULL;

    g_assert_null(hm_test_try_make(options, NULL, &error));
    hm_test_assert_error(error, code, part);
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

guint hm_test_count_mappings(guint64 size)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    guint n = 0;

    g_assert_true(g_file_get_contents("/proc/self/maps", &text, NULL, NULL));
    lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        char *dash = NULL;
        guint64 start = g_ascii_strtoull(*line, &dash, 16);

        if (*dash == '-' &&
            g_ascii_strtoull(dash + 1, NULL, 16) - start == size) {
            n++;
        }
    }
    return n;
}
