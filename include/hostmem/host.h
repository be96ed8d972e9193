/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/**
 * hostmem_capabilities: what this build and this host can do.
 *
 * Kernel features, page sizes, RAM, huge page pools, NUMA nodes, object types.
 * Sizes are in bytes, pools in pages.  What changes, such as "available" of
 * "memory", is read at each call.  "usable-cpus" is how many CPUs the affinity
 * of the calling thread and the quotas of its cgroups leave, rounded up.  Of
 * "memory", "cgroup-limit" is the least that the cgroups of this process allow,
 * "cgroup-available" the least that they leave now, page cache that the kernel
 * would drop included; both are missing without a limit.  Any thread.
 *
 * Returns: (transfer full): one JSON object as text, ending in a newline
 */
char *hostmem_capabilities(void);

/**
 * hostmem_size_to_string: bytes for a person, as the library's messages have
 * them: "4 KiB", "1.5 GiB".
 *
 * Rounded down to two decimals; an exact result has no zeroes at its end: a
 * byte more than 1 MiB is "1.00 MiB".  Any thread.
 *
 * Returns: (transfer full)
 */
char *hostmem_size_to_string(guint64 bytes);

/**
 * hostmem_size_parse: a size as options have it: "4G", "1.5M", "0x1000".
 *
 * Powers of 1024 by the suffixes b k m g t p e, bytes without one.  Any thread.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (no size, a sign, at or above
 * 2^64), @bytes untouched
 */
gboolean hostmem_size_parse(const char *text, guint64 *bytes, GError **error);

/** Returns: (transfer none): the library's version, "MAJOR.MINOR.MICRO" */
const char *hostmem_version(void);

G_END_DECLS
