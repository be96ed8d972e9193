/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include "os-fake-host.h"

#define NODE_DIR "/sys/devices/system/node"
#define POOL_DIR "/sys/kernel/mm/hugepages"

typedef struct {
    guint64 start;
    guint64 end;
    int mode;
    HmIdset *nodes;
} Binding;

/* What is pretended; guarded by host_lock. */
typedef struct {
    GHashTable *files;   /* path -> text; NULL: not there */
    GHashTable *hidden;  /* set of paths */
    GHashTable *limits;  /* resource -> guint64 * */
    GHashTable *moved;   /* thread id -> HmIdset * */
    GPtrArray *bindings; /* Binding *, oldest first */
    HmIdset *nodes;      /* NULL: the real ones */
    HmIdset *cpus;
    struct statfs *fs;
    gint64 now; /* -1: the real clock */
} Host;

static GMutex host_lock;
static Host host = {.now = -1};

static void binding_free(gpointer data)
{
    Binding *binding = data;

    hm_idset_free(binding->nodes);
    g_free(binding);
}

static void host_clear(void)
{
    g_clear_pointer(&host.files, g_hash_table_unref);
    g_clear_pointer(&host.hidden, g_hash_table_unref);
    g_clear_pointer(&host.limits, g_hash_table_unref);
    g_clear_pointer(&host.moved, g_hash_table_unref);
    g_clear_pointer(&host.bindings, g_ptr_array_unref);
    g_clear_pointer(&host.nodes, hm_idset_free);
    g_clear_pointer(&host.cpus, hm_idset_free);
    g_clear_pointer(&host.fs, g_free);
    host.now = -1;
}

static void host_make(void)
{
    host.files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    host.hidden = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    host.limits = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    host.moved =
        g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify)hm_idset_free);
    host.bindings = g_ptr_array_new_with_free_func(binding_free);
}

void hm_fake_host_reset(void)
{
    g_mutex_lock(&host_lock);
    host_clear();
    g_mutex_unlock(&host_lock);
}

/* A lock of what is pretended, ready to be filled, to the end of the scope. */
static GMutexLocker *host_locker_new(void)
{
    GMutexLocker *locker = g_mutex_locker_new(&host_lock);

    if (!host.files) {
        host_make();
    }
    return locker;
}

/* files */

static void set_file(const char *path, const char *text)
{
    g_hash_table_replace(host.files, g_strdup(path), g_strdup(text));
}

void hm_fake_set_file(const char *path, const char *text)
{
    g_autoptr(GMutexLocker) locker = host_locker_new();

    set_file(path, text);
}

void hm_fake_hide_tree(const char *path)
{
    g_autoptr(GMutexLocker) locker = host_locker_new();

    g_hash_table_add(host.hidden, g_strdup(path));
}

/* What follows @dir in @path: "" for itself, NULL when it is not below. */
static const char *below(const char *path, const char *dir)
{
    gsize n = strlen(dir);

    if (!g_str_has_prefix(path, dir)) {
        return NULL;
    }
    if (!path[n]) {
        return path + n;
    }
    return path[n] == '/' ? path + n + 1 : NULL;
}

static gboolean is_hidden(const char *path)
{
    GHashTableIter iter;
    gpointer tree;

    g_hash_table_iter_init(&iter, host.hidden);
    while (g_hash_table_iter_next(&iter, &tree, NULL)) {
        if (below(path, tree)) {
            return TRUE;
        }
    }
    return FALSE;
}

int hm_fake_host_read_text(const char *path, char **textp)
{
    g_autoptr(GMutexLocker) locker = host_locker_new();
    gpointer text = NULL;

    if (g_hash_table_lookup_extended(host.files, path, NULL, &text)) {
        *textp = text ? g_strdup(text) : *textp;
        return text ? 0 : -ENOENT;
    }
    return is_hidden(path) ? -ENOENT : hm_real_read_text(path, textp);
}

/* Names in the directory, as a set: the real ones, then what is set. */
static int collect_names(const char *path, GHashTable *names)
{
    g_auto(GStrv) real = NULL;
    int ret = is_hidden(path) ? -ENOENT : hm_real_list_dir(path, &real);
    GHashTableIter iter;
    gpointer file;

    for (guint i = 0; ret == 0 && real[i]; i++) {
        g_hash_table_add(names, g_strdup(real[i]));
    }
    g_hash_table_iter_init(&iter, host.files);
    while (g_hash_table_iter_next(&iter, &file, NULL)) {
        const char *rest = below(file, path);

        if (rest && *rest) {
            g_hash_table_add(names, g_strndup(rest, strcspn(rest, "/")));
        }
    }
    return g_hash_table_size(names) ? 0 : ret;
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(a, b);
}

