/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "qmp-peer.h"

/* A client against servers that lie, and against none. */

#define GREETING "{'QMP': {}}\r\n"

/* No greeting */

static void say_text(HmTestPeer *peer, gpointer text)
{
    hm_test_say(peer, text);
}

static void assert_no_session(HmTestScript script, gpointer data,
                              const char *phrase)
{
    g_autoptr(GIOStream) stream = NULL;
    g_autoptr(GError) error = NULL;
    HmTestPeer *peer = hm_test_peer_start(script, data, &stream);

    g_assert_null(hostmem_qmp_client_new_for_stream(stream, NULL, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM);
    g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, phrase));
    g_assert_true(g_io_stream_is_closed(stream));
    hm_test_peer_join(peer);
}

static void test_no_greeting(void)
{
    static const struct {
        const char *said;
        const char *phrase;
    } cases[] = {
        {"", "the server closed the connection"},
        {"{'QMP'", "in the middle of a message"},
        {"SSH-2.0-OpenSSH_9.2\r\n", "does not speak QMP: JSON parse error"},
        {"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak QMP"},
        {"{}", "does not begin with a greeting"},
        {"[]", "does not begin with a greeting"},
        {"{'QMP': 1}", "does not begin with a greeting"},
        {"{'event': 'SHUTDOWN'}", "does not begin with a greeting"},
        {"{'return': {}}", "does not begin with a greeting"},
        {GREETING, "the server closed the connection"},
        {GREETING GREETING, "neither an answer nor an event"},
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        assert_no_session(say_text, (gpointer)cases[i].said, cases[i].phrase);
    }
}

static void say_binary(HmTestPeer *peer, gpointer data G_GNUC_UNUSED)
{
    static const char bytes[] = "\0\1\377\376\0\0{\0";

    hm_test_say_bytes(peer, bytes, sizeof(bytes));
}

static void test_binary_greeting(void)
{
    assert_no_session(say_binary, NULL, "does not speak QMP");
}

static void refuse_to_negotiate(HmTestPeer *peer, gpointer data G_GNUC_UNUSED)
{
    g_autofree char *text = NULL;

    hm_test_say(peer, GREETING);
    text = g_strdup_printf("{'error': {'class': 'GenericError', 'desc': 'no'}, "
                           "'id': %" JSON_INTEGER_FORMAT "}",
                           hm_test_hear_command(peer, "qmp_capabilities"));
    hm_test_say(peer, text);
}

