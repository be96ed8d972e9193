/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hostmemctl.h"

static const char head[] =
    "Usage: hostmemctl [--connect ADDRESS] COMMAND [ARGUMENT]...\n"
    "\n"
    "Drive a hostmemd over QMP, and a QEMU as far as both understand it; or\n"
    "the memory of domains, over libvirt.\n"
    "Options may stand before or behind their arguments, and '--' ends them.\n";

static const char tail[] =
    "\n"
    "Examples:\n"
    "  export HOSTMEM_QMP=unix:/run/hostmem/qmp.sock\n"
    "  hostmemctl add memory-backend-memfd,id=m0,size=4G,prealloc=on\n"
    "  hostmemctl add --device virtio-mem,id=vm0,memdev=m0\n"
    "  hostmemctl plug vm0 1G --wait\n"
    "  hostmemctl status --watch\n"
    "  hostmemctl exec m1 -- qemu-system-x86_64 -object {m1:object} ...\n"
    "  hostmemctl attach /run/vm7.sock m2\n"
    "  hostmemctl domain plug vm7 8G --wait --connect qemu+ssh://host/system\n"
    "\n"
    "The exit status is 0, or 1 after an error, or that of the program that a\n"
    "command runs.\n";

static void append_lines(GString *text, const char *indent, const char *help)
{
    g_auto(GStrv) lines = g_strsplit(help, "\n", -1);

    for (char **line = lines; *line; line++) {
        g_string_append_printf(text, "%s%s\n", indent, *line);
    }
}

static void append_option(GString *text, const CtlOption *row,
                          const char *indent)
{
    g_autofree char *deeper = g_strconcat(indent, "        ", NULL);

    g_string_append(text, indent);
    if (row->letter) {
        g_string_append_printf(text, "-%c, ", row->letter);
    }
    g_string_append_printf(text, "%s%s%s\n", row->name,
                           ctl_option_needs_argument(row) ? " " : "",
                           row->argument ? row->argument : "");
    append_lines(text, deeper, row->help);
}

static void append_options(GString *text, const CtlOption *rows,
                           const char *indent)
{
    for (const CtlOption *row = rows; row && row->name; row++) {
        append_option(text, row, indent);
    }
}

/* "ID [PROPERTY]", "ID... -- PROGRAM [ARGUMENT]..." */
static void append_arguments(GString *text, const CtlCommand *command)
{
    for (const CtlArgument *row = command->arguments; row && row->name; row++) {
        gboolean optional = row->flags & CTL_OPTIONAL;

        g_string_append_printf(text, " %s%s%s%s%s", optional ? "[" : "",
                               row->flags & CTL_REST ? "-- " : "", row->name,
                               optional ? "]" : "",
                               row->flags & CTL_REPEATED ? "..." : "");
    }
}

static void append_command(GString *text, const CtlCommand *command)
{
    g_string_append_printf(text, "  %s", command->name);
    append_arguments(text, command);
    g_string_append_c(text, '\n');
    append_lines(text, "          ", command->help);
    append_options(text, command->options, "      ");
}

/* Of all commands, but what a command has of its own. */
static void append_common(GString *text, const CtlCommand *command)
{
    for (const CtlOption *row = ctl_options; row->name; row++) {
        if (ctl_option_find(command, row->name) == row) {
            append_option(text, row, "  ");
        }
    }
}

static char *help_of_one(const CtlCommand *command)
{
    GString *text = g_string_new(NULL);

    g_string_printf(text, "Usage: hostmemctl [--connect %s] %s",
                    ctl_option_find(command, "--connect")->argument,
                    command->name);
    if (command->options && command->options->name) {
        g_string_append(text, " [OPTION]...");
    }
    append_arguments(text, command);
    g_string_append(text, "\n\n");
    append_lines(text, "", command->help);
    g_string_append(text, "\nOptions:\n");
    append_options(text, command->options, "  ");
    append_common(text, command);
    return g_string_free(text, FALSE);
}

char *ctl_help_of_family(const char *family)
{
    GString *text = g_string_new(NULL);

    g_string_printf(text,
                    "Usage: hostmemctl %s COMMAND [ARGUMENT]...\n\n"
                    "Commands:\n",
                    family);
    for (const CtlCommand *row = ctl_commands; row->name; row++) {
        if (ctl_command_is_in(row, family)) {
            append_command(text, row);
        }
    }
    return g_string_free(text, FALSE);
}

char *ctl_help(const CtlCommand *command)
{
    if (command) {
        return help_of_one(command);
    }
    GString *text = g_string_new(head);

    g_string_append(text, "\nCommands:\n");
    for (const CtlCommand *row = ctl_commands; row->name; row++) {
        if (!row->hidden) {
            append_command(text, row);
        }
    }
    g_string_append(text, "\nOptions of all commands:\n");
    append_options(text, ctl_options, "  ");
    g_string_append(text, tail);
    return g_string_free(text, FALSE);
}
