/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

/* Zeroing memory that one has already, in user space. */

/* Addresses and lengths are multiples of it: bytes of a line of the cache. */
#define HM_ZERO_ALIGN 64

/**
 * hm_zero: make memory read as zeroes, by the fastest method of this host.
 * @addr, @length: multiples of %HM_ZERO_ALIGN; bytes
 *
 * Memory should be populated: what is not is faulted in.  When it returns, the
 * zeroes are ordered before all that this thread writes later, as after
 * memset(3), whatever stores the method is made of.  Any thread.
 */
void hm_zero(void *addr, gsize length);

/**
 * hm_zero_guarded: the same where somebody else may truncate the file.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_CHANGED in place of a SIGBUS, when a page
 * could not be had or is broken; some of the memory is zero then.  See
 * hm_sigbus_run() for what it does to the process.
 */
gboolean hm_zero_guarded(void *addr, gsize length, GError **error);

/** Whether all bytes are 0; no alignment needed. */
gboolean hm_is_zero(const void *addr, gsize length);

/**
 * Returns: (transfer none): what hm_zero() uses: "avx512", "memset"; this may
 * change once, when the first large ranges have been zeroed
 */
const char *hm_zero_method(void);

/** (transfer none): names of what this CPU can do, "memset" last. */
const char *const *hm_zero_methods(void);

/**
 * hm_zero_with: hm_zero() by a method of one's choice, to measure and to test.
 *
 * Returns: FALSE, and nothing is zeroed, when this CPU has no such method
 */
gboolean hm_zero_with(const char *method, void *addr, gsize length);
