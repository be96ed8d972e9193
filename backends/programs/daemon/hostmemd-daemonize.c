/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "hostmemd.h"

/*
 * Two forks: the first child makes a session of its own, the second one, not
 * being its leader, can never get a terminal.  The process that the user
 * started waits on a pipe.  One byte means ready; the end of the pipe means
 * that the background process, which has said why, is gone.
 */

static gboolean fail(GError **error, const char *what)
{
    g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM,
                "cannot go to the background: %s: %s", what, g_strerror(errno));
    return FALSE;
}

static G_NORETURN void wait_until_ready(int fd, pid_t child)
{
    char byte;
    ssize_t n;

    waitpid(child, NULL, 0);
    do {
        n = read(fd, &byte, 1);
    } while (n < 0 && errno == EINTR);
    _exit(n == 1 ? 0 : 1);
}

/* Returns in the grandchild only. */
static void leave_session(void)
{
    pid_t pid = setsid() < 0 ? -1 : fork();
    if (pid < 0) {
        fprintf(stderr, "hostmemd: cannot go to the background: %s\n",
                g_strerror(errno));
        _exit(1);
    }
    if (pid > 0) {
        _exit(0);
    }
    umask(027);
}

int hm_daemonize_begin(GError **error)
{
    int fds[2];
    if (!g_unix_open_pipe(fds, FD_CLOEXEC, error)) {
        return -1;
    }
    pid_t pid = fork();
    if (pid < 0) {
        fail(error, "fork");
        close(fds[0]);
        close(fds[1]);
        return -1;
    }
    if (pid > 0) {
        close(fds[1]);
        wait_until_ready(fds[0], pid);
    }
    close(fds[0]);
    leave_session();
    return fds[1];
}

static gboolean silence_stdio(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0) {
        return FALSE;
    }
    gboolean done = dup2(null, STDIN_FILENO) >= 0 &&
                    dup2(null, STDOUT_FILENO) >= 0 &&
                    dup2(null, STDERR_FILENO) >= 0;
    close(null);
    return done;
}

gboolean hm_daemonize_ready(int fd, GError **error)
{
    gboolean done = FALSE;

    if (chdir("/") < 0) {
        fail(error, "chdir /");
    } else if (!silence_stdio()) {
        fail(error, "/dev/null");
    } else {
        done = write(fd, "", 1) == 1 || fail(error, "the starter is gone");
    }
    close(fd);
    return done;
}
