/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/memfd.h>
#include <string.h>
#include <unistd.h>
#include "os-fake.h"
#include "util/error.h"
#include "util/hostcaps.h"
#include "util/mmap.h"
#include "util/size.h"

#define HUGE_PAGE (2 * HM_MIB)

/* A fresh fake whose sequence does not begin with the probing of the host. */
static void fresh(void)
{
    hm_hostcaps_get();
    hm_fake_reset();
}

static HmBacking anon(guint64 size)
{
    HmBacking backing = HM_BACKING_INIT;

    g_assert_true(hm_backing_init_anon(&backing, size, NULL));
    return backing;
}

static HmBacking memfd(guint64 size, gboolean shared)
{
    HmBacking backing = HM_BACKING_INIT;

    g_assert_true(
        hm_backing_init_memfd(&backing, "test", size, 0, FALSE, shared, NULL));
    return backing;
}

static HmMapping map(const HmBacking *backing, const HmMappingOptions *options)
{
    g_autoptr(GError) error = NULL;
    HmMapping mapping = {0};

    hm_mapping_init(&mapping, backing, options, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(mapping.length, ==, backing->length);
    return mapping;
}

/* Maps in vain; nothing may stay behind. */
static GError *map_error(const HmBacking *backing,
                         const HmMappingOptions *options)
{
    GError *error = NULL;
    HmMapping mapping = {0};

    g_assert_false(hm_mapping_init(&mapping, backing, options, &error));
    g_assert_nonnull(error);
    g_assert_null(mapping.addr);
    g_assert_null(mapping.reserved);
    return error;
}

/* (transfer full) (nullable): "rw-p" as in /proc/self/maps; NULL: unmapped. */
static char *access_of(const void *addr)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    g_assert_cmpint(hm_os_read_text("/proc/self/maps", &text), ==, 0);
    lines = g_strsplit(text, "\n", -1);
    for (guint i = 0; lines[i] && *lines[i]; i++) {
        char *at;
        guint64 start = g_ascii_strtoull(lines[i], &at, 16);
        guint64 end = g_ascii_strtoull(at + 1, &at, 16);

        if ((guintptr)addr >= start && (guintptr)addr < end) {
            return g_strndup(at + 1, 4);
        }
    }
    return NULL;
}

static void assert_access(const void *addr, const char *expect)
{
    g_autofree char *access = access_of(addr);

    g_assert_cmpstr(access, ==, expect);
}

static void assert_text(const GError *error, const char *part)
{
    if (!strstr(error->message, part)) {
        g_test_message("no '%s' in '%s'", part, error->message);
        g_test_fail();
    }
}

/* what is mapped */

static void test_anonymous_memory_is_zero_and_writable(void)
{
    g_auto(HmBacking) backing = anon(64 * HM_KIB);
    g_auto(HmMapping) mapping = {0};

    fresh();
    mapping = map(&backing, &(HmMappingOptions){0});
    g_assert_cmpuint(mapping.addr[0], ==, 0);
    mapping.addr[64 * HM_KIB - 1] = 1;
}

static void test_a_guard_page_follows(void)
{
    g_auto(HmBacking) backing = anon(64 * HM_KIB);
    g_auto(HmMapping) mapping = {0};

    fresh();
    mapping = map(&backing, &(HmMappingOptions){0});
    assert_access(mapping.addr + mapping.length - 1, "rw-p");
    assert_access(mapping.addr + mapping.length, "---p");
    g_assert_cmpuint(mapping.reserved_length, ==,
                     mapping.length + hm_os_page_size());
}

static void test_large_memory_is_aligned_to_huge_pages(void)
{
    g_auto(HmBacking) backing = anon(8 * HM_MIB);
    g_auto(HmMapping) mapping = {0};

    fresh();
    if (hm_hostcaps_get()->thp_size != HUGE_PAGE) {
        g_test_skip("no transparent huge pages of 2 MiB");
        return;
    }
    mapping = map(&backing, &(HmMappingOptions){0});
    g_assert_cmpuint((guintptr)mapping.addr % HUGE_PAGE, ==, 0);
}

