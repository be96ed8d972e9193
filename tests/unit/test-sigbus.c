/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "util/autofd.h"
#include "util/sigbus.h"

/* Real faults: a mapping of four pages whose file has only the first two. */
#define N_PAGES 4
#define N_KEPT  2

typedef struct {
    gsize page;
    guint8 *addr;
    guint touched;
} Fixture;

static void set_up(Fixture *fixture, gconstpointer data)
{
    hm_autofd int fd = hm_os_memfd("test", 0);
    void *addr;

    (void)data;
    signal(SIGBUS, SIG_DFL); /* sanitizers have a handler */
    fixture->page = hm_os_page_size();
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(hm_os_truncate(fd, N_KEPT * fixture->page), ==, 0);
    g_assert_cmpint(hm_os_map(NULL, N_PAGES * fixture->page,
                              PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0, &addr),
                    ==, 0);
    fixture->addr = addr;
}

static void tear_down(Fixture *fixture, gconstpointer data)
{
    (void)data;
    hm_os_unmap(fixture->addr, N_PAGES * fixture->page);
}

static guint8 *missing_page(const Fixture *fixture)
{
    return fixture->addr + N_KEPT * fixture->page;
}

/* Atomic: several threads touch the same bytes at once. */
static void touch_all(gpointer data)
{
    Fixture *fixture = data;

    for (guint i = 0; i < N_PAGES; i++) {
        __atomic_store_n(fixture->addr + i * fixture->page, 1,
                         __ATOMIC_RELAXED);
        fixture->touched++;
    }
}

static void touch_kept(gpointer data)
{
    Fixture *fixture = data;

    *(volatile guint8 *)fixture->addr = 1;
    fixture->touched++;
}

static int run_guarded(void (*func)(gpointer data), Fixture *fixture,
                       void **fault)
{
    return hm_sigbus_run(func, fixture, fixture->addr, N_PAGES * fixture->page,
                         fault);
}

/* in this process */

static void test_without_fault(Fixture *fixture, gconstpointer data)
{
    void *fault = NULL;

    (void)data;
    g_assert_cmpint(run_guarded(touch_kept, fixture, &fault), ==, 0);
    g_assert_cmpuint(fixture->touched, ==, 1);
    g_assert_null(fault);
}

static void test_fault_is_an_error(Fixture *fixture, gconstpointer data)
{
    void *fault = NULL;

    (void)data;
    g_assert_cmpint(run_guarded(touch_all, fixture, &fault), ==, -EFAULT);
    g_assert_cmpuint(fixture->touched, ==, N_KEPT);
    g_assert_true(fault == missing_page(fixture));
}

static void test_works_again(Fixture *fixture, gconstpointer data)
{
    void *fault;

    (void)data;
    for (guint i = 0; i < 3; i++) {
        g_assert_cmpint(run_guarded(touch_all, fixture, &fault), ==, -EFAULT);
    }
    g_assert_cmpint(run_guarded(touch_kept, fixture, &fault), ==, 0);
}

static void assert_no_handler(void)
{
    struct sigaction action;

    g_assert_cmpint(sigaction(SIGBUS, NULL, &action), ==, 0);
    g_assert_true(action.sa_handler == SIG_DFL);
}

static void test_disposition_and_mask_are_restored(Fixture *fixture,
                                                   gconstpointer data)
{
    sigset_t blocked;
    sigset_t mask;
    void *fault;

    (void)data;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGBUS);
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);

    g_assert_cmpint(run_guarded(touch_all, fixture, &fault), ==, -EFAULT);

    assert_no_handler();
    pthread_sigmask(SIG_UNBLOCK, &blocked, &mask);
    g_assert_true(sigismember(&mask, SIGBUS));
}

/* The kernel lets a thread send itself what a broken DIMM would. */
static void fake_memory_error(gpointer data)
{
    Fixture *fixture = data;
    siginfo_t info = {.si_signo = SIGBUS, .si_code = BUS_MCEERR_AR};

    info.si_addr = fixture->addr + fixture->page;
    syscall(SYS_rt_tgsigqueueinfo, getpid(), hm_os_thread_id(), SIGBUS, &info);
}

static void test_memory_error_is_told_apart(Fixture *fixture,
                                            gconstpointer data)
{
    const char *preload = g_getenv("LD_PRELOAD");
    void *fault = NULL;

    (void)data;
    if (preload && strstr(preload, "vgpreload")) {
        g_test_skip("valgrind takes the signal for a fault of its own");
        return;
    }
    g_assert_cmpint(run_guarded(fake_memory_error, fixture, &fault), ==,
                    -EHWPOISON);
    g_assert_true(fault == fixture->addr + fixture->page);
}

