/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>
#include <gio/gunixfdlist.h>
#include <jansson.h>

/** A command of a client, and what came of it. */
typedef struct {
    gint64 id;
    GTask *task;         /* (nullable), owned: who asked does not wait */
    GSource *cancelling; /* (nullable): of the task */
    gboolean abandoned;  /* nobody wants the answer */
    gboolean done;       /* for who waits: one of these is there */
    char *text;
    GUnixFDList *fds; /* (nullable): with @text */
    GError *error;
} HmQmpRequest;

HmQmpRequest *hm_qmp_request_new(gint64 id);
void hm_qmp_request_free(HmQmpRequest *self);

/**
 * hm_qmp_request_set_task: @task has the result in the end.
 * @cancelled: runs with the request when the task is cancelled, in the
 *     context of the task
 */
void hm_qmp_request_set_task(HmQmpRequest *self, GTask *task,
                             GCancellableSourceFunc cancelled);
/** The task is cancelled, and nobody wants the answer. */
void hm_qmp_request_abandon(HmQmpRequest *self);

/** Also when the cancellable was reset meanwhile.  Returns: FALSE */
gboolean hm_qmp_set_cancelled(GError **error);

/** @fds: (transfer none) (nullable) */
void hm_qmp_request_answer(HmQmpRequest *self, json_t *message,
                           GUnixFDList *fds);
void hm_qmp_request_fail(HmQmpRequest *self, const GError *why);

/** Give the result to who waits; @self is (transfer full). */
char *hm_qmp_request_finish(HmQmpRequest *self, GUnixFDList **fds_out,
                            GError **error);
/** Give the result to the task, if it has not got one; (transfer full). */
void hm_qmp_request_return(HmQmpRequest *self);
/** What the task got. */
char *hm_qmp_request_propagate(GTask *task, GUnixFDList **fds_out,
                               GError **error);

/**
 * (transfer full): a command as JSON; @arguments (nullable) is text; NULL with
 * %HOSTMEM_ERROR_INVALID.
 */
json_t *hm_qmp_message_new(const char *command, const char *arguments,
                           gint64 id, GError **error);
/** Whether a message has the form of an answer. */
gboolean hm_qmp_is_answer(json_t *message);
/** (transfer full) */
char *hm_qmp_json_to_text(json_t *json);
