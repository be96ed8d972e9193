/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>
#include "backends/programs/captive.h"

/*
 * On a terminal the command stays in our process group.  Then the kernel does
 * job control: Ctrl-C, Ctrl-Z, `fg`, `bg` and reading in the background mean
 * the whole job, pagers behind a pipe and the script that started us included,
 * and there is nothing to be done here but not to die of what is meant for the
 * command.  Elsewhere it gets a group of its own, so that a signal reaches
 * everything that it has started.
 */

/* Shell scripts use the small numbers for themselves. */
#define FIRST_FD 10

/*
 * A command that waits is a shell that reads from a pipe, which nobody but us
 * can write to, before it becomes the command.  So it has the command's process
 * id, and never begins when we are killed.
 */
#define GATE_FD     9
#define GATE_SCRIPT "read -r hostmem_gate <&9 || exit 1; exec 9<&-; exec \"$@\""

/*
 * Senders repeat themselves at once, as timeout(1) does to us and to our group;
 * who sends the same again after that means it.
 */
#define REPEATED_US G_USEC_PER_SEC

/* "${x}" is the shell's. */
#define REFERENCE    "(?<!\\$)\\{([A-Za-z][A-Za-z0-9._-]*)(:object)?\\}"

#define FDS_VARIABLE "HOSTMEM_FDS"

enum {
    SIGNALS_TO_PASS = 2,
    SIGNALS_TO_IGNORE = 2,
};

/* GLib would have the command take them, though nohup(1), or a shell for what
 * runs in the background, had us ignore them. */
static const int inherited_signals[SIGNALS_TO_IGNORE] = {SIGHUP, SIGINT};

/* One of the command's, while it is being started. */
typedef struct {
    char *id;
    CaptiveMemory memory;
} Gift;

typedef struct {
    const CaptiveCommand *command;
    CaptiveLookup lookup;
    gpointer user_data;
    GPtrArray *gifts; /* (element-type Gift); the i-th is FIRST_FD + i */
    GError **error;
} Wrapping;

typedef struct {
    Captive *captive;
    int signum;
    guint source;
} PassedSignal;

struct Captive {
    GSubprocess *process;
    GCancellable *waiting;
    gboolean own_group;
    gboolean survives;
    int gate; /* where it waits; -1: it does not */
    pid_t parent;
    int terminal; /* descriptor of it, or -1; not ours */
    struct termios terminal_mode;
    void (*quit_handler)(int);
    gboolean ignored[SIGNALS_TO_IGNORE]; /* of inherited_signals */
    PassedSignal passed_signals[SIGNALS_TO_PASS];
    int passed_on;    /* the last signal that may kill, or 0 */
    gint64 passed_at; /* monotonic; its first time */
    CaptiveDone done;
    gpointer user_data;
};

static void gift_free(Gift *gift)
{
    if (gift->memory.fd >= 0) {
        close(gift->memory.fd);
    }
    g_free(gift->id);
    g_free(gift);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Gift, gift_free)

static gboolean check_number(guint number, GError **error)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && number >= limit.rlim_cur) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_LIMIT,
                    "the command needs descriptor %u, and the limit on open "
                    "files (RLIMIT_NOFILE) is %ju",
                    number, (uintmax_t)limit.rlim_cur);
        return FALSE;
    }
    return TRUE;
}

static Gift *add_gift(Wrapping *self, const char *id)
{
    g_autoptr(Gift) gift = g_new0(Gift, 1);

    gift->id = g_strdup(id);
    gift->memory.fd = -1;
    if (!check_number(FIRST_FD + self->gifts->len, self->error) ||
        !self->lookup(id, &gift->memory, self->user_data, self->error)) {
        return NULL;
    }
    g_ptr_array_add(self->gifts, gift);
    return g_steal_pointer(&gift);
}

/* Sets @number to what it is in the command. */
static const Gift *find_gift(Wrapping *self, const char *id, guint *number)
{
    for (guint i = 0; i < self->gifts->len; i++) {
        const Gift *gift = self->gifts->pdata[i];
        if (g_str_equal(gift->id, id)) {
            *number = FIRST_FD + i;
            return gift;
        }
    }
    *number = FIRST_FD + self->gifts->len;
    return add_gift(self, id);
}

static gboolean is_read_only(const CaptiveMemory *memory)
{
    return (fcntl(memory->fd, F_GETFL) & O_ACCMODE) == O_RDONLY;
}