static void test_alignment_that_was_asked_for(void)
{
    g_auto(HmBacking) backing = memfd(64 * HM_KIB, TRUE);
    g_auto(HmMapping) mapping = {0};

    fresh();
    mapping = map(&backing, &(HmMappingOptions){.align = 64 * HM_MIB});
    g_assert_cmpuint((guintptr)mapping.addr % (64 * HM_MIB), ==, 0);
}

static void test_address_and_offset_agree(void)
{
    g_auto(HmBacking) backing = memfd(16 * HM_MIB, TRUE);
    g_auto(HmMapping) mapping = {0};

    fresh();
    if (hm_hostcaps_get()->thp_size != HUGE_PAGE) {
        g_test_skip("no transparent huge pages of 2 MiB");
        return;
    }
    backing.offset = HUGE_PAGE + hm_os_page_size();
    backing.length = 8 * HM_MIB;
    mapping = map(&backing, &(HmMappingOptions){0});
    g_assert_cmpuint((guintptr)mapping.addr % HUGE_PAGE, ==, hm_os_page_size());
}

static void test_alignment_asked_for_beats_agreement(void)
{
    g_auto(HmBacking) backing = memfd(16 * HM_MIB, TRUE);
    g_auto(HmMapping) mapping = {0};

    fresh();
    backing.offset = hm_os_page_size();
    backing.length = 8 * HM_MIB;
    mapping = map(&backing, &(HmMappingOptions){.align = 4 * HM_MIB});
    g_assert_cmpuint((guintptr)mapping.addr % (4 * HM_MIB), ==, 0);
}

static void test_shared_writes_reach_the_file(void)
{
    g_auto(HmBacking) backing = memfd(64 * HM_KIB, TRUE);
    g_auto(HmMapping) mapping = {0};
    char byte = 0;

    fresh();
    mapping = map(&backing, &(HmMappingOptions){0});
    mapping.addr[5] = 'x';
    g_assert_cmpint(pread(backing.fd, &byte, 1, 5), ==, 1);
    g_assert_cmpint(byte, ==, 'x');
}

static void test_private_writes_do_not(void)
{
    g_auto(HmBacking) backing = memfd(64 * HM_KIB, FALSE);
    g_auto(HmMapping) mapping = {0};
    char byte = 'y';

    fresh();
    mapping = map(&backing, &(HmMappingOptions){0});
    mapping.addr[5] = 'x';
    g_assert_cmpint(pread(backing.fd, &byte, 1, 5), ==, 1);
    g_assert_cmpint(byte, ==, 0);
}

static void test_the_offset_is_where_it_starts(void)
{
    g_auto(HmBacking) backing = memfd(128 * HM_KIB, TRUE);
    g_auto(HmMapping) mapping = {0};

    fresh();
    g_assert_cmpint(pwrite(backing.fd, "x", 1, 64 * HM_KIB), ==, 1);
    backing.offset = 64 * HM_KIB;
    backing.length = 64 * HM_KIB;
    mapping = map(&backing, &(HmMappingOptions){0});
    g_assert_cmpuint(mapping.addr[0], ==, 'x');
}

static void test_readonly_memory_cannot_be_written(void)
{
    g_auto(HmBacking) backing = memfd(64 * HM_KIB, TRUE);
    g_auto(HmMapping) mapping = {0};

    fresh();
    mapping = map(&backing, &(HmMappingOptions){.readonly = TRUE});
    assert_access(mapping.addr, "r--s");
}

static void test_noreserve_is_passed_on(void)
{
    g_auto(HmBacking) backing = anon(64 * HM_KIB);
    g_auto(HmMapping) mapping = {0};
    HmFakeRecord record;

    fresh();
    hm_fake_set_file("/proc/sys/vm/overcommit_memory", "0\n");
    mapping = map(&backing, &(HmMappingOptions){.noreserve = TRUE});
    g_assert_true(hm_fake_get_call(HM_FAKE_MAP, 2, &record));
    g_assert_cmpint(record.flags & MAP_NORESERVE, ==, MAP_NORESERVE);
    g_assert_cmpint(record.flags & MAP_FIXED, ==, MAP_FIXED);
}

