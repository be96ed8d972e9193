/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib-unix.h>
#include <signal.h>
#include <stdlib.h>
#include "hostmemd.h"

/*
 * The life of a daemon:
 *
 *   starting   sockets are open; a domain of libvirt is read; what an earlier
 *              process has left is made again, then the other objects are
 *              created, all in one run
 *   serving    all are there, pidfile written, --run's command started
 *   ready      no job populates any more
 *   leaving    what is under way is cancelled, then everything is given back,
 *              or left to the next process
 *
 * One GMainLoop runs from starting to leaving, so that clients and signals
 * are served while memory is populated.  Whatever ends it, a signal, quit,
 * an error, the end of the command, only asks; leave() does the work once.
 */

/* What ends a daemon, as the SHUTDOWN event says it */
#define BY_SIGNAL "host-signal"
#define BY_QUIT   "host-qmp-quit"
#define BY_ERROR  "host-error"
#define BY_ITSELF "none"

typedef struct Daemon Daemon;

typedef struct {
    Daemon *daemon;
    int signum;
} SignalSource;

struct Daemon {
    const HmOptions *options;
    GPtrArray *inherited;
    GMainLoop *loop;
    GCancellable *starting;       /* NULL once ready */
    HostmemExportDir *export_dir; /* (nullable) */
    HostmemRegistry *registry;
    char **domain;      /* (nullable): what -libvirt-xml says, once known */
    HmStartup *startup; /* NULL once all that hangs on the memory is there */
    HostmemQmpServer *server;
    HmDoors *doors;
    HmProgress *progress;
    HmService *service;
    HmStore *store;
    HmPidfile *pidfile;
    HmRun *run;
    int ready_fd; /* of hm_daemonize_begin(), or -1 */
    guint ready_watch;
    SignalSource signals[3];
    const char *reason; /* BY_...; NULL while nobody asked for the end */
    gboolean run_ended;
    int status;
};

/* A signal ends the process, not what it keeps: quit does, and a command that
 * is over. */
static gboolean leaves_behind(const Daemon *self)
{
    return hm_store_is_there(self->store) &&
           g_strcmp0(self->reason, BY_QUIT) != 0 && !self->run_ended;
}

/* Asks for the end; @signum is what a command of --run shall get. */
static void request_end(Daemon *self, const char *reason, int signum)
{
    self->reason = reason;
    if (leaves_behind(self)) {
        hm_store_leave(self->store);
    }
    if (self->starting) {
        g_cancellable_cancel(self->starting);
    } else if (self->run && !leaves_behind(self)) {
        hm_run_signal(self->run, signum);
    } else {
        g_main_loop_quit(self->loop);
    }
}

static gboolean on_signal(gpointer data)
{
    SignalSource *source = data;
    request_end(source->daemon, BY_SIGNAL, source->signum);
    return G_SOURCE_CONTINUE;
}

static void on_quit(G_GNUC_UNUSED HostmemQmpServer *server, gpointer data)
{
    request_end(data, BY_QUIT, SIGTERM);
}

static gboolean on_starter_gone(G_GNUC_UNUSED int fd,
                                G_GNUC_UNUSED GIOCondition condition,
                                gpointer data)
{
    Daemon *self = data;
    self->ready_watch = 0;
    request_end(self, BY_SIGNAL, SIGTERM);
    return G_SOURCE_REMOVE;
}

static void on_run_done(int status, gpointer data)
{
    Daemon *self = data;
    self->status = status;
    self->run_ended = TRUE;
    g_main_loop_quit(self->loop);
}

static void fail(Daemon *self, const GError *error)
{
    fprintf(stderr, "hostmemd: %s\n", error->message);
    hm_notify_status(error->message);
    self->status = EXIT_FAILURE;
    g_main_loop_quit(self->loop);
}

static gboolean print_table(Daemon *self, GError **error)
{
    const HmOptions *options = self->options;
    g_autoptr(GPtrArray) objects = hostmem_registry_list(self->registry);
    g_autofree char *table = hm_table_format(objects);
    gboolean stdout_is_taken = options->run || hm_options_qmp_on_stdio(options);

    return hm_text_put(stdout_is_taken ? stderr : stdout, table, error);
}

static gboolean release_starter(Daemon *self, GError **error)
{
    g_clear_handle_id(&self->ready_watch, g_source_remove);
    return hm_daemonize_ready(self->ready_fd, error);
}

