/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "hostmemctl.h"

const CtlOption ctl_options[] = {
    {"--connect", 'c', "ADDRESS", CTL_WORD_ADDRESS,
     "Where the server is: unix:PATH or tcp:HOST:PORT.  Without\n"
     "it HOSTMEM_QMP in the environment says so."},
    {"--help", 'h', NULL, CTL_WORD_ANY,
     "Print this text; with a command, what is about that."},
    {"--version", 'V', NULL, CTL_WORD_ANY, "Print the version."},
    {0},
};

/* Rows that several have */

#define ROW_JSON                        \
    {                                   \
        "--json", .help = "Print JSON." \
    }

static const CtlOption list_options[] = {
    ROW_JSON,
    {0},
};

/* add */

static const CtlArgument add_arguments[] = {
    {"TYPE,id=ID[,PROPERTY=VALUE]...", CTL_WORD_LINE},
    {0},
};
static const CtlOption add_options[] = {
    {"--device",
     .help = "Make a device: DRIVER,memdev=ID[,id=ID][,PROPERTY=VALUE]..."},
    {"--wait",
     .help = "Of a backend with prealloc-async: wait for its job, show how\n"
             "far it is, and fail when it does."},
    {0},
};

/* advise, discard */

static const CtlArgument advise_arguments[] = {
    {"ID", CTL_WORD_BACKEND},
    {"ADVICE", CTL_WORD_ADVICE},
    {"RANGE", CTL_WORD_RANGE, CTL_OPTIONAL | CTL_REPEATED},
    {0},
};
static const CtlOption advise_options[] = {
    {"--wait",
     .help = "Of collapse, which is a job: wait until it has ended, show how\n"
             "far it is, and fail when it does."},
    {0},
};
static const CtlArgument discard_arguments[] = {
    {"ID", CTL_WORD_BACKEND},
    {"RANGE", CTL_WORD_RANGE, CTL_REPEATED},
    {0},
};

/* attach, detach */

#define ROWS_DIMM                                  \
    {"--memdev", 0, "NAME", CTL_WORD_ANY,          \
     "The name of QEMU's object [hostmem-ID]."},   \
    {                                              \
        "--slot-id", 0, "NAME", CTL_WORD_ANY,      \
            "The name of QEMU's device [dimm-ID]." \
    }

static const CtlArgument attach_arguments[] = {
    {"QMP-SOCKET", CTL_WORD_SOCKET},
    {"ID", CTL_WORD_BACKEND},
    {0},
};
static const CtlOption attach_options[] = {
    {"--node", 0, "NODE", CTL_WORD_ANY, "The guest's NUMA node [0]."},
    ROWS_DIMM,
    {0},
};
static const CtlOption detach_options[] = {
    ROWS_DIMM,
    {"--timeout", 0, "SECONDS", CTL_WORD_ANY,
     "How long to wait for the guest [60]."},
    {0},
};

/* cancel */

static const CtlArgument cancel_arguments[] = {
    {"JOB", CTL_WORD_JOB},
    {0},
};

/* complete, completion */

static const CtlArgument complete_arguments[] = {
    {"WORD", CTL_WORD_ANY, CTL_REST},
    {0},
};

static const CtlArgument completion_arguments[] = {
    {"SHELL", CTL_WORD_SHELL},
    {0},
};

/* del */

static const CtlArgument del_arguments[] = {
    {"ID", CTL_WORD_OBJECT},
    {0},
};
static const CtlOption del_options[] = {
    {"--device", .help = "Delete a device, and wait until it is gone."},
    {"--timeout", 0, "SECONDS", CTL_WORD_ANY,
     "How long to wait for a guest that must release a device\n"
     "[30]."},
    {0},
};

/* domain */

#define ROW_URI                                                    \
    {                                                              \
        "--connect", 'c', "URI", CTL_WORD_URI,                     \
            "Where libvirt is, as virsh takes it.  Without it\n"   \
            "LIBVIRT_DEFAULT_URI in the environment says so, or\n" \
            "libvirt itself."                                      \
    }

