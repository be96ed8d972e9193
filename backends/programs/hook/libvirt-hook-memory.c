/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * Memory comes from one of two places:
 *
 *   a backend of the domain's name (with "-node0" and so on behind it for one
 *   of several cells), whose file is moved to where QEMU looks for it.  That it
 *   is no more where hostmemd has put it tells, at the end, that it was used.
 *
 *   a pool: a backend is made that borrows from it, and whose export-path is
 *   where QEMU looks for it.  Its id is made of the domain's UUID, so that the
 *   end of the domain finds it whatever happened in between.
 *
 * Nothing is remembered from one call to the next but what hostmemd and the
 * filesystem know.
 */
#include <sys/stat.h>
#include <unistd.h>
#include "backends/programs/peer-json.h"
#include "libvirt-hook.h"

typedef struct {
    const HookOptions *options;
    const HookDomain *domain;
    HostmemQmpClient *client;
    GCancellable *cancellable;
} Peer;

/* Calls */

static void explain(const HookOptions *options, GError **error)
{
    if (error && g_error_matches(*error, G_IO_ERROR, G_IO_ERROR_CANCELLED)) {
        g_clear_error(error);
        hook_refuse(error, HOSTMEM_ERROR_TIMED_OUT,
                    "no answer in time, which is %g seconds for all",
                    options->timeout);
    }
    if (error && !g_str_has_prefix((*error)->message, options->address)) {
        g_prefix_error(error, "%s: ", options->address);
    }
}

static HostmemQmpClient *open_client(const HookOptions *options,
                                     GCancellable *cancellable, GError **error)
{
    HostmemQmpClient *client =
        hostmem_qmp_client_new(options->address, cancellable, error);

    if (!client) {
        explain(options, error);
    }
    return client;
}

/* Takes @arguments. */
static json_t *call(const Peer *peer, const char *command, json_t *arguments,
                    GError **error)
{
    g_autofree char *text = peer_json_to_text(arguments);
    g_autofree char *answer = NULL;
    json_t *value;

    json_decref(arguments);
    answer = hostmem_qmp_client_execute(peer->client, command, text, NULL, NULL,
                                        peer->cancellable, error);
    value = answer ? peer_json_parse(answer, error) : NULL;
    if (!value) {
        explain(peer->options, error);
    }
    return value;
}

/* Whether it is gone; one that is still being made is not listed. */
static gboolean remove_object(const Peer *peer, const char *id, GError **error)
{
    GError *why = NULL;
    json_auto_t *answer =
        call(peer, "object-del", json_pack("{s:s}", "id", id), &why);
    json_auto_t *objects = NULL;

    if (!answer && g_error_matches(why, HOSTMEM_ERROR, HOSTMEM_ERROR_REMOTE)) {
        objects = call(peer, "qom-list", json_pack("{s:s}", "path", "/objects"),
                       error);
        if (!objects || !peer_json_find(objects, "name", id)) {
            g_error_free(why);
            return objects != NULL;
        }
    }
    if (why) {
        g_propagate_error(error, why);
    }
    return answer != NULL;
}

/* The backend of a domain */

/* (transfer full): "export-path" of a backend; NULL without an error when there
 * is none of that id, or it has none, as a pool of the domain's name.  It is a
 * name alone when its file was not found where hostmemd had put it before a
 * restart. */
static char *find_name(const Peer *peer, const char *id, GError **error)
{
    g_autofree char *path = g_strconcat("/objects/", id, NULL);
    GError *why = NULL;
    json_auto_t *answer = call(
        peer, "qom-get",
        json_pack("{s:s,s:s}", "path", path, "property", "export-path"), &why);
    const char *name = answer ? json_string_value(answer) : NULL;

    if (g_error_matches(why, HOSTMEM_ERROR, HOSTMEM_ERROR_NOT_FOUND) ||
        g_error_matches(why, HOSTMEM_ERROR, HOSTMEM_ERROR_REMOTE)) {
        g_error_free(why);
        return NULL;
    }
    if (!answer) {
        g_propagate_error(error, why);
        return NULL;
    }
    return name && *name ? g_strdup(name) : NULL;
}

static gboolean is_gone(const char *name)
{
    struct stat st;

    return name[0] != '/' || lstat(name, &st) < 0;
}

/* (element-type utf8) (transfer full): a file for each block, or none at all;
 * NULL with an error. */
static GPtrArray *find_all_own(const Peer *peer, GPtrArray *blocks,
                               GError **error)
{
    g_autoptr(GPtrArray) files = g_ptr_array_new_with_free_func(g_free);
    const char *missing = NULL;
    GError *why = NULL;

    for (guint i = 0; i < blocks->len; i++) {
        const HookBlock *block = g_ptr_array_index(blocks, i);
        char *file = find_name(peer, block->own_id, &why);

        if (why) {
            g_propagate_error(error, why);
            return NULL;
        }
        if (file) {
            g_ptr_array_add(files, file);
        } else {
            missing = block->own_id;
        }
    }
    if (files->len && missing) {
        hook_refuse(error, HOSTMEM_ERROR_NOT_FOUND,
                    "hostmemd has no backend '%s'", missing);
        return NULL;
    }
    return g_steal_pointer(&files);
}

