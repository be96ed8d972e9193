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

/**
 * hm_procfield_number: a line that begins with @key and a blank: "key 123", as
 * in a cgroup's memory.stat; with "Key:" the number of a line with a unit, as
 * it stands there.
 *
 * Returns: FALSE, and *@value untouched, when there is no such line
 */
gboolean hm_procfield_number(const char *text, const char *key, guint64 *value);