static const CtlArgument domain_arguments[] = {
    {"DOMAIN", CTL_WORD_DOMAIN, CTL_OPTIONAL},
    {0},
};
static const CtlOption domain_list_options[] = {
    ROW_URI,
    ROW_JSON,
    {0},
};
static const CtlOption domain_status_options[] = {
    ROW_URI,
    ROW_JSON,
    {"--read-only",
     .help = "Do not ask QEMU for its backends, which libvirt notes as a\n"
             "use of its monitor, and needs more rights."},
    {0},
};
static const CtlArgument domain_plug_arguments[] = {
    {"DOMAIN", CTL_WORD_DOMAIN},
    {"ALIAS", CTL_WORD_ANY, CTL_OPTIONAL},
    {"SIZE", CTL_WORD_ANY},
    {0},
};
static const CtlOption domain_plug_options[] = {
    ROW_URI,
    {"--wait", .help =
                   "Wait until the guest has as much, show how far it is, and\n"
                   "fail when it stalls."},
    {"--timeout", 0, "SECONDS", CTL_WORD_ANY,
     "What counts as stalled: so long without a change [10]."},
    {0},
};
static const CtlOption domain_watch_options[] = {
    ROW_URI,
    ROW_JSON,
    {"--interval", 0, "SECONDS", CTL_WORD_ANY,
     "How often to look when no event comes [2]."},
    {0},
};

/* exec */

static const CtlArgument exec_arguments[] = {
    {"ID", CTL_WORD_BACKEND, CTL_REPEATED},
    {"COMMAND [ARGUMENT]...", CTL_WORD_PROGRAM, CTL_REST},
    {0},
};

/* get, set */

static const CtlArgument get_arguments[] = {
    {"ID", CTL_WORD_ID},
    {"PROPERTY", CTL_WORD_PROPERTY},
    {0},
};
static const CtlOption get_options[] = {
    {"--device",
     .help = "ID is that of a device, though an object has it too."},
    ROW_JSON,
    {0},
};

static const CtlArgument set_arguments[] = {
    {"ID", CTL_WORD_ID},
    {"PROPERTY", CTL_WORD_PROPERTY},
    {"VALUE", CTL_WORD_ANY},
    {0},
};
static const CtlOption set_options[] = {
    {"--device",
     .help = "ID is that of a device, though an object has it too."},
    {0},
};

/* help */

static const CtlArgument help_arguments[] = {
    {"COMMAND|TYPE", CTL_WORD_COMMAND, CTL_OPTIONAL | CTL_REPEATED},
    {0},
};

/* plug */

static const CtlArgument plug_arguments[] = {
    {"ID", CTL_WORD_DEVICE},
    {"SIZE", CTL_WORD_ANY},
    {0},
};
static const CtlOption plug_options[] = {
    {"--wait", .help =
                   "Wait until the guest has as much, show how far it is, and\n"
                   "fail when it stalls, which the server says."},
    {"--timeout", 0, "SECONDS", CTL_WORD_ANY,
     "What counts as stalled: so long without a change.  A QEMU\n"
     "does not say it [10]."},
    {0},
};

/* shell */

static const CtlOption shell_options[] = {
    {"--json",
     .help = "Print answers and events as QMP has them, a line each."},
    {0},
};

/* snapshot */

static const CtlArgument snapshot_arguments[] = {
    {"ID", CTL_WORD_BACKEND},
    {"FILE", CTL_WORD_ANY},
    {0},
};
static const CtlOption snapshot_options[] = {
    {"--allow-exposed",
     .help = "Also when others can write to the memory, and will not: of a\n"
             "VM that is stopped."},
    {"--max-bandwidth", 0, "SIZE", CTL_WORD_ANY,
     "Write so much a second at most."},
    {"--wait",
     .help = "Wait until the image is complete, show how far it is, and fail\n"
             "when there will be none."},
    {0},
};

/* status */

static const CtlOption status_options[] = {
    ROW_JSON,
    {"--watch", 0, "[=SECONDS]", CTL_WORD_ANY,
     "Show it again, at each event and after so many seconds\n"
     "[1], until Ctrl-C: in place on a terminal, else a block each;\n"
     "with --json a line each."},
    {0},
};

/* The table */

