/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/prealloc.h"

/** What workers do. */
typedef struct {
    void (*first)(gpointer data); /* one of them, before the others begin */
    void (*each)(gpointer data);  /* then all of them, at the same time */
    gpointer data;
} HmWork;

/**
 * hm_workers_run: let @n threads work; blocks until all are done.
 * @n: at least 1
 * @options: where threads come from and which CPUs they use
 *
 * One worker is the calling thread when nothing asks for another.  Workers of
 * their own block all signals but those of faults; a CPU binding or priority
 * that is refused leaves them as they are.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_LIMIT (not all threads are to be had);
 * nothing was done then
 */
gboolean hm_workers_run(const HmWork *work, guint n,
                        const HmPreallocOptions *options, GError **error);
