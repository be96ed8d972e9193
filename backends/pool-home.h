/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "backends/hostmem.h"

/**
 * hm_pool_home_open: make a file for pool memory in a directory where it can
 * have names.
 * @backend: whose backing is set, and whose export when it keeps its name
 * @dir: absolute, on a tmpfs, or on a hugetlbfs when @huge_page_size is given
 * @huge_page_size: bytes; 0: base pages
 * @keep: the file may get and lose names all its life; otherwise one that it
 *     loses is the last
 *
 * Returns: FALSE as hm_export_new() and hm_export_publish()
 */
gboolean hm_pool_home_open(HostmemBackend *backend, const char *dir,
                           gsize huge_page_size, gboolean keep, GError **error);

/** Remove files that processes which are gone have left in the directory. */
void hm_pool_home_sweep(const char *dir);
