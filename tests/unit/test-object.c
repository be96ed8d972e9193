/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/object.h"
#include "object-test.h"
#include "util/error.h"

/* A type with a row of each sort; "speed" above 100 cannot be had. */

typedef struct {
    HostmemObject parent_instance;

    guint64 size;
    guint32 speed;
    gboolean fast;
    char *secret;
    GObject *friend;
} TestObject;

typedef struct {
    HostmemObjectClass parent_class;
} TestObjectClass;

static GType test_object_get_type(void);
G_DEFINE_TYPE(TestObject, test_object, HOSTMEM_TYPE_OBJECT)

static void get_double(gpointer object, GValue *value)
{
    g_value_set_uint64(value, 2 * (guint64)((TestObject *)object)->speed);
}

static const HmProp test_props[] = {
    {
        .name = "size",
        .kind = HM_PROP_SIZE,
        .offset = HM_PROP_FIELD(TestObject, size),
        .description = "Size",
    },
    {
        .name = "speed",
        .kind = HM_PROP_UINT32,
        .flags = HM_PROP_LIVE,
        .offset = HM_PROP_FIELD(TestObject, speed),
        .def = 7,
        .description = "Speed",
    },
    {
        .name = "pace",
        .alias_of = "speed",
        .description = "Short for speed",
    },
    {
        .name = "fast",
        .kind = HM_PROP_BOOL,
        .offset = HM_PROP_FIELD(TestObject, fast),
        .description = "Whether it is fast",
    },
    {
        .name = "secret",
        .kind = HM_PROP_STRING,
        .flags = HM_PROP_LIVE | HM_PROP_WRITE_ONLY,
        .offset = HM_PROP_FIELD(TestObject, secret),
        .description = "Not to be told",
    },
    {
        .name = "friend",
        .kind = HM_PROP_LINK,
        .flags = HM_PROP_LIVE,
        .offset = HM_PROP_FIELD(TestObject, friend),
        .type = test_object_get_type,
        .type_name = "link<test-object>",
        .description = "Another one",
    },
    {
        .name = "double",
        .kind = HM_PROP_SIZE,
        .flags = HM_PROP_READ_ONLY,
        .get = get_double,
        .description = "Twice the speed",
    },
};

static gboolean test_complete(HostmemObject *object, GCancellable *cancellable,
                              GError **error)
{
    if (g_cancellable_set_error_if_cancelled(cancellable, error)) {
        return FALSE;
    }
    return ((TestObject *)object)->speed <= 100 ||
           hm_set_error(error, HOSTMEM_ERROR_LIMIT, "too fast");
}

static gboolean test_change(HostmemObject *object G_GNUC_UNUSED,
                            const HmProp *row, const GValue *value,
                            GCancellable *cancellable G_GNUC_UNUSED,
                            GError **error)
{
    return row->kind != HM_PROP_UINT32 || g_value_get_uint(value) <= 100 ||
           hm_set_error(error, HOSTMEM_ERROR_LIMIT, "too fast");
}

static void test_object_init(TestObject *self G_GNUC_UNUSED)
{
}

static void test_object_class_init(TestObjectClass *klass)
{
    HostmemObjectClass *object_class = HOSTMEM_OBJECT_CLASS(klass);

    object_class->type_name = "test-object";
    object_class->complete = test_complete;
    object_class->change = test_change;
    hm_props_install(G_OBJECT_CLASS(klass), test_props,
                     G_N_ELEMENTS(test_props));
}

static HostmemObject *make(void)
{
    g_autoptr(GError) error = NULL;
    HostmemObject *object =
        g_initable_new(test_object_get_type(), NULL, &error, "id", "o0", "size",
                       G_GUINT64_CONSTANT(4096), NULL);

    g_assert_no_error(error);
    return object;
}

/* Creation */

static void test_names(void)
{
    g_autoptr(HostmemObject) object = make();
    g_autofree char *what = hm_object_describe(object);
    g_autofree char *path = hm_object_get_path(object);

    g_assert_cmpstr(hostmem_object_get_id(object), ==, "o0");
    g_assert_cmpstr(hostmem_object_get_type_name(object), ==, "test-object");
    g_assert_cmpstr(what, ==, "test-object 'o0'");
    g_assert_cmpstr(path, ==, "/objects/o0");
    hm_test_assert_reads(object, "id", "\"o0\"");
    hm_test_assert_reads(object, "type", "\"test-object\"");
}

