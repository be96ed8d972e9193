/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "libvirt-hook-values.h"

/* What libvirt says of a domain, as far as it is about memory. */

/** Where memory lies on the host. */
typedef struct {
    char *mode;    /* (nullable): "strict", "preferred", "interleave"... */
    char *nodeset; /* (nullable) */
} HookNumatune;

/** One NUMA cell of the guest. */
typedef struct {
    guint id;
    guint64 size; /* bytes; 0: not said */
    char *access; /* (nullable): "shared" or "private"; NULL: the domain's */
    HookNumatune numatune;
} HookCell;

/** Huge pages for some of the cells. */
typedef struct {
    guint64 size;  /* bytes; 0: the kernel's default */
    char *nodeset; /* (nullable): of cells; NULL: all others */
} HookPages;

typedef struct {
    gint id; /* of this run of it; -1: it does not run */
    char *name;
    char *uuid;
    char *arch;    /* (nullable) */
    char *machine; /* (nullable) */
    guint64 size;  /* bytes, all of its memory */
    char *source;  /* (nullable): "file", "memfd", "anonymous" */
    char *access;  /* (nullable): "shared" or "private" */
    char *owner;   /* (nullable): "+UID:+GID" that is set for this domain */
    HookNumatune numatune;
    gboolean grows; /* memory can be plugged in, or is */
    gboolean has_hugepages;
    GArray *pages; /* HookPages */
    GArray *cells; /* HookCell */
} HookDomain;

/**
 * hook_domain_parse: read the XML of a domain.
 * @xml: UTF-8, @length bytes
 *
 * The first of elements that may be there once counts.  What is not about
 * memory is not looked at.
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_INVALID (no XML, no
 * domain, no name or UUID, a size that is none),
 * %HOSTMEM_ERROR_LIMIT (larger than 4 MiB, deeper than 64 levels, more than 128
 * cells)
 */
HookDomain *hook_domain_parse(const char *xml, gsize length, GError **error);
void hook_domain_free(HookDomain *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HookDomain, hook_domain_free)

#define HOOK_XML_MAX (4u << 20)
