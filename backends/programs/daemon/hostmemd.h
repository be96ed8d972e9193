/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdio.h>
#include <hostmem/hostmem.h>

/* What the files of hostmemd tell each other.  All of it runs in the main
 * thread. */

/* The command line: hostmemd-options.c */

typedef struct {
    GPtrArray *objects; /* (element-type utf8): each -object, as written */
    GPtrArray *devices; /* (element-type utf8): each -device, as written */
    GPtrArray *dtbs;    /* (element-type utf8): each -dtb, as written */
    GPtrArray *qmp;     /* (element-type utf8): each -qmp, as written */
    char *dumpdtb;
    char *export_dir;
    char *name;
    char *pidfile;
    char *run;
    char *restore_fds;           /* as written */
    char *libvirt_xml;           /* a file, or "-" */
    char *print_libvirt_options; /* a file, or "-" */
    guint libvirt_timeout;       /* seconds */
    gboolean once;
    gboolean daemonize;
    gboolean quiet;
    gboolean print_capabilities;
    gboolean version;
    gboolean help;
} HmOptions;

/**
 * hm_options_parse: read a command line.
 * @argv: NULL-terminated, with the program's name first
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_INVALID (unknown
 * option, missing argument, options that do not go together)
 */
HmOptions *hm_options_parse(char **argv, GError **error);
void hm_options_free(HmOptions *options);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmOptions, hm_options_free)

/** Returns: (transfer full): the text of --help, made from the option rows */
char *hm_options_help(void);

/** Whether standard input and output belong to a QMP session. */
gboolean hm_options_qmp_on_stdio(const HmOptions *options);

/** Whether there is neither memory to make nor an address to serve. */
gboolean hm_options_are_idle(const HmOptions *options);

/* Going to the background: hostmemd-daemonize.c */

/**
 * hm_daemonize_begin: continue in a background process.
 *
 * To be called while the process has one thread.  Returns in the background
 * process only; the original one waits there until hm_daemonize_ready(), then
 * exits with 0, or until the background process ends, then with 1.
 *
 * Returns: the descriptor for hm_daemonize_ready(), which reports an error
 * condition when the waiting process dies; or -1 with %HOSTMEM_ERROR_SYSTEM
 */
int hm_daemonize_begin(GError **error);

/**
 * hm_daemonize_ready: let the waiting process exit with success.
 * @fd: (transfer full): from hm_daemonize_begin()
 *
 * Leaves the working directory, and standard input, output and error.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_SYSTEM
 */
gboolean hm_daemonize_ready(int fd, GError **error);

/* The file with the process id: hostmemd-pidfile.c */

typedef struct HmPidfile HmPidfile;

/**
 * hm_pidfile_new: write the process id to a file and lock it.
 *
 * An unlocked file, as a killed process leaves one, is taken over.
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_SYSTEM (also when a
 * living process has it) or %HOSTMEM_ERROR_INVALID (something else is in it)
 */
HmPidfile *hm_pidfile_new(const char *path, GError **error);
/** Whether that can succeed, as far as one sees now; changes nothing. */
gboolean hm_pidfile_check(const char *path, GError **error);
/** Removes the file. */
void hm_pidfile_free(HmPidfile *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmPidfile, hm_pidfile_free)

/* QMP on the addresses of the command line: hostmemd-doors.c */

typedef struct HmDoors HmDoors;

/**
 * hm_doors_open: listen on each address, or serve standard input and output,
 * and serve sockets that were passed on.
 * @inherited: (element-type HmInherited): those that listen are taken
 *
 * Returns: (transfer full): or NULL with the error of
 * hostmem_qmp_server_listen(), "-qmp ADDRESS: " before it
 */
HmDoors *hm_doors_open(HostmemQmpServer *server, const HmOptions *options,
                       GPtrArray *inherited, GError **error);
/** Gives standard input and output back as they were. */
void hm_doors_free(HmDoors *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmDoors, hm_doors_free)

/* The service manager that started us, when there is one: hostmemd-notify.c.
 * Without it (NOTIFY_SOCKET), or without libsystemd, all of this does nothing.
 */

gboolean hm_notify_wanted(void);
/** The start is over; this process is the one to watch. */
void hm_notify_ready(void);
/** @text: for people; anything that is no single line of text is made one */
void hm_notify_status(const char *text);
/** Asks for at least that time for the start, from now: microseconds. */
void hm_notify_extend(guint64 usec);
void hm_notify_stopping(void);

