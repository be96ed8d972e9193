/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/qmp.h>
#include <jansson.h>
#include "backends/qmp/peer.h"
#include "backends/qmp/writer.h"

/** HmQmpSession: one client.  Registry's thread only. */
typedef struct HmQmpSession HmQmpSession;

/**
 * hm_qmp_session_new: starts with the greeting.
 * @allowed: (transfer none) (nullable) (element-type uid_t): users who may
 *     have memory
 *
 * hm_qmp_server_forget() is told of its end.
 */
HmQmpSession *hm_qmp_session_new(HostmemQmpServer *server, GIOStream *stream,
                                 GArray *allowed);
HmQmpSession *hm_qmp_session_ref(HmQmpSession *self);
void hm_qmp_session_unref(HmQmpSession *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmQmpSession, hm_qmp_session_unref)

/** Leave negotiation mode: commands may be run, and events are sent. */
void hm_qmp_session_negotiate(HmQmpSession *self, gboolean oob);
gboolean hm_qmp_session_is_negotiated(HmQmpSession *self);
/** Whether the client may run commands out of band. */
gboolean hm_qmp_session_has_oob(HmQmpSession *self);

/** Send what a command came to; @response is (transfer full). */
void hm_qmp_session_reply(HmQmpSession *self, json_t *response, gboolean oob);
/**
 * hm_qmp_session_reply_fds: send it with descriptors.
 * @fds: (transfer none): closed when they went or never will
 * @instead: (transfer full): goes when the kernel does not take them
 */
void hm_qmp_session_reply_fds(HmQmpSession *self, json_t *response,
                              GUnixFDList *fds, json_t *instead, gboolean oob);
/** Send one line; a client that leaves too much waiting is dropped. */
void hm_qmp_session_send(HmQmpSession *self, GBytes *line);

/** (transfer none): who the client is. */
const HmQmpPeer *hm_qmp_session_get_peer(HmQmpSession *self);

/** Take no more requests; closes when what runs is answered and taken. */
void hm_qmp_session_stop(HmQmpSession *self);
/** Close the stream; replies that are still to come are dropped. */
void hm_qmp_session_close(HmQmpSession *self);
