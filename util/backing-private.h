/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/backing.h"
#include "util/os.h"

/*
 * Shared by backing.c and backing-file.c.
 */

/** @size up to whole pages in *@length; INVALID for 0, and 2^63 or more. */
gboolean hm_backing_round_size(guint64 size, gsize page_size, guint64 *length,
                               GError **error);
/** "@what: strerror" of a call that makes a descriptor; EMFILE says more. */
gboolean hm_backing_fd_error(GError **error, int err, const char *what);
/** Set kind and page size of the open file; -errno. */
int hm_backing_find_kind(HmBacking *made, const struct stat *st);
/** Bytes, of a DAX device too. */
guint64 hm_backing_file_length(const struct stat *st);
/** ftruncate that never ends in SIGXFSZ; @what names the file. */
gboolean hm_backing_resize(int fd, guint64 length, const char *what,
                           GError **error);
