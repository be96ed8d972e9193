/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "backends/hostmem.h"

/*
 * "image": a backend that is filled from a snapshot of another one.  Nothing
 * happens without it, nor to memory that another process has left.
 */

/**
 * hm_backend_open_image: is there an image, and is it of as much memory?
 *
 * Before anything is made.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_NOT_FOUND, %HOSTMEM_ERROR_PERMISSION,
 * %HOSTMEM_ERROR_INVALID (no image, or of other memory),
 * %HOSTMEM_ERROR_CHANGED (it was altered or cut short),
 * %HOSTMEM_ERROR_NO_MEMORY, %HOSTMEM_ERROR_SYSTEM
 */
gboolean hm_backend_open_image(HostmemBackend *self, GError **error);
/**
 * hm_backend_check_image: does it go with the memory that was opened?
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (it has other pages, or is not
 * empty)
 */
gboolean hm_backend_check_image(HostmemBackend *self, GError **error);
/**
 * hm_backend_fill_first: fill memory that is not populated writable before.
 *
 * Returns: FALSE as hm_image_load(), or when there is no room
 */
gboolean hm_backend_fill_first(HostmemBackend *self, GCancellable *cancellable,
                               GError **error);
/** Fill memory that was populated, or whose storage was made, first. */
gboolean hm_backend_fill_last(HostmemBackend *self, GCancellable *cancellable,
                              GError **error);
/** Done with it. */
void hm_backend_close_image(HostmemBackend *self);
