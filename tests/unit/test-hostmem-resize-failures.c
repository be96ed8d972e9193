/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include "object-test.h"
#include "os-fake.h"
#include "resize-test.h"
#include "util/hostcaps.h"
#include "util/size.h"

/*
 * Every call that a resize makes fails once.  Where the resize fails for it,
 * all is as it was: size, address, content, file; and it works the next time.
 */

/* Those that do not only ask.  Giving back is swept too. */
static const HmFakeCall fallible[] = {
    HM_FAKE_MAP,       HM_FAKE_UNMAP,
    HM_FAKE_MOVE,      HM_FAKE_ADVISE,
    HM_FAKE_BIND,      HM_FAKE_PAGE_NODES,
    HM_FAKE_POPULATED, HM_FAKE_POPULATED_RANGES,
    HM_FAKE_HUGE,      HM_FAKE_STAT,
    HM_FAKE_STATFS,    HM_FAKE_TRUNCATE,
    HM_FAKE_ALLOCATE,  HM_FAKE_PUNCH,
    HM_FAKE_SEEK,      HM_FAKE_GET_SEALS,
    HM_FAKE_GET_LIMIT, HM_FAKE_GET_AFFINITY,
    HM_FAKE_READ_TEXT, HM_FAKE_SET_AFFINITY,
};

typedef struct {
    const char *options; /* of 1 MiB */
    guint64 size;        /* bytes, that it shall have */
    HostmemResizeFlags flags;
    guint failed; /* how often it did */
} Sweep;

/* What must not change. */
typedef struct {
    guint64 size;
    guint8 *addr;
    gint64 file;
    guint fds;
} Before;

static Before remember(HostmemBackend *backend)
{
    return (Before){
        .size = hostmem_backend_get_size(backend),
        .addr = hm_resize_memory(backend),
        .file = hostmem_backend_get_fd(backend) < 0
                    ? 0
                    : hm_resize_file_length(backend),
        .fds = hm_test_count_fds(),
    };
}

static void assert_same(HostmemBackend *backend, const Before *before)
{
    const Before now = remember(backend);

    g_assert_cmpuint(now.size, ==, before->size);
    g_assert_true(now.addr == before->addr);
    g_assert_cmpint(now.file, ==, before->file);
    g_assert_cmpuint(now.fds, ==, before->fds);
    hm_resize_assert_bytes(backend, 0, before->size, 'x');
}

static HostmemBackend *make(const Sweep *sweep)
{
    HostmemBackend *backend;

    hm_fake_reset();
    hm_fake_set_nodes(4, 2, 8 * HM_GIB);
    backend = hm_test_make(sweep->options);
    memset(hm_resize_memory(backend), 'x', hostmem_backend_get_size(backend));
    return backend;
}

static gboolean resize(HostmemBackend *backend, const Sweep *sweep,
                       GError **error)
{
    return hostmem_backend_resize(backend, sweep->size, sweep->flags, NULL,
                                  error);
}

static void assert_resized(HostmemBackend *backend, const Sweep *sweep,
                           guint64 before)
{
    hm_resize_assert_size(backend, sweep->size);
    hm_resize_assert_bytes(backend, 0, MIN(before, sweep->size), 'x');
    if (sweep->size > before) {
        hm_resize_assert_bytes(backend, before, sweep->size - before, 0);
        memset(hm_resize_memory(backend), 'y', sweep->size);
    }
}

/* Returns: whether the nth call came. */
static gboolean try_once(Sweep *sweep, HmFakeCall call, guint nth)
{
    g_autoptr(HostmemBackend) backend = make(sweep);
    const Before before = remember(backend);
    g_autoptr(GError) error = NULL;
    gboolean came, ok;
    guint n = hm_fake_count(call);

    hm_fake_fail(call, nth, EIO);
    ok = resize(backend, sweep, &error);
    came = hm_fake_count(call) - n >= nth;
    hm_fake_reset();
    hm_fake_set_nodes(4, 2, 8 * HM_GIB);
    if (!ok) {
        sweep->failed++;
        g_assert_true(came);
        g_assert_cmpuint(strlen(error->message), >, 0);
        assert_same(backend, &before);
        g_clear_error(&error);
        resize(backend, sweep, &error);
        g_assert_no_error(error);
    }
    assert_resized(backend, sweep, before.size);
    return came;
}

static void sweep_all(const char *options, guint64 size,
                      HostmemResizeFlags flags, guint failures)
{
    Sweep sweep = {.options = options, .size = size, .flags = flags};

    /* What is found out once and kept must not fail here. */
    hm_hostcaps_get();
    for (gsize i = 0; i < G_N_ELEMENTS(fallible); i++) {
        for (guint nth = 1; try_once(&sweep, fallible[i], nth); nth++) {
        }
    }
    g_assert_cmpuint(sweep.failed, >=, failures);
}