static void append_object(GString *text, const Gift *gift, guint number)
{
    const CaptiveMemory *memory = &gift->memory;

    g_string_append_printf(text,
                           "memory-backend-file,id=%s,size=%" G_GUINT64_FORMAT
                           ",mem-path=/proc/self/fd/%u,share=on",
                           gift->id, memory->size, number);
    if (memory->offset) {
        g_string_append_printf(text, ",offset=%" G_GUINT64_FORMAT,
                               memory->offset);
    }
    if (is_read_only(memory)) {
        g_string_append(text, ",readonly=on");
    }
}

static gboolean is_listed(const Wrapping *self, const char *id)
{
    const char *const *ids = self->command->ids;
    return !ids || g_strv_contains(ids, id);
}

static gboolean substitute(const GMatchInfo *match, GString *result,
                           gpointer data)
{
    Wrapping *self = data;
    g_autofree char *whole = g_match_info_fetch(match, 0);
    g_autofree char *id = g_match_info_fetch(match, 1);
    gboolean object = g_str_has_suffix(whole, ":object}");
    guint number;

    if (!is_listed(self, id) && !object) {
        g_string_append(result, whole);
        return FALSE;
    }
    if (!is_listed(self, id)) {
        g_set_error(self->error, HOSTMEM_ERROR, HOSTMEM_ERROR_NOT_FOUND,
                    "%s: '%s' is not among the ids before '--'", whole, id);
        return TRUE; /* stop */
    }
    const Gift *gift = find_gift(self, id, &number);
    if (!gift) {
        return TRUE;
    }
    if (object) {
        append_object(result, gift, number);
    } else {
        g_string_append_printf(result, "/proc/self/fd/%u", number);
    }
    return FALSE;
}

static gboolean add_listed(Wrapping *self)
{
    const char *const *ids = self->command->ids;
    guint number;

    for (guint i = 0; ids && ids[i]; i++) {
        if (!find_gift(self, ids[i], &number)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* The arguments with what they name; NULL with the error of @self. */
static char **expand(Wrapping *self)
{
    g_autoptr(GRegex) regex = g_regex_new(REFERENCE, G_REGEX_RAW, 0, NULL);
    g_autoptr(GStrvBuilder) argv = g_strv_builder_new();
    g_autoptr(GError) failure = NULL;
    GError **error = self->error;

    self->error = &failure;
    gboolean ok = add_listed(self);
    for (const char *const *arg = self->command->argv; ok && *arg; arg++) {
        g_autofree char *text =
            g_regex_replace_eval(regex, *arg, -1, 0, 0, substitute, self, NULL);
        g_strv_builder_add(argv, text);
        ok = !failure;
    }
    if (!ok) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return NULL;
    }
    return g_strv_builder_end(argv);
}

/* The descriptors become the launcher's. */
static void give_fds(GPtrArray *gifts, GSubprocessLauncher *launcher)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (guint i = 0; i < gifts->len; i++) {
        Gift *gift = gifts->pdata[i];
        g_string_append_printf(text, "%s%s=%u", i ? "," : "", gift->id,
                               FIRST_FD + i);
        g_subprocess_launcher_take_fd(launcher, gift->memory.fd, FIRST_FD + i);
        gift->memory.fd = -1;
    }
    if (gifts->len) {
        g_subprocess_launcher_setenv(launcher, FDS_VARIABLE, text->str, TRUE);
    } else {
        g_subprocess_launcher_unsetenv(launcher, FDS_VARIABLE);
    }
}

/* Runs between fork and exec: nothing here may allocate or lock. */
static void prepare_child(gpointer data)
{
    const Captive *self = data;

    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    if (self->quit_handler != SIG_ERR) {
        signal(SIGQUIT, self->quit_handler);
    }
    for (guint i = 0; i < SIGNALS_TO_IGNORE; i++) {
        if (self->ignored[i]) {
            signal(inherited_signals[i], SIG_IGN);
        }
    }
    if (self->own_group) {
        setpgid(0, 0);
    }
    if (self->survives) {
        return;
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != self->parent) {
        _exit(1);
    }
}

/* GLib's words are long, and in quotation marks that not all terminals have. */
static void explain(GError **error, const char *program)
{
    const char *reason = (*error)->message;

    if (g_error_matches(*error, G_SPAWN_ERROR, G_SPAWN_ERROR_NOENT)) {
        reason = strchr(program, '/') ? g_strerror(ENOENT)
                                      : "there is no such program in PATH";
    } else if (g_error_matches(*error, G_SPAWN_ERROR, G_SPAWN_ERROR_ACCES)) {
        reason = g_strerror(EACCES);
    }
    GError *better = g_error_new((*error)->domain, (*error)->code,
                                 "cannot run '%s': %s", program, reason);
    g_error_free(*error);
    *error = better;
}

/* (transfer full): what waits before it becomes @argv. */
static char **wrap(char **argv)
{
    g_autoptr(GStrvBuilder) wrapped = g_strv_builder_new();

    g_strv_builder_add_many(wrapped, "/bin/sh", "-c", GATE_SCRIPT, "sh", NULL);
    g_strv_builder_addv(wrapped, (const char **)argv);
    return g_strv_builder_end(wrapped);
}

static gboolean close_gate(Captive *self, GSubprocessLauncher *launcher,
                           GError **error)
{
    int fds[2];

    if (!g_unix_open_pipe(fds, FD_CLOEXEC, error)) {
        return FALSE;
    }
    g_subprocess_launcher_take_fd(launcher, fds[0], GATE_FD);
    self->gate = fds[1];
    return TRUE;
}

static gboolean spawn(Captive *self, const CaptiveCommand *command, char **argv,
                      GPtrArray *gifts, GError **error)
{
    g_auto(GStrv) wrapped = command->waits ? wrap(argv) : NULL;
    g_autoptr(GSubprocessLauncher) launcher =
        g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDIN_INHERIT);
    g_autoptr(GError) failure = NULL;

    if (wrapped && !close_gate(self, launcher, error)) {
        return FALSE;
    }
    give_fds(gifts, launcher);
    for (guint i = 0; command->hidden && command->hidden[i]; i++) {
        g_subprocess_launcher_unsetenv(launcher, command->hidden[i]);
    }
    g_subprocess_launcher_set_child_setup(launcher, prepare_child, self, NULL);
    self->process = g_subprocess_launcher_spawnv(
        launcher, (const char *const *)(wrapped ? wrapped : argv), &failure);
    if (!self->process) {
        explain(&failure, argv[0]);
        g_propagate_error(error, g_steal_pointer(&failure));
        return FALSE;
    }
    return TRUE;
}

