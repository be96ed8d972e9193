/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "hostmemctl.h"

#define OBJECTS "/objects/"

/* What a peer does not tell is '-'; what it tells has any form. */

/* Jobs */

static const CtlColumn job_columns[] = {
    {"job", FALSE}, {"type", FALSE}, {"status", FALSE}, {"progress", FALSE},
    {"done", TRUE}, {"total", TRUE}, {"error", FALSE},  {0},
};

char *ctl_view_bar(const json_t *object, const char *done, const char *total)
{
    guint64 part, whole;

    if (!peer_json_number(object, done, &part) ||
        !peer_json_number(object, total, &whole)) {
        return NULL;
    }
    return ctl_text_bar(part, whole);
}

void ctl_view_jobs(const json_t *jobs, GString *text)
{
    g_autoptr(CtlTable) table = ctl_table_new(job_columns);
    json_t *job;
    gsize i;

    json_array_foreach(jobs, i, job)
    {
        ctl_table_add(
            table, (char *[]){
                       ctl_text_member(job, "id"),
                       ctl_text_member(job, "type"),
                       ctl_text_member(job, "status"),
                       ctl_view_bar(job, "current-progress", "total-progress"),
                       ctl_text_size(job, "current-progress"),
                       ctl_text_size(job, "total-progress"),
                       ctl_text_member(job, "error"),
                   });
    }
    ctl_table_append_to(table, text);
}

/* Pools */

static const CtlColumn pool_columns[] = {
    {"pool", FALSE}, {"fill", FALSE}, {"ready", TRUE},   {"lent", TRUE},
    {"dirty", TRUE}, {"size", TRUE},  {"segment", TRUE}, {0},
};

void ctl_view_pools(const json_t *pools, GString *text)
{
    g_autoptr(CtlTable) table = ctl_table_new(pool_columns);
    json_t *pool;
    gsize i;

    json_array_foreach(pools, i, pool)
    {
        ctl_table_add(table, (char *[]){
                                 ctl_text_member(pool, "id"),
                                 ctl_view_bar(pool, "ready-size", "size"),
                                 ctl_text_size(pool, "ready-size"),
                                 ctl_text_size(pool, "lent-size"),
                                 ctl_text_size(pool, "dirty-size"),
                                 ctl_text_size(pool, "size"),
                                 ctl_text_size(pool, "segment-size"),
                             });
    }
    ctl_table_append_to(table, text);
}

/* Backends */

static const CtlColumn backend_columns[] = {
    {"backend", FALSE},
    {"type", FALSE},
    {"size", TRUE},
    {"max", TRUE},
    {"backed", TRUE},
    {"populated", TRUE},
    {"resident", TRUE},
    {"locked", TRUE},
    {"page size", TRUE},
    {"prealloc", FALSE},
    {"share", FALSE},
    {"in use", FALSE},
    {"nodes", FALSE},
    {"policy", FALSE},
    {"pool", FALSE},
    {"method", FALSE},
    {0},
};

/* A path as the id that it is of, where it is one of an object. */
static char *id_of(const json_t *object, const char *key)
{
    const char *path = peer_json_string(object, key);

    return path && g_str_has_prefix(path, OBJECTS)
               ? g_strdup(path + strlen(OBJECTS))
               : g_strdup(path);
}

/* (transfer full) (nullable): "p0: 4 GiB", as much as came from it. */
static char *pool_of(const json_t *backend)
{
    g_autofree char *id = id_of(backend, "pool");
    g_autofree char *size = ctl_text_size(backend, "pool-size");

    return id && size ? g_strdup_printf("%s: %s", id, size)
                      : g_steal_pointer(&id);
}

/* (transfer full) (nullable): whether somebody else has it. */
static char *in_use_of(const json_t *backend)
{
    const json_t *in_use = json_object_get(backend, "in-use");

    return json_is_boolean(in_use)
               ? g_strdup(json_is_true(in_use) ? "yes" : "no")
               : NULL;
}