static void test_without_id(void)
{
    g_autoptr(HostmemObject) object =
        g_initable_new(test_object_get_type(), NULL, NULL, NULL);
    g_autofree char *what = hm_object_describe(object);
    g_autofree char *path = hm_object_get_path(object);

    g_assert_null(hostmem_object_get_id(object));
    g_assert_cmpstr(what, ==, "test-object");
    g_assert_cmpstr(path, ==, "");
}

static void test_init_fails(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HostmemObject) object =
        g_object_new(test_object_get_type(), "speed", 101, NULL);

    g_assert_false(g_initable_init(G_INITABLE(object), NULL, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_LIMIT);
    g_assert_false(hm_object_is_complete(object));
}

static void test_init_twice(void)
{
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autoptr(HostmemObject) object = make();

    /* A second run of complete() would see that it is cancelled. */
    g_cancellable_cancel(cancellable);
    g_assert_true(g_initable_init(G_INITABLE(object), cancellable, NULL));
}

/* Reading */

static void test_get(void)
{
    g_autoptr(HostmemObject) object = make();

    hm_test_assert_reads(object, "size", "4096");
    hm_test_assert_reads(object, "speed", "7");
    hm_test_assert_reads(object, "pace", "7");
    hm_test_assert_reads(object, "fast", "false");
    hm_test_assert_reads(object, "double", "14");
    hm_test_assert_reads(object, "friend", "\"\"");
}