/* Ours is the terminal that may stop us; others are files like any. */
static int find_terminal(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (tcgetpgrp(fd) >= 0) {
            return fd;
        }
    }
    return -1;
}

static gboolean is_in_foreground(const Captive *self)
{
    return self->terminal >= 0 && tcgetpgrp(self->terminal) == getpgrp();
}

static void look_at_terminal(Captive *self)
{
    self->terminal = find_terminal();
    self->own_group = self->terminal < 0;
    if (self->terminal >= 0 &&
        tcgetattr(self->terminal, &self->terminal_mode) < 0) {
        self->terminal = -1;
    }
}

/* A shell would, had the signal killed us. */
static void restore_terminal(Captive *self)
{
    if (is_in_foreground(self)) {
        tcsetattr(self->terminal, TCSANOW, &self->terminal_mode);
    }
}

static gboolean on_passed_signal(gpointer data)
{
    PassedSignal *passed = data;
    captive_signal(passed->captive, passed->signum);
    return G_SOURCE_CONTINUE;
}

/*
 * Ctrl-\ is told to the command by the terminal, like Ctrl-C.  This comes
 * before there is a command: it may run before we do.
 */
static void take_signals(Captive *self)
{
    static const int signums[SIGNALS_TO_PASS] = {SIGUSR1, SIGUSR2};

    self->quit_handler = self->own_group ? SIG_ERR : signal(SIGQUIT, SIG_IGN);
    for (guint i = 0; i < SIGNALS_TO_PASS; i++) {
        PassedSignal *passed = &self->passed_signals[i];
        *passed = (PassedSignal){self, signums[i], 0};
        passed->source =
            g_unix_signal_add(signums[i], on_passed_signal, passed);
    }
}

static void note_ignored_signals(Captive *self)
{
    struct sigaction action;

    for (guint i = 0; i < SIGNALS_TO_IGNORE; i++) {
        self->ignored[i] =
            sigaction(inherited_signals[i], NULL, &action) == 0 &&
            action.sa_handler == SIG_IGN;
    }
}

static void give_signals_back(Captive *self)
{
    for (guint i = 0; i < SIGNALS_TO_PASS; i++) {
        g_clear_handle_id(&self->passed_signals[i].source, g_source_remove);
    }
    if (self->quit_handler != SIG_ERR) {
        signal(SIGQUIT, self->quit_handler);
        self->quit_handler = SIG_ERR;
    }
}

