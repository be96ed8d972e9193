/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <unistd.h>
#include "bench.h"

#define DEFAULT_RUNS      3
#define DEFAULT_RUNS_FULL 5
#define DEFAULT_SIZE      (512 * BENCH_MIB)
#define DEFAULT_SIZE_FULL (4 * BENCH_GIB)
#define DEFAULT_DIRECTORY "/var/tmp"
#define DEFAULT_QEMU      "qemu-system-x86_64"
#define AGAINST_THREADS   2
#define MIN_SIZE          (2 * BENCH_MIB)
#define MAX_SIZE          (1024 * BENCH_GIB)
#define MAX_THREADS       1024

/* As they are written, before they are checked. */
typedef struct {
    char *threads;
    char *runs;
    char *size;
    gboolean json;
    gboolean csv;
    char **objects;
    char **rest;
} Words;

static GOptionContext *context_new(BenchOptions *self, Words *words)
{
    const GOptionEntry entries[] = {
        {"threads", 't', 0, G_OPTION_ARG_STRING, &words->threads,
         "Thread counts [1 and usable CPUs; with a word: 2]", "N[,N]..."},
        {"runs", 'n', 0, G_OPTION_ARG_STRING, &words->runs,
         "Runs of each measurement [3; with --full: 5]", "N"},
        {"size", 's', 0, G_OPTION_ARG_STRING, &words->size,
         "Large size [512M; --full, compare, pool: 4G]", "SIZE"},
        {"dir", 'd', 0, G_OPTION_ARG_FILENAME, &self->directory,
         "Where regular files go [" DEFAULT_DIRECTORY "]", "DIR"},
        {"full", 0, 0, G_OPTION_ARG_NONE, &self->full,
         "Measure every method, however long it takes", NULL},
        {"json", 0, 0, G_OPTION_ARG_NONE, &words->json,
         "Print JSON: facts, notes, roofs and results", NULL},
        {"csv", 0, 0, G_OPTION_ARG_NONE, &words->csv,
         "Print CSV: the results alone", NULL},
        {"plot", 0, 0, G_OPTION_ARG_FILENAME, &self->plot,
         "Draw the results too", "FILE.svg"},
        {"quiet", 'q', 0, G_OPTION_ARG_NONE, &self->quiet,
         "Show no progress on the terminal", NULL},
        {"object", 'o', 0, G_OPTION_ARG_STRING_ARRAY, &words->objects,
         "Compare this -object line; may be repeated", "LINE"},
        {"qemu", 0, 0, G_OPTION_ARG_FILENAME, &self->qemu,
         "Compare with this program [" DEFAULT_QEMU "]", "PATH"},
        {"hostmemd", 0, 0, G_OPTION_ARG_FILENAME, &self->hostmemd,
         "Compare this program [beside hostmem-bench]", "PATH"},
        {"version", 'V', 0, G_OPTION_ARG_NONE, &self->version,
         "Print the version", NULL},
        {"help", 'h', 0, G_OPTION_ARG_NONE, &self->help, "Print this text",
         NULL},
        {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_STRING_ARRAY, &words->rest,
         NULL, NULL},
        {NULL},
    };
    GOptionContext *context =
        g_option_context_new("[compare|plug|unplug|pool|snapshot]");

    g_option_context_set_help_enabled(context, FALSE);
    g_option_context_add_main_entries(context, entries, NULL);
    g_option_context_set_summary(
        context, "Measure what populating memory costs on this host: each kind "
                 "of memory by\neach method.  With \"compare\", measure "
                 "hostmemd against QEMU; with \"plug\" or\n\"unplug\", "
                 "virtio-mem against QEMU's; with \"pool\", memory that is "
                 "ready against\nthe kernel and QEMU; with \"snapshot\", "
                 "memory that is saved while threads write\nto it against "
                 "stopping them.");
    g_option_context_set_description(
        context, "The exit status is 0, or 1 after an error.  What this host "
                 "cannot do is left\nout, and the reason said.");
    return context;
}

static void words_clear(Words *words)
{
    g_free(words->threads);
    g_free(words->runs);
    g_free(words->size);
    g_strfreev(words->objects);
    g_strfreev(words->rest);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Words, words_clear)

static gboolean refuse(GError **error, const char *format, ...)
    G_GNUC_PRINTF(2, 3);

static gboolean refuse(GError **error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *message = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID, message);
    return FALSE;
}

