/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "hostmemd.h"

/*
 * The command owns the memory as long as it runs, and hostmemd stands behind
 * it: signals are passed on, and the end of the command ends hostmemd.
 *
 * On a terminal the command stays in hostmemd's process group, so that it may
 * read and gets Ctrl-C from the terminal itself.  Elsewhere it gets a group of
 * its own, so that a signal reaches everything the shell has started.
 */

/* Shell scripts use the small numbers for themselves. */
#define FIRST_FD 10

/*
 * Senders repeat themselves at once, as timeout(1) does to us and to our group;
 * who sends the same again after that means it.
 */
#define REPEATED_US G_USEC_PER_SEC

/* "${x}" is the shell's. */
#define REFERENCE "(?<!\\$)\\{([A-Za-z][A-Za-z0-9._-]*)\\}"

struct HmRun {
    GSubprocess *process;
    GCancellable *waiting;
    GPtrArray *backends; /* handed over, held; the i-th one is FIRST_FD + i */
    gboolean own_group;
    pid_t parent;
    int passed_on;    /* the last signal that was, or 0 */
    gint64 passed_at; /* monotonic; its first time */
    HmRunDone done;
    gpointer user_data;
};

typedef struct {
    HostmemRegistry *registry;
    GPtrArray *backends;
    GError **error;
} Substitution;

static char *list_ids(HostmemRegistry *registry)
{
    g_autoptr(GPtrArray) objects = hostmem_registry_list(registry);
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < objects->len; i++) {
        if (HOSTMEM_IS_BACKEND(objects->pdata[i])) {
            g_string_append_printf(text, "%s%s", text->len ? ", " : "",
                                   hostmem_object_get_id(objects->pdata[i]));
        }
    }
    return g_string_free(text, FALSE);
}

static HostmemBackend *find_shareable(HostmemRegistry *registry, const char *id,
                                      GError **error)
{
    HostmemBackend *backend =
        hostmem_registry_lookup(registry, id, HOSTMEM_TYPE_BACKEND, NULL);
    if (!backend) {
        g_autofree char *ids = list_ids(registry);
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NOT_FOUND,
                    "--run: {%s} names no memory backend; there is %s", id,
                    *ids ? ids : "none");
        return NULL;
    }
    if (hostmem_backend_get_fd(backend) < 0 ||
        !hostmem_backend_get_share(backend)) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED,
                    "--run: the memory of '%s' is private and cannot be "
                    "handed over; create it with share=on",
                    id);
        return NULL;
    }
    return backend;
}

static guint index_of(GPtrArray *backends, HostmemBackend *backend)
{
    guint i;
    if (g_ptr_array_find(backends, backend, &i)) {
        return i;
    }
    g_ptr_array_add(backends, g_object_ref(backend));
    hostmem_object_hold(HOSTMEM_OBJECT(backend));
    return backends->len - 1;
}

static gboolean substitute(const GMatchInfo *match, GString *result,
                           gpointer data)
{
    Substitution *self = data;
    g_autofree char *id = g_match_info_fetch(match, 1);
    HostmemBackend *backend = find_shareable(self->registry, id, self->error);
    if (!backend) {
        return TRUE; /* stop */
    }
    g_string_append_printf(result, "/proc/self/fd/%u",
                           FIRST_FD + index_of(self->backends, backend));
    return FALSE;
}

static char *expand(HostmemRegistry *registry, const char *command,
                    GPtrArray *backends, GError **error)
{
    g_autoptr(GError) failure = NULL;
    Substitution substitution = {registry, backends, &failure};
    g_autoptr(GRegex) regex = g_regex_new(REFERENCE, G_REGEX_RAW, 0, NULL);
    g_autofree char *text = g_regex_replace_eval(
        regex, command, -1, 0, 0, substitute, &substitution, NULL);

    if (failure) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return NULL;
    }
    return g_steal_pointer(&text);
}

/* Runs between fork and exec: nothing here may allocate or lock. */
static void prepare_child(gpointer data)
{
    const HmRun *self = data;

    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    if (self->own_group) {
        setpgid(0, 0);
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != self->parent) {
        _exit(1);
    }
}

