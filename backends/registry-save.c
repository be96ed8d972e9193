/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * Whoever keeps descriptors can add one and can forget one, and may be left at
 * any moment by a process that is killed.  So each state is a new file, and
 * names are never used twice: what came is added, then the new state, and then
 * the old state and what went are forgotten.  At any moment there is a state
 * all of whose descriptors are there.
 *
 * The registry remembers the names that it has handed out, so that a save
 * duplicates only what is new; after a save that failed it has handed out
 * nothing.
 */
#include <errno.h>
#include <linux/memfd.h>
#include <string.h>
#include "backends/export-dir.h"
#include "backends/registry-restore.h"
#include "util/autofd.h"
#include "util/error.h"
#include "util/jsonstream.h"

#define STATE_SEALS (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)

/* What is handed over */

HostmemSavedFd *hostmem_saved_fd_new(const char *name, int fd)
{
    HostmemSavedFd *self;

    g_return_val_if_fail(name, NULL);

    self = g_new(HostmemSavedFd, 1);
    *self = (HostmemSavedFd){g_strdup(name), fd};
    return self;
}

void hostmem_saved_fd_free(HostmemSavedFd *self)
{
    if (self) {
        if (self->fd >= 0) {
            hm_os_close(self->fd);
        }
        g_free(self->name);
        g_free(self);
    }
}

static void saved_fd_free(gpointer data)
{
    hostmem_saved_fd_free(data);
}

void hostmem_save_free(HostmemSave *self)
{
    if (self) {
        g_ptr_array_unref(self->added);
        g_ptr_array_unref(self->removed);
        g_free(self->state_name);
        g_free(self);
    }
}

static HostmemSave *save_new(void)
{
    HostmemSave *self = g_new0(HostmemSave, 1);

    self->added = g_ptr_array_new_with_free_func(saved_fd_free);
    self->removed = g_ptr_array_new_with_free_func(g_free);
    self->state_fd = -1;
    return self;
}

/* Options: what was given, with the current values of what may change */

void hm_options_resolve_aliases(json_t *options, GObjectClass *klass)
{
    const char *key;
    json_t *value;
    void *next;

    json_object_foreach_safe(options, next, key, value)
    {
        const HmProp *row = hm_props_find(klass, key);

        if (row && row->alias_of) {
            json_object_set(options, row->alias_of, value);
            json_object_del(options, key);
        }
    }
}

static gboolean is_default(GObjectClass *klass, const HmProp *row, json_t *json)
{
    GParamSpec *pspec = g_object_class_find_property(klass, row->name);
    json_auto_t *usual =
        hm_prop_to_json(row, g_param_spec_get_default_value(pspec), NULL);

    return json_equal(json, usual);
}

static void add_current(json_t *options, HmEntry *entry, const HmProp *row)
{
    GObjectClass *klass = G_OBJECT_GET_CLASS(entry->object);
    json_auto_t *json = hm_object_get_json(
        entry->object, row->name, hm_registry_links(entry->registry), NULL);

    if (json && (json_object_get(options, row->name) ||
                 !is_default(klass, row, json))) {
        json_object_set(options, row->name, json);
    }
}

/* (transfer full) */
static json_t *current_options(HmEntry *entry)
{
    GObjectClass *klass = G_OBJECT_GET_CLASS(entry->object);
    g_autoptr(GPtrArray) rows = hm_props_list(klass);
    json_t *options = json_deep_copy(entry->given);

    hm_options_resolve_aliases(options, klass);
    for (guint i = 0; i < rows->len; i++) {
        const HmProp *row = g_ptr_array_index(rows, i);

        if (row->flags & HM_PROP_LIVE && !row->alias_of &&
            !(row->flags & HM_PROP_WRITE_ONLY)) {
            add_current(options, entry, row);
        }
    }
    return options;
}

/* Entries */

static void hand_over(HostmemSave *save, HmSaved *saved, GHashTable *names)
{
    for (guint i = 0; i < hm_saved_n_fds(saved); i++) {
        const char *name = hm_saved_get_name(saved, i);
        int fd = hm_saved_steal_fd(saved, i);

        g_hash_table_add(names, g_strdup(name));
        if (fd >= 0) {
            g_ptr_array_add(save->added, hostmem_saved_fd_new(name, fd));
        }
    }
}

/* (transfer full) (nullable) */
static json_t *save_entry(HmEntry *entry, HostmemSave *save, GHashTable *names,
                          GError **error)
{
    HostmemRegistry *registry = entry->registry;
    HostmemObject *object = entry->object;
    g_autoptr(HmSaved) saved = hm_saved_new(
        registry->keeper, object->id, current_options(entry), registry->kept);
    json_t *json;

    HOSTMEM_OBJECT_GET_CLASS(object)->save(object, saved);
    if (!hm_saved_check(saved, error)) {
        return NULL;
    }
    hand_over(save, saved, names);
    json = hm_saved_write(saved);
    json_object_set_new(json, "path", json_string(entry->path));
    json_object_set(json, "given", entry->given);
    return json;
}

static json_t *save_entries(HostmemRegistry *self, HostmemSave *save,
                            GHashTable *names, GError **error)
{
    json_auto_t *list = json_array();

    for (guint i = 0; i < self->entries->len; i++) {
        HmEntry *entry = g_ptr_array_index(self->entries, i);
        json_t *json;

        if (entry->state != HM_ENTRY_READY) {
            continue;
        }
        json = save_entry(entry, save, names, error);
        if (!json) {
            return NULL;
        }
        json_array_append_new(list, json);
    }
    return g_steal_pointer(&list);
}

