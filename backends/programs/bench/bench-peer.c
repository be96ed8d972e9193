/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bench.h"

/*
 * A line there, a line back, over a pair of sockets that nobody else sees.
 * Whatever happens to us, QEMU goes: it is killed when we are done, and by the
 * kernel when we die.
 */

#define TIMEOUT_S    60
#define MAX_MESSAGE  400
#define SOCKET_FLAGS (SOCK_STREAM | SOCK_CLOEXEC)

struct BenchPeer {
    GPid pid;     /* 0: not started */
    int socket;   /* of ours */
    int messages; /* what it says on standard error */
    gsize length; /* of what was received, and is not taken yet */
    char received[BENCH_PEER_LINE];
};

/* In the child, after fork. */
static void prepare_child(gpointer parent)
{
    bench_process_die_with(GPOINTER_TO_INT(parent));
}

/* Takes @theirs, their end of the socket. */
static gboolean spawn(BenchPeer *self, const char *const *argv, int theirs,
                      int fd, GError **error)
{
    const int sources[] = {theirs, fd};
    const int targets[] = {BENCH_PEER_SOCKET, BENCH_PEER_FD};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    gboolean spawned = g_spawn_async_with_pipes_and_fds(
        NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, prepare_child,
        GINT_TO_POINTER(getpid()), null, null, self->messages, sources, targets,
        fd < 0 ? 1 : 2, &self->pid, NULL, NULL, NULL, error);

    close(theirs);
    close(null);
    return spawned;
}

static gboolean start(BenchPeer *self, const char *const *argv, int fd,
                      GError **error)
{
    const struct timeval timeout = {.tv_sec = TIMEOUT_S};
    int ends[2];

    self->messages = memfd_create("hostmem-bench-messages", MFD_CLOEXEC);
    if (self->messages < 0 || socketpair(AF_UNIX, SOCKET_FLAGS, 0, ends) < 0) {
        return bench_set_errno(error, "preparing a process", errno);
    }
    self->socket = ends[0];
    setsockopt(self->socket, SOL_SOCKET, SO_RCVTIMEO, &timeout,
               sizeof(timeout));
    return spawn(self, argv, ends[1], fd, error);
}

BenchPeer *bench_peer_new(const char *const *argv, int fd, GError **error)
{
    BenchPeer *self = g_new(BenchPeer, 1);

    *self = (BenchPeer){.socket = -1, .messages = -1};
    if (!start(self, argv, fd, error)) {
        g_prefix_error(error, "%s: ", argv[0]);
        g_clear_pointer(&self, bench_peer_free);
    }
    return self;
}

void bench_peer_free(BenchPeer *self)
{
    if (self->pid) {
        kill(self->pid, SIGKILL);
        while (waitpid(self->pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    if (self->socket >= 0) {
        close(self->socket);
    }
    if (self->messages >= 0) {
        close(self->messages);
    }
    g_free(self);
}

/* (transfer full): the last line of what it said */
static char *last_message(const BenchPeer *self)
{
    char text[MAX_MESSAGE + 1];
    off_t length = lseek(self->messages, 0, SEEK_END);
    ssize_t n =
        pread(self->messages, text, MAX_MESSAGE, MAX(length - MAX_MESSAGE, 0));

    text[MAX(n, 0)] = '\0';
    g_strchomp(text);
    const char *newline = strrchr(text, '\n');
    return g_strdup(newline ? newline + 1 : text);
}

static gboolean say_gone(const BenchPeer *self, GError **error)
{
    g_autofree char *message = last_message(self);

    g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM,
                "QEMU went away%s%s", message[0] ? ": " : "", message);
    return FALSE;
}

static gboolean receive_more(BenchPeer *self, GError **error)
{
    ssize_t n;

    if (self->length == BENCH_PEER_LINE) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_LIMIT,
                    "QEMU sends a line of more than %d bytes", BENCH_PEER_LINE);
        return FALSE;
    }
    do {
        n = recv(self->socket, self->received + self->length,
                 BENCH_PEER_LINE - self->length, 0);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_TIMED_OUT,
                    "QEMU does not answer within %d seconds", TIMEOUT_S);
        return FALSE;
    }
    if (n <= 0) {
        return say_gone(self, error);
    }
    self->length += n;
    return TRUE;
}

/* An answer may come along with an event before it, or after it. */
gboolean bench_peer_receive(BenchPeer *self, char *line, GError **error)
{
    const char *end;
    gsize taken;

    while (!(end = memchr(self->received, '\n', self->length))) {
        if (!receive_more(self, error)) {
            return FALSE;
        }
    }
    taken = end - self->received;
    memcpy(line, self->received, taken);
    line[taken++] = '\0';
    self->length -= taken;
    memmove(self->received, self->received + taken, self->length);
    return TRUE;
}

gboolean bench_peer_send(BenchPeer *self, const char *line, GError **error)
{
    g_autofree char *text = g_strconcat(line, "\n", NULL);
    gssize length = strlen(text);

    return send(self->socket, text, length, MSG_NOSIGNAL) == length ||
           say_gone(self, error);
}
