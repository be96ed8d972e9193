/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <unistd.h>
#include "backends/virtio/discard.h"
#include "backends/virtio/guest-memory.h"
#include "discard-test.h"
#include "object-test.h"
#include "os-fake.h"
#include "util/hostcaps.h"
#include "util/pagesize.h"
#include "util/size.h"

#define PAGE  ((guint64)4096)
#define BASE  (4 * HM_GIB) /* where most of these regions are */
#define PAGES 16

static HostmemBackend *make_ram(void)
{
    return hm_test_make("memory-backend-ram,id=m0,size=64K");
}

static void add(HostmemGuestMemory *memory, guint64 address,
                HostmemBackend *backend, guint64 offset, guint64 length,
                gpointer source)
{
    g_autoptr(GError) error = NULL;

    hostmem_guest_memory_add(memory, address, backend, offset, length, source,
                             &error);
    g_assert_no_error(error);
}

static void add_fails(HostmemGuestMemory *memory, guint64 address,
                      HostmemBackend *backend, guint64 offset, guint64 length,
                      gint code, const char *part)
{
    GError *error = NULL;

    g_assert_false(hostmem_guest_memory_add(memory, address, backend, offset,
                                            length, NULL, &error));
    hm_test_assert_error(error, code, part);
    g_assert_false(hostmem_object_is_held(HOSTMEM_OBJECT(backend)) &&
                   code == HOSTMEM_ERROR_INVALID);
}

static void remove_region(HostmemGuestMemory *memory, guint64 address)
{
    g_autoptr(GError) error = NULL;

    hostmem_guest_memory_remove(memory, address, &error);
    g_assert_no_error(error);
}

/* Finding */

static void test_lookup(void)
{
    g_autoptr(HostmemGuestMemory) memory = hostmem_guest_memory_new();
    g_autoptr(HostmemBackend) ram = make_ram();
    guint8 *host = hostmem_backend_get_host_addr(ram);

    add(memory, BASE, ram, 2 * PAGE, 4 * PAGE, NULL);
    g_assert_true(hostmem_guest_memory_lookup(memory, BASE, 1) ==
                  host + 2 * PAGE);
    g_assert_true(hostmem_guest_memory_lookup(memory, BASE + 5, 4 * PAGE - 5) ==
                  host + 2 * PAGE + 5);
    g_assert_null(hostmem_guest_memory_lookup(memory, BASE - 1, 1));
    g_assert_null(hostmem_guest_memory_lookup(memory, BASE - 1, 2));
    g_assert_null(hostmem_guest_memory_lookup(memory, BASE, 4 * PAGE + 1));
    g_assert_null(hostmem_guest_memory_lookup(memory, BASE + 4 * PAGE, 1));
    g_assert_null(hostmem_guest_memory_lookup(memory, BASE, 0));
    g_assert_null(hostmem_guest_memory_lookup(memory, BASE, G_MAXUINT64));
    g_assert_null(hostmem_guest_memory_lookup(memory, G_MAXUINT64, 2));
}

static void test_lookup_among_many(void)
{
    g_autoptr(HostmemGuestMemory) memory = hostmem_guest_memory_new();
    g_autoptr(HostmemBackend) ram = make_ram();
    guint8 *host = hostmem_backend_get_host_addr(ram);

    /* in no order: page i of the backend at 2 * i */
    for (guint i = 0; i < PAGES; i++) {
        guint page = (i * 7) % PAGES;

        add(memory, 2 * page * PAGE, ram, page * PAGE, PAGE, NULL);
    }
    for (guint i = 0; i < PAGES; i++) {
        g_assert_true(hostmem_guest_memory_lookup(memory, 2 * i * PAGE, PAGE) ==
                      host + i * PAGE);
        g_assert_null(
            hostmem_guest_memory_lookup(memory, (2 * i + 1) * PAGE, 1));
    }
}

