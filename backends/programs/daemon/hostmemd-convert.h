/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "hostmemd.h"

/* What the two halves of the conversion of domain XML tell each other; see
 * hostmemd-convert.c. */

/** Where huge pages of a size are, outside and inside. */
typedef struct {
    guint64 page_size; /* bytes */
    char *dir;         /* the mount of this host */
    char *inside;      /* what stands for it below the root */
} HmHugeMount;

/** Takes the conversion apart from all else that there is. */
typedef struct {
    char *root;             /* an empty directory; goes with the sandbox */
    GPtrArray *huge_mounts; /* (element-type HmHugeMount) */
    gboolean has_mounts;    /* those are there, inside */
} HmSandbox;

/** Returns: (transfer full): or NULL with %HOSTMEM_ERROR_SYSTEM */
HmSandbox *hm_sandbox_new(GError **error);
void hm_sandbox_free(HmSandbox *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmSandbox, hm_sandbox_free)

/**
 * hm_sandbox_enter: leave what libvirt, and the programs it starts, need not.
 *
 * The calling process never gets it back.  Without CAP_SYS_ADMIN there will be
 * no huge pages; without root nothing else is left.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_SYSTEM
 */
gboolean hm_sandbox_enter(HmSandbox *self, GError **error);

/** From now on what orphans the children of this process leave are its own, and
 * those that end are forgotten at once. */
void hm_sandbox_adopt_offspring(void);
/** Ends all processes that come from this one, and waits for them. */
void hm_sandbox_end_offspring(void);
