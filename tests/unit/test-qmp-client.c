/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <unistd.h>
#include "qmp-peer.h"
#include <hostmem/qmp-client.h>

/* A client against scripted servers; see test-qmp-client-hostile.c as well. */

static void settle(void)
{
    while (g_main_context_iteration(NULL, FALSE)) {
    }
}

/* Commands and answers */

static void hear_nothing(HmTestPeer *peer, gpointer data G_GNUC_UNUSED)
{
    g_assert_null(hm_test_hear(peer));
}

static void test_greeting(void)
{
    HmTestSession session;

    hm_test_begin(&session, hear_nothing, NULL);
    g_assert_cmpstr(hostmem_qmp_client_get_greeting(session.client), ==,
                    "{\"QMP\":{\"version\":{},\"capabilities\":[]}}");
    hm_test_end(&session);
}

static void test_peer_is_who_listens(void)
{
    HmTestSession session;

    hm_test_begin(&session, hear_nothing, NULL);
    g_assert_cmpint(hostmem_qmp_client_get_peer_uid(session.client), ==,
                    (gint64)geteuid());
    hm_test_end(&session);
}

static void return_list(HmTestPeer *peer, gpointer data G_GNUC_UNUSED)
{
    hm_test_answer(peer, hm_test_hear_command(peer, "query-x"),
                   "[ {'a': 1}, null ]");
}

static void test_execute(void)
{
    g_autofree char *answer = NULL;
    HmTestSession session;

    hm_test_begin(&session, return_list, NULL);
    answer = hm_test_execute(&session, "query-x", NULL);
    g_assert_cmpstr(answer, ==, "[{\"a\":1},null]");
    hm_test_end(&session);
}

static void echo_arguments(HmTestPeer *peer, gpointer data G_GNUC_UNUSED)
{
    json_t *request;

    while ((request = hm_test_hear(peer))) {
        json_t *value = json_pack("{s:O?,s:O}", "return",
                                  json_object_get(request, "arguments"), "id",
                                  json_object_get(request, "id"));
        char *text = json_dumps(value, 0);

        hm_test_say_bytes(peer, text, strlen(text));
        free(text);
        json_decref(value);
        json_decref(request);
    }
}

static void test_arguments(void)
{
    g_autofree char *answer = NULL;
    g_autofree char *none = NULL;
    HmTestSession session;

    hm_test_begin(&session, echo_arguments, NULL);
    answer = hm_test_execute(&session, "x", "{\"size\": 4096, \"on\": true}");
    g_assert_cmpstr(answer, ==, "{\"size\":4096,\"on\":true}");
    none = hm_test_execute(&session, "x", NULL);
    g_assert_cmpstr(none, ==, "null");
    hm_test_end(&session);
}

/* More than a socket takes at once. */
static void test_large_arguments(void)
{
    g_autofree char *long_word = g_strnfill(3 << 20, 'x');
    g_autofree char *arguments = g_strdup_printf("{\"a\":\"%s\"}", long_word);
    g_autofree char *answer = NULL;
    HmTestSession session;

    hm_test_begin(&session, echo_arguments, NULL);
    answer = hm_test_execute(&session, "x", arguments);
    g_assert_cmpstr(answer, ==, arguments);
    hm_test_end(&session);
}

