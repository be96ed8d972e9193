/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * /proc/self/cgroup names our cgroup in each hierarchy, and mountinfo says
 * which part of a hierarchy is mounted where.  Both are written relative to
 * the root of our cgroup namespace, so what lies outside begins with "/..".
 * Our folder is the mount point plus what our path has beyond the mounted
 * root.  When our path does not lie below that root (a container that sees
 * only somebody else's part) nothing can be said about it, and nothing is.
 */
#include <string.h>
#include "util/cgroup.h"
#include "util/os.h"

struct HmCgroup {
    guint version;
    GPtrArray *folders; /* innermost first */
};

/* Fields of a mountinfo line, up to the optional ones. */
enum {
    MOUNT_ROOT = 3,
    MOUNT_POINT = 4,
    MOUNT_OPTIONAL = 6
};

static gboolean list_has(const char *list, const char *word)
{
    g_auto(GStrv) words = g_strsplit(list, ",", -1);

    return g_strv_contains((const char *const *)words, word);
}

static char **read_lines(const char *path)
{
    g_autofree char *text = NULL;

    if (hm_os_read_text(path, &text) < 0) {
        return NULL;
    }
    return g_strsplit(text, "\n", -1);
}

/* Our path in the hierarchy of a controller, and the version of that. */
static char *find_path(const char *controller, guint *version)
{
    g_auto(GStrv) lines = read_lines("/proc/self/cgroup");
    g_autofree char *unified = NULL;

    for (char **line = lines; line && *line; line++) {
        g_auto(GStrv) fields = g_strsplit(*line, ":", 3);

        if (g_strv_length(fields) < 3) {
            continue;
        }
        if (list_has(fields[1], controller)) {
            *version = 1;
            return g_strdup(fields[2]);
        }
        if (g_str_equal(fields[0], "0") && g_str_equal(fields[1], "")) {
            g_free(unified);
            unified = g_strdup(fields[2]);
        }
    }
    *version = 2;
    return g_steal_pointer(&unified);
}

/* Whether a mount shows the hierarchy that accounts a controller. */
static gboolean mount_is_of(char **fields, const char *controller,
                            guint version)
{
    char **type = fields + MOUNT_OPTIONAL;

    while (*type && !g_str_equal(*type, "-")) {
        type++;
    }
    if (g_strv_length(type) < 4) {
        return FALSE;
    }
    if (version == 2) {
        return g_str_equal(type[1], "cgroup2");
    }
    return g_str_equal(type[1], "cgroup") && list_has(type[3], controller);
}

/* What a path has beyond a root: "" or "/..."; NULL when not below it. */
static const char *path_beyond(const char *path, const char *root)
{
    gsize length = g_str_equal(root, "/") ? 0 : strlen(root);
    const char *rest = path + length;

    if (strncmp(path, root, length) || (*rest && *rest != '/')) {
        return NULL;
    }
    if (g_str_equal(rest, "/..") || g_str_has_prefix(rest, "/../")) {
        return NULL;
    }
    return g_str_equal(rest, "/") ? "" : rest;
}

/* The folder of @rest below a mount point, and every one above it. */
static GPtrArray *list_folders(const char *point, const char *rest)
{
    GPtrArray *folders = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *folder = g_strconcat(point, rest, NULL);
    gsize top = strlen(point);

    g_ptr_array_add(folders, g_strdup(folder));
    for (gsize end = strlen(folder); end > top; end--) {
        if (folder[end - 1] == '/') {
            folder[end - 1] = '\0';
            g_ptr_array_add(folders, g_strdup(folder));
        }
    }
    return folders;
}

/* The folders that one mount shows; NULL when we are not in it. */
static GPtrArray *folders_in_mount(const char *line, const char *controller,
                                   guint version, const char *path)
{
    g_auto(GStrv) fields = g_strsplit(line, " ", -1);
    g_autofree char *root = NULL;
    g_autofree char *point = NULL;
    const char *rest;

    if (g_strv_length(fields) <= MOUNT_OPTIONAL ||
        !mount_is_of(fields, controller, version)) {
        return NULL;
    }
    /* Blanks and backslashes are written in octal. */
    root = g_strcompress(fields[MOUNT_ROOT]);
    point = g_strcompress(fields[MOUNT_POINT]);
    rest = path_beyond(path, root);
    return rest ? list_folders(point, rest) : NULL;
}

/* Several mounts may show the same hierarchy: take the one that shows most. */
static GPtrArray *find_folders(const char *controller, guint version,
                               const char *path)
{
    g_auto(GStrv) lines = read_lines("/proc/self/mountinfo");
    g_autoptr(GPtrArray) best = NULL;

    for (char **line = lines; line && *line; line++) {
        g_autoptr(GPtrArray) folders =
            folders_in_mount(*line, controller, version, path);

        if (folders && (!best || folders->len > best->len)) {
            g_clear_pointer(&best, g_ptr_array_unref);
            best = g_steal_pointer(&folders);
        }
    }
    return g_steal_pointer(&best);
}

HmCgroup *hm_cgroup_find(const char *controller)
{
    guint version = 0;
    g_autofree char *path = find_path(controller, &version);
    GPtrArray *folders = path ? find_folders(controller, version, path) : NULL;
    HmCgroup *self;

    if (!folders) {
        return NULL;
    }
    self = g_new(HmCgroup, 1);
    self->version = version;
    self->folders = folders;
    return self;
}

void hm_cgroup_free(HmCgroup *self)
{
    if (self) {
        g_ptr_array_unref(self->folders);
        g_free(self);
    }
}

guint hm_cgroup_version(const HmCgroup *self)
{
    return self->version;
}

guint hm_cgroup_levels(const HmCgroup *self)
{
    return self->folders->len;
}

const char *hm_cgroup_folder(const HmCgroup *self, guint level)
{
    g_return_val_if_fail(level < self->folders->len, NULL);
    return g_ptr_array_index(self->folders, level);
}

char *hm_cgroup_read(const HmCgroup *self, guint level, const char *file)
{
    g_autofree char *path =
        g_strconcat(hm_cgroup_folder(self, level), "/", file, NULL);
    char *text = NULL;

    return hm_os_read_text(path, &text) < 0 ? NULL : text;
}

gboolean hm_cgroup_read_number(const HmCgroup *self, guint level,
                               const char *file, guint64 *value)
{
    g_autofree char *text = hm_cgroup_read(self, level, file);

    if (!text) {
        return FALSE;
    }
    g_strchomp(text);
    if (g_str_equal(text, "max")) {
        *value = G_MAXUINT64;
        return TRUE;
    }
    return g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT64, value, NULL);
}
