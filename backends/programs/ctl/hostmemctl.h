/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gunixfdlist.h>
#include <hostmem/hostmem.h>
#include "backends/programs/captive.h"
#include "backends/programs/peer-json.h"

/* What the files of hostmemctl tell each other.  All of it runs in the main
 * thread. */

/* The table of sub-commands: hostmemctl-commands.c */

typedef struct CtlCall CtlCall;

/** What a word of the command line names: completion offers these. */
typedef enum {
    CTL_WORD_ANY,      /* anything: nothing is offered */
    CTL_WORD_ADDRESS,  /* unix:PATH, tcp:HOST:PORT */
    CTL_WORD_SOCKET,   /* the path of a socket */
    CTL_WORD_SHELL,    /* a shell that has completion */
    CTL_WORD_COMMAND,  /* a sub-command, or a type */
    CTL_WORD_LINE,     /* TYPE,PROPERTY=VALUE,... */
    CTL_WORD_ID,       /* the id of an object or a device */
    CTL_WORD_OBJECT,   /* the id of an object, with --device of a device */
    CTL_WORD_BACKEND,  /* the id of a backend */
    CTL_WORD_DEVICE,   /* the id of a device */
    CTL_WORD_PROPERTY, /* of the object that the word before names */
    CTL_WORD_JOB,      /* the id of a job */
    CTL_WORD_ADVICE,   /* of memory-advise */
    CTL_WORD_RANGE,    /* OFFSET+LENGTH, or all */
    CTL_WORD_PROGRAM,  /* a program */
    CTL_WORD_PATH,     /* the path of an object or a device */
    CTL_WORD_TYPE,     /* a type of objects */
    CTL_WORD_DRIVER,   /* a type of devices */
    CTL_WORD_URI,      /* of libvirt */
    CTL_WORD_DOMAIN,   /* the name of a domain of libvirt */
} CtlWord;

enum {
    CTL_OPTIONAL = 1 << 0, /* may be left out; those in front come first */
    CTL_REPEATED = 1 << 1, /* the last one: one or more */
    CTL_REST = 1 << 2,     /* what follows "--", left as it is */
};

/** An argument of a sub-command; a table of them ends with an empty one. */
typedef struct {
    const char *name; /* "ID" */
    CtlWord word;
    guint flags;
} CtlArgument;

/** An option; a table of them ends with an empty one. */
typedef struct {
    const char *name;     /* "--wait" */
    char letter;          /* after one dash; 0: none */
    const char *argument; /* (nullable); "[=N]" may be left out */
    CtlWord word;         /* the argument's */
    const char *help;     /* lines */
} CtlOption;

/**
 * A sub-command: one row says all about it.
 *
 * @run returns the exit status, which is not 0 when it sets an error.
 */
typedef struct {
    const char *name;             /* "status"; "domain list" of a family */
    const CtlArgument *arguments; /* (nullable) */
    const CtlOption *options;     /* (nullable) */
    const char *help;             /* lines */
    int (*run)(CtlCall *call, GError **error);
    gboolean hidden; /* not for people */
} CtlCommand;

/** The table, in the order of the help, with an empty row at its end. */
extern const CtlCommand ctl_commands[];
/** Options of all sub-commands. */
extern const CtlOption ctl_options[];

/** (nullable): by name. */
const CtlCommand *ctl_command_find(const char *name);
/** (nullable): by a word, and the family that a word before it has named. */
const CtlCommand *ctl_command_find_in(const char *family, const char *word);
/** Whether it is the first word of names. */
gboolean ctl_command_is_family(const char *word);
/** Whether it is of one. */
gboolean ctl_command_is_in(const CtlCommand *command, const char *family);

/* The command line: hostmemctl-options.c */

/** A sub-command and what it was called with. */
struct CtlCall {
    const CtlCommand *command; /* NULL: none, but --help or --version */
    const char *family;        /* (nullable): what @command is of, or all */
    char **words;              /* its arguments, as many as its rows allow */
    char **rest;               /* (nullable): what followed "--", of CTL_REST */
    GHashTable *options;       /* name to argument, "" without one */
    char *address;             /* (nullable): --connect, or HOSTMEM_QMP */
};

