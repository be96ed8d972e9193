/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/backend.h>
#include <hostmem/registry.h>
#include <hostmem/thread-context.h>
#include "backends/object.h"
#include "backends/registry-private.h"
#include "object-test.h"
#include "os-fake.h"
#include "util/size.h"

#define RAM "memory-backend-ram,size=1M,id="

static HostmemObject *add(HostmemRegistry *registry, const char *options)
{
    g_autoptr(GError) error = NULL;
    HostmemObject *object =
        hostmem_registry_add(registry, options, NULL, &error);

    g_assert_no_error(error);
    return object;
}

static void assert_add_fails(HostmemRegistry *registry, const char *options,
                             gint code, const char *part)
{
    GError *error = NULL;

    g_assert_null(hostmem_registry_add(registry, options, NULL, &error));
    hm_test_assert_error(error, code, part);
}

static void assert_remove_fails(HostmemRegistry *registry, const char *id,
                                gint code, const char *part)
{
    GError *error = NULL;

    g_assert_false(hostmem_registry_remove(registry, id, &error));
    hm_test_assert_error(error, code, part);
}

/* Adding */

static void test_add(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    HostmemObject *object = add(registry, RAM "m0");

    g_assert_true(HOSTMEM_IS_BACKEND(object));
    g_assert_cmpstr(hostmem_object_get_id(object), ==, "m0");
    hm_test_assert_reads(object, "size", "1048576");
}

static void test_dialects(void)
{
    static const char *const options[] = {
        "memory-backend-ram,id=m0,size=1M,policy=bind,host-nodes=0-1,"
        "host-nodes=3",
        "memory-backend-ram,id=m0,size=1M,policy=bind,host-nodes.0=0,"
        "host-nodes.1=1,host-nodes.2=3",
        "qom-type=memory-backend-ram,id=m0,size=1M,policy=bind,host-nodes=0-1,"
        "host-nodes=3",
        "{\"qom-type\": \"memory-backend-ram\", \"id\": \"m0\", \"size\": "
        "1048576, \"policy\": \"bind\", \"host-nodes\": [0, 1, 3]}",
    };

    hm_fake_set_nodes(4, 2, HM_GIB);
    for (gsize i = 0; i < G_N_ELEMENTS(options); i++) {
        g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
        HostmemObject *object = add(registry, options[i]);

        hm_test_assert_reads(object, "host-nodes", "[0,1,3]");
    }
}

static void test_threads_alias(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    HostmemObject *object = add(registry, RAM "m0,threads=3");

    hm_test_assert_reads(object, "prealloc-threads", "3");
    assert_add_fails(registry, RAM "m1,threads=3,prealloc-threads=4",
                     HOSTMEM_ERROR_INVALID,
                     "Parameters 'threads' and 'prealloc-threads' are the "
                     "same");
}

static void test_option_errors(void)
{
    static const struct {
        const char *options;
        const char *part;
    } cases[] = {
        {"", "Parameter 'qom-type' is missing"},
        {"id=m,size=1M", "Parameter 'qom-type' is missing"},
        {"{\"id\": \"m1\", \"size\": 4096}", "Parameter 'qom-type' is missing"},
        {"{\"qom-type\": 1}",
         "Invalid parameter type for 'qom-type', expected: string"},
        {"nosuch,id=x,size=1",
         "Parameter 'qom-type' does not accept value 'nosuch'"},
        {"memory-backend,id=x,size=1",
         "Parameter 'qom-type' does not accept value 'memory-backend'"},
        {"object,id=x", "Parameter 'qom-type' does not accept value 'object'"},
        {"memory-backend-ram,size=4096", "Parameter 'id' is missing"},
        {"memory-backend-ram,id=m1", "Parameter 'size' is missing"},
        {"memory-backend-ram,id=m1,size=4K,foo=1", "Invalid parameter 'foo'"},
        {"memory-backend-ram,id=m1,size=4K,type=x", "Invalid parameter 'type'"},
        {"{\"qom-type\": \"memory-backend-ram\", \"id\": \"m1\", \"size\": "
         "4096, \"foo\": 1}",
         "Parameter 'foo' is unexpected"},
        {"{\"qom-type\": \"memory-backend-ram\", \"id\": \"m1\", \"size\": "
         "4096, \"page-size\": 1}",
         "Parameter 'page-size' is unexpected"},
        {"{\"qom-type\": \"memory-backend-ram\", \"id\": 1, \"size\": 4096}",
         "Invalid parameter type for 'id', expected: string"},
        {"{\"qom-type\": \"memory-backend-ram\", \"id\": \"m1\", \"size\": "
         "4096, \"prealloc\": \"on\"}",
         "Invalid parameter type for 'prealloc', expected: boolean"},
        {"{\"qom-type\": \"memory-backend-ram\"", "JSON parse error"},
        {"memory-backend-ram,id=m1,size=1M,prealloc=1",
         "Parameter 'prealloc' expects 'on' or 'off'"},
    };
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        assert_add_fails(registry, cases[i].options, HOSTMEM_ERROR_INVALID,
                         cases[i].part);
    }
}

