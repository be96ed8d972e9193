/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/hostmem.h>

/*
 * hostmem-bench: what populating memory costs on this host.
 *
 * What the files tell each other, in the order of the work: options, what the
 * host is, memory to measure on, methods to measure, five ways to use them
 * (the grid, the comparison, virtio-mem, pools, snapshots), and a report that
 * knows nothing of them. Main thread, except where said.  Times are
 * nanoseconds, sizes bytes, rates GiB/s.
 */

#define BENCH_MIB       (G_GUINT64_CONSTANT(1) << 20)
#define BENCH_GIB       (G_GUINT64_CONSTANT(1) << 30)
#define BENCH_NS_PER_MS 1e6
#define BENCH_NS_PER_S  G_GINT64_CONSTANT(1000000000)
#define BENCH_MAX_RUNS  100

/* The command line: bench-options.c */

typedef enum {
    BENCH_TEXT,
    BENCH_JSON,
    BENCH_CSV,
} BenchFormat;

typedef enum {
    BENCH_GRID,
    BENCH_COMPARE, /* whole processes with QEMU */
    BENCH_PLUG,    /* a virtio-mem with QEMU's */
    BENCH_UNPLUG,
    BENCH_POOL,     /* memory that is ready, with the kernel and QEMU */
    BENCH_SNAPSHOT, /* memory that is saved while it is written to */
} BenchMode;

typedef struct {
    gboolean help;
    gboolean version;
    BenchMode mode;
    gboolean full;  /* every method, every run */
    gboolean quiet; /* no progress */
    BenchFormat format;
    guint runs;         /* counted runs of a cell */
    guint64 size;       /* bytes, of large cells: what the host can do */
    guint64 asked_size; /* bytes: what was asked for */
    GArray *threads;    /* guint: thread counts */
    char *directory;    /* for regular files */
    char *plot;         /* (nullable): SVG file to write */
    char *qemu;         /* program to compare with */
    char *hostmemd;     /* program that is compared */
    GPtrArray *objects; /* utf8: lines to compare instead of the usual ones */
} BenchOptions;

/**
 * bench_options_parse: read a command line.
 * @argv: NULL-terminated, with the program's name first
 *
 * Returns: (transfer full): complete and valid; or NULL with
 * %HOSTMEM_ERROR_INVALID
 */
BenchOptions *bench_options_parse(char **argv, GError **error);
void bench_options_free(BenchOptions *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BenchOptions, bench_options_free)

/** Returns: (transfer full): the text of --help */
char *bench_options_help(void);

/* Texts: bench-words.c */

/** Sets "WHAT: Invalid argument", say; returns FALSE. */
gboolean bench_set_errno(GError **error, const char *what, int number);

/* What this host is at this moment: bench-host.c */

/** RAM in bytes. */
typedef struct {
    guint64 total;
    guint64 available;
    guint64 cgroup_limit;     /* G_MAXUINT64: none */
    guint64 cgroup_available; /* the same */
} BenchHostMemory;

/** The kernel's pool of huge pages of one size, in pages. */
typedef struct {
    guint64 page_size; /* bytes; 0: this kernel has no such pool */
    guint64 total;
    guint64 free;
    guint64 reserved; /* of the free ones */
} BenchHostPool;

BenchHostMemory bench_host_memory(void);
/** Returns: (transfer full) (element-type BenchHostPool): by page size */
GArray *bench_host_pools(void);
BenchHostPool bench_host_default_pool(void);
/** Bytes of a huge page of the default pool; 0: this kernel has none. */
gsize bench_host_huge_page_size(void);
/** NUMA nodes that have memory. */
guint bench_host_nodes(void);
/** CPUs that we may use. */
guint bench_host_cpus(void);
/** Bytes of a transparent huge page; 0: this kernel has none. */
gsize bench_host_thp_size(void);
/** Returns: (transfer full): "madvise", of anonymous or of shared memory */
char *bench_host_thp_policy(gboolean shared);

/* Room for what is to be measured: bench-room.c */

/** Bytes that can be had now without pushing anything or anyone out. */
guint64 bench_room_available(void);

/**
 * Look whether there is room.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_NO_MEMORY, %HOSTMEM_ERROR_NO_HUGE_PAGES
 * or %HOSTMEM_ERROR_NO_SPACE
 */
