/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include "util/error.h"

static void test_domain(void)
{
    g_assert_cmpstr(g_quark_to_string(HOSTMEM_ERROR), ==,
                    "hostmem-error-quark");
}

static void test_from_errno(void)
{
    g_assert_cmpint(hm_error_from_errno(EINVAL), ==, HOSTMEM_ERROR_INVALID);
    g_assert_cmpint(hm_error_from_errno(ENOENT), ==, HOSTMEM_ERROR_NOT_FOUND);
    g_assert_cmpint(hm_error_from_errno(ENOMEM), ==, HOSTMEM_ERROR_NO_MEMORY);
    g_assert_cmpint(hm_error_from_errno(ENOSPC), ==, HOSTMEM_ERROR_NO_SPACE);
    g_assert_cmpint(hm_error_from_errno(EMFILE), ==, HOSTMEM_ERROR_LIMIT);
    g_assert_cmpint(hm_error_from_errno(EPERM), ==, HOSTMEM_ERROR_PERMISSION);
    g_assert_cmpint(hm_error_from_errno(ENOSYS), ==, HOSTMEM_ERROR_UNSUPPORTED);
    g_assert_cmpint(hm_error_from_errno(ETIMEDOUT), ==,
                    HOSTMEM_ERROR_TIMED_OUT);
    g_assert_cmpint(hm_error_from_errno(EHWPOISON), ==, HOSTMEM_ERROR_CHANGED);
    g_assert_cmpint(hm_error_from_errno(EIO), ==, HOSTMEM_ERROR_SYSTEM);
}

static void test_set(void)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(
        hm_set_error(&error, HOSTMEM_ERROR_BUSY, "'%s' is %d", "m0", 1));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_BUSY);
    g_assert_cmpstr(error->message, ==, "'m0' is 1");
}

static void test_set_errno(void)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(hm_set_error_errno(&error, ENOSPC, "write %s", "/x"));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_SPACE);
    g_assert_cmpstr(error->message, ==, "write /x: No space left on device");
}

static void test_set_ignored(void)
{
    g_assert_false(hm_set_error(NULL, HOSTMEM_ERROR_BUSY, "x"));
    g_assert_false(hm_set_error_errno(NULL, EIO, "x"));
}

static void assert_quoted(const char *text, const char *expected)
{
    g_autofree char *quoted = hm_error_quote(text);

    g_assert_cmpstr(quoted, ==, expected);
}

static void test_quote(void)
{
    assert_quoted("", "''");
    assert_quoted("node 0", "'node 0'");
    assert_quoted("h\303\266he", "'h\303\266he'");
}

static void test_quote_makes_printable(void)
{
    assert_quoted("a\nb\033[2J", "'a?b?[2J'");
    assert_quoted("a\377b", "'a\357\277\275b'");
    assert_quoted("\303", "'\357\277\275'");
}

static void test_quote_cuts(void)
{
    g_autofree char *long_text = g_strnfill(1000, 'x');
    g_autofree char *head = g_strnfill(80, 'x');
    g_autofree char *expected = g_strdup_printf("'%s'...", head);
    g_autofree char *whole = g_strdup_printf("'%s'", head);

    assert_quoted(long_text, expected);
    assert_quoted(head, whole);
}

static void test_quote_cuts_between_characters(void)
{
    GString *text = g_string_new(NULL);
    g_autofree char *quoted = NULL;

    for (int i = 0; i < 200; i++) {
        g_string_append(text, "\360\237\220\247");
    }
    quoted = hm_error_quote(text->str);
    g_string_free(text, TRUE);
    g_assert_true(g_utf8_validate(quoted, -1, NULL));
    g_assert_cmpint(g_utf8_strlen(quoted, -1), ==, 80 + strlen("''..."));
    g_assert_null(strstr(quoted, "\357\277\275"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/error/domain", test_domain);
    g_test_add_func("/error/from-errno", test_from_errno);
    g_test_add_func("/error/set", test_set);
    g_test_add_func("/error/set-errno", test_set_errno);
    g_test_add_func("/error/set-ignored", test_set_ignored);
    g_test_add_func("/error/quote", test_quote);
    g_test_add_func("/error/quote-makes-printable", test_quote_makes_printable);
    g_test_add_func("/error/quote-cuts", test_quote_cuts);
    g_test_add_func("/error/quote-cuts-between-characters",
                    test_quote_cuts_between_characters);
    return g_test_run();
}