static void test_reservation_is_the_default(void)
{
    g_auto(HmBacking) backing = anon(64 * HM_KIB);
    g_auto(HmMapping) mapping = {0};
    HmFakeRecord record;

    fresh();
    mapping = map(&backing, &(HmMappingOptions){0});
    g_assert_true(hm_fake_get_call(HM_FAKE_MAP, 2, &record));
    g_assert_cmpint(record.flags & MAP_NORESERVE, ==, 0);
}

static void test_clear_unmaps_memory_and_guard(void)
{
    g_auto(HmBacking) backing = anon(64 * HM_KIB);
    HmMapping mapping;
    guint8 *addr;
    HmFakeRecord last;
    guint n;

    fresh();
    mapping = map(&backing, &(HmMappingOptions){0});
    addr = mapping.addr;
    hm_mapping_clear(&mapping);
    n = hm_fake_count(HM_FAKE_UNMAP);
    g_assert_true(hm_fake_get_call(HM_FAKE_UNMAP, n, &last));
    g_assert_true(last.addr == addr);
    g_assert_cmpuint(last.length, ==, 64 * HM_KIB + hm_os_page_size());
    g_assert_null(mapping.addr);
    hm_mapping_clear(&mapping);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_UNMAP), ==, n);
}

/* what cannot be mapped */

static void test_failure_leaves_nothing_mapped(void)
{
    g_auto(HmBacking) backing = memfd(64 * HM_KIB, TRUE);
    g_autoptr(GError) error = NULL;
    HmFakeRecord reserved, memory, last;

    fresh();
    hm_fake_fail(HM_FAKE_MAP, 2, ENOMEM);
    error = map_error(&backing, &(HmMappingOptions){0});
    g_assert_true(hm_fake_get_call(HM_FAKE_MAP, 1, &reserved));
    g_assert_true(hm_fake_get_call(HM_FAKE_MAP, 2, &memory));
    g_assert_true(
        hm_fake_get_call(HM_FAKE_UNMAP, hm_fake_count(HM_FAKE_UNMAP), &last));
    g_assert_true(last.addr == memory.addr);
    g_assert_cmpuint(last.length, ==, 64 * HM_KIB + hm_os_page_size());
    assert_access(memory.addr, NULL);
}

static void test_sizes_no_address_space_has(void)
{
    static const guint64 sizes[] = {
        G_GUINT64_CONSTANT(1) << 50,
        G_GUINT64_CONSTANT(1) << 62,
        G_MAXINT64 & ~(HM_MIB - 1),
    };

    fresh();
    for (guint i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_auto(HmBacking) backing = anon(sizes[i]);
        g_autoptr(GError) error =
            map_error(&backing, &(HmMappingOptions){.name = "m0"});

        g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_MEMORY);
        assert_text(error, "cannot set up guest memory 'm0': ");
        assert_text(error, "of address space");
    }
}

static void test_rlimit_as_is_named(void)
{
    g_auto(HmBacking) backing = memfd(64 * HM_KIB, TRUE);
    g_autoptr(GError) error = NULL;

    fresh();
    hm_fake_fail(HM_FAKE_MAP, 1, ENOMEM);
    hm_fake_set_limit(RLIMIT_AS, HM_MIB);
    hm_fake_set_file("/proc/self/status", "Name: x\nVmSize:    1000 kB\n");
    error = map_error(&backing, &(HmMappingOptions){0});
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_LIMIT);
    assert_text(error, "unable to map backing store for guest RAM: Cannot "
                       "allocate memory (needs");
    assert_text(error, "RLIMIT_AS is 1 MiB and 1000 KiB of it are used");
}

