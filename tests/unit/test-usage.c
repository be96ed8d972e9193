/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include "os-fake.h"
#include "util/size.h"
#include "util/usage.h"

/* What is looked at, and when; what the kernel says is pretended where memory
 * would be too large for a test. */

#define LARGE (64 * HM_GIB)

/* Address space alone: nobody touches it. */
typedef struct {
    guint8 *addr;
    gsize length;
    HmUsage *usage;
    gint64 time_us;      /* of the thread */
    gint64 time_a_slice; /* microseconds */
} Memory;

/* A hook of THREAD_TIME. */
static gint64 tell_time(const HmFakeRecord *record G_GNUC_UNUSED, gpointer data)
{
    const Memory *memory = data;

    return memory->time_us;
}

/* A hook of IS_MLOCKED, which comes once for each slice that is looked at. */
static gint64 take_time(const HmFakeRecord *record G_GNUC_UNUSED, gpointer data)
{
    Memory *memory = data;

    memory->time_us += memory->time_a_slice;
    return 0;
}

static void memory_init(Memory *self, gsize length)
{
    void *addr = NULL;

    hm_fake_reset();
    *self = (Memory){.length = length, .time_us = 1, .usage = hm_usage_new()};
    g_assert_cmpint(hm_os_map(NULL, length, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                              0, &addr),
                    ==, 0);
    self->addr = addr;
    hm_os_advise(addr, length, MADV_NOHUGEPAGE);
    hm_fake_set_now(1000 * G_USEC_PER_SEC);
    hm_fake_hook(HM_FAKE_THREAD_TIME, tell_time, self);
    hm_fake_hook(HM_FAKE_IS_MLOCKED, take_time, self);
}

static void memory_clear(Memory *self)
{
    hm_usage_free(self->usage);
    hm_fake_reset();
    hm_os_unmap(self->addr, self->length);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Memory, memory_clear)

/* Slices that a look looks at. */
static guint look(Memory *self, HmUsageSums *sums)
{
    const guint before = hm_fake_count(HM_FAKE_COUNT_PAGES);

    hm_usage_look(self->usage, self->addr, self->length, sums);
    return hm_fake_count(HM_FAKE_COUNT_PAGES) - before;
}

static void test_sums(void)
{
    g_auto(Memory) memory = {0};
    HmUsageSums sums;

    memory_init(&memory, 2 * HM_GIB);
    memory.addr[0] = 1;
    memory.addr[HM_GIB] = 1;
    g_assert_cmpuint(*(volatile guint8 *)(memory.addr + HM_MIB), ==, 0);
    g_assert_cmpuint(look(&memory, &sums), ==, 2);
    g_assert_cmpuint(sums.populated, ==, 3 * hm_os_page_size());
    g_assert_cmpuint(sums.resident, ==, 2 * hm_os_page_size());
    g_assert_cmpuint(sums.locked, ==, 0);
    g_assert_cmpint(sums.age_us, ==, 0);
}

static void test_what_is_small_is_always_seen(void)
{
    g_auto(Memory) memory = {0};
    HmUsageSums sums;

    memory_init(&memory, 4 * HM_GIB);
    memory.time_a_slice = 10 * G_USEC_PER_SEC;
    look(&memory, &sums);
    memory.addr[4 * HM_GIB - 1] = 1;
    g_assert_cmpuint(look(&memory, &sums), ==, 4);
    g_assert_cmpuint(sums.populated, ==, hm_os_page_size());
}

static void test_the_first_look_sees_all(void)
{
    g_auto(Memory) memory = {0};
    HmUsageSums sums;

    memory_init(&memory, LARGE);
    memory.time_a_slice = 10 * G_USEC_PER_SEC;
    memory.addr[LARGE - 1] = 1;
    g_assert_cmpuint(look(&memory, &sums), ==, 64);
    g_assert_cmpuint(sums.populated, ==, hm_os_page_size());
}

/* 50 ms for each second, and 5 ms for a slice. */
static void test_later_looks_take_their_share(void)
{
    g_auto(Memory) memory = {0};
    HmUsageSums sums;

    memory_init(&memory, LARGE);
    memory.time_a_slice = 5000;
    look(&memory, &sums);
    hm_fake_set_now(1001 * G_USEC_PER_SEC);
    g_assert_cmpuint(look(&memory, &sums), ==, 10);
    g_assert_cmpint(sums.age_us, ==, G_USEC_PER_SEC);
}

