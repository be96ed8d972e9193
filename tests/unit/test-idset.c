/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <hostmem/error.h>
#include "util/idset.h"

static HmIdset *parse(const char *text)
{
    g_autoptr(GError) error = NULL;
    HmIdset *set = hm_idset_parse(text, &error);

    g_assert_no_error(error);
    return set;
}

static void assert_text(const HmIdset *set, const char *expected)
{
    g_autofree char *text = hm_idset_to_string(set);

    g_assert_cmpstr(text, ==, expected);
}

static void assert_normal_form(const char *text, const char *expected)
{
    g_autoptr(HmIdset) set = parse(text);

    assert_text(set, expected);
}

static void assert_refused(const char *text)
{
    g_autoptr(GError) error = NULL;

    g_test_message("\"%s\"", text);
    g_assert_null(hm_idset_parse(text, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
}

static void test_empty(void)
{
    g_autoptr(HmIdset) set = parse("");
    guint id;

    g_assert_true(hm_idset_is_empty(set));
    g_assert_cmpuint(hm_idset_count(set), ==, 0);
    g_assert_false(hm_idset_next(set, 0, &id));
    assert_text(set, "");
}

static void test_parse(void)
{
    assert_normal_form("0", "0");
    assert_normal_form("0-3,8", "0-3,8");
    assert_normal_form(" 1,2\n", "1-2");
    assert_normal_form("8,3,1-2", "1-3,8");
    assert_normal_form("1-5,2-3,5-6", "1-6");
    assert_normal_form("5-5", "5");
    assert_normal_form("0-65535", "0-65535");
    assert_normal_form("63-64,007", "7,63-64");
}

static void test_parse_refuses_syntax(void)
{
    static const char *const texts[] = {
        ",",     "1,", ",1", "1,,2", "-",    "-1",  "1-", "1--2",
        "1-2-3", "a",  "1a", "0x1",  "1, 2", "1 2", "+1",
    };

    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        assert_refused(texts[i]);
    }
}

static void test_parse_refuses_reversed(void)
{
    assert_refused("3-1");
}

static void test_parse_refuses_too_large(void)
{
    assert_refused("65536");
    assert_refused("0-65536");
    assert_refused("4294967296");
    assert_refused("99999999999999999999");
}

static void test_error_names_the_text(void)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(hm_idset_parse("3-1", &error));
    g_assert_nonnull(strstr(error->message, "'3-1'"));
}

static void test_add_and_remove(void)
{
    g_autoptr(HmIdset) set = hm_idset_new();

    hm_idset_add(set, 7);
    hm_idset_add(set, HM_IDSET_MAX);
    g_assert_true(hm_idset_contains(set, 7));
    g_assert_true(hm_idset_contains(set, HM_IDSET_MAX));
    g_assert_false(hm_idset_contains(set, HM_IDSET_MAX + 1));
    g_assert_cmpuint(hm_idset_count(set), ==, 2);
    hm_idset_remove(set, 7);
    g_assert_false(hm_idset_contains(set, 7));
    g_assert_cmpuint(hm_idset_count(set), ==, 1);
}

static void test_copy_is_independent(void)
{
    g_autoptr(HmIdset) set = parse("1-2");
    g_autoptr(HmIdset) copy = hm_idset_copy(set);

    assert_text(copy, "1-2");
    hm_idset_add(copy, 9);
    assert_text(set, "1-2");
    assert_text(copy, "1-2,9");
}

static void test_intersect(void)
{
    g_autoptr(HmIdset) set = parse("0-10,70");
    g_autoptr(HmIdset) other = parse("5-70");

    hm_idset_intersect(set, other);
    assert_text(set, "5-10,70");
    assert_text(other, "5-70");
}

static void test_union(void)
{
    g_autoptr(HmIdset) set = parse("0-1");
    g_autoptr(HmIdset) other = parse("2,9");

    hm_idset_union(set, other);
    assert_text(set, "0-2,9");
}

static void test_foreach_ascends(void)
{
    g_autoptr(HmIdset) set = parse("65535,64,0,3");
    static const guint expected[] = {0, 3, 64, 65535};
    guint n = 0;

    HM_IDSET_FOREACH (set, id) {
        g_assert_cmpuint(n, <, G_N_ELEMENTS(expected));
        g_assert_cmpuint(id, ==, expected[n++]);
    }
    g_assert_cmpuint(n, ==, G_N_ELEMENTS(expected));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/idset/empty", test_empty);
    g_test_add_func("/idset/parse", test_parse);
    g_test_add_func("/idset/parse-refuses-syntax", test_parse_refuses_syntax);
    g_test_add_func("/idset/parse-refuses-reversed",
                    test_parse_refuses_reversed);
    g_test_add_func("/idset/parse-refuses-too-large",
                    test_parse_refuses_too_large);
    g_test_add_func("/idset/error-names-the-text", test_error_names_the_text);
    g_test_add_func("/idset/add-and-remove", test_add_and_remove);
    g_test_add_func("/idset/copy-is-independent", test_copy_is_independent);
    g_test_add_func("/idset/intersect", test_intersect);
    g_test_add_func("/idset/union", test_union);
    g_test_add_func("/idset/foreach-ascends", test_foreach_ascends);
    return g_test_run();
}