static void test_rlimit_data_is_named(void)
{
    g_auto(HmBacking) backing = anon(8 * HM_MIB);
    g_autoptr(GError) error = NULL;

    fresh();
    hm_fake_set_limit(RLIMIT_DATA, HM_MIB);
    error = map_error(&backing, &(HmMappingOptions){0});
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_LIMIT);
    assert_text(error, "needs 8 MiB, RLIMIT_DATA is 1 MiB");
}

static void test_rlimit_data_is_not_for_shared_memory(void)
{
    g_auto(HmBacking) backing = memfd(8 * HM_MIB, TRUE);
    g_auto(HmMapping) mapping = {0};
    g_autoptr(GError) error = NULL;

    fresh();
    hm_fake_set_limit(RLIMIT_DATA, HM_MIB);
    hm_mapping_init(&mapping, &backing, &(HmMappingOptions){0}, &error);
    g_assert_no_error(error);
}

static void test_host_too_small_is_said(void)
{
    g_auto(HmBacking) backing = anon(8 * HM_MIB);
    g_autoptr(GError) error = NULL;

    fresh();
    hm_fake_fail(HM_FAKE_MAP, 2, ENOMEM);
    hm_fake_set_file("/proc/sys/vm/overcommit_memory", "0\n");
    hm_fake_set_file("/proc/meminfo", "MemTotal: 4096 kB\nSwapTotal: 1024 kB");
    error = map_error(&backing, &(HmMappingOptions){0});
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_MEMORY);
    assert_text(error, "needs 8 MiB, the host has 4 MiB of RAM and 1 MiB");
}

static void test_strict_overcommit_is_named(void)
{
    g_auto(HmBacking) backing = anon(8 * HM_MIB);
    g_autoptr(GError) error = NULL;

    fresh();
    hm_fake_fail(HM_FAKE_MAP, 2, ENOMEM);
    hm_fake_set_file("/proc/sys/vm/overcommit_memory", "2\n");
    hm_fake_set_file("/proc/meminfo",
                     "CommitLimit: 2048 kB\nCommitted_AS: 1024 kB\n");
    error = map_error(&backing, &(HmMappingOptions){0});
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_LIMIT);
    assert_text(error,
                "overcommit_memory is 2, CommitLimit is 2 MiB and 1 MiB");
}

static void test_strict_overcommit_forbids_noreserve(void)
{
    g_auto(HmBacking) private = anon(64 * HM_KIB);
    g_auto(HmBacking) shared = memfd(64 * HM_KIB, TRUE);
    g_auto(HmMapping) mapping = {0};
    g_autoptr(GError) error = NULL;
    HmMappingOptions options = {.noreserve = TRUE};

    fresh();
    hm_fake_set_file("/proc/sys/vm/overcommit_memory", "2\n");
    error = map_error(&private, &options);
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_LIMIT);
    assert_text(error, "Skipping reservation of swap space is not supported");
    g_assert_cmpuint(hm_fake_count(HM_FAKE_MAP), ==, 0);
    mapping = map(&shared, &options);
}

static void test_huge_pages_are_counted(void)
{
    g_auto(HmBacking) backing = memfd(8 * HM_MIB, TRUE);
    g_autoptr(GError) error = NULL;

    fresh();
    backing.kind = HM_MEM_HUGETLB;
    backing.page_size = HUGE_PAGE;
    hm_fake_fail(HM_FAKE_MAP, 2, ENOMEM);
    hm_fake_set_huge_pool(HUGE_PAGE, 10, 5, 3);
    error = map_error(&backing, &(HmMappingOptions){0});
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_HUGE_PAGES);
    assert_text(error, "unable to map backing store for guest RAM: Cannot "
                       "allocate memory (needs 4 huge pages of 2 MiB, 2 of 10 "
                       "in the pool are available)");
}

