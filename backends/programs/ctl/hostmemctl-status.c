/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>
#include "hostmemctl.h"

#define PREFIX "query-"

/* What is asked, in this order; the member has the name behind the prefix. */
static const char *const queries[] = {
    "query-memdev", "query-memory-devices", "query-memory-size-summary",
    "query-jobs",   "query-memory-pools",   "query-host-nodes",
};

/* What a peer answers with an error is told, and ends nothing. */
static gboolean is_of_peer(const GError *error)
{
    return g_error_matches(error, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED) ||
           g_error_matches(error, HOSTMEM_ERROR, HOSTMEM_ERROR_REMOTE) ||
           g_error_matches(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NOT_FOUND);
}

static void note(json_t *status, const char *query, const char *message)
{
    json_object_set_new(json_object_get(status, "errors"),
                        query + strlen(PREFIX), json_string(message));
}

/* FALSE when there is nobody to ask any more. */
static gboolean ask(CtlPeer *peer, const char *query, json_t *status,
                    GHashTable *absent, GError **error)
{
    g_autoptr(GError) why = NULL;
    const char *known = g_hash_table_lookup(absent, query);
    json_t *value = known ? NULL : ctl_peer_call(peer, query, NULL, &why);

    if (why && !is_of_peer(why)) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    if (g_error_matches(why, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED)) {
        g_hash_table_insert(absent, (gpointer)query, g_strdup(why->message));
    }
    if (!value) {
        note(status, query, why ? why->message : known);
    }
    json_object_set_new(status, query + strlen(PREFIX),
                        value ? value : json_null());
    return TRUE;
}

json_t *ctl_status_read(CtlPeer *peer, GHashTable *absent, GError **error)
{
    json_auto_t *status =
        json_pack("{s:s,s:s,s:{}}", "server", ctl_peer_get_name(peer),
                  "address", ctl_peer_get_address(peer), "errors");

    for (guint i = 0; i < G_N_ELEMENTS(queries); i++) {
        if (!ask(peer, queries[i], status, absent, error)) {
            return NULL;
        }
    }
    return json_incref(status);
}

static int print_once(CtlPeer *peer, gboolean json, GError **error)
{
    g_autoptr(GHashTable) absent =
        g_hash_table_new_full(g_str_hash, g_str_equal, NULL, g_free);
    json_auto_t *status = ctl_status_read(peer, absent, error);
    g_autoptr(GString) text = g_string_new(NULL);

    if (!status) {
        return EXIT_FAILURE;
    }
    if (json) {
        return ctl_put_json(status, error) ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    ctl_view_status(status, NULL, text);
    return ctl_put(text->str, error) ? EXIT_SUCCESS : EXIT_FAILURE;
}

int ctl_run_status(CtlCall *call, GError **error)
{
    double seconds = 1;

    if (!ctl_call_get_seconds(call, "--watch", 0.1, &seconds, error)) {
        return EXIT_FAILURE;
    }
    g_autoptr(CtlPeer) peer = ctl_peer_new(call, error);
    if (!peer) {
        return EXIT_FAILURE;
    }
    gboolean json = ctl_call_has(call, "--json");
    return ctl_call_has(call, "--watch") ? ctl_watch(peer, seconds, json, error)
                                         : print_once(peer, json, error);
}
