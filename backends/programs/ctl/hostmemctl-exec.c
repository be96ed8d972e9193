/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib-unix.h>
#include <signal.h>
#include <stdlib.h>
#include "hostmemctl.h"

/*
 * Theory of operation
 *
 * First all memory is fetched, and the session ends, so that nobody waits for a
 * QMP of ours while the command runs.  Signals are ours from then on until
 * there is a command to pass them on to: one that came in between must not
 * leave the command without us.
 */

typedef struct {
    char **ids;
    GArray *memory; /* (element-type CaptiveMemory), of each id */
    Captive *captive;
    gboolean ended;
    int status;
} Exec;

typedef struct {
    Exec *exec;
    int signum;
    guint source;
} Passed;

/* Where an id was given first. */
static guint position_of(const Exec *self, const char *id)
{
    guint i = 0;

    while (!g_str_equal(self->ids[i], id)) {
        i++;
    }
    return i;
}

static gboolean fetch(Exec *self, CtlCall *call, GError **error)
{
    g_autoptr(CtlPeer) peer = ctl_peer_new(call, error);

    if (!peer) {
        return FALSE;
    }
    for (guint i = 0; self->ids[i]; i++) {
        CaptiveMemory memory = {.fd = -1};

        if (position_of(self, self->ids[i]) == i &&
            !ctl_memory_get(peer, self->ids[i], &memory, error)) {
            return FALSE;
        }
        g_array_append_val(self->memory, memory);
    }
    return TRUE;
}

static void warn(const Exec *self)
{
    for (guint i = 0; self->ids[i]; i++) {
        ctl_memory_warn(self->ids[i],
                        &g_array_index(self->memory, CaptiveMemory, i));
    }
}

static gboolean hand_over(const char *id, CaptiveMemory *memory, gpointer data,
                          G_GNUC_UNUSED GError **error)
{
    Exec *self = data;
    CaptiveMemory *ours =
        &g_array_index(self->memory, CaptiveMemory, position_of(self, id));

    *memory = *ours;
    ours->fd = -1;
    return TRUE;
}

static void on_ended(int status, gpointer data)
{
    Exec *self = data;

    self->status = status;
    self->ended = TRUE;
}

/* Signals */

static gboolean on_signal(gpointer data)
{
    const Passed *passed = data;

    captive_signal(passed->exec->captive, passed->signum);
    return G_SOURCE_CONTINUE;
}

/* What nohup(1), or a shell for the background, has us ignore stays ignored. */
static gboolean is_ignored(int signum)
{
    struct sigaction action;

    return sigaction(signum, NULL, &action) == 0 &&
           action.sa_handler == SIG_IGN;
}

static int run(Exec *self, CtlCall *call, GError **error)
{
    const CaptiveCommand command = {
        .argv = (const char *const *)call->rest,
        .ids = (const char *const *)call->words,
        .survives = TRUE, /* the memory is not ours */
    };
    Passed passed[] = {
        {self, SIGHUP, 0},
        {self, SIGINT, 0},
        {self, SIGTERM, 0},
    };

    for (guint i = 0; i < G_N_ELEMENTS(passed); i++) {
        if (!is_ignored(passed[i].signum)) {
            passed[i].source =
                g_unix_signal_add(passed[i].signum, on_signal, &passed[i]);
        }
    }
    self->captive = captive_new(&command, hand_over, on_ended, self, error);
    while (self->captive && !self->ended) {
        g_main_context_iteration(NULL, TRUE);
    }
    for (guint i = 0; i < G_N_ELEMENTS(passed); i++) {
        g_clear_handle_id(&passed[i].source, g_source_remove);
    }
    g_clear_pointer(&self->captive, captive_free);
    return self->status;
}

static void clear_memory(gpointer memory)
{
    ctl_memory_clear(memory);
}

int ctl_run_exec(CtlCall *call, GError **error)
{
    g_autoptr(GArray) memory = g_array_new(FALSE, FALSE, sizeof(CaptiveMemory));
    g_autoptr(GError) failure = NULL;
    Exec self = {.ids = call->words, .memory = memory};

    g_array_set_clear_func(memory, clear_memory);
    if (!fetch(&self, call, error)) {
        return EXIT_FAILURE;
    }
    warn(&self);
    int status = run(&self, call, &failure);
    if (!failure) {
        return status;
    }
    status = captive_failure_status(failure);
    g_propagate_error(error, g_steal_pointer(&failure));
    g_prefix_error(error, "exec: ");
    return status;
}
