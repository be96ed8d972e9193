/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/error.h>
#include <string.h>
#include "util/owner.h"

#define NO_GROUP ((gid_t)-1)

static void assert_owner(const char *text, uid_t uid, gid_t gid)
{
    g_autoptr(GError) error = NULL;
    HmOwner owner = {12345, 12345};

    g_assert_true(hm_owner_parse(text, &owner, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(owner.uid, ==, uid);
    g_assert_cmpuint(owner.gid, ==, gid);
}

static void assert_refused(const char *text, HostmemError code,
                           const char *part)
{
    g_autoptr(GError) error = NULL;
    HmOwner owner = {12345, 12345};

    g_assert_false(hm_owner_parse(text, &owner, &error));
    g_assert_error(error, HOSTMEM_ERROR, (gint)code);
    g_assert_nonnull(strstr(error->message, part));
    g_assert_cmpuint(owner.uid, ==, 12345);
}

static void test_names(void)
{
    assert_owner("root", 0, NO_GROUP);
    assert_owner("root:root", 0, 0);
}

static void test_numbers(void)
{
    assert_owner("0", 0, NO_GROUP);
    assert_owner("123456:654321", 123456, 654321);
    assert_owner("root:5", 0, 5);
    assert_owner("4294967294", 4294967294u, NO_GROUP);
}

static void test_nobody_of_that_name(void)
{
    assert_refused("no-such-user", HOSTMEM_ERROR_NOT_FOUND,
                   "no user 'no-such-user'");
    assert_refused("root:no-such-group", HOSTMEM_ERROR_NOT_FOUND,
                   "no group 'no-such-group'");
    assert_refused("no\nsuch:user:", HOSTMEM_ERROR_NOT_FOUND, "'no?such'");
}

static void test_numbers_out_of_range(void)
{
    assert_refused("4294967295", HOSTMEM_ERROR_NOT_FOUND, "4294967295");
    assert_refused("-1", HOSTMEM_ERROR_NOT_FOUND, "-1");
    assert_refused("1 ", HOSTMEM_ERROR_NOT_FOUND, "'1 '");
    assert_refused("0x1", HOSTMEM_ERROR_NOT_FOUND, "0x1");
}

static void test_parts_that_are_missing(void)
{
    assert_refused("", HOSTMEM_ERROR_INVALID, "user");
    assert_refused(":root", HOSTMEM_ERROR_INVALID, "user");
    assert_refused("root:", HOSTMEM_ERROR_INVALID, "group");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/owner/names", test_names);
    g_test_add_func("/owner/numbers", test_numbers);
    g_test_add_func("/owner/nobody-of-that-name", test_nobody_of_that_name);
    g_test_add_func("/owner/numbers-out-of-range", test_numbers_out_of_range);
    g_test_add_func("/owner/parts-that-are-missing",
                    test_parts_that_are_missing);
    return g_test_run();
}