/**
 * ctl_call_parse: read a command line.
 * @argv: NULL-terminated, with the program's name first
 *
 * With --help nothing is missed or too much.
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_INVALID
 */
CtlCall *ctl_call_parse(char **argv, GError **error);
void ctl_call_free(CtlCall *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CtlCall, ctl_call_free)

/** (nullable): the row of "--name" or "--name=ARGUMENT": the command's, or of
 * those that all commands have; @command may be NULL. */
const CtlOption *ctl_option_find(const CtlCommand *command, const char *text);
/** Whether it cannot be written without its argument. */
gboolean ctl_option_needs_argument(const CtlOption *row);

/** Whether an option of the rows was given. */
gboolean ctl_call_has(const CtlCall *self, const char *option);
/** (nullable): the argument of an option; NULL without it. */
const char *ctl_call_get(const CtlCall *self, const char *option);
/**
 * ctl_call_get_seconds: a number of seconds, fractions too.
 * @seconds: left alone when the option was not given, or without an argument
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (not between @min and a day)
 */
gboolean ctl_call_get_seconds(const CtlCall *self, const char *option,
                              double min, double *seconds, GError **error);

/* What rows say: hostmemctl-help.c */

/** (transfer full): of one sub-command, or of all with NULL. */
char *ctl_help(const CtlCommand *command);
/** (transfer full): of all of a family. */
char *ctl_help_of_family(const char *family);

/* Somebody who speaks QMP: hostmemctl-peer.c */

typedef struct CtlPeer CtlPeer;

/** @data: (transfer none) (nullable): the event's "data" */
typedef void (*CtlEventFunc)(const char *name, json_t *event,
                             gpointer user_data);

/**
 * ctl_peer_new: connect to the address of a call.
 *
 * Every error of a peer, here and later, names its address.
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_INVALID (no address),
 * or as of hostmem_qmp_client_new()
 */
CtlPeer *ctl_peer_new(const CtlCall *call, GError **error);
/** The same at another address. */
CtlPeer *ctl_peer_new_at(const char *address, GError **error);
void ctl_peer_free(CtlPeer *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CtlPeer, ctl_peer_free)

/** (transfer none): as --connect has it. */
const char *ctl_peer_get_address(CtlPeer *self);
/** (transfer none): who it is, for people: "QEMU 7.2.22", "hostmem 0.1.0". */
const char *ctl_peer_get_name(CtlPeer *self);
/** Whether it is a hostmemd. */
gboolean ctl_peer_is_hostmem(CtlPeer *self);

/**
 * ctl_peer_call: a command, and wait for its answer.
 * @arguments: (transfer full) (nullable)
 *
 * The main context runs meanwhile, so events are heard.
 *
 * Returns: (transfer full): what it returned; or NULL with
 * %HOSTMEM_ERROR_NOT_FOUND, %HOSTMEM_ERROR_UNSUPPORTED (the peer has no such
 * command), %HOSTMEM_ERROR_REMOTE, %HOSTMEM_ERROR_SYSTEM (it went),
 * %G_IO_ERROR_CANCELLED (ctl_peer_cancel())
 */
json_t *ctl_peer_call(CtlPeer *self, const char *command, json_t *arguments,
                      GError **error);
/**
 * ctl_peer_call_fds: the same with descriptors.
 * @fds: (nullable): sent along
 * @fds_out: (out) (optional) (nullable): what came with the answer
 */
json_t *ctl_peer_call_fds(CtlPeer *self, const char *command, json_t *arguments,
                          GUnixFDList *fds, GUnixFDList **fds_out,
                          GError **error);

/** Who hears of events; one at a time, NULL for nobody. */
void ctl_peer_set_listener(CtlPeer *self, CtlEventFunc func,
                           gpointer user_data);
