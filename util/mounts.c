/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A line of mountinfo is: id, parent, major:minor, root, mount point, mount
 * options, any number of optional fields, "-", type, source, options of the
 * file system; blanks in them are written as octal numbers.  See proc(5).
 */
#include <sys/sysmacros.h>
#include "util/mounts.h"
#include "util/os.h"

enum {
    FIELD_DEVICE = 2,
    FIELD_OPTIONAL = 6
};

void hm_mount_free(HmMount *self)
{
    g_free(self->type);
    g_free(self->source);
    g_free(self->options);
    g_free(self);
}

/* (nullable): from a line of this device. */
static HmMount *read_line(const char *line, const char *device)
{
    g_auto(GStrv) fields = g_strsplit(line, " ", -1);
    guint n = g_strv_length(fields);
    guint at = FIELD_OPTIONAL;
    HmMount *mount;

    if (n <= FIELD_OPTIONAL || !g_str_equal(fields[FIELD_DEVICE], device)) {
        return NULL;
    }
    while (at < n && !g_str_equal(fields[at], "-")) {
        at++;
    }
    if (n - at < 4) {
        return NULL;
    }
    mount = g_new0(HmMount, 1);
    mount->type = g_strcompress(fields[at + 1]);
    mount->source = g_strcompress(fields[at + 2]);
    mount->options = g_strcompress(fields[at + 3]);
    return mount;
}

HmMount *hm_mount_find(dev_t device)
{
    g_autofree char *name =
        g_strdup_printf("%u:%u", major(device), minor(device));
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    HmMount *mount = NULL;

    if (hm_os_read_text("/proc/self/mountinfo", &text) < 0) {
        return NULL;
    }
    lines = g_strsplit(text, "\n", -1);
    for (guint i = 0; lines[i] && !mount; i++) {
        mount = read_line(lines[i], name);
    }
    return mount;
}

gboolean hm_mount_has_option(const HmMount *self, const char *option)
{
    g_auto(GStrv) options = g_strsplit(self->options, ",", -1);

    return g_strv_contains((const char *const *)options, option);
}