static gboolean give_fds(HmRun *self, GSubprocessLauncher *launcher,
                         GError **error)
{
    for (guint i = 0; i < self->backends->len; i++) {
        int fd = fcntl(hostmem_backend_get_fd(self->backends->pdata[i]),
                       F_DUPFD_CLOEXEC, 0);
        if (fd < 0) {
            g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM,
                        "--run: cannot duplicate a descriptor: %s",
                        g_strerror(errno));
            return FALSE;
        }
        g_subprocess_launcher_take_fd(launcher, fd, FIRST_FD + i);
    }
    return TRUE;
}

static gboolean spawn(HmRun *self, const char *command, GError **error)
{
    g_autoptr(GSubprocessLauncher) launcher =
        g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDIN_INHERIT);

    /* Nobody but us is to speak to our service manager. */
    g_subprocess_launcher_unsetenv(launcher, "NOTIFY_SOCKET");
    if (!give_fds(self, launcher, error)) {
        return FALSE;
    }
    g_subprocess_launcher_set_child_setup(launcher, prepare_child, self, NULL);
    self->process = g_subprocess_launcher_spawn(launcher, error, "/bin/sh",
                                                "-c", command, NULL);
    if (!self->process) {
        g_prefix_error(error, "--run: ");
        return FALSE;
    }
    return TRUE;
}

static void release_backends(HmRun *self)
{
    for (guint i = 0; i < self->backends->len; i++) {
        hostmem_object_release(self->backends->pdata[i]);
    }
    g_ptr_array_set_size(self->backends, 0);
}

static void on_ended(GObject *source, GAsyncResult *result, gpointer data)
{
    GSubprocess *process = G_SUBPROCESS(source);
    HmRun *self = data;

    if (!g_subprocess_wait_finish(process, result, NULL)) {
        return; /* cancelled: @self is gone */
    }
    release_backends(self);
    self->done(g_subprocess_get_if_exited(process)
                   ? g_subprocess_get_exit_status(process)
                   : 128 + g_subprocess_get_term_sig(process),
               self->user_data);
}

HmRun *hm_run_new(HostmemRegistry *registry, const char *command,
                  HmRunDone done, gpointer user_data, GError **error)
{
    g_autoptr(HmRun) self = g_new0(HmRun, 1);

    self->backends = g_ptr_array_new_with_free_func(g_object_unref);
    self->waiting = g_cancellable_new();
    self->own_group = tcgetpgrp(STDIN_FILENO) != getpgrp();
    self->parent = getpid();
    self->done = done;
    self->user_data = user_data;

    g_autofree char *expanded =
        expand(registry, command, self->backends, error);
    if (!expanded || !spawn(self, expanded, error)) {
        return NULL;
    }
    g_subprocess_wait_async(self->process, self->waiting, on_ended, self);
    return g_steal_pointer(&self);
}

void hm_run_free(HmRun *self)
{
    g_cancellable_cancel(self->waiting);
    release_backends(self);
    g_ptr_array_unref(self->backends);
    g_object_unref(self->waiting);
    g_clear_object(&self->process);
    g_free(self);
}

/* Of SIGHUP a terminal and its shell send several. */
static gboolean insists(HmRun *self, int signum)
{
    gint64 now = g_get_monotonic_time();

    if (signum != self->passed_on) {
        self->passed_on = signum;
        self->passed_at = now;
        return FALSE;
    }
    return signum != SIGHUP && now - self->passed_at >= REPEATED_US;
}

void hm_run_signal(HmRun *self, int signum)
{
    const char *pid = g_subprocess_get_identifier(self->process);
    if (!pid) {
        return; /* it has ended */
    }
    pid_t child = strtol(pid, NULL, 10);
    if (!self->own_group && signum == SIGINT) {
        return; /* the terminal has told it */
    }
    if (insists(self, signum)) {
        fprintf(stderr,
                "hostmemd: --run: the command goes on after signal "
                "%d: it is killed\n",
                signum);
        signum = SIGKILL;
    }
    kill(self->own_group ? -child : child, signum);
}
