/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "backends/programs/captive.h"
#include "hostmemd.h"

/*
 * A command that an earlier hostmemd has started is nobody's child: it can be
 * watched and be sent signals through a pidfd, but how it ended is not told.
 * What is known of it is in the note that is saved along with the memory.  A
 * process is the one that was meant if it has the same number and was started
 * at the same tick of the clock.
 *
 * There are two notes.  The first is stored while the command waits to begin,
 * and has the gate it waits at; the second when it was let through.  Whoever
 * finds the first one does not know whether the command has begun, unless it
 * stands at the gate still: then it never will, for who could open that is
 * gone.
 */

#define NOTE_TYPE   "(itbsas)"
#define GATE_TYPE   "(itbsast)"
#define NOTE_MAX    (60u << 10)
#define BORN_FIELD  22 /* of /proc/PID/stat, from 1 */
#define REPEATED_US G_USEC_PER_SEC

enum {
    N_PASSED = 2,
};

typedef struct {
    HmKept *kept;
    int signum;
    guint source;
} PassedSignal;

struct HmKept {
    int pid;
    guint64 born; /* ticks since the host was booted */
    gboolean own_group;
    char *digest; /* of the command */
    char **ids;   /* of backends that it got */
    guint64 gate; /* 0: it has begun */
    int fd;       /* a pidfd; -1: it has ended */
    guint watch;
    PassedSignal passed[N_PASSED];
    gint64 passed_at; /* monotonic; of the first SIGTERM; 0: none */
    HmKeptDone done;
    gpointer user_data;
};

/* 0: there is no such process. */
static guint64 read_born(int pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", pid);
    g_autofree char *text = NULL;
    g_auto(GStrv) fields = NULL;
    const char *rest;

    /* The second field is a name in parentheses, of any characters. */
    if (!g_file_get_contents(path, &text, NULL, NULL) ||
        !(rest = strrchr(text, ')'))) {
        return 0;
    }
    fields = g_strsplit(rest, " ", -1);
    return g_strv_length(fields) > BORN_FIELD - 2
               ? g_ascii_strtoull(fields[BORN_FIELD - 2], NULL, 10)
               : 0;
}

static char *make_digest(const char *command)
{
    return g_compute_checksum_for_string(G_CHECKSUM_SHA256, command, -1);
}

char *hm_kept_describe(Captive *captive, const char *command,
                       const char *const *ids, GError **error)
{
    const int pid = captive_get_pid(captive);
    const guint64 born = read_born(pid), gate = captive_get_gate(captive);
    const gboolean own_group = captive_has_own_group(captive);
    g_autofree char *digest = make_digest(command);
    g_autoptr(GVariant) note =
        g_variant_ref_sink(gate ? g_variant_new("(itbs^ast)", (gint32)pid, born,
                                                own_group, digest, ids, gate)
                                : g_variant_new("(itbs^as)", (gint32)pid, born,
                                                own_group, digest, ids));
    char *text = g_variant_print(note, FALSE);

    if (strlen(text) > NOTE_MAX) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_LIMIT,
                    "the ids of all that the command gets take %zu bytes, and "
                    "what is kept over a restart has room for %u",
                    strlen(text), NOTE_MAX);
        g_clear_pointer(&text, g_free);
    }
    return text;
}

static gboolean has_ended(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

    return fd < 0 || poll(&poll_fd, 1, 0) != 0;
}

static int open_process(int pid, guint64 born)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);

    /* Now that it cannot become another one: is it the one?  It may have ended,
     * and nobody has looked after it. */
    if (fd >= 0 && (read_born(pid) != born || has_ended(fd))) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* (transfer full) (nullable) */
static HmKept *parse(const char *note)
{
    g_autoptr(GVariant) begun =
        g_variant_parse(G_VARIANT_TYPE(NOTE_TYPE), note, NULL, NULL, NULL);
    g_autoptr(GVariant) gate =
        g_variant_parse(G_VARIANT_TYPE(GATE_TYPE), note, NULL, NULL, NULL);
    HmKept *self;

    if (!begun && !gate) {
        return NULL;
    }
    self = g_new0(HmKept, 1);
    if (begun) {
        g_variant_get(begun, "(itbs^as)", &self->pid, &self->born,
                      &self->own_group, &self->digest, &self->ids);
    } else {
        g_variant_get(gate, "(itbs^ast)", &self->pid, &self->born,
                      &self->own_group, &self->digest, &self->ids, &self->gate);
    }
    return self;
}

