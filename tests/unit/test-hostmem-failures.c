/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <hostmem/backend.h>
#include "object-test.h"
#include "os-fake.h"
#include "util/hostcaps.h"
#include "util/size.h"

/*
 * Every call that creation makes fails once.  Whether creation then goes on or
 * fails is not the point here: nothing may be left behind either way.
 */

/* Mapped by nothing else, and small: it is populated some hundred times. */
#define SIZE (4100 * HM_KIB)

/* Those that do give something back cannot leave nothing behind when they
 * fail, and those that only ask cannot fail by their contract. */
static const HmFakeCall fallible[] = {
    HM_FAKE_MAP,        HM_FAKE_ADVISE,       HM_FAKE_BIND,
    HM_FAKE_PAGE_NODES, HM_FAKE_POPULATED,    HM_FAKE_POPULATED_RANGES,
    HM_FAKE_HUGE,       HM_FAKE_OPEN,         HM_FAKE_MEMFD,
    HM_FAKE_SHM,        HM_FAKE_TMPFS,        HM_FAKE_TMPFILE,
    HM_FAKE_STAT,       HM_FAKE_STATFS,       HM_FAKE_IS_DAX,
    HM_FAKE_TRUNCATE,   HM_FAKE_ALLOCATE,     HM_FAKE_SEEK,
    HM_FAKE_ADD_SEALS,  HM_FAKE_GET_AFFINITY, HM_FAKE_SET_AFFINITY,
    HM_FAKE_GET_LIMIT,  HM_FAKE_READ_TEXT,    HM_FAKE_LIST_DIR,
    HM_FAKE_CHMOD,      HM_FAKE_CHOWN,        HM_FAKE_LINK,
    HM_FAKE_MLOCK,
};

static void assert_nothing_left(guint fds)
{
    g_autofree char *path = g_build_filename(hm_test_folder(), "f", NULL);

    g_assert_cmpuint(hm_test_count_fds(), ==, fds);
    g_assert_cmpuint(hm_test_count_mappings(SIZE), ==, 0);
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
}

/* Returns: whether the nth call came. */
static gboolean try_once(const char *options, HmFakeCall call, guint nth)
{
    g_autofree char *path = g_build_filename(hm_test_folder(), "f", NULL);
    guint fds = hm_test_count_fds();
    g_autoptr(GError) error = NULL;
    HostmemBackend *backend;
    gboolean came;

    hm_fake_reset();
    hm_fake_set_nodes(4, 2, 8 * HM_GIB);
    hm_fake_fail(call, nth, EIO);
    backend = hm_test_try_make(options, NULL, &error);
    came = hm_fake_count(call) >= nth;
    hm_fake_reset();
    if (backend) {
        g_object_unref(backend);
        remove(path);
    } else {
        g_assert_nonnull(error);
        g_assert_cmpuint(strlen(error->message), >, 0);
    }
    assert_nothing_left(fds);
    return came;
}

static void sweep(const char *options)
{
    /* What is found out once and kept must not fail here. */
    hm_hostcaps_get();
    for (gsize i = 0; i < G_N_ELEMENTS(fallible); i++) {
        for (guint nth = 1; try_once(options, fallible[i], nth); nth++) {
        }
    }
}

static void test_ram(void)
{
    sweep("memory-backend-ram,id=m0,size=4100K,prealloc=on,prealloc-threads=2,"
          "policy=bind,host-nodes=1,dump=off");
}

static void test_ram_locked(void)
{
    sweep("memory-backend-ram,id=m0,size=4100K,mem-lock=on,prealloc-threads=2");
}

static void test_ram_share(void)
{
    sweep("memory-backend-ram,id=m0,size=4100K,prealloc=on,prealloc-threads=2,"
          "share=on,policy=preferred,host-nodes=0-3");
}

static void test_ram_share_in_base_pages(void)
{
    sweep("memory-backend-ram,id=m0,size=4100K,prealloc=on,prealloc-threads=2,"
          "share=on,thp=off");
}

static void test_memfd(void)
{
    sweep(
        "memory-backend-memfd,id=m0,size=4100K,prealloc=on,prealloc-threads=1,"
        "policy=interleave,host-nodes=0-3");
}

static void test_memfd_private(void)
{
    sweep("memory-backend-memfd,id=m0,size=4100K,prealloc=on,share=off");
}

static void test_shm(void)
{
    sweep("memory-backend-shm,id=m0,size=4100K,prealloc=on,prealloc-check=off");
}

static void sweep_file(const char *name)
{
    g_autofree char *options =
        g_strdup_printf("memory-backend-file,id=m0,size=4100K,prealloc=on,"
                        "share=on,mem-path=%s%s",
                        hm_test_folder(), name);

    sweep(options);
}

static void test_file(void)
{
    sweep_file("/f");
}

static void test_file_in_folder(void)
{
    sweep_file("");
}

/* In /dev/shm, for hm_fake_reset() forgets what is pretended. */
static void test_export(void)
{
    g_autofree char *options = g_strdup_printf(
        "memory-backend-ram,id=m0,size=4100K,prealloc=on,prealloc-threads=2,"
        "share=on,export-owner=%u,export-path=/dev/shm/hostmem-test-%d",
        (guint)getuid(), getpid());
    const char *path = strrchr(options, '=') + 1;

    sweep(options);
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
}

static const HmTest tests[] = {
    {"/hostmem-failures/ram", test_ram},
    {"/hostmem-failures/ram-locked", test_ram_locked},
    {"/hostmem-failures/ram-share", test_ram_share},
    {"/hostmem-failures/ram-share-in-base-pages", test_ram_share_in_base_pages},
    {"/hostmem-failures/memfd", test_memfd},
    {"/hostmem-failures/memfd-private", test_memfd_private},
    {"/hostmem-failures/shm", test_shm},
    {"/hostmem-failures/export", test_export},
    {"/hostmem-failures/file", test_file},
    {"/hostmem-failures/file-in-folder", test_file_in_folder},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
