/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>
#include "hostmemctl.h"

static const CtlColumn columns[] = {
    {"property", FALSE},
    {"type", FALSE},
    {"description", FALSE},
    {0},
};

static json_t *ask(CtlPeer *peer, const char *command, const char *type,
                   GError **error)
{
    return ctl_peer_call(peer, command, json_pack("{s:s}", "typename", type),
                         error);
}

/* A QEMU tells more of a device when it is asked for one. */
static json_t *properties_of(CtlPeer *peer, const char *type, GError **error)
{
    g_autoptr(GError) why = NULL;
    json_t *properties = ask(peer, "device-list-properties", type, &why);

    return properties ? properties
                      : ask(peer, "qom-list-properties", type, error);
}

static void view(const json_t *properties, GString *text)
{
    g_autoptr(CtlTable) table = ctl_table_new(columns);
    json_t *property;
    gsize i;

    json_array_foreach(properties, i, property)
    {
        ctl_table_add(table, (char *[]){
                                 ctl_text_member(property, "name"),
                                 ctl_text_member(property, "type"),
                                 ctl_text_member(property, "description"),
                             });
    }
    ctl_table_append_to(table, text);
}

static int help_of_type(CtlCall *call, const char *type, GError **error)
{
    g_autoptr(CtlPeer) peer = ctl_peer_new(call, error);
    json_auto_t *properties = peer ? properties_of(peer, type, error) : NULL;
    g_autoptr(GString) text = g_string_new(NULL);

    if (!properties) {
        return EXIT_FAILURE;
    }
    if (ctl_call_has(call, "--json")) {
        return ctl_put_json(properties, error) ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    view(properties, text);
    return ctl_put(text->str, error) ? EXIT_SUCCESS : EXIT_FAILURE;
}

static gboolean refuse_topic(const char *topic, GError **error)
{
    g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID,
                "help: %s: no such command; try 'hostmemctl help'", topic);
    return FALSE;
}

/* "domain list" is one command. */
int ctl_run_help(CtlCall *call, GError **error)
{
    g_autofree char *topic = g_strjoinv(" ", call->words);
    const CtlCommand *command = ctl_command_find(topic);

    if (ctl_command_is_family(topic)) {
        g_autofree char *family = ctl_help_of_family(topic);
        return ctl_put(family, error) ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    if (!command && strchr(topic, ' ')) {
        return refuse_topic(topic, error) ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    if (!command && *topic) {
        return help_of_type(call, topic, error);
    }
    g_autofree char *text = ctl_help(command);
    return ctl_put(text, error) ? EXIT_SUCCESS : EXIT_FAILURE;
}
