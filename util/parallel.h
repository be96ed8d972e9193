/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

/**
 * hm_parallel_run: run a function in several threads, the caller's among them.
 * @threads: how many, not 0; fewer when no more can be had
 * @name: of the threads
 * @func: takes work from @data until there is none left
 *
 * Returns when all have returned.
 */
void hm_parallel_run(guint threads, const char *name,
                     void (*func)(gpointer data), gpointer data);