static void test_malformed_ids(void)
{
    static const char *const ids[] = {"1m",  "",    "-m",
                                      "m m", "m/0", "m\xc3\xa4"};
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();

    for (gsize i = 0; i < G_N_ELEMENTS(ids); i++) {
        g_autofree char *options = g_strconcat(RAM, ids[i], NULL);

        assert_add_fails(registry, options, HOSTMEM_ERROR_INVALID,
                         "Parameter 'id' expects an identifier");
    }
    add(registry, RAM "a-B.c_9");
}

static void test_duplicate(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();

    add(registry, RAM "m0");
    assert_add_fails(registry, RAM "m0", HOSTMEM_ERROR_EXISTS,
                     "attempt to add duplicate property 'm0' to object (type "
                     "'container')");
}

/* A wrong value is found before the duplicate, as in QEMU. */
static void test_value_before_duplicate(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();

    add(registry, RAM "m0");
    assert_add_fails(registry, "memory-backend-ram,id=m0,size=0",
                     HOSTMEM_ERROR_INVALID, "doesn't take value '0'");
}

static void test_failure_frees_the_id(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();

    assert_add_fails(registry, "memory-backend-memfd,id=m0,size=5000",
                     HOSTMEM_ERROR_INVALID, "must be multiple of 4 KiB");
    g_assert_null(hostmem_registry_lookup_pending(registry, "m0"));
    add(registry, "memory-backend-memfd,id=m0,size=8192");
}

/* Finding */

static void test_lookup(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    HostmemObject *object = add(registry, RAM "m0");

    g_assert_true(hostmem_registry_lookup(registry, "m0", HOSTMEM_TYPE_OBJECT,
                                          NULL) == object);
    g_assert_true(hostmem_registry_lookup(registry, "/objects/m0",
                                          HOSTMEM_TYPE_BACKEND,
                                          NULL) == object);
}

static void test_lookup_errors(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    GError *error = NULL;

    add(registry, RAM "m0");
    g_assert_null(hostmem_registry_lookup(registry, "/objects/nosuch",
                                          HOSTMEM_TYPE_OBJECT, &error));
    hm_test_assert_error(g_steal_pointer(&error), HOSTMEM_ERROR_NOT_FOUND,
                         "Device '/objects/nosuch' not found");
    g_assert_null(hostmem_registry_lookup(registry, "m0",
                                          HOSTMEM_TYPE_THREAD_CONTEXT, &error));
    hm_test_assert_error(error, HOSTMEM_ERROR_INVALID,
                         "object 'm0' is a memory-backend-ram, expected: "
                         "thread-context");
}

static void test_list_in_order(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    HostmemObject *z = add(registry, RAM "z");
    HostmemObject *a = add(registry, "thread-context,id=a");
    g_autoptr(GPtrArray) list = hostmem_registry_list(registry);
    g_autoptr(GPtrArray) pending = hostmem_registry_list_pending(registry);

    g_assert_cmpuint(list->len, ==, 2);
    g_assert_true(g_ptr_array_index(list, 0) == z);
    g_assert_true(g_ptr_array_index(list, 1) == a);
    g_assert_cmpuint(pending->len, ==, 0);
}

/* Links */

static void test_link(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    HostmemObject *ram;

    add(registry, "thread-context,id=tc0");
    ram = add(registry, RAM "m0,prealloc-context=tc0");
    hm_test_assert_reads(ram, "prealloc-context", "\"/objects/tc0\"");
    assert_add_fails(registry, RAM "m1,prealloc-context=nosuch",
                     HOSTMEM_ERROR_NOT_FOUND, "Device 'nosuch' not found");
    assert_add_fails(registry, RAM "m1,prealloc-context=m0",
                     HOSTMEM_ERROR_INVALID,
                     "Invalid parameter type for 'prealloc-context', expected: "
                     "thread-context");
}

