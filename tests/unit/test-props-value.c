/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <gio/gio.h>
#include <hostmem/error.h>
#include "util/props.h"

typedef enum {
    COLOUR_RED,
    COLOUR_BLUE,
} Colour;

static GType colour_get_type(void)
{
    static const GEnumValue values[] = {
        {COLOUR_RED, "COLOUR_RED", "red"},
        {COLOUR_BLUE, "COLOUR_BLUE", "blue"},
        {0, NULL, NULL},
    };
    static gsize type;

    if (g_once_init_enter(&type)) {
        g_once_init_leave(&type, g_enum_register_static("Colour", values));
    }
    return type;
}

/* A row of each kind; nobody reads a field here. */
static const HmProp rows[] = {
    {.name = "flag", .kind = HM_PROP_BOOL},
    {.name = "count", .kind = HM_PROP_UINT32, .flags = HM_PROP_NOT_ZERO},
    {.name = "size", .kind = HM_PROP_SIZE},
    {.name = "delta", .kind = HM_PROP_INT64},
    {.name = "name", .kind = HM_PROP_STRING},
    {.name = "colour",
     .kind = HM_PROP_ENUM,
     .type = colour_get_type,
     .type_name = "HostColour"},
    {.name = "host-nodes", .kind = HM_PROP_IDS, .max = 127},
    {.name = "friend",
     .kind = HM_PROP_LINK,
     .type = g_cancellable_get_type,
     .type_name = "link<thing>"},
    {.name = "any", .kind = HM_PROP_ANY},
};

static const HmProp *row(const char *name)
{
    for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (g_str_equal(rows[i].name, name)) {
            return &rows[i];
        }
    }
    g_assert_not_reached();
}

/* Links: "me" is @data, nobody else is known. */

static GObject *find_link(const char *path, gpointer data, GError **error)
{
    if (g_str_equal(path, "me")) {
        return data;
    }
    g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NOT_FOUND,
                "Device '%s' not found", path);
    return NULL;
}

static char *link_path(GObject *object, gpointer data)
{
    g_assert_true(object == data);
    return g_strdup("/objects/me");
}

static HmPropLinks links_to(gpointer object)
{
    return (HmPropLinks){find_link, link_path, object};
}

static void assert_type_name(const char *name, const char *expected)
{
    g_autofree char *type_name = hm_prop_type_name(row(name));

    g_assert_cmpstr(type_name, ==, expected);
}

static void test_type_names(void)
{
    assert_type_name("flag", "bool");
    assert_type_name("count", "int");
    assert_type_name("size", "int");
    assert_type_name("delta", "int");
    assert_type_name("host-nodes", "int");
    assert_type_name("name", "string");
    assert_type_name("colour", "HostColour");
    assert_type_name("friend", "link<thing>");
    assert_type_name("any", "any");
}

/* JSON */

static json_t *json(const char *text)
{
    json_t *made = json_loads(text, JSON_DECODE_ANY, NULL);

    g_assert_nonnull(made);
    return made;
}

