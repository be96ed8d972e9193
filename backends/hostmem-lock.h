/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "backends/hostmem.h"

/* "mem-lock" of a backend. */

/**
 * hm_backend_check_lock: do "mem-lock" and the other properties go together?
 *
 * Sets what "mem-lock=on" implies.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID
 */
gboolean hm_backend_check_lock(HostmemBackend *self, GError **error);
/**
 * hm_backend_check_lock_limit: may @bytes more be locked?  Of an open backing.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_LIMIT
 */
gboolean hm_backend_check_lock_limit(HostmemBackend *self, guint64 bytes,
                                     GError **error);
/**
 * hm_backend_lock: lock the mapping, as "mem-lock" says; before it is
 * populated.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_LIMIT, %HOSTMEM_ERROR_INVALID,
 * %HOSTMEM_ERROR_UNSUPPORTED or %HOSTMEM_ERROR_SYSTEM, and nothing is locked
 */
gboolean hm_backend_lock(HostmemBackend *self, GError **error);
/** The same of a part that is mapped anew. */
gboolean hm_backend_lock_range(HostmemBackend *self, const HmRange *range,
                               GError **error);
