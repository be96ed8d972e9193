/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <sys/mman.h>
#include "discard-pages.h"
#include "os-fake.h"

HmDiscardTarget hm_pages_map_anon(int flags)
{
    HmDiscardTarget target = {
        .page_size = hm_os_page_size(),
        .kind = HM_MEM_ANON,
        .shared = flags & MAP_SHARED,
        .fd = -1,
    };
    void *addr;

    g_assert_cmpint(hm_os_map(NULL, N_PAGES * target.page_size,
                              PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1,
                              0, &addr),
                    ==, 0);
    target.addr = addr;
    memset(target.addr, 'x', N_PAGES * target.page_size);
    return target;
}

HmDiscardTarget hm_pages_map_file(int flags)
{
    HmDiscardTarget target = {
        .page_size = hm_os_page_size(),
        .kind = HM_MEM_SHMEM,
        .shared = flags & MAP_SHARED,
        .fd = hm_os_memfd("test", 0),
    };
    void *addr;

    g_assert_cmpint(target.fd, >=, 0);
    target.fd_offset = FILE_PAGE * target.page_size;
    g_assert_cmpint(
        hm_os_truncate(target.fd, (FILE_PAGE + N_PAGES) * target.page_size), ==,
        0);
    g_assert_cmpint(hm_os_map(NULL, N_PAGES * target.page_size,
                              PROT_READ | PROT_WRITE, flags, target.fd,
                              target.fd_offset, &addr),
                    ==, 0);
    target.addr = addr;
    memset(target.addr, 'x', N_PAGES * target.page_size);
    return target;
}

void hm_pages_unmap(HmDiscardTarget *target)
{
    hm_os_unmap(target->addr, N_PAGES * target->page_size);
    if (target->fd >= 0) {
        hm_os_close(target->fd);
    }
}

static char *page_map(const HmDiscardTarget *target)
{
    char *text = g_new0(char, N_PAGES + 1);

    for (guint i = 0; i < N_PAGES; i++) {
        guint8 byte = target->addr[i * target->page_size];

        text[i] = byte ? (char)byte : '.';
    }
    return text;
}

void hm_pages_assert(const HmDiscardTarget *target, const char *expected)
{
    g_autofree char *found = page_map(target);

    g_assert_cmpstr(found, ==, expected);
}

void hm_pages_assert_calls(const char *expected)
{
    g_autofree char *found = hm_fake_sequence();

    g_assert_cmpstr(found, ==, expected);
}

HmDiscardTarget hm_pages_map_private(char fill)
{
    HmDiscardTarget shared = hm_pages_map_file(MAP_SHARED);
    HmDiscardTarget target = shared;
    void *addr;

    memset(shared.addr, fill, N_PAGES * shared.page_size);
    g_assert_cmpint(hm_os_map(NULL, N_PAGES * target.page_size,
                              PROT_READ | PROT_WRITE, MAP_PRIVATE, shared.fd,
                              shared.fd_offset, &addr),
                    ==, 0);
    hm_os_unmap(shared.addr, N_PAGES * shared.page_size);
    target.addr = addr;
    target.shared = FALSE;
    memset(target.addr, 'x', N_PAGES * target.page_size);
    return target;
}

gboolean hm_pages_discard(const HmDiscardTarget *target, guint64 offset,
                          guint64 length, GError **error)
{
    g_autoptr(HmRangeList) ranges = hm_range_list_new();
    HmRange range;

    if (hm_range_init(&range, offset, length)) {
        hm_range_list_add(ranges, &range);
    }
    return hm_discard_list(target, ranges, NULL, error);
}