static void test_size_limit_of_hugetlbfs_is_named(void)
{
    g_auto(HmBacking) backing = memfd(8 * HM_MIB, TRUE);
    g_autoptr(GError) error = NULL;

    fresh();
    backing.kind = HM_MEM_HUGETLB;
    backing.page_size = HUGE_PAGE;
    hm_fake_fail(HM_FAKE_MAP, 2, ENOMEM);
    hm_fake_set_huge_pool(HUGE_PAGE, 10, 10, 0);
    hm_fake_set_statfs(
        &(struct statfs){.f_bsize = HUGE_PAGE, .f_blocks = 3, .f_bavail = 2});
    error = map_error(&backing, &(HmMappingOptions){0});
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_SPACE);
    assert_text(error, "needs 8 MiB, 4 MiB of the 6 MiB of its hugetlbfs");
}

static void test_sync_needs_persistent_memory(void)
{
    g_auto(HmBacking) backing = memfd(64 * HM_KIB, TRUE);
    g_autoptr(GError) error = NULL;

    fresh();
    error = map_error(&backing, &(HmMappingOptions){.sync = TRUE});
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED);
}

static void test_filesystem_without_mmap(void)
{
    g_auto(HmBacking) backing = memfd(64 * HM_KIB, TRUE);
    g_autoptr(GError) error = NULL;

    fresh();
    hm_fake_fail(HM_FAKE_MAP, 2, ENODEV);
    error = map_error(&backing, &(HmMappingOptions){0});
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED);
    g_assert_cmpstr(error->message, ==,
                    "unable to map backing store for guest RAM: No such "
                    "device");
}

static void test_what_the_kernel_does_not_allow(void)
{
    g_auto(HmBacking) backing = memfd(64 * HM_KIB, TRUE);
    g_autoptr(GError) error = NULL;

    fresh();
    hm_fake_fail(HM_FAKE_MAP, 2, EPERM);
    error = map_error(&backing, &(HmMappingOptions){0});
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_PERMISSION);
}

/* room */

static const HmMappingOptions with_room = {.room = HM_MIB};

/* Maps 64 KiB with room for 1 MiB, and resizes the backing alone. */
static HmMapping map_with_room(HmBacking *backing, guint64 length)
{
    HmMapping mapping;

    fresh();
    mapping = map(backing, &with_room);
    g_assert_cmpuint(hm_mapping_room(&mapping), ==, HM_MIB);
    backing->length = length;
    return mapping;
}

static void test_memory_grows_into_its_room(void)
{
    g_auto(HmBacking) backing = anon(64 * HM_KIB);
    g_auto(HmMapping) mapping = map_with_room(&backing, HM_MIB);
    guint8 *addr = mapping.addr;

    assert_access(addr + 64 * HM_KIB, "---p");
    g_assert_true(hm_mapping_grow(&mapping, &backing, &with_room, NULL));
    g_assert_true(mapping.addr == addr && mapping.length == HM_MIB);
    assert_access(addr + HM_MIB - 1, "rw-p");
    assert_access(addr + HM_MIB, "---p");
    g_assert_true(hm_mapping_shrink(&mapping, 4096, NULL));
    assert_access(addr + 4096, "---p");
    assert_access(addr + HM_MIB, "---p");
}

/* A kernel before 6.12 unmaps what it cannot replace then. */
static gint64 unmap_and_fail(const HmFakeRecord *record,
                             gpointer data G_GNUC_UNUSED)
{
    if (!(record->flags & MAP_FIXED)) {
        return 0;
    }
    hm_os_unmap(record->addr, record->length);
    return -ENOMEM;
}

static void test_room_is_kept_when_growing_fails(void)
{
    g_auto(HmBacking) backing = anon(64 * HM_KIB);
    g_auto(HmMapping) mapping = map_with_room(&backing, HM_MIB);
    g_autoptr(GError) error = NULL;

    hm_fake_hook(HM_FAKE_MAP, unmap_and_fail, NULL);
    g_assert_false(hm_mapping_grow(&mapping, &backing, &with_room, &error));
    g_assert_nonnull(error);
    hm_fake_hook(HM_FAKE_MAP, NULL, NULL);
    g_assert_cmpuint(mapping.length, ==, 64 * HM_KIB);
    assert_access(mapping.addr + HM_MIB - 1, "---p");
}

