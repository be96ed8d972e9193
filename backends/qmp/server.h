/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/qmp.h>
#include "backends/qmp/parser.h"
#include "backends/qmp/progress.h"
#include "backends/qmp/session.h"
#include "backends/qmp/work.h"

/* What sessions and commands need of the server. */

HostmemRegistry *hm_qmp_server_get_registry(HostmemQmpServer *self);
HmQmpParser *hm_qmp_server_get_parser(HostmemQmpServer *self);
HmQmpProgress *hm_qmp_server_get_progress(HostmemQmpServer *self);
HmQmpWork *hm_qmp_server_get_work(HostmemQmpServer *self);

/** Send an event to every negotiated session; @data is (transfer full). */
void hm_qmp_server_emit(HostmemQmpServer *self, const char *name, json_t *data);
/** Cancel what is under way, and tell every session that we end. */
void hm_qmp_server_say_goodbye(HostmemQmpServer *self, const char *reason);
/** Let the owner of the server know that a client said quit. */
void hm_qmp_server_quit(HostmemQmpServer *self);
/** A session has closed. */
void hm_qmp_server_forget(HostmemQmpServer *self, HmQmpSession *session);