static void on_ended(GObject *source, GAsyncResult *result, gpointer data)
{
    GSubprocess *process = G_SUBPROCESS(source);
    Captive *self = data;

    if (!g_subprocess_wait_finish(process, result, NULL)) {
        return; /* cancelled: @self is gone */
    }
    give_signals_back(self);
    if (g_subprocess_get_if_exited(process)) {
        self->done(g_subprocess_get_exit_status(process), self->user_data);
        return;
    }
    restore_terminal(self);
    self->done(128 + g_subprocess_get_term_sig(process), self->user_data);
}

Captive *captive_new(const CaptiveCommand *command, CaptiveLookup lookup,
                     CaptiveDone done, gpointer user_data, GError **error)
{
    g_autoptr(GPtrArray) gifts =
        g_ptr_array_new_with_free_func((GDestroyNotify)gift_free);
    Wrapping wrapping = {command, lookup, user_data, gifts, error};
    g_auto(GStrv) argv = expand(&wrapping);

    if (!argv) {
        return NULL;
    }
    g_autoptr(Captive) self = g_new0(Captive, 1);
    self->waiting = g_cancellable_new();
    self->survives = command->survives;
    self->gate = -1;
    self->parent = getpid();
    self->quit_handler = SIG_ERR;
    self->done = done;
    self->user_data = user_data;
    look_at_terminal(self);
    note_ignored_signals(self);
    take_signals(self);
    if (!spawn(self, command, argv, gifts, error)) {
        return NULL;
    }
    g_subprocess_wait_async(self->process, self->waiting, on_ended, self);
    return g_steal_pointer(&self);
}

static void leave_gate(Captive *self)
{
    if (self->gate >= 0) {
        close(self->gate);
    }
    self->gate = -1;
}

void captive_begin(Captive *self)
{
    /* When it has been killed there is nobody to read. */
    if (self->gate >= 0 && write(self->gate, "\n", 1) < 0 && errno != EPIPE) {
        g_warning("cannot let the command begin: %s", g_strerror(errno));
    }
    leave_gate(self);
}

guint64 captive_get_gate(const Captive *self)
{
    struct stat st;

    return self->gate >= 0 && fstat(self->gate, &st) == 0 ? st.st_ino : 0;
}

gboolean captive_is_at_gate(int pid, guint64 gate)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd/%d", pid, GATE_FD);
    struct stat st;

    return stat(path, &st) == 0 && S_ISFIFO(st.st_mode) && st.st_ino == gate;
}

void captive_free(Captive *self)
{
    leave_gate(self);
    give_signals_back(self);
    g_cancellable_cancel(self->waiting);
    g_object_unref(self->waiting);
    g_clear_object(&self->process);
    g_free(self);
}

/* Of SIGHUP a terminal and its shell send several. */
static gboolean may_kill(int signum)
{
    return signum == SIGTERM || signum == SIGINT;
}

static gboolean insists(Captive *self, int signum)
{
    gint64 now = g_get_monotonic_time();

    if (!may_kill(signum)) {
        return FALSE;
    }
    if (signum != self->passed_on) {
        self->passed_on = signum;
        self->passed_at = now;
    }
    return now - self->passed_at >= REPEATED_US;
}

int captive_get_pid(Captive *self)
{
    const char *pid = g_subprocess_get_identifier(self->process);
    return pid ? strtol(pid, NULL, 10) : 0;
}

gboolean captive_has_own_group(const Captive *self)
{
    return self->own_group;
}

void captive_signal(Captive *self, int signum)
{
    int child = captive_get_pid(self);

    if (!child || (signum == SIGINT && is_in_foreground(self))) {
        return; /* it has ended, or the terminal has told it */
    }
    if (insists(self, signum)) {
        fprintf(stderr,
                "%s: the command goes on after signal %d: it is killed\n",
                g_get_prgname(), signum);
        signum = SIGKILL;
    }
    kill(self->own_group ? -child : child, signum);
}

int captive_failure_status(const GError *error)
{
    if (g_error_matches(error, G_SPAWN_ERROR, G_SPAWN_ERROR_NOENT)) {
        return 127;
    }
    return error->domain == G_SPAWN_ERROR ? 126 : EXIT_FAILURE;
}

gboolean captive_check_parts(const char *id, guint n_parts, guint64 size,
                             const char *pool, GError **error)
{
    if (n_parts == 1) {
        return TRUE;
    }
    g_autofree char *segment_size = hostmem_size_to_string(size);
    g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED,
                "the memory of '%s' lies in %u segments of %s%s%s, and a "
                "memory-backend-file takes one file; give the pool a "
                "segment-size of %s",
                id, n_parts, pool ? "pool '" : "a pool", pool ? pool : "",
                pool ? "'" : "", segment_size);
    return FALSE;
}