/**
 * ctl_peer_wait: let the main context run, until something happened.
 * @until_us: of g_get_monotonic_time(); -1: no limit
 *
 * Returns: FALSE with %HOSTMEM_ERROR_SYSTEM (the peer went) or
 * %G_IO_ERROR_CANCELLED
 */
gboolean ctl_peer_wait(CtlPeer *self, gint64 until_us, GError **error);
/** From SIGINT and SIGTERM on, calls and waits end with
 * %G_IO_ERROR_CANCELLED. */
void ctl_peer_catch_signals(CtlPeer *self);
gboolean ctl_peer_is_cancelled(CtlPeer *self);
/** As such a signal does. */
void ctl_peer_cancel(CtlPeer *self);
/** Calls and waits that begin from now on are not cancelled. */
void ctl_peer_resume(CtlPeer *self);
/** Whether the peer went. */
gboolean ctl_peer_is_closed(CtlPeer *self);
/** Let ctl_peer_wait() return. */
void ctl_peer_wake(CtlPeer *self);

/* A device that goes: hostmemctl-unplug.c */

/**
 * ctl_unplug: have a device deleted, and wait until it is gone.
 * @limit: seconds
 *
 * Takes the place of the listener.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_BUSY (the guest says no),
 * %HOSTMEM_ERROR_TIMED_OUT (it may still let go), or as of ctl_peer_call() and
 * ctl_peer_wait()
 */
gboolean ctl_unplug(CtlPeer *peer, const char *id, double limit,
                    GError **error);

/* Memory of a backend: hostmemctl-memory.c */

/**
 * ctl_memory_get: have it handed over.
 * @memory: (out): to be given to ctl_memory_clear()
 *
 * Returns: FALSE with %HOSTMEM_ERROR_UNSUPPORTED (it lies in several files, or
 * the peer has no such command), %HOSTMEM_ERROR_REMOTE (the peer refused; what
 * came is no such memory), or as of ctl_peer_call()
 */
gboolean ctl_memory_get(CtlPeer *peer, const char *id, CaptiveMemory *memory,
                        GError **error);
/**
 * ctl_memory_warn: say so if somebody else had it.
 *
 * Two guests on the same memory would be the end of both; but others may share
 * it, such as a process that serves a guest's disk.
 */
void ctl_memory_warn(const char *id, const CaptiveMemory *memory);
/** Closes its descriptor, if there is one. */
void ctl_memory_clear(CaptiveMemory *memory);

/* What a word can name: hostmemctl-names.c */

/**
 * ctl_names_list: names that a peer knows.
 * @of: of %CTL_WORD_PROPERTY: the id or path of what has them
 *
 * Returns: (transfer full) (element-type utf8): plain ones, none of a word that
 * names nothing of a peer's, or when the peer does not tell
 */
GPtrArray *ctl_names_list(CtlPeer *peer, CtlWord word, const char *of);
/** Whether a name means nothing to a shell or a terminal. */
gboolean ctl_name_is_plain(const char *name);

/* Words that stand for JSON: hostmemctl-value.c */

/**
 * ctl_value_parse: a text as a value of a kind.
 * @kind: "boolean", "int", "string", "array"; JSON of any other
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_INVALID
 */
json_t *ctl_value_parse(const char *kind, const char *text, GError **error);
/** (transfer full): JSON if it is that, else text. */
json_t *ctl_value_guess(const char *text);

/* What a peer's commands take: hostmemctl-schema.c */

/** The schema of a peer, which is asked when it is needed. */
typedef struct CtlSchema CtlSchema;

/** An argument, or a member of one; lives as long as the schema. */
typedef struct {
    const char *name;
    const char *kind; /* as of ctl_value_parse(); "object": has members */
    gboolean optional;
    const json_t *type; /* (nullable): its entry */
} CtlMember;

CtlSchema *ctl_schema_new(CtlPeer *peer);
void ctl_schema_free(CtlSchema *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CtlSchema, ctl_schema_free)

