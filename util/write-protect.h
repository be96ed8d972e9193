/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/backing.h"

/**
 * HmWriteProtect: memory to which whoever writes waits, page by page, until the
 * protection is lifted.
 *
 * It holds for the mapping of this process: who writes through another one is
 * not seen.
 */
typedef struct {
    int fd; /* -1: nothing is registered */
    guint8 *addr;
    gsize length;
    gsize page_size;
    gboolean marks_absent; /* pages that are not there can be protected */
    gint ended;            /* atomic */
} HmWriteProtect;

/**
 * hm_write_protect_init: be told of writes to memory, once it is protected.
 * @addr: where all of @backing is mapped
 *
 * Returns: FALSE with %HOSTMEM_ERROR_PERMISSION, or %HOSTMEM_ERROR_UNSUPPORTED
 * (the kernel cannot, or not with this kind of memory)
 */
gboolean hm_write_protect_init(HmWriteProtect *self, const HmBacking *backing,
                               guint8 *addr, GError **error);
/**
 * hm_write_protect_arm: protect these ranges.
 * @ranges: offsets from the address, whole pages
 * @threads: how many do it
 *
 * When it returns nobody can write to any of them; whoever tries meanwhile
 * waits, too.  Pages are made where a page must be there to be protected.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_NO_MEMORY or %HOSTMEM_ERROR_SYSTEM; call
 * hm_write_protect_end() then
 */
gboolean hm_write_protect_arm(HmWriteProtect *self, const HmRangeList *ranges,
                              guint threads, GError **error);
/** Let writes to a range pass, and those that wait go on.  Returns: 0 or
 * -errno */
int hm_write_protect_lift(HmWriteProtect *self, const HmRange *range);
/** Where somebody waits: up to @n offsets; returns how many, or -errno. */
int hm_write_protect_read(HmWriteProtect *self, guint64 *offsets, guint n);
/** Nothing is protected any more, all go on; any thread, more than once. */
void hm_write_protect_end(HmWriteProtect *self);
/** The same, and close it: no other thread uses it. */
void hm_write_protect_clear(HmWriteProtect *self);
