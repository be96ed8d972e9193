/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "hostmemd.h"

/*
 * One row per option; parsing and --help come from it.
 *
 * An option is written with one dash, as QEMU does, or with two.  glibc has
 * getopt_long_only() for that, but it takes any unique beginning of a name as
 * well: a script that relies on it breaks when an option is added.
 */

typedef enum {
    FLAG,    /* gboolean */
    TEXT,    /* char *, the last one counts */
    LIST,    /* GPtrArray * of char * */
    SECONDS, /* guint, at least 1 */
} Kind;

typedef struct {
    const char *name; /* as --help shows it */
    char letter;      /* after one dash; 0: none */
    const char *argument;
    Kind kind;
    gsize offset;
    const char *help;
} Row;

#define DEFAULT_LIBVIRT_TIMEOUT 60 /* seconds */

#define FIELD(field)            G_STRUCT_OFFSET(HmOptions, field)

/* A row without a name is a heading. */
static const Row rows[] = {
    {.help = "Memory"},
    {"-object", 0, "TYPE,id=ID[,PROPERTY=VALUE]...", LIST, FIELD(objects),
     "Create a memory backend or a thread-context; may be\n"
     "repeated.  The value may be JSON.  '-object help' lists\n"
     "the types, '-object TYPE,help' the properties of one."},
    {"-device", 0, "DRIVER,memdev=ID[,id=ID][,PROPERTY=VALUE]...", LIST,
     FIELD(devices),
     "Create a virtio-mem device on a memory backend, after all\n"
     "objects; may be repeated.  '-device help' lists the\n"
     "drivers, '-device DRIVER,help' the properties of one."},
    {"-libvirt-xml", 0, "FILE", TEXT, FIELD(libvirt_xml),
     "Create the objects and devices that libvirt would ask QEMU\n"
     "for, for the domain whose XML this is; '-' is standard\n"
     "input."},
    {"-libvirt-timeout", 0, "SECONDS", SECONDS, FIELD(libvirt_timeout),
     "How long libvirt may take for that; 60 by default."},
    {"-export-dir", 0, "DIR[,size=SIZE]", TEXT, FIELD(export_dir),
     "Mount a tmpfs of huge pages on an empty directory, where\n"
     "other processes find memory by its export-path, and\n"
     "unmount it at the end.  It takes CAP_SYS_ADMIN."},
    {"-dtb", 0,
     "FILE[,per=range|numa-node][,qom-type=TYPE][,PROPERTY=VALUE]...", LIST,
     FIELD(dtbs),
     "Create a backend for each range of memory that a device\n"
     "tree has, or for each of its NUMA nodes: ram0, ram1... or\n"
     "ram-node0...; may be repeated.  The properties go to all\n"
     "of them, but id=PREFIX takes the place of 'ram'."},
    {"-dumpdtb", 0, "FILE[,dtb=FILE][,base=ADDRESS][,replace=on][,reserve=on]",
     TEXT, FIELD(dumpdtb),
     "Write a device tree that has the memory of all backends,\n"
     "when all is ready: a new one, or what is added to that of\n"
     "dtb.  The value may be JSON, as the arguments of dump-fdt."},
    {.help = "Control"},
    {"-qmp", 0, "ADDRESS", LIST, FIELD(qmp),
     "Serve QMP on unix:PATH[,server=on][,wait=off],\n"
     "tcp:HOST:PORT[,server=on][,wait=off], or stdio; may be\n"
     "repeated.  Clients are served while memory is populated."},
    {"--run", 0, "COMMAND", TEXT, FIELD(run),
     "Run a shell command when the memory is ready, and exit\n"
     "with its status.  In it, {ID} stands for a path that\n"
     "opens the memory of that backend, /proc/self/fd/N, and\n"
     "{ID:object} for a whole memory-backend-file with it."},
    {"--once", 0, NULL, FLAG, FIELD(once),
     "Exit when the memory is ready, after printing the table."},
    {.help = "Process"},
    {"-daemonize", 0, NULL, FLAG, FIELD(daemonize),
     "Go to the background; the command returns when the\n"
     "memory is ready, or has failed."},
    {"-pidfile", 0, "PATH", TEXT, FIELD(pidfile),
     "Write the process id to a file when the memory is ready;\n"
     "the file is locked, and removed at the end."},
    {"-restore-fds", 0, "NAME=N[,NAME=N]...", TEXT, FIELD(restore_fds),
     "Go on with the memory of an earlier process, from what\n"
     "whoever starts this one has kept: descriptors N by their\n"
     "names.  Empty: a service manager keeps them and passes\n"
     "them on; systemd says that itself from release 254 on."},
    {"-name", 0, "NAME", TEXT, FIELD(name),
     "Name of the process in ps and top (15 characters)."},
    {"--quiet", 0, NULL, FLAG, FIELD(quiet),
     "Print neither progress nor the table."},
    {.help = "Information"},
    {"--print-capabilities", 0, NULL, FLAG, FIELD(print_capabilities),
     "Print what this build and this host can do, as JSON."},
    {HM_CONVERT_OPTION, 0, "FILE", TEXT, FIELD(print_libvirt_options),
     "Print the options that '-libvirt-xml FILE' stands for."},
    {"--version", 'V', NULL, FLAG, FIELD(version), "Print the version."},
    {"--help", 'h', NULL, FLAG, FIELD(help), "Print this text."},
};

