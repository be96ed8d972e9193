/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What was saved, as items, and the entries that are made of them: all of it in
 * the registry's thread, before anything is completed.
 */
#include <string.h>
#include "backends/hostmem.h"
#include "backends/object-types.h"
#include "backends/registry-restore.h"
#include "util/error.h"

/* A device, its backend, what that is made of, a thread-context: and some. */
#define MAX_LINKS 16

static json_t *options_of(const HmRestoreItem *item)
{
    return json_object_get(item->json, "options");
}

static HmSpecKind kind_of(const HmRestoreItem *item)
{
    return json_object_get(options_of(item), "driver") ? HM_SPEC_DEVICE
                                                       : HM_SPEC_OBJECT;
}

/* (nullable): the row that a key of the options has. */
static const HmProp *find_row(const HmRestoreItem *item, const char *key)
{
    const char *what = kind_of(item) == HM_SPEC_DEVICE ? "driver" : "qom-type";
    const char *name =
        json_string_value(json_object_get(options_of(item), what));
    const HmObjectType *type = name ? hm_object_type_find(name) : NULL;
    g_autoptr(GTypeClass) klass = NULL;

    if (!type || type->abstract) {
        return NULL;
    }
    klass = g_type_class_ref(type->get_type());
    return hm_props_find(G_OBJECT_CLASS(klass), key);
}

static gboolean is_link(const HmRestoreItem *item, const char *key,
                        json_t *value)
{
    const HmProp *row = find_row(item, key);

    return row && row->kind == HM_PROP_LINK && json_is_string(value) &&
           *json_string_value(value);
}

/* (nullable): what an id or a path of an object stands for. */
HmRestoreItem *hm_restore_find_item(const HmRestore *self, const char *path)
{
    g_autofree char *full = *path == '/'
                                ? g_strdup(path)
                                : g_strconcat(HM_OBJECTS_PATH, path, NULL);

    return g_hash_table_lookup(self->by_path, full);
}

/* Depth first; rings and long chains, which nobody can have saved, are cut. */
static void visit(HmRestore *self, HmRestoreItem *item, guint depth)
{
    const char *key;
    json_t *value;

    if (item->visited || depth > MAX_LINKS) {
        return;
    }
    item->visited = TRUE;
    json_object_foreach(options_of(item), key, value)
    {
        HmRestoreItem *target =
            is_link(item, key, value)
                ? hm_restore_find_item(self, json_string_value(value))
                : NULL;

        if (target) {
            visit(self, target, depth + 1);
        }
    }
    g_ptr_array_add(self->order, item);
}

void hm_restore_read_items(HmRestore *self, GHashTable *fds)
{
    json_t *list = json_object_get(self->state->root, "objects");
    json_t *json;
    gsize i;

    json_array_foreach(list, i, json)
    {
        HmRestoreItem item = {
            .path = json_string_value(json_object_get(json, "path")),
            .json = json,
        };

        item.saved = hm_saved_read(json, fds, &item.error);
        g_array_append_val(self->items, item);
    }
    for (i = 0; i < self->items->len; i++) {
        HmRestoreItem *item = &g_array_index(self->items, HmRestoreItem, i);

        if (!g_hash_table_contains(self->by_path, item->path)) {
            g_hash_table_insert(self->by_path, (gpointer)item->path, item);
        }
    }
    for (i = 0; i < self->items->len; i++) {
        visit(self, &g_array_index(self->items, HmRestoreItem, i), 0);
    }
}

/* Entries: the registry's thread */

void hm_restore_drop_link(const HmRestoreItem *item, const char *key,
                          const char *target)
{
    g_message("%s: '%s' is left out, as '%s' is not there", item->path, key,
              target);
    json_object_del(options_of(item), key);
}

/* Links to thread-contexts that are not there. */
static void drop_links(HmRestore *self, HmRestoreItem *item)
{
    const char *key;
    json_t *value;
    void *next;

    json_object_foreach_safe(options_of(item), next, key, value)
    {
        const char *path = json_string_value(value);
        HmRestoreItem *target =
            is_link(item, key, value) ? hm_restore_find_item(self, path) : NULL;

        if (target && !target->entry &&
            find_row(item, key)->type() == HOSTMEM_TYPE_THREAD_CONTEXT) {
            hm_restore_drop_link(item, key, target->path);
        }
    }
}

/* What is being made can be pointed to. */
static GObject *find_link(const char *path, gpointer data, GError **error)
{
    const HmRestoreItem *item = hm_restore_find_item(data, path);
    g_autofree char *quoted = hm_error_quote(path);

    if (item && item->entry) {
        return G_OBJECT(item->entry->object);
    }
    hm_set_error(error, HOSTMEM_ERROR_NOT_FOUND,
                 "%s, which it needs, was not restored", quoted);
    return NULL;
}

/* Devices without an id are numbered. */
static gboolean set_number(HmRestore *self, const HmRestoreItem *item)
{
    const char *prefix = HM_UNNAMED_PATH "device[";
    guint64 number;

    if (!g_str_has_prefix(item->path, prefix)) {
        return TRUE;
    }
    number = g_ascii_strtoull(item->path + strlen(prefix), NULL, 10);
    if (number >= G_MAXUINT) {
        return FALSE;
    }
    self->registry->n_unnamed = (guint)number;
    return TRUE;
}

static HmEntry *add_entry(HmRestore *self, HmRestoreItem *item, GError **error)
{
    HmPropLinks links = *hm_registry_links(self->registry);
    g_autoptr(HmObjectSpec) spec = NULL;
    HmEntry *entry;

    links.find = find_link;
    links.data = self;
    spec = hm_object_spec_from_json(kind_of(item), options_of(item), &links,
                                    error);
    if (!spec) {
        return NULL;
    }
    if (!set_number(self, item)) {
        hm_set_error(error, HOSTMEM_ERROR_INVALID, "its path has no number");
        return NULL;
    }
    entry = hm_registry_add_entry(self->registry, spec, error);
    if (entry && !g_str_equal(entry->path, item->path)) {
        hm_set_error(error, HOSTMEM_ERROR_INVALID,
                     "its path is not that of its id, %s", entry->path);
        hm_entry_drop(entry);
        return NULL;
    }
    return entry;
}

static void make_entry(HmRestore *self, HmRestoreItem *item)
{
    json_t *given = json_object_get(item->json, "given");
    const char *lost;

    if (item->error) {
        return;
    }
    lost = hm_saved_get_lost(item->saved);
    if (lost) {
        item->lost = TRUE;
        hm_set_error(&item->error, HOSTMEM_ERROR_CHANGED, "%s", lost);
        return;
    }
    drop_links(self, item);
    item->entry = add_entry(self, item, &item->error);
    if (!item->entry) {
        return;
    }
    hm_object_set_saved(item->entry->object, g_steal_pointer(&item->saved));
    item->entry->restored = TRUE;
    if (json_is_object(given)) {
        json_decref(item->entry->given);
        item->entry->given = json_incref(given);
    }
}

void hm_restore_make_entries(HmRestore *self)
{
    HostmemRegistry *registry = self->registry;
    guint next = 0;

    for (guint i = 0; i < self->order->len; i++) {
        make_entry(self, g_ptr_array_index(self->order, i));
        next = MAX(next, registry->n_unnamed);
    }
    registry->n_unnamed = next;
}