static void test_read_across_regions(void)
{
    g_autoptr(HostmemGuestMemory) memory = hostmem_guest_memory_new();
    g_autoptr(HostmemBackend) ram = make_ram();
    guint8 *host = hostmem_backend_get_host_addr(ram);
    char text[8] = "";

    add(memory, BASE, ram, PAGE, PAGE, NULL);
    add(memory, BASE + PAGE, ram, 0, PAGE, NULL);
    g_assert_true(
        hostmem_guest_memory_write(memory, BASE + PAGE - 3, "abcdef", 7));
    g_assert_cmpmem(host + 2 * PAGE - 3, 3, "abc", 3);
    g_assert_cmpstr((const char *)host, ==, "def");
    g_assert_true(hostmem_guest_memory_read(memory, BASE + PAGE - 3, text, 7));
    g_assert_cmpstr(text, ==, "abcdef");
    g_assert_null(hostmem_guest_memory_lookup(memory, BASE + PAGE - 3, 7));
}

static void test_refused_write_changes_nothing(void)
{
    g_autoptr(HostmemGuestMemory) memory = hostmem_guest_memory_new();
    g_autoptr(HostmemBackend) ram = make_ram();
    guint8 *host = hostmem_backend_get_host_addr(ram);
    char text[8];

    add(memory, BASE, ram, 0, PAGE, NULL);
    g_assert_false(
        hostmem_guest_memory_write(memory, BASE + PAGE - 3, "abcdef", 7));
    g_assert_cmpuint(host[PAGE - 3], ==, 0);
    g_assert_false(hostmem_guest_memory_read(memory, BASE + PAGE - 3, text, 7));
    g_assert_false(hostmem_guest_memory_read(memory, G_MAXUINT64 - 2, text, 7));
    g_assert_true(hostmem_guest_memory_read(memory, 0, text, 0));
}

static void test_numbers_are_little_endian(void)
{
    g_autoptr(HostmemGuestMemory) memory = hostmem_guest_memory_new();
    g_autoptr(HostmemBackend) ram = make_ram();
    guint8 *host = hostmem_backend_get_host_addr(ram);
    guint16 value;

    add(memory, BASE, ram, 0, PAGE, NULL);
    g_assert_true(hm_guest_memory_store16(memory, BASE + 2, 0x1234));
    g_assert_cmpuint(host[2], ==, 0x34);
    g_assert_cmpuint(host[3], ==, 0x12);
    g_assert_true(hm_guest_memory_load16(memory, BASE + 2, &value));
    g_assert_cmpuint(value, ==, 0x1234);
    g_assert_false(hm_guest_memory_load16(memory, BASE + PAGE, &value));
    g_assert_false(hm_guest_memory_store16(memory, BASE - 2, 0));
}

/* Adding and removing */

static void test_invalid_regions(void)
{
    g_autoptr(HostmemGuestMemory) memory = hostmem_guest_memory_new();
    g_autoptr(HostmemBackend) ram = make_ram();
    const gint invalid = HOSTMEM_ERROR_INVALID;

    add_fails(memory, BASE + 1, ram, 0, PAGE, invalid, "0x100000001");
    add_fails(memory, BASE, ram, 1, PAGE, invalid, "offset 0x1 ");
    add_fails(memory, BASE, ram, 0, PAGE + 1, invalid, "0x1001 bytes");
    add_fails(memory, BASE, ram, 0, 0, invalid, "memory-backend-ram 'm0'");
    add_fails(memory, BASE, ram, PAGE, PAGES * PAGE, invalid, "0x10000 bytes");
    add_fails(memory, BASE, ram, -PAGE, 2 * PAGE, invalid, "whole pages");
    add_fails(memory, -PAGE, ram, 0, 2 * PAGE, invalid, "whole pages");
}

static void test_region_before_its_backend_is_ready(void)
{
    g_autoptr(HostmemGuestMemory) memory = hostmem_guest_memory_new();
    g_autoptr(HostmemBackend) ram =
        g_object_new(HOSTMEM_TYPE_BACKEND_RAM, "size", (guint64)HM_MIB, NULL);

    add_fails(memory, BASE, ram, 0, PAGE, HOSTMEM_ERROR_INVALID,
              "a ready backend");
}

static void test_overlap(void)
{
    g_autoptr(HostmemGuestMemory) memory = hostmem_guest_memory_new();
    g_autoptr(HostmemBackend) ram = make_ram();
    const gint exists = HOSTMEM_ERROR_EXISTS;

    add(memory, BASE, ram, 0, 4 * PAGE, NULL);
    add_fails(memory, BASE, ram, 0, PAGE, exists,
              "'m0' has 0x4000 bytes at 0x100000000");
    add_fails(memory, BASE + 3 * PAGE, ram, 0, PAGE, exists, "'m0'");
    add_fails(memory, BASE - PAGE, ram, 0, 2 * PAGE, exists, "'m0'");
    add_fails(memory, BASE - PAGE, ram, 0, 6 * PAGE, exists, "'m0'");
    add(memory, BASE - PAGE, ram, 0, PAGE, NULL);
    add(memory, BASE + 4 * PAGE, ram, 0, PAGE, NULL);
}