static void test_change_link(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    const HmPropLinks *links = hm_registry_links(registry);
    HostmemObject *ram = add(registry, RAM "m0");
    json_auto_t *path = json_string("/objects/tc0");

    add(registry, "thread-context,id=tc0");
    g_assert_true(
        hm_object_set_json(ram, "prealloc-context", path, links, NULL, NULL));
    hm_test_assert_reads(ram, "prealloc-context", "\"/objects/tc0\"");
}

/* The backend's reference keeps the thread, so the context can go. */
static void test_linked_context_may_leave(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    HostmemObject *ram;

    add(registry, "thread-context,id=tc0");
    ram = add(registry, RAM "m0,prealloc-context=tc0");
    g_assert_true(hostmem_registry_remove(registry, "tc0", NULL));
    hm_test_assert_set(ram, "prealloc", "on");
}

/* Removing */

static void test_remove(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();

    add(registry, "memory-backend-ram,id=m0,size=17412K");
    g_assert_true(hostmem_registry_remove(registry, "m0", NULL));
    g_assert_cmpuint(hm_test_count_mappings(HM_TEST_ODD_SIZE), ==, 0);
    g_assert_null(
        hostmem_registry_lookup(registry, "m0", HOSTMEM_TYPE_OBJECT, NULL));
    add(registry, RAM "m0");
}

static void test_remove_errors(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    HostmemObject *ram = add(registry, RAM "m0");

    assert_remove_fails(registry, "nosuch", HOSTMEM_ERROR_NOT_FOUND,
                        "object 'nosuch' not found");
    hostmem_object_hold(ram);
    assert_remove_fails(registry, "m0", HOSTMEM_ERROR_BUSY,
                        "object 'm0' is in use, can not be deleted");
    hostmem_object_release(ram);
    g_assert_true(hostmem_registry_remove(registry, "m0", NULL));
}

static void remember_signal(HostmemRegistry *registry G_GNUC_UNUSED,
                            HostmemObject *object, gpointer text)
{
    g_string_append_printf(text, "%s ", hostmem_object_get_id(object));
}

static void test_signals(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    g_autoptr(GString) added = g_string_new(NULL);
    g_autoptr(GString) removed = g_string_new(NULL);

    g_signal_connect(registry, "added", G_CALLBACK(remember_signal), added);
    g_signal_connect(registry, "removed", G_CALLBACK(remember_signal), removed);
    add(registry, RAM "m0");
    add(registry, RAM "m1");
    g_assert_true(hostmem_registry_remove(registry, "m0", NULL));
    g_assert_cmpstr(added->str, ==, "m0 m1 ");
    g_assert_cmpstr(removed->str, ==, "m0 ");
}

static void test_destruction_frees_all(void)
{
    HostmemRegistry *registry = hostmem_registry_new();
    guint fds = hm_test_count_fds();

    add(registry, "thread-context,id=tc0");
    add(registry,
        "memory-backend-memfd,id=m0,size=17412K,prealloc-context=tc0");
    g_object_unref(registry);
    g_assert_cmpuint(hm_test_count_mappings(HM_TEST_ODD_SIZE), ==, 0);
    g_assert_cmpuint(hm_test_count_fds(), ==, fds);
}

static const HmTest tests[] = {
    {"/registry/add", test_add},
    {"/registry/dialects", test_dialects},
    {"/registry/threads-alias", test_threads_alias},
    {"/registry/option-errors", test_option_errors},
    {"/registry/malformed-ids", test_malformed_ids},
    {"/registry/duplicate", test_duplicate},
    {"/registry/value-before-duplicate", test_value_before_duplicate},
    {"/registry/failure-frees-the-id", test_failure_frees_the_id},
    {"/registry/lookup", test_lookup},
    {"/registry/lookup-errors", test_lookup_errors},
    {"/registry/list-in-order", test_list_in_order},
    {"/registry/link", test_link},
    {"/registry/change-link", test_change_link},
    {"/registry/linked-context-may-leave", test_linked_context_may_leave},
    {"/registry/remove", test_remove},
    {"/registry/remove-errors", test_remove_errors},
    {"/registry/signals", test_signals},
    {"/registry/destruction-frees-all", test_destruction_frees_all},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