gboolean bench_room_check_memory(guint64 size, GError **error);
gboolean bench_room_check_huge_pages(guint64 size, GError **error);
gboolean bench_room_check_space(const char *directory, guint64 size,
                                GError **error);

/* Facts to read the numbers by: bench-facts.c */

typedef struct {
    const char *key; /* in JSON: "cgroup_limit" */
    char *value;
} BenchFact;

/** (transfer full) (element-type BenchFact) */
GPtrArray *bench_facts(const BenchOptions *options);
/** Takes @value. */
void bench_facts_add(GPtrArray *facts, const char *key, char *value);
/** (transfer full): the first line that a program prints with --version. */
char *bench_facts_version(const char *program);
/** Adds to @notes what this host cannot show. */
void bench_facts_add_limits(const BenchOptions *options, GPtrArray *notes);

/* Several runs of one thing: bench-samples.c */

/** Nanoseconds on a clock that only goes forward. */
gint64 bench_now(void);
/** Returns: GiB/s */
double bench_rate(guint64 bytes, double ns);

/** In the order of the runs. */
typedef struct {
    guint n;
    double values[BENCH_MAX_RUNS];
} BenchSamples;

void bench_samples_add(BenchSamples *self, double value);
/** Pre, of these three: there is one. */
double bench_samples_least(const BenchSamples *self);
double bench_samples_median(const BenchSamples *self);
double bench_samples_most(const BenchSamples *self);
/** Their values over ours, pair by pair. */
BenchSamples bench_samples_ratios(const BenchSamples *theirs,
                                  const BenchSamples *ours);
/** Ours less theirs, pair by pair. */
BenchSamples bench_samples_differences(const BenchSamples *ours,
                                       const BenchSamples *theirs);

/* Kinds of memory: bench-memory.c */

typedef enum {
    BENCH_PAGES_BASE,        /* 4 KiB, as the host's policies give them */
    BENCH_PAGES_TRANSPARENT, /* huge pages from free memory */
    BENCH_PAGES_POOL,        /* huge pages of the default pool */
} BenchPages;

typedef struct {
    const char *name;
    /* A descriptor, or -1 with @error; NULL: anonymous memory. */
    int (*open)(const BenchOptions *options, GError **error);
    BenchPages pages;
    gboolean shared_only; /* a private mapping of it has base pages */
} BenchKind;

/** (transfer none): all of them. */
const BenchKind *bench_kinds(guint *n);

/** (transfer none) (nullable) */
const BenchKind *bench_kind_find(const char *name);
/** (transfer none): anonymous memory in huge pages if the host allows it. */
const BenchKind *bench_kind_anonymous(void);

/** What is to be measured on: mapped, and empty. */
typedef struct {
    guint8 *addr;
    gsize length; /* bytes */
    gsize stride; /* bytes that one touch populates */
    gsize unit;   /* bytes of a page, which one thread populates */
    int fd;       /* -1: anonymous */
    void *reserved;
    gsize reserved_length;
} BenchMemory;

/**
 * bench_memory_init: map fresh memory of a kind.
 *
 * Looks first whether there is room to populate all of it.
 *
 * Returns: FALSE with @error when this host cannot
 */
gboolean bench_memory_init(BenchMemory *self, const BenchKind *kind,
                           gboolean shared, guint64 size,
                           const BenchOptions *options, GError **error);
void bench_memory_clear(BenchMemory *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BenchMemory, bench_memory_clear)

/* Methods: bench-method.c */

/** What a method leaves; see the three states of memory. */
typedef enum {
    BENCH_BACKED,
    BENCH_READABLE,
    BENCH_WRITABLE,
    BENCH_FILLED, /* it was populated before */
} BenchState;

/** A part of the work, in the thread it falls to; 0 or -errno. */
typedef int (*BenchStep)(const BenchMemory *memory, gsize offset, gsize length);

typedef struct {
    const char *name; /* as in the commit message of MADV_POPULATE */
    BenchStep steps[2];
    BenchState state;
    gboolean usual;      /* in the grid without --full */
    gboolean needs_file; /* that is shared */
} BenchMethod;