static void test_remove(void)
{
    g_autoptr(HostmemGuestMemory) memory = hostmem_guest_memory_new();
    g_autoptr(HostmemBackend) ram = make_ram();
    GError *error = NULL;

    add(memory, BASE, ram, 0, 2 * PAGE, NULL);
    g_assert_true(hostmem_object_is_held(HOSTMEM_OBJECT(ram)));
    g_assert_false(hostmem_guest_memory_remove(memory, BASE + PAGE, &error));
    hm_test_assert_error(error, HOSTMEM_ERROR_NOT_FOUND, "0x100001000");
    remove_region(memory, BASE);
    g_assert_false(hostmem_object_is_held(HOSTMEM_OBJECT(ram)));
    g_assert_null(hostmem_guest_memory_lookup(memory, BASE, 1));
    add(memory, BASE, ram, 0, PAGE, NULL);
}

static void test_last_unref_releases(void)
{
    HostmemGuestMemory *memory = hostmem_guest_memory_new();
    g_autoptr(HostmemBackend) ram = make_ram();

    add(memory, BASE, ram, 0, 2 * PAGE, NULL);
    g_object_unref(memory);
    g_assert_false(hostmem_object_is_held(HOSTMEM_OBJECT(ram)));
}

static void test_read_only(void)
{
    g_autofree char *path = g_build_filename(hm_test_folder(), "rom", NULL);
    g_autofree char *options =
        g_strdup_printf("memory-backend-file,id=m0,size=4K,mem-path=%s,"
                        "share=on,readonly=on",
                        path);
    g_autoptr(HostmemGuestMemory) memory = hostmem_guest_memory_new();
    g_autoptr(HostmemBackend) rom = NULL;
    g_autofree char *content = g_strnfill(PAGE, 'x');
    char byte;

    g_assert_true(g_file_set_contents(path, content, PAGE, NULL));
    rom = hm_test_make(options);
    add(memory, BASE, rom, 0, PAGE, NULL);
    g_assert_true(hostmem_guest_memory_read(memory, BASE, &byte, 1));
    g_assert_cmpint(byte, ==, 'x');
    g_assert_false(hostmem_guest_memory_write(memory, BASE, "y", 1));
    g_assert_false(hm_guest_memory_store16(memory, BASE, 1));
    g_assert_true(hm_guest_memory_is_ram(memory, BASE, 1, FALSE));
    g_assert_false(hm_guest_memory_is_ram(memory, BASE, 1, TRUE));
}

/* Sparse regions */

static void test_sparse(void)
{
    g_autoptr(HostmemGuestMemory) memory = hostmem_guest_memory_new();
    g_autoptr(HostmemBackend) ram = make_ram();
    g_autoptr(HmTestSource) source = hm_test_source_new(PAGES);
    char byte;

    /* blocks 1 to 8 are what is seen */
    add(memory, BASE, ram, PAGE, 8 * PAGE, source);
    g_assert_null(hostmem_guest_memory_lookup(memory, BASE, 1));
    g_assert_false(hostmem_guest_memory_read(memory, BASE, &byte, 1));
    g_assert_false(hostmem_guest_memory_write(memory, BASE, "x", 1));

    g_assert_true(hm_test_source_plug(source, 1, 2, NULL));
    g_assert_nonnull(hostmem_guest_memory_lookup(memory, BASE, 2 * PAGE));
    g_assert_true(hostmem_guest_memory_write(memory, BASE, "x", 1));
    g_assert_true(hostmem_guest_memory_read(memory, BASE, &byte, 1));
    g_assert_cmpint(byte, ==, 'x');
    g_assert_null(hostmem_guest_memory_lookup(memory, BASE, 2 * PAGE + 1));
    g_assert_false(
        hostmem_guest_memory_write(memory, BASE + 2 * PAGE - 1, "xy", 2));

    g_assert_true(hm_test_source_unplug(source, 1, 1, NULL));
    g_assert_false(hostmem_guest_memory_read(memory, BASE, &byte, 1));
    g_assert_true(hostmem_guest_memory_read(memory, BASE + PAGE, &byte, 1));
}