static void test_arguments_are_checked(void)
{
    g_autofree char *answer = NULL;
    g_autoptr(GError) error = NULL;
    HmTestSession session;

    hm_test_begin(&session, echo_arguments, NULL);
    hm_test_assert_refused(&session, "{", HOSTMEM_ERROR_INVALID,
                           "arguments of 'x': JSON parse error");
    hm_test_assert_refused(&session, "[]", HOSTMEM_ERROR_INVALID,
                           "arguments of 'x': expected a JSON object");
    g_assert_null(hostmem_qmp_client_execute(session.client, "\xff", NULL, NULL,
                                             NULL, NULL, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
    answer = hm_test_execute(&session, "x", "{}");
    g_assert_cmpstr(answer, ==, "{}");
    hm_test_end(&session);
}

static void refuse(HmTestPeer *peer, gpointer error)
{
    g_autofree char *text =
        g_strdup_printf("{'error': %s, 'id': %" JSON_INTEGER_FORMAT "}",
                        (const char *)error, hm_test_hear_command(peer, "x"));

    hm_test_say(peer, text);
}

static void assert_refused(const char *answer, gint code, const char *words)
{
    HmTestSession session;

    hm_test_begin(&session, refuse, (gpointer)answer);
    hm_test_assert_refused(&session, NULL, code, words);
    hm_test_end(&session);
}

static void test_errors_of_the_server(void)
{
    assert_refused("{'class': 'GenericError', 'desc': 'not today'}",
                   HOSTMEM_ERROR_REMOTE, "not today");
    assert_refused("{'class': 'DeviceNotFound', 'desc': 'what m0?'}",
                   HOSTMEM_ERROR_NOT_FOUND, "what m0?");
    assert_refused("{'class': 'CommandNotFound', 'desc': 'no x'}",
                   HOSTMEM_ERROR_UNSUPPORTED, "no x");
    assert_refused("{'class': 'DeviceNotActive', 'desc': 'asleep'}",
                   HOSTMEM_ERROR_REMOTE, "asleep");
    assert_refused("{}", HOSTMEM_ERROR_REMOTE, "gives no reason");
    assert_refused("{'class': 7, 'desc': []}", HOSTMEM_ERROR_REMOTE,
                   "gives no reason");
}

/* Its words end up on terminals. */
static void test_words_of_the_server_are_tamed(void)
{
    assert_refused("{'class': 'GenericError', 'desc': 'a\\u001b[2Jb\\nc'}",
                   HOSTMEM_ERROR_REMOTE, "a?[2Jb\nc");
}

/* Without waiting */

typedef struct {
    char *said[8];
    guint n;
} Log;

static void note(Log *log, char *what)
{
    g_assert_cmpuint(log->n, <, G_N_ELEMENTS(log->said));
    log->said[log->n++] = what;
}

static void clear_log(Log *log)
{
    for (guint i = 0; i < log->n; i++) {
        g_free(log->said[i]);
    }
    log->n = 0;
}

static void wait_for(Log *log, guint n)
{
    while (log->n < n) {
        g_main_context_iteration(NULL, TRUE);
    }
}

static void on_answer(GObject *client, GAsyncResult *result, gpointer log)
{
    g_autoptr(GError) error = NULL;
    char *answer = hostmem_qmp_client_execute_finish(HOSTMEM_QMP_CLIENT(client),
                                                     result, NULL, &error);

    note(log, answer ? answer : g_strdup(error->message));
}

static void on_event(HostmemQmpClient *client G_GNUC_UNUSED, const char *name,
                     const char *json, Log *log)
{
    note(log, g_strconcat(name, " ", json, NULL));
}

static void on_closed(HostmemQmpClient *client G_GNUC_UNUSED, const GError *why,
                      Log *log)
{
    note(log, g_strdup_printf("closed: %s", why->message));
}

static void listen_to(HmTestSession *session, Log *log)
{
    g_signal_connect(session->client, "event", G_CALLBACK(on_event), log);
    g_signal_connect(session->client, "closed", G_CALLBACK(on_closed), log);
}

static void answer_backwards(HmTestPeer *peer, gpointer data G_GNUC_UNUSED)
{
    json_int_t first = hm_test_hear_command(peer, "one");
    json_int_t second = hm_test_hear_command(peer, "two");

    hm_test_answer(peer, second, "'second'");
    hm_test_say(peer, "{'event': 'E', 'data': {}}");
    hm_test_answer(peer, first, "'first'");
}

static void test_answers_are_found_by_id(void)
{
    HmTestSession session;
    Log first = {{NULL}, 0};
    Log all = {{NULL}, 0};

    hm_test_begin(&session, answer_backwards, NULL);
    listen_to(&session, &all);
    hostmem_qmp_client_execute_async(session.client, "one", NULL, NULL, NULL,
                                     on_answer, &first);
    hostmem_qmp_client_execute_async(session.client, "two", NULL, NULL, NULL,
                                     on_answer, &all);
    wait_for(&first, 1);
    g_assert_cmpstr(first.said[0], ==, "\"first\"");
    g_assert_cmpstr(all.said[0], ==, "\"second\"");
    g_assert_cmpstr(all.said[1], ==, "E {\"event\":\"E\",\"data\":{}}");
    hm_test_end(&session);
    clear_log(&first);
    clear_log(&all);
}

static void answer_between_events(HmTestPeer *peer, gpointer data G_GNUC_UNUSED)
{
    json_int_t id = hm_test_hear_command(peer, "x");

    hm_test_say(peer, "{'event': 'A'}{'event': 'B'}");
    hm_test_answer(peer, id, "{}");
    hm_test_say(peer, "{'event': 'C'}");
}

static void test_events_of_a_call_come_later(void)
{
    g_autofree char *answer = NULL;
    HmTestSession session;
    Log log = {{NULL}, 0};

    hm_test_begin(&session, answer_between_events, NULL);
    listen_to(&session, &log);
    answer = hm_test_execute(&session, "x", NULL);
    g_assert_cmpuint(log.n, ==, 0);
    wait_for(&log, 4);
    g_assert_cmpstr(log.said[0], ==, "A {\"event\":\"A\"}");
    g_assert_cmpstr(log.said[1], ==, "B {\"event\":\"B\"}");
    g_assert_cmpstr(log.said[2], ==, "C {\"event\":\"C\"}");
    g_assert_cmpstr(log.said[3], ==,
                    "closed: the server closed the connection");
    hm_test_end(&session);
    clear_log(&log);
}

static void on_event_execute(HostmemQmpClient *client,
                             const char *name G_GNUC_UNUSED,
                             const char *json G_GNUC_UNUSED, Log *log)
{
    g_autoptr(GError) error = NULL;
    char *answer = hostmem_qmp_client_execute(client, "inner", NULL, NULL, NULL,
                                              NULL, &error);

    g_assert_no_error(error);
    note(log, answer);
}

static void ask_to_be_asked(HmTestPeer *peer, gpointer data G_GNUC_UNUSED)
{
    json_int_t outer = hm_test_hear_command(peer, "outer");

    hm_test_say(peer, "{'event': 'E'}");
    hm_test_answer(peer, hm_test_hear_command(peer, "inner"), "'inner'");
    hm_test_answer(peer, outer, "'outer'");
}

static void test_call_from_a_signal(void)
{
    HmTestSession session;
    Log log = {{NULL}, 0};

    hm_test_begin(&session, ask_to_be_asked, NULL);
    g_signal_connect(session.client, "event", G_CALLBACK(on_event_execute),
                     &log);
    hostmem_qmp_client_execute_async(session.client, "outer", NULL, NULL, NULL,
                                     on_answer, &log);
    wait_for(&log, 2);
    g_assert_cmpstr(log.said[0], ==, "\"inner\"");
    g_assert_cmpstr(log.said[1], ==, "\"outer\"");
    hm_test_end(&session);
    clear_log(&log);
}

static void on_event_unref(HostmemQmpClient *client,
                           const char *name G_GNUC_UNUSED,
                           const char *json G_GNUC_UNUSED, gboolean *gone)
{
    g_object_add_weak_pointer(G_OBJECT(client), (gpointer *)gone);
    g_object_unref(client);
}

static void say_events(HmTestPeer *peer, gpointer data G_GNUC_UNUSED)
{
    hm_test_say(peer, "{'event': 'A'}{'event': 'B'}");
}

static void test_last_unref_in_a_signal(void)
{
    g_autoptr(GError) error = NULL;
    HmTestSession session;
    gpointer there = (gpointer)1;

    hm_test_begin(&session, say_events, NULL);
    g_signal_connect(g_steal_pointer(&session.client), "event",
                     G_CALLBACK(on_event_unref), &there);
    /* Nobody is told of the second event. */
    while (there) {
        g_main_context_iteration(NULL, TRUE);
    }
    hm_test_peer_join(session.peer);
}

/* Cancelling */

/* @cancellable: cancelled when the first command was heard; or NULL */
static void answer_late(HmTestPeer *peer, gpointer cancellable)
{
    json_int_t first = hm_test_hear_command(peer, "x");
    json_int_t second;

    g_cancellable_cancel(cancellable);
    second = hm_test_hear_command(peer, "y");
    hm_test_answer(peer, first, "'late'");
    hm_test_answer(peer, second, "'in time'");
}

static void test_cancel_call(void)
{
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autoptr(GError) error = NULL;
    g_autofree char *answer = NULL;
    HmTestSession session;

    hm_test_begin(&session, answer_late, cancellable);
    g_assert_null(hostmem_qmp_client_execute(session.client, "x", NULL, NULL,
                                             NULL, cancellable, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    answer = hm_test_execute(&session, "y", NULL);
    g_assert_cmpstr(answer, ==, "\"in time\"");
    hm_test_end(&session);
}

static void test_cancelled_before(void)
{
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autoptr(GError) error = NULL;
    HmTestSession session;

    g_cancellable_cancel(cancellable);
    hm_test_begin(&session, hear_nothing, NULL);
    g_assert_null(hostmem_qmp_client_execute(session.client, "x", NULL, NULL,
                                             NULL, cancellable, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    hm_test_end(&session);
}

static void test_cancel_without_waiting(void)
{
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autofree char *answer = NULL;
    HmTestSession session;
    Log log = {{NULL}, 0};

    hm_test_begin(&session, answer_late, NULL);
    hostmem_qmp_client_execute_async(session.client, "x", NULL, NULL,
                                     cancellable, on_answer, &log);
    settle();
    g_cancellable_cancel(cancellable);
    wait_for(&log, 1);
    g_assert_cmpstr(log.said[0], ==, "Operation was cancelled");
    answer = hm_test_execute(&session, "y", NULL);
    g_assert_cmpstr(answer, ==, "\"in time\"");
    settle();
    g_assert_cmpuint(log.n, ==, 1);
    hm_test_end(&session);
    clear_log(&log);
}

static void say_nothing(HmTestPeer *peer, gpointer data G_GNUC_UNUSED)
{
    hm_test_hear(peer);
}

static gpointer cancel_later(gpointer cancellable)
{
    g_usleep(20 * 1000);
    g_cancellable_cancel(cancellable);
    return NULL;
}

static void test_cancel_negotiation(void)
{
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    GThread *thread = g_thread_new("cancel", cancel_later, cancellable);
    g_autoptr(GIOStream) stream = NULL;
    g_autoptr(GError) error = NULL;
    HmTestPeer *peer = hm_test_peer_start(say_nothing, NULL, &stream);

    g_assert_null(
        hostmem_qmp_client_new_for_stream(stream, cancellable, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_thread_join(thread);
    hm_test_peer_join(peer);
}

/* The end */

static void test_close(void)
{
    g_autoptr(GError) error = NULL;
    HmTestSession session;
    Log log = {{NULL}, 0};

    hm_test_begin(&session, say_nothing, NULL);
    listen_to(&session, &log);
    hostmem_qmp_client_execute_async(session.client, "x", NULL, NULL, NULL,
                                     on_answer, &log);
    hostmem_qmp_client_close(session.client);
    wait_for(&log, 1);
    g_assert_cmpstr(log.said[0], ==,
                    "the session has ended: the client closed it");
    hm_test_assert_refused(&session, NULL, HOSTMEM_ERROR_SYSTEM,
                           "the session has ended");
    settle();
    g_assert_cmpuint(log.n, ==, 1);
    hm_test_end(&session);
    clear_log(&log);
}

static void go(HmTestPeer *peer G_GNUC_UNUSED, gpointer data G_GNUC_UNUSED)
{
}

static void test_call_after_the_end(void)
{
    HmTestSession session;
    Log log = {{NULL}, 0};

    hm_test_begin(&session, go, NULL);
    listen_to(&session, &log);
    wait_for(&log, 1);
    hm_test_assert_refused(
        &session, NULL, HOSTMEM_ERROR_SYSTEM,
        "the session has ended: the server closed the connection");
    hm_test_end(&session);
    clear_log(&log);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qmp-client/greeting", test_greeting);
    g_test_add_func("/qmp-client/peer_is_who_listens",
                    test_peer_is_who_listens);
    g_test_add_func("/qmp-client/execute", test_execute);
    g_test_add_func("/qmp-client/arguments", test_arguments);
    g_test_add_func("/qmp-client/large-arguments", test_large_arguments);
    g_test_add_func("/qmp-client/arguments-are-checked",
                    test_arguments_are_checked);
    g_test_add_func("/qmp-client/errors-of-the-server",
                    test_errors_of_the_server);
    g_test_add_func("/qmp-client/words-of-the-server-are-tamed",
                    test_words_of_the_server_are_tamed);
    g_test_add_func("/qmp-client/answers-are-found-by-id",
                    test_answers_are_found_by_id);
    g_test_add_func("/qmp-client/events-of-a-call-come-later",
                    test_events_of_a_call_come_later);
    g_test_add_func("/qmp-client/call-from-a-signal", test_call_from_a_signal);
    g_test_add_func("/qmp-client/last-unref-in-a-signal",
                    test_last_unref_in_a_signal);
    g_test_add_func("/qmp-client/cancel-call", test_cancel_call);
    g_test_add_func("/qmp-client/cancelled-before", test_cancelled_before);
    g_test_add_func("/qmp-client/cancel-without-waiting",
                    test_cancel_without_waiting);
    g_test_add_func("/qmp-client/cancel-negotiation", test_cancel_negotiation);
    g_test_add_func("/qmp-client/close", test_close);
    g_test_add_func("/qmp-client/call-after-the-end", test_call_after_the_end);
    return g_test_run();
}
