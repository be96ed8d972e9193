/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <unistd.h>
#include "hostmemd-sd.h"
#include "hostmemd.h"

/* A message of more than 4096 bytes is dropped, and a status is all of one. */
#define MAX_STATUS 1024

static gboolean send_fd(const char *state, int fd, GError **error)
{
    int n = hm_sd_notify(state, fd);

    if (n <= 0) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM,
                    "cannot tell the service manager: %s",
                    n < 0 ? g_strerror(-n) : "there is none");
    }
    return n > 0;
}

/* Whatever stands there, nobody waits for an answer. */
static void send(const char *state)
{
    g_autoptr(GError) error = NULL;

    if (!send_fd(state, -1, &error)) {
        g_debug("%s", error->message);
    }
}

gboolean hm_notify_wanted(void)
{
    return hm_sd_is_there();
}

/* With -daemonize it was another process that the manager started. */
void hm_notify_ready(void)
{
    g_autofree char *state =
        g_strdup_printf("READY=1\nMAINPID=%ld", (long)getpid());
    send(state);
}

/* A line break would begin another assignment: an object's text is in here. */
static char *make_line(const char *text)
{
    gboolean is_long = strlen(text) > MAX_STATUS;
    g_autofree char *part = g_strndup(text, MAX_STATUS);
    g_autofree char *valid = g_utf8_make_valid(part, -1);
    g_autofree char *line =
        g_strdup_printf("%s%s", valid, is_long ? "..." : "");

    for (char *c = line; *c; c++) {
        if (g_ascii_iscntrl(*c)) {
            *c = ' ';
        }
    }
    return g_steal_pointer(&line);
}

void hm_notify_status(const char *text)
{
    g_autofree char *line = make_line(text);
    g_autofree char *state = g_strdup_printf("STATUS=%s", line);

    send(state);
}

void hm_notify_extend(guint64 usec)
{
    g_autofree char *state =
        g_strdup_printf("EXTEND_TIMEOUT_USEC=%" G_GUINT64_FORMAT, usec);
    send(state);
}

void hm_notify_stopping(void)
{
    send("STOPPING=1");
}

/* It is not polled: memory never hangs up. */
gboolean hm_notify_store_fd(const char *name, int fd, GError **error)
{
    g_return_val_if_fail(fd >= 0 && hm_inherited_is_name(name), FALSE);
    g_autofree char *state =
        g_strdup_printf("FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name);
    return send_fd(state, fd, error);
}

gboolean hm_notify_remove_fd(const char *name, GError **error)
{
    g_return_val_if_fail(hm_inherited_is_name(name), FALSE);
    g_autofree char *state =
        g_strdup_printf("FDSTOREREMOVE=1\nFDNAME=%s", name);
    return send_fd(state, -1, error);
}
