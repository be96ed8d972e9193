/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/prealloc.h"

/** What the workers of a region do. */
typedef struct {
    void (*first)(gpointer data); /* one of them, before the others begin */
    void (*each)(gpointer data);  /* then all of them, at the same time */
    gpointer data;
    guint threads; /* at least 1 */
    const HmPreallocOptions *options;
} HmWork;

/**
 * hm_workers_run: let threads do all of @works at the same time; blocks until
 * all are done.
 * @failed: index of the work whose threads were not to be had, when it fails
 *
 * One worker is the calling thread when nothing asks for another.  Workers of
 * their own block all signals but those of faults; a CPU binding or priority
 * that is refused leaves them as they are.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_LIMIT (not all threads are to be had);
 * nothing was done then
 */
gboolean hm_workers_run(const HmWork *works, guint n, guint *failed,
                        GError **error);
