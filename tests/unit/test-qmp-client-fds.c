/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <gio/gunixfdlist.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "qmp-peer.h"

/* Descriptors that go along with commands and answers. */

static void hear_nothing(HmTestPeer *peer, gpointer data G_GNUC_UNUSED)
{
    g_assert_null(hm_test_hear(peer));
}

static int memfd(const char *content)
{
    int fd = memfd_create("test", MFD_CLOEXEC);

    g_assert_cmpint(write(fd, content, strlen(content)), ==, strlen(content));
    return fd;
}

static void assert_content(int fd, const char *content)
{
    char found[16] = "";

    g_assert_cmpint(pread(fd, found, sizeof(found) - 1, 0), ==,
                    strlen(content));
    g_assert_cmpstr(found, ==, content);
}

static void look_at_fds(HmTestPeer *peer, gpointer data G_GNUC_UNUSED)
{
    json_int_t id = hm_test_hear_command(peer, "add-fd");
    int first = hm_test_take_fd(peer);
    int second = hm_test_take_fd(peer);

    assert_content(first, "one");
    assert_content(second, "two");
    g_assert_cmpint(hm_test_take_fd(peer), ==, -1);
    close(first);
    close(second);
    hm_test_answer(peer, id, "{}");
    hm_test_answer(peer, hm_test_hear_command(peer, "x"), "{}");
    g_assert_cmpint(hm_test_take_fd(peer), ==, -1);
}

static void test_send_descriptors(void)
{
    int numbers[] = {memfd("one"), memfd("two")};
    g_autoptr(GUnixFDList) fds = g_unix_fd_list_new_from_array(numbers, 2);
    g_autoptr(GError) error = NULL;
    g_autofree char *answer = NULL;
    g_autofree char *other = NULL;
    HmTestSession session;

    hm_test_begin(&session, look_at_fds, NULL);
    answer = hostmem_qmp_client_execute(session.client, "add-fd", NULL, fds,
                                        NULL, NULL, &error);
    g_assert_no_error(error);
    other = hm_test_execute(&session, "x", NULL);
    hm_test_end(&session);
}

/* The first has none, and is read together with the second. */
static void answer_with_fds(HmTestPeer *peer, gpointer data G_GNUC_UNUSED)
{
    json_int_t one = hm_test_hear_command(peer, "one");
    json_int_t two = hm_test_hear_command(peer, "two");
    json_int_t three = hm_test_hear_command(peer, "three");
    g_autofree char *text = g_strdup_printf(
        "{'return': 2, 'id': %" JSON_INTEGER_FORMAT "}\r\n", two);
    int fds[] = {memfd("one"), memfd("two")};

    hm_test_answer(peer, one, "1");
    hm_test_say(peer, "{'event': 'E'}\r\n");
    hm_test_say_fds(peer, text, fds, 2);
    hm_test_answer(peer, three, "3");
    close(fds[0]);
    close(fds[1]);
}

typedef struct {
    GUnixFDList *fds;
    gboolean done;
} Received;

static void on_fds(GObject *client, GAsyncResult *result, gpointer data)
{
    Received *received = data;
    g_autoptr(GError) error = NULL;
    g_autofree char *answer = hostmem_qmp_client_execute_finish(
        HOSTMEM_QMP_CLIENT(client), result, &received->fds, &error);

    g_assert_no_error(error);
    received->done = TRUE;
}

static void assert_received(GUnixFDList *fds)
{
    g_assert_nonnull(fds);
    g_assert_cmpint(g_unix_fd_list_get_length(fds), ==, 2);
    assert_content(g_unix_fd_list_peek_fds(fds, NULL)[0], "one");
    assert_content(g_unix_fd_list_peek_fds(fds, NULL)[1], "two");
}

