/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <hostmem/error.h>
#include "util/keyval.h"

static const HmProp rows[] = {
    {.name = "qom-type", .kind = HM_PROP_STRING},
    {.name = "id", .kind = HM_PROP_STRING},
    {.name = "size", .kind = HM_PROP_SIZE},
    {.name = "prealloc", .kind = HM_PROP_BOOL},
    {.name = "notify", .kind = HM_PROP_BOOL},
    {.name = "threads", .kind = HM_PROP_UINT32},
    {.name = "mem-path", .kind = HM_PROP_STRING},
    {.name = "host-nodes", .kind = HM_PROP_IDS},
    {.name = "type", .kind = HM_PROP_STRING, .flags = HM_PROP_READ_ONLY},
};

static const HmProp *find(const char *key, gpointer data)
{
    g_assert_true(data == rows);
    for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (g_str_equal(rows[i].name, key)) {
            return &rows[i];
        }
    }
    return NULL;
}

static HmKeyval *parse(const char *text)
{
    g_autoptr(GError) error = NULL;
    HmKeyval *keyval = hm_keyval_parse(text, "qom-type", &error);

    g_assert_no_error(error);
    return keyval;
}

static void assert_json(const char *text, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HmKeyval) keyval = parse(text);
    json_auto_t *wanted = json_loads(expected, 0, NULL);
    json_auto_t *made = hm_keyval_to_json(keyval, find, (gpointer)rows, &error);

    g_test_message("%s", text);
    g_assert_no_error(error);
    g_assert_nonnull(wanted);
    g_assert_true(json_equal(made, wanted));
}

/* At whichever stage it is found. */
static void assert_refused(const char *text, const char *message)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HmKeyval) keyval = hm_keyval_parse(text, "qom-type", &error);

    g_test_message("%s", text);
    if (keyval) {
        g_assert_null(hm_keyval_to_json(keyval, find, (gpointer)rows, &error));
    }
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
    g_assert_cmpstr(error->message, ==, message);
}

static void test_nothing(void)
{
    assert_json("", "{}");
}

static void test_typed_values(void)
{
    assert_json("memory-backend-ram,id=m0,size=4G,prealloc=on,threads=2",
                "{\"qom-type\": \"memory-backend-ram\", \"id\": \"m0\","
                " \"size\": 4294967296, \"prealloc\": true, \"threads\": 2}");
}

static void test_implied_key_may_be_written(void)
{
    assert_json("id=m0,qom-type=x", "{\"id\": \"m0\", \"qom-type\": \"x\"}");
}

static void test_without_implied_key(void)
{
    g_autoptr(HmKeyval) keyval = hm_keyval_parse("prealloc", NULL, NULL);
    json_auto_t *made = hm_keyval_to_json(keyval, find, (gpointer)rows, NULL);

    g_assert_true(json_is_true(json_object_get(made, "prealloc")));
}

static void test_doubled_comma(void)
{
    assert_json("mem-path=/a,,b,id=x",
                "{\"mem-path\": \"/a,b\", \"id\": \"x\"}");
    assert_json("mem-path=,,", "{\"mem-path\": \",\"}");
    assert_json("mem-path=a,,,id=x", "{\"mem-path\": \"a,\", \"id\": \"x\"}");
}

static void test_values_keep_equal_signs(void)
{
    assert_json("mem-path=a=b", "{\"mem-path\": \"a=b\"}");
}

static void test_empty_value(void)
{
    assert_json("id=,mem-path=", "{\"id\": \"\", \"mem-path\": \"\"}");
}

static void test_trailing_comma(void)
{
    assert_json("x,id=m0,", "{\"qom-type\": \"x\", \"id\": \"m0\"}");
}

static void test_last_scalar_wins(void)
{
    assert_json("size=1,id=a,size=2,id=b", "{\"size\": 2, \"id\": \"b\"}");
}

static void test_legacy_lists(void)
{
    assert_json("host-nodes=0", "{\"host-nodes\": [0]}");
    assert_json("host-nodes=0-1,id=x,host-nodes=3",
                "{\"host-nodes\": [0, 1, 3], \"id\": \"x\"}");
}

static void test_dotted_lists(void)
{
    assert_json("host-nodes.0=4,host-nodes.1=1", "{\"host-nodes\": [1, 4]}");
    assert_json("host-nodes.1=4,host-nodes.0=1", "{\"host-nodes\": [1, 4]}");
    assert_json("host-nodes.0=1,host-nodes.0=2", "{\"host-nodes\": [2]}");
}

static void test_dotted_list_with_gap(void)
{
    assert_refused("host-nodes.1=0", "Parameter 'host-nodes.0' missing");
    assert_refused("host-nodes.0=0,host-nodes.2=1",
                   "Parameter 'host-nodes.1' missing");
    assert_refused("host-nodes.4294967295=0",
                   "Parameter 'host-nodes.0' missing");
}

static void test_mixed_dialects(void)
{
    assert_refused("host-nodes=0,host-nodes.0=1",
                   "Parameters 'host-nodes.*' used inconsistently");
    assert_refused("host-nodes.0=0,host-nodes.x=1",
                   "Parameters 'host-nodes.*' used inconsistently");
    assert_refused("host-nodes.4294967296=0",
                   "Parameters 'host-nodes.*' used inconsistently");
}

static void test_dotted_scalar(void)
{
    assert_refused("size.0=1", "Parameters 'size.*' are unexpected");
    assert_refused("host-nodes.0.1=1",
                   "Parameters 'host-nodes.0.*' are unexpected");
}

static void test_range_continued_by_comma(void)
{
    assert_refused("x,host-nodes=0-1,3", "Invalid parameter '3'");
}

