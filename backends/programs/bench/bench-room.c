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

/* Of one cgroup, or one of those above it. */
typedef struct {
    guint64 limit;
    guint64 usage; /* without what is cached of files */
} Cgroup;

/* What the files of a version of cgroups are called. */
typedef struct {
    const char *root;
    const char *limit;
    const char *usage;
    const char *cached;
} CgroupNames;

static const CgroupNames version_1 = {
    "/sys/fs/cgroup/memory",
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    "total_inactive_file",
};

static const CgroupNames version_2 = {
    "/sys/fs/cgroup",
    "memory.max",
    "memory.current",
    "inactive_file",
};

static guint64 subtract(guint64 from, guint64 amount)
{
    return from - MIN(from, amount);
}

static Cgroup read_cgroup(const CgroupNames *names, const char *path)
{
    g_autofree char *limit =
        g_build_filename(names->root, path, names->limit, NULL);
    g_autofree char *usage =
        g_build_filename(names->root, path, names->usage, NULL);
    g_autofree char *stat =
        g_build_filename(names->root, path, "memory.stat", NULL);

    return (Cgroup){
        .limit = bench_host_number(limit, G_MAXUINT64),
        .usage = subtract(bench_host_number(usage, 0),
                          bench_host_field(stat, names->cached)),
    };
}

/* Adds the cgroups from @path up to the top of a hierarchy. */
static void add_cgroups(GArray *cgroups, const CgroupNames *names,
                        const char *path)
{
    g_autofree char *at = g_strdup(path);
    gboolean top;

    do {
        Cgroup cgroup = read_cgroup(names, at);
        g_array_append_val(cgroups, cgroup);

        top = g_str_equal(at, "/") || g_str_equal(at, ".");
        char *parent = g_path_get_dirname(at);
        g_free(at);
        at = parent;
    } while (!top);
}

static gboolean lists_memory(const char *controllers)
{
    g_auto(GStrv) names = g_strsplit(controllers, ",", -1);

    return g_strv_contains((const char *const *)names, "memory");
}

/* (transfer full) (element-type Cgroup): those that bound our memory. */
static GArray *find_cgroups(void)
{
    GArray *cgroups = g_array_new(FALSE, FALSE, sizeof(Cgroup));
    g_autofree char *text = NULL;

    if (!g_file_get_contents("/proc/self/cgroup", &text, NULL, NULL)) {
        return cgroups;
    }
    g_auto(GStrv) lines = g_strsplit(g_strchomp(text), "\n", -1);
    for (char **line = lines; *line; line++) {
        g_auto(GStrv) parts = g_strsplit(*line, ":", 3);
        if (g_strv_length(parts) < 3) {
            continue;
        }
        if (lists_memory(parts[1])) {
            add_cgroups(cgroups, &version_1, parts[2]);
        } else if (parts[1][0] == '\0') {
            add_cgroups(cgroups, &version_2, parts[2]);
        }
    }
    return cgroups;
}

guint64 bench_room_cgroup_limit(void)
{
    g_autoptr(GArray) cgroups = find_cgroups();
    guint64 lowest = G_MAXUINT64;

    for (guint i = 0; i < cgroups->len; i++) {
        lowest = MIN(lowest, g_array_index(cgroups, Cgroup, i).limit);
    }
    /* Version 1 says "none" as the most whole pages that it can count. */
    return lowest > G_MAXINT64 / 2 ? G_MAXUINT64 : lowest;
}

guint64 bench_room_available(void)
{
    guint64 reserve =
        CLAMP(bench_host_meminfo("MemTotal") / 16, MIN_RESERVE, MAX_RESERVE);
    guint64 available = subtract(bench_host_meminfo("MemAvailable"), reserve);
    g_autoptr(GArray) cgroups = find_cgroups();

    for (guint i = 0; i < cgroups->len; i++) {
        const Cgroup *cgroup = &g_array_index(cgroups, Cgroup, i);
        guint64 unused = subtract(cgroup->limit, cgroup->usage);
        available = MIN(available, subtract(unused, CGROUP_RESERVE));
    }
    return available;
}

gboolean bench_room_check_memory(guint64 size, GError **error)
{
    guint64 available = bench_room_available();
    g_autofree char *needed = bench_format_size(size);
    g_autofree char *there = bench_format_size(available);

    if (size <= available) {
        return TRUE;
    }
    g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_MEMORY,
                "needs %s of memory, %s can be had", needed, there);
    return FALSE;
}

gboolean bench_room_check_huge_pages(guint64 size, GError **error)
{
    gsize page_size = bench_host_huge_page_size();
    g_autofree char *page = bench_format_size(page_size);

    if (!page_size || size % page_size != 0) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED,
                    page_size ? "the size is no multiple of the host's huge "
                                "pages of %s"
                              : "this kernel has no huge pages",
                    page);
        return FALSE;
    }
    guint64 needed = size / page_size;
    guint64 available = subtract(bench_host_meminfo("HugePages_Free"),
                                 bench_host_meminfo("HugePages_Rsvd"));
    if (needed <= available) {
        return TRUE;
    }
    g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_HUGE_PAGES,
                "needs %" G_GUINT64_FORMAT " huge page%s of %s, "
                "%" G_GUINT64_FORMAT " are free; as root: sysctl "
                "vm.nr_hugepages=%" G_GUINT64_FORMAT,
                needed, needed == 1 ? "" : "s", page, available,
                bench_host_meminfo("HugePages_Total") + needed - available);
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
    g_autofree char *needed = bench_format_size(size + SPACE_RESERVE);
    g_autofree char *free_space = bench_format_size(there);
    g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_SPACE,
                "needs %s in %s, %s are free", needed, directory, free_space);
    return FALSE;
}
