/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/types.h>
#include "libvirt-hook-blocks.h"

/*
 * libvirt-hook.c has the command line, the time it may take, and what is said;
 * -lock.c keeps calls apart; -memory.c has what hostmemd is asked for; -place.c
 * the files, and -owner.c whose they are; -blocks.c where they must be;
 * -domain.c what libvirt says.
 */

typedef struct {
    char *address;     /* of hostmemd's QMP */
    char **pools;      /* (nullable): ids, the best first */
    char *backing_dir; /* libvirt's "memory_backing_dir" */
    char **hugetlbfs;  /* (nullable): folders; NULL: those that are mounted */
    char *owner;       /* (nullable): user of QEMU */
    double timeout;    /* seconds, of the whole run */
} HookOptions;

/* libvirt-hook-memory.c */

/**
 * hook_memory_prepare: put ready memory where QEMU of a domain maps it.
 * @blocks: (element-type HookBlock)
 * @cancellable: ends the waiting
 *
 * All of the blocks, or it fails.  What is there from a call before stays.
 */
gboolean hook_memory_prepare(const HookOptions *options,
                             const HookDomain *domain, GPtrArray *blocks,
                             GCancellable *cancellable, GError **error);
/**
 * hook_memory_undo: after hook_memory_prepare() has failed.
 *
 * Moves files back, and has hostmemd delete what it was asked for; what it
 * still makes is cancelled.  Waits for hostmemd last, without a limit.
 */
void hook_memory_undo(const HookOptions *options, GPtrArray *blocks);
/**
 * hook_memory_release: after the end of a domain.
 *
 * Deletes the backends that the domain has had; a pool gets its memory back.
 */
gboolean hook_memory_release(const HookOptions *options, GPtrArray *blocks,
                             GCancellable *cancellable, GError **error);

/* libvirt-hook-lock.c */

/** One call for a domain at a time. */
typedef struct HookLock HookLock;

/**
 * hook_lock_take: wait until no other call is at work for the domain.
 * @block: one of its memory
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_BUSY (cancelled
 * meanwhile) or %HOSTMEM_ERROR_SYSTEM
 */
HookLock *hook_lock_take(const HookDomain *domain, const HookBlock *block,
                         GCancellable *cancellable, GError **error);
void hook_lock_release(HookLock *self);
/** Before the process ends, in a handler of signals: no file is to stay. */
void hook_lock_drop(void);

/* libvirt-hook-owner.c */

typedef struct {
    uid_t uid;
    gid_t gid;
} HookOwner;

/**
 * hook_owner_find: whom does QEMU run as?
 * @base: libvirt's folder for all domains
 *
 * What the domain says, or the options, or the owner of that folder.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID or %HOSTMEM_ERROR_NOT_FOUND
 */
gboolean hook_owner_find(const HookOptions *options, const HookDomain *domain,
                         const struct stat *base, HookOwner *owner,
                         GError **error);

/* libvirt-hook-place.c */

/** (transfer full) (element-type HookMount): those of @folders, or all. */
GArray *hook_place_find_mounts(char **folders);
/** Bytes; what the kernel takes when no size is said; 0: there are none. */
guint64 hook_place_huge_page_size(void);

/**
 * hook_place_open: make the folder of a block, if it has one.
 *
 * @owner: (out): as of hook_owner_find()
 *
 * Returns: FALSE with %HOSTMEM_ERROR_NOT_FOUND (libvirt has no folder there),
 * %HOSTMEM_ERROR_INVALID (what is there is not libvirt's),
 * %HOSTMEM_ERROR_PERMISSION or %HOSTMEM_ERROR_SYSTEM
 */
gboolean hook_place_open(const HookOptions *options, const HookDomain *domain,
                         HookBlock *block, HookOwner *owner, GError **error);
/** Bytes of the pages that files of the block have. */
guint64 hook_place_page_size(const HookBlock *block, GError **error);
/**
 * hook_place_has: is there a file for the block?
 *
 * Returns: FALSE without an error when there is nothing; with
 * %HOSTMEM_ERROR_EXISTS when it is no file of that size
 */
gboolean hook_place_has(const HookBlock *block, GError **error);
/**
 * hook_place_move: move memory to where the block must be.
 * @path: a file of the right size
 * @giver: the user who says so, or -1; the file is that user's, or @owner's
 *
 * Returns: FALSE with an error that names both; then it is where it was
 */
gboolean hook_place_move(HookBlock *block, const char *path, gint64 giver,
                         const HookOwner *owner, GError **error);
/** Undo hook_place_move(), and hook_place_open() when the folder is empty. */
void hook_place_undo(const HookBlock *block);
/** Remove files for blocks of the domain that nobody has open any more, where
 * libvirt does not do so. */
void hook_place_sweep(const HookDomain *domain, const HookBlock *block);
