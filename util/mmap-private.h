/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/mmap.h"

/*
 * Shared by mmap.c and mmap-resize.c.  Errors as of hm_mapping_init().
 */

/** What the kernel does not refuse, and should: before anything is mapped. */
gboolean hm_mapping_check(const HmBacking *backing,
                          const HmMappingOptions *options, GError **error);
/** Take address space for a backing and its room; nothing can be touched. */
gboolean hm_mapping_reserve(HmMapping *self, const HmBacking *backing,
                            const HmMappingOptions *options, GError **error);
/** Map a backing in place of reserved address space. */
gboolean hm_mapping_activate(void *start, const HmBacking *backing,
                             const HmMappingOptions *options, GError **error);
