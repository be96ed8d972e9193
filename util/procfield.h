/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

/**
 * hm_procfield_bytes: a line "Key:   123 kB", as in /proc/meminfo,
 * /proc/self/status and a node's meminfo.
 *
 * Returns: bytes; 0 when there is no such line, or it overflows
 */
guint64 hm_procfield_bytes(const char *text, const char *key);
