/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>
#include "hostmemd.h"

/* Descriptors that GLib's main loop and threads must have, or they abort. */
#define MIN_FDS          32

#define MAX_PROCESS_NAME 15

/* A descriptor below 3 that something else got would be printed into. */
static void ensure_stdio(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) {
        close(fd);
    }
}

static gboolean check_descriptors(GError **error)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < MIN_FDS) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_LIMIT,
                    "the limit on open files (RLIMIT_NOFILE) is %ju, and %d "
                    "are needed",
                    (uintmax_t)limit.rlim_cur, MIN_FDS);
        return FALSE;
    }
    return TRUE;
}

static gpointer do_nothing(gpointer data)
{
    return data;
}

/* GLib aborts when it gets no thread for its own worker. */
static gboolean check_threads(GError **error)
{
    GThread *thread = g_thread_try_new("probe", do_nothing, NULL, error);
    if (!thread) {
        return FALSE;
    }
    g_thread_join(thread);
    return TRUE;
}

/* An option that makes things, and has help of its own. */
typedef struct {
    const char *option;
    char *(*help)(const char *type);
    const char *before; /* what an error says before the type, and after */
    const char *after;
} Maker;

static const Maker object_maker = {
    "-object", hostmem_object_types_help,
    "Parameter 'qom-type' does not accept value ", ""};
static const Maker device_maker = {"-device", hostmem_device_types_help,
                                   "Device ", " not found"};

/* Sets @text when a value asks for help instead of memory. */
static gboolean find_help(const Maker *maker, const char *value, char **text,
                          GError **error)
{
    const char *comma = strchr(value, ',');

    if (g_str_equal(value, "help") || g_str_equal(value, "?")) {
        *text = maker->help(NULL);
    } else if (g_strcmp0(comma, ",help") == 0 || g_strcmp0(comma, ",?") == 0) {
        g_autofree char *type = g_strndup(value, comma - value);
        *text = maker->help(type);
        if (!*text) {
            g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NOT_FOUND,
                        "%s %s: %s'%s'%s", maker->option, value, maker->before,
                        type, maker->after);
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean find_help_in(const Maker *maker, GPtrArray *values, char **text,
                             GError **error)
{
    for (guint i = 0; i < values->len && !*text; i++) {
        if (!find_help(maker, values->pdata[i], text, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* Sets @text when the command line asks for words instead of a daemon. */
static gboolean find_information(const HmOptions *options, char **text,
                                 GError **error)
{
    if (options->help) {
        *text = hm_options_help();
    } else if (options->version) {
        *text = g_strdup_printf("hostmemd version %s\n", hostmem_version());
    } else if (options->print_capabilities) {
        *text = hostmem_capabilities();
    }
    return find_help_in(&object_maker, options->objects, text, error) &&
           find_help_in(&device_maker, options->devices, text, error);
}

static void set_process_name(const char *name)
{
    char process_name[MAX_PROCESS_NAME + 1];
    g_strlcpy(process_name, name, sizeof(process_name));
    prctl(PR_SET_NAME, process_name);
}

static gboolean check_purpose(const HmOptions *options, GPtrArray *inherited,
                              GError **error)
{
    if (!inherited->len && hm_options_are_idle(options)) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID,
                    "nothing to do: give -object or -qmp; try --help");
        return FALSE;
    }
    return TRUE;
}

static int daemon_main(const HmOptions *options, GError **error)
{
    g_autoptr(GPtrArray) inherited = hm_inherited_take(error);
    int ready_fd = -1;

    if (inherited && options->restore_fds &&
        !hm_store_parse_fds(options->restore_fds, inherited, error)) {
        return EXIT_FAILURE;
    }
    if (!inherited || !check_purpose(options, inherited, error) ||
        !check_descriptors(error) ||
        (options->pidfile && !hm_pidfile_check(options->pidfile, error))) {
        return EXIT_FAILURE;
    }
    if (options->daemonize && (ready_fd = hm_daemonize_begin(error)) < 0) {
        return EXIT_FAILURE;
    }
    if (!check_threads(error)) {
        return EXIT_FAILURE;
    }
    if (options->name) {
        set_process_name(options->name);
    }
    return hm_serve(options, inherited, ready_fd);
}

static int run(char **argv, GError **error)
{
    g_autoptr(HmOptions) options = hm_options_parse(argv, error);
    g_autofree char *text = NULL;

    if (!options || !find_information(options, &text, error)) {
        return EXIT_FAILURE;
    }
    if (text) {
        return hm_text_put(stdout, text, error) ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    if (options->print_libvirt_options) {
        return hm_convert_print(options, error) ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    if (!hm_fdt_append_objects(options, error)) {
        return EXIT_FAILURE;
    }
    return daemon_main(options, error);
}

int main(G_GNUC_UNUSED int argc, char **argv)
{
    g_autoptr(GError) error = NULL;

    ensure_stdio();
    /* Beyond RLIMIT_FSIZE a write shall fail, not kill. */
    signal(SIGXFSZ, SIG_IGN);
    g_set_prgname("hostmemd");
    g_log_writer_default_set_use_stderr(TRUE);
    int status = run(argv, &error);
    if (error) {
        fprintf(stderr, "hostmemd: %s\n", error->message);
        hm_notify_status(error->message);
    }
    return status;
}
