/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include "hostmemctl-domain.h"

#define QUERY "query-memdev"

/* Backends: what QEMU says, through libvirt */

/* (transfer full) (nullable): of an answer of QMP, which may be anything. */
static json_t *result_of(const char *answer, GError **error)
{
    json_auto_t *message = peer_json_parse(answer, error);
    json_t *result = json_object_get(message, "return");
    const char *why =
        peer_json_string(json_object_get(message, "error"), "desc");

    if (!message || json_is_array(result)) {
        return json_incref(result);
    }
    g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_REMOTE, QUERY ": %s",
                why ? why : "QEMU answers something else");
    return NULL;
}

static json_t *ask(HostmemLibvirtConnection *connection, const char *name,
                   GError **error)
{
    g_autofree char *answer =
        hostmem_libvirt_connection_execute(connection, name, QUERY, error);

    return answer ? result_of(answer, error) : NULL;
}

/* A driver without a monitor is none of QEMU's. */
static gboolean is_no_error(const GError *why)
{
    return g_error_matches(why, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED) ||
           g_error_matches(why, HOSTMEM_ERROR, HOSTMEM_ERROR_NOT_FOUND);
}

static void add_backends(HostmemLibvirtConnection *connection, json_t *status)
{
    json_t *errors = json_object();
    json_t *domain;
    gsize i;

    json_array_foreach(json_object_get(status, "domains"), i, domain)
    {
        g_autoptr(GError) why = NULL;
        const char *name = peer_json_string(domain, "name");
        json_t *memdev = ask(connection, name, &why);

        if (why && !is_no_error(why)) {
            g_autofree char *valid = g_utf8_make_valid(why->message, -1);
            json_object_set_new(errors, name, json_string(valid));
        }
        json_object_set_new(domain, "memdev", memdev ? memdev : json_null());
    }
    json_object_set_new(status, "errors", errors);
}

/* Tables */

static const CtlColumn columns[] = {
    {"domain", FALSE},
    {"backend", FALSE},
    {"size", TRUE},
    {"prealloc", FALSE},
    {"share", FALSE},
    {"reserve", FALSE},
    {"dump", FALSE},
    {"merge", FALSE},
    {"nodes", FALSE},
    {"policy", FALSE},
    {0},
};

static void add_rows(CtlTable *table, const json_t *domain)
{
    json_t *backend;
    gsize i;

    json_array_foreach(json_object_get(domain, "memdev"), i, backend)
    {
        ctl_table_add(table, (char *[]){
                                 ctl_text_member(domain, "name"),
                                 ctl_text_member(backend, "id"),
                                 ctl_text_size(backend, "size"),
                                 ctl_text_member(backend, "prealloc"),
                                 ctl_text_member(backend, "share"),
                                 ctl_text_member(backend, "reserve"),
                                 ctl_text_member(backend, "dump"),
                                 ctl_text_member(backend, "merge"),
                                 ctl_text_member(backend, "host-nodes"),
                                 ctl_text_member(backend, "policy"),
                             });
    }
}

static void view_backends(const json_t *status, GString *text)
{
    g_autoptr(CtlTable) table = ctl_table_new(columns);
    json_t *domain;
    gsize i;

    json_array_foreach(json_object_get(status, "domains"), i, domain)
    {
        add_rows(table, domain);
    }
    ctl_table_append_to(table, text);
}

static void view_errors(const json_t *status, GString *text)
{
    const char *name;
    json_t *message;

    json_object_foreach(json_object_get(status, "errors"), name, message)
    {
        g_autofree char *safe_name = ctl_text_safe(name);
        g_autofree char *safe = ctl_text_safe(json_string_value(message));

        g_string_append_printf(text, "%s: %s\n", safe_name, safe);
    }
}

static gboolean print(const json_t *status, GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    gsize end;

    ctl_domain_view(status, text);
    end = text->len;
    ctl_domain_view_devices(status, text);
    ctl_view_separate(text, &end);
    view_backends(status, text);
    ctl_view_separate(text, &end);
    view_errors(status, text);
    ctl_view_separate(text, &end);
    return ctl_put(text->str, error);
}

int ctl_run_domain_status(CtlCall *call, GError **error)
{
    gboolean read_only = ctl_call_has(call, "--read-only");
    g_autoptr(HostmemLibvirtConnection) connection =
        ctl_domain_connect(call, read_only, error);
    json_auto_t *status =
        connection ? ctl_domain_read(connection, call->words[0], error) : NULL;

    if (!status) {
        return EXIT_FAILURE;
    }
    if (!read_only) {
        add_backends(connection, status);
    }
    gboolean done = ctl_call_has(call, "--json") ? ctl_put_json(status, error)
                                                 : print(status, error);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