static void test_short_booleans(void)
{
    assert_json("x,prealloc", "{\"qom-type\": \"x\", \"prealloc\": true}");
    assert_json("x,noprealloc", "{\"qom-type\": \"x\", \"prealloc\": false}");
    assert_json("x,notify", "{\"qom-type\": \"x\", \"notify\": true}");
    assert_json("x,nonotify", "{\"qom-type\": \"x\", \"notify\": false}");
    assert_json("x,prealloc,prealloc=off",
                "{\"qom-type\": \"x\", \"prealloc\": false}");
}

static void test_short_form_of_others(void)
{
    assert_refused("x,size", "Expected '=' after parameter 'size'");
    assert_refused("x,nosize", "Invalid parameter 'nosize'");
    assert_refused("x,no", "Invalid parameter 'no'");
}

static void test_unknown_keys(void)
{
    assert_refused("foo=1", "Invalid parameter 'foo'");
    assert_refused("x,foo", "Invalid parameter 'foo'");
    assert_refused("foo.0=1", "Invalid parameter 'foo.0'");
    assert_refused("type=x", "Invalid parameter 'type'");
}

static void test_malformed_keys(void)
{
    g_autofree char *fragment = g_strnfill(128, 'k');
    g_autofree char *text = g_strconcat(fragment, "=1", NULL);
    g_autofree char *shown = g_strnfill(80, 'k');
    g_autofree char *message =
        g_strdup_printf("Invalid parameter '%s'...", shown);

    assert_refused("=1", "Invalid parameter ''");
    assert_refused(",", "Invalid parameter ''");
    assert_refused("x,,id=1", "Invalid parameter ''");
    assert_refused("a b=1", "Invalid parameter 'a b'");
    assert_refused("host-nodes.=1", "Invalid parameter 'host-nodes.'");
    assert_refused(".0=1", "Invalid parameter '.0'");
    assert_refused("host-nodes..0=1", "Invalid parameter 'host-nodes..0'");
    assert_refused(text, message);
}

static void test_value_errors(void)
{
    assert_refused("prealloc=1", "Parameter 'prealloc' expects 'on' or 'off'");
    assert_refused("threads=x",
                   "Parameter 'threads' expects a uint64 value, not 'x'");
}

static void test_reversed_range(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HmKeyval) keyval = parse("host-nodes=3-1");

    g_assert_null(hm_keyval_to_json(keyval, find, (gpointer)rows, &error));
    g_assert_true(g_str_has_prefix(
        error->message, "Parameter 'host-nodes' expects a uint64 value or "
                        "range"));
}

static void test_invalid_utf8(void)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(hm_keyval_parse("id=\377", NULL, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
    g_assert_cmpstr(error->message, ==, "options must be UTF-8");
}

static void test_get(void)
{
    g_autoptr(HmKeyval) keyval = parse("t,id=a,id=b,prealloc");

    g_assert_cmpstr(hm_keyval_get(keyval, "qom-type"), ==, "t");
    g_assert_cmpstr(hm_keyval_get(keyval, "id"), ==, "b");
    g_assert_null(hm_keyval_get(keyval, "prealloc"));
    g_assert_null(hm_keyval_get(keyval, "nosuch"));
}

/* A part costs the same however many there are. */
static void test_many_parts(void)
{
    enum {
        N = 65536
    };
    g_autoptr(HmKeyval) keyval = NULL;
    GString *text = g_string_new(NULL);
    json_auto_t *made = NULL;

    for (guint i = 0; i < N; i++) {
        g_string_append_printf(text, "host-nodes.%u=%u,", i, i);
    }
    keyval = parse(text->str);
    g_string_free(text, TRUE);
    made = hm_keyval_to_json(keyval, find, (gpointer)rows, NULL);
    g_assert_cmpuint(json_array_size(json_object_get(made, "host-nodes")), ==,
                     N);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/keyval/nothing", test_nothing);
    g_test_add_func("/keyval/typed-values", test_typed_values);
    g_test_add_func("/keyval/implied-key-may-be-written",
                    test_implied_key_may_be_written);
    g_test_add_func("/keyval/without-implied-key", test_without_implied_key);
    g_test_add_func("/keyval/doubled-comma", test_doubled_comma);
    g_test_add_func("/keyval/values-keep-equal-signs",
                    test_values_keep_equal_signs);
    g_test_add_func("/keyval/empty-value", test_empty_value);
    g_test_add_func("/keyval/trailing-comma", test_trailing_comma);
    g_test_add_func("/keyval/last-scalar-wins", test_last_scalar_wins);
    g_test_add_func("/keyval/legacy-lists", test_legacy_lists);
    g_test_add_func("/keyval/dotted-lists", test_dotted_lists);
    g_test_add_func("/keyval/dotted-list-with-gap", test_dotted_list_with_gap);
    g_test_add_func("/keyval/mixed-dialects", test_mixed_dialects);
    g_test_add_func("/keyval/dotted-scalar", test_dotted_scalar);
    g_test_add_func("/keyval/range-continued-by-comma",
                    test_range_continued_by_comma);
    g_test_add_func("/keyval/short-booleans", test_short_booleans);
    g_test_add_func("/keyval/short-form-of-others", test_short_form_of_others);
    g_test_add_func("/keyval/unknown-keys", test_unknown_keys);
    g_test_add_func("/keyval/malformed-keys", test_malformed_keys);
    g_test_add_func("/keyval/value-errors", test_value_errors);
    g_test_add_func("/keyval/reversed-range", test_reversed_range);
    g_test_add_func("/keyval/invalid-utf8", test_invalid_utf8);
    g_test_add_func("/keyval/get", test_get);
    g_test_add_func("/keyval/many-parts", test_many_parts);
    return g_test_run();
}