/* A pool */

static gboolean fits(const json_t *pool, const HookBlock *block,
                     guint64 page_size)
{
    guint64 segment_size, pages;

    return peer_json_number(pool, "segment-size", &segment_size) &&
           peer_json_number(pool, "page-size", &pages) &&
           segment_size >= block->size && pages == page_size;
}

static gboolean is_ready(const json_t *pool)
{
    guint64 segment_size, ready;

    return peer_json_number(pool, "segment-size", &segment_size) &&
           peer_json_number(pool, "ready-size", &ready) &&
           ready >= segment_size;
}

/* (transfer none): of those of the options that fit one which has a segment
 * ready, else one which has not; NULL with an error. */
static const char *choose_pool(const Peer *peer, const json_t *pools,
                               const HookBlock *block, guint64 page_size,
                               GError **error)
{
    const char *found = NULL;

    for (char **id = peer->options->pools; id && *id; id++) {
        const json_t *pool = peer_json_find(pools, "id", *id);

        if (pool && fits(pool, block, page_size)) {
            if (is_ready(pool)) {
                return *id;
            }
            found = found ? found : *id;
        }
    }
    if (!found) {
        hook_refuse(error, HOSTMEM_ERROR_NOT_FOUND,
                    "hostmemd has neither a backend '%s' with an "
                    "export-path nor a pool, of those of --pool, with segments "
                    "of %" G_GUINT64_FORMAT
                    " MiB in pages of %" G_GUINT64_FORMAT " KiB",
                    block->own_id, (block->size + (1 << 20) - 1) >> 20,
                    page_size >> 10);
    }
    return found;
}

/* How libvirt's modes are called here; NULL: it says nothing of pages. */
static const char *policy_of(const HookNumatune *numatune)
{
    static const char *const rows[][2] = {{"strict", "bind"},
                                          {"preferred", "preferred"},
                                          {"interleave", "interleave"}};

    for (guint i = 0; numatune->nodeset && i < G_N_ELEMENTS(rows); i++) {
        if (g_str_equal(numatune->mode ? numatune->mode : "strict",
                        rows[i][0])) {
            return rows[i][1];
        }
    }
    return NULL;
}

static gboolean add_nodes(json_t *object, const HookNumatune *numatune,
                          GError **error)
{
    const char *policy = policy_of(numatune);
    gboolean ids[HOOK_IDS_MAX];
    json_t *nodes;

    if (!policy) {
        return TRUE;
    }
    if (!hook_nodeset_parse(numatune->nodeset, ids, error)) {
        return FALSE;
    }
    nodes = json_array();
    for (guint i = 0; i < HOOK_IDS_MAX; i++) {
        if (ids[i]) {
            json_array_append_new(nodes, json_integer(i));
        }
    }
    json_object_set_new(object, "host-nodes", nodes);
    json_object_set_new(object, "policy", json_string(policy));
    return TRUE;
}

static json_t *describe(const HookBlock *block, const HookOwner *owner,
                        const char *pool, guint64 page_size)
{
    g_autofree char *whose = g_strdup_printf("%u:%u", owner->uid, owner->gid);
    gboolean huge = page_size > (guint64)sysconf(_SC_PAGESIZE);
    json_t *object = json_pack(
        "{s:s,s:s,s:I,s:s,s:s,s:s,s:b}", "qom-type",
        huge ? "memory-backend-memfd" : "memory-backend-ram", "id", block->id,
        "size", (json_int_t)block->size, "pool", pool, "export-path",
        block->path, "export-owner", whose, "share", TRUE);

    if (huge) {
        json_object_set_new(object, "hugetlb", json_true());
        json_object_set_new(object, "hugetlbsize",
                            json_integer((json_int_t)page_size));
        json_object_set_new(object, "seal", json_false());
    }
    return object;
}

/* What hostmemd says that it has done. */
static gboolean check_placed(const HookBlock *block, GError **error)
{
    GError *why = NULL;

    if (hook_place_has(block, &why)) {
        return TRUE;
    }
    if (why) {
        g_propagate_error(error, why);
        return FALSE;
    }
    return hook_refuse(error, HOSTMEM_ERROR_NOT_FOUND,
                       "hostmemd has backend '%s', and there is no %s",
                       block->id, block->path);
}

static gboolean borrow(const Peer *peer, const json_t *pools, HookBlock *block,
                       const HookOwner *owner, GError **error)
{
    guint64 page_size = hook_place_page_size(block, error);
    const char *pool =
        page_size ? choose_pool(peer, pools, block, page_size, error) : NULL;
    json_auto_t *object = NULL;
    json_auto_t *answer = NULL;

    if (!pool) {
        return FALSE;
    }
    object = describe(block, owner, pool, page_size);
    /* One that is there is of a domain that is gone: this one does not run. */
    if (!add_nodes(object, block->numatune, error) ||
        !remove_object(peer, block->id, error)) {
        return FALSE;
    }
    block->asked = TRUE;
    answer = call(peer, "object-add", g_steal_pointer(&object), error);
    return answer && check_placed(block, error);
}

