/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <gio/gunixinputstream.h>
#include <glib-unix.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "hostmemd-convert.h"

/*
 * Domain XML to options, by libvirt.
 *
 *   hostmemd -libvirt-xml        never has libvirt in it
 *      │ starts                  hostmemd-domain.c
 *   hostmemd --print-libvirt-options
 *      │ forks, and waits for so long
 *   a worker in a sandbox        loads libvirt, whose driver runs QEMU
 *
 * libvirt's driver makes threads, files and an event loop, starts programs that
 * the XML names, and cannot be cancelled.  All of that is the worker's, and
 * goes with it: the process in the middle is the one that orphans come to, and
 * ends them all.  It reads the XML, and what the worker found: an answer in a
 * pipe.
 */

#define MAX_XML     (4u << 20)  /* bytes; what libvirt's own daemon takes */
#define MAX_ANSWER  (16u << 20) /* bytes */
#define QEMU_CONF   "/etc/libvirt/qemu.conf"
#define BACKING_KEY "memory_backing_dir"
#define BACKING_DIR "/var/lib/libvirt/qemu/ram"
#define INSIDE_DIR  "lib/qemu/ram" /* its name below the root */

/* The first bytes of an answer; then texts, each with a NUL at its end. */
#define SUCCESS (-1) /* or a HostmemError, with a message */

typedef struct {
    GMainLoop *loop;
    int fd; /* where the answer comes from */
    GByteArray *answer;
    guint seconds;
    gboolean timed_out;
    int signum; /* what ends us, or 0 */
} Wait;

static gboolean fail(GError **error, HostmemError code, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

static gboolean fail(GError **error, HostmemError code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *message = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, HOSTMEM_ERROR, code, message);
    return FALSE;
}

/* The XML */

static char *read_text(int fd, GError **error)
{
    g_autoptr(GInputStream) input = g_unix_input_stream_new(fd, FALSE);
    g_autofree char *text = g_malloc(MAX_XML + 2);
    gsize length;

    if (!g_input_stream_read_all(input, text, MAX_XML + 1, &length, NULL,
                                 error)) {
        return NULL;
    }
    if (length > MAX_XML) {
        fail(error, HOSTMEM_ERROR_LIMIT, "it has more than %u MiB",
             MAX_XML >> 20);
        return NULL;
    }
    text[length] = '\0';
    if (strlen(text) != length) {
        fail(error, HOSTMEM_ERROR_INVALID, "it is no text: it has a NUL byte");
        return NULL;
    }
    return g_steal_pointer(&text);
}

static char *read_xml(const char *file, GError **error)
{
    char *text;
    int fd;

    if (g_str_equal(file, "-")) {
        return read_text(STDIN_FILENO, error);
    }
    fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        fail(error, HOSTMEM_ERROR_NOT_FOUND, "cannot be opened: %s",
             g_strerror(errno));
        return NULL;
    }
    text = read_text(fd, error);
    close(fd);
    return text;
}

/* The worker */

static void put(int fd, const char *text, gsize length)
{
    while (length) {
        gssize n = write(fd, text, length);

        if (n < 0 && errno != EINTR) {
            return;
        }
        text += MAX(n, 0);
        length -= MAX(n, 0);
    }
}

static void answer(int fd, int code, const char *const *texts)
{
    put(fd, (const char *)&code, sizeof(code));
    for (; *texts; texts++) {
        put(fd, *texts, strlen(*texts) + 1);
    }
}

/* What libvirt does not see it says is not there. */
static void explain(const HmSandbox *sandbox, GError *error)
{
    g_autofree char *message = error->message;

    error->message =
        g_strdup_printf("%s%s", message,
                        sandbox->huge_mounts->len && !sandbox->has_mounts &&
                                strstr(message, "hugetlbfs")
                            ? "; it is shown to libvirt only with CAP_SYS_ADMIN"
                            : "");
}

