/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * libvirt waits for its hooks, and starts no domain whose hook fails.  So this
 * program ends with success, whatever happens, and in time: of the seconds it
 * has the first three quarters are for the work.  Then a thread cancels that,
 * and what is left is for undoing it.  At the end of the last quarter a signal
 * ends the process, whatever it waits for.  What would kill it, such as a
 * thread that cannot be made, ends it as well as that does.
 */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <syslog.h>
#include <unistd.h>
#include "libvirt-hook.h"

#define PROGRAM     "hostmem-libvirt-hook"
#define WORK_PART   0.75
#define TIMEOUT_MAX 3600.0

/* What is said */

static void say(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* To the log of the system too, for libvirt drops what a hook prints. */
static void say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *line = g_utf8_make_valid(text, -1);

    for (char *at = line; *at; at++) {
        *at = g_ascii_iscntrl(*at) ? ' ' : *at;
    }
    fprintf(stderr, PROGRAM ": %s\n", line);
    syslog(LOG_WARNING, "%s", line);
}

/* Time */

static void on_alarm(int number G_GNUC_UNUSED)
{
    hook_lock_drop();
    _exit(EXIT_SUCCESS);
}

static void on_fault(int number G_GNUC_UNUSED)
{
    static const char text[] = PROGRAM ": has failed, and gives up\n";
    gssize said = write(STDERR_FILENO, text, sizeof(text) - 1);

    (void)said;
    hook_lock_drop();
    _exit(EXIT_SUCCESS);
}

/* Whatever our parent has blocked or ignored. */
static void set_signals(void)
{
    static const int faults[] = {SIGABRT, SIGBUS,  SIGFPE,
                                 SIGILL,  SIGSEGV, SIGTRAP};
    sigset_t all;

    for (guint i = 0; i < G_N_ELEMENTS(faults); i++) {
        signal(faults[i], on_fault);
    }
    signal(SIGALRM, on_alarm);
    signal(SIGPIPE, SIG_IGN); /* nobody reads what we say */
    signal(SIGIO, SIG_IGN);   /* somebody opens what we have a lease on */
    sigfillset(&all);
    sigprocmask(SIG_UNBLOCK, &all, NULL);
}

typedef struct {
    gulong length; /* microseconds */
    GCancellable *cancellable;
} Clock;

static gpointer cancel_later(gpointer data)
{
    Clock *clock = data;

    g_usleep(clock->length);
    g_cancellable_cancel(clock->cancellable);
    g_object_unref(clock->cancellable);
    g_free(clock);
    return NULL;
}

/* (transfer full): cancelled when there is no more time for work. */
static GCancellable *start_clock(double seconds)
{
    GCancellable *cancellable = g_cancellable_new();
    Clock *clock = g_new0(Clock, 1);
    struct itimerval timer = {0};
    double whole;

    timer.it_value.tv_usec = (suseconds_t)(modf(seconds, &whole) * 1e6);
    timer.it_value.tv_sec = (time_t)whole;
    setitimer(ITIMER_REAL, &timer, NULL);
    clock->length = (gulong)(seconds * WORK_PART * 1e6);
    clock->cancellable = g_object_ref(cancellable);
    g_thread_unref(g_thread_new("clock", cancel_later, clock));
    return cancellable;
}

/* What libvirt says */

static gboolean wait_for_input(GCancellable *cancellable, GError **error)
{
    GPollFD fds[2] = {{.fd = STDIN_FILENO, .events = G_IO_IN | G_IO_HUP}};
    guint n = 1 + g_cancellable_make_pollfd(cancellable, &fds[1]);
    int ret;

    do {
        ret = g_poll(fds, n, -1);
    } while (ret < 0 && errno == EINTR);
    if (n == 2) {
        g_cancellable_release_fd(cancellable);
    }
    return !g_cancellable_is_cancelled(cancellable) ||
           hook_refuse(error, HOSTMEM_ERROR_TIMED_OUT,
                       "libvirt does not say what it is");
}