/* A file of @path as guest memory. */
static HostmemBackend *make_file(const char *path)
{
    g_autofree char *options = g_strdup_printf(
        "memory-backend-file,id=m0,size=64K,mem-path=%s,share=on", path);

    return hm_test_make(options);
}

static void assert_bears_truncation(HostmemGuestMemory *memory,
                                    const char *path)
{
    guint16 value;
    char byte;

    g_assert_true(hostmem_guest_memory_read(memory, BASE + PAGE, &byte, 1));
    g_assert_cmpint(truncate(path, PAGE), ==, 0);
    g_assert_false(hostmem_guest_memory_read(memory, BASE + PAGE, &byte, 1));
    g_assert_false(hostmem_guest_memory_write(memory, BASE + PAGE, "x", 1));
#ifndef __SANITIZE_THREAD__ /* whose atomics keep locks when a fault ends them \
                             */
    g_assert_false(hm_guest_memory_load16(memory, BASE + PAGE, &value));
    g_assert_false(hm_guest_memory_store16(memory, BASE + PAGE, 1));
#endif
    g_assert_true(hostmem_guest_memory_read(memory, BASE, &byte, 1));
    g_assert_true(hm_guest_memory_load16(memory, BASE, &value));
}

/* As if another thread took the memory after it was said to be populated. */
static void test_sparse_memory_that_goes(void)
{
    g_autofree char *path = g_build_filename(hm_test_folder(), "file", NULL);
    g_autoptr(HostmemGuestMemory) memory = hostmem_guest_memory_new();
    g_autoptr(HostmemBackend) ram = make_file(path);
    g_autoptr(HmTestSource) source = hm_test_source_new(PAGES);

    add(memory, BASE, ram, 0, PAGES * PAGE, source);
    g_assert_true(hm_test_source_plug(source, 0, PAGES, NULL));
    assert_bears_truncation(memory, path);
}

static void test_file_that_others_truncate(void)
{
    g_autofree char *path = g_build_filename(hm_test_folder(), "file", NULL);
    g_autoptr(HostmemGuestMemory) memory = hostmem_guest_memory_new();
    g_autoptr(HostmemBackend) ram = make_file(path);

    add(memory, BASE, ram, 0, PAGES * PAGE, NULL);
    assert_bears_truncation(memory, path);
}

/* Bytes of a huge page that the host could have, and has none of; 0: none. */
static guint64 find_empty_pool(void)
{
    static const guint64 sizes[] = {2 * HM_MIB, HM_GIB};
    HmHugePool pool;

    for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++) {
        if (hm_huge_pool_read(sizes[i], &pool, NULL) && !pool.free &&
            !pool.overcommit) {
            return sizes[i];
        }
    }
    return 0;
}

static void test_huge_pages_that_are_gone(void)
{
    g_autoptr(HostmemGuestMemory) memory = hostmem_guest_memory_new();
    g_autoptr(HostmemBackend) ram = NULL;
    g_autofree char *options = NULL;
    guint64 size = find_empty_pool();
    char byte;

    if (!hm_hostcaps_get()->memfd_hugetlb || !size) {
        g_test_skip("no pool of huge pages that is empty");
        return;
    }
    options = g_strdup_printf(
        "memory-backend-memfd,id=m0,size=%" G_GUINT64_FORMAT ",hugetlb=on,"
        "hugetlbsize=%" G_GUINT64_FORMAT ",reserve=off",
        size, size);
    ram = hm_test_make(options);
    add(memory, BASE, ram, 0, size, NULL);
    g_assert_false(hostmem_guest_memory_read(memory, BASE, &byte, 1));
    g_assert_false(hostmem_guest_memory_write(memory, BASE, "x", 1));
}

/* A listener's: its own region is gone, and it takes away the next one. */
static void remove_the_next(HostmemDiscardSource *source G_GNUC_UNUSED,
                            guint64 offset G_GNUC_UNUSED,
                            guint64 length G_GNUC_UNUSED, gpointer memory)
{
    remove_region(memory, BASE + PAGE);
}

