/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <sys/vfs.h>
#include "bench.h"

/* What stays free for everybody else; and for the rest of our cgroup. */
#define MIN_RESERVE    (128 * BENCH_MIB)
#define MAX_RESERVE    BENCH_GIB
#define CGROUP_RESERVE (32 * BENCH_MIB)

/* Of a filesystem, beside the file itself. */
#define SPACE_RESERVE (16 * BENCH_MIB)

static guint64 subtract(guint64 from, guint64 amount)
{
    return from - MIN(from, amount);
}

guint64 bench_room_available(void)
{
    BenchHostMemory memory = bench_host_memory();
    guint64 reserve = CLAMP(memory.total / 16, MIN_RESERVE, MAX_RESERVE);

    return MIN(subtract(memory.available, reserve),
               subtract(memory.cgroup_available, CGROUP_RESERVE));
}

gboolean bench_room_check_memory(guint64 size, GError **error)
{
    guint64 available = bench_room_available();
    g_autofree char *needed = hostmem_size_to_string(size);
    g_autofree char *there = hostmem_size_to_string(available);

    if (size <= available) {
        return TRUE;
    }
    g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_MEMORY,
                "needs %s of memory, %s can be had", needed, there);
    return FALSE;
}

gboolean bench_room_check_huge_pages(guint64 size, GError **error)
{
    BenchHostPool pool = bench_host_default_pool();
    g_autofree char *page = hostmem_size_to_string(pool.page_size);

    if (!pool.page_size || size % pool.page_size != 0) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED,
                    pool.page_size
                        ? "the size is no multiple of the host's huge "
                          "pages of %s"
                        : "this kernel has no huge pages",
                    page);
        return FALSE;
    }
    guint64 needed = size / pool.page_size;
    guint64 available = subtract(pool.free, pool.reserved);
    if (needed <= available) {
        return TRUE;
    }
    g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_HUGE_PAGES,
                "needs %" G_GUINT64_FORMAT " huge page%s of %s, "
                "%" G_GUINT64_FORMAT " are free; as root: sysctl "
                "vm.nr_hugepages=%" G_GUINT64_FORMAT,
                needed, needed == 1 ? "" : "s", page, available,
                pool.total + needed - available);
    return FALSE;
}

gboolean bench_room_check_space(const char *directory, guint64 size,
                                GError **error)
{
    struct statfs fs;

    if (statfs(directory, &fs) < 0) {
        return bench_set_errno(error, directory, errno);
    }
    guint64 there = (guint64)fs.f_bavail * fs.f_bsize;
    /* A tmpfs without a limit says that it has no blocks. */
    if (fs.f_blocks == 0 || there >= size + SPACE_RESERVE) {
        return TRUE;
    }
    g_autofree char *needed = hostmem_size_to_string(size + SPACE_RESERVE);
    g_autofree char *free_space = hostmem_size_to_string(there);
    g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_SPACE,
                "needs %s in %s, %s are free", needed, directory, free_space);
    return FALSE;
}