/* Growing */

#define ROOM   ",id=m0,size=1M,max-size=4M,thp=off,prealloc-threads=1"
#define FULL   ROOM ",prealloc=on"
#define BOUND  ",policy=bind,host-nodes=1"
#define MOVING ",id=m0,size=1M,thp=off,prealloc-threads=1"

static void test_ram_grows(void)
{
    /* mmap, mbind, madvise */
    sweep_all("memory-backend-ram" FULL BOUND, 4 * HM_MIB, 0, 3);
}

static void test_ram_grows_empty(void)
{
    sweep_all("memory-backend-ram" ROOM BOUND, 4 * HM_MIB, 0, 2);
}

static void test_shared_ram_grows(void)
{
    /* and ftruncate; fallocate */
    sweep_all("memory-backend-ram,share=on" FULL BOUND, 4 * HM_MIB, 0, 4);
}

static void test_a_memfd_grows(void)
{
    sweep_all("memory-backend-memfd" FULL BOUND, 4 * HM_MIB, 0, 3);
}

static void test_an_unsealed_memfd_grows(void)
{
    sweep_all("memory-backend-memfd,seal=off" FULL, 4 * HM_MIB, 0, 3);
}

static void test_shm_grows(void)
{
    sweep_all("memory-backend-shm" FULL, 4 * HM_MIB, 0, 3);
}

static void test_a_file_grows(void)
{
    g_autofree char *options = g_strdup_printf(
        "memory-backend-file,share=on,mem-path=%s" FULL, hm_test_folder());

    sweep_all(options, 4 * HM_MIB, 0, 3);
}

/* Shrinking */

static void test_ram_shrinks(void)
{
    sweep_all("memory-backend-ram" FULL BOUND, 64 * HM_KIB, 0, 1);
}

static void test_a_memfd_shrinks(void)
{
    /* fstat, fallocate */
    sweep_all("memory-backend-memfd" FULL BOUND, 64 * HM_KIB, 0, 3);
}

static void test_an_unsealed_memfd_shrinks(void)
{
    sweep_all("memory-backend-memfd,seal=off" FULL BOUND, 64 * HM_KIB, 0, 3);
}

/* Neither can it be unmapped for good, nor mapped again. */
static void test_a_shrink_without_a_way_back(void)
{
    g_autoptr(HostmemBackend) memfd = hm_test_make("memory-backend-memfd" FULL);

    memset(hm_resize_memory(memfd), 'x', HM_MIB);
    hm_fake_fail(HM_FAKE_PUNCH, 1, EIO);
    hm_fake_fail(HM_FAKE_MAP, 2, ENOMEM);
    hm_resize_to(memfd, 64 * HM_KIB);
    g_assert_cmpuint(hm_resize_file_storage(memfd), ==, HM_MIB);
    hm_fake_reset();
    hm_resize_to(memfd, HM_MIB);
    hm_resize_assert_bytes(memfd, 0, HM_MIB, 'x');
}

/* Moving */

static void test_ram_moves(void)
{
    /* mmap, mremap; madvise */
    sweep_all("memory-backend-ram,prealloc=on" MOVING, 4 * HM_MIB,
              HOSTMEM_RESIZE_MAY_MOVE, 3);
}

static void test_shared_ram_moves(void)
{
    sweep_all("memory-backend-ram,share=on,prealloc=on" MOVING BOUND,
              4 * HM_MIB, HOSTMEM_RESIZE_MAY_MOVE, 4);
}

static const HmTest tests[] = {
    {"/hostmem-resize-failures/ram-grows", test_ram_grows},
    {"/hostmem-resize-failures/ram-grows-empty", test_ram_grows_empty},
    {"/hostmem-resize-failures/shared-ram-grows", test_shared_ram_grows},
    {"/hostmem-resize-failures/a-memfd-grows", test_a_memfd_grows},
    {"/hostmem-resize-failures/an-unsealed-memfd-grows",
     test_an_unsealed_memfd_grows},
    {"/hostmem-resize-failures/shm-grows", test_shm_grows},
    {"/hostmem-resize-failures/a-file-grows", test_a_file_grows},
    {"/hostmem-resize-failures/ram-shrinks", test_ram_shrinks},
    {"/hostmem-resize-failures/a-memfd-shrinks", test_a_memfd_shrinks},
    {"/hostmem-resize-failures/an-unsealed-memfd-shrinks",
     test_an_unsealed_memfd_shrinks},
    {"/hostmem-resize-failures/a-shrink-without-a-way-back",
     test_a_shrink_without_a_way_back},
    {"/hostmem-resize-failures/ram-moves", test_ram_moves},
    {"/hostmem-resize-failures/shared-ram-moves", test_shared_ram_moves},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