/**
 * hm_notify_store_fd: let the manager keep a descriptor for the next start.
 * @name: of up to 255 printable ASCII characters, without ':'
 * @fd: (transfer none): there it may have the name in common with others
 *
 * The manager does not say whether it had room.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_SYSTEM when it could not be sent
 */
gboolean hm_notify_store_fd(const char *name, int fd, GError **error);
/** Forgets all that are stored by that name; fails as hm_notify_store_fd() */
gboolean hm_notify_remove_fd(const char *name, GError **error);

/* Device trees: hostmemd-fdt.c */

/**
 * hm_fdt_append_objects: add what -dtb asks for to the objects.
 *
 * Returns: FALSE with the error of hostmem_fdt_make_objects(), "-dtb TEXT: "
 * before it
 */
gboolean hm_fdt_append_objects(HmOptions *options, GError **error);

/**
 * hm_fdt_dump: write what -dumpdtb asks for.
 * @text: its argument
 *
 * Returns: FALSE with the error of hostmem_fdt_dump(), "-dumpdtb TEXT: " before
 * it
 */
gboolean hm_fdt_dump(HostmemRegistry *registry, const char *text,
                     GError **error);

/* Descriptors that we were started with: hostmemd-inherited.c */

typedef struct {
    char *name;
    int fd;             /* owned, close-on-exec; -1 when somebody took it */
    gboolean listening; /* a stream socket; else it is memory: a regular file */
} HmInherited;

/**
 * hm_inherited_new: make a descriptor ours.
 * @name: see hm_notify_store_fd()
 * @fd: (transfer full): also after an error
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_INVALID (name, not
 * open, neither memory nor a socket that listens)
 */
HmInherited *hm_inherited_new(const char *name, int fd, GError **error);
void hm_inherited_free(HmInherited *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmInherited, hm_inherited_free)

/** Whether a descriptor may have that name, see hm_notify_store_fd(). */
gboolean hm_inherited_is_name(const char *name);

/**
 * hm_inherited_take: what the service manager passed on (LISTEN_FDS).
 *
 * Removes its variables from the environment: to be called once, while the
 * process has one thread, and before hm_daemonize_begin().
 *
 * Returns: (transfer full) (element-type HmInherited): maybe empty; or NULL
 * with %HOSTMEM_ERROR_INVALID
 */
GPtrArray *hm_inherited_take(GError **error);

/* What the service manager keeps for the next start: hostmemd-store.c.  Without
 * one that does, all of this does nothing. */

typedef struct HmStore HmStore;

/**
 * hm_store_new: take what is no socket of what was inherited.
 * @registry: borrowed
 * @inherited: (element-type HmInherited)
 * @expected: somebody keeps descriptors, even if there are none yet
 */
HmStore *hm_store_new(HostmemRegistry *registry, GPtrArray *inherited,
                      gboolean expected);
void hm_store_free(HmStore *self);
/** Whether somebody keeps what is stored. */
gboolean hm_store_is_there(const HmStore *self);
/** Whether an earlier process has left anything. */
gboolean hm_store_has_found(const HmStore *self);
/** Make it again; prints what could not be. */
void hm_store_restore_async(HmStore *self, GCancellable *cancellable,
                            GAsyncReadyCallback callback, gpointer user_data);
/** Returns: FALSE as hostmem_registry_restore() */
gboolean hm_store_restore_finish(GAsyncResult *result, GError **error);
/** From now on what is there is stored, and each change of it. */
void hm_store_follow(HmStore *self);
/**
 * hm_store_save: store what is there now, not a moment later.
 *
 * Returns: FALSE when it is not all stored, with the error of
 * hostmem_registry_save() or %HOSTMEM_ERROR_SYSTEM
 */
gboolean hm_store_save(HmStore *self, GError **error);
/** The next process goes on with it: nothing more is stored, nothing of it is
 * given back. */
void hm_store_leave(HmStore *self);
/** Nothing more is stored; before the registry goes. */
void hm_store_unfollow(HmStore *self);
/** There is no next process: nothing is kept any more. */
void hm_store_empty(HmStore *self);

/**
 * hm_store_parse_fds: read the argument of -restore-fds.
 * @inherited: (element-type HmInherited): they are added
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID
 */
