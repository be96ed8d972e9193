/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <gio/gunixmounts.h>
#include <string.h>
#include <sys/utsname.h>
#include "bench.h"

#define POOLS "/sys/kernel/mm/hugepages"
#define NODES "/sys/devices/system/node"

/* At most this many CPUs are too few to see how a thing scales. */
#define FEW_CPUS 4

void bench_facts_add(GPtrArray *facts, const char *key, char *value)
{
    BenchFact *fact = g_new(BenchFact, 1);

    fact->key = key;
    fact->value = value;
    g_ptr_array_add(facts, fact);
}

static void free_fact(gpointer data)
{
    BenchFact *fact = data;

    g_free(fact->value);
    g_free(fact);
}

/* (transfer full) (nullable): of the first CPU in /proc/cpuinfo */
static char *cpu_field(const char *name)
{
    g_autofree char *text = NULL;

    if (!g_file_get_contents("/proc/cpuinfo", &text, NULL, NULL)) {
        return NULL;
    }
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        const char *colon = strchr(*line, ':');
        if (colon && g_str_has_prefix(*line, name)) {
            return g_strstrip(g_strdup(colon + 1));
        }
    }
    return NULL;
}

static char *describe_cpu(void)
{
    char *model = cpu_field("model name");

    return model ? model : g_strdup("unknown");
}

static char *describe_cpus(void)
{
    g_autofree char *flags = cpu_field("flags");
    g_autofree char *load = bench_host_read("/proc/loadavg");
    const char *guest =
        flags && strstr(flags, " hypervisor") ? " of a virtual machine" : "";

    return g_strdup_printf("%u CPUs%s, load %.4s", g_get_num_processors(),
                           guest, load ? load : "?");
}

static guint count_nodes(void)
{
    g_autoptr(GDir) dir = g_dir_open(NODES, 0, NULL);
    const char *name;
    guint n = 0;

    while (dir && (name = g_dir_read_name(dir))) {
        n += g_str_has_prefix(name, "node") && g_ascii_isdigit(name[4]);
    }
    return MAX(n, 1);
}

static char *describe_memory(void)
{
    g_autofree char *total = bench_format_size(bench_host_meminfo("MemTotal"));
    g_autofree char *there =
        bench_format_size(bench_host_meminfo("MemAvailable"));
    guint nodes = count_nodes();

    return g_strdup_printf("%s, %s available, %u NUMA node%s", total, there,
                           nodes, nodes > 1 ? "s" : "");
}

static char *describe_kernel(void)
{
    struct utsname name;

    uname(&name);
    return g_strdup_printf("%s %s %s", name.sysname, name.release,
                           name.machine);
}

static char *describe_thp(void)
{
    g_autofree char *policy = bench_host_policy("enabled");
    g_autofree char *size = bench_format_size(bench_host_thp_size());

    return g_strdup_printf("%s, %s", policy, size);
}

static int compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* "hugepages-2048kB" of POOLS */
static char *describe_pool(const char *name)
{
    g_autofree char *nr_path =
        g_build_filename(POOLS, name, "nr_hugepages", NULL);
    g_autofree char *free_path =
        g_build_filename(POOLS, name, "free_hugepages", NULL);
    g_autofree char *nr = bench_host_read(nr_path);
    g_autofree char *available = bench_host_read(free_path);
    guint64 kib = g_ascii_strtoull(name + strlen("hugepages-"), NULL, 10);
    g_autofree char *size = bench_format_size(kib << 10);

    return g_strdup_printf("%s: %s of %s free", size,
                           available ? available : "?", nr ? nr : "?");
}

static char *describe_pools(void)
{
    g_autoptr(GDir) dir = g_dir_open(POOLS, 0, NULL);
    g_autoptr(GPtrArray) pools = g_ptr_array_new_with_free_func(g_free);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        if (g_str_has_prefix(name, "hugepages-")) {
            g_ptr_array_add(pools, describe_pool(name));
        }
    }
    if (!pools->len) {
        return g_strdup("none");
    }
    g_ptr_array_sort(pools, compare_names);
    g_ptr_array_add(pools, NULL);
    return g_strjoinv("; ", (char **)pools->pdata);
}

static char *describe_limit(void)
{
    guint64 limit = bench_room_cgroup_limit();

    return limit == G_MAXUINT64 ? g_strdup("none") : bench_format_size(limit);
}

static char *describe_directory(const char *directory)
{
    g_autofree char *real = g_canonicalize_filename(directory, NULL);
    GUnixMountEntry *mount = g_unix_mount_for(real, NULL);
    char *text = g_strdup_printf("%s (%s)", directory,
                                 mount ? g_unix_mount_get_fs_type(mount) : "?");

    g_clear_pointer(&mount, g_unix_mount_free);
    return text;
}

char *bench_facts_version(const char *program)
{
    const char *argv[] = {program, "--version", NULL};
    g_autofree char *text = NULL;

    if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_STDERR_TO_DEV_NULL,
                      NULL, NULL, &text, NULL, NULL, NULL)) {
        return g_strdup("unknown");
    }
    text[strcspn(text, "\n")] = '\0';
    return g_strdup(text);
}

GPtrArray *bench_facts(const BenchOptions *options)
{
    GPtrArray *facts = g_ptr_array_new_with_free_func(free_fact);

    bench_facts_add(facts, "hostmem", g_strdup(hostmem_version()));
    bench_facts_add(facts, "cpu", describe_cpu());
    bench_facts_add(facts, "cpus", describe_cpus());
    bench_facts_add(facts, "memory", describe_memory());
    bench_facts_add(facts, "kernel", describe_kernel());
    bench_facts_add(facts, "thp", describe_thp());
    bench_facts_add(facts, "shmem_thp", bench_host_policy("shmem_enabled"));
    bench_facts_add(facts, "huge_pages", describe_pools());
    bench_facts_add(facts, "cgroup_limit", describe_limit());
    bench_facts_add(facts, "directory", describe_directory(options->directory));
    return facts;
}

static guint most_threads(const BenchOptions *options)
{
    guint most = 0;

    for (guint i = 0; i < options->threads->len; i++) {
        most = MAX(most, g_array_index(options->threads, guint, i));
    }
    return most;
}

void bench_facts_add_limits(const BenchOptions *options, GPtrArray *notes)
{
    guint cpus = g_get_num_processors();
    guint threads = most_threads(options);

    if (options->size < options->asked_size) {
        g_autofree char *asked = bench_format_size(options->asked_size);
        g_autofree char *size = bench_format_size(options->size);
        g_ptr_array_add(notes, g_strdup_printf("Of %s, this host has %s to "
                                               "spare.",
                                               asked, size));
    }
    if (threads > cpus) {
        g_ptr_array_add(notes,
                        g_strdup_printf("%u threads share %u CPUs: they take "
                                        "turns, and say little about a larger "
                                        "host.",
                                        threads, cpus));
    }
    if (cpus <= FEW_CPUS) {
        g_ptr_array_add(
            notes,
            g_strdup_printf("%u CPUs cannot show how populating scales with "
                            "threads.",
                            cpus));
    }
    if (count_nodes() == 1) {
        g_ptr_array_add(notes, g_strdup("One NUMA node cannot show what "
                                        "placement costs."));
    }
}