/* nesting */

typedef struct {
    Fixture *fixture;
    int inner;
    gboolean inner_returned;
} Nest;

/* Guards the first page only: the fault is the outer guard's. */
static void guard_first_page(gpointer data)
{
    Nest *nest = data;
    void *fault;

    nest->inner = hm_sigbus_run(touch_all, nest->fixture, nest->fixture->addr,
                                nest->fixture->page, &fault);
    nest->inner_returned = TRUE;
}

static void guard_all_pages(gpointer data)
{
    Nest *nest = data;
    void *fault;

    nest->inner = run_guarded(touch_all, nest->fixture, &fault);
    nest->inner_returned = TRUE;
}

static void test_inner_guard_catches(Fixture *fixture, gconstpointer data)
{
    Nest nest = {.fixture = fixture};
    void *fault;

    (void)data;
    g_assert_cmpint(hm_sigbus_run(guard_all_pages, &nest, fixture->addr,
                                  N_PAGES * fixture->page, &fault),
                    ==, 0);
    g_assert_cmpint(nest.inner, ==, -EFAULT);
    assert_no_handler();
}

static void test_outer_guard_catches(Fixture *fixture, gconstpointer data)
{
    Nest nest = {.fixture = fixture};
    void *fault;

    (void)data;
    g_assert_cmpint(hm_sigbus_run(guard_first_page, &nest, fixture->addr,
                                  N_PAGES * fixture->page, &fault),
                    ==, -EFAULT);
    g_assert_false(nest.inner_returned);
    g_assert_true(fault == missing_page(fixture));
    assert_no_handler();
}

/* threads */

static gpointer fault_often(gpointer data)
{
    const Fixture *shared = data;

    for (guint i = 0; i < 200; i++) {
        Fixture own = *shared;
        void *fault = NULL;

        own.touched = 0;
        g_assert_cmpint(run_guarded(touch_all, &own, &fault), ==, -EFAULT);
        g_assert_cmpuint(own.touched, ==, N_KEPT);
        g_assert_true(fault == missing_page(shared));
    }
    return NULL;
}

static void test_threads_fault_at_once(Fixture *fixture, gconstpointer data)
{
    GThread *threads[4];

    (void)data;
    for (guint i = 0; i < G_N_ELEMENTS(threads); i++) {
        threads[i] = g_thread_new("fault", fault_often, fixture);
    }
    for (guint i = 0; i < G_N_ELEMENTS(threads); i++) {
        g_thread_join(threads[i]);
    }
    assert_no_handler();
}

/* faults that are not ours: each in a process of its own */

static Fixture *child_fixture;

static int run_child(void (*func)(Fixture *fixture), Fixture *fixture)
{
    pid_t pid = fork();
    int status;

    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        child_fixture = fixture;
        func(fixture);
        _exit(0);
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    return status;
}

static void assert_killed_by_sigbus(int status)
{
    g_assert_true(WIFSIGNALED(status));
    g_assert_cmpint(WTERMSIG(status), ==, SIGBUS);
}

static void assert_exit_code(int status, int code)
{
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, code);
}

/* Guards the first page, touches all. */
static void fault_outside(Fixture *fixture)
{
    void *fault;

    hm_sigbus_run(touch_all, fixture, fixture->addr, fixture->page, &fault);
}

static void ignore_and_fault_outside(Fixture *fixture)
{
    signal(SIGBUS, SIG_IGN);
    fault_outside(fixture);
}

/* Exits with 42 when it was given the fault's address. */
static void exit_42(int signal_number, siginfo_t *info, void *context)
{
    (void)signal_number;
    (void)context;
    _exit(info->si_addr == missing_page(child_fixture) ? 42 : 1);
}

static void exit_43(int signal_number)
{
    _exit(signal_number == SIGBUS ? 43 : 1);
}

static void set_handler(void (*func)(int, siginfo_t *, void *))
{
    struct sigaction action = {.sa_sigaction = func, .sa_flags = SA_SIGINFO};

    sigaction(SIGBUS, &action, NULL);
}

static void handle_and_fault_outside(Fixture *fixture)
{
    set_handler(exit_42);
    fault_outside(fixture);
}

static void handle_plainly_and_fault_outside(Fixture *fixture)
{
    signal(SIGBUS, exit_43);
    fault_outside(fixture);
}

static void test_default_action_kills(Fixture *fixture, gconstpointer data)
{
    (void)data;
    assert_killed_by_sigbus(run_child(fault_outside, fixture));
}

static void test_ignored_fault_kills(Fixture *fixture, gconstpointer data)
{
    (void)data;
    assert_killed_by_sigbus(run_child(ignore_and_fault_outside, fixture));
}

