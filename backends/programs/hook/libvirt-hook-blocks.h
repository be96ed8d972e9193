/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/stat.h>
#include "libvirt-hook-domain.h"

/*
 * What QEMU of a domain maps: one file for each NUMA cell, or one for all of
 * its memory.  Nothing here looks at the host.
 */

/** Characters of a domain's name that are in its paths. */
#define HOOK_SHORT_NAME 20

/** A hugetlbfs that libvirt uses. */
typedef struct {
    guint64 page_size; /* bytes */
    char *folder;
} HookMount;

/** Where libvirt puts memory: see its qemu.conf. */
typedef struct {
    const char *backing_dir; /* "memory_backing_dir" */
    GArray *mounts;          /* HookMount, in libvirt's order */
    guint64 huge_page_size;  /* bytes: the kernel's default */
    guint64 base_page_size;  /* bytes */
} HookPlaces;

typedef struct {
    char *name;        /* QEMU's: "pc.ram", "ram-node0" */
    char *id;          /* of the backend that a pool's memory gets */
    char *own_id;      /* of one that is the domain's alone */
    guint64 size;      /* bytes */
    guint64 page_size; /* bytes, of huge pages; 0: base pages */
    char *base;        /* folder in which libvirt has one for each domain */
    char *folder;      /* (nullable): that of the domain; NULL: it is a file */
    char *path;        /* what QEMU opens; NULL: the domain has no id */
    const HookNumatune *numatune; /* borrowed from the domain */

    /* what has been done, to be undone */
    gboolean made;     /* the folder was made */
    char *origin;      /* (nullable): the file was moved from there */
    struct stat moved; /* what that file was there */
    gboolean asked; /* hostmemd was asked for the backend of a pool's memory */
} HookBlock;

/**
 * hook_blocks_find: the memory of a domain that can come from files.
 *
 * That is memory which QEMU maps shared from a file: of <source type='file'/>,
 * or of huge pages.
 *
 * Returns: (transfer full) (element-type HookBlock): empty when the domain asks
 * for no such memory; or NULL with %HOSTMEM_ERROR_INVALID (cells without sizes,
 * sets that are none) or %HOSTMEM_ERROR_UNSUPPORTED (QEMU would not find a file
 * for it, or another memory as well)
 */
GPtrArray *hook_blocks_find(const HookDomain *domain, const HookPlaces *places,
                            GError **error);
