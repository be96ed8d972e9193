/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sys/stat.h>
#include <hostmem/registry.h>
#include "object-test.h"
#include "os-fake.h"
#include "util/size.h"

static char *in_folder(const char *name)
{
    return g_build_filename(hm_test_folder(), name, NULL);
}

/* Bytes; -1 when there is no such file. */
static gint64 length_of(const char *name)
{
    g_autofree char *path = in_folder(name);
    struct stat st;

    return stat(path, &st) < 0 ? -1 : st.st_size;
}

static void add_file(HostmemRegistry *registry, const char *name)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *options =
        g_strdup_printf("memory-backend-file,id=m0,size=1M,share=on,"
                        "prealloc=on,mem-path=%s/%s",
                        hm_test_folder(), name);

    hostmem_registry_add(registry, options, NULL, &error);
    g_assert_no_error(error);
}

static void abandon(HostmemRegistry *registry)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(hostmem_registry_abandon(registry, "m0", &error));
    g_assert_no_error(error);
}

static void assert_refused(HostmemRegistry *registry, const char *id, gint code)
{
    GError *error = NULL;

    g_assert_false(hostmem_registry_abandon(registry, id, &error));
    hm_test_assert_error(error, code, id);
}

static void test_new_file_goes_with_the_registry(void)
{
    HostmemRegistry *registry = hostmem_registry_new();

    add_file(registry, "f");
    abandon(registry);
    g_assert_cmpint(length_of("f"), ==, HM_MIB);
    g_object_unref(registry);
    g_assert_cmpint(length_of("f"), ==, -1);
}

static void test_new_file_goes_with_the_object(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();

    add_file(registry, "f");
    abandon(registry);
    g_assert_true(hostmem_registry_remove(registry, "m0", NULL));
    g_assert_cmpint(length_of("f"), ==, -1);
}

static void test_new_file_of_others_stays(void)
{
    HostmemRegistry *registry = hostmem_registry_new();

    add_file(registry, "f");
    g_object_unref(registry);
    g_assert_cmpint(length_of("f"), ==, HM_MIB);
}

static void test_empty_file_is_empty_again(void)
{
    HostmemRegistry *registry = hostmem_registry_new();
    g_autofree char *path = in_folder("f");

    g_assert_true(g_file_set_contents(path, "", 0, NULL));
    add_file(registry, "f");
    abandon(registry);
    g_object_unref(registry);
    g_assert_cmpint(length_of("f"), ==, 0);
}

static void test_file_with_content_keeps_it(void)
{
    HostmemRegistry *registry = hostmem_registry_new();
    g_autofree char *path = in_folder("f");
    g_autofree char *content = g_strnfill(HM_MIB, 'x');
    g_autofree char *after = NULL;

    g_assert_true(g_file_set_contents(path, content, HM_MIB, NULL));
    add_file(registry, "f");
    abandon(registry);
    g_object_unref(registry);
    g_assert_true(g_file_get_contents(path, &after, NULL, NULL));
    g_assert_cmpstr(after, ==, content);
}

static void test_object_without_a_file(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();

    hostmem_registry_add(registry, "memory-backend-ram,id=m0,size=1M", NULL,
                         NULL);
    abandon(registry);
    g_assert_nonnull(
        hostmem_registry_lookup(registry, "m0", HOSTMEM_TYPE_OBJECT, NULL));
}

static void test_no_such_object(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();

    assert_refused(registry, "m0", HOSTMEM_ERROR_NOT_FOUND);
}

static void on_added(GObject *source G_GNUC_UNUSED,
                     GAsyncResult *result G_GNUC_UNUSED, gpointer data)
{
    *(gboolean *)data = TRUE;
}

static void test_object_that_is_being_created(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    gboolean done = FALSE;

    hostmem_registry_add_async(registry, "memory-backend-ram,id=m0,size=1M",
                               NULL, on_added, &done);
    assert_refused(registry, "m0", HOSTMEM_ERROR_BUSY);
    while (!done) {
        g_main_context_iteration(NULL, TRUE);
    }
    abandon(registry);
}

static const HmTest tests[] = {
    {"/registry-abandon/new-file-goes-with-the-registry",
     test_new_file_goes_with_the_registry},
    {"/registry-abandon/new-file-goes-with-the-object",
     test_new_file_goes_with_the_object},
    {"/registry-abandon/new-file-of-others-stays",
     test_new_file_of_others_stays},
    {"/registry-abandon/empty-file-is-empty-again",
     test_empty_file_is_empty_again},
    {"/registry-abandon/file-with-content-keeps-it",
     test_file_with_content_keeps_it},
    {"/registry-abandon/object-without-a-file", test_object_without_a_file},
    {"/registry-abandon/no-such-object", test_no_such_object},
    {"/registry-abandon/object-that-is-being-created",
     test_object_that_is_being_created},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
