/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "os-fake.h"
#include "util/backing.h"
#include "util/mmap.h"
#include "util/size.h"

/* Where there is storage behind memory, and where none. */

static gsize page(void)
{
    return hm_os_page_size();
}

static gboolean init_memfd(HmBacking *backing, guint64 size)
{
    return hm_backing_init_memfd(backing, "test", size, 0, FALSE, TRUE, NULL);
}

static char *holes(const HmBacking *backing, const void *addr, guint64 offset,
                   guint64 length)
{
    HmRange range = {offset, length};
    g_autoptr(GArray) list = hm_backing_holes(backing, addr, &range);
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < list->len; i++) {
        const HmRange *hole = hm_range_list_get(list, i);

        g_string_append_printf(text, "%s%d+%d", i ? " " : "",
                               (int)(hole->offset / page()),
                               (int)(hole->length / page()));
    }
    return g_string_free(text, FALSE);
}

/* In pages: "first+count first+count". */
static void assert_holes(const HmBacking *backing, const void *addr,
                         guint64 first, guint64 n, const char *expect)
{
    g_autofree char *text = holes(backing, addr, first * page(), n * page());

    g_assert_cmpstr(text, ==, expect);
}

static HmMapping map(const HmBacking *backing)
{
    HmMapping mapping = {0};

    g_assert_true(
        hm_mapping_init(&mapping, backing, &(HmMappingOptions){0}, NULL));
    return mapping;
}

static void test_holes_of_anonymous_memory(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_auto(HmMapping) mapping = {0};

    hm_fake_reset();
    g_assert_true(hm_backing_init_anon(&backing, 8 * page(), NULL));
    mapping = map(&backing);
    assert_holes(&backing, mapping.addr, 0, 8, "0+8");
    mapping.addr[2 * page()] = 1;
    mapping.addr[7 * page()] = 1;
    assert_holes(&backing, mapping.addr, 0, 8, "0+2 3+4");
    assert_holes(&backing, mapping.addr, 2, 3, "3+2");
    assert_holes(&backing, mapping.addr, 7, 1, "");
}

static void test_holes_of_shared_memory(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;

    hm_fake_reset();
    g_assert_true(init_memfd(&backing, 8 * page()));
    assert_holes(&backing, NULL, 0, 8, "0+8");
    g_assert_cmpint(pwrite(backing.fd, "x", 1, (off_t)(2 * page())), ==, 1);
    g_assert_cmpint(pwrite(backing.fd, "x", 1, (off_t)(7 * page())), ==, 1);
    assert_holes(&backing, NULL, 0, 8, "0+2 3+4");
    assert_holes(&backing, NULL, 2, 3, "3+2");
    assert_holes(&backing, NULL, 3, 2, "3+2");
    assert_holes(&backing, NULL, 7, 1, "");
}

static void test_holes_count_from_the_backing(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;

    hm_fake_reset();
    g_assert_true(init_memfd(&backing, 8 * page()));
    g_assert_cmpint(pwrite(backing.fd, "x", 1, (off_t)(5 * page())), ==, 1);
    backing.offset = 4 * page();
    backing.length = 4 * page();
    assert_holes(&backing, NULL, 0, 4, "0+1 2+2");
}

static gint64 seek_backwards(const HmFakeRecord *record,
                             gpointer data G_GNUC_UNUSED)
{
    return (gint64)(record->arg == SEEK_DATA ? page() : 2 * page());
}

/* As a filesystem in user space might answer. */
static void test_holes_end_where_a_seek_goes_backwards(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;

    hm_fake_reset();
    g_assert_true(init_memfd(&backing, 8 * page()));
    hm_fake_hook(HM_FAKE_SEEK, seek_backwards, NULL);
    assert_holes(&backing, NULL, 4, 4, "");
    assert_holes(&backing, NULL, 0, 4, "0+1");
    hm_fake_hook(HM_FAKE_SEEK, NULL, NULL);
}

static void test_holes_of_a_private_mapping_are_its_own(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_auto(HmMapping) mapping = {0};

    hm_fake_reset();
    g_assert_true(init_memfd(&backing, 4 * page()));
    backing.shared = FALSE;
    mapping = map(&backing);
    mapping.addr[page()] = 1;
    assert_holes(&backing, mapping.addr, 0, 4, "0+1 2+2");
}

