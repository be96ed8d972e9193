/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <unistd.h>
#include "bench-compare.h"

/*
 * A host is not equally fast all the time: so the two sides take turns, and
 * what counts is their ratio, pair by pair.
 *
 * A run gets the free memory that the run before it left behind.  The host of
 * a virtual machine may have taken it away meanwhile, and after a run of base
 * pages gives huge ones back at a tenth of the speed, whoever asks.  So each
 * side runs twice in its turn, and the second run counts.
 *
 * Against QEMU the time is that of whole processes with the same -object line.
 * QEMU gets a machine without anything else, and quits by QMP as soon as its
 * memory is there; hostmemd ends by itself.  Against the kernel, which would
 * be the fastest way to do it by hand, the time is that of populating.
 */

#define QUIT                                \
    "{\"execute\": \"qmp_capabilities\"}\n" \
    "{\"execute\": \"quit\"}\n"

/* What is left when there is no memory to speak of. */
#define NO_MEMORY "memory-backend-ram,id=m0,size=4K"

static void free_contest(gpointer data)
{
    BenchContest *contest = data;

    g_free(contest->name);
    g_free(contest->skipped);
    g_free(contest);
}

/* Takes @name. */
static BenchContest *add_contest(GPtrArray *contests, BenchOpponent opponent,
                                 char *name, guint64 size)
{
    BenchContest *contest = g_new0(BenchContest, 1);

    contest->opponent = opponent;
    contest->name = name;
    contest->size = size;
    g_ptr_array_add(contests, contest);
    return contest;
}

/* What both sides of a contest get. */
typedef struct {
    const BenchOptions *options;
    const BenchLine *line; /* (nullable) */
    const char *object;    /* (nullable): as -object takes it */
    const char *file;      /* (nullable): to remove after each run */
} Task;

/* Nanoseconds of a run; -1 with @error. */
typedef gint64 (*Side)(const Task *task, GError **error);

static guint threads_of(const BenchOptions *options)
{
    return g_array_index(options->threads, guint, 0);
}

static gint64 run_warm(Side side, const Task *task, GError **error)
{
    return side(task, error) < 0 ? -1 : side(task, error);
}

static gboolean run_pair(BenchContest *contest, const Task *task, Side ours,
                         Side theirs, GError **error)
{
    gint64 our_ns = run_warm(ours, task, error);
    gint64 their_ns = our_ns < 0 ? -1 : run_warm(theirs, task, error);

    if (their_ns < 0) {
        return FALSE;
    }
    bench_samples_add(&contest->ours, our_ns);
    bench_samples_add(&contest->theirs, their_ns);
    return TRUE;
}

static void run_pairs(BenchContest *contest, const Task *task, Side ours,
                      Side theirs)
{
    g_autoptr(GError) error = NULL;

    for (guint i = 0; i < task->options->runs; i++) {
        if (!run_pair(contest, task, ours, theirs, &error)) {
            contest->skipped = g_strdup(error->message);
            return;
        }
    }
}

/* Against QEMU */

static gint64 run_hostmemd(const Task *task, GError **error)
{
    const char *argv[] = {
        task->options->hostmemd,
        "--once",
        "--quiet",
        "-object",
        task->object,
        NULL,
    };

    return bench_process_run(argv, NULL, task->file, error);
}

static gint64 run_qemu(const Task *task, GError **error)
{
    const char *argv[] = {
        task->options->qemu,
        "-machine",
        "none",
        "-nodefaults",
        "-display",
        "none",
        "-S",
        "-qmp",
        "stdio",
        "-object",
        task->object,
        NULL,
    };

    return bench_process_run(argv, QUIT, task->file, error);
}

static void compare_nothing(const BenchOptions *options, GPtrArray *contests)
{
    const Task task = {.options = options, .object = NO_MEMORY};

    run_pairs(add_contest(contests, BENCH_AGAINST_QEMU,
                          g_strdup("without memory"), 0),
              &task, run_hostmemd, run_qemu);
}

static void compare_line(BenchContest *contest, const BenchOptions *options,
                         const BenchLine *line)
{
    const char *directory = bench_line_directory(line, options);
    g_autoptr(GError) error = NULL;
    g_autofree char *path = NULL;

    if (!bench_line_check(line, options, contest->size, &error)) {
        contest->skipped = g_strdup(error->message);
        return;
    }
    if (directory) {
        path = g_strdup_printf("%s/hostmem-bench-%08x%08x", directory,
                               g_random_int(), g_random_int());
    }
    g_autofree char *object =
        bench_line_text(line, path, contest->size, threads_of(options));
    const Task task = {.options = options, .object = object, .file = path};
    run_pairs(contest, &task, run_hostmemd, run_qemu);
}