const CtlCommand ctl_commands[] = {
    {"status", NULL, status_options,
     "Show backends, devices, jobs, pools and NUMA nodes.", ctl_run_status},
    {"add", add_arguments, add_options,
     "Make an object, as hostmemd's -object does.", ctl_run_add},
    {"del", del_arguments, del_options, "Delete an object.", ctl_run_del},
    {"get", get_arguments, get_options,
     "Print a property of an object or a device.  ID may be a path.",
     ctl_run_get},
    {"set", set_arguments, set_options,
     "Change a property: on, 4G, 0-3, or JSON where it has another type.",
     ctl_run_set},
    {"plug", plug_arguments, plug_options,
     "Say how much of a virtio-mem device its guest shall have.", ctl_run_plug},
    {"jobs", NULL, list_options,
     "List what goes on in the background, and how far it is.", ctl_run_jobs},
    {"cancel", cancel_arguments, NULL,
     "End a job early.  What it has populated stays so.", ctl_run_cancel},
    {"pools", NULL, list_options, "List memory pools.", ctl_run_pools},
    {"exec", exec_arguments, NULL,
     "Run a program that gets the memory of backends: in its arguments {ID}\n"
     "is the path that opens it, and {ID:object} a whole -object of QEMU.",
     ctl_run_exec},
    {"attach", attach_arguments, attach_options,
     "Plug the memory of a backend into a running QEMU, by a QMP socket of\n"
     "that, as a DIMM.",
     ctl_run_attach},
    {"detach", attach_arguments, detach_options,
     "Have the guest of a QEMU release it, and unplug it.", ctl_run_detach},
    {"advise", advise_arguments, advise_options,
     "Tell the kernel what the memory of a backend is for: will-need, cold,\n"
     "page-out, or collapse into huge pages.  RANGE is OFFSET+LENGTH, such\n"
     "as 1G+512M; without one it is all of it.",
     ctl_run_advise},
    {"discard", discard_arguments, NULL,
     "Give ranges of the memory of a backend back to the host, as a balloon\n"
     "does: what they hold is lost.  RANGE is OFFSET+LENGTH, or all.",
     ctl_run_discard},
    {"snapshot", snapshot_arguments, snapshot_options,
     "Write what the memory of a backend holds now to a file, while it is\n"
     "used.",
     ctl_run_snapshot},
    {"domain list", NULL, domain_list_options,
     "List the domains of a libvirt that run, and what memory they have.",
     ctl_run_domain_list},
    {"domain status", domain_arguments, domain_status_options,
     "Show the memory devices and backends of one domain, or of all.",
     ctl_run_domain_status},
    {"domain plug", domain_plug_arguments, domain_plug_options,
     "Say how much of a virtio-mem device its guest shall have.  ALIAS may\n"
     "be left out where there is one device.",
     ctl_run_domain_plug},
    {"domain watch", domain_arguments, domain_watch_options,
     "Show memory devices again at each event, and what happened, until\n"
     "Ctrl-C or the end of DOMAIN: in place on a terminal, else a block\n"
     "each; with --json a line each.",
     ctl_run_domain_watch},
    {"events", NULL, list_options,
     "Print each event, until Ctrl-C or the end of the server.",
     ctl_run_events},
    {"shell", NULL, shell_options,
     "Read QMP commands, a line each, with completion and history at a\n"
     "terminal: COMMAND ARGUMENT=VALUE..., or JSON.  'help' says more.",
     ctl_run_shell},
    {"help", help_arguments, list_options,
     "Print what is about a command, or the properties of a type of the\n"
     "server's.",
     ctl_run_help},
    {"completion", completion_arguments, NULL,
     "Print the script with which bash completes our command lines.",
     ctl_run_completion},
    {"complete", complete_arguments, NULL, "Complete a command line.",
     ctl_run_complete, .hidden = TRUE},
    {0},
};

const CtlCommand *ctl_command_find(const char *name)
{
    for (const CtlCommand *row = ctl_commands; row->name; row++) {
        if (strcmp(row->name, name) == 0) {
            return row;
        }
    }
    return NULL;
}

const CtlCommand *ctl_command_find_in(const char *family, const char *word)
{
    g_autofree char *name =
        g_strconcat(family ? family : word, family ? " " : NULL, word, NULL);

    return ctl_command_find(name);
}

gboolean ctl_command_is_in(const CtlCommand *command, const char *family)
{
    gsize length = strlen(family);

    return strncmp(command->name, family, length) == 0 &&
           command->name[length] == ' ';
}

gboolean ctl_command_is_family(const char *word)
{
    const CtlCommand *row = ctl_commands;

    while (row->name && !ctl_command_is_in(row, word)) {
        row++;
    }
    return row->name != NULL;
}