/* What @text is read as and written back as. */
static void assert_json_to(const char *name, const char *text,
                           const char *expected)
{
    g_autoptr(GCancellable) me = g_cancellable_new();
    HmPropLinks links = links_to(me);
    json_auto_t *given = json(text);
    json_auto_t *wanted = json(expected);
    json_auto_t *written = NULL;
    g_auto(GValue) value = G_VALUE_INIT;
    g_autoptr(GError) error = NULL;

    g_test_message("%s: %s", name, text);
    hm_prop_from_json(row(name), given, &links, &value, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(G_VALUE_TYPE(&value), ==, hm_prop_gtype(row(name)));
    written = hm_prop_to_json(row(name), &value, &links);
    g_assert_true(json_equal(written, wanted));
}

static void assert_json(const char *name, const char *text)
{
    assert_json_to(name, text, text);
}

static void assert_json_value_refused(const char *name, json_t *given,
                                      const char *message)
{
    g_autoptr(GObject) me = g_object_new(G_TYPE_OBJECT, NULL);
    HmPropLinks links = links_to(me);
    g_auto(GValue) value = G_VALUE_INIT;
    g_autoptr(GError) error = NULL;

    g_assert_false(hm_prop_from_json(row(name), given, &links, &value, &error));
    g_assert_cmpstr(error->message, ==, message);
    g_assert_false(G_IS_VALUE(&value));
}

static void assert_json_refused(const char *name, const char *text,
                                const char *message)
{
    json_auto_t *given = json(text);

    assert_json_value_refused(name, given, message);
}

static void test_json_values(void)
{
    assert_json("flag", "true");
    assert_json("flag", "false");
    assert_json("count", "4294967295");
    assert_json("size", "9223372036854775807");
    assert_json("delta", "-9223372036854775808");
    assert_json("name", "\"h\303\266he\"");
    assert_json("colour", "\"red\"");
    assert_json("host-nodes", "[]");
    assert_json("host-nodes", "[0,1,2,127]");
    assert_json_to("host-nodes", "[3,1,3]", "[1,3]");
    assert_json_to("friend", "\"me\"", "\"/objects/me\"");
    assert_json("friend", "\"\"");
}

static void test_json_wrong_types(void)
{
    assert_json_refused("flag", "\"on\"",
                        "Invalid parameter type for 'flag', expected: boolean");
    assert_json_refused("flag", "1",
                        "Invalid parameter type for 'flag', expected: boolean");
    assert_json_refused("name", "1",
                        "Invalid parameter type for 'name', expected: string");
    assert_json_refused(
        "colour", "null",
        "Invalid parameter type for 'colour', expected: string");
    assert_json_refused(
        "host-nodes", "\"0-1\"",
        "Invalid parameter type for 'host-nodes', expected: array");
    assert_json_refused(
        "friend", "[]",
        "Invalid parameter type for 'friend', expected: string");
}

static void test_json_size_refused(void)
{
    assert_json_refused("size", "\"64M\"",
                        "Parameter 'size' expects uint64, not a string");
    assert_json_refused("size", "null",
                        "Parameter 'size' expects uint64, not null");
    assert_json_refused("size", "-1",
                        "Parameter 'size' expects uint64: -1 is negative");
    assert_json_refused("size", "1.5",
                        "Parameter 'size' expects uint64, not a real number");
    assert_json_refused("size", "1.0",
                        "Parameter 'size' expects uint64, not a real number");
}

/* hm_json_parse() makes reals of integers outside int64. */
static void test_json_size_beyond_int64(void)
{
    assert_json_refused("size", "9223372036854775808.0",
                        "Parameter 'size' expects uint64: "
                        "9.2233720368547758e+18 is too large");
    assert_json_refused("size", "-1e300",
                        "Parameter 'size' expects uint64: "
                        "-1.0000000000000001e+300 is too small");
}

static void test_json_uint32_refused(void)
{
    assert_json_refused(
        "count", "4294967296",
        "Parameter 'count' expects uint32_t: 4294967296 is too large");
    assert_json_refused("count", "-1",
                        "Parameter 'count' expects uint32_t: -1 is negative");
    assert_json_refused("count", "true",
                        "Parameter 'count' expects uint32_t, not a boolean");
}

static void test_json_not_zero(void)
{
    assert_json_refused("count", "0",
                        "property 'count' doesn't take value '0'");
}

static void test_json_enum_refused(void)
{
    assert_json_refused("colour", "\"green\"",
                        "Parameter 'colour' does not accept value 'green'");
    assert_json_refused("colour", "\"RED\"",
                        "Parameter 'colour' does not accept value 'RED'");
}

static void test_json_ids_refused(void)
{
    assert_json_refused(
        "host-nodes", "[0,70000]",
        "Parameter 'host-nodes' expects uint16_t: 70000 is too large");
    assert_json_refused(
        "host-nodes", "[-1]",
        "Parameter 'host-nodes' expects uint16_t: -1 is negative");
    assert_json_refused(
        "host-nodes", "[\"0\"]",
        "Parameter 'host-nodes' expects uint16_t, not a string");
    assert_json_refused("host-nodes", "[128]",
                        "Invalid host-nodes value: 128, the largest is 127");
}

static void test_json_link_refused(void)
{
    assert_json_refused("friend", "\"you\"", "Device 'you' not found");
    assert_json_refused("friend", "\"me\"",
                        "Invalid parameter type for 'friend', expected: thing");
}

static void test_json_writes_valid_utf8(void)
{
    g_auto(GValue) value = G_VALUE_INIT;
    json_auto_t *written = NULL;

    g_value_init(&value, G_TYPE_STRING);
    g_value_set_string(&value, "/tmp/\377");
    written = hm_prop_to_json(row("name"), &value, NULL);
    g_assert_cmpstr(json_string_value(written), ==, "/tmp/\357\277\275");
}

static void test_json_writes_what_int64_holds(void)
{
    g_auto(GValue) value = G_VALUE_INIT;
    json_auto_t *written = NULL;

    g_value_init(&value, G_TYPE_UINT64);
    g_value_set_uint64(&value, G_MAXUINT64);
    written = hm_prop_to_json(row("size"), &value, NULL);
    g_assert_cmpint(json_integer_value(written), ==, G_MAXINT64);
}

/* Text */

static void assert_texts(const char *name, const char *const *texts,
                         const char *expected)
{
    json_auto_t *wanted = json(expected);
    g_autoptr(GError) error = NULL;
    json_auto_t *made = hm_prop_text_to_json(row(name), texts, &error);

    g_test_message("%s=%s", name, texts[0]);
    g_assert_no_error(error);
    g_assert_true(json_equal(made, wanted));
}

static void assert_text(const char *name, const char *text,
                        const char *expected)
{
    assert_texts(name, (const char *const[]){text, NULL}, expected);
}

static void assert_text_refused(const char *name, const char *text,
                                const char *message)
{
    const char *const texts[] = {text, NULL};
    g_autofree char *printable = g_strescape(text, NULL);
    g_autoptr(GError) error = NULL;

    g_test_message("%s=%s", name, printable);
    g_assert_null(hm_prop_text_to_json(row(name), texts, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
    g_assert_cmpstr(error->message, ==, message);
}

static void test_text_bool(void)
{
    static const char *const yes[] = {"on", "yes", "true", "y"};
    static const char *const no[] = {"off", "no", "false", "n"};
    static const char *const neither[] = {"1", "0", "On", "", "on "};

    for (guint i = 0; i < G_N_ELEMENTS(yes); i++) {
        assert_text("flag", yes[i], "true");
        assert_text("flag", no[i], "false");
    }
    for (guint i = 0; i < G_N_ELEMENTS(neither); i++) {
        assert_text_refused("flag", neither[i],
                            "Parameter 'flag' expects 'on' or 'off'");
    }
}

static void test_text_size(void)
{
    assert_text("size", "1.5G", "1610612736");
    assert_text("size", "0x1000", "4096");
    assert_text_refused("size", "1X",
                        "Parameter 'size' expects a size value: '1X' is not a "
                        "size: the suffix is none of b, k, M, G, T, P, E");
    assert_text_refused("size", "-1",
                        "Parameter 'size' expects a size value: '-1' is not a "
                        "size: it is negative");
    assert_text_refused(
        "size", "8E",
        "Parameter 'size' expects a size value: '8E' is 2^63 or more");
}

static void test_text_integers(void)
{
    assert_text("count", "10", "10");
    assert_text("count", "0x10", "16");
    assert_text("count", "010", "8");
    assert_text("delta", "-3", "-3");
    assert_text("delta", "-9223372036854775808", "-9223372036854775808");
}

static void test_text_integers_refused(void)
{
    static const char *const texts[] = {
        "", "-1", "+1", " 1", "1 ", "1k", "08", "9223372036854775808", "x",
    };

    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autofree char *message = g_strdup_printf(
            "Parameter 'count' expects a uint64 value, not '%s'", texts[i]);

        assert_text_refused("count", texts[i], message);
    }
    assert_text_refused("delta", "--1",
                        "Parameter 'delta' expects an int64 value, not '--1'");
}

static void test_text_ids(void)
{
    assert_texts("host-nodes", (const char *const[]){"0-1", "3", NULL},
                 "[0,1,3]");
    assert_text("host-nodes", "0-1,3", "[0,1,3]");
}

static void test_text_ids_refused(void)
{
    g_autoptr(GError) error = NULL;
    const char *const texts[] = {"0", "3-1", NULL};

    g_assert_null(hm_prop_text_to_json(row("host-nodes"), texts, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
    g_assert_true(g_str_has_prefix(
        error->message,
        "Parameter 'host-nodes' expects a uint64 value or range: '3-1' "));
    assert_text_refused(
        "host-nodes", "",
        "Parameter 'host-nodes' expects a uint64 value or range");
}

static void test_text_scalar_takes_the_last(void)
{
    assert_texts("count", (const char *const[]){"1", "2", NULL}, "2");
}

static void test_text_strings(void)
{
    assert_text("name", "a,b", "\"a,b\"");
    assert_text("name", "", "\"\"");
    assert_text("colour", "red", "\"red\"");
    assert_text("friend", "me", "\"me\"");
    assert_text_refused("name", "\377", "Parameter 'name' expects UTF-8");
}

static void assert_shown(const char *name, const char *text,
                         const char *expected)
{
    g_autoptr(GCancellable) me = g_cancellable_new();
    HmPropLinks links = links_to(me);
    json_auto_t *given = json(text);
    g_auto(GValue) value = G_VALUE_INIT;
    g_autofree char *shown = NULL;

    g_assert_true(hm_prop_from_json(row(name), given, &links, &value, NULL));
    shown = hm_prop_to_text(row(name), &value);
    g_assert_cmpstr(shown, ==, expected);
}

static void test_to_text(void)
{
    assert_shown("flag", "true", "on");
    assert_shown("flag", "false", "off");
    assert_shown("count", "7", "7");
    assert_shown("size", "4294967296", "4 GiB");
    assert_shown("delta", "-1", "-1");
    assert_shown("name", "\"x\"", "x");
    assert_shown("colour", "\"red\"", "red");
    assert_shown("host-nodes", "[0,1,2]", "0-2");
    assert_shown("friend", "\"me\"", "set");
    assert_shown("friend", "\"\"", "");
}

/* Arguments */

static const HmProp arguments[] = {
    {.name = "id", .kind = HM_PROP_STRING, .flags = HM_PROP_REQUIRED},
    {.name = "value", .kind = HM_PROP_ANY},
    {.name = "size", .kind = HM_PROP_SIZE},
    {.name = "who", .kind = HM_PROP_LINK, .type = g_cancellable_get_type},
    {.name = "seen", .kind = HM_PROP_BOOL, .flags = HM_PROP_READ_ONLY},
};

static void assert_arguments(const char *text, const char *message)
{
    json_auto_t *object = json(text);
    g_autoptr(GError) error = NULL;

    g_test_message("%s", text);
    hm_props_check_json(arguments, G_N_ELEMENTS(arguments), object, &error);
    if (message) {
        g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
        g_assert_cmpstr(error->message, ==, message);
    } else {
        g_assert_no_error(error);
    }
}

static void test_arguments(void)
{
    assert_arguments("{\"id\":\"a\"}", NULL);
    assert_arguments("{\"id\":\"a\",\"value\":[1,{}],\"size\":1,\"who\":\"x\"}",
                     NULL);
}

static void test_arguments_refused(void)
{
    assert_arguments("{}", "Parameter 'id' is missing");
    assert_arguments("{\"id\":1}",
                     "Invalid parameter type for 'id', expected: string");
    assert_arguments("{\"id\":\"a\",\"foo\":1}",
                     "Parameter 'foo' is unexpected");
    assert_arguments("{\"id\":\"a\",\"seen\":true}",
                     "Parameter 'seen' is unexpected");
    assert_arguments("{\"id\":\"a\",\"who\":1}",
                     "Invalid parameter type for 'who', expected: string");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/props-value/type-names", test_type_names);
    g_test_add_func("/props-value/json-values", test_json_values);
    g_test_add_func("/props-value/json-wrong-types", test_json_wrong_types);
    g_test_add_func("/props-value/json-size-refused", test_json_size_refused);
    g_test_add_func("/props-value/json-size-beyond-int64",
                    test_json_size_beyond_int64);
    g_test_add_func("/props-value/json-uint32-refused",
                    test_json_uint32_refused);
    g_test_add_func("/props-value/json-not-zero", test_json_not_zero);
    g_test_add_func("/props-value/json-enum-refused", test_json_enum_refused);
    g_test_add_func("/props-value/json-ids-refused", test_json_ids_refused);
    g_test_add_func("/props-value/json-link-refused", test_json_link_refused);
    g_test_add_func("/props-value/json-writes-valid-utf8",
                    test_json_writes_valid_utf8);
    g_test_add_func("/props-value/json-writes-what-int64-holds",
                    test_json_writes_what_int64_holds);
    g_test_add_func("/props-value/text-bool", test_text_bool);
    g_test_add_func("/props-value/text-size", test_text_size);
    g_test_add_func("/props-value/text-integers", test_text_integers);
    g_test_add_func("/props-value/text-integers-refused",
                    test_text_integers_refused);
    g_test_add_func("/props-value/text-ids", test_text_ids);
    g_test_add_func("/props-value/text-ids-refused", test_text_ids_refused);
    g_test_add_func("/props-value/text-scalar-takes-the-last",
                    test_text_scalar_takes_the_last);
    g_test_add_func("/props-value/text-strings", test_text_strings);
    g_test_add_func("/props-value/to-text", test_to_text);
    g_test_add_func("/props-value/arguments", test_arguments);
    g_test_add_func("/props-value/arguments-refused", test_arguments_refused);
    return g_test_run();
}