static void test_previous_handler_is_chained(Fixture *fixture,
                                             gconstpointer data)
{
    (void)data;
    assert_exit_code(run_child(handle_and_fault_outside, fixture), 42);
    assert_exit_code(run_child(handle_plainly_and_fault_outside, fixture), 43);
}

static gpointer touch_all_in_thread(gpointer data)
{
    touch_all(data);
    return NULL;
}

/* The guarded thread waits for another one that faults in the same memory. */
static void fault_in_other_thread(gpointer data)
{
    g_thread_join(g_thread_new("fault", touch_all_in_thread, data));
}

static void handle_and_fault_in_other_thread(Fixture *fixture)
{
    void *fault;

    set_handler(exit_42);
    run_guarded(fault_in_other_thread, fixture, &fault);
}

static void test_fault_of_other_thread_is_chained(Fixture *fixture,
                                                  gconstpointer data)
{
    (void)data;
    assert_exit_code(run_child(handle_and_fault_in_other_thread, fixture), 42);
}

/* signals that are no faults */

static void raise_sigbus(gpointer data)
{
    (void)data;
    raise(SIGBUS);
}

static void raise_while_guarded(Fixture *fixture)
{
    void *fault;

    run_guarded(raise_sigbus, fixture, &fault);
}

static void ignore_and_raise_while_guarded(Fixture *fixture)
{
    signal(SIGBUS, SIG_IGN);
    raise_while_guarded(fixture);
}

static void test_sent_signal_kills(Fixture *fixture, gconstpointer data)
{
    (void)data;
    assert_killed_by_sigbus(run_child(raise_while_guarded, fixture));
}

static void test_sent_signal_can_be_ignored(Fixture *fixture,
                                            gconstpointer data)
{
    (void)data;
    assert_exit_code(run_child(ignore_and_raise_while_guarded, fixture), 0);
}

/* somebody else's handler on top of ours */

static struct sigaction ours;

static void replace_handler(gpointer data)
{
    struct sigaction theirs = {.sa_handler = exit_43};

    (void)data;
    sigaction(SIGBUS, &theirs, &ours);
}

static void replace_while_guarded(Fixture *fixture)
{
    struct sigaction now;
    void *fault;

    run_guarded(replace_handler, fixture, &fault);
    sigaction(SIGBUS, NULL, &now);
    _exit(now.sa_handler == exit_43 ? 0 : 1);
}

/* They take theirs away again; ours, now on top, must still work and chain. */
static void replace_and_put_back(Fixture *fixture)
{
    void *fault;

    set_handler(exit_42);
    run_guarded(replace_handler, fixture, &fault);
    sigaction(SIGBUS, &ours, NULL);
    if (run_guarded(touch_all, fixture, &fault) != -EFAULT) {
        _exit(1);
    }
    fault_outside(fixture);
}

static void test_foreign_handler_is_left(Fixture *fixture, gconstpointer data)
{
    (void)data;
    assert_exit_code(run_child(replace_while_guarded, fixture), 0);
}

static void test_survives_being_replaced(Fixture *fixture, gconstpointer data)
{
    (void)data;
    assert_exit_code(run_child(replace_and_put_back, fixture), 42);
}

static void add(const char *path, void (*test)(Fixture *, gconstpointer))
{
    g_test_add(path, Fixture, NULL, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("/sigbus/without-fault", test_without_fault);
    add("/sigbus/fault-is-an-error", test_fault_is_an_error);
    add("/sigbus/works-again", test_works_again);
    add("/sigbus/disposition-and-mask-are-restored",
        test_disposition_and_mask_are_restored);
    add("/sigbus/memory-error-is-told-apart", test_memory_error_is_told_apart);
    add("/sigbus/inner-guard-catches", test_inner_guard_catches);
    add("/sigbus/outer-guard-catches", test_outer_guard_catches);
    add("/sigbus/threads-fault-at-once", test_threads_fault_at_once);
    add("/sigbus/default-action-kills", test_default_action_kills);
    add("/sigbus/ignored-fault-kills", test_ignored_fault_kills);
    add("/sigbus/previous-handler-is-chained",
        test_previous_handler_is_chained);
    add("/sigbus/fault-of-other-thread-is-chained",
        test_fault_of_other_thread_is_chained);
    add("/sigbus/sent-signal-kills", test_sent_signal_kills);
    add("/sigbus/sent-signal-can-be-ignored", test_sent_signal_can_be_ignored);
    add("/sigbus/foreign-handler-is-left", test_foreign_handler_is_left);
    add("/sigbus/survives-being-replaced", test_survives_being_replaced);
    return g_test_run();
}
