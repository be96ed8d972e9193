/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bench.h"

/*
 * Signals that are to end us are blocked while the program runs, and watched
 * through a descriptor: then the program and its file go first.  After that
 * they are let in, and end us in the usual way.  That needs a process without
 * other threads, which would get the signal at once.
 */

#define TIMEOUT_MS  (180 * 1000)
#define MAX_MESSAGE 400

typedef struct {
    pid_t pid;
    int in;
    int out;
    int err;
    int ended;   /* a pidfd: readable when it has ended */
    int signals; /* a signalfd */
} Process;

static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

static void fill_signals(sigset_t *set)
{
    sigemptyset(set);
    for (guint i = 0; i < G_N_ELEMENTS(signals); i++) {
        sigaddset(set, signals[i]);
    }
}

void bench_process_die_with(pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* It may have died before that. */
    if (getppid() != parent) {
        _exit(EXIT_FAILURE);
    }
}

/* In the child, after fork. */
static void prepare_child(gpointer parent)
{
    sigset_t set;

    bench_process_die_with(GPOINTER_TO_INT(parent));
    fill_signals(&set);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static void process_clear(Process *self)
{
    close_fd(&self->in);
    close_fd(&self->out);
    close_fd(&self->err);
    close_fd(&self->ended);
    close_fd(&self->signals);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Process, process_clear)

/* A pipe that holds @input and ends; it fits, being short. */
static int open_input(const char *input)
{
    int ends[2];

    if (!input) {
        return open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return -1;
    }
    if (write(ends[1], input, strlen(input)) < 0) {
        close_fd(&ends[0]);
    }
    close(ends[1]);
    return ends[0];
}

static gboolean process_open(Process *self, const char *input, GError **error)
{
    sigset_t set;

    fill_signals(&set);
    self->in = open_input(input);
    self->out = open("/dev/null", O_WRONLY | O_CLOEXEC);
    self->err = memfd_create("hostmem-bench-messages", MFD_CLOEXEC);
    self->signals = signalfd(-1, &set, SFD_CLOEXEC);
    if (self->in < 0 || self->out < 0 || self->err < 0 || self->signals < 0) {
        return bench_set_errno(error, "preparing a process", errno);
    }
    return TRUE;
}

static gboolean process_spawn(Process *self, const char *const *argv,
                              GError **error)
{
    if (!g_spawn_async_with_pipes_and_fds(
            NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, prepare_child,
            GINT_TO_POINTER(getpid()), self->in, self->out, self->err, NULL,
            NULL, 0, &self->pid, NULL, NULL, NULL, error)) {
        return FALSE;
    }
    self->ended = syscall(SYS_pidfd_open, self->pid, 0);
    return TRUE;
}

/* Returns whether it has ended by itself, or sets @error. */
static gboolean process_wait(const Process *self, GError **error)
{
    struct pollfd fds[] = {
        {.fd = self->ended, .events = POLLIN},
        {.fd = self->signals, .events = POLLIN},
    };
    int n = self->ended < 0 ? -1 : poll(fds, G_N_ELEMENTS(fds), TIMEOUT_MS);

    if (n < 0) {
        return bench_set_errno(error, "waiting for it", errno);
    }
    if (n == 0) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_TIMED_OUT,
                    "does not end within %d seconds", TIMEOUT_MS / 1000);
        return FALSE;
    }
    if (!fds[0].revents) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM, "interrupted");
        return FALSE;
    }
    return TRUE;
}

/* (transfer full): the last line of what it said */
static char *read_message(const Process *self)
{
    char text[MAX_MESSAGE + 1];
    off_t length = lseek(self->err, 0, SEEK_END);
    ssize_t n =
        pread(self->err, text, MAX_MESSAGE, MAX(length - MAX_MESSAGE, 0));

    text[MAX(n, 0)] = '\0';
    g_strchomp(text);
    const char *newline = strrchr(text, '\n');
    return g_strdup(newline ? newline + 1 : text);
}

static gboolean check_status(const Process *self, int status, GError **error)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return TRUE;
    }
    g_autofree char *message = read_message(self);
    if (WIFSIGNALED(status)) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM,
                    "ended by signal %d (%s); %s", WTERMSIG(status),
                    strsignal(WTERMSIG(status)), message);
    } else {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM,
                    "exit status %d; %s", WEXITSTATUS(status), message);
    }
    return FALSE;
}

static gint64 run(const char *const *argv, const char *input, GError **error)
{
    g_auto(Process) self = {0, -1, -1, -1, -1, -1};
    int status;

    if (!process_open(&self, input, error)) {
        return -1;
    }
    gint64 start = bench_now();
    if (!process_spawn(&self, argv, error)) {
        return -1;
    }
    gboolean ended = process_wait(&self, error);
    if (!ended) {
        kill(self.pid, SIGKILL);
    }
    while (waitpid(self.pid, &status, 0) < 0 && errno == EINTR) {
    }
    gint64 taken = bench_now() - start;
    return ended && check_status(&self, status, error) ? taken : -1;
}

gint64 bench_process_run(const char *const *argv, const char *input,
                         const char *remove, GError **error)
{
    sigset_t set;
    sigset_t before;

    fill_signals(&set);
    sigprocmask(SIG_BLOCK, &set, &before);
    gint64 taken = run(argv, input, error);
    if (remove) {
        unlink(remove);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (taken < 0) {
        g_prefix_error(error, "%s: ", argv[0]);
    }
    return taken;
}
