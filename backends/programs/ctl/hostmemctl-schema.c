/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "hostmemctl.h"

/*
 * Theory of operation
 *
 * query-qmp-schema is a flat list of types that refer to each other by name; a
 * command is one of them.  What a command takes is an object, some members of
 * which depend on the value of another one, its tag: so what is given already
 * is asked for.  A key with dots leads into members that are objects.
 *
 * Of device_add a QEMU's schema tells three members; the others are properties
 * of the driver, for which there is a query.
 */

struct CtlSchema {
    CtlPeer *peer;       /* borrowed */
    json_t *list;        /* (nullable): while it was not to be had */
    GHashTable *entries; /* name to json_t, of @list */
    GHashTable *drivers; /* name to json_t: device-list-properties */
};

static void free_json(gpointer value)
{
    json_decref(value);
}

CtlSchema *ctl_schema_new(CtlPeer *peer)
{
    CtlSchema *self = g_new0(CtlSchema, 1);

    self->peer = peer;
    self->entries = g_hash_table_new(g_str_hash, g_str_equal);
    self->drivers =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_json);
    return self;
}

void ctl_schema_free(CtlSchema *self)
{
    g_hash_table_unref(self->entries);
    g_hash_table_unref(self->drivers);
    json_decref(self->list);
    g_free(self);
}

/* Asking */

static void ask(CtlSchema *self)
{
    json_t *entry;
    gsize i;

    if (self->list) {
        return;
    }
    self->list = ctl_peer_call(self->peer, "query-qmp-schema", NULL, NULL);
    json_array_foreach(self->list, i, entry)
    {
        const char *name = peer_json_string(entry, "name");

        if (name) {
            g_hash_table_insert(self->entries, (gpointer)name, entry);
        }
    }
}

/* (nullable): an entry by name. */
static const json_t *find_entry(CtlSchema *self, const char *name)
{
    ask(self);
    return name ? g_hash_table_lookup(self->entries, name) : NULL;
}

static gboolean is_of(const json_t *entry, const char *meta_type)
{
    return g_strcmp0(peer_json_string(entry, "meta-type"), meta_type) == 0;
}

/* (nullable): the properties of a driver. */
static const json_t *find_driver(CtlSchema *self, const char *driver)
{
    json_t *properties = g_hash_table_lookup(self->drivers, driver);

    if (!properties) {
        properties =
            ctl_peer_call(self->peer, "device-list-properties",
                          json_pack("{s:s}", "typename", driver), NULL);
        if (properties) {
            g_hash_table_insert(self->drivers, g_strdup(driver), properties);
        }
    }
    return properties;
}

/* Kinds: JSON types, as the schema names them */

static const char *kind_of_type(CtlSchema *self, const char *type)
{
    const json_t *entry = find_entry(self, type);
    const char *kind = peer_json_string(entry, "json-type");

    if (is_of(entry, "enum")) {
        return "string";
    }
    if (is_of(entry, "array") || is_of(entry, "object")) {
        return peer_json_string(entry, "meta-type");
    }
    return kind ? kind : "value";
}

/* Of a property, whose types are another language. */
static const char *kind_of_property(const char *type)
{
    if (!type) {
        return "value";
    }
    if (g_str_equal(type, "bool")) {
        return "boolean";
    }
    if (g_str_has_prefix(type, "uint") || g_str_has_prefix(type, "int") ||
        g_str_equal(type, "size")) {
        return "int";
    }
    return g_str_has_prefix(type, "list") ? "value" : "string";
}

/* Members */

/* (nullable): what has the members of a member: of an alternative the object.
 */
static const json_t *type_of_member(CtlSchema *self, const char *name)
{
    const json_t *entry = find_entry(self, name);
    json_t *choice;
    gsize i;

    if (!is_of(entry, "alternate")) {
        return entry;
    }
    json_array_foreach(json_object_get(entry, "members"), i, choice)
    {
        const json_t *type = find_entry(self, peer_json_string(choice, "type"));

        if (is_of(type, "object")) {
            return type;
        }
    }
    return entry;
}

static void take_members(CtlSchema *self, const json_t *type, GArray *members)
{
    json_t *row;
    gsize i;

    json_array_foreach(json_object_get(type, "members"), i, row)
    {
        const char *name = peer_json_string(row, "name");
        const char *of = peer_json_string(row, "type");
        CtlMember member = {
            .name = name,
            .kind = kind_of_type(self, of),
            .optional = json_object_get(row, "default") != NULL,
            .type = type_of_member(self, of),
        };

        if (name) {
            g_array_append_val(members, member);
        }
    }
}