static gboolean parse_number(const char *option, const char *text, guint max,
                             guint *number, GError **error)
{
    guint64 value;

    if (!g_ascii_string_to_unsigned(text, 10, 1, max, &value, NULL)) {
        return refuse(error, "%s: '%s' is not a number from 1 to %u", option,
                      text, max);
    }
    *number = value;
    return TRUE;
}

static void set_default_threads(BenchOptions *self)
{
    guint one = 1;
    guint all = self->mode == BENCH_GRID ? bench_host_cpus() : AGAINST_THREADS;

    if (self->mode == BENCH_GRID && all > 1) {
        g_array_append_val(self->threads, one);
    }
    g_array_append_val(self->threads, all);
}

static gboolean parse_threads(BenchOptions *self, const char *text,
                              GError **error)
{
    g_auto(GStrv) words = g_strsplit(text, ",", -1);

    for (char **word = words; *word; word++) {
        guint n;
        if (!parse_number("--threads", *word, MAX_THREADS, &n, error)) {
            return FALSE;
        }
        g_array_append_val(self->threads, n);
    }
    if (self->mode != BENCH_GRID && self->threads->len != 1) {
        return refuse(error, "--threads: with a word, it takes one number");
    }
    return self->threads->len || refuse(error, "--threads: no number is given");
}

static gboolean parse_size(BenchOptions *self, const char *text, GError **error)
{
    if (!hostmem_size_parse(text, &self->size, error)) {
        g_prefix_error(error, "--size: ");
        return FALSE;
    }
    if (self->size < MIN_SIZE || self->size > MAX_SIZE ||
        self->size % MIN_SIZE != 0) {
        return refuse(
            error, "--size: '%s' is not a multiple of 2 MiB up to 1 TiB", text);
    }
    return TRUE;
}

static gboolean find_mode(BenchOptions *self, const char *word)
{
    static const char *const words[] = {
        [BENCH_GRID] = "",     [BENCH_COMPARE] = "compare",
        [BENCH_PLUG] = "plug", [BENCH_UNPLUG] = "unplug",
        [BENCH_POOL] = "pool", [BENCH_SNAPSHOT] = "snapshot",
    };

    for (guint i = BENCH_GRID + 1; i < G_N_ELEMENTS(words); i++) {
        if (g_str_equal(word, words[i])) {
            self->mode = i;
        }
    }
    return self->mode != BENCH_GRID;
}

static gboolean parse_mode(BenchOptions *self, char **rest, GError **error)
{
    if (!rest || !rest[0]) {
        return TRUE;
    }
    guint taken = find_mode(self, rest[0]);
    return !rest[taken] ||
           refuse(error, "%s: unexpected argument; try --help", rest[taken]);
}

static gboolean take_objects(BenchOptions *self, char **objects, GError **error)
{
    for (char **line = objects; line && *line; line++) {
        if ((*line)[0] == '{') {
            return refuse(error, "--object: JSON is not taken here; write "
                                 "TYPE,id=ID,PROPERTY=VALUE...");
        }
        g_ptr_array_add(self->objects, g_strdup(*line));
    }
    if (self->mode != BENCH_COMPARE && (self->objects->len || self->hostmemd)) {
        return refuse(error, "--object and --hostmemd go with 'compare' only");
    }
    if (self->mode == BENCH_GRID && self->qemu) {
        return refuse(error, "--qemu goes with 'compare', 'plug', 'unplug', "
                             "'pool' and 'snapshot'");
    }
    return TRUE;
}

/* A VM is to be compared with a VM. */
static gboolean is_large(const BenchOptions *self)
{
    return self->full || self->mode == BENCH_COMPARE ||
           self->mode == BENCH_POOL;
}

static gboolean take_words(BenchOptions *self, const Words *words,
                           GError **error)
{
    if (words->json && words->csv) {
        return refuse(error, "--json and --csv do not go together");
    }
    self->format = words->json  ? BENCH_JSON
                   : words->csv ? BENCH_CSV
                                : BENCH_TEXT;
    self->runs = self->full ? DEFAULT_RUNS_FULL : DEFAULT_RUNS;
    if (words->runs && !parse_number("--runs", words->runs, BENCH_MAX_RUNS,
                                     &self->runs, error)) {
        return FALSE;
    }
    self->size = is_large(self) ? DEFAULT_SIZE_FULL : DEFAULT_SIZE;
    if (words->size && !parse_size(self, words->size, error)) {
        return FALSE;
    }
    self->asked_size = self->size;
    if (!words->threads) {
        set_default_threads(self);
        return TRUE;
    }
    return parse_threads(self, words->threads, error);
}

