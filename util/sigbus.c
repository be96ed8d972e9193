/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include "util/sigbus.h"

/*
 * Theory of operation
 *
 * Touching memory whose storage cannot be had raises SIGBUS in the thread that
 * touches.  The disposition of a signal belongs to the whole process, the
 * fault to one thread and one address; so there is one handler, and each
 * guarded call leaves a record on its own stack, linked from a thread-local
 * variable:
 *
 *   thread A: innermost -> Guard [start, end) -> outer Guard -> NULL
 *   thread B: innermost -> NULL
 *
 * The handler walks the records of its own thread, which nobody else writes,
 * and so needs no lock.  A fault within a record's range jumps back into that
 * hm_sigbus_run(); every other one is handed to the handler that was there
 * before ours.
 *
 * The handler is installed by the first guarded call and taken out by the
 * last, unless somebody put theirs over it in between: then theirs stays, and
 * ours lies dormant below, because they may call it.  `previous` is never
 * cleared for the same reason.
 */

typedef struct Guard Guard;
struct Guard {
    Guard *outer;
    guintptr start;
    guintptr end;
    sigjmp_buf env;
    guint abandoned; /* inner guards that a jump to this one left behind */
    int err;
    void *fault;
};

/* Initial-exec: the first access, in the handler, must not allocate. */
static __thread Guard *volatile innermost
    __attribute__((tls_model("initial-exec")));

static GMutex install_lock; /* guards users */
static guint users;
static struct sigaction previous; /* written before our handler is in place */

/** Whether an instruction faulted, and would again if we just returned. */
static gboolean is_fault(const siginfo_t *info)
{
    return info->si_code > 0 && info->si_code != BUS_MCEERR_AO;
}

/** Die of the signal as if there had never been a handler. */
static void take_default_action(const siginfo_t *info)
{
    struct sigaction action = {.sa_handler = SIG_DFL};

    sigaction(SIGBUS, &action, NULL);
    if (!is_fault(info)) {
        raise(SIGBUS);
    }
}

static void chain(int signal_number, siginfo_t *info, void *context)
{
    if (previous.sa_flags & SA_SIGINFO) {
        previous.sa_sigaction(signal_number, info, context);
        return;
    }
    if (previous.sa_handler == SIG_IGN && !is_fault(info)) {
        return;
    }
    if (previous.sa_handler == SIG_IGN || previous.sa_handler == SIG_DFL) {
        take_default_action(info);
        return;
    }
    previous.sa_handler(signal_number);
}

/** The innermost guard of this thread that has @address, or NULL. */
static Guard *find_guard(guintptr address, guint *abandoned)
{
    *abandoned = 0;
    for (Guard *guard = innermost; guard; guard = guard->outer) {
        if (address >= guard->start && address < guard->end) {
            return guard;
        }
        (*abandoned)++;
    }
    return NULL;
}

static void on_sigbus(int signal_number, siginfo_t *info, void *context)
{
    Guard *guard = NULL;
    guint abandoned;

    if (is_fault(info)) {
        guard = find_guard((guintptr)info->si_addr, &abandoned);
    }
    if (!guard) {
        chain(signal_number, info, context);
        return;
    }
    guard->abandoned = abandoned;
    guard->err = info->si_code == BUS_MCEERR_AR ? EHWPOISON : EFAULT;
    guard->fault = info->si_addr;
    siglongjmp(guard->env, 1);
}

static gboolean is_ours(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO) && action->sa_sigaction == on_sigbus;
}

/** Returns: 0 or -errno */
static int install_handler(void)
{
    struct sigaction current;
    struct sigaction action = {
        .sa_sigaction = on_sigbus,
        .sa_flags = SA_SIGINFO | SA_ONSTACK,
    };

    sigemptyset(&action.sa_mask);
    if (sigaction(SIGBUS, NULL, &current) < 0) {
        return -errno;
    }
    if (is_ours(&current)) {
        return 0; /* it lay dormant, and who was above has gone */
    }
    previous = current;
    return sigaction(SIGBUS, &action, NULL) < 0 ? -errno : 0;
}

static void uninstall_handler(void)
{
    struct sigaction current;

    if (sigaction(SIGBUS, NULL, &current) == 0 && is_ours(&current)) {
        sigaction(SIGBUS, &previous, NULL);
    }
}

/** Returns: 0 or -errno */
static int acquire_handler(void)
{
    int r = 0;

    g_mutex_lock(&install_lock);
    if (!users) {
        r = install_handler();
    }
    if (r == 0) {
        users++;
    }
    g_mutex_unlock(&install_lock);
    return r;
}

static void release_handler(guint n)
{
    g_mutex_lock(&install_lock);
    users -= n;
    if (!users) {
        uninstall_handler();
    }
    g_mutex_unlock(&install_lock);
}

static void unblock_sigbus(sigset_t *old_mask)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGBUS);
    pthread_sigmask(SIG_UNBLOCK, &set, old_mask);
}

/** Call @func within @guard, which the handler fills when it faults. */
static void call_guarded(Guard *guard, void (*func)(gpointer data),
                         gpointer data)
{
    sigset_t old_mask;

    guard->outer = innermost;
    unblock_sigbus(&old_mask);
    if (!sigsetjmp(guard->env, 0)) {
        innermost = guard;
        func(data);
    }
    innermost = guard->outer;
    pthread_sigmask(SIG_SETMASK, &old_mask, NULL);
}

int hm_sigbus_run(void (*func)(gpointer data), gpointer data, void *addr,
                  gsize length, void **fault)
{
    Guard guard = {
        .start = (guintptr)addr,
        .end = (guintptr)addr + length,
    };
    int r = acquire_handler();

    if (r < 0) {
        return r;
    }
    call_guarded(&guard, func, data);
    release_handler(1 + guard.abandoned);
    if (guard.err) {
        *fault = guard.fault;
    }
    return -guard.err;
}