/* Those that come with the value that the tag has. */
static void take_variant(CtlSchema *self, const json_t *type,
                         const char *prefix, GHashTable *given, GArray *members)
{
    const char *tag = peer_json_string(type, "tag");
    g_autofree char *key = tag ? g_strconcat(prefix, tag, NULL) : NULL;
    const char *value = key ? g_hash_table_lookup(given, key) : NULL;
    const json_t *variant =
        value ? peer_json_find(json_object_get(type, "variants"), "case", value)
              : NULL;

    take_members(self, find_entry(self, peer_json_string(variant, "type")),
                 members);
}

static void take_properties(CtlSchema *self, const char *driver,
                            GArray *members)
{
    json_t *row;
    gsize i;

    json_array_foreach(find_driver(self, driver), i, row)
    {
        const char *name = peer_json_string(row, "name");
        CtlMember member = {
            .name = name,
            .kind = kind_of_property(peer_json_string(row, "type")),
            .optional = TRUE,
        };

        if (name) {
            g_array_append_val(members, member);
        }
    }
}

static const CtlMember *find_member(const GArray *members, const char *name)
{
    for (guint i = 0; i < members->len; i++) {
        const CtlMember *member = &g_array_index(members, CtlMember, i);

        if (g_str_equal(member->name, name)) {
            return member;
        }
    }
    return NULL;
}

static GArray *members_of_type(CtlSchema *self, const json_t *type,
                               const char *prefix, GHashTable *given)
{
    GArray *members = g_array_new(FALSE, FALSE, sizeof(CtlMember));

    take_members(self, type, members);
    take_variant(self, type, prefix, given, members);
    return members;
}

GArray *ctl_schema_members(CtlSchema *self, const char *command,
                           const char *prefix, GHashTable *given)
{
    const json_t *entry = find_entry(self, command);
    const json_t *type =
        is_of(entry, "command")
            ? find_entry(self, peer_json_string(entry, "arg-type"))
            : NULL;
    const char *driver = g_hash_table_lookup(given, "driver");
    GArray *members = members_of_type(self, type, "", given);
    const char *dot;

    if (g_str_equal(command, "device_add") && driver &&
        !peer_json_string(type, "tag")) {
        take_properties(self, driver, members);
    }
    for (const char *part = prefix; (dot = strchr(part, '.')); part = dot + 1) {
        g_autofree char *name = g_strndup(part, dot - part);
        g_autofree char *path = g_strndup(prefix, dot + 1 - prefix);
        const CtlMember *member = find_member(members, name);

        type = member ? member->type : NULL;
        g_array_unref(members);
        members = members_of_type(self, type, path, given);
    }
    return members;
}

const char *ctl_schema_kind(const char *command, const char *key,
                            GHashTable *given, gpointer schema)
{
    const char *dot = strrchr(key, '.');
    const char *name = dot ? dot + 1 : key;
    g_autofree char *prefix = g_strndup(key, name - key);
    g_autoptr(GArray) members =
        ctl_schema_members(schema, command, prefix, given);
    const CtlMember *member = find_member(members, name);

    /* Of others nobody knows what a text would be. */
    static const char *const known[] = {"array",  "boolean", "int",
                                        "object", "string",  NULL};
    return member && g_strv_contains(known, member->kind) ? member->kind : NULL;
}

GPtrArray *ctl_member_values(const CtlMember *member)
{
    GPtrArray *values = g_ptr_array_new();
    json_t *row;
    gsize i;

    if (g_str_equal(member->kind, "boolean")) {
        g_ptr_array_add(values, (gpointer) "true");
        g_ptr_array_add(values, (gpointer) "false");
    }
    if (!is_of(member->type, "enum")) {
        return values;
    }
    json_array_foreach(json_object_get(member->type, "members"), i, row)
    {
        const char *name = peer_json_string(row, "name");

        if (name) {
            g_ptr_array_add(values, (gpointer)name);
        }
    }
    return values;
}

static int compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

GPtrArray *ctl_schema_commands(CtlSchema *self)
{
    GPtrArray *names = g_ptr_array_new();
    GHashTableIter iter;
    gpointer name, entry;

    ask(self);
    g_hash_table_iter_init(&iter, self->entries);
    while (g_hash_table_iter_next(&iter, &name, &entry)) {
        if (is_of(entry, "command")) {
            g_ptr_array_add(names, name);
        }
    }
    g_ptr_array_sort(names, compare_names);
    return names;
}