static G_NORETURN void work(HmSandbox *sandbox, const char *xml, int fd)
{
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) argv = NULL;

    if (hm_sandbox_enter(sandbox, &error)) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        argv = hostmem_libvirt_domain_to_argv(xml, sandbox->root, &error);
    }
    if (argv) {
        answer(fd, SUCCESS, (const char *const *)argv);
    } else {
        explain(sandbox, error);
        answer(fd, error->code, (const char *const[]){error->message, NULL});
    }
    /* libvirt leaves threads behind, which an orderly exit would meet. */
    _exit(0);
}

/* Waiting for it */

static gboolean on_answer(int fd, G_GNUC_UNUSED GIOCondition condition,
                          gpointer data)
{
    Wait *self = data;
    guint8 buffer[4096];
    gssize n = read(fd, buffer, sizeof(buffer));

    if (n > 0 && self->answer->len < MAX_ANSWER) {
        g_byte_array_append(self->answer, buffer, n);
        return G_SOURCE_CONTINUE;
    }
    g_main_loop_quit(self->loop);
    return G_SOURCE_REMOVE;
}

static gboolean on_timeout(gpointer data)
{
    Wait *self = data;

    self->timed_out = TRUE;
    g_main_loop_quit(self->loop);
    return G_SOURCE_CONTINUE;
}

static gboolean on_sigterm(gpointer data)
{
    Wait *self = data;

    self->signum = SIGTERM;
    g_main_loop_quit(self->loop);
    return G_SOURCE_CONTINUE;
}

static gboolean on_sigint(gpointer data)
{
    Wait *self = data;

    self->signum = SIGINT;
    g_main_loop_quit(self->loop);
    return G_SOURCE_CONTINUE;
}

static void wait_for_answer(Wait *self)
{
    struct sigaction old;

    g_unix_fd_add(self->fd, G_IO_IN | G_IO_HUP, on_answer, self);
    g_timeout_add_seconds(self->seconds, on_timeout, self);
    g_unix_signal_add(SIGTERM, on_sigterm, self);
    if (sigaction(SIGHUP, NULL, &old) == 0 && old.sa_handler != SIG_IGN) {
        g_unix_signal_add(SIGHUP, on_sigterm, self);
    }
    g_unix_signal_add(SIGINT, on_sigint, self);
    g_main_loop_run(self->loop);
}

/* (transfer full): the texts of an answer; the last one may be cut. */
static char **read_texts(const GByteArray *bytes)
{
    g_autoptr(GPtrArray) texts = g_ptr_array_new();
    const char *at = (const char *)bytes->data + sizeof(int);
    const char *end = (const char *)bytes->data + bytes->len;

    while (at < end) {
        g_ptr_array_add(texts, g_strndup(at, end - at));
        at += strnlen(at, end - at) + 1;
    }
    g_ptr_array_add(texts, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&texts), FALSE);
}

static char **read_answer(const Wait *self, GError **error)
{
    g_auto(GStrv) texts = NULL;
    int code;

    if (self->signum) {
        fail(error, HOSTMEM_ERROR_SYSTEM, "interrupted");
        return NULL;
    }
    if (self->timed_out) {
        fail(error, HOSTMEM_ERROR_TIMED_OUT,
             "libvirt did not convert it within %u s; -libvirt-timeout gives "
             "it more time",
             self->seconds);
        return NULL;
    }
    if (self->answer->len < sizeof(code) || self->answer->len >= MAX_ANSWER) {
        fail(error, HOSTMEM_ERROR_SYSTEM,
             "libvirt ended without an answer: it has crashed, or was killed");
        return NULL;
    }
    memcpy(&code, self->answer->data, sizeof(code));
    texts = read_texts(self->answer);
    if (code != SUCCESS) {
        fail(error, code, "%s", texts[0] ? texts[0] : "no reason was given");
        return NULL;
    }
    return g_steal_pointer(&texts);
}

/* While this process has one thread. */
static gboolean start_worker(HmSandbox *sandbox, const char *xml, int *fd,
                             GError **error)
{
    int fds[2];
    pid_t pid;

    if (!g_unix_open_pipe(fds, FD_CLOEXEC, error)) {
        return FALSE;
    }
    pid = fork();
    if (pid == 0) {
        close(fds[0]);
        work(sandbox, xml, fds[1]);
    }
    hm_sandbox_adopt_offspring();
    close(fds[1]);
    *fd = fds[0];
    return pid > 0 ||
           fail(error, HOSTMEM_ERROR_SYSTEM, "fork: %s", g_strerror(errno));
}

