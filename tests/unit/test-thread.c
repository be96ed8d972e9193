/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/thread.h"

static gpointer note_mask(gpointer data)
{
    pthread_sigmask(SIG_SETMASK, NULL, data);
    return data;
}

static void test_runs(void)
{
    g_autoptr(GError) error = NULL;
    sigset_t mask;
    GThread *thread = hm_thread_new("test", note_mask, &mask, &error);

    g_assert_no_error(error);
    g_assert_true(g_thread_join(thread) == &mask);
}

static void test_leaves_signals_alone(void)
{
    static const int foreign[] = {SIGTERM, SIGCHLD, SIGUSR1, SIGALRM, SIGPIPE};
    sigset_t mask;

    g_thread_join(hm_thread_new("test", note_mask, &mask, NULL));
    for (gsize i = 0; i < G_N_ELEMENTS(foreign); i++) {
        g_assert_true(sigismember(&mask, foreign[i]));
    }
}

static void test_takes_its_own_faults(void)
{
    static const int faults[] = {SIGBUS, SIGSEGV, SIGILL, SIGFPE, SIGTRAP};
    sigset_t mask;

    g_thread_join(hm_thread_new("test", note_mask, &mask, NULL));
    for (gsize i = 0; i < G_N_ELEMENTS(faults); i++) {
        g_assert_false(sigismember(&mask, faults[i]));
    }
}

static void test_caller_keeps_its_mask(void)
{
    sigset_t mask;

    g_thread_join(hm_thread_new("test", note_mask, &mask, NULL));
    note_mask(&mask);
    g_assert_false(sigismember(&mask, SIGTERM));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/thread/runs", test_runs);
    g_test_add_func("/thread/leaves-signals-alone", test_leaves_signals_alone);
    g_test_add_func("/thread/takes-its-own-faults", test_takes_its_own_faults);
    g_test_add_func("/thread/caller-keeps-its-mask",
                    test_caller_keeps_its_mask);
    return g_test_run();
}