int hm_fake_host_list_dir(const char *path, GStrv *namesp)
{
    g_autoptr(GMutexLocker) locker = host_locker_new();
    g_autoptr(GHashTable) set =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GStrvBuilder) names = g_strv_builder_new();
    g_autoptr(GList) sorted = NULL;
    int ret = collect_names(path, set);

    if (ret < 0) {
        return ret;
    }
    sorted = g_list_sort(g_hash_table_get_keys(set), compare_names);
    for (GList *at = sorted; at; at = at->next) {
        g_strv_builder_add(names, at->data);
    }
    *namesp = g_strv_builder_end(names);
    return 0;
}

/* nodes */

static void G_GNUC_PRINTF(2, 3)
    set_file_printf(char *path, const char *format, ...)
{
    g_autofree char *owned = path;
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    set_file(owned, text);
}

static void set_node_memory(guint node, guint64 total, guint64 free)
{
    set_file_printf(g_strdup_printf(NODE_DIR "/node%u/meminfo", node),
                    "Node %u MemTotal:       %" G_GUINT64_FORMAT " kB\n"
                    "Node %u MemFree:        %" G_GUINT64_FORMAT " kB\n",
                    node, total / 1024, node, free / 1024);
}

void hm_fake_set_node_memory(guint node, guint64 total, guint64 free)
{
    g_autoptr(GMutexLocker) locker = host_locker_new();

    set_node_memory(node, total, free);
}

static HmIdset *first_ids(guint n)
{
    HmIdset *set = hm_idset_new();

    for (guint i = 0; i < n; i++) {
        hm_idset_add(set, i);
    }
    return set;
}

void hm_fake_set_nodes(guint n, guint cpus, guint64 free)
{
    static const char *const lists[] = {"online", "possible", "has_cpu",
                                        "has_memory", "has_normal_memory"};
    g_autoptr(GMutexLocker) locker = host_locker_new();

    g_clear_pointer(&host.nodes, hm_idset_free);
    g_clear_pointer(&host.cpus, hm_idset_free);
    host.nodes = first_ids(n);
    host.cpus = first_ids(n * cpus);
    g_hash_table_add(host.hidden, g_strdup(NODE_DIR));
    for (guint i = 0; i < G_N_ELEMENTS(lists); i++) {
        set_file_printf(g_strconcat(NODE_DIR "/", lists[i], NULL), "0-%u\n",
                        n - 1);
    }
    for (guint node = 0; node < n; node++) {
        set_file_printf(g_strdup_printf(NODE_DIR "/node%u/cpulist", node),
                        "%u-%u\n", node * cpus, node * cpus + cpus - 1);
        set_node_memory(node, free, free);
    }
}

static gboolean is_subset(const HmIdset *part, const HmIdset *whole)
{
    HM_IDSET_FOREACH (part, id) {
        if (!hm_idset_contains(whole, id)) {
            return FALSE;
        }
    }
    return TRUE;
}

int hm_fake_host_bind(void *addr, gsize length, int mode, const HmIdset *nodes,
                      unsigned flags)
{
    g_autoptr(GMutexLocker) locker = host_locker_new();
    Binding *binding;

    if (!host.nodes) {
        return hm_real_bind(addr, length, mode, nodes, flags);
    }
    if (!is_subset(nodes, host.nodes)) {
        return -EINVAL;
    }
    binding = g_new0(Binding, 1);
    binding->start = (guintptr)addr;
    binding->end = binding->start + length;
    binding->mode = mode;
    binding->nodes = hm_idset_copy(nodes);
    g_ptr_array_add(host.bindings, binding);
    return 0;
}

static const Binding *find_binding(const void *addr)
{
    guint64 at = (guintptr)addr;

    for (guint i = host.bindings->len; i-- > 0;) {
        const Binding *binding = g_ptr_array_index(host.bindings, i);

        if (at >= binding->start && at < binding->end) {
            return hm_idset_is_empty(binding->nodes) ? NULL : binding;
        }
    }
    return NULL;
}

char *hm_fake_bound_to(const void *addr)
{
    g_autoptr(GMutexLocker) locker = host_locker_new();
    const Binding *binding = find_binding(addr);

    return binding ? hm_idset_to_string(binding->nodes) : NULL;
}

/* Interleaved pages go round the nodes, others to the first. */
static int node_of(const void *addr)
{
    const Binding *binding = find_binding(addr);
    guint64 skip = 0;
    guint node = 0;

    if (!binding) {
        return 0;
    }
    if (binding->mode == MPOL_INTERLEAVE) {
        skip = ((guintptr)addr - binding->start) / hm_real_page_size() %
               hm_idset_count(binding->nodes);
    }
    hm_idset_next(binding->nodes, 0, &node);
    for (; skip; skip--) {
        hm_idset_next(binding->nodes, node + 1, &node);
    }
    return (int)node;
}