static char **convert(HmSandbox *sandbox, const char *xml, guint seconds,
                      GError **error)
{
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    Wait wait = {.loop = loop, .answer = bytes, .seconds = seconds, .fd = -1};

    if (!start_worker(sandbox, xml, &wait.fd, error)) {
        return NULL;
    }
    wait_for_answer(&wait);
    hm_sandbox_end_offspring();
    close(wait.fd);
    return read_answer(&wait, error);
}

/* Where memory is */

/* (transfer full) (nullable): what a line of libvirt's configuration sets. */
static char *value_of(const char *line, const char *key)
{
    g_autofree char *pattern =
        g_strdup_printf("^\\s*%s\\s*=\\s*([\"'])(.*)\\1", key);
    g_autoptr(GRegex) regex = g_regex_new(pattern, 0, 0, NULL);
    g_autoptr(GMatchInfo) match = NULL;

    return g_regex_match(regex, line, 0, &match) ? g_match_info_fetch(match, 2)
                                                 : NULL;
}

/* (transfer full): where this host's libvirt keeps memory in files. */
static char *find_backing_dir(void)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    char *found = NULL;

    if (g_file_get_contents(QEMU_CONF, &text, NULL, NULL) &&
        g_utf8_validate(text, -1, NULL)) {
        lines = g_strsplit(text, "\n", -1);
        for (guint i = 0; lines[i] && !found; i++) {
            found = value_of(lines[i], BACKING_KEY);
        }
    }
    return found ? found : g_strdup(BACKING_DIR);
}

static char **pick_memory(const HmSandbox *sandbox, char **argv, GError **error)
{
    g_autofree char *backing_dir = find_backing_dir();
    g_autofree char *inside = g_build_filename(sandbox->root, INSIDE_DIR, NULL);
    g_autofree char *what =
        g_strdup_printf(BACKING_KEY " of its qemu.conf, %s", backing_dir);
    g_autoptr(GArray) places =
        g_array_new(FALSE, FALSE, sizeof(HostmemLibvirtPlace));
    HostmemLibvirtPlace place = {inside, NULL, what};

    if (g_file_test(backing_dir, G_FILE_TEST_IS_DIR)) {
        place.dir = backing_dir;
    }
    g_array_append_val(places, place);
    for (guint i = 0; i < sandbox->huge_mounts->len; i++) {
        const HmHugeMount *mount = sandbox->huge_mounts->pdata[i];

        place = (HostmemLibvirtPlace){mount->inside, mount->dir, NULL};
        g_array_append_val(places, place);
    }
    return hostmem_libvirt_memory_options(
        (const char *const *)argv,
        (HostmemLibvirtPlace *)(gpointer)places->data, places->len, error);
}

static char **options_of(const char *file, guint seconds, GError **error)
{
    g_autofree char *xml = read_xml(file, error);
    g_autoptr(HmSandbox) sandbox = xml ? hm_sandbox_new(error) : NULL;
    g_auto(GStrv) argv = sandbox ? convert(sandbox, xml, seconds, error) : NULL;

    return argv ? pick_memory(sandbox, argv, error) : NULL;
}

static gboolean print_options(char **options, GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (guint i = 0; options[i]; i++) {
        gboolean is_name = i % 2 == 0;
        g_autofree char *word =
            is_name ? g_strdup(options[i]) : g_shell_quote(options[i]);

        g_string_append_printf(text, "%s%c", word, is_name ? ' ' : '\n');
    }
    return hm_text_put(stdout, text->str, error);
}

gboolean hm_convert_print(const HmOptions *options, GError **error)
{
    const char *file = options->print_libvirt_options;
    g_auto(GStrv) found = options_of(file, options->libvirt_timeout, error);

    if (!found) {
        g_prefix_error(error, HM_CONVERT_OPTION " %s: ", file);
        return FALSE;
    }
    return print_options(found, error);
}
