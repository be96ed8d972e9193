/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/qmp.h>
#include "backends/qmp/command.h"
#include "backends/qmp/session.h"

/*
 * Errors that QMP itself has, by the class a client sees.  Every other error
 * is of class GenericError, except that an object that is not there, however
 * it was named, is a DeviceNotFound.
 */
typedef enum {
    HM_QMP_ERROR_GENERIC,
    HM_QMP_ERROR_COMMAND_NOT_FOUND,
    HM_QMP_ERROR_DEVICE_NOT_FOUND,
} HmQmpError;

#define HM_QMP_ERROR (hm_qmp_error_quark())
GQuark hm_qmp_error_quark(void);

/** {"error": ...}: (transfer full); @id may be NULL. */
json_t *hm_qmp_error_to_json(const GError *error, json_t *id);

/**
 * HmQmpCall: a command that runs for a session.
 *
 * Belongs to the command until that ends it with hm_qmp_call_return() or
 * hm_qmp_call_fail(), at once or later, in the registry's thread.
 */
struct HmQmpCall {
    const HmQmpCommand *command;
    HostmemQmpServer *server; /* owned */
    HmQmpSession *session;    /* owned */
    json_t *arguments;        /* owned; an object, checked against the rows */
    json_t *id;               /* owned; NULL without one */
    gboolean oob;             /* runs out of the session's order */
    GUnixFDList *fds; /* (nullable), owned: go along with what is returned */
};

/** Whether a message asks to run out of band. */
gboolean hm_qmp_wants_oob(json_t *message);

/**
 * hm_qmp_dispatch: check a message and run its command.
 * @oob: whether it runs out of the session's order
 *
 * Answers through hm_qmp_session_reply(), at once or later.
 */
void hm_qmp_dispatch(HostmemQmpServer *server, HmQmpSession *session,
                     json_t *message, gboolean oob);

/** End a call; @value is (transfer full), NULL for the empty object. */
void hm_qmp_call_return(HmQmpCall *call, json_t *value);
/** End a call; @error is (transfer none). */
void hm_qmp_call_fail(HmQmpCall *call, const GError *error);
/** End a call with one or the other: @value (transfer full) unless NULL. */
void hm_qmp_call_end(HmQmpCall *call, json_t *value, const GError *error);

/** (transfer none) (nullable): a checked argument. */
json_t *hm_qmp_call_arg(HmQmpCall *call, const char *name);
/** (transfer none) (nullable): a checked argument of kind STRING. */
const char *hm_qmp_call_string(HmQmpCall *call, const char *name);
