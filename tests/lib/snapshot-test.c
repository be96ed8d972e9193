/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include "snapshot-test.h"
#include "util/os.h"

#define PAGE  4096
#define WORDS (PAGE / sizeof(guint64))

struct HmTestWriter {
    guint64 *words;
    gsize n_pages;
    GThread *thread;
    gint stop;          /* atomic */
    guint64 generation; /* atomic: the last that is complete */
    gint64 longest;     /* atomic; microseconds */
};

/* Any order will do that comes to all pages and is no order. */
static gsize page_of(const HmTestWriter *self, guint64 generation)
{
    guint64 mixed = generation * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15);

    return (gsize)((mixed >> 24) % self->n_pages);
}

static guint64 word_of(guint64 generation, gsize page)
{
    return generation << 24 | page;
}

/* To write waits for who copies the page, of which ThreadSanitizer knows
 * nothing. */
__attribute__((no_sanitize("thread"))) static void
write_page(volatile guint64 *words, guint64 value)
{
    for (gsize i = 0; i < WORDS; i++) {
        words[i] = value;
    }
}

__attribute__((no_sanitize("thread"))) void
hm_test_set_memory(void *addr, guint8 value, gsize length)
{
    volatile guint8 *bytes = addr;

    for (gsize i = 0; i < length; i++) {
        bytes[i] = value;
    }
}

static gpointer writer_main(gpointer data)
{
    HmTestWriter *self = data;
    guint64 generation = 0;
    gint64 longest = 0;

    while (!g_atomic_int_get(&self->stop)) {
        gsize page = page_of(self, ++generation);
        gint64 began = g_get_monotonic_time();

        write_page(self->words + page * WORDS, word_of(generation, page));
        longest = MAX(longest, g_get_monotonic_time() - began);
        __atomic_store_n(&self->longest, longest, __ATOMIC_RELAXED);
        __atomic_store_n(&self->generation, generation, __ATOMIC_RELEASE);
    }
    return NULL;
}

HmTestWriter *hm_test_writer_start(void *addr, gsize length)
{
    HmTestWriter *self = g_new0(HmTestWriter, 1);

    self->words = addr;
    self->n_pages = length / PAGE;
    self->thread = g_thread_new("writer", writer_main, self);
    return self;
}

guint64 hm_test_writer_generation(HmTestWriter *self)
{
    return __atomic_load_n(&self->generation, __ATOMIC_ACQUIRE);
}

void hm_test_writer_wait(HmTestWriter *self, guint64 generations)
{
    const guint64 until = hm_test_writer_generation(self) + generations;

    while (hm_test_writer_generation(self) < until) {
        g_usleep(1000);
    }
}

gint64 hm_test_writer_longest(HmTestWriter *self)
{
    return __atomic_load_n(&self->longest, __ATOMIC_RELAXED);
}

void hm_test_writer_stop(HmTestWriter *self)
{
    g_atomic_int_set(&self->stop, TRUE);
    g_clear_pointer(&self->thread, g_thread_join);
}

void hm_test_writer_free(HmTestWriter *self)
{
    hm_test_writer_stop(self);
    g_free(self);
}

/* The last generation that an image has, complete or begun. */
static guint64 last_generation(const HmTestWriter *self, const guint64 *image)
{
    guint64 last = 0;

    for (gsize page = 0; page < self->n_pages; page++) {
        last = MAX(last, image[page * WORDS] >> 24);
    }
    return last;
}

/* (transfer full): the word that each page has at the end of a generation. */
static guint64 *replay(const HmTestWriter *self, guint64 generation)
{
    guint64 *words = g_new0(guint64, self->n_pages);

    for (guint64 i = 1; i <= generation; i++) {
        gsize page = page_of(self, i);

        words[page] = word_of(i, page);
    }
    return words;
}

static void assert_page(const guint64 *image, gsize page, guint64 expected)
{
    for (gsize i = 0; i < WORDS; i++) {
        g_assert_cmphex(image[page * WORDS + i], ==, expected);
    }
}

/* Which may just be written, from its start on. */
static void assert_last_page(const guint64 *image, gsize page, guint64 new,
                             guint64 old)
{
    gsize i = 0;

    while (i < WORDS && image[page * WORDS + i] == new) {
        i++;
    }
    g_assert_cmpuint(i, >, 0);
    for (; i < WORDS; i++) {
        g_assert_cmphex(image[page * WORDS + i], ==, old);
    }
}

void hm_test_writer_assert_moment(HmTestWriter *self, const void *image,
                                  guint64 earliest, guint64 latest)
{
    const guint64 *words = image;
    const guint64 last = last_generation(self, words);
    const gsize last_page = page_of(self, last);
    g_autofree guint64 *before = replay(self, last ? last - 1 : 0);

    g_assert_cmpuint(last, >=, earliest);
    g_assert_cmpuint(last, <=, latest + 1);
    for (gsize page = 0; page < self->n_pages; page++) {
        if (last && page == last_page) {
            assert_last_page(words, page, word_of(last, page), before[page]);
        } else {
            assert_page(words, page, before[page]);
        }
    }
}

const char *hm_test_no_write_protect(void)
{
    guint64 features;
    int ret = hm_os_faultfd_features(&features);

    if (ret == -EPERM || ret == -EACCES) {
        return "userfaultfd is not allowed here";
    }
    if (ret < 0 || !(features & UFFD_FEATURE_PAGEFAULT_FLAG_WP) ||
        !(features & UFFD_FEATURE_WP_HUGETLBFS_SHMEM)) {
        return "the kernel cannot write-protect memory";
    }
    return NULL;
}