static char *write_text(HostmemRegistry *self, json_t *entries, GError **error)
{
    json_auto_t *root = json_pack(
        "{s:i,s:I,s:I,s:O}", HOSTMEM_STATE_NAME, HM_STATE_VERSION, "generation",
        (json_int_t)(self->generation + 1), "serial",
        (json_int_t)hm_keeper_get_serial(self->keeper), "objects", entries);
    g_autofree char *text = NULL;

    if (self->note) {
        json_object_set_new(root, "note", json_string(self->note));
    }
    text = json_dumps(root, JSON_COMPACT);
    if (!text || strlen(text) > HM_JSON_MAX_BYTES) {
        hm_set_error(error, HOSTMEM_ERROR_LIMIT,
                     "the state is longer than %u bytes", HM_JSON_MAX_BYTES);
        return NULL;
    }
    return g_steal_pointer(&text);
}

/* The file */

static gboolean fill(int fd, const char *text, GError **error)
{
    gsize length = strlen(text);
    guint64 limit = G_MAXUINT64;
    int ret;

    /* Asked first: running into it would raise SIGXFSZ. */
    hm_os_get_limit(RLIMIT_FSIZE, &limit);
    if (length > limit) {
        return hm_set_error(error, HOSTMEM_ERROR_LIMIT,
                            "cannot write %zu bytes of state: %s (RLIMIT_FSIZE "
                            "is %" G_GUINT64_FORMAT ")",
                            length, g_strerror(EFBIG), limit);
    }
    ret = hm_os_write(fd, text, length);
    if (ret == 0) {
        ret = hm_os_add_seals(fd, STATE_SEALS);
    }
    return ret == 0 ||
           hm_set_error_errno(error, -ret, "cannot write %zu bytes of state",
                              length);
}

/* Returns: -1 with @error */
static int make_file(const char *text, GError **error)
{
    hm_autofd int fd = hm_os_memfd("hostmem-state", MFD_ALLOW_SEALING);

    if (fd < 0) {
        hm_set_error_errno(error, -fd, "cannot make a memfd for the state");
        fd = -1;
        return -1;
    }
    return hm_state_lock(fd, error) && fill(fd, text, error) ? hm_steal_fd(&fd)
                                                             : -1;
}

/* What was handed out before, and is there no more. */
static void add_removed(HostmemRegistry *self, GHashTable *names,
                        HostmemSave *save)
{
    GHashTableIter iter;
    gpointer name;

    for (guint i = 0; i < self->old_states->len; i++) {
        g_ptr_array_add(save->removed,
                        g_strdup(g_ptr_array_index(self->old_states, i)));
    }
    g_hash_table_iter_init(&iter, self->kept);
    while (g_hash_table_iter_next(&iter, &name, NULL)) {
        if (!g_hash_table_contains(names, name)) {
            g_ptr_array_add(save->removed, g_strdup(name));
        }
    }
}

void hm_registry_clear_state(HostmemRegistry *self)
{
    if (self->state_fd >= 0) {
        hm_os_close(self->state_fd);
        self->state_fd = -1;
    }
}

static void commit(HostmemRegistry *self, int fd, GHashTable *names,
                   HostmemSave *save)
{
    self->generation++;
    save->state_fd = fd;
    save->state_name = g_strdup_printf(HOSTMEM_STATE_NAME ".%" G_GUINT64_FORMAT,
                                       self->generation);
    add_removed(self, names, save);
    g_ptr_array_set_size(self->old_states, 0);
    g_ptr_array_add(self->old_states, g_strdup(save->state_name));
    g_hash_table_unref(self->kept);
    self->kept = g_hash_table_ref(names);
    hm_registry_clear_state(self);
    self->state_fd = fd;
}

HostmemSave *hostmem_registry_save(HostmemRegistry *self, GError **error)
{
    g_autoptr(GHashTable) names =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(HostmemSave) save = save_new();
    json_auto_t *entries = NULL;
    g_autofree char *text = NULL;
    int fd;

    g_return_val_if_fail(HOSTMEM_IS_REGISTRY(self), NULL);

    entries = save_entries(self, save, names, error);
    text = entries ? write_text(self, entries, error) : NULL;
    fd = text ? make_file(text, error) : -1;
    if (fd < 0) {
        return NULL;
    }
    commit(self, fd, names, save);
    return g_steal_pointer(&save);
}

/* The rest */

void hostmem_registry_set_note(HostmemRegistry *self, const char *note)
{
    g_return_if_fail(HOSTMEM_IS_REGISTRY(self));
    g_return_if_fail(!note || (strlen(note) <= HM_STATE_NOTE_MAX &&
                               g_utf8_validate(note, -1, NULL)));

    g_free(self->note);
    self->note = g_strdup(note);
    hm_keeper_changed(self->keeper);
}

const char *hostmem_registry_get_note(HostmemRegistry *self)
{
    g_return_val_if_fail(HOSTMEM_IS_REGISTRY(self), NULL);

    return self->note;
}

void hostmem_registry_leave_behind(HostmemRegistry *self)
{
    g_return_if_fail(HOSTMEM_IS_REGISTRY(self));

    hm_keeper_leave(self->keeper);
    if (self->export_dir) {
        hm_export_dir_leave_behind(self->export_dir);
    }
}
