/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib-unix.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "hostmemctl.h"

/*
 * Theory of operation
 *
 * Two who read lines: an editor, for somebody at a terminal, who is told what
 * failed and goes on; and plain reading, for a batch, which ends with the first
 * failure.  Both let the main context run while they wait, so that events are
 * printed as they come.
 */

#define PROMPT_MORE "... "

typedef struct {
    CtlPeer *peer;
    CtlSchema *schema;
    CtlInput *input;
    CtlEdit *edit;     /* (nullable): a batch, or built without */
    gboolean people;   /* at a terminal, who go on after an error */
    gboolean pretty;   /* output for people */
    gboolean json;     /* events, too */
    gboolean left;     /* somebody said "exit" */
    gboolean shutdown; /* the peer said that it goes */
    guint line;        /* number of the last one */
    int signum;        /* that ends us, or 0 */
    GError *error;     /* (nullable): of writing an event */
} Shell;

static GPtrArray *complete(const char *before, gsize *start, gpointer data)
{
    Shell *self = data;

    return ctl_shell_complete(self->peer, self->schema, before, start);
}

/* Output */

static void on_event(const char *name, json_t *event, gpointer data)
{
    Shell *self = data;

    self->shutdown |= g_str_equal(name, "SHUTDOWN");
    if (self->error) {
        return;
    }
    if (self->edit) {
        ctl_edit_hide(self->edit);
    }
    if (self->json) {
        ctl_put_json(event, &self->error);
    } else {
        g_autofree char *line = ctl_event_line(name, event);
        ctl_put(line, &self->error);
    }
    if (self->edit) {
        ctl_edit_show(self->edit);
    }
}

static gboolean put_answer(Shell *self, json_t *value, GError **error)
{
    if (self->json) {
        json_auto_t *answer = json_pack("{s:O}", "return", value);
        return ctl_put_json(answer, error);
    }
    if (!self->pretty) {
        return ctl_put_json(value, error);
    }
    char *dumped =
        json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_INDENT(2));
    g_autofree char *text = g_strconcat(dumped, "\n", NULL);
    free(dumped);
    return ctl_put(text, error);
}

static void tell(const GError *error)
{
    g_autofree char *message = ctl_text_safe(error->message);

    fprintf(stderr, "hostmemctl: %s\n", message);
}

/* Lines */

static const char *prompt_of(const Shell *self)
{
    return ctl_peer_is_hostmem(self->peer) ? "hostmem> " : "qemu> ";
}

static char *read_line(Shell *self, const char *prompt, GError **error)
{
    self->line++;
    if (self->edit) {
        return ctl_edit_read(self->edit, prompt, error);
    }
    if (self->people && !ctl_put(prompt, error)) {
        return NULL;
    }
    return ctl_input_read(self->input, error);
}

/* JSON may go on in the next line.  NULL, without an error: the end. */
static char *read_whole(Shell *self, GError **error)
{
    GError *why = NULL;
    char *text = read_line(self, prompt_of(self), error);

    while (text && ctl_line_is_open(text)) {
        g_autofree char *more = read_line(self, PROMPT_MORE, &why);
        g_autofree char *first = text;

        text = why ? NULL : g_strconcat(first, "\n", more, NULL);
        if (!more) {
            break; /* the end; parsing it says what is missing */
        }
    }
    if (why) {
        g_propagate_error(error, why);
    }
    return text;
}

static gboolean execute(Shell *self, const char *text, GError **error)
{
    json_auto_t *message =
        ctl_line_parse(text, ctl_schema_kind, self->schema, error);
    const char *command = peer_json_string(message, "execute");

    if (!message) {
        return FALSE;
    }
    json_auto_t *answer = ctl_peer_call(
        self->peer, command, json_incref(json_object_get(message, "arguments")),
        error);
    if (!answer) {
        g_prefix_error(error, "%s: ", command);
        return FALSE;
    }
    return put_answer(self, answer, error);
}

static gboolean run_line(Shell *self, const char *text, GError **error)
{
    gboolean open;
    g_auto(GStrv) words = ctl_line_split(text, &open);

    if (!words[0] || words[0][0] == '#') {
        return TRUE;
    }
    if (g_str_equal(words[0], "help")) {
        g_autofree char *help = ctl_shell_help(self->schema, words + 1);
        return ctl_put(help, error);
    }
    if (g_str_equal(words[0], "exit") && !words[1]) {
        self->left = TRUE;
        return TRUE;
    }
    return execute(self, text, error);
}