/* Whether the terminal stays ours when all objects are there. */
static gboolean shows_jobs(const Daemon *self)
{
    return !self->options->run && !self->options->daemonize;
}

static void end_start(Daemon *self)
{
    g_clear_pointer(&self->progress, hm_progress_free);
    g_clear_object(&self->starting);
}

static gboolean begin_serving(Daemon *self, GError **error)
{
    const HmOptions *options = self->options;

    if (options->dumpdtb &&
        !hm_fdt_dump(self->registry, options->dumpdtb, error)) {
        return FALSE;
    }
    if (options->pidfile &&
        !(self->pidfile = hm_pidfile_new(options->pidfile, error))) {
        return FALSE;
    }
    if (!options->run) {
        hm_run_forget(self->registry);
    }
    if (shows_jobs(self)) {
        hm_service_ready(self->service);
        return TRUE;
    }
    end_start(self);
    if (!options->quiet && !print_table(self, error)) {
        return FALSE;
    }
    if (options->run &&
        !(self->run = hm_run_new(self->registry, options->run, self->store,
                                 on_run_done, self, error))) {
        return FALSE;
    }
    /* Before the process that the service manager knows is gone. */
    hm_service_ready(self->service);
    return !options->daemonize || release_starter(self, error);
}

/* Whoever sent quit got what it wanted, unless somebody else still waits. */
static gboolean may_quit_early(const Daemon *self)
{
    const HmOptions *options = self->options;
    return g_strcmp0(self->reason, BY_QUIT) == 0 && !options->once &&
           !options->run && !options->daemonize;
}

static void fail_interrupted(Daemon *self)
{
    g_autoptr(GError) error =
        g_error_new(G_IO_ERROR, G_IO_ERROR_CANCELLED,
                    "interrupted before the memory was ready");

    fail(self, error);
}

/* A job that failed has said why; the memory is there nevertheless. */
static void on_ready(G_GNUC_UNUSED GObject *source, GAsyncResult *result,
                     gpointer data)
{
    Daemon *self = data;
    const HmOptions *options = self->options;
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) table_error = NULL;
    gboolean populated = hm_jobs_wait_finish(result, &error);

    end_start(self);
    if (self->reason && options->once) {
        fail_interrupted(self);
    } else if (self->reason) {
        g_main_loop_quit(self->loop);
    } else if (!options->quiet && !print_table(self, &table_error)) {
        fail(self, table_error);
    } else if (options->once && !populated) {
        fail(self, error);
    } else if (options->once) {
        g_main_loop_quit(self->loop);
    }
}

static void fail_start(Daemon *self, const GError *error)
{
    end_start(self);
    if (!self->reason) {
        fail(self, error);
    } else if (may_quit_early(self)) {
        g_main_loop_quit(self->loop);
    } else {
        fail_interrupted(self);
    }
}

static void on_started(G_GNUC_UNUSED GObject *source, GAsyncResult *result,
                       gpointer data)
{
    Daemon *self = data;
    g_autoptr(GError) error = NULL;

    if (!hm_startup_finish(result, &error) || !begin_serving(self, &error)) {
        fail_start(self, error);
        return;
    }
    g_clear_pointer(&self->startup, hm_startup_free);
    if (shows_jobs(self)) {
        hm_jobs_wait_async(self->registry, self->starting, on_ready, self);
    }
}

static void start_up(Daemon *self)
{
    hm_store_follow(self->store);
    self->startup = hm_startup_new(self->registry, self->options,
                                   (const char *const *)self->domain);
    hm_startup_async(self->startup, self->starting, on_started, self);
}

static void on_restored(G_GNUC_UNUSED GObject *source, GAsyncResult *result,
                        gpointer data)
{
    Daemon *self = data;
    g_autoptr(GError) error = NULL;

    if (hm_store_restore_finish(result, &error)) {
        start_up(self);
    } else {
        fail_start(self, error);
    }
}

static void restore(Daemon *self)
{
    if (hm_store_has_found(self->store)) {
        hm_store_restore_async(self->store, self->starting, on_restored, self);
    } else {
        start_up(self);
    }
}

static void on_domain(G_GNUC_UNUSED GObject *source, GAsyncResult *result,
                      gpointer data)
{
    Daemon *self = data;
    g_autoptr(GError) error = NULL;

    self->domain = hm_domain_read_finish(result, &error);
    if (self->domain) {
        restore(self);
    } else {
        fail_start(self, error);
    }
}

