/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "hostmemd-sd.h"
#include "hostmemd.h"

/*
 * What a descriptor is, is found out here, once: whoever uses it later may rely
 * on it.  Anything that is of no use to us is a mistake of the configuration,
 * and better refused than kept open unseen.
 */

#define FIRST_FD 3 /* of LISTEN_FDS */
#define MAX_NAME 255

gboolean hm_inherited_is_name(const char *name)
{
    for (const char *c = name; *c; c++) {
        if (!g_ascii_isprint(*c) || *c == ':') {
            return FALSE;
        }
    }
    return strlen(name) <= MAX_NAME;
}

static int socket_option(int fd, int option)
{
    int value = 0;
    socklen_t length = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, option, &value, &length) < 0 ? 0 : value;
}

static gboolean is_listening(int fd)
{
    return socket_option(fd, SO_TYPE) == SOCK_STREAM &&
           socket_option(fd, SO_ACCEPTCONN);
}

/* Returns: what is wrong with @fd, static text; NULL when nothing is */
static const char *claim(HmInherited *self)
{
    struct stat st;

    if (!hm_inherited_is_name(self->name)) {
        return "its name must be up to 255 printable ASCII characters "
               "without ':'";
    }
    if (self->fd <= STDERR_FILENO) {
        return "standard input, output and error are not taken";
    }
    if (fstat(self->fd, &st) < 0 || fcntl(self->fd, F_SETFD, FD_CLOEXEC) < 0) {
        return "it is not open";
    }
    self->listening = is_listening(self->fd);
    if (S_ISSOCK(st.st_mode) && !self->listening) {
        return "it is a socket that does not listen for streams; a socket "
               "unit must have ListenStream= and Accept=no";
    }
    if (!self->listening && !S_ISREG(st.st_mode)) {
        return "it is neither memory nor a socket";
    }
    return NULL;
}

HmInherited *hm_inherited_new(const char *name, int fd, GError **error)
{
    g_autoptr(HmInherited) self = g_new0(HmInherited, 1);

    self->name = g_strdup(name);
    self->fd = fd;
    const char *wrong = claim(self);
    if (wrong) {
        g_autofree char *text = g_strescape(name, NULL);
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID,
                    "the inherited descriptor %d ('%s'): %s", fd, text, wrong);
        return NULL;
    }
    return g_steal_pointer(&self);
}

void hm_inherited_free(HmInherited *self)
{
    if (self->fd > STDERR_FILENO) {
        close(self->fd);
    }
    g_free(self->name);
    g_free(self);
}

static void free_one(gpointer data)
{
    hm_inherited_free(data);
}

static char *describe_environment(void)
{
    const char *fds = g_getenv("LISTEN_FDS");
    const char *names = g_getenv("LISTEN_FDNAMES");

    return g_strdup_printf("LISTEN_FDS=%s%s%s", fds ? fds : "",
                           names ? " LISTEN_FDNAMES=" : "", names ? names : "");
}

GPtrArray *hm_inherited_take(GError **error)
{
    g_autoptr(GPtrArray) taken = g_ptr_array_new_with_free_func(free_one);
    g_autofree char *environment = describe_environment();
    g_auto(GStrv) names = NULL;
    int n = hm_sd_listen_fds(&names);

    if (n < 0) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID,
                    "cannot take the descriptors of %s: %s", environment,
                    g_strerror(-n));
        return NULL;
    }
    for (int i = 0; i < n; i++) {
        HmInherited *one = hm_inherited_new(names[i], FIRST_FD + i, error);
        if (!one) {
            return NULL;
        }
        g_ptr_array_add(taken, one);
    }
    return g_steal_pointer(&taken);
}
