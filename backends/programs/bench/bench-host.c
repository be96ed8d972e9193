/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "bench.h"

#define THP_DIRECTORY "/sys/kernel/mm/transparent_hugepage"

char *bench_host_read(const char *path)
{
    g_autofree char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        return NULL;
    }
    text[strcspn(text, "\n")] = '\0';
    return g_strdup(g_strstrip(text));
}

char *bench_host_policy(const char *name)
{
    g_autofree char *path = g_build_filename(THP_DIRECTORY, name, NULL);
    g_autofree char *text = bench_host_read(path);
    const char *open = text ? strchr(text, '[') : NULL;

    return open ? g_strndup(open + 1, strcspn(open + 1, "]"))
                : g_strdup("unknown");
}

guint64 bench_host_field(const char *path, const char *name)
{
    g_autofree char *text = NULL;
    gsize length = strlen(name);

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        return 0;
    }
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        if (g_str_has_prefix(*line, name) &&
            ((*line)[length] == ':' || (*line)[length] == ' ')) {
            const char *value = *line + length + 1;
            return g_ascii_strtoull(value, NULL, 10)
                   << (g_str_has_suffix(value, " kB") ? 10 : 0);
        }
    }
    return 0;
}

guint64 bench_host_meminfo(const char *name)
{
    return bench_host_field("/proc/meminfo", name);
}

guint64 bench_host_number(const char *path, guint64 missing)
{
    g_autofree char *text = bench_host_read(path);
    guint64 value;

    return text && g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT64, &value,
                                              NULL)
               ? value
               : missing;
}

gsize bench_host_thp_size(void)
{
    return bench_host_number(THP_DIRECTORY "/hpage_pmd_size", 0);
}

gsize bench_host_huge_page_size(void)
{
    return bench_host_meminfo("Hugepagesize");
}