int hm_fake_host_page_nodes(void *const *pages, gsize n, int *nodes)
{
    g_autoptr(GMutexLocker) locker = host_locker_new();
    int ret = hm_real_page_nodes(pages, n, nodes);

    for (gsize i = 0; ret == 0 && host.nodes && i < n; i++) {
        nodes[i] = nodes[i] < 0 ? nodes[i] : node_of(pages[i]);
    }
    return ret;
}

/* affinity */

int hm_fake_host_get_affinity(pid_t tid, HmIdset *cpus)
{
    g_autoptr(GMutexLocker) locker = host_locker_new();
    gpointer key = GINT_TO_POINTER(tid ? tid : hm_real_thread_id());
    const HmIdset *moved = g_hash_table_lookup(host.moved, key);
    const HmIdset *answer = moved ? moved : host.cpus;
    g_autoptr(HmIdset) none = hm_idset_new();

    if (!host.nodes) {
        return hm_real_get_affinity(tid, cpus);
    }
    hm_idset_intersect(cpus, none);
    hm_idset_union(cpus, answer);
    return 0;
}

int hm_fake_host_set_affinity(pid_t tid, const HmIdset *cpus)
{
    g_autoptr(GMutexLocker) locker = host_locker_new();
    gpointer key = GINT_TO_POINTER(tid ? tid : hm_real_thread_id());
    g_autoptr(HmIdset) real = NULL;

    if (!host.nodes) {
        return hm_real_set_affinity(tid, cpus);
    }
    real = hm_idset_copy(cpus);
    hm_idset_intersect(real, host.cpus);
    if (hm_idset_is_empty(real)) {
        return -EINVAL;
    }
    g_hash_table_replace(host.moved, key, g_steal_pointer(&real));
    return 0;
}

/* huge pages */

static void set_count(const char *dir, const char *name, guint64 count)
{
    set_file_printf(g_strconcat(dir, "/", name, NULL),
                    "%" G_GUINT64_FORMAT "\n", count);
}

void hm_fake_set_huge_pool(guint64 page_size, guint64 total, guint64 free,
                           guint64 reserved)
{
    g_autoptr(GMutexLocker) locker = host_locker_new();
    g_autofree char *dir = g_strdup_printf(
        POOL_DIR "/hugepages-%" G_GUINT64_FORMAT "kB", page_size / 1024);

    set_count(dir, "nr_hugepages", total);
    set_count(dir, "free_hugepages", free);
    set_count(dir, "resv_hugepages", reserved);
    set_count(dir, "surplus_hugepages", 0);
    set_count(dir, "nr_overcommit_hugepages", 0);
}

void hm_fake_set_node_huge_pages(guint node, guint64 page_size, guint64 free)
{
    g_autoptr(GMutexLocker) locker = host_locker_new();
    g_autofree char *dir = g_strdup_printf(
        NODE_DIR "/node%u/hugepages/hugepages-%" G_GUINT64_FORMAT "kB", node,
        page_size / 1024);

    set_count(dir, "nr_hugepages", free);
    set_count(dir, "free_hugepages", free);
    set_count(dir, "surplus_hugepages", 0);
}

/* the rest */

void hm_fake_set_statfs(const struct statfs *fs)
{
    g_autoptr(GMutexLocker) locker = host_locker_new();

    g_clear_pointer(&host.fs, g_free);
    host.fs = g_memdup2(fs, sizeof(*fs));
}

int hm_fake_host_statfs(int fd, struct statfs *fs)
{
    g_autoptr(GMutexLocker) locker = host_locker_new();

    if (!host.fs) {
        return hm_real_statfs(fd, fs);
    }
    *fs = *host.fs;
    return 0;
}

void hm_fake_set_limit(int resource, guint64 limit)
{
    g_autoptr(GMutexLocker) locker = host_locker_new();

    g_hash_table_replace(host.limits, GINT_TO_POINTER(resource),
                         g_memdup2(&limit, sizeof(limit)));
}

int hm_fake_host_get_limit(int resource, guint64 *limit)
{
    g_autoptr(GMutexLocker) locker = host_locker_new();
    const guint64 *fake =
        g_hash_table_lookup(host.limits, GINT_TO_POINTER(resource));

    if (!fake) {
        return hm_real_get_limit(resource, limit);
    }
    *limit = *fake;
    return 0;
}

void hm_fake_set_now(gint64 microseconds)
{
    g_autoptr(GMutexLocker) locker = host_locker_new();

    host.now = microseconds;
}

gint64 hm_fake_host_now(void)
{
    g_autoptr(GMutexLocker) locker = host_locker_new();

    return host.now < 0 ? hm_real_now() : host.now;
}