static void test_who_asks_more_often_gets_less(void)
{
    g_auto(Memory) memory = {0};
    HmUsageSums sums;

    memory_init(&memory, LARGE);
    memory.time_a_slice = 5000;
    look(&memory, &sums);
    g_assert_cmpuint(look(&memory, &sums), ==, 4);
    hm_fake_set_now(1000 * G_USEC_PER_SEC + 600000);
    g_assert_cmpuint(look(&memory, &sums), ==, 6);
}

static void test_who_asks_seldom_is_answered_in_time(void)
{
    g_auto(Memory) memory = {0};
    HmUsageSums sums;

    memory_init(&memory, LARGE);
    memory.time_a_slice = 5000;
    look(&memory, &sums);
    hm_fake_set_now(2000 * G_USEC_PER_SEC);
    g_assert_cmpuint(look(&memory, &sums), ==, 10);
}

static void test_all_is_seen_in_turn(void)
{
    g_auto(Memory) memory = {0};
    HmUsageSums sums;
    guint looks = 0;

    memory_init(&memory, LARGE);
    memory.time_a_slice = G_USEC_PER_SEC;
    look(&memory, &sums);
    memory.addr[LARGE - 1] = 1;
    for (; !sums.populated; looks++) {
        g_assert_cmpuint(look(&memory, &sums), ==, 4);
    }
    g_assert_cmpuint(looks, ==, 16);
}

static void test_as_much_as_there_is_time_for(void)
{
    g_auto(Memory) memory = {0};
    HmUsageSums sums;

    memory_init(&memory, LARGE);
    look(&memory, &sums); /* no slice takes any time */
    hm_fake_set_now(1001 * G_USEC_PER_SEC);
    g_assert_cmpuint(look(&memory, &sums), ==, 64);
    g_assert_cmpint(sums.age_us, ==, 0);
}

static void test_another_length(void)
{
    g_auto(Memory) memory = {0};
    HmUsageSums sums;

    memory_init(&memory, LARGE);
    memory.time_a_slice = G_USEC_PER_SEC;
    hm_usage_look(memory.usage, memory.addr, 5 * HM_GIB, &sums);
    memory.addr[LARGE - 1] = 1;
    g_assert_cmpuint(look(&memory, &sums), ==, 64);
    g_assert_cmpuint(sums.populated, ==, hm_os_page_size());
    hm_usage_look(memory.usage, memory.addr, HM_GIB, &sums);
    g_assert_cmpuint(sums.populated, ==, 0);
}

static void test_length_of_some_pages(void)
{
    g_auto(Memory) memory = {0};
    HmUsageSums sums;

    memory_init(&memory, HM_GIB + 4 * hm_os_page_size());
    memset(memory.addr, 1, memory.length - HM_GIB);
    memset(memory.addr + HM_GIB, 1, memory.length - HM_GIB);
    g_assert_cmpuint(look(&memory, &sums), ==, 2);
    g_assert_cmpuint(sums.populated, ==, 8 * hm_os_page_size());
}

/* A hook of IS_MLOCKED: the second slice is. */
static gint64 second_is_locked(const HmFakeRecord *record, gpointer data)
{
    const Memory *memory = data;

    return (guint8 *)record->addr == memory->addr + HM_GIB;
}

static void test_what_is_locked(void)
{
    g_auto(Memory) memory = {0};
    HmUsageSums sums;

    memory_init(&memory, 2 * HM_GIB);
    hm_fake_hook(HM_FAKE_IS_MLOCKED, second_is_locked, &memory);
    memory.addr[0] = 1;
    memset(memory.addr + HM_GIB, 1, 2 * hm_os_page_size());
    look(&memory, &sums);
    g_assert_cmpuint(sums.resident, ==, 3 * hm_os_page_size());
    g_assert_cmpuint(sums.locked, ==, 2 * hm_os_page_size());
}

static void test_kernel_that_does_not_tell(void)
{
    g_auto(Memory) memory = {0};
    HmUsageSums sums;

    memory_init(&memory, HM_GIB);
    memory.addr[0] = 1;
    hm_fake_fail_always(HM_FAKE_COUNT_PAGES, ENOENT);
    hm_fake_fail_always(HM_FAKE_IS_MLOCKED, ENOMEM);
    look(&memory, &sums);
    g_assert_cmpuint(sums.populated + sums.resident + sums.locked, ==, 0);
}

