/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/error.h>

/** The HostmemError that an errno (positive) stands for. */
HostmemError hm_error_from_errno(int err);

/**
 * hm_set_error_errno: "FORMAT: strerror" with the code the errno stands for.
 * @err: positive errno
 *
 * Returns: FALSE, so that a caller can return it
 */
gboolean hm_set_error_errno(GError **error, int err, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

/** The same with a code of one's own, without strerror.  Returns: FALSE */
gboolean hm_set_error(GError **error, HostmemError code, const char *format,
                      ...) G_GNUC_PRINTF(3, 4);

/**
 * hm_error_quote: a text from outside as a message may repeat it.
 *
 * In single quotes, valid UTF-8, control characters as '?', cut behind 80
 * characters with "..." so that nobody makes our messages long.
 *
 * Returns: (transfer full)
 */
char *hm_error_quote(const char *text);