static void test_get_unknown(void)
{
    g_autoptr(HostmemObject) object = make();
    g_autoptr(GError) error = NULL;

    g_assert_null(hostmem_object_get(object, "nosuch", &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NOT_FOUND);
    g_assert_cmpstr(error->message, ==,
                    "Property 'test-object.nosuch' not found");
}

static void test_get_write_only(void)
{
    g_autoptr(HostmemObject) object = make();
    g_autoptr(GError) error = NULL;

    g_assert_null(hostmem_object_get(object, "secret", &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_PERMISSION);
    g_assert_cmpstr(error->message, ==,
                    "Property 'test-object.secret' is not readable");
}

/* Changing */

static void test_set(void)
{
    g_autoptr(HostmemObject) object = make();

    hm_test_assert_set(object, "speed", "42");
    hm_test_assert_reads(object, "speed", "42");
    hm_test_assert_set(object, "pace", "43");
    hm_test_assert_reads(object, "speed", "43");
}

static void test_set_fails(void)
{
    g_autoptr(HostmemObject) object = make();

    hm_test_assert_set_fails(object, "speed", "101", HOSTMEM_ERROR_LIMIT,
                             "too fast");
    hm_test_assert_reads(object, "speed", "7");
}

static void test_set_refused(void)
{
    g_autoptr(HostmemObject) object = make();

    hm_test_assert_set_fails(object, "nosuch", "1", HOSTMEM_ERROR_NOT_FOUND,
                             "Property 'test-object.nosuch' not found");
    hm_test_assert_set_fails(object, "type", "x", HOSTMEM_ERROR_PERMISSION,
                             "Property 'test-object.type' is not writable");
    hm_test_assert_set_fails(object, "double", "2", HOSTMEM_ERROR_PERMISSION,
                             "Property 'test-object.double' is not writable");
    hm_test_assert_set_fails(object, "fast", "on", HOSTMEM_ERROR_PERMISSION,
                             "cannot change property 'fast' of test-object.");
    hm_test_assert_set_fails(object, "id", "o1", HOSTMEM_ERROR_PERMISSION,
                             "cannot change property 'id' of test-object.");
    hm_test_assert_set_fails(object, "size", "8192", HOSTMEM_ERROR_PERMISSION,
                             "cannot change property size of test-object ");
    hm_test_assert_reads(object, "size", "4096");
}

static void test_set_malformed(void)
{
    g_autoptr(HostmemObject) object = make();
    g_autoptr(GError) error = NULL;

    g_assert_false(hostmem_object_set(object, "speed", "x", NULL, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
    hm_test_assert_reads(object, "speed", "7");
}

static void test_set_json_is_strict(void)
{
    g_autoptr(HostmemObject) object = make();
    g_autoptr(GError) error = NULL;
    json_auto_t *text = json_string("42");
    json_auto_t *number = json_integer(42);

    g_assert_false(
        hm_object_set_json(object, "speed", text, NULL, NULL, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
    g_assert_true(
        hm_object_set_json(object, "speed", number, NULL, NULL, NULL));
    hm_test_assert_reads(object, "speed", "42");
}

static void test_set_incomplete(void)
{
    g_autoptr(HostmemObject) object =
        g_object_new(test_object_get_type(), "id", "o1", NULL);

    hm_test_assert_set_fails(object, "speed", "42", HOSTMEM_ERROR_BUSY,
                             "test-object 'o1' is still being created");
}

/* Links */

static GObject *find_in_list(const char *path, gpointer data, GError **error)
{
    HostmemObject *object = data;

    if (g_str_equal(path, hostmem_object_get_id(object))) {
        return G_OBJECT(object);
    }
    hm_set_error(error, HOSTMEM_ERROR_NOT_FOUND, "Device '%s' not found", path);
    return NULL;
}

static void test_link(void)
{
    g_autoptr(HostmemObject) object = make();
    g_autoptr(HostmemObject) other = make();
    const HmPropLinks links = {.find = find_in_list, .data = other};
    json_auto_t *path = json_string("o0");
    json_auto_t *none = json_string("");

    g_assert_true(
        hm_object_set_json(object, "friend", path, &links, NULL, NULL));
    g_assert_true(((TestObject *)object)->friend == G_OBJECT(other));
    hm_test_assert_reads(object, "friend", "\"/objects/o0\"");
    g_assert_true(
        hm_object_set_json(object, "friend", none, &links, NULL, NULL));
    hm_test_assert_reads(object, "friend", "\"\"");
}

static void test_link_without_registry(void)
{
    g_autoptr(HostmemObject) object = make();

    hm_test_assert_set_fails(
        object, "friend", "o1", HOSTMEM_ERROR_NOT_FOUND,
        "Device 'o1' not found: this object has no registry");
}

/* Holds */

static void test_hold(void)
{
    g_autoptr(HostmemObject) object = make();

    g_assert_false(hostmem_object_is_held(object));
    hostmem_object_hold(object);
    hostmem_object_hold(object);
    hostmem_object_release(object);
    g_assert_true(hostmem_object_is_held(object));
    hostmem_object_release(object);
    g_assert_false(hostmem_object_is_held(object));
}

/* Threads: one changes, others read; ThreadSanitizer watches. */

static gpointer read_often(gpointer data)
{
    for (int i = 0; i < 200; i++) {
        g_free(hostmem_object_get(data, "speed", NULL));
        g_free(hostmem_object_get(data, "friend", NULL));
    }
    return NULL;
}

static void test_get_while_set(void)
{
    g_autoptr(HostmemObject) object = make();
    GThread *reader = g_thread_new("reader", read_often, object);

    for (int i = 0; i < 200; i++) {
        hm_test_assert_set(object, "speed", i % 2 ? "1" : "2");
    }
    g_thread_join(reader);
    hm_test_assert_reads(object, "speed", "1");
}

static const HmTest tests[] = {
    {"/object/names", test_names},
    {"/object/without-id", test_without_id},
    {"/object/init-fails", test_init_fails},
    {"/object/init-twice", test_init_twice},
    {"/object/get", test_get},
    {"/object/get-unknown", test_get_unknown},
    {"/object/get-write-only", test_get_write_only},
    {"/object/set", test_set},
    {"/object/set-fails", test_set_fails},
    {"/object/set-refused", test_set_refused},
    {"/object/set-malformed", test_set_malformed},
    {"/object/set-json-is-strict", test_set_json_is_strict},
    {"/object/set-incomplete", test_set_incomplete},
    {"/object/link", test_link},
    {"/object/link-without-registry", test_link_without_registry},
    {"/object/hold", test_hold},
    {"/object/get-while-set", test_get_while_set},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
