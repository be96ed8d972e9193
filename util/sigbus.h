/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

/**
 * hm_sigbus_run: call a function that may touch memory that is not there.
 * @func: must hold no lock and own nothing when it touches @addr..
 * @addr: start of the memory whose faults are caught; others are not ours
 * @length: bytes
 *
 * While at least one guarded call runs, a process-wide SIGBUS handler is in
 * place; faults of other threads and addresses go to the handler that was
 * there before, or kill as they would have.
 *
 * Returns: 0; or -EFAULT when a SIGBUS ended @func, -EHWPOISON when it was a
 * memory error, with the address in *@fault; or -errno when no handler could
 * be installed
 */
int hm_sigbus_run(void (*func)(gpointer data), gpointer data, void *addr,
                  gsize length, void **fault);
