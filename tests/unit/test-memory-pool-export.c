/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names for the memory of a pool. */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <hostmem/memory-pool.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backends/registry-entry.h"
#include "keeper-test.h"
#include "object-test.h"
#include "os-fake.h"
#include "pool-test.h"
#include "util/autofd.h"
#include "util/linux-compat.h"

#define RAM "memory-backend-ram,share=on,pool=p0,id=m0,size="

/* The test's folder, as if it were a tmpfs. */
static const char *tmpfs(void)
{
    const struct statfs fs = {.f_type = TMPFS_MAGIC, .f_bsize = 4096};

    hm_fake_set_statfs(&fs);
    return hm_test_folder();
}

static char *pool_line(void)
{
    return g_strdup_printf(HM_TEST_POOL ",seal=off,export-dir=%s", tmpfs());
}

static char *backend_line(const char *size)
{
    return g_strdup_printf(RAM "%s,export-path=%s/vm", size, tmpfs());
}

static HostmemRegistry *registry_new(void)
{
    HostmemRegistry *registry = hostmem_registry_new();
    g_autofree char *line = pool_line();

    hm_test_add(registry, line);
    return registry;
}

static gpointer pool_of(HostmemRegistry *registry)
{
    return hostmem_registry_lookup(registry, "p0", HOSTMEM_TYPE_MEMORY_POOL,
                                   NULL);
}

/* All names in the folder, and the visible ones. */
static void assert_names(guint all, guint visible)
{
    g_autoptr(GDir) dir = g_dir_open(hm_test_folder(), 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(dir))) {
        all--;
        visible -= name[0] != '.';
    }
    g_assert_cmpuint(all, ==, 0);
    g_assert_cmpuint(visible, ==, 0);
}

static void get_file(struct stat *st)
{
    g_autofree char *path = g_build_filename(hm_test_folder(), "vm", NULL);

    g_assert_cmpint(stat(path, st), ==, 0);
}

static void remove_name(void)
{
    g_autofree char *path = g_build_filename(hm_test_folder(), "vm", NULL);

    g_assert_cmpint(unlink(path), ==, 0);
}

static void test_name_leads_to_the_segment(void)
{
    g_autoptr(HostmemRegistry) registry = registry_new();
    g_autofree char *line = backend_line("1M");
    gpointer backend = hm_test_add(registry, line);
    struct stat st;

    get_file(&st);
    g_assert_cmpuint(st.st_ino, ==, hm_test_inode(backend));
    g_assert_cmpint(st.st_size, ==, HM_TEST_SEGMENT);
    assert_names(5, 1);
    hm_test_remove(registry, "m0");
    assert_names(4, 0);
    hm_test_remove(registry, "p0");
    assert_names(0, 0);
}

/* link(2) gives no file a name that has lost its last one. */
static void test_segment_gets_many_names(void)
{
    g_autoptr(HostmemRegistry) registry = registry_new();
    gpointer pool = pool_of(registry);
    g_autofree char *line = backend_line("2M");

    for (guint i = 0; i < 6; i++) {
        gpointer backend = hm_test_add(registry, line);

        g_assert_true(hm_test_is_filled(backend, 0));
        hm_test_fill_with(backend, 'x');
        if (i % 2) {
            remove_name();
        }
        hm_test_remove(registry, "m0");
        hm_test_await_ready(pool, 4);
    }
    assert_names(4, 0);
}

static void test_fresh_memory_has_the_name(void)
{
    g_autoptr(HostmemRegistry) registry = registry_new();
    g_autofree char *line = backend_line("2M");
    struct stat st;

    hm_test_add(registry, "memory-backend-ram,share=on,pool=p0,id=m1,size=8M");
    hm_test_assert_reads(hm_test_add(registry, line), "pool-size", "0");
    get_file(&st);
    g_assert_cmpint(st.st_size, ==, HM_TEST_SEGMENT);
    hm_test_remove(registry, "m0");
    assert_names(4, 0);
}

static void test_memory_in_several_files_has_none(void)
{
    g_autoptr(HostmemRegistry) registry = registry_new();
    g_autofree char *line = backend_line("3M");
    gpointer pool = pool_of(registry);

    hm_test_assert_add_fails(registry, line, HOSTMEM_ERROR_INVALID,
                             "this is in 2: its pool has segments of 2 MiB");
    hm_test_await_ready(pool, 4);
    assert_names(4, 0);
}

