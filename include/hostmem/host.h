/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/**
 * hostmem_capabilities: what this build and this host can do.
 *
 * Kernel features, page sizes, huge page pools, NUMA nodes, object types.
 * Any thread.
 *
 * Returns: (transfer full): one JSON object as text, ending in a newline
 */
char *hostmem_capabilities(void);

/** Returns: (transfer none): the library's version, "MAJOR.MINOR.MICRO" */
const char *hostmem_version(void);

G_END_DECLS