static const char help_head[] =
    "Usage: hostmemd [OPTION]...\n"
    "\n"
    "Create host memory for virtual machines, preallocate it, keep it and\n"
    "serve QMP.  An option may be written with one dash or with two, its\n"
    "argument after a blank or after '='.\n";

static const char help_tail[] =
    "\n"
    "Examples:\n"
    "  Preallocate 1 GiB over two threads and print what that took:\n"
    "    hostmemd --once -object memory-backend-memfd,id=m0,size=1G,"
    "prealloc=on,prealloc-threads=2\n"
    "  Start a virtual machine on memory that is ready:\n"
    "    hostmemd -object memory-backend-memfd,id=m0,size=4G,prealloc=on \\\n"
    "      --run 'qemu-system-x86_64 -m 4G -machine memory-backend=m0 \\\n"
    "        -object {m0:object}'\n"
    "\n"
    "The exit status is 0, or 1 after an error, or that of --run.\n";

/* The name without its dashes; NULL when @text is no option. */
static const char *bare_name(const char *text)
{
    if (text[0] != '-' || text[1] == '\0') {
        return NULL;
    }
    return text + (text[1] == '-' ? 2 : 1);
}

static gboolean row_has_name(const Row *row, const char *name, gsize length)
{
    if (!row->name) {
        return FALSE;
    }
    const char *own = bare_name(row->name);
    return (length == 1 && name[0] == row->letter) ||
           (strncmp(own, name, length) == 0 && own[length] == '\0');
}

/* @text may go on with "=VALUE". */
static const Row *find_row(const char *text)
{
    const char *name = bare_name(text);

    for (gsize i = 0; name && i < G_N_ELEMENTS(rows); i++) {
        if (row_has_name(&rows[i], name, strcspn(name, "="))) {
            return &rows[i];
        }
    }
    return NULL;
}

#define MAX_SECONDS (24 * 60 * 60)

/* FALSE when @value is none of the kind. */
static gboolean store(const Row *row, HmOptions *options, const char *value)
{
    guint64 number;
    gpointer field = G_STRUCT_MEMBER_P(options, row->offset);

    switch (row->kind) {
    case FLAG:
        *(gboolean *)field = TRUE;
        break;
    case TEXT:
        g_free(*(char **)field);
        *(char **)field = g_strdup(value);
        break;
    case LIST:
        g_ptr_array_add(*(GPtrArray **)field, g_strdup(value));
        break;
    case SECONDS:
        if (!g_ascii_string_to_unsigned(value, 10, 1, MAX_SECONDS, &number,
                                        NULL)) {
            return FALSE;
        }
        *(guint *)field = (guint)number;
        break;
    }
    return TRUE;
}

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

/* Takes one option and, where it has one, its argument off @argv. */
static gboolean parse_one(HmOptions *options, char ***argv, GError **error)
{
    const char *text = *(*argv)++;
    const Row *row = find_row(text);
    if (!row) {
        return refuse(error, "%s: %s; try --help", text,
                      bare_name(text) ? "invalid option"
                                      : "unexpected argument");
    }
    const char *equals = strchr(text, '=');
    if (row->kind == FLAG && equals) {
        return refuse(error, "%s: takes no argument", row->name);
    }
    const char *value = equals ? equals + 1 : NULL;
    if (row->kind != FLAG && !value && !(value = *(*argv)++)) {
        return refuse(error, "%s: requires an argument", row->name);
    }
    return store(row, options, value) ||
           refuse(error, "%s %s: takes a number of seconds, at most %d",
                  row->name, value, MAX_SECONDS);
}