static void test_holes_of_huge_pages_are_all_or_none(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;

    hm_fake_reset();
    g_assert_true(init_memfd(&backing, 4 * page()));
    backing.kind = HM_MEM_HUGETLB;
    assert_holes(&backing, NULL, 1, 3, "1+3");
    g_assert_cmpint(pwrite(backing.fd, "x", 1, 0), ==, 1);
    assert_holes(&backing, NULL, 1, 3, "");
}

static void test_holes_nobody_can_tell(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;

    hm_fake_reset();
    g_assert_true(init_memfd(&backing, 4 * page()));
    hm_fake_fail(HM_FAKE_SEEK, 1, EINVAL);
    assert_holes(&backing, NULL, 0, 4, "");
    backing.kind = HM_MEM_DAX;
    assert_holes(&backing, NULL, 0, 4, "");
    backing.shared = FALSE;
    hm_fake_fail(HM_FAKE_POPULATED_RANGES, 1, EACCES);
    assert_holes(&backing, NULL, 0, 4, "");
}

static gint64 stand_still(const HmFakeRecord *record, gpointer data)
{
    (void)data;
    return record->arg == SEEK_HOLE ? (gint64)record->offset : 0;
}

static void test_holes_of_a_seek_that_stands_still(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;

    hm_fake_reset();
    g_assert_true(init_memfd(&backing, 4 * page()));
    g_assert_cmpint(pwrite(backing.fd, "x", 1, (off_t)page()), ==, 1);
    hm_fake_hook(HM_FAKE_SEEK, stand_still, NULL);
    assert_holes(&backing, NULL, 0, 4, "0+1");
}

static void test_backed_size_of_shared_memory(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;

    hm_fake_reset();
    g_assert_true(init_memfd(&backing, 8 * page()));
    g_assert_cmpuint(hm_backing_backed_size(&backing, NULL), ==, 0);
    g_assert_cmpint(hm_os_allocate(backing.fd, 0, 3 * page()), ==, 0);
    g_assert_cmpuint(hm_backing_backed_size(&backing, NULL), ==, 3 * page());
}

static void test_backed_size_is_at_most_the_length(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;

    hm_fake_reset();
    g_assert_true(init_memfd(&backing, 8 * page()));
    g_assert_cmpint(hm_os_allocate(backing.fd, 0, 8 * page()), ==, 0);
    backing.length = 2 * page();
    g_assert_cmpuint(hm_backing_backed_size(&backing, NULL), ==, 2 * page());
}

static void test_backed_size_of_anonymous_memory(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_auto(HmMapping) mapping = {0};

    hm_fake_reset();
    g_assert_true(hm_backing_init_anon(&backing, 8 * page(), NULL));
    g_assert_cmpuint(hm_backing_backed_size(&backing, NULL), ==, 0);
    mapping = map(&backing);
    memset(mapping.addr, 1, 3 * page());
    g_assert_cmpuint(hm_backing_backed_size(&backing, mapping.addr), ==,
                     3 * page());
    hm_fake_fail(HM_FAKE_POPULATED, 1, EACCES);
    g_assert_cmpuint(hm_backing_backed_size(&backing, mapping.addr), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/backing-holes/of-anonymous-memory",
                    test_holes_of_anonymous_memory);
    g_test_add_func("/backing-holes/of-shared-memory",
                    test_holes_of_shared_memory);
    g_test_add_func("/backing-holes/count-from-the-backing",
                    test_holes_count_from_the_backing);
    g_test_add_func("/backing-holes/end-where-a-seek-goes-backwards",
                    test_holes_end_where_a_seek_goes_backwards);
    g_test_add_func("/backing-holes/of-a-private-mapping-are-its-own",
                    test_holes_of_a_private_mapping_are_its_own);
    g_test_add_func("/backing-holes/of-huge-pages-are-all-or-none",
                    test_holes_of_huge_pages_are_all_or_none);
    g_test_add_func("/backing-holes/nobody-can-tell",
                    test_holes_nobody_can_tell);
    g_test_add_func("/backing-holes/of-a-seek-that-stands-still",
                    test_holes_of_a_seek_that_stands_still);
    g_test_add_func("/backing-holes/backed-size-of-shared-memory",
                    test_backed_size_of_shared_memory);
    g_test_add_func("/backing-holes/backed-size-is-at-most-the-length",
                    test_backed_size_is_at_most_the_length);
    g_test_add_func("/backing-holes/backed-size-of-anonymous-memory",
                    test_backed_size_of_anonymous_memory);
    return g_test_run();
}