/** (transfer none): those of the grid. */
const BenchMethod *bench_methods(guint *n);
/** (transfer none): populate, as touching does and as the kernel can. */
const BenchMethod *bench_method_write(void);
const BenchMethod *bench_method_populate_write(void);
/** (transfer none): fill what is populated. */
const BenchMethod *bench_method_memset(void);
/** Returns: "writable" */
const char *bench_state_name(BenchState state);

/**
 * bench_measure: let threads work on fresh memory, each on its share.
 *
 * Returns: nanoseconds from the first start to the last end; -1 with @error
 */
gint64 bench_measure(const BenchKind *kind, const BenchMethod *method,
                     gboolean shared, guint64 size, guint threads,
                     const BenchOptions *options, GError **error);

/** Touch as much memory as will be measured: a first touch may be slow. */
void bench_warm_up(const BenchOptions *options);

/* -object lines: bench-line.c */

typedef enum {
    BENCH_NO_FILE,
    BENCH_FILE_IN_SHM,
    BENCH_FILE_IN_DIRECTORY,
} BenchPlace;

typedef struct {
    const char *type;       /* without "memory-backend-" */
    const char *properties; /* (nullable): "share=on" */
    BenchPlace place;
    gboolean shared;
    gboolean pool; /* of huge pages */
    const char
        *roof; /* (nullable): the kind of memory it should be as fast as */
} BenchLine;

/** (transfer none): those of the comparison, in its order. */
const BenchLine *bench_lines(guint *n);
/** (transfer full): "memory-backend-file,share=on in /dev/shm" */
char *bench_line_name(const BenchLine *self, const BenchOptions *options);
/** (transfer none) (nullable): where its file goes. */
const char *bench_line_directory(const BenchLine *self,
                                 const BenchOptions *options);
/** (transfer full): what -object takes; @path: (nullable) for mem-path. */
char *bench_line_text(const BenchLine *self, const char *path, guint64 size,
                      guint threads);
/** Returns: FALSE with @error when the host has no room for it. */
gboolean bench_line_check(const BenchLine *self, const BenchOptions *options,
                          guint64 size, GError **error);
/**
 * bench_line_populate: create the object in this process, and drop it.
 * @method: (out) (transfer none): how it was populated
 *
 * Returns: nanoseconds that populating took; -1 with @error
 */
gint64 bench_line_populate(const BenchLine *self, const BenchOptions *options,
                           guint64 size, guint threads, const char **method,
                           GError **error);

/* What was found, whatever it was: bench-report.c */

typedef enum {
    BENCH_COLUMN_TEXT,
    BENCH_COLUMN_NUMBER,
    BENCH_COLUMN_HEADING, /* in text, a line of its own where it changes */
} BenchColumnType;

typedef struct {
    const char *key;   /* in JSON and CSV */
    const char *title; /* in text; NULL: not there */
    BenchColumnType type;
} BenchColumn;

typedef struct {
    char **cells;  /* one for each column; "": nothing to say */
    char *skipped; /* (nullable): why there are no numbers */
} BenchRecord;

/** What the colour of a bar says. */
typedef enum {
    BENCH_TONE_PALE,
    BENCH_TONE_LIGHT,
    BENCH_TONE_PLAIN,
    BENCH_TONE_OURS,
    BENCH_N_TONES,
} BenchTone;

typedef struct {
    char *label;
    double rate; /* GiB/s */
    double mark; /* GiB/s, a dot; 0: none */
    char *text;  /* behind the bar */
    BenchTone tone;
} BenchBar;

typedef struct {
    char *title;
    GPtrArray *bars; /* BenchBar */
} BenchGroup;

typedef struct {
    const char *title;
    GPtrArray *groups; /* BenchGroup */
} BenchPanel;

typedef struct {
    const char *key;
    char *label;
    double rate; /* GiB/s */
} BenchRoof;

typedef struct {
    const char *mode;
    char *title;      /* of the plot */
    GPtrArray *facts; /* BenchFact */
    GPtrArray *notes; /* utf8 */
    GPtrArray *roofs; /* BenchRoof */
    const BenchColumn *columns;
    guint n_columns;
    GPtrArray *records;                /* BenchRecord */
    GPtrArray *panels;                 /* BenchPanel */
    const char *legend[BENCH_N_TONES]; /* NULL: the tone is not used */
    char *mark_legend;                 /* (nullable) */
} BenchReport;