static void test_remove_in_a_callback_of_a_source_that_goes(void)
{
    static const HostmemDiscardListener listener = {NULL, remove_the_next};
    g_autoptr(HostmemGuestMemory) memory = hostmem_guest_memory_new();
    g_autoptr(HostmemBackend) ram = make_ram();
    HmTestSource *source = hm_test_source_new(PAGES);

    add(memory, BASE, ram, 0, PAGE, source);
    add(memory, BASE + PAGE, ram, PAGE, PAGE, NULL);
    g_assert_cmpuint(hostmem_discard_source_add_listener(
                         HOSTMEM_DISCARD_SOURCE(source), 0, PAGE, &listener,
                         memory, NULL, NULL),
                     !=, 0);
    g_object_unref(source);
    remove_region(memory, BASE);
    g_assert_false(hostmem_object_is_held(HOSTMEM_OBJECT(ram)));
}

/* Threads */

/* A source whose answer takes as long as the test wants. */
G_DECLARE_FINAL_TYPE(SlowSource, slow_source, SLOW, SOURCE, GObject)

struct _SlowSource {
    GObject parent_instance;
    GMutex gate;
    gint asked; /* atomic */
};

static void slow_source_iface_init(HostmemDiscardSourceInterface *iface);

G_DEFINE_FINAL_TYPE_WITH_CODE(SlowSource, slow_source, G_TYPE_OBJECT,
                              G_IMPLEMENT_INTERFACE(HOSTMEM_TYPE_DISCARD_SOURCE,
                                                    slow_source_iface_init))

static guint64 slow_get_granularity(HostmemDiscardSource *source G_GNUC_UNUSED)
{
    return PAGE;
}

static guint64 slow_get_size(HostmemDiscardSource *source G_GNUC_UNUSED)
{
    return PAGES * PAGE;
}

static guint64 slow_get_run(HostmemDiscardSource *source, guint64 offset,
                            guint64 end, gboolean *populated)
{
    SlowSource *self = SLOW_SOURCE(source);

    g_atomic_int_inc(&self->asked);
    g_mutex_lock(&self->gate);
    g_mutex_unlock(&self->gate);
    *populated = TRUE;
    return end - offset;
}

static void slow_source_iface_init(HostmemDiscardSourceInterface *iface)
{
    iface->get_granularity = slow_get_granularity;
    iface->get_size = slow_get_size;
    iface->get_run = slow_get_run;
}

static void slow_source_init(SlowSource *self)
{
    g_mutex_init(&self->gate);
}

static void slow_source_finalize(GObject *object)
{
    g_mutex_clear(&SLOW_SOURCE(object)->gate);
    G_OBJECT_CLASS(slow_source_parent_class)->finalize(object);
}

static void slow_source_class_init(SlowSourceClass *klass)
{
    G_OBJECT_CLASS(klass)->finalize = slow_source_finalize;
}

static gpointer read_once(gpointer data)
{
    char byte;

    g_assert_true(hostmem_guest_memory_read(data, BASE, &byte, 1));
    return NULL;
}

static gpointer remove_once(gpointer data)
{
    remove_region(data, BASE);
    return NULL;
}

/* Who removes waits for the reader; other readers wait for neither. */
static void test_remove_waits_for_readers(void)
{
    g_autoptr(HostmemGuestMemory) memory = hostmem_guest_memory_new();
    g_autoptr(HostmemBackend) boot = make_ram();
    g_autoptr(HostmemBackend) ram = make_ram();
    g_autoptr(SlowSource) source = g_object_new(slow_source_get_type(), NULL);
    GThread *reader, *remover;
    char byte;

    add(memory, 0, boot, 0, PAGE, NULL);
    add(memory, BASE, ram, 0, PAGE, source);
    g_mutex_lock(&source->gate);
    reader = g_thread_new("reader", read_once, memory);
    while (!g_atomic_int_get(&source->asked)) {
        g_usleep(10);
    }
    remover = g_thread_new("remover", remove_once, memory);
    g_usleep(20 * 1000);
    g_assert_true(hostmem_object_is_held(HOSTMEM_OBJECT(ram)));
    g_assert_true(hostmem_guest_memory_read(memory, 0, &byte, 1));
    g_mutex_unlock(&source->gate);
    g_thread_join(remover);
    g_assert_false(hostmem_object_is_held(HOSTMEM_OBJECT(ram)));
    g_thread_join(reader);
}

