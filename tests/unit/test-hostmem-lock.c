/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <hostmem/backend.h>
#include "object-test.h"
#include "os-fake.h"
#include "pool-test.h"
#include "util/linux-compat.h"
#include "util/procfield.h"
#include "util/size.h"

/* "mem-lock", and what is in its way.  Sizes that RLIMIT_MEMLOCK of an old
 * host allows. */

#define SIZE (32 * HM_KIB)
#define RAM  "memory-backend-ram,id=m0,size=32K,thp=off"
#define ODD  "memory-backend-memfd,id=m0,size=36K"
#define ON   ",mem-lock=on"
#define LATE ",mem-lock=on-fault"

static guint64 locked_size(void)
{
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents("/proc/self/status", &text, NULL, NULL));
    return hm_procfield_bytes(text, "VmLck");
}

/* A host where so much may be locked. */
static void set_limit(guint64 limit)
{
    hm_fake_set_limit(RLIMIT_MEMLOCK, limit);
    hm_fake_set_file("/proc/self/status",
                     "VmLck:\t       0 kB\nCapEff:\t0000000000000000\n");
}

/* By a limit; by valgrind, which does not know the flags of mlock2(2). */
static gboolean is_refused(const GError *error)
{
    return g_error_matches(error, HOSTMEM_ERROR, HOSTMEM_ERROR_LIMIT) ||
           (error && strstr(error->message, "Invalid argument"));
}

/* NULL, and the test is skipped, where nothing may be locked. */
static HostmemBackend *try_locked(const char *options)
{
    g_autoptr(GError) error = NULL;
    HostmemBackend *backend = hm_test_try_make(options, NULL, &error);

    if (is_refused(error)) {
        g_test_skip(error->message);
    } else {
        g_assert_no_error(error);
    }
    return backend;
}

/* What it does */

static void test_off(void)
{
    g_autoptr(HostmemBackend) backend = hm_test_make(RAM ",prealloc=on");

    hm_test_assert_reads(backend, "mem-lock", "\"off\"");
    g_assert_cmpuint(hm_fake_count(HM_FAKE_MLOCK), ==, 0);
}

static void test_on_fault_populates_nothing(void)
{
    g_autoptr(HostmemBackend) backend = try_locked(RAM LATE);
    HmFakeRecord lock;

    if (!backend) {
        return;
    }
    g_assert_true(hm_fake_get_call(HM_FAKE_MLOCK, 1, &lock));
    g_assert_true(lock.addr == hostmem_backend_get_host_addr(backend));
    g_assert_cmpuint(lock.length, ==, SIZE);
    g_assert_cmpuint(hostmem_backend_get_populated_size(backend), ==, 0);
    hm_test_assert_reads(backend, "prealloc", "false");
    hm_test_assert_reads(backend, "merge", "true");
}

static void test_on_populates_what_is_locked(void)
{
    g_autoptr(HostmemBackend) backend = try_locked(RAM ON);
    g_autofree char *calls = hm_fake_sequence();
    const char *lock = strstr(calls, "mlock");

    if (!backend) {
        return;
    }
    g_assert_nonnull(lock);
    g_assert_nonnull(strstr(lock, "advise:23")); /* MADV_POPULATE_WRITE */
    g_assert_cmpuint(hostmem_backend_get_populated_size(backend), ==, SIZE);
}

static void test_on_implies(void)
{
    g_autoptr(HostmemBackend) backend = try_locked(RAM ON);

    if (backend) {
        hm_test_assert_reads(backend, "prealloc", "true");
        hm_test_assert_reads(backend, "merge", "false");
        g_assert_cmpuint(hm_fake_count_advice(MADV_MERGEABLE), ==, 0);
    }
}

static void test_gone_with_the_backend(void)
{
    const guint64 before = locked_size();
    HostmemBackend *backend = try_locked(RAM LATE);

    if (backend) {
        g_assert_cmpuint(locked_size(), ==, before + SIZE);
        g_object_unref(backend);
        g_assert_cmpuint(locked_size(), ==, before);
    }
}