static void test_negotiation_is_refused(void)
{
    g_autoptr(GIOStream) stream = NULL;
    g_autoptr(GError) error = NULL;
    HmTestPeer *peer = hm_test_peer_start(refuse_to_negotiate, NULL, &stream);

    g_assert_null(hostmem_qmp_client_new_for_stream(stream, NULL, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_REMOTE);
    g_assert_cmpstr(error->message, ==, "no");
    hm_test_peer_join(peer);
}

/* A line without an end */

static void say_for_ever(HmTestPeer *peer, gpointer data)
{
    g_autofree char *piece = g_strnfill(1 << 20, 'x');

    hm_test_say(peer, data);
    for (guint i = 0; i < 70; i++) {
        hm_test_say_bytes(peer, piece, 1 << 20);
    }
}

static void test_endless_greeting(void)
{
    assert_no_session(say_for_ever, "{'QMP': '",
                      "JSON token size limit exceeded");
}

/* Answers */

static void answer_text(HmTestPeer *peer, gpointer text)
{
    hm_test_hear_command(peer, "x");
    hm_test_say(peer, text);
}

static void assert_ends(const char *said, const char *phrase)
{
    HmTestSession session;

    hm_test_begin(&session, answer_text, (gpointer)said);
    hm_test_assert_refused(&session, NULL, HOSTMEM_ERROR_SYSTEM, phrase);
    hm_test_assert_refused(&session, NULL, HOSTMEM_ERROR_SYSTEM, phrase);
    hm_test_end(&session);
}

static void test_broken_answers(void)
{
    assert_ends("", "the server closed the connection");
    assert_ends("{'return': {}", "in the middle of a message");
    assert_ends("{'return': }", "does not speak QMP: JSON parse error");
    assert_ends("{'return': {}, 'id': 77}", "answers what nobody has asked");
    assert_ends("{'return': {}, 'id': '2'}", "answers what nobody has asked");
    assert_ends("{'return': {}}", "answers what nobody has asked");
    assert_ends("{'error': {'desc': 'no JSON'}}", "nobody has asked");
    assert_ends("{'id': 2}", "neither an answer nor an event");
    assert_ends("{'error': 'x', 'id': 2}", "neither an answer nor an event");
    assert_ends("{'event': 1}", "neither an answer nor an event");
    assert_ends("[{'return': {}, 'id': 2}]", "neither an answer nor an event");
    assert_ends("null ", "neither an answer nor an event");
}

static void answer_twice(HmTestPeer *peer, gpointer data G_GNUC_UNUSED)
{
    json_int_t id = hm_test_hear_command(peer, "x");

    hm_test_answer(peer, id, "{}");
    hm_test_answer(peer, id, "{}");
}

static void test_second_answer(void)
{
    g_autofree char *answer = NULL;
    HmTestSession session;

    hm_test_begin(&session, answer_twice, NULL);
    answer = hm_test_execute(&session, "x", NULL);
    hm_test_assert_refused(&session, NULL, HOSTMEM_ERROR_SYSTEM,
                           "nobody has asked");
    hm_test_end(&session);
}

static void answer_deep(HmTestPeer *peer, gpointer data G_GNUC_UNUSED)
{
    g_autofree char *brackets = g_strnfill(100 * 1000, '[');

    hm_test_hear_command(peer, "x");
    hm_test_say(peer, "{'return': ");
    hm_test_say_bytes(peer, brackets, 100 * 1000);
}

static void test_deep_answer(void)
{
    HmTestSession session;

    hm_test_begin(&session, answer_deep, NULL);
    hm_test_assert_refused(&session, NULL, HOSTMEM_ERROR_SYSTEM,
                           "nesting depth limit exceeded");
    hm_test_end(&session);
}

static void answer_without_end(HmTestPeer *peer, gpointer data)
{
    hm_test_hear_command(peer, "x");
    say_for_ever(peer, data);
}

static void test_endless_answer(void)
{
    HmTestSession session;

    hm_test_begin(&session, answer_without_end, "{'return': '");
    hm_test_assert_refused(&session, NULL, HOSTMEM_ERROR_SYSTEM,
                           "JSON token size limit exceeded");
    hm_test_end(&session);
}

/* Floods */

static void flood(HmTestPeer *peer, gpointer data G_GNUC_UNUSED)
{
    g_autofree char *filler = g_strnfill(1000, 'x');
    g_autofree char *event =
        g_strdup_printf("{'event': 'E', 'data': {'x': '%s'}}\r\n", filler);

    hm_test_hear_command(peer, "x");
    for (guint i = 0; i < 20000; i++) {
        hm_test_say(peer, event);
    }
}

static void test_events_while_a_call_waits(void)
{
    HmTestSession session;

    hm_test_begin(&session, flood, NULL);
    hm_test_assert_refused(&session, NULL, HOSTMEM_ERROR_LIMIT,
                           "more events than are taken: 16 MiB wait");
    hm_test_end(&session);
}

static void count(HostmemQmpClient *client G_GNUC_UNUSED,
                  const char *name G_GNUC_UNUSED,
                  const char *json G_GNUC_UNUSED, guint *n)
{
    (*n)++;
}

/* However many, when somebody listens. */
static void test_events_while_the_loop_runs(void)
{
    HmTestSession session;
    guint n = 0;

    hm_test_begin(&session, flood, NULL);
    g_signal_connect(session.client, "event", G_CALLBACK(count), &n);
    hostmem_qmp_client_execute_async(session.client, "x", NULL, NULL, NULL,
                                     NULL, NULL);
    while (n < 20000) {
        g_main_context_iteration(NULL, TRUE);
    }
    hm_test_end(&session);
}

/* Says no to all that is sent, and goes on speaking. */
static void hear_no_more(HmTestPeer *peer, gpointer data G_GNUC_UNUSED)
{
    hm_test_hear_command(peer, "x");
    g_assert_no_errno(shutdown(hm_test_peer_fd(peer), SHUT_RD));
    hm_test_say(peer, "{'event': 'E'}");
    g_usleep(200 * 1000);
}

static void test_server_takes_no_more(void)
{
    g_autofree char *word = g_strnfill(1 << 20, 'x');
    g_autofree char *arguments = g_strdup_printf("{\"a\": \"%s\"}", word);
    HmTestSession session;

    hm_test_begin(&session, hear_no_more, NULL);
    hostmem_qmp_client_execute_async(session.client, "x", NULL, NULL, NULL,
                                     NULL, NULL);
    hm_test_assert_refused(&session, arguments, HOSTMEM_ERROR_SYSTEM,
                           "the session has ended");
    hm_test_end(&session);
}

/* Descriptors */

static guint count_fds(void)
{
    g_autoptr(GDir) dir = g_dir_open("/proc/self/fd", 0, NULL);
    guint n = 0;

    while (g_dir_read_name(dir)) {
        n++;
    }
    return n;
}

static void say_with_fds(HmTestPeer *peer, gpointer data G_GNUC_UNUSED)
{
    json_int_t id = hm_test_hear_command(peer, "x");
    int fds[] = {0, 0, 0};

    for (guint i = 0; i < 100; i++) {
        hm_test_say_fds(peer, "{'event': 'E'}\r\n", fds, 3);
        hm_test_say_fds(peer, "\r\n", fds, 3);
    }
    hm_test_answer(peer, id, "{}");
    hm_test_hear(peer);
}

/* With events, between messages, with an answer that nobody looks into. */
static void test_unwanted_descriptors_are_closed(void)
{
    g_autofree char *answer = NULL;
    HmTestSession session;
    guint before;

    hm_test_begin(&session, say_with_fds, NULL);
    before = count_fds();
    answer = hm_test_execute(&session, "x", NULL);
    g_assert_cmpuint(count_fds(), ==, before);
    hm_test_end(&session);
}

static void pile_up_fds(HmTestPeer *peer, gpointer data G_GNUC_UNUSED)
{
    int fds[200] = {0};

    hm_test_hear_command(peer, "x");
    hm_test_say(peer, "{'return': '");
    for (guint i = 0; i < 2; i++) {
        hm_test_say_fds(peer, "x", fds, G_N_ELEMENTS(fds));
    }
    hm_test_hear(peer);
}

static void test_too_many_descriptors(void)
{
    HmTestSession session;

    hm_test_begin(&session, pile_up_fds, NULL);
    hm_test_assert_refused(&session, NULL, HOSTMEM_ERROR_LIMIT,
                           "more descriptors than can be taken: 253");
    hm_test_end(&session);
}

/* Connecting */

static void assert_cannot_connect(const char *address, gint code,
                                  const char *phrase)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(hostmem_qmp_client_new(address, NULL, &error));
    g_assert_error(error, HOSTMEM_ERROR, code);
    g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, phrase));
}

