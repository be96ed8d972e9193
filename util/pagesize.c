/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "util/error.h"
#include "util/os.h"
#include "util/pagesize.h"
#include "util/size.h"

#define POOL_DIR "/sys/kernel/mm/hugepages"
#define NODE_DIR "/sys/devices/system/node"

/* The name of a pool's directory in either of the above. */
static char *pool_name(guint64 page_size)
{
    return g_strdup_printf("hugepages-%" G_GUINT64_FORMAT "kB",
                           page_size / HM_KIB);
}

static gboolean read_count(const char *dir, const char *name, guint64 *count)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);
    g_autofree char *text = NULL;

    if (hm_os_read_text(path, &text) < 0) {
        *count = 0;
        return FALSE;
    }
    g_strchomp(text);
    return g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT64, count, NULL);
}

gboolean hm_huge_pool_read(guint64 page_size, HmHugePool *pool, GError **error)
{
    g_autofree char *name = pool_name(page_size);
    g_autofree char *dir = g_build_filename(POOL_DIR, name, NULL);
    g_autofree char *size = hm_size_format(page_size);

    *pool = (HmHugePool){.page_size = page_size};
    if (!read_count(dir, "nr_hugepages", &pool->total) ||
        !read_count(dir, "free_hugepages", &pool->free) ||
        !read_count(dir, "resv_hugepages", &pool->reserved)) {
        return hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                            "this host has no huge pages of %s (%s)", size,
                            dir);
    }
    /* Missing where overcommit cannot be: 1 GiB pages of old kernels. */
    read_count(dir, "surplus_hugepages", &pool->surplus);
    read_count(dir, "nr_overcommit_hugepages", &pool->overcommit);
    return TRUE;
}

static guint64 subtract(guint64 from, guint64 what)
{
    return from > what ? from - what : 0;
}

guint64 hm_huge_pool_available(const HmHugePool *pool)
{
    guint64 unpromised = subtract(pool->free, pool->reserved);
    guint64 extra = subtract(pool->overcommit, pool->surplus);
    guint64 sum;

    return g_uint64_checked_add(&sum, unpromised, extra) ? sum : G_MAXUINT64;
}

gboolean hm_huge_pool_on_node(guint64 page_size, guint node, guint64 *total,
                              guint64 *free)
{
    g_autofree char *name = pool_name(page_size);
    g_autofree char *dir =
        g_strdup_printf(NODE_DIR "/node%u/hugepages/%s", node, name);
    gboolean has_total = read_count(dir, "nr_hugepages", total);

    return read_count(dir, "free_hugepages", free) && has_total;
}

guint64 hm_huge_pool_free_on_node(guint64 page_size, guint node)
{
    guint64 total, free;

    hm_huge_pool_on_node(page_size, node, &total, &free);
    return free;
}

/* "hugepages-2048kB" to bytes; 0 when it is another name. */
static guint64 size_of_pool(const char *name)
{
    static const char prefix[] = "hugepages-";
    guint64 kib, bytes;
    char *end;

    if (!g_str_has_prefix(name, prefix)) {
        return 0;
    }
    kib = g_ascii_strtoull(name + strlen(prefix), &end, 10);
    if (strcmp(end, "kB") || !g_uint64_checked_mul(&bytes, kib, HM_KIB)) {
        return 0;
    }
    return bytes;
}

static gint compare_sizes(gconstpointer a, gconstpointer b)
{
    guint64 x = *(const guint64 *)a;
    guint64 y = *(const guint64 *)b;

    return (x > y) - (x < y);
}

GArray *hm_huge_page_sizes(void)
{
    GArray *sizes = g_array_new(FALSE, FALSE, sizeof(guint64));
    g_auto(GStrv) names = NULL;

    if (hm_os_list_dir(POOL_DIR, &names) < 0) {
        return sizes;
    }
    for (guint i = 0; names[i]; i++) {
        guint64 size = size_of_pool(names[i]);

        if (size) {
            g_array_append_val(sizes, size);
        }
    }
    g_array_sort(sizes, compare_sizes);
    return sizes;
}

int hm_fd_page_size(int fd, gsize *page_size)
{
    struct statfs fs;
    int ret = fd < 0 ? 0 : hm_os_statfs(fd, &fs);

    if (ret < 0) {
        return ret;
    }
    if (fd >= 0 && fs.f_type == HUGETLBFS_MAGIC) {
        *page_size = (gsize)fs.f_bsize;
    } else {
        *page_size = hm_os_page_size();
    }
    return 0;
}
