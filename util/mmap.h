/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/backing.h"

/** Memory mapped into this process, with a guard page behind it. */
typedef struct {
    guint8 *addr;   /* NULL when nothing is mapped */
    gsize length;   /* bytes */
    void *reserved; /* address space taken, guard page included */
    gsize reserved_length;
} HmMapping;

typedef struct {
    const char *name;   /* (nullable): of the object; for messages */
    gsize align;        /* bytes, power of two; 0: a good one */
    gboolean readonly;  /* PROT_READ */
    gboolean noreserve; /* MAP_NORESERVE */
    gboolean sync;      /* MAP_SYNC, for persistent memory */
} HmMappingOptions;

/**
 * hm_mapping_init: map a backing.
 *
 * Where the alignment asked for leaves a choice, address and file offset agree
 * modulo the size of a transparent huge page.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_NO_MEMORY, %HOSTMEM_ERROR_NO_HUGE_PAGES,
 * %HOSTMEM_ERROR_LIMIT (RLIMIT_AS, RLIMIT_DATA, overcommit),
 * %HOSTMEM_ERROR_UNSUPPORTED (the filesystem cannot be mapped, or not with
 * sync), %HOSTMEM_ERROR_PERMISSION, %HOSTMEM_ERROR_SYSTEM; nothing stays mapped
 */
gboolean hm_mapping_init(HmMapping *self, const HmBacking *backing,
                         const HmMappingOptions *options, GError **error);
/** Unmap; safe on what was never mapped. */
void hm_mapping_clear(HmMapping *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(HmMapping, hm_mapping_clear)