/** (transfer container) (element-type utf8): names of commands, sorted. */
GPtrArray *ctl_schema_commands(CtlSchema *self);
/**
 * ctl_schema_members: what a command takes.
 * @prefix: "": its arguments; "a.b.": members of an argument's member
 * @given: keys and values that are there already
 *
 * Returns: (transfer full) (element-type CtlMember): none of what is not known
 */
GArray *ctl_schema_members(CtlSchema *self, const char *command,
                           const char *prefix, GHashTable *given);
/** A CtlKindFunc. */
const char *ctl_schema_kind(const char *command, const char *key,
                            GHashTable *given, gpointer schema);
/** (transfer container) (element-type utf8): all that it can be, if those are
 * few. */
GPtrArray *ctl_member_values(const CtlMember *member);

/* A command as somebody types it: hostmemctl-line.c */

/** (nullable): the kind of an argument, as of ctl_value_parse(). */
typedef const char *(*CtlKindFunc)(const char *command, const char *key,
                                   GHashTable *given, gpointer user_data);

/**
 * ctl_line_parse: "command key=value ...", or JSON.
 * @text: not blank
 *
 * Returns: (transfer full): {"execute", "arguments"}, or NULL with
 * %HOSTMEM_ERROR_INVALID
 */
json_t *ctl_line_parse(const char *text, CtlKindFunc kind_of,
                       gpointer user_data, GError **error);
/** Whether it is JSON that ends too early. */
gboolean ctl_line_is_open(const char *text);
/** (transfer full): words; @open: whether the last one is in quotes or
 * brackets that are not closed. */
char **ctl_line_split(const char *text, gboolean *open);
/** (transfer full): keys and values among words, as they are. */
GHashTable *ctl_line_given(char **words);

/* Lines to read: hostmemctl-input.c */

typedef struct CtlInput CtlInput;

/** @fd: not ours */
CtlInput *ctl_input_new(CtlPeer *peer, int fd);
void ctl_input_free(CtlInput *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CtlInput, ctl_input_free)
/**
 * ctl_input_read: the next line, without its end.
 *
 * Returns: (transfer full): or NULL, without an error at the end; or as of
 * ctl_input_wait(); or with %HOSTMEM_ERROR_LIMIT
 */
char *ctl_input_read(CtlInput *self, GError **error);
/**
 * ctl_input_wait: until a descriptor can be read; events are heard meanwhile.
 *
 * Returns: FALSE as of ctl_peer_wait()
 */
gboolean ctl_input_wait(CtlPeer *peer, int fd, GError **error);

/* Lines that somebody edits: hostmemctl-edit.c */

typedef struct CtlEdit CtlEdit;

/**
 * CtlCompleteFunc: what the end of a text can become.
 * @start: (out): where that begins
 *
 * Returns: (transfer full) (element-type utf8): texts from there on, of plain
 * characters
 */
typedef GPtrArray *(*CtlCompleteFunc)(const char *before, gsize *start,
                                      gpointer user_data);

/** (nullable): of standard input and output; NULL when they are no terminal, or
 * built without libedit. */
CtlEdit *ctl_edit_new(CtlPeer *peer, CtlCompleteFunc complete,
                      gpointer user_data);
void ctl_edit_free(CtlEdit *self);
/**
 * ctl_edit_read: the next line.
 *
 * Returns: (transfer full): or NULL, without an error at the end;
 * %G_IO_ERROR_CANCELLED: Ctrl-C; or as of ctl_input_wait()
 */
char *ctl_edit_read(CtlEdit *self, const char *prompt, GError **error);
/** Make room for output in the place of the line, and draw it again; nothing
 * while none is edited. */
void ctl_edit_hide(CtlEdit *self);
void ctl_edit_show(CtlEdit *self);

/* The shell, in parts: hostmemctl-shell-complete.c, hostmemctl-shell-help.c */

