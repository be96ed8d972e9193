/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sys/mman.h>
#include "os-fake.h"
#include "prealloc-test.h"
#include "util/align.h"
#include "util/size.h"

#define ALIGN (2 * HM_MIB)

static void init(PreallocTest *test, gsize length)
{
    hm_fake_reset();
    *test = (PreallocTest){
        .page = hm_os_page_size(),
        .plan = {.chunk = {HM_STEP_POPULATE_WRITE}, .n_chunk = 1},
        .options = {.threads = 1},
    };
    test->region = (HmPreallocRegion){
        .length = length,
        .page_size = test->page,
        .fd = -1,
    };
}

/* The fixture's own address lies in the struct: set when it is used. */
static void map(PreallocTest *test, int flags)
{
    HmPreallocRegion *region = &test->region;
    guint64 start = 0;
    void *addr;

    test->reserved_length = region->length + ALIGN;
    g_assert_cmpint(hm_os_map(NULL, test->reserved_length, PROT_NONE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                              0, &test->reserved),
                    ==, 0);
    g_assert_true(hm_align_up((guintptr)test->reserved, ALIGN, &start));
    g_assert_cmpint(hm_os_map((void *)(guintptr)start, region->length,
                              PROT_READ | PROT_WRITE, flags | MAP_FIXED,
                              region->fd, region->fd_offset, &addr),
                    ==, 0);
    region->addr = addr;
    hm_os_advise(region->addr, region->length, MADV_NOHUGEPAGE);
    hm_fake_reset();
}

void prealloc_test_map_anon(PreallocTest *test, gsize length)
{
    init(test, length);
    test->region.kind = HM_MEM_ANON;
    map(test, MAP_PRIVATE | MAP_ANONYMOUS);
}

void prealloc_test_map_memfd(PreallocTest *test, gsize length, int map_flags)
{
    init(test, length);
    test->region.kind = HM_MEM_SHMEM;
    test->region.shared = map_flags == MAP_SHARED;
    test->region.fd = hm_os_memfd("prealloc-test", 0);
    test->region.fd_offset = test->page;
    g_assert_cmpint(test->region.fd, >=, 0);
    g_assert_cmpint(hm_os_truncate(test->region.fd, test->page + length), ==,
                    0);
    map(test, map_flags);
}

void prealloc_test_set_chunks(PreallocTest *test, gsize pages)
{
    test->options.chunk_size = pages * test->page;
}

void prealloc_test_set_plan(PreallocTest *test, const HmPreallocPlan *plan)
{
    test->plan = *plan;
}

void prealloc_test_set_holes(PreallocTest *test, const HmRangeList *holes)
{
    test->region.holes = holes;
}

void prealloc_test_clear(PreallocTest *test)
{
    hm_fake_reset();
    g_clear_error(&test->error);
    g_clear_object(&test->cancellable);
    hm_os_unmap(test->reserved, test->reserved_length);
    if (test->region.fd >= 0) {
        hm_os_close(test->region.fd);
    }
}

gboolean prealloc_test_run(PreallocTest *test)
{
    HmPreallocPart part = {.region = &test->region, .options = &test->options};
    guint failed;

    test->region.plan = &test->plan;
    test->options.progress = &test->progress;
    g_clear_error(&test->error);
    hm_prealloc_run_all(&part, 1, test->cancellable, &failed);
    test->result = part.result;
    test->failure = part.failure;
    test->error = part.error;
    return !part.error;
}

void prealloc_test_succeed(PreallocTest *test)
{
    gboolean ok = prealloc_test_run(test);

    g_assert_no_error(test->error);
    g_assert_true(ok);
}

void prealloc_test_fail(PreallocTest *test, GQuark domain, int code)
{
    g_assert_false(prealloc_test_run(test));
    g_assert_error(test->error, domain, code);
}

guint64 prealloc_test_populated(const PreallocTest *test)
{
    gint64 bytes = hm_os_populated(test->region.addr, test->region.length);

    g_assert_cmpint(bytes, >=, 0);
    return (guint64)bytes;
}

guint64 prealloc_test_backed(const PreallocTest *test)
{
    struct stat st;

    g_assert_cmpint(hm_os_stat(test->region.fd, &st), ==, 0);
    return (guint64)st.st_blocks * 512;
}

/* Never 0. */
static guint8 byte_of(gsize page)
{
    return 1 + page % 255;
}

void prealloc_test_fill(PreallocTest *test, gsize first, gsize pages)
{
    for (gsize i = first; i < first + pages; i++) {
        test->region.addr[i * test->page] = byte_of(i);
    }
}

void prealloc_test_assert_filled(const PreallocTest *test, gsize first,
                                 gsize pages)
{
    for (gsize i = first; i < first + pages; i++) {
        g_assert_cmpuint(test->region.addr[i * test->page], ==, byte_of(i));
    }
}