static void view_backends(const json_t *backends, GString *text)
{
    g_autoptr(CtlTable) table = ctl_table_new(backend_columns);
    json_t *backend;
    gsize i;

    json_array_foreach(backends, i, backend)
    {
        ctl_table_add(table, (char *[]){
                                 ctl_text_member(backend, "id"),
                                 ctl_text_member(backend, "type"),
                                 ctl_text_size(backend, "size"),
                                 ctl_text_size(backend, "max-size"),
                                 ctl_text_size(backend, "backed-size"),
                                 ctl_text_size(backend, "populated-size"),
                                 ctl_text_size(backend, "resident-size"),
                                 ctl_text_size(backend, "locked-size"),
                                 ctl_text_size(backend, "page-size"),
                                 ctl_text_member(backend, "prealloc"),
                                 ctl_text_member(backend, "share"),
                                 in_use_of(backend),
                                 ctl_text_member(backend, "host-nodes"),
                                 ctl_text_member(backend, "policy"),
                                 pool_of(backend),
                                 ctl_text_member(backend, "prealloc-method"),
                             });
    }
    ctl_table_append_to(table, text);
}

/* Devices */

static const CtlColumn device_columns[] = {
    {"device", FALSE},
    {"type", FALSE},
    {"memdev", FALSE},
    {"plugged", FALSE},
    {"size", TRUE},
    {"requested", TRUE},
    {"max", TRUE},
    {"block", TRUE},
    {"node", TRUE},
    {"resize", FALSE},
    {0},
};

/* (transfer full) (nullable): how a resize goes, as far as was heard. */
static char *resize_of(const json_t *device, const CtlNews *news)
{
    const char *id = peer_json_string(device, "id");
    g_autofree char *path = g_strconcat("/machine/peripheral/", id, NULL);
    guint64 size, requested;
    const char *state;

    if (!peer_json_number(device, "requested-size", &requested)) {
        return NULL;
    }
    peer_json_number(device, "size", &size);
    if (size == requested) {
        return g_strdup("reached");
    }
    state = news && id ? peer_json_string(
                             g_hash_table_lookup(news->resizes, path), "state")
                       : NULL;
    return g_strdup(g_strcmp0(state, "stalled") ? "running" : state);
}

static void add_device(CtlTable *table, const json_t *entry,
                       const CtlNews *news)
{
    const json_t *device = json_object_get(entry, "data");

    ctl_table_add(table, (char *[]){
                             ctl_text_member(device, "id"),
                             ctl_text_member(entry, "type"),
                             id_of(device, "memdev"),
                             ctl_view_bar(device, "size", "requested-size"),
                             ctl_text_size(device, "size"),
                             ctl_text_size(device, "requested-size"),
                             ctl_text_size(device, "max-size"),
                             ctl_text_size(device, "block-size"),
                             ctl_text_member(device, "node"),
                             resize_of(device, news),
                         });
}

static void view_devices(const json_t *devices, const CtlNews *news,
                         GString *text)
{
    g_autoptr(CtlTable) table = ctl_table_new(device_columns);
    json_t *entry;
    gsize i;

    json_array_foreach(devices, i, entry)
    {
        add_device(table, entry, news);
    }
    ctl_table_append_to(table, text);
}

/* Nodes */

static const CtlColumn node_columns[] = {
    {"node", TRUE},
    {"used", FALSE},
    {"free", TRUE},
    {"available", TRUE},
    {"total", TRUE},
    {"backends", TRUE},
    {"huge pages free", FALSE},
    {0},
};

/* "2 MiB: 12 of 64; 1 GiB: 0 of 2"; nothing of sizes that have no page. */
static char *huge_pages_of(const json_t *node)
{
    const json_t *pools = json_object_get(node, "huge-pages");
    GString *text = g_string_new(NULL);
    json_t *pool;
    gsize i;

    json_array_foreach(pools, i, pool)
    {
        g_autofree char *size = ctl_text_size(pool, "page-size");
        guint64 total, free;

        peer_json_number(pool, "total", &total);
        peer_json_number(pool, "free", &free);
        if (size && total) {
            g_string_append_printf(
                text, "%s%s: %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT,
                text->len ? "; " : "", size, free, total);
        }
    }
    return g_string_free(text, FALSE);
}