static void watch_signals(Daemon *self)
{
    static const int signums[] = {SIGHUP, SIGINT, SIGTERM};
    struct sigaction old;

    for (guint i = 0; i < G_N_ELEMENTS(signums); i++) {
        /* nohup(1) wants SIGHUP to stay ignored. */
        if (signums[i] == SIGHUP && sigaction(SIGHUP, NULL, &old) == 0 &&
            old.sa_handler == SIG_IGN) {
            continue;
        }
        self->signals[i] = (SignalSource){self, signums[i]};
        g_unix_signal_add(signums[i], on_signal, &self->signals[i]);
    }
    signal(SIGPIPE, SIG_IGN);
}

static gboolean open_doors(Daemon *self, GError **error)
{
    self->server = hostmem_qmp_server_new(self->registry);
    g_signal_connect(self->server, "quit", G_CALLBACK(on_quit), self);
    self->doors =
        hm_doors_open(self->server, self->options, self->inherited, error);
    return self->doors != NULL;
}

static gboolean open_export_dir(Daemon *self, GError **error)
{
    const char *text = self->options->export_dir;

    if (!text) {
        return TRUE;
    }
    self->export_dir = hostmem_export_dir_new(text, error);
    if (!self->export_dir) {
        g_prefix_error(error, "-export-dir %s: ", text);
        return FALSE;
    }
    hostmem_registry_set_export_dir(self->registry, self->export_dir);
    return TRUE;
}

/* The doors first: a client is answered while memory is populated. */
static gboolean start(Daemon *self, GError **error)
{
    watch_signals(self);
    if (self->ready_fd >= 0) {
        self->ready_watch =
            g_unix_fd_add(self->ready_fd, G_IO_ERR, on_starter_gone, self);
    }
    if (!open_export_dir(self, error) || !open_doors(self, error)) {
        return FALSE;
    }
    self->service = hm_service_new(self->registry);
    if (!self->options->quiet) {
        self->progress = hm_progress_new(self->registry);
    }
    if (self->options->libvirt_xml) {
        hm_domain_read_async(self->options, self->starting, on_domain, self);
    } else {
        restore(self);
    }
    return TRUE;
}

/* Sessions get their errors, and half-made objects are given back. */
static void cancel_creations(Daemon *self)
{
    for (;;) {
        g_autoptr(GPtrArray) pending =
            hostmem_registry_list_pending(self->registry);
        if (!pending->len) {
            return;
        }
        hostmem_registry_cancel_all(self->registry);
        g_main_context_iteration(NULL, TRUE);
    }
}

static const char *shutdown_reason(const Daemon *self)
{
    if (self->reason) {
        return self->reason;
    }
    return self->status ? BY_ERROR : BY_ITSELF;
}

static void leave(Daemon *self)
{
    gboolean left = leaves_behind(self);

    hm_notify_stopping();
    if (left) {
        hm_store_leave(self->store);
    }
    g_clear_pointer(&self->service, hm_service_free);
    g_clear_pointer(&self->run, hm_run_free);
    cancel_creations(self);
    hm_store_unfollow(self->store);
    if (self->server) {
        hostmem_qmp_server_shutdown(self->server, shutdown_reason(self));
    }
    g_clear_object(&self->server);
    if (self->startup && !left) {
        hm_startup_abandon(self->startup);
    }
    g_clear_pointer(&self->startup, hm_startup_free);
    g_clear_pointer(&self->domain, g_strfreev);
    g_clear_object(&self->registry);
    g_clear_object(&self->export_dir);
    if (!left) {
        hm_store_empty(self->store);
    }
    g_clear_pointer(&self->store, hm_store_free);
    g_clear_pointer(&self->doors, hm_doors_free);
    g_clear_pointer(&self->pidfile, hm_pidfile_free);
    g_clear_object(&self->starting);
    g_clear_pointer(&self->loop, g_main_loop_unref);
}

int hm_serve(const HmOptions *options, GPtrArray *inherited, int ready_fd)
{
    Daemon self = {
        .options = options,
        .inherited = inherited,
        .loop = g_main_loop_new(NULL, FALSE),
        .starting = g_cancellable_new(),
        .registry = hostmem_registry_new(),
        .ready_fd = ready_fd,
    };
    g_autoptr(GError) error = NULL;

    self.store =
        hm_store_new(self.registry, inherited, options->restore_fds != NULL);
    if (start(&self, &error)) {
        g_main_loop_run(self.loop);
    } else {
        fail(&self, error);
    }
    leave(&self);
    return self.status;
}
