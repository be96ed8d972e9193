/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include "os-fake.h"
#include "util/error.h"
#include "util/fdlimit.h"

#define FDS "/proc/self/fd"

/* A process with three descriptors. */
static void set_host(guint64 limit)
{
    hm_fake_reset();
    hm_fake_hide_tree(FDS);
    for (char n = '0'; n < '3'; n++) {
        g_autofree char *path = g_strdup_printf(FDS "/%c", n);

        hm_fake_set_file(path, "");
    }
    hm_fake_set_limit(RLIMIT_NOFILE, limit);
}

static gboolean check(guint64 more, GError **error)
{
    return hm_fdlimit_check("memory-pool 'p0'", more, "one for each", error);
}

static void test_fits(void)
{
    set_host(10);
    g_assert_true(check(7, NULL));
}

static void test_limit(void)
{
    g_autoptr(GError) error = NULL;

    set_host(10);
    g_assert_false(check(8, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_LIMIT);
    g_assert_cmpstr(error->message, ==,
                    "memory-pool 'p0' needs 8 descriptors, one for each: "
                    "RLIMIT_NOFILE allows 10 and 3 are open; raise it");
}

static void test_no_overflow(void)
{
    set_host(10);
    g_assert_false(check(G_MAXUINT64, NULL));
}

static void test_what_cannot_be_asked(void)
{
    set_host(10);
    hm_fake_fail_always(HM_FAKE_GET_LIMIT, EPERM);
    g_assert_true(check(8, NULL));
    set_host(10);
    hm_fake_fail_always(HM_FAKE_LIST_DIR, ENOENT);
    g_assert_true(check(8, NULL));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fdlimit/fits", test_fits);
    g_test_add_func("/fdlimit/limit", test_limit);
    g_test_add_func("/fdlimit/no-overflow", test_no_overflow);
    g_test_add_func("/fdlimit/cannot-be-asked", test_what_cannot_be_asked);
    return g_test_run();
}