static void test_name_that_is_taken(void)
{
    g_autoptr(HostmemRegistry) registry = registry_new();
    g_autofree char *line = backend_line("1M");
    g_autofree char *path = g_build_filename(hm_test_folder(), "vm", NULL);
    gpointer pool = pool_of(registry);

    g_assert_true(g_file_set_contents(path, "", 0, NULL));
    hm_test_assert_add_fails(registry, line, HOSTMEM_ERROR_EXISTS,
                             "export-path");
    hm_test_await_ready(pool, 4);
    assert_names(5, 1);
}

static void test_name_on_another_filesystem(void)
{
    g_autoptr(HostmemRegistry) registry = registry_new();

    hm_test_assert_add_fails(registry, RAM "1M,export-path=/proc/vm",
                             HOSTMEM_ERROR_INVALID,
                             "another filesystem than the memory");
}

static void test_link_fails(void)
{
    g_autoptr(HostmemRegistry) registry = registry_new();
    g_autofree char *line = backend_line("1M");
    gpointer pool = pool_of(registry);

    hm_fake_fail(HM_FAKE_LINK, 1, ENOSPC);
    hm_test_assert_add_fails(registry, line, HOSTMEM_ERROR_NO_SPACE,
                             "cannot make the name");
    hm_test_await_ready(pool, 4);
    assert_names(4, 0);
}

static void test_what_does_not_go_together(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    g_autofree char *sealed =
        g_strdup_printf(HM_TEST_POOL ",export-dir=%s", tmpfs());
    g_autofree char *line = backend_line("1M");

    hm_test_assert_add_fails(registry, sealed, HOSTMEM_ERROR_INVALID,
                             "needs 'seal' = 'off'");
    hm_test_assert_add_fails(registry, HM_TEST_POOL ",seal=off,export-dir=x",
                             HOSTMEM_ERROR_INVALID, "no absolute path");
    hm_test_assert_add_fails(
        registry, HM_TEST_POOL ",seal=off,export-dir=/nowhere/at/all",
        HOSTMEM_ERROR_NOT_FOUND,
        "'export-dir' of memory-pool: /nowhere/at/all: ");
    hm_test_add(registry, HM_TEST_POOL);
    hm_test_assert_add_fails(registry, line, HOSTMEM_ERROR_INVALID,
                             "a pool without 'export-dir'");
    assert_names(0, 0);
}

/* Leftovers */

static void leave(const char *name)
{
    g_autofree char *path = g_build_filename(hm_test_folder(), name, NULL);

    g_assert_true(g_file_set_contents(path, "x", 1, NULL));
}

static void test_leftovers_go(void)
{
    hm_autofd int used = -1;
    g_autoptr(HostmemRegistry) registry = NULL;
    g_autofree char *path =
        g_build_filename(hm_test_folder(), ".hostmem-used", NULL);

    leave(".hostmem-left");
    leave(".hostmem-used");
    leave("hostmem-other");
    leave(".other");
    used = open(path, O_RDONLY | O_CLOEXEC);
    registry = registry_new();
    assert_names(4 + 3, 1);
    g_assert_cmpint(access(path, F_OK), ==, 0);
}

/* Over a restart */

static void test_names_are_kept(void)
{
    HmTestKeeper keeper;
    g_autofree char *pool = pool_line();
    g_autofree char *line = backend_line("2M");

    hm_test_keeper_init(&keeper);
    hm_test_keeper_add(&keeper, pool);
    hm_test_fill_with(hm_test_keeper_add(&keeper, line), 'x');
    hm_test_keeper_restart(&keeper);
    assert_names(5, 1);
    g_assert_true(hm_test_is_filled(hm_test_keeper_find(&keeper, "m0"), 'x'));
    hm_test_remove(keeper.registry, "m0");
    assert_names(4, 0);
    hm_test_await_ready(hm_test_keeper_find(&keeper, "p0"), 4);
    hm_test_keeper_add(&keeper, line);
    assert_names(5, 1);
    hm_test_remove(keeper.registry, "m0");
    hm_test_remove(keeper.registry, "p0");
    assert_names(0, 0);
    hm_test_keeper_clear(&keeper);
}

static const HmTest tests[] = {
    {"/pool-export/name", test_name_leads_to_the_segment},
    {"/pool-export/many", test_segment_gets_many_names},
    {"/pool-export/fresh", test_fresh_memory_has_the_name},
    {"/pool-export/several", test_memory_in_several_files_has_none},
    {"/pool-export/taken", test_name_that_is_taken},
    {"/pool-export/filesystem", test_name_on_another_filesystem},
    {"/pool-export/link-fails", test_link_fails},
    {"/pool-export/refused", test_what_does_not_go_together},
    {"/pool-export/leftovers", test_leftovers_go},
    {"/pool-export/restart", test_names_are_kept},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