typedef struct {
    HostmemGuestMemory *memory;
    gint stop; /* atomic */
    gint hits; /* atomic */
} Reading;

static gpointer read_on(gpointer data)
{
    Reading *reading = data;
    char bytes[64];

    while (!g_atomic_int_get(&reading->stop)) {
        if (hostmem_guest_memory_read(reading->memory, BASE, bytes,
                                      sizeof(bytes))) {
            g_atomic_int_inc(&reading->hits);
        }
        g_usleep(1); /* a mutex is not fair */
    }
    return NULL;
}

static void await_hits(Reading *reading, gint n)
{
    const gint first = g_atomic_int_get(&reading->hits);

    while (g_atomic_int_get(&reading->hits) - first < n) {
        g_usleep(1);
    }
}

static void test_readers_and_changes(void)
{
    g_autoptr(HostmemGuestMemory) memory = hostmem_guest_memory_new();
    g_autoptr(HostmemBackend) boot = make_ram();
    Reading reading = {memory, FALSE, 0};
    GThread *readers[3];

    add(memory, 0, boot, 0, PAGE, NULL);
    for (guint i = 0; i < G_N_ELEMENTS(readers); i++) {
        readers[i] = g_thread_new("reader", read_on, &reading);
    }
    for (guint i = 0; i < 200; i++) {
        HostmemBackend *ram = make_ram();

        add(memory, BASE, ram, 0, PAGE, NULL);
        await_hits(&reading, 3);
        remove_region(memory, BASE);
        g_assert_false(hostmem_object_is_held(HOSTMEM_OBJECT(ram)));
        g_object_unref(ram); /* unmaps: a late reader would die of it */
    }
    g_atomic_int_set(&reading.stop, TRUE);
    for (guint i = 0; i < G_N_ELEMENTS(readers); i++) {
        g_thread_join(readers[i]);
    }
}

/* Of memory that may change its size. */
static void test_a_region_keeps_what_it_needs(void)
{
    g_autoptr(HostmemGuestMemory) memory = hostmem_guest_memory_new();
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0,size=64K,max-size=1M");
    GError *error = NULL;

    add(memory, BASE, ram, PAGE, PAGE, NULL);
    hm_test_assert_set(ram, "size", "1M");
    hm_test_assert_set(ram, "size", "8K");
    g_assert_false(
        hostmem_object_set(HOSTMEM_OBJECT(ram), "size", "4K", NULL, &error));
    hm_test_assert_error(error, HOSTMEM_ERROR_BUSY, "8 KiB of it are in use");
    remove_region(memory, BASE);
    hm_test_assert_set(ram, "size", "4K");
}

static const HmTest tests[] = {
    {"/guest-memory/lookup", test_lookup},
    {"/guest-memory/lookup-among-many", test_lookup_among_many},
    {"/guest-memory/read-across-regions", test_read_across_regions},
    {"/guest-memory/refused-write-changes-nothing",
     test_refused_write_changes_nothing},
    {"/guest-memory/numbers-are-little-endian", test_numbers_are_little_endian},
    {"/guest-memory/invalid-regions", test_invalid_regions},
    {"/guest-memory/not-ready", test_region_before_its_backend_is_ready},
    {"/guest-memory/overlap", test_overlap},
    {"/guest-memory/remove", test_remove},
    {"/guest-memory/last-unref-releases", test_last_unref_releases},
    {"/guest-memory/read-only", test_read_only},
    {"/guest-memory/sparse", test_sparse},
    {"/guest-memory/sparse-memory-that-goes", test_sparse_memory_that_goes},
    {"/guest-memory/file-that-others-truncate", test_file_that_others_truncate},
    {"/guest-memory/huge-pages-that-are-gone", test_huge_pages_that_are_gone},
    {"/guest-memory/remove-in-a-callback",
     test_remove_in_a_callback_of_a_source_that_goes},
    {"/guest-memory/remove-waits-for-readers", test_remove_waits_for_readers},
    {"/guest-memory/readers-and-changes", test_readers_and_changes},
    {"/guest-memory/a-region-keeps-what-it-needs",
     test_a_region_keeps_what_it_needs},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