/* Samples */

static guint64 sampled(Memory *self, guint *slices)
{
    g_autoptr(HmRangeList) ranges = hm_range_list_new();
    const guint before = hm_fake_count(HM_FAKE_POPULATED_RANGES);

    g_assert_cmpint(hm_usage_sample(self->usage, self->addr, ranges), ==, 0);
    *slices = hm_fake_count(HM_FAKE_POPULATED_RANGES) - before;
    return hm_range_list_total(ranges);
}

static void test_sample_of_few(void)
{
    g_auto(Memory) memory = {0};
    HmUsageSums sums;
    guint slices;

    memory_init(&memory, LARGE);
    memory.addr[0] = 1;
    memory.addr[LARGE - 1] = 1;
    look(&memory, &sums);
    g_assert_cmpuint(sampled(&memory, &slices), ==, 2 * hm_os_page_size());
    g_assert_cmpuint(slices, ==, 2);
}

static void test_sample_of_many(void)
{
    g_auto(Memory) memory = {0};
    HmUsageSums sums;
    guint slices;

    memory_init(&memory, LARGE);
    for (gsize at = 0; at < LARGE; at += HM_GIB) {
        memory.addr[at] = 1;
    }
    look(&memory, &sums);
    g_assert_cmpuint(sampled(&memory, &slices), ==, 16 * hm_os_page_size());
    g_assert_cmpuint(slices, ==, 16);
}

static void test_sample_of_nothing(void)
{
    g_auto(Memory) memory = {0};
    HmUsageSums sums;
    guint slices;

    memory_init(&memory, HM_GIB);
    look(&memory, &sums);
    g_assert_cmpuint(sampled(&memory, &slices), ==, 0);
    g_assert_cmpuint(slices, ==, 0);
}

/* Of another length at each look, so that slices come and go. */
static gpointer look_often(gpointer data)
{
    const Memory *memory = data;

    for (guint i = 0; i < 300; i++) {
        HmUsageSums sums;

        hm_usage_look(memory->usage, memory->addr, (1 + i % 4) * HM_GIB, &sums);
        g_assert_cmpuint(sums.populated, ==, hm_os_page_size());
    }
    return NULL;
}

static void test_several_threads(void)
{
    g_auto(Memory) memory = {0};
    GThread *others[3];

    memory_init(&memory, 4 * HM_GIB);
    hm_fake_reset(); /* hooks are not for several threads */
    memory.addr[0] = 1;
    for (guint i = 0; i < G_N_ELEMENTS(others); i++) {
        others[i] = g_thread_new("look", look_often, &memory);
    }
    for (guint i = 0; i < G_N_ELEMENTS(others); i++) {
        g_thread_join(others[i]);
    }
}

static void add(const char *path, void (*test)(void))
{
    g_test_add_func(path, test);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("/usage/sums", test_sums);
    add("/usage/what-is-small-is-always-seen",
        test_what_is_small_is_always_seen);
    add("/usage/the-first-look-sees-all", test_the_first_look_sees_all);
    add("/usage/later-looks-take-their-share",
        test_later_looks_take_their_share);
    add("/usage/who-asks-more-often-gets-less",
        test_who_asks_more_often_gets_less);
    add("/usage/who-asks-seldom-is-answered-in-time",
        test_who_asks_seldom_is_answered_in_time);
    add("/usage/all-is-seen-in-turn", test_all_is_seen_in_turn);
    add("/usage/as-much-as-there-is-time-for",
        test_as_much_as_there_is_time_for);
    add("/usage/another-length", test_another_length);
    add("/usage/length-of-some-pages", test_length_of_some_pages);
    add("/usage/several-threads", test_several_threads);
    add("/usage/what-is-locked", test_what_is_locked);
    add("/usage/kernel-that-does-not-tell", test_kernel_that_does_not_tell);
    add("/usage/sample/few", test_sample_of_few);
    add("/usage/sample/many", test_sample_of_many);
    add("/usage/sample/nothing", test_sample_of_nothing);
    return g_test_run();
}
