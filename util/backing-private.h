/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/backing.h"

/*
 * Shared by backing.c and backing-file.c.
 */

/** @size up to whole pages in *@length; INVALID for 0, and 2^63 or more. */
gboolean hm_backing_round_size(guint64 size, gsize page_size, guint64 *length,
                               GError **error);
/** "@what: strerror" of a call that makes a descriptor; EMFILE says more. */
gboolean hm_backing_fd_error(GError **error, int err, const char *what);
/** ftruncate that never ends in SIGXFSZ; @what names the file. */
gboolean hm_backing_resize(int fd, guint64 length, const char *what,
                           GError **error);
