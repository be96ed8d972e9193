/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <gio/gio.h>
#include <hostmem/qmp.h>
#include <jansson.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "os-fake.h"

/* A server, and the other end of one of its sessions. */
typedef struct {
    HostmemRegistry *registry;
    HostmemQmpServer *server;
    GSocket *peer;
    GString *input;
    guint quits;
} Fixture;

static void on_quit(HostmemQmpServer *server G_GNUC_UNUSED, gpointer data)
{
    ((Fixture *)data)->quits++;
}

static GSocket *socket_of(int fd)
{
    g_autoptr(GError) error = NULL;
    GSocket *socket = g_socket_new_from_fd(fd, &error);

    g_assert_no_error(error);
    g_socket_set_blocking(socket, FALSE);
    return socket;
}

static GSocket *add_session(HostmemQmpServer *server)
{
    g_autoptr(GSocket) near = NULL;
    g_autoptr(GSocketConnection) stream = NULL;
    int fds[2];

    g_assert_no_errno(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
    near = socket_of(fds[0]);
    stream = g_socket_connection_factory_create_connection(near);
    hostmem_qmp_server_add_stream(server, G_IO_STREAM(stream));
    return socket_of(fds[1]);
}

static void set_up(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    fixture->registry = hostmem_registry_new();
    fixture->server = hostmem_qmp_server_new(fixture->registry);
    g_signal_connect(fixture->server, "quit", G_CALLBACK(on_quit), fixture);
    fixture->peer = add_session(fixture->server);
    fixture->input = g_string_new(NULL);
}

static void tear_down(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_clear_object(&fixture->server);
    g_clear_object(&fixture->registry);
    g_clear_object(&fixture->peer);
    g_string_free(fixture->input, TRUE);
}

/* The peer */

/* With ' for ", for the sake of the reader. */
static void send_text(Fixture *fixture, const char *text)
{
    g_autofree char *request = g_strdelimit(g_strdup(text), "'", '"');
    gsize length = strlen(request);

    g_assert_cmpint(g_socket_send(fixture->peer, request, length, NULL, NULL),
                    ==, length);
}

/* Bytes received; 0 at the end of the session, -1 when there is nothing. */
static gssize take_in(Fixture *fixture)
{
    char data[4096];
    gssize n = g_socket_receive(fixture->peer, data, sizeof(data), NULL, NULL);

    if (n > 0) {
        g_string_append_len(fixture->input, data, n);
    }
    return n;
}

/* The next line; the server runs meanwhile. */
static json_t *receive(Fixture *fixture)
{
    json_t *message;
    char *end;

    while (!(end = strstr(fixture->input->str, "\r\n"))) {
        g_assert_cmpint(take_in(fixture), !=, 0);
        g_main_context_iteration(NULL, FALSE);
    }
    message = json_loadb(fixture->input->str,
                         (gsize)(end - fixture->input->str), 0, NULL);
    g_assert_nonnull(message);
    g_string_erase(fixture->input, 0, end + 2 - fixture->input->str);
    return message;
}

static void skip_line(Fixture *fixture)
{
    json_decref(receive(fixture));
}

static void negotiate(Fixture *fixture)
{
    json_auto_t *reply = NULL;

    skip_line(fixture);
    send_text(fixture, "{'execute': 'qmp_capabilities'}");
    reply = receive(fixture);
    g_assert_nonnull(json_object_get(reply, "return"));
}

/* Let the server do all that it can. */
static void settle(void)
{
    while (g_main_context_iteration(NULL, FALSE)) {
    }
}

/* Until the object "m" has been created. */
static void wait_for_object(Fixture *fixture)
{
    while (!hostmem_registry_lookup(fixture->registry, "m", HOSTMEM_TYPE_OBJECT,
                                    NULL)) {
        g_main_context_iteration(NULL, TRUE);
    }
    settle();
}

static void expect_end(Fixture *fixture)
{
    gssize n;

    while ((n = take_in(fixture)) != 0) {
        g_main_context_iteration(NULL, FALSE);
    }
}

static const char *event_of(json_t *message)
{
    return json_string_value(json_object_get(message, "event"));
}

static const char *desc_of(json_t *message)
{
    return json_string_value(
        json_object_get(json_object_get(message, "error"), "desc"));
}

/* Sessions */

static void test_greets(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    json_auto_t *greeting = receive(fixture);

    g_assert_nonnull(json_object_get(greeting, "QMP"));
}

static void test_peer_leaves(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    negotiate(fixture);
    g_assert_true(g_socket_shutdown(fixture->peer, FALSE, TRUE, NULL));
    expect_end(fixture);
}

static void test_last_reply_may_be_unread(Fixture *fixture,
                                          gconstpointer data G_GNUC_UNUSED)
{
    negotiate(fixture);
    send_text(fixture, "{'execute': 'query-version'}");
    g_assert_true(g_socket_close(fixture->peer, NULL));
    settle();
}

static void start_add(Fixture *fixture)
{
    negotiate(fixture);
    send_text(fixture, "{'execute': 'object-add', 'arguments': {'qom-type': "
                       "'memory-backend-ram', 'id': 'm', 'size': 4096}}");
}

static void
test_reply_of_a_closed_session_is_dropped(Fixture *fixture,
                                          gconstpointer data G_GNUC_UNUSED)
{
    start_add(fixture);
    g_assert_true(g_socket_close(fixture->peer, NULL));
    wait_for_object(fixture);
}

static void
test_server_goes_before_its_commands(Fixture *fixture,
                                     gconstpointer data G_GNUC_UNUSED)
{
    start_add(fixture);
    while (!hostmem_registry_lookup_pending(fixture->registry, "m")) {
        g_main_context_iteration(NULL, FALSE);
    }
    g_clear_object(&fixture->server);
    wait_for_object(fixture);
}

static void test_error_of_a_long_name_is_short(Fixture *fixture,
                                               gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *name = g_strnfill(10000, 'x');
    g_autofree char *request = g_strdup_printf("{'execute': '%s'}", name);
    json_auto_t *reply = NULL;

    negotiate(fixture);
    send_text(fixture, request);
    reply = receive(fixture);
    g_assert_cmpuint(strlen(desc_of(reply)), <, 200);
}

/* Work beside the loop */

static gint64 pass_gate(const HmFakeRecord *record G_GNUC_UNUSED, gpointer gate)
{
    g_mutex_lock(gate);
    g_mutex_unlock(gate);
    return 0;
}

static void expect_return(Fixture *fixture, json_int_t id)
{
    json_auto_t *reply = receive(fixture);

    g_assert_nonnull(json_object_get(reply, "return"));
    g_assert_cmpint(json_integer_value(json_object_get(reply, "id")), ==, id);
}

static void negotiate_oob(Fixture *fixture)
{
    skip_line(fixture);
    send_text(fixture, "{'execute': 'qmp_capabilities', 'arguments': "
                       "{'enable': ['oob']}, 'id': 0}");
    expect_return(fixture, 0);
}

/* Its memory could not be gone: the measurement uses it. */
static void test_removal_waits_for_measurement(Fixture *fixture,
                                               gconstpointer data G_GNUC_UNUSED)
{
    GMutex gate;

    g_mutex_init(&gate);
    hm_fake_reset();
    hm_fake_hook(HM_FAKE_POPULATED, pass_gate, &gate);
    g_assert_nonnull(hostmem_registry_add(
        fixture->registry, "memory-backend-ram,id=m,size=4096", NULL, NULL));
    negotiate_oob(fixture);

    g_mutex_lock(&gate);
    send_text(fixture, "{'execute': 'qom-get', 'id': 1, 'arguments': {'path': "
                       "'m', 'property': 'populated-size'}}");
    while (!hm_fake_count(HM_FAKE_POPULATED)) {
        g_main_context_iteration(NULL, FALSE);
    }
    send_text(fixture, "{'exec-oob': 'object-del', 'id': 2, 'arguments': "
                       "{'id': 'm'}} {'exec-oob': 'query-version', 'id': 3}");
    expect_return(fixture, 3);
    g_assert_nonnull(hostmem_registry_lookup(fixture->registry, "m",
                                             HOSTMEM_TYPE_OBJECT, NULL));
    g_mutex_unlock(&gate);
    expect_return(fixture, 1);
    expect_return(fixture, 2);
    hm_fake_reset();
    g_mutex_clear(&gate);
}

/* However many were read at once: others have their turns between them. */
static void
test_one_command_out_of_band_a_turn(Fixture *fixture,
                                    gconstpointer data G_GNUC_UNUSED)
{
    negotiate_oob(fixture);
    send_text(fixture, "{'exec-oob': 'quit'} {'exec-oob': 'quit'} "
                       "{'exec-oob': 'quit'}");
    while (!fixture->quits) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_cmpuint(fixture->quits, ==, 1);
}

/* Or a client could put off the removal for ever. */
static void
test_change_before_removal_is_cancelled(Fixture *fixture,
                                        gconstpointer data G_GNUC_UNUSED)
{
    json_auto_t *reply = NULL;
    GMutex gate;

    g_mutex_init(&gate);
    hm_fake_reset();
    hm_fake_hook(HM_FAKE_POPULATED, pass_gate, &gate);
    g_assert_nonnull(hostmem_registry_add(
        fixture->registry, "memory-backend-ram,id=m,size=4096", NULL, NULL));
    negotiate_oob(fixture);

    g_mutex_lock(&gate);
    send_text(fixture, "{'exec-oob': 'qom-get', 'id': 1, 'arguments': {'path': "
                       "'m', 'property': 'populated-size'}}"
                       "{'exec-oob': 'object-del', 'id': 2, 'arguments': "
                       "{'id': 'm'}}"
                       "{'exec-oob': 'query-version', 'id': 3}");
    expect_return(fixture, 3);
    send_text(fixture, "{'execute': 'qom-set', 'id': 4, 'arguments': {'path': "
                       "'m', 'property': 'prealloc', 'value': true}}");
    reply = receive(fixture);
    g_assert_nonnull(strstr(desc_of(reply), "cancel"));
    g_mutex_unlock(&gate);
    expect_return(fixture, 1);
    expect_return(fixture, 2);
    hm_fake_reset();
    g_mutex_clear(&gate);
}

/* The end */

static void test_quit(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    json_auto_t *event = NULL;
    json_auto_t *reply = NULL;

    negotiate(fixture);
    send_text(fixture, "{'execute': 'quit'}");
    event = receive(fixture);
    reply = receive(fixture);
    g_assert_cmpstr(event_of(event), ==, "SHUTDOWN");
    g_assert_nonnull(json_object_get(reply, "return"));
    g_assert_cmpuint(fixture->quits, ==, 1);
}

static void test_shutdown_says_goodbye(Fixture *fixture,
                                       gconstpointer data G_GNUC_UNUSED)
{
    json_auto_t *event = NULL;

    negotiate(fixture);
    hostmem_qmp_server_shutdown(fixture->server, "host-signal");
    event = receive(fixture);
    g_assert_cmpstr(event_of(event), ==, "SHUTDOWN");
    expect_end(fixture);
    g_assert_cmpuint(fixture->input->len, ==, 0);
}

static void
test_shutdown_after_quit_is_not_told_twice(Fixture *fixture,
                                           gconstpointer data G_GNUC_UNUSED)
{
    negotiate(fixture);
    send_text(fixture, "{'execute': 'quit'}");
    while (!fixture->quits) {
        g_main_context_iteration(NULL, TRUE);
    }
    hostmem_qmp_server_shutdown(fixture->server, "host-qmp-quit");
    skip_line(fixture);
    skip_line(fixture);
    expect_end(fixture);
    g_assert_cmpuint(fixture->input->len, ==, 0);
}

/* More replies than the socket takes, and nobody who reads. */
static void
test_shutdown_does_not_wait_for_the_deaf(Fixture *fixture,
                                         gconstpointer data G_GNUC_UNUSED)
{
    negotiate(fixture);
    for (guint i = 0; i < 64; i++) {
        send_text(fixture, "{'execute': 'query-qmp-schema'}");
    }
    settle();
    hostmem_qmp_server_shutdown(fixture->server, "host-signal");
    g_assert_cmpint(take_in(fixture), >, 0);
}

/* Doors */

static char *socket_path(char **folder)
{
    g_autoptr(GError) error = NULL;

    *folder = g_dir_make_tmp("hm-qmp-XXXXXX", &error);
    g_assert_no_error(error);
    return g_build_filename(*folder, "s", NULL);
}

static void listen_on(Fixture *fixture, const char *path)
{
    g_autofree char *address = g_strconcat("unix:", path, NULL);
    g_autoptr(GError) error = NULL;

    hostmem_qmp_server_listen(fixture->server, address, &error);
    g_assert_no_error(error);
}

static void test_socket_goes_with_the_server(Fixture *fixture,
                                             gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *folder = NULL;
    g_autofree char *path = socket_path(&folder);

    listen_on(fixture, path);
    g_assert_true(g_file_test(path, G_FILE_TEST_EXISTS));
    g_clear_object(&fixture->server);
    g_assert_no_errno(rmdir(folder));
}

static void test_socket_is_found_after_chdir(Fixture *fixture,
                                             gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *before = g_get_current_dir();
    g_autofree char *folder = NULL;
    g_autofree char *path = socket_path(&folder);

    g_assert_no_errno(chdir(folder));
    listen_on(fixture, "s");
    g_assert_no_errno(chdir(before));
    g_clear_object(&fixture->server);
    g_assert_no_errno(rmdir(folder));
}

static void test_addresses(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_auto(GStrv) addresses = NULL;
    g_autoptr(GError) error = NULL;

    hostmem_qmp_server_listen(fixture->server, "tcp:127.0.0.1:0", &error);
    g_assert_no_error(error);
    addresses = hostmem_qmp_server_get_addresses(fixture->server);
    g_assert_cmpuint(g_strv_length(addresses), ==, 1);
    g_assert_true(g_str_has_prefix(addresses[0], "tcp:127.0.0.1:"));
    g_assert_cmpstr(addresses[0], !=, "tcp:127.0.0.1:0");
}

static void test_second_server_is_refused(Fixture *fixture,
                                          gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(HostmemQmpServer) second =
        hostmem_qmp_server_new(fixture->registry);
    g_autofree char *folder = NULL;
    g_autofree char *path = socket_path(&folder);
    g_autofree char *address = g_strconcat("unix:", path, NULL);
    g_autoptr(GError) error = NULL;

    listen_on(fixture, path);
    g_assert_false(hostmem_qmp_server_listen(second, address, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_EXISTS);
    g_assert_true(g_file_test(path, G_FILE_TEST_EXISTS));
    g_clear_object(&fixture->server);
    g_assert_no_errno(rmdir(folder));
}

static void add(const char *name, void (*func)(Fixture *, gconstpointer))
{
    g_autofree char *path = g_strconcat("/qmp-server/", name, NULL);

    g_test_add(path, Fixture, NULL, set_up, func, tear_down);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("greets", test_greets);
    add("peer-leaves", test_peer_leaves);
    add("last-reply-may-be-unread", test_last_reply_may_be_unread);
    add("reply-of-a-closed-session-is-dropped",
        test_reply_of_a_closed_session_is_dropped);
    add("server-goes-before-its-commands",
        test_server_goes_before_its_commands);
    add("error-of-a-long-name-is-short", test_error_of_a_long_name_is_short);
    add("removal-waits-for-measurement", test_removal_waits_for_measurement);
    add("one-command-out-of-band-a-turn", test_one_command_out_of_band_a_turn);
    add("change-before-removal-is-cancelled",
        test_change_before_removal_is_cancelled);
    add("quit", test_quit);
    add("shutdown/says-goodbye", test_shutdown_says_goodbye);
    add("shutdown/after-quit-is-not-told-twice",
        test_shutdown_after_quit_is_not_told_twice);
    add("shutdown/does-not-wait-for-the-deaf",
        test_shutdown_does_not_wait_for_the_deaf);
    add("socket/goes-with-the-server", test_socket_goes_with_the_server);
    add("socket/is-found-after-chdir", test_socket_is_found_after_chdir);
    add("addresses", test_addresses);
    add("second-server-is-refused", test_second_server_is_refused);
    return g_test_run();
}
