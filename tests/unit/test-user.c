/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include "util/user.h"
#include <hostmem/error.h>

static void user_is(const char *text, uid_t want)
{
    g_autoptr(GError) error = NULL;
    uid_t uid = 42;

    g_assert_true(hm_user_parse(text, &uid, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(uid, ==, want);
}

static void user_fails(const char *text, gint code, const char *phrase)
{
    g_autoptr(GError) error = NULL;
    uid_t uid = 42;

    g_assert_false(hm_user_parse(text, &uid, &error));
    g_assert_error(error, HOSTMEM_ERROR, code);
    g_assert_nonnull(strstr(error->message, phrase));
    g_assert_cmpuint(uid, ==, 42);
}

static void test_numbers(void)
{
    user_is("0", 0);
    user_is("1000", 1000);
    user_is("007", 7);
    user_is("4294967294", 4294967294u);
}

static void test_numbers_that_nobody_has(void)
{
    user_fails("4294967295", HOSTMEM_ERROR_INVALID, "go up to 4294967294");
    user_fails("99999999999999999999", HOSTMEM_ERROR_INVALID, "is not the");
}

static void test_names(void)
{
    if (!getpwuid(0)) {
        g_test_skip("this host has no name for user 0");
        return;
    }
    user_is(getpwuid(0)->pw_name, 0);
}

static void test_unknown_names(void)
{
    user_fails("no-such-user-here", HOSTMEM_ERROR_NOT_FOUND,
               "there is no user 'no-such-user-here' on this host");
    user_fails("-1", HOSTMEM_ERROR_NOT_FOUND, "there is no user '-1'");
    user_fails(" 0", HOSTMEM_ERROR_NOT_FOUND, "there is no user ' 0'");
    user_fails("x\n\033[2J", HOSTMEM_ERROR_NOT_FOUND, "'x??[2J'");
}

static void test_empty(void)
{
    user_fails("", HOSTMEM_ERROR_INVALID, "name or number of a user");
}

static void test_groups(void)
{
    g_autoptr(GError) error = NULL;
    gid_t gid = 42;

    g_assert_true(hm_group_parse("7", &gid, NULL));
    g_assert_cmpuint(gid, ==, 7);
    if (getgrgid(0)) {
        g_assert_true(hm_group_parse(getgrgid(0)->gr_name, &gid, NULL));
        g_assert_cmpuint(gid, ==, 0);
    }
    g_assert_false(hm_group_parse("no-such-group-here", &gid, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NOT_FOUND);
    g_assert_nonnull(strstr(error->message, "there is no group"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/user/numbers", test_numbers);
    g_test_add_func("/user/numbers-that-nobody-has",
                    test_numbers_that_nobody_has);
    g_test_add_func("/user/names", test_names);
    g_test_add_func("/user/unknown-names", test_unknown_names);
    g_test_add_func("/user/empty", test_empty);
    g_test_add_func("/user/groups", test_groups);
    return g_test_run();
}
