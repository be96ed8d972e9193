/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>
#include "smaps-test.h"

/* A line "7f00-7f80 rw-p ..."; FALSE: it is another one. */
static gboolean begins_mapping(const char *line, guint64 *start, guint64 *end)
{
    unsigned long long from, to;

    if (sscanf(line, "%llx-%llx %*4s ", &from, &to) != 2) {
        return FALSE;
    }
    *start = from;
    *end = to;
    return TRUE;
}

static guint64 kib_of(const char *line, const char *key)
{
    return g_str_has_prefix(line, key)
               ? g_ascii_strtoull(line + strlen(key), NULL, 10) * 1024
               : 0;
}

static void add_line(HmTestSmaps *sums, const char *line)
{
    sums->resident += kib_of(line, "Rss:");
    sums->locked += kib_of(line, "Locked:");
    if (g_str_has_prefix(line, "VmFlags:")) {
        sums->locks += strstr(line, " lo") != NULL;
        sums->locks_on_fault += strstr(line, " lf") != NULL;
        sums->not_dumped += strstr(line, " dd") != NULL;
    }
}

void hm_test_read_smaps(const void *addr, gsize length, HmTestSmaps *sums)
{
    const guint64 first = (guintptr)addr;
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    gboolean inside = FALSE;
    guint64 start, end;

    *sums = (HmTestSmaps){0};
    g_assert_true(g_file_get_contents("/proc/self/smaps", &text, NULL, NULL));
    lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        if (begins_mapping(*line, &start, &end)) {
            inside = start >= first && end <= first + length;
            sums->mappings += inside;
            sums->size += inside ? end - start : 0;
        } else if (inside) {
            add_line(sums, *line);
        }
    }
}
