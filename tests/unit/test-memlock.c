/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include "os-fake.h"
#include "util/error.h"
#include "util/memlock.h"
#include "util/size.h"

#define WHAT    "memory-backend-ram 'm0'"
#define NOTHING "0000000000000000"
#define ALL     "000001ffffffffff"
#define ALONE   "0000000000004000" /* CAP_IPC_LOCK */

#define FIRST   "         0          0 4294967295\n"
#define OTHER   "         0     100000      65536\n"

static void set_host(guint64 limit, guint64 used, const char *capabilities,
                     const char *uid_map)
{
    g_autofree char *status = g_strdup_printf(
        "Name:\ttest\nVmPeak:\t  999 kB\nVmLck:\t  %" G_GUINT64_FORMAT
        " kB\nVmPin:\t       0 kB\nCapPrm:\t%s\nCapEff:\t%s\n",
        used / HM_KIB, ALL, capabilities);

    hm_fake_reset();
    hm_fake_set_limit(RLIMIT_MEMLOCK, limit);
    hm_fake_set_file("/proc/self/status", status);
    hm_fake_set_file("/proc/self/uid_map", uid_map);
}

static void assert_allowed(guint64 bytes)
{
    g_autoptr(GError) error = NULL;

    hm_memlock_check(WHAT, bytes, &error);
    g_assert_no_error(error);
}

static void assert_refused(guint64 bytes, const char *message)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(hm_memlock_check(WHAT, bytes, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_LIMIT);
    if (message) {
        g_assert_cmpstr(error->message, ==, message);
    }
}

static void test_fits(void)
{
    set_host(8 * HM_MIB, HM_MIB, NOTHING, FIRST);
    assert_allowed(7 * HM_MIB);
}

static void test_limit(void)
{
    set_host(8 * HM_MIB, 2 * HM_MIB, NOTHING, FIRST);
    assert_refused(7 * HM_MIB,
                   "memory-backend-ram 'm0' needs 7 MiB locked in memory: "
                   "RLIMIT_MEMLOCK allows 8 MiB and 2 MiB is used; raise it, "
                   "or give this process CAP_IPC_LOCK");
}

static void test_no_limit(void)
{
    set_host(G_MAXUINT64, HM_GIB, NOTHING, FIRST);
    assert_allowed(G_MAXINT64);
}

static void test_nothing_may_be_locked(void)
{
    set_host(0, 0, NOTHING, FIRST);
    assert_refused(4096, NULL);
}

static void test_absurd_size(void)
{
    set_host(8 * HM_MIB, HM_MIB, NOTHING, FIRST);
    assert_refused(G_MAXUINT64, NULL);
}

static void test_capability(void)
{
    set_host(8 * HM_MIB, HM_MIB, ALONE, FIRST);
    assert_allowed(HM_GIB);
    set_host(0, 0, ALL, FIRST);
    assert_allowed(HM_GIB);
}

static void test_capability_of_another_user_namespace(void)
{
    set_host(8 * HM_MIB, HM_MIB, ALL, OTHER);
    assert_refused(HM_GIB, NULL);
}

static void test_what_cannot_be_read_limits_nothing(void)
{
    set_host(0, 0, NOTHING, FIRST);
    hm_fake_set_file("/proc/self/status", NULL);
    assert_allowed(HM_GIB);
    set_host(0, 0, NOTHING, FIRST);
    hm_fake_fail(HM_FAKE_GET_LIMIT, 1, EINVAL);
    assert_allowed(HM_GIB);
}

static void assert_failed(int err, gint code, const char *part)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(hm_memlock_set_error(WHAT, HM_GIB, err, &error));
    g_assert_error(error, HOSTMEM_ERROR, code);
    g_assert_nonnull(strstr(error->message, part));
}

static void test_failure_names_the_limit(void)
{
    set_host(8 * HM_MIB, HM_MIB, NOTHING, FIRST);
    assert_failed(ENOMEM, HOSTMEM_ERROR_LIMIT, "RLIMIT_MEMLOCK allows 8 MiB");
    set_host(0, 0, NOTHING, FIRST);
    assert_failed(EPERM, HOSTMEM_ERROR_LIMIT, "RLIMIT_MEMLOCK allows 0 B");
}

static void test_failure_within_the_limit(void)
{
    set_host(G_MAXUINT64, 0, NOTHING, FIRST);
    assert_failed(ENOMEM, HOSTMEM_ERROR_NO_MEMORY,
                  "cannot lock 1 GiB of memory-backend-ram 'm0' in memory");
}

static void test_failure_on_an_old_kernel(void)
{
    set_host(8 * HM_MIB, 0, NOTHING, FIRST);
    assert_failed(ENOSYS, HOSTMEM_ERROR_UNSUPPORTED, "Linux 4.4");
}

static void add(const char *path, void (*test)(void))
{
    g_test_add_func(path, test);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("/memlock/fits", test_fits);
    add("/memlock/limit", test_limit);
    add("/memlock/no-limit", test_no_limit);
    add("/memlock/nothing-may-be-locked", test_nothing_may_be_locked);
    add("/memlock/absurd-size", test_absurd_size);
    add("/memlock/capability", test_capability);
    add("/memlock/capability-of-another-user-namespace",
        test_capability_of_another_user_namespace);
    add("/memlock/what-cannot-be-read-limits-nothing",
        test_what_cannot_be_read_limits_nothing);
    add("/memlock/failure-names-the-limit", test_failure_names_the_limit);
    add("/memlock/failure-within-the-limit", test_failure_within_the_limit);
    add("/memlock/failure-on-an-old-kernel", test_failure_on_an_old_kernel);
    return g_test_run();
}
