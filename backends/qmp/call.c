/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "backends/qmp/call.h"
#include "util/error.h"

/* A message may echo what a peer sent: enough to recognize it. */
#define MAX_DESC 1024

G_DEFINE_QUARK(hm - qmp - error - quark, hm_qmp_error)

/* Errors */

static const char *error_class(const GError *error)
{
    if (g_error_matches(error, HM_QMP_ERROR, HM_QMP_ERROR_COMMAND_NOT_FOUND)) {
        return "CommandNotFound";
    }
    if (g_error_matches(error, HM_QMP_ERROR, HM_QMP_ERROR_DEVICE_NOT_FOUND)) {
        return "DeviceNotFound";
    }
    /* NOT_FOUND is also a file or a node; only a path to an object that leads
     * nowhere is called a device. */
    if (g_error_matches(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NOT_FOUND) &&
        g_str_has_prefix(error->message, "Device '")) {
        return "DeviceNotFound";
    }
    return "GenericError";
}

static char *shorten(const char *message)
{
    g_autofree char *start = NULL;
    g_autofree char *valid = NULL;

    if (strlen(message) <= MAX_DESC) {
        return g_utf8_make_valid(message, -1);
    }
    start = g_strndup(message, MAX_DESC);
    valid = g_utf8_make_valid(start, -1);
    return g_strconcat(valid, "...", NULL);
}

json_t *hm_qmp_error_to_json(const GError *error, json_t *id)
{
    g_autofree char *desc = shorten(error->message);

    return json_pack("{s:{s:s,s:s},s:O*}", "error", "class", error_class(error),
                     "desc", desc, "id", id);
}

/* The life of a call */

static HmQmpCall *call_new(HostmemQmpServer *server, HmQmpSession *session,
                           json_t *message, gboolean oob)
{
    HmQmpCall *call = g_new0(HmQmpCall, 1);

    call->server = g_object_ref(server);
    call->session = hm_qmp_session_ref(session);
    call->id = json_incref(json_object_get(message, "id"));
    call->oob = oob;
    return call;
}

static void call_free(HmQmpCall *call)
{
    g_clear_object(&call->fds);
    hm_qmp_session_unref(call->session);
    json_decref(call->arguments);
    json_decref(call->id);
    g_object_unref(call->server);
    g_free(call);
}

static void reply_with_fds(HmQmpCall *call, json_t *response)
{
    g_autoptr(GError) error = NULL;

    hm_set_error(&error, HOSTMEM_ERROR_LIMIT,
                 "cannot send descriptors: too many of this user are under "
                 "way, sent and not received (the limit is RLIMIT_NOFILE)");
    hm_qmp_session_reply_fds(call->session, response, call->fds,
                             hm_qmp_error_to_json(error, call->id), call->oob);
}

void hm_qmp_call_return(HmQmpCall *call, json_t *value)
{
    json_t *response = json_pack("{s:o,s:O*}", "return",
                                 value ? value : json_object(), "id", call->id);

    if (call->fds) {
        reply_with_fds(call, response);
    } else {
        hm_qmp_session_reply(call->session, response, call->oob);
    }
    call_free(call);
}

void hm_qmp_call_fail(HmQmpCall *call, const GError *error)
{
    hm_qmp_session_reply(call->session, hm_qmp_error_to_json(error, call->id),
                         call->oob);
    call_free(call);
}

void hm_qmp_call_end(HmQmpCall *call, json_t *value, const GError *error)
{
    if (value) {
        hm_qmp_call_return(call, value);
    } else {
        hm_qmp_call_fail(call, error);
    }
}

json_t *hm_qmp_call_arg(HmQmpCall *call, const char *name)
{
    return json_object_get(call->arguments, name);
}

const char *hm_qmp_call_string(HmQmpCall *call, const char *name)
{
    return json_string_value(hm_qmp_call_arg(call, name));
}

/* Checking a message */

gboolean hm_qmp_wants_oob(json_t *message)
{
    return json_object_get(message, "exec-oob") &&
           !json_object_get(message, "execute");
}

static gboolean is_command_key(HmQmpCall *call, const char *key)
{
    return g_str_equal(key, "execute") ||
           (g_str_equal(key, "exec-oob") &&
            hm_qmp_session_has_oob(call->session));
}

static gboolean refuse_member(const char *key, GError **error)
{
    g_autofree char *quoted = hm_error_quote(key);

    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "QMP input member %s is unexpected", quoted);
}

static gboolean check_member(HmQmpCall *call, const char *key, json_t *value,
                             GError **error)
{
    if (is_command_key(call, key)) {
        return json_is_string(value) ||
               hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "QMP input member '%s' must be a string", key);
    }
    if (g_str_equal(key, "arguments")) {
        return json_is_object(value) ||
               hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "QMP input member 'arguments' must be an object");
    }
    return g_str_equal(key, "id") || refuse_member(key, error);
}

/* (transfer none): the name of the command in a well-formed message. */
static const char *check_message(HmQmpCall *call, json_t *message,
                                 GError **error)
{
    json_t *command = NULL;
    json_t *value;
    const char *key;

    if (!json_is_object(message)) {
        hm_set_error(error, HOSTMEM_ERROR_INVALID,
                     "QMP input must be a JSON object");
        return NULL;
    }
    json_object_foreach(message, key, value)
    {
        if (!check_member(call, key, value, error)) {
            return NULL;
        }
        if (is_command_key(call, key)) {
            if (command) {
                hm_set_error(error, HOSTMEM_ERROR_INVALID,
                             "QMP input member 'exec-oob' clashes with "
                             "'execute'");
                return NULL;
            }
            command = value;
        }
    }
    if (!command) {
        hm_set_error(error, HOSTMEM_ERROR_INVALID,
                     "QMP input lacks member 'execute'");
        return NULL;
    }
    return json_string_value(command);
}

static gboolean check_command(HmQmpCall *call, json_t *message,
                              const char *name, GError **error)
{
    const HmQmpCommand *command = hm_qmp_command_find(name);

    if (!hm_qmp_session_is_negotiated(call->session) &&
        !(command && command->flags & HM_QMP_NEGOTIATION)) {
        g_set_error(error, HM_QMP_ERROR, HM_QMP_ERROR_COMMAND_NOT_FOUND,
                    "Expecting capabilities negotiation with "
                    "'qmp_capabilities'");
        return FALSE;
    }
    if (!command) {
        g_set_error(error, HM_QMP_ERROR, HM_QMP_ERROR_COMMAND_NOT_FOUND,
                    "The command %.64s has not been found", name);
        return FALSE;
    }
    if (hm_qmp_wants_oob(message) && !(command->flags & HM_QMP_OOB)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "The command %s does not support OOB", name);
    }
    call->command = command;
    return TRUE;
}

static gboolean take_arguments(HmQmpCall *call, json_t *message, GError **error)
{
    json_t *arguments = json_object_get(message, "arguments");

    call->arguments = arguments ? json_incref(arguments) : json_object();
    return call->command->flags & HM_QMP_OPTIONS ||
           hm_props_check_json(call->command->rows, call->command->n_rows,
                               call->arguments, error);
}

void hm_qmp_dispatch(HostmemQmpServer *server, HmQmpSession *session,
                     json_t *message, gboolean oob)
{
    HmQmpCall *call = call_new(server, session, message, oob);
    g_autoptr(GError) error = NULL;
    const char *name = check_message(call, message, &error);

    if (name && check_command(call, message, name, &error) &&
        take_arguments(call, message, &error)) {
        call->command->run(call);
    } else {
        hm_qmp_call_fail(call, error);
    }
}