/** As CtlCompleteFunc. */
GPtrArray *ctl_shell_complete(CtlPeer *peer, CtlSchema *schema,
                              const char *before, gsize *start);
/** (transfer full): @words: of a command, or none. */
char *ctl_shell_help(CtlSchema *schema, char **words);

/* Words for people: hostmemctl-text.c */

/**
 * ctl_text_safe: what a peer said, as a terminal may have it.
 *
 * Valid UTF-8; control characters and those that turn the direction of
 * writing are written as \xHH or \u{HEX}.
 *
 * Returns: (transfer full)
 */
char *ctl_text_safe(const char *text);
/** (transfer full): a JSON value for people: "on", "4096", "0,1", text. */
char *ctl_text_of(const json_t *value);
/** (transfer full) (nullable): a member; NULL when there is none. */
char *ctl_text_member(const json_t *object, const char *key);
/** (transfer full) (nullable): a member that is bytes: "4 GiB". */
char *ctl_text_size(const json_t *object, const char *key);
/** (transfer full): "2026-01-31 12:00:00", of g_get_real_time(). */
char *ctl_text_time(gint64 time_us);
/** (transfer full): "[####....]  50 %". */
char *ctl_text_bar(guint64 done, guint64 total);
/** Cells that a terminal needs for a text. */
gsize ctl_text_width(const char *text);
/** (transfer full): as much of it as fits in so many cells. */
char *ctl_text_cut(const char *text, gsize width);

/**
 * ctl_put: write to standard output, and flush.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_SYSTEM
 */
gboolean ctl_put(const char *text, GError **error);
/** The same with a JSON value as one line. */
gboolean ctl_put_json(const json_t *value, GError **error);

/* Aligned tables: hostmemctl-table.c */

typedef struct {
    const char *heading;
    gboolean right; /* numbers end where their column ends */
} CtlColumn;

typedef struct CtlTable CtlTable;

/** @columns: end with an empty one */
CtlTable *ctl_table_new(const CtlColumn *columns);
void ctl_table_free(CtlTable *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CtlTable, ctl_table_free)

/** A cell for each column, (transfer full), NULL where there is nothing to
 * say.  They are made safe. */
void ctl_table_add(CtlTable *self, char *const *cells);
/** A heading, a line for each row; nothing without a row. */
void ctl_table_append_to(CtlTable *self, GString *text);

/* How far something has come, on standard error: hostmemctl-progress.c */

typedef struct CtlProgress CtlProgress;

CtlProgress *ctl_progress_new(void);
/** Leaves no half line behind. */
void ctl_progress_free(CtlProgress *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CtlProgress, ctl_progress_free)

/** Bytes; shown now and then, however often it is called. */
void ctl_progress_show(CtlProgress *self, const char *name, guint64 done,
                       guint64 total);
/** The same of "current-progress" and "total-progress". */
void ctl_progress_show_json(CtlProgress *self, const char *name,
                            const json_t *job);

/** Whether a descriptor is a terminal that can draw over what is there. */
gboolean ctl_is_terminal(int fd);
/** How many columns and lines it has, or usually would. */
void ctl_terminal_size(int fd, gsize *columns, gsize *lines);

/* A text that is drawn in place, on standard output: hostmemctl-screen.c */

typedef struct CtlScreen CtlScreen;

/** (nullable): NULL when it is no terminal. */
CtlScreen *ctl_screen_new(void);
void ctl_screen_free(CtlScreen *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CtlScreen, ctl_screen_free)
/** As much of a text as there is room for, over what was drawn before.  FALSE
 * as of ctl_put(). */
gboolean ctl_screen_draw(CtlScreen *self, const char *text, GError **error);
void ctl_screen_clear(CtlScreen *self);

/* What a peer has, as tables: hostmemctl-view.c */

/** What events said meanwhile, of which no query tells. */
typedef struct {
    GHashTable *progress; /* id to json_t: MEMORY_PREALLOC_PROGRESS's data */
    GHashTable *resizes;  /* path to json_t: MEMORY_DEVICE_RESIZE's data */
} CtlNews;

