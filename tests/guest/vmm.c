/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The command line, and the main loop that waits for lines. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "vmm.h"

typedef struct {
    char *kernel;
    char *initramfs;
    char *append;
    char **objects;
    char *device;
    char *ram;
} Options;

typedef struct {
    HostmemRegistry *registry;
    VmmMachineConfig config;
    VmmMachine *machine;
    GMainLoop *loop;
    int status;
} Vmm;

/* what happens */

static void on_line(const char *line, G_GNUC_UNUSED gpointer user_data)
{
    vmm_say("guest", line);
}

static gboolean quit(gpointer data)
{
    g_main_loop_quit(data);
    return G_SOURCE_REMOVE;
}

static void on_end(VmmAction action, const char *why, gpointer user_data)
{
    Vmm *self = user_data;

    if (action == VMM_FAILED) {
        fprintf(stderr, "vmm: %s\n", why);
        self->status = EXIT_FAILURE;
    }
    g_idle_add(quit, self->loop);
}

static gboolean on_input(GIOChannel *input, G_GNUC_UNUSED GIOCondition cause,
                         gpointer data)
{
    Vmm *self = data;
    g_autofree char *line = NULL;

    if (g_io_channel_read_line(input, &line, NULL, NULL, NULL) ==
            G_IO_STATUS_NORMAL &&
        vmm_command(self->machine, self->config.mem, g_strchomp(line))) {
        return G_SOURCE_CONTINUE;
    }
    g_main_loop_quit(self->loop);
    return G_SOURCE_REMOVE;
}

/* setting up */

static void clear_options(Options *options)
{
    g_free(options->kernel);
    g_free(options->initramfs);
    g_free(options->append);
    g_strfreev(options->objects);
    g_free(options->ram);
    g_free(options->device);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Options, clear_options)

static gboolean parse(Options *options, int *argc, char ***argv, GError **error)
{
    const GOptionEntry entries[] = {
        {"kernel", 0, 0, G_OPTION_ARG_FILENAME, &options->kernel,
         "what to boot, a bzImage", "FILE"},
        {"initramfs", 0, 0, G_OPTION_ARG_FILENAME, &options->initramfs,
         "its first files", "FILE"},
        {"append", 0, 0, G_OPTION_ARG_STRING, &options->append,
         "its command line", "TEXT"},
        {"object", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options->objects,
         "memory, as -object of hostmemd; repeated", "TEXT"},
        {"ram", 0, 0, G_OPTION_ARG_STRING, &options->ram,
         "the object that is RAM from the start", "ID"},
        {"device", 0, 0, G_OPTION_ARG_STRING, &options->device,
         "a virtio-mem, as -device of hostmemd", "TEXT"},
        {NULL},
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, argc, argv, error)) {
        return FALSE;
    }
    if (!options->kernel || !options->ram || !options->device) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED,
                    "--kernel, --ram and --device are needed");
        return FALSE;
    }
    return TRUE;
}

static GBytes *read_file(const char *path, GError **error)
{
    g_autoptr(GMappedFile) file = g_mapped_file_new(path, FALSE, error);
    return file ? g_mapped_file_get_bytes(file) : NULL;
}

static gboolean read_boot(VmmBoot *boot, const Options *options, GError **error)
{
    boot->command_line = options->append ?: "";
    boot->kernel = read_file(options->kernel, error);
    if (boot->kernel && options->initramfs) {
        boot->initramfs = read_file(options->initramfs, error);
    }
    return boot->kernel && (boot->initramfs || !options->initramfs);
}

/* RAM is a backend, what may be plugged is a device on another one. */
static gboolean make_memory(Vmm *self, const Options *options, GError **error)
{
    HostmemDevice *device;

    for (char **text = options->objects; text && *text; text++) {
        if (!hostmem_registry_add(self->registry, *text, NULL, error)) {
            return FALSE;
        }
    }
    self->config.ram = hostmem_registry_lookup(self->registry, options->ram,
                                               HOSTMEM_TYPE_BACKEND, error);
    if (!self->config.ram) {
        return FALSE;
    }
    device = hostmem_registry_add_device(self->registry, options->device, NULL,
                                         error);
    self->config.mem = device ? HOSTMEM_VIRTIO_MEM(device) : NULL;
    return device != NULL;
}

static gboolean run(Vmm *self, const Options *options, GError **error)
{
    if (!read_boot(&self->config.boot, options, error) ||
        !make_memory(self, options, error)) {
        return FALSE;
    }
    self->config.line = on_line;
    self->config.end = on_end;
    self->config.user_data = self;
    self->machine = vmm_machine_new(&self->config, error);
    if (!self->machine) {
        return FALSE;
    }
    g_autoptr(GIOChannel) input = g_io_channel_unix_new(STDIN_FILENO);
    g_io_add_watch(input, G_IO_IN | G_IO_HUP, on_input, self);
    g_main_loop_run(self->loop);
    return TRUE;
}

static void clear(Vmm *self)
{
    g_clear_pointer(&self->machine, vmm_machine_free);
    g_clear_object(&self->registry);
    g_clear_pointer(&self->config.boot.kernel, g_bytes_unref);
    g_clear_pointer(&self->config.boot.initramfs, g_bytes_unref);
    g_clear_pointer(&self->loop, g_main_loop_unref);
}

int main(int argc, char **argv)
{
    g_auto(Options) options = {0};
    g_autoptr(GError) error = NULL;
    Vmm self = {
        .registry = hostmem_registry_new(),
        .loop = g_main_loop_new(NULL, FALSE),
    };

    if (!parse(&options, &argc, &argv, &error) ||
        !run(&self, &options, &error)) {
        fprintf(stderr, "vmm: %s\n", error->message);
        self.status = EXIT_FAILURE;
    }
    clear(&self);
    return self.status;
}
