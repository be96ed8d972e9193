/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench.h"

#define SHM_DIRECTORY "/dev/shm"

static const BenchLine lines[] = {
    {"ram", "share=on", BENCH_NO_FILE, TRUE, FALSE, NULL},
    {"memfd", NULL, BENCH_NO_FILE, TRUE, FALSE, NULL},
    {"memfd", "seal=off", BENCH_NO_FILE, TRUE, FALSE, "tmpfs huge=always"},
    {"file", "share=on", BENCH_FILE_IN_SHM, TRUE, FALSE, NULL},
    {"file", "share=on", BENCH_FILE_IN_DIRECTORY, TRUE, FALSE, NULL},
    {"memfd", "hugetlb=on", BENCH_NO_FILE, TRUE, TRUE, "memfd hugetlb"},
    {"ram", NULL, BENCH_NO_FILE, FALSE, FALSE, "anon THP"},
};

const BenchLine *bench_lines(guint *n)
{
    *n = G_N_ELEMENTS(lines);
    return lines;
}

const char *bench_line_directory(const BenchLine *self,
                                 const BenchOptions *options)
{
    switch (self->place) {
    case BENCH_FILE_IN_SHM:
        return SHM_DIRECTORY;
    case BENCH_FILE_IN_DIRECTORY:
        return options->directory;
    default:
        return NULL;
    }
}

char *bench_line_name(const BenchLine *self, const BenchOptions *options)
{
    const char *directory = bench_line_directory(self, options);

    return g_strdup_printf("memory-backend-%s%s%s%s%s", self->type,
                           self->properties ? "," : "",
                           self->properties ? self->properties : "",
                           directory ? " in " : "", directory ? directory : "");
}

/* QEMU doubles the commas of a value. */
static void append_path(GString *text, const char *path)
{
    g_string_append(text, ",mem-path=");
    for (const char *at = path; *at; at++) {
        g_string_append(text, *at == ',' ? ",," : (char[]){*at, '\0'});
    }
}

char *bench_line_text(const BenchLine *self, const char *path, guint64 size,
                      guint threads)
{
    GString *text = g_string_new(NULL);

    g_string_append_printf(text,
                           "memory-backend-%s,id=m0,size=%" G_GUINT64_FORMAT,
                           self->type, size);
    if (self->properties) {
        g_string_append_printf(text, ",%s", self->properties);
    }
    if (path) {
        append_path(text, path);
    }
    g_string_append_printf(text, ",prealloc=on,prealloc-threads=%u", threads);
    return g_string_free(text, FALSE);
}

gboolean bench_line_check(const BenchLine *self, const BenchOptions *options,
                          guint64 size, GError **error)
{
    const char *directory = bench_line_directory(self, options);

    if (self->pool) {
        return bench_room_check_huge_pages(size, error);
    }
    return (!directory || bench_room_check_space(directory, size, error)) &&
           bench_room_check_memory(size, error);
}

gint64 bench_line_populate(const BenchLine *self, const BenchOptions *options,
                           guint64 size, guint threads, const char **method,
                           GError **error)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    HostmemPreallocReport report;

    if (!bench_line_check(self, options, size, error)) {
        return -1;
    }
    /* In a directory the file has no name. */
    g_autofree char *text = bench_line_text(
        self, bench_line_directory(self, options), size, threads);
    HostmemObject *object = hostmem_registry_add(registry, text, NULL, error);
    if (!object) {
        return -1;
    }
    hostmem_backend_get_report(HOSTMEM_BACKEND(object), &report);
    *method = report.method;
    return report.elapsed_us * 1000;
}
