/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

/* The only door to libsystemd.  hostmemd-sd-none.c is behind it where that is
 * not built in: there is no service manager then. */

/** Whether a service manager wants to hear of us. */
gboolean hm_sd_is_there(void);

/**
 * hm_sd_notify: send a message to the service manager.
 * @fd: to go along with it, or -1
 *
 * Returns: a positive number, 0 without a service manager, or -errno
 */
int hm_sd_notify(const char *state, int fd);

/**
 * hm_sd_listen_fds: how many descriptors we were started with, from 3 on.
 * @names: (out) (transfer full): as many, and NULL at the end; NULL unless the
 *     number is positive
 *
 * Makes them close-on-exec, and removes the variables from the environment.
 *
 * Returns: the number, or -errno
 */
int hm_sd_listen_fds(char ***names);