static void compare_lines(const BenchOptions *options, GPtrArray *contests,
                          BenchProgress *progress)
{
    guint n;
    const BenchLine *lines = bench_lines(&n);

    for (guint i = 0; i < n; i++) {
        /* QEMU takes its time on a filesystem. */
        guint64 size = lines[i].place == BENCH_FILE_IN_DIRECTORY
                           ? options->size / 2
                           : options->size;
        BenchContest *contest =
            add_contest(contests, BENCH_AGAINST_QEMU,
                        bench_line_name(&lines[i], options), size);
        bench_progress_step(progress, "%s", contest->name);
        compare_line(contest, options, &lines[i]);
    }
}

/* Lines of the user */

/* (transfer full) (nullable): the value of a key in an -object line */
static char *find_value(const char *object, const char *key)
{
    g_autofree char *start = g_strdup_printf(",%s=", key);
    const char *found = strstr(object, start);
    GString *value;

    if (!found) {
        return NULL;
    }
    value = g_string_new(NULL);
    for (const char *at = found + strlen(start); *at; at++) {
        /* Two commas are one of the value. */
        if (*at == ',' && *++at != ',') {
            break;
        }
        g_string_append_c(value, *at);
    }
    return g_string_free(value, FALSE);
}

/* (transfer full) (nullable): the file that the object will create */
static char *find_new_file(const char *object)
{
    char *path = find_value(object, "mem-path");

    if (path && g_file_test(path, G_FILE_TEST_EXISTS)) {
        g_clear_pointer(&path, g_free);
    }
    return path;
}

static void compare_objects(const BenchOptions *options, GPtrArray *contests,
                            BenchProgress *progress)
{
    for (guint i = 0; i < options->objects->len; i++) {
        const char *object = options->objects->pdata[i];
        g_autofree char *file = find_new_file(object);
        g_autofree char *size_text = find_value(object, "size");
        guint64 size = 0;

        if (size_text) {
            hostmem_size_parse(size_text, &size, NULL);
        }
        const Task task = {.options = options, .object = object, .file = file};
        bench_progress_step(progress, "%s", object);
        run_pairs(
            add_contest(contests, BENCH_AGAINST_QEMU, g_strdup(object), size),
            &task, run_hostmemd, run_qemu);
    }
}

/* Against the kernel */

static gint64 run_own(const Task *task, GError **error)
{
    const char *method;

    return bench_line_populate(task->line, task->options, task->options->size,
                               threads_of(task->options), &method, error);
}

static gint64 run_method(const Task *task, const BenchMethod *method,
                         GError **error)
{
    return bench_measure(bench_kind_find(task->line->roof), method,
                         task->line->shared, task->options->size,
                         threads_of(task->options), task->options, error);
}

/* The faster of the two ways in which one populates by hand; a kernel may lack
 * the second. */
static gint64 run_kernel(const Task *task, GError **error)
{
    gint64 touch = run_method(task, bench_method_write(), error);
    gint64 advise =
        touch < 0 ? -1 : run_method(task, bench_method_populate_write(), NULL);

    return advise < 0 ? touch : MIN(touch, advise);
}

static void compare_roofs(const BenchOptions *options, GPtrArray *contests,
                          BenchProgress *progress)
{
    guint n;
    const BenchLine *lines = bench_lines(&n);

    for (guint i = 0; i < n; i++) {
        if (lines[i].roof) {
            g_autofree char *name = bench_line_name(&lines[i], options);
            BenchContest *contest = add_contest(
                contests, BENCH_AGAINST_KERNEL,
                g_strdup_printf("%s: %s", lines[i].roof, name), options->size);
            bench_progress_step(progress, "%s", contest->name);
            const Task task = {.options = options, .line = &lines[i]};
            run_pairs(contest, &task, run_own, run_kernel);
        }
    }
}

static guint count_steps(const BenchOptions *options)
{
    guint n;
    const BenchLine *lines = bench_lines(&n);
    guint steps = 2 + (options->objects->len ? options->objects->len : n);

    for (guint i = 0; i < n && !options->objects->len; i++) {
        steps += lines[i].roof != NULL;
    }
    return steps;
}

BenchReport *bench_compare_run(const BenchOptions *options)
{
    g_autoptr(GPtrArray) contests =
        g_ptr_array_new_with_free_func(free_contest);
    g_autoptr(BenchProgress) progress =
        bench_progress_new(options, count_steps(options));

    bench_progress_step(progress, "warming up");
    bench_warm_up(options);
    bench_progress_step(progress, "without memory");
    compare_nothing(options, contests);
    if (options->objects->len) {
        compare_objects(options, contests, progress);
    } else {
        compare_lines(options, contests, progress);
        compare_roofs(options, contests, progress);
    }
    return bench_compare_report(options, contests);
}