/* (transfer full) (nullable) */
static GByteArray *read_input(GCancellable *cancellable, GError **error)
{
    g_autoptr(GByteArray) input = g_byte_array_new();
    guint8 piece[16384];
    gssize length;

    do {
        if (!wait_for_input(cancellable, error)) {
            return NULL;
        }
        length = read(STDIN_FILENO, piece, sizeof(piece));
        if (length < 0) {
            hook_refuse(error, HOSTMEM_ERROR_SYSTEM, "cannot read: %s",
                        g_strerror(errno));
            return NULL;
        }
        g_byte_array_append(input, piece, (guint)length);
    } while (length > 0 && input->len <= HOOK_XML_MAX);
    return g_steal_pointer(&input);
}

static HookDomain *read_domain(const char *name, GCancellable *cancellable,
                               GError **error)
{
    g_autoptr(GByteArray) input = read_input(cancellable, error);
    g_autoptr(HookDomain) domain = NULL;

    if (input) {
        const char *xml = input->data ? (const char *)input->data : "";

        domain = hook_domain_parse(xml, input->len, error);
    }
    if (domain && !g_str_equal(domain->name, name)) {
        hook_refuse(error, HOSTMEM_ERROR_INVALID,
                    "the domain is another one, '%s'", domain->name);
        return NULL;
    }
    return g_steal_pointer(&domain);
}

static GPtrArray *find_blocks(const HookOptions *options,
                              const HookDomain *domain, GError **error)
{
    g_autoptr(GArray) mounts = hook_place_find_mounts(options->hugetlbfs);
    const HookPlaces places = {
        .backing_dir = options->backing_dir,
        .mounts = mounts,
        .huge_page_size = hook_place_huge_page_size(),
        .base_page_size = (guint64)sysconf(_SC_PAGESIZE),
    };

    return hook_blocks_find(domain, &places, error);
}

/* What is to be done */

static gboolean prepare(const HookOptions *options, const HookDomain *domain,
                        GPtrArray *blocks, GCancellable *cancellable)
{
    g_autoptr(GError) error = NULL;

    if (domain->id < 0) {
        hook_refuse(&error, HOSTMEM_ERROR_INVALID, "it has no id");
    } else if (hook_memory_prepare(options, domain, blocks, cancellable,
                                   &error)) {
        return TRUE;
    }
    say("domain '%s' starts as if hostmem were not there: %s", domain->name,
        error->message);
    hook_memory_undo(options, blocks);
    return FALSE;
}

static gboolean release(const HookOptions *options, const HookDomain *domain,
                        GPtrArray *blocks, GCancellable *cancellable)
{
    g_autoptr(GError) error = NULL;
    gboolean ok = hook_memory_release(options, blocks, cancellable, &error);

    if (!ok) {
        say("the memory of domain '%s' is not given back: %s", domain->name,
            error->message);
    }
    for (guint i = 0; i < blocks->len; i++) {
        hook_place_sweep(domain, g_ptr_array_index(blocks, i));
    }
    return ok;
}

typedef gboolean (*Step)(const HookOptions *options, const HookDomain *domain,
                         GPtrArray *blocks, GCancellable *cancellable);

/* (nullable): at most steps of a domain's life there is nothing to do. */
static Step find_step(const char *operation)
{
    return g_str_equal(operation, "prepare")   ? prepare
           : g_str_equal(operation, "release") ? release
                                               : NULL;
}

static void run(const HookOptions *options, const char *name,
                const char *operation)
{
    Step step = find_step(operation);
    g_autoptr(GCancellable) cancellable =
        step ? start_clock(options->timeout) : NULL;
    g_autoptr(HookDomain) domain = NULL;
    g_autoptr(GPtrArray) blocks = NULL;
    g_autoptr(GError) error = NULL;
    HookLock *lock;

    if (!step) {
        return;
    }
    domain = read_domain(name, cancellable, &error);
    blocks = domain ? find_blocks(options, domain, &error) : NULL;
    if (!blocks) {
        say("%s of domain '%s': %s", operation, name, error->message);
        return;
    }
    if (!blocks->len) {
        return;
    }
    lock = hook_lock_take(domain, g_ptr_array_index(blocks, 0), cancellable,
                          &error);
    if (!lock) {
        say("%s of domain '%s': %s", operation, name, error->message);
        return;
    }
    step(options, domain, blocks, cancellable);
    hook_lock_release(lock);
}

