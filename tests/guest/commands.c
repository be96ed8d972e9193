/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the VMM is told and what it tells: a line each.
 *
 *   guest TEXT           a line for the guest to read
 *   requested-size SIZE  how much the guest shall plug
 *   veto on|off          let no more memory be plugged
 *   status               how that goes, and what the host says about it
 *   reset                as the button of a PC
 *   quit
 *
 * What the guest prints comes as "guest: LINE".  The VMM answers "vmm: ok",
 * "vmm: error: WHY" or with the status; to the first and last line not at all.
 */
#include <inttypes.h>
#include <stdio.h>
#include "vmm.h"

/* One call, one line: the guest's come from another thread. */
void vmm_say(const char *who, const char *text)
{
    printf("%s: %s\n", who, text);
    fflush(stdout);
}

static void answer(gboolean success, const GError *error)
{
    if (success) {
        vmm_say("vmm", "ok");
    } else {
        g_autofree char *text = g_strconcat("error: ", error->message, NULL);
        vmm_say("vmm", text);
    }
}

/* Bytes of a range that are in RAM, by what the kernel writes about the
 * process: not by what the library says about itself. */
static guint64 resident_size(gconstpointer start, guint64 size)
{
    guint64 first = GPOINTER_TO_SIZE(start);
    guint64 from, to, resident, sum = 0;
    gboolean inside = FALSE;
    char line[4096];
    FILE *maps = fopen("/proc/self/smaps", "re");

    while (maps && fgets(line, sizeof(line), maps)) {
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &from, &to) == 2) {
            inside = from >= first && to <= first + size;
        } else if (inside && sscanf(line, "Rss: %" SCNu64, &resident) == 1) {
            sum += resident << 10;
        }
    }
    g_clear_pointer(&maps, fclose);
    return sum;
}

static void say_status(HostmemVirtioMem *mem)
{
    static const char *const states[] = {"reached", "running", "stalled"};
    HostmemBackend *memdev = hostmem_virtio_mem_get_memdev(mem);
    HostmemVirtioMemStatus status;

    hostmem_virtio_mem_get_status(mem, &status);
    g_autofree char *text = g_strdup_printf(
        "status state=%s requested=%" PRIu64 " plugged=%" PRIu64
        " populated=%" PRIu64 " backed=%" PRIu64 " resident=%" PRIu64
        " acks=%" PRIu64 " nacks=%" PRIu64 " busy=%" PRIu64 " errors=%" PRIu64
        " reason=%s",
        states[status.state], status.requested, status.plugged,
        hostmem_backend_get_populated_size(memdev),
        hostmem_backend_get_backed_size(memdev),
        resident_size(hostmem_backend_get_host_addr(memdev),
                      hostmem_backend_get_size(memdev)),
        status.acks, status.nacks, status.busy, status.errors, status.reason);
    vmm_say("vmm", text);
}

static gboolean run(VmmMachine *machine, HostmemVirtioMem *mem,
                    const char *name, const char *argument, GError **error)
{
    if (g_str_equal(name, "requested-size")) {
        return hostmem_object_set(HOSTMEM_OBJECT(mem), name, argument, NULL,
                                  error);
    } else if (g_str_equal(name, "veto")) {
        vmm_machine_set_veto(machine, g_str_equal(argument, "on"));
    } else if (g_str_equal(name, "reset")) {
        vmm_machine_reset(machine);
    } else {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                    "there is no command '%s'", name);
        return FALSE;
    }
    return TRUE;
}

gboolean vmm_command(VmmMachine *machine, HostmemVirtioMem *mem,
                     const char *line)
{
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) words = g_strsplit(line, " ", 2);
    const char *name = words[0] ?: "";
    const char *argument = words[0] && words[1] ? words[1] : "";

    if (g_str_equal(name, "quit")) {
        return FALSE;
    }
    if (g_str_equal(name, "guest")) {
        vmm_machine_send(machine, argument);
        return TRUE;
    }
    if (g_str_equal(name, "status")) {
        say_status(mem);
        return TRUE;
    }
    gboolean success = run(machine, mem, name, argument, &error);
    answer(success, error);
    return TRUE;
}