/* Signals, where an editor has the terminal */

static gboolean on_interrupt(gpointer data)
{
    Shell *self = data;

    ctl_peer_cancel(self->peer);
    return G_SOURCE_CONTINUE;
}

static gboolean on_hangup(gpointer data)
{
    Shell *self = data;

    self->signum = SIGHUP;
    return on_interrupt(self);
}

static gboolean on_terminate(gpointer data)
{
    Shell *self = data;

    self->signum = SIGTERM;
    return on_interrupt(self);
}

/* The loop */

/* Whether there will be more lines after that error, which is told. */
static gboolean goes_on(Shell *self, GError **error)
{
    gboolean interrupted =
        g_error_matches(*error, G_IO_ERROR, G_IO_ERROR_CANCELLED);

    if (!self->people || self->signum || self->error ||
        ctl_peer_is_closed(self->peer)) {
        return FALSE;
    }
    if (interrupted) {
        ctl_peer_resume(self->peer);
        fprintf(stderr, "^C\n");
    } else {
        tell(*error);
    }
    g_clear_error(error);
    return TRUE;
}

static gboolean run_lines(Shell *self, GError **error)
{
    GError *why = NULL;

    while (!self->left && !self->error) {
        g_autofree char *text = read_whole(self, &why);
        gboolean ok = text ? run_line(self, text, &why) : !why;

        if (!text && why && self->shutdown && ctl_peer_is_closed(self->peer)) {
            g_clear_error(&why);
            return TRUE; /* it was told to go */
        }
        if (!ok && !goes_on(self, &why)) {
            g_propagate_error(error, why);
            return FALSE;
        }
        if (ok && !text) {
            return TRUE; /* the end */
        }
    }
    return TRUE;
}

static void greet(Shell *self, GError **error)
{
    g_autofree char *name = ctl_text_safe(ctl_peer_get_name(self->peer));
    g_autofree char *line =
        g_strdup_printf("%s at %s; 'help' says what there is\n", name,
                        ctl_peer_get_address(self->peer));

    ctl_put(line, error);
}

static int run(Shell *self, GError **error)
{
    guint sources[3] = {0};
    GError *why = NULL;
    gboolean ok;

    if (self->edit) {
        sources[0] = g_unix_signal_add(SIGINT, on_interrupt, self);
        sources[1] = g_unix_signal_add(SIGTERM, on_terminate, self);
        sources[2] = g_unix_signal_add(SIGHUP, on_hangup, self);
    }
    if (self->people) {
        greet(self, &self->error);
    }
    ok = run_lines(self, &why);
    for (guint i = 0; i < G_N_ELEMENTS(sources); i++) {
        g_clear_handle_id(&sources[i], g_source_remove);
    }
    if (self->error) {
        g_clear_error(&why);
        g_propagate_error(error, g_steal_pointer(&self->error));
        return EXIT_FAILURE;
    }
    if (!ok && !self->people) {
        g_prefix_error(&why, "line %u: ", self->line);
    }
    if (why) {
        g_propagate_error(error, why);
    }
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

int ctl_run_shell(CtlCall *call, GError **error)
{
    g_autoptr(CtlPeer) peer = ctl_peer_new(call, error);

    if (!peer) {
        return EXIT_FAILURE;
    }
    g_autoptr(CtlSchema) schema = ctl_schema_new(peer);
    g_autoptr(CtlInput) input = ctl_input_new(peer, STDIN_FILENO);
    Shell self = {.peer = peer,
                  .schema = schema,
                  .input = input,
                  .people = isatty(STDIN_FILENO),
                  .pretty = isatty(STDOUT_FILENO),
                  .json = ctl_call_has(call, "--json")};

    ctl_peer_set_listener(peer, on_event, &self);
    self.edit = self.people ? ctl_edit_new(peer, complete, &self) : NULL;
    int status = run(&self, error);
    g_clear_pointer(&self.edit, ctl_edit_free);
    if (self.signum) {
        raise(self.signum);
    }
    return status;
}
