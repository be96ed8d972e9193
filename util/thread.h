/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>
#include <signal.h>

/*
 * Threads of the library run none of the program's signal handlers: they block
 * every signal but those that a fault of their own raises.
 */

/** Block them in this thread, as those created from it inherit. */
void hm_thread_block_signals(sigset_t *old_mask);
void hm_thread_restore_signals(const sigset_t *old_mask);

/**
 * hm_thread_new: g_thread_try_new() with signals blocked from the start.
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_LIMIT
 */
GThread *hm_thread_new(const char *name, GThreadFunc func, gpointer data,
                       GError **error);
