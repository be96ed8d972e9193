/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "qmp-peer.h"

#define MAX_FDS 253

struct HmTestPeer {
    int fd;
    GThread *thread;
    HmTestScript script;
    gpointer data;
    GString *input;
    GArray *fds;
};

static gpointer run(gpointer data)
{
    HmTestPeer *self = data;

    self->script(self, self->data);
    close(self->fd);
    return NULL;
}

HmTestPeer *hm_test_peer_start_on(int fd, HmTestScript script, gpointer data)
{
    HmTestPeer *self = g_new0(HmTestPeer, 1);

    self->fd = fd;
    g_assert_no_errno(fcntl(fd, F_SETFL, 0));
    self->script = script;
    self->data = data;
    self->input = g_string_new(NULL);
    self->fds = g_array_new(FALSE, FALSE, sizeof(int));
    self->thread = g_thread_new("peer", run, self);
    return self;
}

HmTestPeer *hm_test_peer_start(HmTestScript script, gpointer data,
                               GIOStream **streamp)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GSocket) ours = NULL;
    int fds[2];

    g_assert_no_errno(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
    ours = g_socket_new_from_fd(fds[0], &error);
    g_assert_no_error(error);
    *streamp = G_IO_STREAM(g_socket_connection_factory_create_connection(ours));
    return hm_test_peer_start_on(fds[1], script, data);
}

void hm_test_peer_join(HmTestPeer *self)
{
    int fd;

    g_thread_join(self->thread);
    while ((fd = hm_test_take_fd(self)) >= 0) {
        close(fd);
    }
    g_array_unref(self->fds);
    g_string_free(self->input, TRUE);
    g_free(self);
}

int hm_test_peer_fd(HmTestPeer *self)
{
    return self->fd;
}

void hm_test_say_bytes(HmTestPeer *self, const char *bytes, gsize length)
{
    while (length) {
        gssize n = send(self->fd, bytes, length, MSG_NOSIGNAL);

        if (n < 0) {
            g_assert_true(errno == EPIPE || errno == ECONNRESET);
            return;
        }
        bytes += n;
        length -= (gsize)n;
    }
}

static char *quoted(const char *text)
{
    return g_strdelimit(g_strdup(text), "'", '"');
}

void hm_test_say(HmTestPeer *self, const char *text)
{
    g_autofree char *json = quoted(text);

    hm_test_say_bytes(self, json, strlen(json));
}

void hm_test_say_fds(HmTestPeer *self, const char *text, const int *fds,
                     guint n)
{
    g_autofree char *json = quoted(text);
    struct iovec piece = {json, strlen(json)};
    char control[CMSG_SPACE(MAX_FDS * sizeof(int))] = {0};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = CMSG_SPACE(n * sizeof(int))};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(n * sizeof(int));
    memcpy(CMSG_DATA(header), fds, n * sizeof(int));
    g_assert_cmpint(sendmsg(self->fd, &message, MSG_NOSIGNAL), ==,
                    strlen(json));
}

static void keep_fds(HmTestPeer *self, struct msghdr *message)
{
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
         header = CMSG_NXTHDR(message, header)) {
        g_assert_cmpint(header->cmsg_type, ==, SCM_RIGHTS);
        g_array_append_vals(self->fds, CMSG_DATA(header),
                            (header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    }
}

static gboolean take_in(HmTestPeer *self)
{
    char data[4096];
    char control[CMSG_SPACE(MAX_FDS * sizeof(int))];
    struct iovec piece = {data, sizeof(data)};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
    gssize n = recvmsg(self->fd, &message, MSG_CMSG_CLOEXEC);

    if (n <= 0) {
        return FALSE;
    }
    keep_fds(self, &message);
    g_string_append_len(self->input, data, n);
    return TRUE;
}

json_t *hm_test_hear(HmTestPeer *self)
{
    json_t *message;
    char *end;

    while (!(end = memchr(self->input->str, '\n', self->input->len))) {
        if (!take_in(self)) {
            return NULL;
        }
    }
    message =
        json_loadb(self->input->str, (gsize)(end - self->input->str), 0, NULL);
    g_assert_nonnull(message);
    g_string_erase(self->input, 0, end + 1 - self->input->str);
    return message;
}

json_int_t hm_test_hear_command(HmTestPeer *self, const char *command)
{
    json_auto_t *message = hm_test_hear(self);
    json_t *id = json_object_get(message, "id");

    g_assert_cmpstr(json_string_value(json_object_get(message, "execute")), ==,
                    command);
    g_assert_true(json_is_integer(id));
    return json_integer_value(id);
}

void hm_test_answer(HmTestPeer *self, json_int_t id, const char *value)
{
    g_autofree char *text = g_strdup_printf(
        "{'return': %s, 'id': %" JSON_INTEGER_FORMAT "}\r\n", value, id);

    hm_test_say(self, text);
}

void hm_test_negotiate(HmTestPeer *self)
{
    hm_test_say(self, "{'QMP': {'version': {}, 'capabilities': []}}\r\n");
    hm_test_answer(self, hm_test_hear_command(self, "qmp_capabilities"), "{}");
}

int hm_test_take_fd(HmTestPeer *self)
{
    int fd;

    if (!self->fds->len) {
        return -1;
    }
    fd = g_array_index(self->fds, int, 0);
    g_array_remove_index(self->fds, 0);
    return fd;
}

/* A client's session */

void hm_test_negotiate_and_go_on(HmTestPeer *peer, gpointer data)
{
    HmTestSession *session = data;

    hm_test_negotiate(peer);
    session->script(peer, session->data);
}

void hm_test_begin(HmTestSession *session, HmTestScript script, gpointer data)
{
    g_autoptr(GIOStream) stream = NULL;
    g_autoptr(GError) error = NULL;

    *session = (HmTestSession){script, data, NULL, NULL};
    session->peer =
        hm_test_peer_start(hm_test_negotiate_and_go_on, session, &stream);
    session->client = hostmem_qmp_client_new_for_stream(stream, NULL, &error);
    g_assert_no_error(error);
}

void hm_test_end(HmTestSession *session)
{
    g_clear_object(&session->client);
    hm_test_peer_join(session->peer);
}

char *hm_test_execute(HmTestSession *session, const char *command,
                      const char *arguments)
{
    g_autoptr(GError) error = NULL;
    char *answer = hostmem_qmp_client_execute(
        session->client, command, arguments, NULL, NULL, NULL, &error);

    g_assert_no_error(error);
    return answer;
}

void hm_test_assert_refused(HmTestSession *session, const char *arguments,
                            gint code, const char *phrase)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(hostmem_qmp_client_execute(session->client, "x", arguments,
                                             NULL, NULL, NULL, &error));
    g_assert_error(error, HOSTMEM_ERROR, code);
    g_assert_nonnull(strstr(error->message, phrase));
}
