/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "backends/qmp/client-request.h"
#include "util/error.h"
#include "util/jsonstream.h"

/* Of what a server says, as much as somebody will read. */
#define MAX_WORDS 4096

HmQmpRequest *hm_qmp_request_new(gint64 id)
{
    HmQmpRequest *self = g_new0(HmQmpRequest, 1);

    self->id = id;
    return self;
}

static void stop_cancelling(HmQmpRequest *self)
{
    if (self->cancelling) {
        g_source_destroy(self->cancelling);
        g_clear_pointer(&self->cancelling, g_source_unref);
    }
}

void hm_qmp_request_free(HmQmpRequest *self)
{
    stop_cancelling(self);
    g_clear_object(&self->task);
    g_free(self->text);
    g_clear_object(&self->fds);
    g_clear_error(&self->error);
    g_free(self);
}

void hm_qmp_request_set_task(HmQmpRequest *self, GTask *task,
                             GCancellableSourceFunc cancelled)
{
    GCancellable *cancellable = g_task_get_cancellable(task);

    self->task = g_object_ref(task);
    if (cancellable) {
        self->cancelling = g_cancellable_source_new(cancellable);
        g_source_set_callback(self->cancelling, G_SOURCE_FUNC(cancelled), self,
                              NULL);
        g_source_attach(self->cancelling, g_task_get_context(task));
    }
}

gboolean hm_qmp_set_cancelled(GError **error)
{
    g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_CANCELLED,
                        "Operation was cancelled");
    return FALSE;
}

void hm_qmp_request_abandon(HmQmpRequest *self)
{
    g_autoptr(GTask) task = g_steal_pointer(&self->task);
    GError *error = NULL;

    self->abandoned = TRUE;
    stop_cancelling(self);
    hm_qmp_set_cancelled(&error);
    g_task_return_error(task, error);
}

/* The answer */

/* As a terminal and a log can take them. */
static char *words_of(json_t *desc)
{
    const char *said = json_string_value(desc);
    g_autofree char *start = g_strndup(said ? said : "", MAX_WORDS);
    char *words = g_utf8_make_valid(start, -1);

    for (char *p = words; *p; p = g_utf8_next_char(p)) {
        if (g_ascii_iscntrl(*p) && *p != '\n' && *p != '\t') {
            *p = '?';
        }
    }
    return words;
}

static HostmemError code_of(json_t *class)
{
    const char *name = json_string_value(class);

    if (g_strcmp0(name, "DeviceNotFound") == 0) {
        return HOSTMEM_ERROR_NOT_FOUND;
    }
    if (g_strcmp0(name, "CommandNotFound") == 0) {
        return HOSTMEM_ERROR_UNSUPPORTED;
    }
    return HOSTMEM_ERROR_REMOTE;
}

void hm_qmp_request_answer(HmQmpRequest *self, json_t *message,
                           GUnixFDList *fds)
{
    json_t *error = json_object_get(message, "error");
    json_t *value = json_object_get(message, "return");
    g_autofree char *words = NULL;

    if (value) {
        self->text = hm_qmp_json_to_text(value);
        self->fds = fds ? g_object_ref(fds) : NULL;
        return;
    }
    words = words_of(json_object_get(error, "desc"));
    hm_set_error(&self->error, code_of(json_object_get(error, "class")), "%s",
                 *words ? words : "the server gives no reason");
}

void hm_qmp_request_fail(HmQmpRequest *self, const GError *why)
{
    hm_set_error(&self->error, why->code, "the session has ended: %s",
                 why->message);
}

char *hm_qmp_request_finish(HmQmpRequest *self, GUnixFDList **fds_out,
                            GError **error)
{
    char *text = g_steal_pointer(&self->text);

    if (self->error) {
        g_propagate_error(error, g_steal_pointer(&self->error));
    }
    if (fds_out) {
        *fds_out = g_steal_pointer(&self->fds);
    }
    hm_qmp_request_free(self);
    return text;
}

void hm_qmp_request_return(HmQmpRequest *self)
{
    g_autoptr(GTask) task = g_steal_pointer(&self->task);

    stop_cancelling(self);
    if (!task) {
        hm_qmp_request_free(self);
    } else if (self->error) {
        g_task_return_error(task, g_steal_pointer(&self->error));
        hm_qmp_request_free(self);
    } else {
        g_task_return_pointer(task, self, (GDestroyNotify)hm_qmp_request_free);
    }
}

char *hm_qmp_request_propagate(GTask *task, GUnixFDList **fds_out,
                               GError **error)
{
    HmQmpRequest *self = g_task_propagate_pointer(task, error);

    return self ? hm_qmp_request_finish(self, fds_out, error) : NULL;
}

/* Messages */

static json_t *parse_arguments(const char *command, const char *text,
                               GError **error)
{
    json_t *arguments = hm_json_parse(text, strlen(text), error);

    if (!arguments) {
        g_prefix_error(error, "arguments of '%s': ", command);
        return NULL;
    }
    if (!json_is_object(arguments)) {
        json_decref(arguments);
        hm_set_error(error, HOSTMEM_ERROR_INVALID,
                     "arguments of '%s': expected a JSON object", command);
        return NULL;
    }
    return arguments;
}

json_t *hm_qmp_message_new(const char *command, const char *arguments,
                           gint64 id, GError **error)
{
    json_t *object = NULL;

    if (!g_utf8_validate(command, -1, NULL)) {
        hm_set_error(error, HOSTMEM_ERROR_INVALID,
                     "the name of a command must be UTF-8");
        return NULL;
    }
    if (arguments) {
        object = parse_arguments(command, arguments, error);
        if (!object) {
            return NULL;
        }
    }
    return json_pack("{s:s,s:o*,s:I}", "execute", command, "arguments", object,
                     "id", (json_int_t)id);
}

gboolean hm_qmp_is_answer(json_t *message)
{
    return json_object_get(message, "return") ||
           json_is_object(json_object_get(message, "error"));
}

static int append_text(const char *text, size_t length, void *data)
{
    g_string_append_len(data, text, length);
    return 0;
}

char *hm_qmp_json_to_text(json_t *json)
{
    GString *text = g_string_new(NULL);

    json_dump_callback(json, append_text, text, JSON_COMPACT | JSON_ENCODE_ANY);
    return g_string_free(text, FALSE);
}