gboolean hm_store_parse_fds(const char *text, GPtrArray *inherited,
                            GError **error);

/* From the first socket to the last unmap: hostmemd-serve.c */

/**
 * hm_serve: make the memory, keep it, and give it back.
 * @inherited: (element-type HmInherited)
 * @ready_fd: from hm_daemonize_begin(), or -1
 *
 * Prints its errors.
 *
 * Returns: the exit status of the process
 */
int hm_serve(const HmOptions *options, GPtrArray *inherited, int ready_fd);

/* The domain of -libvirt-xml: hostmemd-domain.c, hostmemd-convert.c */

#define HM_CONVERT_OPTION "--print-libvirt-options"

/** Read it, in a process that ends with this one; cancelling ends it, too. */
void hm_domain_read_async(const HmOptions *options, GCancellable *cancellable,
                          GAsyncReadyCallback callback, gpointer user_data);
/**
 * Returns: (transfer full): "-object" and "-device", each followed by its
 * value; or NULL with an error, "-libvirt-xml FILE: " before it
 */
char **hm_domain_read_finish(GAsyncResult *result, GError **error);

/**
 * hm_convert_print: what that process does, HM_CONVERT_OPTION.
 *
 * To be called while the process has one thread.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_NOT_FOUND (file), %HOSTMEM_ERROR_LIMIT
 * (its size), %HOSTMEM_ERROR_TIMED_OUT, or the errors of
 * hostmem_libvirt_domain_to_argv() and hostmem_libvirt_memory_options()
 */
gboolean hm_convert_print(const HmOptions *options, GError **error);

/* The objects and devices of the command line: hostmemd-startup.c */

typedef struct HmStartup HmStartup;

/**
 * hm_startup_new:
 * @registry: borrowed, and must live as long
 * @domain: (nullable): of hm_domain_read_finish(); its lines come first
 */
HmStartup *hm_startup_new(HostmemRegistry *registry, const HmOptions *options,
                          const char *const *domain);
void hm_startup_free(HmStartup *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmStartup, hm_startup_free)

/**
 * hm_startup_async: create what -object and -device ask for; once.
 *
 * The objects together, each thread-context first, then the devices one by one;
 * otherwise the order is kept.  What was restored is not created again, but a
 * line that has changed since is told.  Stops at the first device that fails;
 * what was before it stays.
 */
void hm_startup_async(HmStartup *self, GCancellable *cancellable,
                      GAsyncReadyCallback callback, gpointer user_data);
/** Returns: FALSE with the creation's error, "-object TEXT: " before it */
gboolean hm_startup_finish(GAsyncResult *result, GError **error);

/** Let the objects leave files as they found them when the registry goes: what
 * they were made for has failed. */
void hm_startup_abandon(HmStartup *self);

/* What goes on in the background: hostmemd-jobs.c */

/**
 * hm_jobs_wait_async: until no job is at work.
 *
 * Cancelling cancels the jobs.
 */
void hm_jobs_wait_async(HostmemRegistry *registry, GCancellable *cancellable,
                        GAsyncReadyCallback callback, gpointer user_data);
/** Returns: FALSE with the error of a job that failed, its id before it */
gboolean hm_jobs_wait_finish(GAsyncResult *result, GError **error);

/* Words for people: hostmemd-text.c */

/** Returns: (transfer full): "3.2"; or "-" when no time has passed */
char *hm_text_gib_per_second(guint64 bytes, gint64 elapsed_us);
/** Returns: (transfer full): "12 ms", "3.50 s" */
char *hm_text_time(gint64 elapsed_us);

/**
 * hm_text_put: write and flush.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_SYSTEM (disk full, reader gone)
 */
gboolean hm_text_put(FILE *stream, const char *text, GError **error);

/* How far populating has come: hostmemd-figures.c */

/** What is populated, or has been, since the start. */
typedef struct {
    guint n;              /* backends */
    HostmemObject *first; /* (nullable) (transfer none): that is at it now */
    guint64 done;         /* bytes */
    guint64 total;        /* bytes */
    gint64 elapsed_us;
} HmFigures;

/** Returns: whether anything is being populated */
gboolean hm_figures_take(HostmemRegistry *registry, HmFigures *figures);
/** Returns: (transfer full): the id of the one, or "3 backends" */
char *hm_figures_name(const HmFigures *figures);
/** Returns: (transfer full): "1 GiB of 4 GiB, 3.2 GiB/s, 1 s left" */
char *hm_figures_describe(const HmFigures *figures);

