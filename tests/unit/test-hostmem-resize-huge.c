/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <hostmem/backend.h>
#include <hostmem/registry.h>
#include "smaps-test.h"
#include "util/size.h"

/*
 * Huge pages of a pool that grow where there is no room, on the real kernel;
 * with PAGES of them free, and nobody else who takes some.
 */

#define PAGES 8
#define PAGE  (2 * HM_MIB)

#define MEMFD                                                                \
    "memory-backend-memfd,id=m0,size=4M,hugetlb=on,hugetlbsize=2M,seal=off," \
    "dump=off"

static HostmemRegistry *registry;

static HostmemBackend *make(const char *options)
{
    g_autoptr(GError) error = NULL;
    HostmemObject *object =
        hostmem_registry_add(registry, options, NULL, &error);

    g_assert_no_error(error);
    return HOSTMEM_BACKEND(object);
}

static guint64 count_pages(const char *name)
{
    g_autofree char *path =
        g_strconcat("/sys/kernel/mm/hugepages/hugepages-2048kB/", name, NULL);
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return g_ascii_strtoull(text, NULL, 10);
}

/* All are the pool's again, and promised to nobody. */
static void drop(void)
{
    g_autoptr(GError) error = NULL;

    hostmem_registry_remove(registry, "m0", &error);
    g_assert_no_error(error);
    g_assert_cmpuint(count_pages("free_hugepages"), ==, PAGES);
    g_assert_cmpuint(count_pages("resv_hugepages"), ==, 0);
}

static guint8 *memory_of(HostmemBackend *backend)
{
    return hostmem_backend_get_host_addr(backend);
}

static void write_page(HostmemBackend *backend, guint64 n)
{
    memset(memory_of(backend) + n * PAGE, (int)n + 1, PAGE);
}

/* So many pages were written; nothing else is there. */
static void assert_pages(HostmemBackend *backend, guint64 n)
{
    HmTestSmaps sums;

    for (guint64 at = 0; at < n * PAGE; at += 4096) {
        g_assert_cmpuint(memory_of(backend)[at], ==, at / PAGE + 1);
    }
    g_assert_cmpuint(hostmem_backend_get_populated_size(backend), ==, n * PAGE);
    hm_test_read_smaps(memory_of(backend), hostmem_backend_get_size(backend),
                       &sums);
    g_assert_cmpuint(sums.size, ==, hostmem_backend_get_size(backend));
    g_assert_cmpuint(sums.not_dumped, ==, sums.mappings);
}

static void move(HostmemBackend *backend, guint64 pages)
{
    guint8 *addr = memory_of(backend);
    g_autoptr(GError) error = NULL;

    hostmem_backend_resize(backend, pages * PAGE, HOSTMEM_RESIZE_MAY_MOVE, NULL,
                           &error);
    g_assert_no_error(error);
    g_assert_true(memory_of(backend) != addr);
    g_assert_cmpuint(hostmem_backend_get_size(backend), ==, pages * PAGE);
}

static void test_pages_go_along(gconstpointer options)
{
    HostmemBackend *backend = make(options);

    write_page(backend, 0);
    move(backend, 3);
    assert_pages(backend, 1);
    write_page(backend, 1);
    write_page(backend, 2);
    move(backend, 4);
    assert_pages(backend, 3);
    move(backend, PAGES);
    assert_pages(backend, 3);
    g_assert_cmpuint(count_pages("free_hugepages"), ==, PAGES - 3);
    for (guint64 i = 3; i < PAGES; i++) {
        write_page(backend, i); /* was promised */
    }
    assert_pages(backend, PAGES);
    drop();
}

static void test_new_part_is_populated(gconstpointer options)
{
    g_autofree char *all = g_strconcat(options, ",prealloc=on", NULL);
    HostmemBackend *backend = make(all);

    write_page(backend, 0);
    move(backend, 4);
    g_assert_cmpuint(memory_of(backend)[PAGE - 1], ==, 1);
    g_assert_cmpuint(memory_of(backend)[PAGE], ==, 0);
    g_assert_cmpuint(hostmem_backend_get_populated_size(backend), ==, 4 * PAGE);
    drop();
}

static void test_too_few_pages(gconstpointer options)
{
    HostmemBackend *backend = make(options);
    guint8 *addr = memory_of(backend);
    g_autoptr(GError) error = NULL;

    write_page(backend, 0);
    hostmem_backend_resize(backend, (PAGES + 1) * PAGE, HOSTMEM_RESIZE_MAY_MOVE,
                           NULL, &error);
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_HUGE_PAGES);
    g_assert_true(memory_of(backend) == addr);
    g_assert_cmpuint(hostmem_backend_get_size(backend), ==, 2 * PAGE);
    assert_pages(backend, 1);
    move(backend, PAGES);
    assert_pages(backend, 1);
    drop();
}

static void add(const char *name, GTestDataFunc func)
{
    static const char *const shares[] = {"on", "off"};

    for (gsize i = 0; i < G_N_ELEMENTS(shares); i++) {
        g_autofree char *path = g_strdup_printf(
            "/hostmem-resize-huge/%s/share=%s", name, shares[i]);

        g_test_add_data_func_full(
            path, g_strconcat(MEMFD ",share=", shares[i], NULL), func, g_free);
    }
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    add("pages-go-along", test_pages_go_along);
    add("new-part-is-populated", test_new_part_is_populated);
    add("too-few-pages", test_too_few_pages);
    registry = hostmem_registry_new();
    ret = g_test_run();
    g_object_unref(registry);
    return ret;
}