static guint count_stdio(const HmOptions *options)
{
    guint n = 0;
    for (guint i = 0; i < options->qmp->len; i++) {
        n += g_str_equal(options->qmp->pdata[i], "stdio");
    }
    return n;
}

gboolean hm_options_qmp_on_stdio(const HmOptions *options)
{
    return count_stdio(options) > 0;
}

gboolean hm_options_are_idle(const HmOptions *options)
{
    return !options->objects->len && !options->devices->len &&
           !options->qmp->len && !options->libvirt_xml;
}

static gboolean check(const HmOptions *options, GError **error)
{
    guint stdio = count_stdio(options);

    if (options->once && options->run) {
        return refuse(error, "--once and --run do not go together: each says "
                             "when to exit");
    }
    if (options->daemonize && options->once) {
        return refuse(error, "--once and -daemonize do not go together: "
                             "nothing would stay in the background");
    }
    if (options->daemonize && options->run) {
        return refuse(error, "--run and -daemonize do not go together: nobody "
                             "would get the exit status");
    }
    if (stdio > 1) {
        return refuse(error, "-qmp stdio: only one session can have standard "
                             "input and output");
    }
    if (stdio && g_strcmp0(options->libvirt_xml, "-") == 0) {
        return refuse(error, "-qmp stdio does not go with -libvirt-xml -: only "
                             "one of them can have standard input");
    }
    if (stdio && (options->daemonize || options->run)) {
        return refuse(error, "-qmp stdio does not go with %s: %s",
                      options->run ? "--run" : "-daemonize",
                      options->run ? "the command has standard input and output"
                                   : "a background process has neither");
    }
    return TRUE;
}

static HmOptions *options_new(void)
{
    HmOptions *options = g_new0(HmOptions, 1);
    options->objects = g_ptr_array_new_with_free_func(g_free);
    options->devices = g_ptr_array_new_with_free_func(g_free);
    options->dtbs = g_ptr_array_new_with_free_func(g_free);
    options->qmp = g_ptr_array_new_with_free_func(g_free);
    options->libvirt_timeout = DEFAULT_LIBVIRT_TIMEOUT;
    return options;
}

HmOptions *hm_options_parse(char **argv, GError **error)
{
    g_autoptr(HmOptions) options = options_new();

    if (*argv) {
        argv++;
    }
    while (*argv) {
        if (!parse_one(options, &argv, error)) {
            return NULL;
        }
    }
    if (!check(options, error)) {
        return NULL;
    }
    return g_steal_pointer(&options);
}

void hm_options_free(HmOptions *options)
{
    g_ptr_array_unref(options->objects);
    g_ptr_array_unref(options->devices);
    g_ptr_array_unref(options->dtbs);
    g_ptr_array_unref(options->qmp);
    g_free(options->dumpdtb);
    g_free(options->export_dir);
    g_free(options->name);
    g_free(options->pidfile);
    g_free(options->run);
    g_free(options->restore_fds);
    g_free(options->libvirt_xml);
    g_free(options->print_libvirt_options);
    g_free(options);
}

static void append_help(GString *text, const Row *row)
{
    if (!row->name) {
        g_string_append_printf(text, "\n%s:\n", row->help);
        return;
    }
    g_string_append(text, "  ");
    if (row->letter) {
        g_string_append_printf(text, "-%c, ", row->letter);
    }
    g_string_append(text, row->name);
    if (row->argument) {
        g_string_append_printf(text, " %s", row->argument);
    }
    g_auto(GStrv) lines = g_strsplit(row->help, "\n", -1);
    for (char **line = lines; *line; line++) {
        g_string_append_printf(text, "\n          %s", *line);
    }
    g_string_append_c(text, '\n');
}

char *hm_options_help(void)
{
    GString *text = g_string_new(help_head);

    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        append_help(text, &rows[i]);
    }
    g_string_append(text, help_tail);
    return g_string_free(text, FALSE);
}
