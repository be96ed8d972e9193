/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>
#include <hostmem/qmp-client.h>
#include <jansson.h>

/*
 * The other end of a session, in a thread of its own: a script that says and
 * hears what the test wants, in blocking calls.  Texts have ' for ", for the
 * sake of the reader.
 */
typedef struct HmTestPeer HmTestPeer;

/** Runs in the thread; the socket is closed behind it. */
typedef void (*HmTestScript)(HmTestPeer *peer, gpointer data);

/** @streamp: (out) (transfer full): our end of the session */
HmTestPeer *hm_test_peer_start(HmTestScript script, gpointer data,
                               GIOStream **streamp);
/** The same with a socket that is connected; (transfer full). */
HmTestPeer *hm_test_peer_start_on(int fd, HmTestScript script, gpointer data);
/** Wait for the end of the script. */
void hm_test_peer_join(HmTestPeer *self);

int hm_test_peer_fd(HmTestPeer *self);

/** What is said to who has gone is lost. */
void hm_test_say(HmTestPeer *self, const char *text);
void hm_test_say_bytes(HmTestPeer *self, const char *bytes, gsize length);
/** In one sendmsg(2), with descriptors. */
void hm_test_say_fds(HmTestPeer *self, const char *text, const int *fds,
                     guint n);

/** (transfer full) (nullable): the next line, NULL at the end. */
json_t *hm_test_hear(HmTestPeer *self);
/** The next line is this command; returns its id. */
json_int_t hm_test_hear_command(HmTestPeer *self, const char *command);
/** "{'return': VALUE, 'id': ID}" */
void hm_test_answer(HmTestPeer *self, json_int_t id, const char *value);
/** Greet, and take "qmp_capabilities". */
void hm_test_negotiate(HmTestPeer *self);
/** Descriptors that came with what was heard; -1 when there are no more. */
int hm_test_take_fd(HmTestPeer *self);

/** A client's session with a server that follows a script. */
typedef struct {
    HmTestScript script;
    gpointer data;
    HmTestPeer *peer;
    HostmemQmpClient *client;
} HmTestSession;

/** @script: runs behind the negotiation */
void hm_test_begin(HmTestSession *session, HmTestScript script, gpointer data);
void hm_test_end(HmTestSession *session);
/** A HmTestScript: negotiate, then what the session @data is about. */
void hm_test_negotiate_and_go_on(HmTestPeer *peer, gpointer data);
/** (transfer full): what a command returns, which does not fail. */
char *hm_test_execute(HmTestSession *session, const char *command,
                      const char *arguments);
/** The command "x" fails with an error of ours. */
void hm_test_assert_refused(HmTestSession *session, const char *arguments,
                            gint code, const char *phrase);