static char *used_of(const json_t *node)
{
    guint64 total, available;

    if (!peer_json_number(node, "total", &total) ||
        !peer_json_number(node, "available", &available)) {
        return NULL;
    }
    return ctl_text_bar(total - MIN(available, total), total);
}

static void view_nodes(const json_t *nodes, GString *text)
{
    g_autoptr(CtlTable) table = ctl_table_new(node_columns);
    json_t *node;
    gsize i;

    json_array_foreach(nodes, i, node)
    {
        ctl_table_add(table, (char *[]){
                                 ctl_text_member(node, "node"),
                                 used_of(node),
                                 ctl_text_size(node, "free"),
                                 ctl_text_size(node, "available"),
                                 ctl_text_size(node, "total"),
                                 ctl_text_size(node, "populated"),
                                 huge_pages_of(node),
                             });
    }
    ctl_table_append_to(table, text);
}

/* What is being populated */

static const CtlColumn progress_columns[] = {
    {"populating", FALSE},
    {"progress", FALSE},
    {"done", TRUE},
    {"total", TRUE},
    {0},
};

static void view_progress(const CtlNews *news, GString *text)
{
    g_autoptr(CtlTable) table = ctl_table_new(progress_columns);
    g_autoptr(GList) ids = g_hash_table_get_keys(news->progress);

    ids = g_list_sort(ids, (GCompareFunc)strcmp);
    for (GList *at = ids; at; at = at->next) {
        const json_t *data = g_hash_table_lookup(news->progress, at->data);

        ctl_table_add(
            table, (char *[]){
                       g_strdup(at->data),
                       ctl_view_bar(data, "current-progress", "total-progress"),
                       ctl_text_size(data, "current-progress"),
                       ctl_text_size(data, "total-progress"),
                   });
    }
    ctl_table_append_to(table, text);
}

/* All */

static void append_head(const json_t *status, GString *text)
{
    const json_t *summary = json_object_get(status, "memory-size-summary");
    g_autofree char *server =
        ctl_text_safe(peer_json_string(status, "server") ?: "");
    g_autofree char *address =
        ctl_text_safe(peer_json_string(status, "address") ?: "");
    g_autofree char *base = ctl_text_size(summary, "base-memory");
    g_autofree char *plugged = ctl_text_size(summary, "plugged-memory");

    g_string_append_printf(text, "%s at %s", server, address);
    if (base) {
        g_string_append_printf(text, ": %s base memory, %s plugged", base,
                               plugged ? plugged : "0 B");
    }
    g_string_append_c(text, '\n');
}

static void append_errors(const json_t *status, GString *text)
{
    json_t *errors = json_object_get(status, "errors");
    const char *key;
    json_t *message;

    json_object_foreach(errors, key, message)
    {
        g_autofree char *safe = ctl_text_safe(json_string_value(message) ?: "");

        g_string_append_printf(text, "\n%s", safe);
    }
    g_string_append(text, json_object_size(errors) ? "\n" : "");
}

void ctl_view_separate(GString *text, gsize *end)
{
    if (text->len > *end) {
        g_string_insert_c(text, *end, '\n');
    }
    *end = text->len;
}

void ctl_view_status(const json_t *status, const CtlNews *news, GString *text)
{
    gsize end;

    append_head(status, text);
    end = text->len;
    view_backends(json_object_get(status, "memdev"), text);
    ctl_view_separate(text, &end);
    view_devices(json_object_get(status, "memory-devices"), news, text);
    ctl_view_separate(text, &end);
    if (news) {
        view_progress(news, text);
        ctl_view_separate(text, &end);
    }
    ctl_view_jobs(json_object_get(status, "jobs"), text);
    ctl_view_separate(text, &end);
    ctl_view_pools(json_object_get(status, "memory-pools"), text);
    ctl_view_separate(text, &end);
    view_nodes(json_object_get(status, "host-nodes"), text);
    ctl_view_separate(text, &end);
    append_errors(status, text);
}
