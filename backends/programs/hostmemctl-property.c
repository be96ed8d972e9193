/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>
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

/* What a text stands for, where the old value shows the type */

static json_t *refuse_value(const char *text, const char *what, GError **error)
{
    g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID,
                "'%s' is not %s, as the property is", text, what);
    return NULL;
}

static json_t *bool_of(const char *text, GError **error)
{
    static const char *const on[] = {"on", "yes", "true", "y", NULL};
    static const char *const off[] = {"off", "no", "false", "n", NULL};

    if (g_strv_contains(on, text)) {
        return json_true();
    }
    return g_strv_contains(off, text)
               ? json_false()
               : refuse_value(text, "'on' or 'off'", error);
}

static json_t *number_of(const char *text, GError **error)
{
    guint64 bytes;
    gint64 number;

    if (g_ascii_string_to_signed(text, 10, G_MININT64, G_MAXINT64, &number,
                                 NULL)) {
        return json_integer(number);
    }
    if (hostmem_size_parse(text, &bytes, NULL) && bytes <= G_MAXINT64) {
        return json_integer((json_int_t)bytes);
    }
    return refuse_value(text, "a number or a size, such as 512M", error);
}

static gboolean append_ids(json_t *list, const char *range)
{
    g_auto(GStrv) ends = g_strsplit(range, "-", 2);
    const char *last = ends[0] && ends[1] ? ends[1] : ends[0];
    guint64 from, to;

    if (!last ||
        !g_ascii_string_to_unsigned(ends[0], 10, 0, G_MAXUINT16, &from, NULL) ||
        !g_ascii_string_to_unsigned(last, 10, from, G_MAXUINT16, &to, NULL)) {
        return FALSE;
    }
    for (guint64 id = from; id <= to; id++) {
        json_array_append_new(list, json_integer((json_int_t)id));
    }
    return TRUE;
}

static json_t *list_of(const char *text, GError **error)
{
    g_auto(GStrv) ranges = g_strsplit(text, ",", -1);
    json_auto_t *list = json_array();

    for (char **range = ranges; *range; range++) {
        if (!append_ids(list, *range)) {
            return refuse_value(text, "a list such as 0-3,8", error);
        }
    }
    return json_incref(list);
}

static json_t *value_like(const json_t *old, const char *text, GError **error)
{
    switch (json_typeof(old)) {
    case JSON_TRUE:
    case JSON_FALSE:
        return bool_of(text, error);
    case JSON_INTEGER:
        return number_of(text, error);
    case JSON_STRING:
        return json_string(text);
    case JSON_ARRAY:
        return *text == '[' ? ctl_json_parse(text, error)
                            : list_of(text, error);
    default:
        return ctl_json_parse(text, error);
    }
}

int ctl_run_set(CtlCall *call, GError **error)
{
    g_autoptr(CtlPeer) peer = ctl_peer_new(call, error);
    g_autofree char *path = NULL;
    json_auto_t *old = peer ? read_property(peer, call, &path, error) : NULL;
    json_t *value = old ? value_like(old, call->words[2], error) : NULL;

    if (!value) {
        return EXIT_FAILURE;
    }
    json_auto_t *done =
        ctl_peer_call(peer, "qom-set",
                      json_pack("{s:s,s:s,s:o}", "path", path, "property",
                                call->words[1], "value", value),
                      error);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