static void test_a_move_that_is_undone(void)
{
    g_auto(HmBacking) backing = anon(64 * HM_KIB);
    g_auto(HmMapping) mapping = map_with_room(&backing, 4 * HM_MIB);
    g_auto(HmMapping) before = {0};
    guint8 *addr = mapping.addr;
    gsize fresh;

    addr[0] = 1;
    g_assert_true(hm_mapping_move(&mapping, &backing, &(HmMappingOptions){0},
                                  &before, &fresh, NULL));
    g_assert_cmpuint(fresh, ==, 4 * HM_MIB);
    g_assert_cmpuint(mapping.addr[0], ==, 1);
    assert_access(addr, "---p");
    g_assert_true(hm_mapping_move_back(&mapping, &before, 64 * HM_KIB));
    g_assert_true(mapping.addr == addr && mapping.length == 64 * HM_KIB);
    g_assert_cmpuint(hm_mapping_room(&mapping), ==, HM_MIB);
    g_assert_cmpuint(addr[0], ==, 1);
}

#define ADD(name, test) g_test_add_func("/mmap/" name, test)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("anonymous-memory-is-zero-and-writable",
        test_anonymous_memory_is_zero_and_writable);
    ADD("a-guard-page-follows", test_a_guard_page_follows);
    ADD("large-memory-is-aligned-to-huge-pages",
        test_large_memory_is_aligned_to_huge_pages);
    ADD("alignment-that-was-asked-for", test_alignment_that_was_asked_for);
    ADD("address-and-offset-agree", test_address_and_offset_agree);
    ADD("alignment-asked-for-beats-agreement",
        test_alignment_asked_for_beats_agreement);
    ADD("shared-writes-reach-the-file", test_shared_writes_reach_the_file);
    ADD("private-writes-do-not", test_private_writes_do_not);
    ADD("the-offset-is-where-it-starts", test_the_offset_is_where_it_starts);
    ADD("readonly-memory-cannot-be-written",
        test_readonly_memory_cannot_be_written);
    ADD("noreserve-is-passed-on", test_noreserve_is_passed_on);
    ADD("reservation-is-the-default", test_reservation_is_the_default);
    ADD("clear-unmaps-memory-and-guard", test_clear_unmaps_memory_and_guard);
    ADD("failure-leaves-nothing-mapped", test_failure_leaves_nothing_mapped);
    ADD("sizes-no-address-space-has", test_sizes_no_address_space_has);
    ADD("rlimit-as-is-named", test_rlimit_as_is_named);
    ADD("rlimit-data-is-named", test_rlimit_data_is_named);
    ADD("rlimit-data-is-not-for-shared-memory",
        test_rlimit_data_is_not_for_shared_memory);
    ADD("host-too-small-is-said", test_host_too_small_is_said);
    ADD("strict-overcommit-is-named", test_strict_overcommit_is_named);
    ADD("strict-overcommit-forbids-noreserve",
        test_strict_overcommit_forbids_noreserve);
    ADD("huge-pages-are-counted", test_huge_pages_are_counted);
    ADD("size-limit-of-hugetlbfs-is-named",
        test_size_limit_of_hugetlbfs_is_named);
    ADD("sync-needs-persistent-memory", test_sync_needs_persistent_memory);
    ADD("filesystem-without-mmap", test_filesystem_without_mmap);
    ADD("what-the-kernel-does-not-allow", test_what_the_kernel_does_not_allow);
    ADD("memory-grows-into-its-room", test_memory_grows_into_its_room);
    ADD("room-is-kept-when-growing-fails",
        test_room_is_kept_when_growing_fails);
    ADD("a-move-that-is-undone", test_a_move_that_is_undone);
    return g_test_run();
}
