/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/backing.h"
#include "util/hostcaps.h"

/** How far memory is to be brought. */
typedef enum {
    HM_STATE_BACKED,
    HM_STATE_READABLE,
    HM_STATE_WRITABLE,
} HmPreallocState;

/** All that the choice of a method depends on. */
typedef struct {
    HmMemKind kind;
    gboolean shared;
    gboolean writable;  /* the mapping is PROT_WRITE */
    gboolean own_tmpfs; /* on our private huge=always tmpfs */
    gboolean use_thp;   /* transparent huge pages are wanted */
    gboolean advised;   /* MADV_HUGEPAGE, already */
    HmPreallocState state;
    gsize page_size; /* bytes, of the backing */
    guint64 length;  /* bytes to populate */
    guint threads;   /* workers that will run */
    HmHostCaps caps;
    HmThpPolicy thp;
    HmShmemThpPolicy shmem_thp;
} HmPreallocFacts;

typedef enum {
    HM_STEP_ADVISE_HUGE,    /* MADV_HUGEPAGE; failure is ignored */
    HM_STEP_ALLOCATE,       /* fallocate: backed */
    HM_STEP_SEED_HUGE,      /* populate one base page of each huge page */
    HM_STEP_COLLAPSE,       /* MADV_COLLAPSE; failure is ignored */
    HM_STEP_POPULATE_READ,  /* MADV_POPULATE_READ */
    HM_STEP_POPULATE_WRITE, /* MADV_POPULATE_WRITE */
    HM_STEP_TOUCH_READ,     /* read a byte of each page, SIGBUS guarded */
    HM_STEP_TOUCH_WRITE,    /* rewrite a byte of each page, SIGBUS guarded */
} HmPreallocStep;

#define HM_PLAN_MAX_STEPS 4

/** Ordered steps: first those over the whole, then those of each chunk. */
typedef struct {
    HmPreallocStep whole[HM_PLAN_MAX_STEPS];
    guint n_whole;
    HmPreallocStep chunk[HM_PLAN_MAX_STEPS];
    guint n_chunk;
    gsize huge_size;        /* bytes; huge pages that the steps make; 0: none */
    gboolean touch_present; /* where all is present, a touch will do */
    const char *method;     /* static: "fallocate+populate-write", or "none"; on
                             * our tmpfs "huge-tmpfs+" and so on */
    const char *reason;     /* static: one clause, why */
} HmPreallocPlan;

/**
 * hm_prealloc_plan: choose the fastest steps; pure.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (another state than readable of
 * read-only memory), %HOSTMEM_ERROR_UNSUPPORTED (writable DAX memory on a
 * kernel without MADV_POPULATE_WRITE)
 */
gboolean hm_prealloc_plan(const HmPreallocFacts *facts, HmPreallocPlan *plan,
                          GError **error);
/** The step's part of a method's name: "populate-write". */
const char *hm_prealloc_step_name(HmPreallocStep step);