/* The same for the service manager: hostmemd-service.c */

typedef struct HmService HmService;

/**
 * hm_service_new: tell the service manager what goes on, once a second at most.
 *
 * Until hm_service_ready() the time for the start is extended as long as
 * populating gets on.
 */
HmService *hm_service_new(HostmemRegistry *registry);
/** The start is over. */
void hm_service_ready(HmService *self);
void hm_service_free(HmService *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmService, hm_service_free)

/* And for people, on standard error: hostmemd-progress.c */

typedef struct HmProgress HmProgress;

/** Starts to show what the registry populates; @registry is borrowed. */
HmProgress *hm_progress_new(HostmemRegistry *registry);
/** Stops, and leaves no half line behind. */
void hm_progress_free(HmProgress *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmProgress, hm_progress_free)

/* What start-up made: hostmemd-table.c */

/**
 * hm_table_format: a line for each object, under a heading.
 * @objects: (element-type HostmemObject)
 *
 * Returns: (transfer full): lines ending in a newline; empty without objects
 */
char *hm_table_format(GPtrArray *objects);

/* The command of --run: hostmemd-run.c */

typedef struct HmRun HmRun;
typedef void (*HmRunDone)(int status, gpointer user_data);

/**
 * hm_run_new: start a shell command that gets the backends it names.
 * @command: each {ID} becomes the /proc/self/fd/N of that backend, each
 *     {ID:object} a memory-backend-file with it; see captive.h
 * @store: when it is there the command goes on when this process ends, and the
 *     next one finds it by the registry's note, which is stored before it
 *     begins; else it gets SIGTERM then
 * @done: called with the exit status, or 128 and the number of the signal
 *
 * A command that an earlier process has started, and that goes on, takes the
 * place of a new one, whatever that would be.  Its exit status is 0, as nobody
 * knows it; so is that of one which has ended by now.
 *
 * The named backends are held until the command has ended.
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_NOT_FOUND (id),
 * %HOSTMEM_ERROR_UNSUPPORTED (private memory, or in several files),
 * %HOSTMEM_ERROR_LIMIT (descriptors, ids), %HOSTMEM_ERROR_INVALID (a note that
 * is none), %HOSTMEM_ERROR_SYSTEM, a %G_SPAWN_ERROR (no shell), or what
 * hm_store_save() says
 */
HmRun *hm_run_new(HostmemRegistry *registry, const char *command,
                  HmStore *store, HmRunDone done, gpointer user_data,
                  GError **error);
void hm_run_free(HmRun *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmRun, hm_run_free)

/** Pass on a signal that this process got. */
void hm_run_signal(HmRun *self, int signum);
/** Whoever starts without a command leaves that of an earlier process to
 * itself; says so. */
void hm_run_forget(HostmemRegistry *registry);

/* A command that an earlier process has started: hostmemd-kept.c */

typedef struct Captive Captive; /* captive.h */
typedef struct HmKept HmKept;
typedef void (*HmKeptDone)(gpointer user_data);

/**
 * hm_kept_describe: the note about a command that runs, or waits to begin.
 * @ids: of the backends that it got
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_LIMIT (too long)
 */
char *hm_kept_describe(Captive *captive, const char *command,
                       const char *const *ids, GError **error);
/**
 * hm_kept_new: find the command of a note.
 *
 * One that waits for an earlier process to let it begin is ended.
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_INVALID
 */
HmKept *hm_kept_new(const char *note, GError **error);
void hm_kept_free(HmKept *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmKept, hm_kept_free)
/** FALSE: the last process may have ended before it let it begin. */
gboolean hm_kept_has_begun(const HmKept *self);
/** 0: it had ended before. */
int hm_kept_get_pid(const HmKept *self);
const char *const *hm_kept_get_ids(const HmKept *self);
/** Whether it is this command. */
gboolean hm_kept_is(const HmKept *self, const char *command);
/** @done is called once, when it has ended, and may free it; SIGUSR1 and
 * SIGUSR2 are passed on meanwhile. */
void hm_kept_watch(HmKept *self, HmKeptDone done, gpointer user_data);
/** SIGTERM again, a second later or more, becomes SIGKILL. */
void hm_kept_signal(HmKept *self, int signum);
