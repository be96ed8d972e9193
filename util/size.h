/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

#define HM_KIB (G_GUINT64_CONSTANT(1) << 10)
#define HM_MIB (G_GUINT64_CONSTANT(1) << 20)
#define HM_GIB (G_GUINT64_CONSTANT(1) << 30)

/**
 * hm_size_parse: a size as QEMU writes it, in bytes.
 *
 * Blanks, then DIGITS[.FRACTION][SUFFIX], suffix one of b k m g t p e in either
 * case, powers of 1024, default bytes; or hexadecimal without suffix.  A
 * fraction needs a suffix above b and is rounded half up.  "1.5G", "0x1000".
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (syntax, sign, trailing text, at
 * or above 2^64)
 */
gboolean hm_size_parse(const char *text, guint64 *bytes, GError **error);

/**
 * hm_size_format: bytes for a person: "4 KiB", "1.5 GiB", "0 B".
 *
 * Rounded down to two decimals; an exact result has no zeroes at its end: a
 * byte more than 1 MiB is "1.00 MiB".
 *
 * Returns: (transfer full)
 */
char *hm_size_format(guint64 bytes);
