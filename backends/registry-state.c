/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "backends/registry-restore.h"
#include "util/autofd.h"
#include "util/error.h"
#include "util/jsonstream.h"

/* Reading: it comes from outside, and may be cut, altered, or no state */

void hm_state_free(HmState *self)
{
    json_decref(self->root);
    g_free(self->name);
    if (self->fd >= 0) {
        hm_os_close(self->fd);
    }
    g_free(self);
}

static gboolean refuse(GError **error, const char *what)
{
    return hm_set_error(error, HOSTMEM_ERROR_INVALID, "%s", what);
}

static gboolean read_text(int fd, GString *text, GError **error)
{
    struct stat st;
    gssize n;
    int ret = hm_os_stat(fd, &st);

    if (ret < 0) {
        return hm_set_error_errno(error, -ret, "it cannot be read");
    }
    if (!S_ISREG(st.st_mode)) {
        return refuse(error, "it is no file");
    }
    if (st.st_size <= 0 || st.st_size > HM_JSON_MAX_BYTES) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "it is %" G_GINT64_FORMAT
                            " bytes long, of 1 to %u that are possible",
                            (gint64)st.st_size, HM_JSON_MAX_BYTES);
    }
    g_string_set_size(text, (gsize)st.st_size);
    n = hm_os_read_at(fd, text->str, text->len, 0);
    if (n < 0) {
        return hm_set_error_errno(error, (int)-n, "it cannot be read");
    }
    g_string_set_size(text, (gsize)n);
    return TRUE;
}

static gboolean check_version(json_t *root, GError **error)
{
    json_t *version = json_object_get(root, HOSTMEM_STATE_NAME);

    if (!json_is_integer(version)) {
        return refuse(error, "it is no state of hostmem");
    }
    if (json_integer_value(version) != HM_STATE_VERSION) {
        return hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                            "it is of version %" JSON_INTEGER_FORMAT
                            ", and this hostmem knows version %d",
                            json_integer_value(version), HM_STATE_VERSION);
    }
    return TRUE;
}

static gboolean read_number(json_t *root, const char *key, guint64 *number)
{
    json_t *json = json_object_get(root, key);

    *number = (guint64)json_integer_value(json);
    return json_is_integer(json) && json_integer_value(json) >= 0;
}

/* Fit for a message. */
static gboolean is_path(json_t *json)
{
    const char *path = json_string_value(json);

    if (!path || *path != '/') {
        return FALSE;
    }
    while (g_ascii_isgraph(*path)) {
        path++;
    }
    return !*path;
}

static gboolean has_form(json_t *root)
{
    json_t *note = json_object_get(root, "note");
    json_t *objects = json_object_get(root, "objects");
    json_t *entry;
    gsize i;

    json_array_foreach(objects, i, entry)
    {
        if (!is_path(json_object_get(entry, "path"))) {
            return FALSE;
        }
    }
    return json_is_array(objects) &&
           (!note || (json_is_string(note) &&
                      json_string_length(note) <= HM_STATE_NOTE_MAX));
}

static HmState *parse(int fd, const char *name, GError **error)
{
    g_autoptr(HmState) self = g_new0(HmState, 1);
    g_autoptr(GString) text = g_string_new(NULL);

    self->fd = -1;
    if (!read_text(fd, text, error)) {
        return NULL;
    }
    self->root = hm_json_parse(text->str, text->len, error);
    if (!self->root || !check_version(self->root, error)) {
        return NULL;
    }
    if (!read_number(self->root, "generation", &self->generation) ||
        !read_number(self->root, "serial", &self->serial) ||
        !has_form(self->root)) {
        refuse(error, "it lacks what a state has");
        return NULL;
    }
    self->name = g_strdup(name);
    return g_steal_pointer(&self);
}

gboolean hm_state_lock(int fd, GError **error)
{
    pid_t holder = 0;
    int ret = hm_os_lock(fd, &holder);

    if (ret == 0) {
        return TRUE;
    }
    if (ret != -EAGAIN) {
        return hm_set_error_errno(error, -ret, "cannot lock the saved state");
    }
    return hm_set_error(error, HOSTMEM_ERROR_BUSY,
                        "process %d has the memory of this saved state: there "
                        "can be only one",
                        (int)holder);
}

static gboolean is_state_name(const char *name)
{
    return g_str_equal(name, HOSTMEM_STATE_NAME) ||
           g_str_has_prefix(name, HOSTMEM_STATE_NAME ".");
}

/* Takes @fd->fd when it is the newest so far; FALSE with @error. */
static gboolean consider(HmState **best, HostmemSavedFd *fd, GError **error)
{
    g_autoptr(HmState) found = parse(fd->fd, fd->name, error);

    if (!found) {
        g_prefix_error(error, "saved state '%s': ", fd->name);
        return FALSE;
    }
    if (!*best || found->generation > (*best)->generation) {
        found->fd = hm_steal_fd(&fd->fd);
        g_clear_pointer(best, hm_state_free);
        *best = g_steal_pointer(&found);
    }
    return TRUE;
}

/* A state that is no use is a message when another one is. */
static HmState *find_newest(GPtrArray *fds, GPtrArray *names, GError **error)
{
    g_autoptr(HmState) best = NULL;
    g_autoptr(GError) why = NULL;

    for (guint i = fds->len; i-- > 0;) {
        HostmemSavedFd *fd = g_ptr_array_index(fds, i);
        g_autoptr(GError) local = NULL;

        if (!is_state_name(fd->name)) {
            continue;
        }
        g_ptr_array_add(names, g_strdup(fd->name));
        if (!consider(&best, fd, &local) && !why) {
            why = g_steal_pointer(&local);
        }
        g_ptr_array_remove_index(fds, i);
    }
    if (!best && why) {
        g_propagate_error(error, g_steal_pointer(&why));
    } else if (!best) {
        hm_set_error(error, HOSTMEM_ERROR_NOT_FOUND,
                     "there is no saved state: none of the descriptors is "
                     "named '%s'",
                     HOSTMEM_STATE_NAME);
    } else if (why) {
        g_message("%s; an older one is used", why->message);
    }
    return g_steal_pointer(&best);
}

HmState *hm_state_find(GPtrArray *fds, GPtrArray *names, GError **error)
{
    g_autoptr(HmState) self = find_newest(fds, names, error);

    return self && hm_state_lock(self->fd, error) ? g_steal_pointer(&self)
                                                  : NULL;
}