/* Before the start */

/* What is there is ours when it is no more where it came from, or has the name
 * of a backend of this domain. */
static gboolean is_ours(const Peer *peer, const char *file,
                        const HookBlock *block, GError **error)
{
    g_autofree char *lent = file ? NULL : find_name(peer, block->id, NULL);

    return (file ? is_gone(file) : g_strcmp0(lent, block->path) == 0) ||
           hook_refuse(error, HOSTMEM_ERROR_EXISTS,
                       "%s is there already, and not of this domain",
                       block->path);
}

static gboolean move(const Peer *peer, const char *file, HookBlock *block,
                     const HookOwner *owner, GError **error)
{
    if (file[0] != '/') {
        return hook_refuse(
            error, HOSTMEM_ERROR_NOT_FOUND,
            "the memory of backend '%s' is where nobody finds it",
            block->own_id);
    }
    return hook_place_move(block, file,
                           hostmem_qmp_client_get_peer_uid(peer->client), owner,
                           error);
}

static gboolean place(const Peer *peer, const json_t *pools, const char *file,
                      HookBlock *block, GError **error)
{
    GError *why = NULL;
    HookOwner owner;

    if (!hook_place_open(peer->options, peer->domain, block, &owner, error)) {
        return FALSE;
    }
    if (hook_place_has(block, &why)) {
        return is_ours(peer, file, block, error);
    }
    if (why) {
        g_propagate_error(error, why);
        return FALSE;
    }
    return file ? move(peer, file, block, &owner, error)
                : borrow(peer, pools, block, &owner, error);
}

gboolean hook_memory_prepare(const HookOptions *options,
                             const HookDomain *domain, GPtrArray *blocks,
                             GCancellable *cancellable, GError **error)
{
    g_autoptr(HostmemQmpClient) client =
        open_client(options, cancellable, error);
    const Peer peer = {options, domain, client, cancellable};
    g_autoptr(GPtrArray) files = NULL;
    json_auto_t *pools = NULL;

    if (!client) {
        return FALSE;
    }
    files = find_all_own(&peer, blocks, error);
    pools =
        files ? call(&peer, "query-memory-pools", json_object(), error) : NULL;
    for (guint i = 0; pools && i < blocks->len; i++) {
        const char *file = files->len ? g_ptr_array_index(files, i) : NULL;

        if (!place(&peer, pools, file, g_ptr_array_index(blocks, i), error)) {
            return FALSE;
        }
    }
    return pools != NULL;
}

static gboolean is_asked(GPtrArray *blocks)
{
    for (guint i = 0; i < blocks->len; i++) {
        if (((const HookBlock *)g_ptr_array_index(blocks, i))->asked) {
            return TRUE;
        }
    }
    return FALSE;
}

static void undo_places(GPtrArray *blocks)
{
    /* The first one has made the folder of all. */
    for (guint i = blocks->len; i-- > 0;) {
        hook_place_undo(g_ptr_array_index(blocks, i));
    }
}

/* Another session: what the first one waits for may never come. */
static void undo_requests(const HookOptions *options, GPtrArray *blocks)
{
    g_autoptr(HostmemQmpClient) client = open_client(options, NULL, NULL);
    const Peer peer = {options, NULL, client, NULL};

    for (guint i = 0; client && i < blocks->len; i++) {
        const HookBlock *block = g_ptr_array_index(blocks, i);

        if (block->asked) {
            remove_object(&peer, block->id, NULL);
        }
    }
}

void hook_memory_undo(const HookOptions *options, GPtrArray *blocks)
{
    undo_places(blocks);
    if (is_asked(blocks)) {
        undo_requests(options, blocks);
        undo_places(blocks); /* folders that had a file */
    }
}

/* After the end */

/* The domain has had it when its file is not where it was. */
static gboolean release_own(const Peer *peer, const HookBlock *block,
                            GError **error)
{
    g_autofree char *file = find_name(peer, block->own_id, NULL);

    return !file || !is_gone(file) || remove_object(peer, block->own_id, error);
}

gboolean hook_memory_release(const HookOptions *options, GPtrArray *blocks,
                             GCancellable *cancellable, GError **error)
{
    g_autoptr(HostmemQmpClient) client =
        open_client(options, cancellable, error);
    const Peer peer = {options, NULL, client, cancellable};

    for (guint i = 0; client && i < blocks->len; i++) {
        const HookBlock *block = g_ptr_array_index(blocks, i);

        if (!release_own(&peer, block, error) ||
            !remove_object(&peer, block->id, error)) {
            return FALSE;
        }
    }
    return client != NULL;
}
