/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <gio/gunixmounts.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "bench.h"

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
    g_autofree char *load = NULL;
    const char *guest =
        flags && strstr(flags, " hypervisor") ? " of a virtual machine" : "";
    guint all = sysconf(_SC_NPROCESSORS_ONLN);
    guint usable = bench_host_cpus();
    g_autofree char *part =
        usable < all ? g_strdup_printf(", %u of them for us", usable) : NULL;

    g_file_get_contents("/proc/loadavg", &load, NULL, NULL);
    return g_strdup_printf("%u CPUs%s%s, load %.4s", all, guest,
                           part ? part : "", load ? load : "?");
}

static char *describe_memory(void)
{
    BenchHostMemory memory = bench_host_memory();
    g_autofree char *total = hostmem_size_to_string(memory.total);
    g_autofree char *there = hostmem_size_to_string(memory.available);
    guint nodes = bench_host_nodes();

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
    g_autofree char *policy = bench_host_thp_policy(FALSE);
    g_autofree char *size = hostmem_size_to_string(bench_host_thp_size());

    return g_strdup_printf("%s, %s", policy, size);
}

/* "2 MiB: 3 of 8 free" */
static char *describe_pool(const BenchHostPool *pool)
{
    g_autofree char *size = hostmem_size_to_string(pool->page_size);

    return g_strdup_printf("%s: %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
                           " free",
                           size, pool->free, pool->total);
}

static char *describe_pools(void)
{
    g_autoptr(GArray) pools = bench_host_pools();
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);

    if (!pools->len) {
        return g_strdup("none");
    }
    for (guint i = 0; i < pools->len; i++) {
        g_ptr_array_add(texts,
                        describe_pool(&g_array_index(pools, BenchHostPool, i)));
    }
    g_ptr_array_add(texts, NULL);
    return g_strjoinv("; ", (char **)texts->pdata);
}

static char *describe_limit(void)
{
    guint64 limit = bench_host_memory().cgroup_limit;

    return limit == G_MAXUINT64 ? g_strdup("none")
                                : hostmem_size_to_string(limit);
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
    bench_facts_add(facts, "shmem_thp", bench_host_thp_policy(TRUE));
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
    guint cpus = bench_host_cpus();
    guint threads = most_threads(options);

    if (options->size < options->asked_size) {
        g_autofree char *asked = hostmem_size_to_string(options->asked_size);
        g_autofree char *size = hostmem_size_to_string(options->size);
        g_ptr_array_add(notes, g_strdup_printf("Of %s, this host has %s to "
                                               "spare.",
                                               asked, size));
    }
    if (threads > cpus) {
        g_ptr_array_add(notes,
                        g_strdup_printf("%u threads share %u CPU%s: they take "
                                        "turns, and say little about a larger "
                                        "host.",
                                        threads, cpus, cpus == 1 ? "" : "s"));
    }
    if (cpus <= FEW_CPUS) {
        g_ptr_array_add(
            notes,
            g_strdup_printf("%u CPU%s cannot show how populating scales with "
                            "threads.",
                            cpus, cpus == 1 ? "" : "s"));
    }
    if (bench_host_nodes() == 1) {
        g_ptr_array_add(notes, g_strdup("One NUMA node cannot show what "
                                        "placement costs."));
    }
}