/** Room between tables: a blank line before what came behind @end. */
void ctl_view_separate(GString *text, gsize *end);
/** (transfer full) (nullable): a bar of two members that are bytes. */
char *ctl_view_bar(const json_t *object, const char *done, const char *total);
/** @jobs: of query-jobs */
void ctl_view_jobs(const json_t *jobs, GString *text);
/** @pools: of query-memory-pools */
void ctl_view_pools(const json_t *pools, GString *text);
/**
 * ctl_view_status: all there is.
 * @status: of ctl_status_read()
 * @news: (nullable)
 */
void ctl_view_status(const json_t *status, const CtlNews *news, GString *text);

/* hostmemctl-status.c */

/**
 * ctl_status_read: ask for all there is.
 * @absent: commands that the peer does not have, to be added to
 *
 * Returns: (transfer full): {"server", "address", and for each query-NAME a
 * member NAME, which is null when the peer does not tell, "errors": {NAME:
 * message}}; or NULL when the peer went
 */
json_t *ctl_status_read(CtlPeer *peer, GHashTable *absent, GError **error);

/* hostmemctl-watch.c */

/** Show the status until a signal; returns the exit status. */
int ctl_watch(CtlPeer *peer, double seconds, gboolean json, GError **error);

/* hostmemctl-jobs.c */

/**
 * ctl_job_wait: until a job is over, which is shown; without a job of that name
 * there is nothing to wait for.
 *
 * Returns: the exit status; with an error when the job has one
 */
int ctl_job_wait(CtlPeer *peer, const char *id, CtlProgress *progress,
                 GError **error);

/* What the rows run, by file. */

/* hostmemctl-advise.c */
int ctl_run_advise(CtlCall *call, GError **error);
int ctl_run_discard(CtlCall *call, GError **error);

/* hostmemctl-attach.c */
int ctl_run_attach(CtlCall *call, GError **error);
int ctl_run_detach(CtlCall *call, GError **error);

/* hostmemctl-completion.c */
int ctl_run_complete(CtlCall *call, GError **error);
int ctl_run_completion(CtlCall *call, GError **error);

/* hostmemctl-domain-list.c */
int ctl_run_domain_list(CtlCall *call, GError **error);

/* hostmemctl-domain-plug.c */
int ctl_run_domain_plug(CtlCall *call, GError **error);

/* hostmemctl-domain-status.c */
int ctl_run_domain_status(CtlCall *call, GError **error);

/* hostmemctl-domain-watch.c */
int ctl_run_domain_watch(CtlCall *call, GError **error);

/* hostmemctl-events.c */
/** (transfer full): an event as a line, for people. */
char *ctl_event_line(const char *name, const json_t *event);
int ctl_run_events(CtlCall *call, GError **error);

/* hostmemctl-exec.c */
int ctl_run_exec(CtlCall *call, GError **error);

/* hostmemctl-jobs.c */
int ctl_run_cancel(CtlCall *call, GError **error);
int ctl_run_jobs(CtlCall *call, GError **error);
int ctl_run_pools(CtlCall *call, GError **error);

/* hostmemctl-object.c */
int ctl_run_add(CtlCall *call, GError **error);
int ctl_run_del(CtlCall *call, GError **error);

/* hostmemctl-plug.c */
int ctl_run_plug(CtlCall *call, GError **error);

/* hostmemctl-property.c */
int ctl_run_get(CtlCall *call, GError **error);
int ctl_run_set(CtlCall *call, GError **error);

/* hostmemctl-shell.c */
int ctl_run_shell(CtlCall *call, GError **error);

/* hostmemctl-snapshot.c */
int ctl_run_snapshot(CtlCall *call, GError **error);

/* hostmemctl-status.c */
int ctl_run_status(CtlCall *call, GError **error);

/* hostmemctl-types.c */
int ctl_run_help(CtlCall *call, GError **error);