/* The command line */

static gboolean show_version(G_GNUC_UNUSED const char *option,
                             G_GNUC_UNUSED const char *value,
                             G_GNUC_UNUSED gpointer data,
                             G_GNUC_UNUSED GError **error)
{
    printf(PROGRAM " version %s\n", hostmem_version());
    exit(fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}

static void set_default(char **option, const char *value)
{
    if (!*option) {
        *option = g_strdup(value);
    }
}

static gboolean parse(HookOptions *options, int *argc, char ***argv,
                      GError **error)
{
    const GOptionEntry rows[] = {
        {"connect", 0, 0, G_OPTION_ARG_STRING, &options->address,
         "QMP of hostmemd [unix:/run/hostmem/qmp.sock]", "ADDRESS"},
        {"pool", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options->pools,
         "Take memory from a pool; the first that fits", "ID"},
        {"memory-backing-dir", 0, 0, G_OPTION_ARG_FILENAME,
         &options->backing_dir, "As in libvirt's qemu.conf [/dev/shm/hostmem]",
         "DIR"},
        {"hugetlbfs", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &options->hugetlbfs,
         "As hugetlbfs_mount in qemu.conf [all]", "DIR"},
        {"owner", 0, 0, G_OPTION_ARG_STRING, &options->owner,
         "Whom QEMU runs as [who has libvirt's folder]", "USER"},
        {"timeout", 0, 0, G_OPTION_ARG_DOUBLE, &options->timeout,
         "What libvirt waits at most [3]", "SECONDS"},
        {"version", 0, G_OPTION_FLAG_NO_ARG, G_OPTION_ARG_CALLBACK,
         show_version, "Print the version", NULL},
        {NULL},
    };
    g_autoptr(GOptionContext) context =
        g_option_context_new("DOMAIN OPERATION [ARGUMENT]...");

    g_option_context_set_summary(
        context, "Give libvirt's domains memory that a hostmemd has ready.");
    g_option_context_set_description(
        context, "libvirt runs it as a hook, with the XML of the domain on "
                 "standard input.\nThe exit status is 0.");
    g_option_context_set_strict_posix(context, TRUE);
    g_option_context_add_main_entries(context, rows, NULL);
    if (!g_option_context_parse(context, argc, argv, error)) {
        return FALSE;
    }
    set_default(&options->address, "unix:/run/hostmem/qmp.sock");
    set_default(&options->backing_dir, "/dev/shm/hostmem");
    if (!(options->timeout > 0 && options->timeout <= TIMEOUT_MAX)) {
        return hook_refuse(error, HOSTMEM_ERROR_INVALID,
                           "--timeout takes more than 0 and up to %g seconds",
                           TIMEOUT_MAX);
    }
    return TRUE;
}

static void clear(HookOptions *options)
{
    g_free(options->address);
    g_strfreev(options->pools);
    g_free(options->backing_dir);
    g_strfreev(options->hugetlbfs);
    g_free(options->owner);
}

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    HookOptions options = {.timeout = 3};
    int first = 1;

    set_signals();
    g_set_prgname(PROGRAM);
    openlog(PROGRAM, LOG_PID, LOG_DAEMON);
    if (!parse(&options, &argc, &argv, &error)) {
        say("%s", error->message);
        clear(&options);
        return EXIT_SUCCESS;
    }
    if (argc > first && g_str_equal(argv[first], "--")) {
        first++;
    }
    if (argc < first + 2) {
        say("a domain and an operation are missing: see --help");
    } else {
        run(&options, argv[first], argv[first + 1]);
    }
    clear(&options);
    return EXIT_SUCCESS;
}
