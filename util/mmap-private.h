/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/mmap.h"

/*
 * Shared by mmap.c, mmap-resize.c and mmap-move.c.  Errors as of
 * hm_mapping_init().
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
/** Say why it could not be mapped: @err is a positive errno.  Returns: FALSE */
gboolean hm_mapping_set_error(const HmBacking *backing,
                              const HmMappingOptions *options, int err,
                              GError **error);

/* mmap-resize.c */

/** What @backing has behind @length bytes. */
HmBacking hm_mapping_rest_of(const HmBacking *backing, gsize length);
/** Take address space where something was.  FALSE: somebody else has it. */
gboolean hm_mapping_reserve_again(void *start, gsize length);
