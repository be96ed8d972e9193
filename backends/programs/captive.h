/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/hostmem.h>

/*
 * A command that gets memory, and that this process stands in front of: exit
 * status, signals and the terminal are the command's.  `hostmemd --run` and
 * `hostmemctl exec` share it.  Main thread, which runs the default main
 * context.
 */

typedef struct Captive Captive;

/** Memory to hand over. */
typedef struct {
    int fd;          /* opened anew for the command alone; close-on-exec */
    guint64 offset;  /* bytes; where the memory begins in the file */
    guint64 size;    /* bytes */
    gboolean in_use; /* somebody else had it before */
} CaptiveMemory;

/**
 * CaptiveLookup: find memory; asked once for each id.
 * @memory: (out): with a descriptor that is (transfer full)
 *
 * Returns: FALSE with the error that captive_new() shall return
 */
typedef gboolean (*CaptiveLookup)(const char *id, CaptiveMemory *memory,
                                  gpointer user_data, GError **error);
/**
 * CaptiveDone: the command has ended.
 * @status: its exit status, or 128 and the number of the signal
 *
 * May free the captive.
 */
typedef void (*CaptiveDone)(int status, gpointer user_data);

/**
 * What to run.
 * @argv: NULL-terminated; a program that is looked for in PATH, and its
 *     arguments.  In all of them "{ID}" becomes the path that opens the memory,
 *     and "{ID:object}" a memory-backend-file with it; "${ID}" stays.
 * @ids: (nullable): what is handed over, named in @argv or not, and no other id
 *     has a meaning in braces; NULL: whatever is named in @argv
 * @hidden: (nullable): variables of the environment that it does not get
 * @survives: whether the command goes on when this process is killed; else it
 *     gets SIGTERM then
 * @waits: whether its process is there, and waits, until captive_begin(); when
 *     this process ends before that, it ends without having begun
 *
 * The command has HOSTMEM_FDS in its environment, "m0=10,m1=11": ids, and the
 * descriptors they are open at.
 */
typedef struct {
    const char *const *argv;
    const char *const *ids;
    const char *const *hidden;
    gboolean survives;
    gboolean waits;
} CaptiveCommand;

/**
 * captive_new: start a command.
 * @user_data: for @lookup and @done
 *
 * No descriptor of the memory stays open in this process.
 *
 * Returns: (transfer full): or NULL with the error of @lookup,
 * %HOSTMEM_ERROR_NOT_FOUND ("{ID:object}" of an id that is not in @ids),
 * %HOSTMEM_ERROR_LIMIT (descriptors), or a %G_SPAWN_ERROR
 */
Captive *captive_new(const CaptiveCommand *command, CaptiveLookup lookup,
                     CaptiveDone done, gpointer user_data, GError **error);
/** Let a command begin that waits for that. */
void captive_begin(Captive *self);
/**
 * Returns: the gate that a command waits at, a pipe's number, for
 * captive_is_at_gate(); 0: it has begun
 */
guint64 captive_get_gate(const Captive *self);
/** Whether process @pid, which another one may have started, waits at @gate. */
gboolean captive_is_at_gate(int pid, guint64 gate);
/** Leaves a command that runs to itself, and ends one that has not begun. */
void captive_free(Captive *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Captive, captive_free)

/**
 * captive_signal: pass on a signal that this process got.
 *
 * The same SIGTERM or SIGINT again, a second later or more, becomes SIGKILL.
 * SIGUSR1 and SIGUSR2 are passed on without this call.
 */
void captive_signal(Captive *self, int signum);

/**
 * captive_failure_status: how a shell would exit.
 * @error: of captive_new()
 *
 * Returns: 127 when there is no such program, 126 when it cannot be run, 1
 * after any other error
 */
int captive_failure_status(const GError *error);

/**
 * captive_check_parts: whether memory lies in one file, as it must.
 * @size: bytes
 * @pool: (nullable): id of the pool that it came from
 *
 * Returns: FALSE with %HOSTMEM_ERROR_UNSUPPORTED
 */
gboolean captive_check_parts(const char *id, guint n_parts, guint64 size,
                             const char *pool, GError **error);

/** Returns: its process id; 0 when it has ended */
int captive_get_pid(Captive *self);
/** Whether signals for it are for a process group of that number. */
gboolean captive_has_own_group(const Captive *self);
