/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include "hostmemctl.h"

/* Where an id is looked for, in that order. */
static const char *const folders[] = {"/objects/", "/machine/peripheral/"};

/*
 * qom-get of what a word names: a path, or an id.  An id of both an object and
 * a device is the object's, unless --device says otherwise.
 *
 * @path: (transfer full): where it was found
 */
static json_t *read_property(CtlPeer *peer, const CtlCall *call, char **path,
                             GError **error)
{
    const char *id = call->words[0];
    gboolean whole = *id == '/';
    guint first = ctl_call_has(call, "--device") ? 1 : 0;
    guint end = whole ? first + 1 : G_N_ELEMENTS(folders);
    json_t *value = NULL;

    for (guint i = first; i < end && !value; i++) {
        g_clear_error(error);
        g_free(*path);
        *path = g_strconcat(whole ? "" : folders[i], id, NULL);
        value = ctl_peer_call(
            peer, "qom-get",
            json_pack("{s:s,s:s}", "path", *path, "property", call->words[1]),
            error);
        if (!value &&
            !g_error_matches(*error, HOSTMEM_ERROR, HOSTMEM_ERROR_NOT_FOUND)) {
            return NULL;
        }
    }
    if (!value && !whole && !first) {
        g_clear_error(error);
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NOT_FOUND,
                    "%s: there is no object or device '%s'",
                    ctl_peer_get_address(peer), id);
    }
    return value;
}

int ctl_run_get(CtlCall *call, GError **error)
{
    g_autoptr(CtlPeer) peer = ctl_peer_new(call, error);
    g_autofree char *path = NULL;
    json_auto_t *value = peer ? read_property(peer, call, &path, error) : NULL;

    if (!value) {
        return EXIT_FAILURE;
    }
    if (ctl_call_has(call, "--json")) {
        return ctl_put_json(value, error) ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    g_autofree char *text = ctl_text_of(value);
    g_autofree char *safe = ctl_text_safe(text);
    g_autofree char *line = g_strconcat(safe, "\n", NULL);
    return ctl_put(line, error) ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* The kind of ctl_value_parse() that the old value shows. */
static const char *kind_of(const json_t *old)
{
    switch (json_typeof(old)) {
    case JSON_TRUE:
    case JSON_FALSE:
        return "boolean";
    case JSON_INTEGER:
        return "int";
    case JSON_STRING:
        return "string";
    case JSON_ARRAY:
        return "array";
    default:
        return "value";
    }
}

int ctl_run_set(CtlCall *call, GError **error)
{
    g_autoptr(CtlPeer) peer = ctl_peer_new(call, error);
    g_autofree char *path = NULL;
    json_auto_t *old = peer ? read_property(peer, call, &path, error) : NULL;
    json_t *value =
        old ? ctl_value_parse(kind_of(old), call->words[2], error) : NULL;

    if (!value) {
        if (old) {
            g_prefix_error(error, "%s: ", call->words[1]);
        }
        return EXIT_FAILURE;
    }
    json_auto_t *done =
        ctl_peer_call(peer, "qom-set",
                      json_pack("{s:s,s:s,s:o}", "path", path, "property",
                                call->words[1], "value", value),
                      error);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