BenchReport *bench_report_new(const char *mode, const BenchColumn *columns,
                              guint n_columns);
void bench_report_free(BenchReport *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BenchReport, bench_report_free)

/** Adds a line with empty cells; (transfer none). */
BenchRecord *bench_report_add(BenchReport *self);
/** Takes @value. */
void bench_report_set(BenchReport *self, BenchRecord *record, const char *key,
                      char *value);
void bench_report_set_number(BenchReport *self, BenchRecord *record,
                             const char *key, double value, guint decimals);
/** Sets least, median and most, divided by @unit. */
void bench_report_set_spread(BenchReport *self, BenchRecord *record,
                             const char *const keys[3],
                             const BenchSamples *samples, double unit,
                             guint decimals);
/** Sets "pairs", the three "our_*_ms" and "their_*_ms" with @decimals, and the
 * three "ratio_*": their time over ours, pair by pair. */
void bench_report_set_pairs(BenchReport *self, BenchRecord *record,
                            const BenchSamples *ours,
                            const BenchSamples *theirs, guint decimals);
/** Takes @label. */
void bench_report_add_roof(BenchReport *self, const char *key, char *label,
                           double rate);
BenchPanel *bench_report_add_panel(BenchReport *self, const char *title);
/** The group with this title, at the end when it is new; (transfer none). */
BenchGroup *bench_panel_group(BenchPanel *self, const char *title);
/** Adds a bar without text and mark; (transfer none). */
BenchBar *bench_group_add(BenchGroup *self, const char *label, double rate,
                          BenchTone tone);

/* The report as text; (transfer full) each: bench-{text,json,csv,plot}.c */

char *bench_text_format(const BenchReport *report);
char *bench_json_format(const BenchReport *report);
char *bench_csv_format(const BenchReport *report);
/** SVG */
char *bench_plot_format(const BenchReport *report);

/* How far it has come, on a terminal: bench-progress.c */

typedef struct BenchProgress BenchProgress;

BenchProgress *bench_progress_new(const BenchOptions *options, guint total);
/** Says what comes next. */
void bench_progress_step(BenchProgress *self, const char *format, ...)
    G_GNUC_PRINTF(2, 3);
void bench_progress_free(BenchProgress *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BenchProgress, bench_progress_free)

/* Other programs: bench-process.c */

/**
 * bench_process_run: run a program to its end.
 * @input: (nullable): what it can read
 * @remove: (nullable): a file to remove then
 *
 * The program dies with us.  A signal that is to end us ends the program
 * first, and the file.
 *
 * Returns: nanoseconds from start to end; -1 with @error when it fails, with
 * what it said, or takes minutes
 */
gint64 bench_process_run(const char *const *argv, const char *input,
                         const char *remove, GError **error);

/** For a child between fork and exec: the kernel kills it when @parent dies. */
void bench_process_die_with(pid_t parent);

/* A QEMU that is asked line by line: bench-peer.c */

typedef struct BenchPeer BenchPeer;

/**
 * bench_peer_new: start it.
 * @fd: descriptor of memory that it gets; -1: none
 *
 * A socket that lines go over is number %BENCH_PEER_SOCKET there, and @fd is
 * %BENCH_PEER_FD.  It dies with us.
 */
BenchPeer *bench_peer_new(const char *const *argv, int fd, GError **error);
/** Kills it, and waits for its end. */
void bench_peer_free(BenchPeer *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BenchPeer, bench_peer_free)
#define BENCH_PEER_SOCKET 3
#define BENCH_PEER_FD     4

/** Both: FALSE with @error, which has its last words when it is gone. */
gboolean bench_peer_send(BenchPeer *self, const char *line, GError **error);
/** @line: room for %BENCH_PEER_LINE bytes */
gboolean bench_peer_receive(BenchPeer *self, char *line, GError **error);
#define BENCH_PEER_LINE 4096

/* What there is to do; (transfer full) each: bench-*.c
 */

BenchReport *bench_grid_run(const BenchOptions *options);
BenchReport *bench_compare_run(const BenchOptions *options);
/** For BENCH_PLUG and BENCH_UNPLUG. */
BenchReport *bench_plug_run(const BenchOptions *options);
BenchReport *bench_pool_run(const BenchOptions *options);
BenchReport *bench_snapshot_run(const BenchOptions *options);