static void test_bad_addresses(void)
{
    assert_cannot_connect("", HOSTMEM_ERROR_INVALID, "expected unix:PATH");
    assert_cannot_connect("/run/q", HOSTMEM_ERROR_INVALID,
                          "expected unix:PATH");
    assert_cannot_connect("unix:/run/q,server=on", HOSTMEM_ERROR_INVALID,
                          "takes no options");
    assert_cannot_connect("tcp:127.0.0.1:0", HOSTMEM_ERROR_INVALID,
                          "which port");
    assert_cannot_connect("unix:/nonexistent/q", HOSTMEM_ERROR_NOT_FOUND,
                          "cannot connect to unix:/nonexistent/q: ");
}

static int bind_to(const char *path, int backlog)
{
    struct sockaddr_un where = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(where.sun_path, path, sizeof(where.sun_path));
    g_assert_no_errno(bind(fd, (struct sockaddr *)&where, sizeof(where)));
    if (backlog >= 0) {
        g_assert_no_errno(listen(fd, backlog));
    }
    return fd;
}

static void test_nobody_listens(void)
{
    g_autofree char *folder = g_dir_make_tmp("hm-qmp-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "s", NULL);
    g_autofree char *address = g_strconcat("unix:", path, NULL);

    close(bind_to(path, -1));
    assert_cannot_connect(address, HOSTMEM_ERROR_NOT_FOUND,
                          "Connection refused");
    g_assert_no_errno(g_unlink(path));
    g_assert_no_errno(g_rmdir(folder));
}

static void test_too_many_wait(void)
{
    g_autofree char *folder = g_dir_make_tmp("hm-qmp-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "s", NULL);
    g_autofree char *address = g_strconcat("unix:", path, NULL);
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autoptr(GError) error = NULL;
    struct sockaddr_un where = {.sun_family = AF_UNIX};
    int fd = bind_to(path, 0);
    int other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(where.sun_path, path, sizeof(where.sun_path));
    g_assert_no_errno(connect(other, (struct sockaddr *)&where, sizeof(where)));
    assert_cannot_connect(address, HOSTMEM_ERROR_BUSY, "cannot connect to");
    close(other);
    close(fd);
    g_assert_no_errno(g_unlink(path));
    g_assert_no_errno(g_rmdir(folder));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qmp-client-hostile/small/no-greeting", test_no_greeting);
    g_test_add_func("/qmp-client-hostile/small/binary-greeting",
                    test_binary_greeting);
    g_test_add_func("/qmp-client-hostile/small/negotiation-is-refused",
                    test_negotiation_is_refused);
    g_test_add_func("/qmp-client-hostile/large/endless-greeting",
                    test_endless_greeting);
    g_test_add_func("/qmp-client-hostile/small/broken-answers",
                    test_broken_answers);
    g_test_add_func("/qmp-client-hostile/small/second-answer",
                    test_second_answer);
    g_test_add_func("/qmp-client-hostile/small/deep-answer", test_deep_answer);
    g_test_add_func("/qmp-client-hostile/large/endless-answer",
                    test_endless_answer);
    g_test_add_func("/qmp-client-hostile/large/events-while-a-call-waits",
                    test_events_while_a_call_waits);
    g_test_add_func("/qmp-client-hostile/large/events-while-the-loop-runs",
                    test_events_while_the_loop_runs);
    g_test_add_func("/qmp-client-hostile/small/server-takes-no-more",
                    test_server_takes_no_more);
    g_test_add_func("/qmp-client-hostile/small/unwanted-descriptors-are-closed",
                    test_unwanted_descriptors_are_closed);
    g_test_add_func("/qmp-client-hostile/small/too-many-descriptors",
                    test_too_many_descriptors);
    g_test_add_func("/qmp-client-hostile/small/bad-addresses",
                    test_bad_addresses);
    g_test_add_func("/qmp-client-hostile/small/nobody-listens",
                    test_nobody_listens);
    g_test_add_func("/qmp-client-hostile/small/too-many-wait",
                    test_too_many_wait);
    return g_test_run();
}