static gboolean check_directory(const char *option, const char *path,
                                GError **error)
{
    if (!g_file_test(path, G_FILE_TEST_IS_DIR)) {
        return refuse(error, "%s: %s is not a directory", option, path);
    }
    if (access(path, W_OK | X_OK) < 0) {
        return refuse(error, "%s: cannot write in %s", option, path);
    }
    return TRUE;
}

static gboolean check_plot(const char *path, GError **error)
{
    g_autofree char *directory = g_path_get_dirname(path);

    if (g_file_test(path, G_FILE_TEST_IS_DIR)) {
        return refuse(error, "--plot: %s is a directory", path);
    }
    return check_directory("--plot", directory, error);
}

/* Before minutes of measuring, rather than after. */
static gboolean check_files(const BenchOptions *self, GError **error)
{
    if (!check_directory("--dir", self->directory, error)) {
        return FALSE;
    }
    return !self->plot || check_plot(self->plot, error);
}

/* Takes @path. */
static char *find_program(char *path, const char *fallback)
{
    g_autofree char *name = path ? path : g_strdup(fallback);
    char *found = g_find_program_in_path(name);

    return found ? found : g_steal_pointer(&name);
}

static char *beside_us(const char *name)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *directory = g_path_get_dirname(self ? self : "");
    g_autofree char *path = g_build_filename(directory, name, NULL);

    return g_file_test(path, G_FILE_TEST_IS_EXECUTABLE) ? g_steal_pointer(&path)
                                                        : g_strdup(name);
}

static gboolean check_program(const char *option, const char *path,
                              GError **error)
{
    if (g_file_test(path, G_FILE_TEST_IS_EXECUTABLE)) {
        return TRUE;
    }
    return refuse(error, "%s: there is no program '%s'", option, path);
}

static gboolean find_hostmemd(BenchOptions *self, GError **error)
{
    g_autofree char *ours = beside_us("hostmemd");

    self->hostmemd = find_program(self->hostmemd, ours);
    return check_program("--hostmemd", self->hostmemd, error);
}

/* Without QEMU a virtio-mem of ours can be measured alone. */
static gboolean find_qemu(BenchOptions *self, GError **error)
{
    gboolean needed = self->qemu || self->mode == BENCH_COMPARE;

    self->qemu = find_program(self->qemu, DEFAULT_QEMU);
    return !needed || check_program("--qemu", self->qemu, error);
}

static gboolean find_programs(BenchOptions *self, GError **error)
{
    if (self->mode == BENCH_COMPARE && !find_hostmemd(self, error)) {
        return FALSE;
    }
    return self->mode == BENCH_GRID || find_qemu(self, error);
}

static BenchOptions *options_new(void)
{
    BenchOptions *self = g_new0(BenchOptions, 1);

    self->threads = g_array_new(FALSE, FALSE, sizeof(guint));
    self->objects = g_ptr_array_new_with_free_func(g_free);
    return self;
}

BenchOptions *bench_options_parse(char **argv, GError **error)
{
    g_autoptr(BenchOptions) self = options_new();
    g_auto(Words) words = {0};
    g_autoptr(GOptionContext) context = context_new(self, &words);
    g_auto(GStrv) args = g_strdupv(argv);

    if (!g_option_context_parse_strv(context, &args, error)) {
        g_prefix_error(error, "command line: ");
        return NULL;
    }
    if (self->help || self->version) {
        return g_steal_pointer(&self);
    }
    if (!self->directory) {
        self->directory = g_strdup(DEFAULT_DIRECTORY);
    }
    if (!parse_mode(self, words.rest, error) ||
        !take_objects(self, words.objects, error) ||
        !take_words(self, &words, error) || !check_files(self, error) ||
        !find_programs(self, error)) {
        return NULL;
    }
    return g_steal_pointer(&self);
}

void bench_options_free(BenchOptions *self)
{
    g_array_unref(self->threads);
    g_ptr_array_unref(self->objects);
    g_free(self->directory);
    g_free(self->plot);
    g_free(self->qemu);
    g_free(self->hostmemd);
    g_free(self);
}

char *bench_options_help(void)
{
    g_autoptr(BenchOptions) self = options_new();
    g_auto(Words) words = {0};
    g_autoptr(GOptionContext) context = context_new(self, &words);
    g_autofree char *help = g_option_context_get_help(context, TRUE, NULL);
    g_auto(GStrv) parts = g_strsplit(help, "…", 2);

    /* Plain ASCII, whatever the locale. */
    return g_strjoinv("...", parts);
}