static void test_receive_descriptors(void)
{
    Received received[3] = {{NULL, FALSE}, {NULL, FALSE}, {NULL, FALSE}};
    const char *const commands[] = {"one", "two", "three"};
    HmTestSession session;

    hm_test_begin(&session, answer_with_fds, NULL);
    for (guint i = 0; i < 3; i++) {
        hostmem_qmp_client_execute_async(session.client, commands[i], NULL,
                                         NULL, NULL, on_fds, &received[i]);
    }
    while (!received[2].done) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_null(received[0].fds);
    assert_received(received[1].fds);
    g_assert_null(received[2].fds);
    g_object_unref(received[1].fds);
    hm_test_end(&session);
}

/* With the first byte, with the last, and with one between. */
static void answer_in_pieces(HmTestPeer *peer, gpointer data)
{
    json_int_t id = hm_test_hear_command(peer, "x");
    g_autofree char *text =
        g_strdup_printf("{'return': 1, 'id': %" JSON_INTEGER_FORMAT "}", id);
    guint with = MIN(GPOINTER_TO_UINT(data), (guint)strlen(text) - 1);
    int fds[] = {memfd("one"), memfd("two")};

    for (guint i = 0; text[i]; i++) {
        char byte[] = {text[i], '\0'};

        if (i == with) {
            hm_test_say_fds(peer, byte, fds, 2);
        } else {
            hm_test_say(peer, byte);
        }
        g_usleep(100);
    }
    close(fds[0]);
    close(fds[1]);
}

static void test_descriptors_belong_to_the_message_around_them(void)
{
    const guint places[] = {0, 5, G_MAXUINT};

    for (guint i = 0; i < G_N_ELEMENTS(places); i++) {
        g_autoptr(GUnixFDList) fds = NULL;
        g_autoptr(GError) error = NULL;
        g_autofree char *answer = NULL;
        HmTestSession session;

        hm_test_begin(&session, answer_in_pieces, GUINT_TO_POINTER(places[i]));
        answer = hostmem_qmp_client_execute(session.client, "x", NULL, NULL,
                                            &fds, NULL, &error);
        g_assert_no_error(error);
        assert_received(fds);
        hm_test_end(&session);
    }
}

static void test_no_descriptors_over_tcp(void)
{
    int numbers[] = {memfd("one")};
    g_autoptr(GUnixFDList) fds = g_unix_fd_list_new_from_array(numbers, 1);
    g_autoptr(GSocketListener) listener = g_socket_listener_new();
    g_autoptr(GSocketClient) connector = g_socket_client_new();
    g_autoptr(GSocketConnection) ours = NULL;
    g_autoptr(GSocketConnection) theirs = NULL;
    g_autoptr(HostmemQmpClient) client = NULL;
    g_autoptr(GError) error = NULL;
    HmTestSession session = {hear_nothing, NULL, NULL, NULL};
    guint16 port = g_socket_listener_add_any_inet_port(listener, NULL, &error);

    g_assert_no_error(error);
    ours = g_socket_client_connect_to_host(connector, "127.0.0.1", port, NULL,
                                           &error);
    g_assert_no_error(error);
    theirs = g_socket_listener_accept(listener, NULL, NULL, &error);
    g_assert_no_error(error);
    session.peer = hm_test_peer_start_on(
        dup(g_socket_get_fd(g_socket_connection_get_socket(theirs))),
        hm_test_negotiate_and_go_on, &session);
    g_clear_object(&theirs);
    client = hostmem_qmp_client_new_for_stream(G_IO_STREAM(ours), NULL, &error);
    g_assert_no_error(error);
    g_assert_null(hostmem_qmp_client_execute(client, "add-fd", NULL, fds, NULL,
                                             NULL, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED);
    g_clear_object(&client);
    hm_test_peer_join(session.peer);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qmp-client-fds/send", test_send_descriptors);
    g_test_add_func("/qmp-client-fds/receive", test_receive_descriptors);
    g_test_add_func("/qmp-client-fds/belong-to-the-message-around-them",
                    test_descriptors_belong_to_the_message_around_them);
    g_test_add_func("/qmp-client-fds/not-over-tcp",
                    test_no_descriptors_over_tcp);
    return g_test_run();
}