/* It is a shell that has nobody to wait for; the command has not begun. */
static void end_at_gate(HmKept *self)
{
    struct pollfd poll_fd = {.fd = self->fd, .events = POLLIN};

    if (self->fd < 0 || !self->gate ||
        !captive_is_at_gate(self->pid, self->gate)) {
        return;
    }
    syscall(SYS_pidfd_send_signal, self->fd, SIGKILL, NULL, 0);
    TEMP_FAILURE_RETRY(poll(&poll_fd, 1, -1));
    close(self->fd);
    self->fd = -1;
}

HmKept *hm_kept_new(const char *note, GError **error)
{
    HmKept *self = parse(note);

    if (!self) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID,
                    "what was kept does not tell whether the command of an "
                    "earlier start goes on");
        return NULL;
    }
    self->fd =
        self->pid > 1 && self->born ? open_process(self->pid, self->born) : -1;
    end_at_gate(self);
    return self;
}

void hm_kept_free(HmKept *self)
{
    g_clear_handle_id(&self->watch, g_source_remove);
    for (guint i = 0; i < N_PASSED; i++) {
        g_clear_handle_id(&self->passed[i].source, g_source_remove);
    }
    if (self->fd >= 0) {
        close(self->fd);
    }
    g_free(self->digest);
    g_strfreev(self->ids);
    g_free(self);
}

int hm_kept_get_pid(const HmKept *self)
{
    return self->fd < 0 ? 0 : self->pid;
}

gboolean hm_kept_has_begun(const HmKept *self)
{
    return self->fd >= 0 || !self->gate;
}

const char *const *hm_kept_get_ids(const HmKept *self)
{
    return (const char *const *)self->ids;
}

gboolean hm_kept_is(const HmKept *self, const char *command)
{
    g_autofree char *digest = make_digest(command);

    return g_str_equal(digest, self->digest);
}

/* Watching */

static gboolean on_gone(gpointer data)
{
    HmKept *self = data;

    self->watch = 0;
    self->done(self->user_data);
    return G_SOURCE_REMOVE;
}

static gboolean on_ended(gint fd G_GNUC_UNUSED,
                         GIOCondition condition G_GNUC_UNUSED, gpointer data)
{
    return on_gone(data);
}

static gboolean on_signal(gpointer data)
{
    const PassedSignal *passed = data;

    hm_kept_signal(passed->kept, passed->signum);
    return G_SOURCE_CONTINUE;
}

void hm_kept_watch(HmKept *self, HmKeptDone done, gpointer user_data)
{
    static const int signums[N_PASSED] = {SIGUSR1, SIGUSR2};

    self->done = done;
    self->user_data = user_data;
    if (self->fd < 0) {
        self->watch = g_idle_add(on_gone, self);
        return;
    }
    self->watch = g_unix_fd_add(self->fd, G_IO_IN, on_ended, self);
    for (guint i = 0; i < N_PASSED; i++) {
        self->passed[i] = (PassedSignal){.kept = self, .signum = signums[i]};
        self->passed[i].source =
            g_unix_signal_add(signums[i], on_signal, &self->passed[i]);
    }
}

/* Signals */

/* As captive_signal() has it. */
static gboolean insists(HmKept *self, int signum)
{
    gint64 now = g_get_monotonic_time();

    if (signum != SIGTERM) {
        return FALSE;
    }
    self->passed_at = self->passed_at ? self->passed_at : now;
    return now - self->passed_at >= REPEATED_US;
}

void hm_kept_signal(HmKept *self, int signum)
{
    if (has_ended(self->fd)) {
        return;
    }
    if (insists(self, signum)) {
        fprintf(stderr,
                "hostmemd: the command goes on after signal %d: it is "
                "killed\n",
                signum);
        signum = SIGKILL;
    }
    if (self->own_group) {
        kill(-self->pid, signum);
    } else {
        syscall(SYS_pidfd_send_signal, self->fd, signum, NULL, 0);
    }
}
