/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/error.h"
#include "util/thread.h"

void hm_thread_block_signals(sigset_t *old_mask)
{
    sigset_t set;

    sigfillset(&set);
    sigdelset(&set, SIGBUS);
    sigdelset(&set, SIGSEGV);
    sigdelset(&set, SIGILL);
    sigdelset(&set, SIGFPE);
    sigdelset(&set, SIGTRAP);
    pthread_sigmask(SIG_SETMASK, &set, old_mask);
}

void hm_thread_restore_signals(const sigset_t *old_mask)
{
    pthread_sigmask(SIG_SETMASK, old_mask, NULL);
}

GThread *hm_thread_new(const char *name, GThreadFunc func, gpointer data,
                       GError **error)
{
    g_autoptr(GError) cause = NULL;
    sigset_t old_mask;
    GThread *thread;

    hm_thread_block_signals(&old_mask);
    thread = g_thread_try_new(name, func, data, &cause);
    hm_thread_restore_signals(&old_mask);
    if (!thread) {
        hm_set_error(error, HOSTMEM_ERROR_LIMIT, "cannot create a thread: %s",
                     cause->message);
    }
    return thread;
}
