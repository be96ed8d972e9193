/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include "hostmemd.h"

/* See hostmemd-convert.c, which runs in the process that is started here. */

#define SELF "/proc/self/exe"

typedef struct {
    const char *file; /* borrowed */
    GSubprocess *process;
    GCancellable *cancellable;
    gulong cancelled_id;
} Read;

static void read_free(gpointer data)
{
    Read *self = data;

    g_cancellable_disconnect(self->cancellable, self->cancelled_id);
    g_clear_object(&self->cancellable);
    g_clear_object(&self->process);
    g_free(self);
}

/* What GLib has reset since: nohup(1) means the child as well. */
static gboolean ignores_hangup(void)
{
    struct sigaction now;

    return sigaction(SIGHUP, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

/* When we are killed it puts things in order, and goes. */
static void set_up(gpointer ignores_hangup)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (ignores_hangup) {
        signal(SIGHUP, SIG_IGN);
    }
}

static void on_cancelled(G_GNUC_UNUSED GCancellable *cancellable, gpointer data)
{
    g_subprocess_send_signal(data, SIGTERM);
}

/* Its message, without the words that are about it. */
static void set_error(GTask *task, const char *file, const char *message)
{
    g_autofree char *prefix =
        g_strdup_printf("hostmemd: " HM_CONVERT_OPTION " %s: ", file);
    g_autofree char *text = g_strdup(message);
    const char *reason = text;

    g_strchomp(text);
    if (g_str_has_prefix(text, prefix)) {
        reason = text + strlen(prefix);
    }
    g_task_return_new_error(task, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID,
                            "-libvirt-xml %s: %s", file,
                            *reason ? reason : "the conversion was killed");
}

static void on_end(GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr(GTask) task = data;
    Read *self = g_task_get_task_data(task);
    g_autofree char *output = NULL;
    g_autofree char *message = NULL;
    GError *error = NULL;
    char **options = NULL;

    if (!g_subprocess_communicate_utf8_finish(G_SUBPROCESS(source), result,
                                              &output, &message, &error)) {
        g_task_return_error(task, error);
    } else if (!g_subprocess_get_successful(G_SUBPROCESS(source))) {
        set_error(task, self->file, message);
    } else {
        g_shell_parse_argv(output, NULL, &options, NULL);
        g_task_return_pointer(task, options ? options : g_new0(char *, 1),
                              (GDestroyNotify)g_strfreev);
    }
}

static GSubprocess *spawn(const HmOptions *options, GError **error)
{
    g_autoptr(GSubprocessLauncher) launcher = g_subprocess_launcher_new(
        G_SUBPROCESS_FLAGS_STDIN_INHERIT | G_SUBPROCESS_FLAGS_STDOUT_PIPE |
        G_SUBPROCESS_FLAGS_STDERR_PIPE);
    g_autofree char *seconds = g_strdup_printf("%u", options->libvirt_timeout);

    g_subprocess_launcher_set_child_setup(
        launcher, set_up, GINT_TO_POINTER(ignores_hangup()), NULL);
    g_subprocess_launcher_unsetenv(launcher, "NOTIFY_SOCKET");
    return g_subprocess_launcher_spawn(launcher, error, SELF, HM_CONVERT_OPTION,
                                       options->libvirt_xml, "-libvirt-timeout",
                                       seconds, NULL);
}

void hm_domain_read_async(const HmOptions *options, GCancellable *cancellable,
                          GAsyncReadyCallback callback, gpointer user_data)
{
    g_autoptr(GTask) task = g_task_new(NULL, cancellable, callback, user_data);
    Read *self = g_new0(Read, 1);
    GError *error = NULL;

    g_task_set_task_data(task, self, read_free);
    self->file = options->libvirt_xml;
    self->cancellable = g_object_ref(cancellable);
    self->process = spawn(options, &error);
    if (!self->process) {
        g_task_return_error(task, error);
        return;
    }
    self->cancelled_id =
        g_cancellable_connect(cancellable, G_CALLBACK(on_cancelled),
                              g_object_ref(self->process), g_object_unref);
    g_subprocess_communicate_utf8_async(self->process, NULL, NULL, on_end,
                                        g_steal_pointer(&task));
}

char **hm_domain_read_finish(GAsyncResult *result, GError **error)
{
    return g_task_propagate_pointer(G_TASK(result), error);
}
