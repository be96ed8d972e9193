/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "hostmemctl.h"

#define OBJECTS "/objects"
#define DEVICES "/machine/peripheral"

/* Also to a shell: anything else is not offered to anybody. */
gboolean ctl_name_is_plain(const char *name)
{
    return g_ascii_isalnum(*name) &&
           !name[strspn(name,
                        G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "-._[]#")];
}

static gboolean is_child(const json_t *element)
{
    const char *type = peer_json_string(element, "type");

    return type && g_str_has_prefix(type, "child<");
}

/* Asks for a list, and takes a member of each of its elements.  FALSE when
 * there is no such list. */
static gboolean take(CtlPeer *peer, const char *command, json_t *arguments,
                     const char *key, const char *before, GPtrArray *names)
{
    json_auto_t *list = ctl_peer_call(peer, command, arguments, NULL);
    gboolean children = before != NULL;
    json_t *element;
    gsize i;

    json_array_foreach(list, i, element)
    {
        const char *name = peer_json_string(element, key);

        if (name && ctl_name_is_plain(name) &&
            (!children || is_child(element))) {
            g_ptr_array_add(names,
                            g_strconcat(children ? before : "", name, NULL));
        }
    }
    return list != NULL;
}

static void take_children(CtlPeer *peer, const char *path, gboolean whole,
                          GPtrArray *names)
{
    g_autofree char *before = whole ? g_strconcat(path, "/", NULL) : NULL;

    take(peer, "qom-list", json_pack("{s:s}", "path", path), "name",
         before ? before : "", names);
}

static gboolean take_properties(CtlPeer *peer, const char *folder,
                                const char *of, GPtrArray *names)
{
    g_autofree char *path =
        *of == '/' ? g_strdup(of) : g_strconcat(folder, "/", of, NULL);

    return take(peer, "qom-list", json_pack("{s:s}", "path", path), "name",
                NULL, names);
}

static void take_types(CtlPeer *peer, const char *of, GPtrArray *names)
{
    take(peer, "qom-list-types",
         json_pack("{s:s,s:b}", "implements", of, "abstract", FALSE), "name",
         NULL, names);
}

GPtrArray *ctl_names_list(CtlPeer *peer, CtlWord word, const char *of)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);

    switch (word) {
    case CTL_WORD_ID:
        take_children(peer, OBJECTS, FALSE, names);
        take_children(peer, DEVICES, FALSE, names);
        break;
    case CTL_WORD_PATH:
        take_children(peer, OBJECTS, TRUE, names);
        take_children(peer, DEVICES, TRUE, names);
        break;
    case CTL_WORD_OBJECT:
        take_children(peer, OBJECTS, FALSE, names);
        break;
    case CTL_WORD_DEVICE:
        take_children(peer, DEVICES, FALSE, names);
        break;
    case CTL_WORD_BACKEND:
        take(peer, "query-memdev", NULL, "id", NULL, names);
        break;
    case CTL_WORD_JOB:
        take(peer, "query-jobs", NULL, "id", NULL, names);
        break;
    case CTL_WORD_PROPERTY:
        if (!take_properties(peer, OBJECTS, of, names)) {
            take_properties(peer, DEVICES, of, names);
        }
        break;
    case CTL_WORD_TYPE:
        take_types(peer, "object", names);
        break;
    case CTL_WORD_DRIVER:
        take_types(peer, "device", names);
        break;
    default:
        break;
    }
    return names;
}