static void test_discard_at_once(void)
{
    g_autoptr(HostmemBackend) backend = try_locked(RAM LATE);
    g_autoptr(GError) error = NULL;
    guint8 *addr;

    if (!backend) {
        return;
    }
    addr = hostmem_backend_get_host_addr(backend);
    memset(addr, 1, SIZE);
    hostmem_backend_discard(backend, 0, SIZE / 2, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(addr[0], ==, 0);
    g_assert_cmpuint(addr[SIZE / 2], ==, 1);
    g_assert_cmpuint(hm_fake_count_advice(MADV_DONTNEED), ==, 0);
    g_assert_cmpuint(hm_fake_count_advice(MADV_DONTNEED_LOCKED), ==, 1);
}

static void test_discard_on_an_old_kernel(void)
{
    g_autoptr(HostmemBackend) backend = try_locked(RAM LATE);
    GError *error = NULL;
    guint8 *addr;

    if (!backend) {
        return;
    }
    addr = hostmem_backend_get_host_addr(backend);
    memset(addr, 1, SIZE);
    hm_fake_without_advice(MADV_DONTNEED_LOCKED);
    g_assert_false(hostmem_backend_discard(backend, 0, SIZE, &error));
    hm_test_assert_error(error, HOSTMEM_ERROR_UNSUPPORTED, "Linux 5.18");
    g_assert_cmpuint(addr[0], ==, 1);
    g_assert_cmpuint(addr[SIZE - 1], ==, 1);
}

/* What does not go together */

static void test_incompatible(void)
{
    static const char *const others[] = {
        "reserve=off", "prealloc-async=on", "prealloc-deadline=1",
        "prealloc-state=backed", "prealloc-state=readable"};

    for (gsize i = 0; i < G_N_ELEMENTS(others); i++) {
        g_autofree char *options = g_strconcat(RAM ON ",", others[i], NULL);

        hm_test_assert_make_fails(options, HOSTMEM_ERROR_INVALID,
                                  "'mem-lock=on' and '");
    }
}

static void test_on_fault_goes_with_all(void)
{
    g_autoptr(HostmemBackend) loose = try_locked(RAM LATE ",reserve=off");
    g_autoptr(HostmemBackend) late =
        try_locked(RAM LATE ",prealloc=on,prealloc-async=on,share=on,"
                            "prealloc-state=readable,prealloc-deadline=10");

    g_assert_true((loose != NULL) == (late != NULL));
}

static void test_read_only_memory_is_readable(void)
{
    g_autofree char *path = g_build_filename(hm_test_folder(), "rom", NULL);
    g_autofree char *content = g_malloc0(SIZE);
    g_autofree char *options =
        g_strdup_printf("memory-backend-file,id=m0,size=32K,share=on,"
                        "readonly=on,prealloc-state=readable,mem-path=%s" ON,
                        path);
    g_autoptr(HostmemBackend) backend = NULL;

    g_assert_true(g_file_set_contents(path, content, SIZE, NULL));
    backend = try_locked(options);
    if (backend) {
        g_assert_cmpuint(hostmem_backend_get_populated_size(backend), ==, SIZE);
    }
}

/* Limits */

/* Nothing of it is left: of memory with that many bytes there are no more
 * mappings than before. */
static void assert_fails(const char *options, gint code, const char *part)
{
    const guint mappings = hm_test_count_mappings(36 * HM_KIB);
    const guint64 locked = locked_size();

    hm_test_assert_make_fails(options, code, part);
    g_assert_cmpuint(hm_test_count_mappings(36 * HM_KIB), ==, mappings);
    g_assert_cmpuint(locked_size(), ==, locked);
}

static void test_limit_is_met_before_anything_is_mapped(void)
{
    set_limit(16 * HM_KIB);
    assert_fails(ODD LATE, HOSTMEM_ERROR_LIMIT,
                 "needs 36 KiB locked in memory: RLIMIT_MEMLOCK allows 16 KiB "
                 "and 0 B is used");
    g_assert_cmpuint(hm_fake_count(HM_FAKE_MAP), ==, 0);
}

static void test_limit_of_nothing(void)
{
    set_limit(0);
    assert_fails(ODD ON, HOSTMEM_ERROR_LIMIT, "RLIMIT_MEMLOCK allows 0 B");
}

/* A hook of MLOCK. */
static gint64 lower_limit(const HmFakeRecord *record G_GNUC_UNUSED,
                          gpointer data G_GNUC_UNUSED)
{
    set_limit(16 * HM_KIB);
    return -ENOMEM;
}

static void test_limit_is_lowered_in_between(void)
{
    set_limit(HM_GIB);
    hm_fake_hook(HM_FAKE_MLOCK, lower_limit, NULL);
    assert_fails(ODD ON, HOSTMEM_ERROR_LIMIT, "RLIMIT_MEMLOCK allows 16 KiB");
    g_assert_cmpuint(hm_fake_count_advice(MADV_POPULATE_WRITE), ==, 0);
}

static void test_lock_is_forbidden(void)
{
    hm_fake_fail(HM_FAKE_MLOCK, 1, EPERM);
    assert_fails(ODD LATE, HOSTMEM_ERROR_PERMISSION, "cannot lock 36 KiB");
}

static void test_old_kernel(void)
{
    hm_fake_fail(HM_FAKE_MLOCK, 1, ENOSYS);
    assert_fails(ODD LATE, HOSTMEM_ERROR_UNSUPPORTED, "mlock2 (Linux 4.4)");
}

/* A hook of MLOCK: of several mappings one is locked. */
static gint64 lock_half(const HmFakeRecord *record, gpointer data)
{
    *(int *)data = hm_os_mlock(record->addr, record->length / 2);
    return -ENOMEM;
}

static void test_failure_half_way_is_undone(void)
{
    int half = -1;

    hm_fake_hook(HM_FAKE_MLOCK, lock_half, &half);
    assert_fails(ODD ON, HOSTMEM_ERROR_NO_MEMORY, "cannot lock 36 KiB");
    g_assert_cmpuint(hm_fake_count(HM_FAKE_MUNLOCK), ==, 1);
    if (half < 0) {
        g_test_skip("no memory may be locked here");
    }
}

/* FALSE, and the test is skipped. */
static gboolean may_lock(void)
{
    g_autoptr(HostmemBackend) backend = try_locked(ODD LATE);

    return backend != NULL;
}

static void test_failing_populate_leaves_nothing_locked(void)
{
    if (!may_lock()) {
        return;
    }
    hm_fake_fail_advice(MADV_POPULATE_WRITE, 1, EIO);
    assert_fails(ODD ON ",thp=off,prealloc-threads=2", HOSTMEM_ERROR_SYSTEM,
                 "preallocating memory failed");
}

static void test_swap_is_no_room_for_it(void)
{
    if (!may_lock()) {
        return;
    }
    hm_fake_set_file("/proc/meminfo",
                     "MemAvailable: 8 kB\nSwapTotal: 99999999 kB\n"
                     "SwapFree: 99999999 kB\n");
    assert_fails(ODD ON, HOSTMEM_ERROR_NO_MEMORY,
                 "what is locked cannot be swapped out");
}

/* A rollback gives back what is locked, too. */
static void test_failing_populate_of_a_locked_backend(void)
{
    g_autoptr(HostmemBackend) backend = try_locked(RAM LATE);
    g_autoptr(GError) error = NULL;

    if (!backend) {
        return;
    }
    hm_fake_fail_advice(MADV_POPULATE_WRITE, 1, EIO);
    g_assert_false(hostmem_backend_populate(backend, 0, SIZE, NULL, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM);
    g_assert_null(strstr(error->message, "what was populated stays"));
    g_assert_cmpuint(hostmem_backend_get_populated_size(backend), ==, 0);
    g_assert_cmpuint(hm_fake_count_advice(MADV_DONTNEED_LOCKED), ==, 1);
}

/* Memory of a pool: several files */

static void test_pool(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    g_autoptr(GError) error = NULL;
    HostmemBackend *backend;

    hm_test_add(registry, HM_TEST_POOL);
    backend = (HostmemBackend *)hostmem_registry_add(
        registry, "memory-backend-memfd,id=m0,size=4M,pool=p0" LATE, NULL,
        &error);
    if (is_refused(error)) {
        g_test_skip(error->message);
        return;
    }
    g_assert_no_error(error);
    hm_test_fill_with(backend, 7);
    g_assert_true(hostmem_backend_discard(backend, HM_MIB, 2 * HM_MIB, &error));
    g_assert_no_error(error);
    hm_test_remove(registry, "m0");
}

static const HmTest tests[] = {
    {"/hostmem-lock/off", test_off},
    {"/hostmem-lock/on-fault-populates-nothing",
     test_on_fault_populates_nothing},
    {"/hostmem-lock/on-populates-what-is-locked",
     test_on_populates_what_is_locked},
    {"/hostmem-lock/on-implies", test_on_implies},
    {"/hostmem-lock/gone-with-the-backend", test_gone_with_the_backend},
    {"/hostmem-lock/discard-at-once", test_discard_at_once},
    {"/hostmem-lock/discard-on-an-old-kernel", test_discard_on_an_old_kernel},
    {"/hostmem-lock/incompatible", test_incompatible},
    {"/hostmem-lock/on-fault-goes-with-all", test_on_fault_goes_with_all},
    {"/hostmem-lock/read-only-memory-is-readable",
     test_read_only_memory_is_readable},
    {"/hostmem-lock/limit-is-met-before-anything-is-mapped",
     test_limit_is_met_before_anything_is_mapped},
    {"/hostmem-lock/limit-of-nothing", test_limit_of_nothing},
    {"/hostmem-lock/limit-is-lowered-in-between",
     test_limit_is_lowered_in_between},
    {"/hostmem-lock/lock-is-forbidden", test_lock_is_forbidden},
    {"/hostmem-lock/old-kernel", test_old_kernel},
    {"/hostmem-lock/failure-half-way-is-undone",
     test_failure_half_way_is_undone},
    {"/hostmem-lock/failing-populate-leaves-nothing-locked",
     test_failing_populate_leaves_nothing_locked},
    {"/hostmem-lock/swap-is-no-room-for-it", test_swap_is_no_room_for_it},
    {"/hostmem-lock/failing-populate-of-a-locked-backend",
     test_failing_populate_of_a_locked_backend},
    {"/hostmem-lock/pool", test_pool},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
