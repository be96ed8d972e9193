/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/error.h>

G_BEGIN_DECLS

/*
 * libvirt is loaded by the first of these calls that needs it, and then stays:
 * a program that makes none pays nothing for it, and runs where it is not
 * installed.  Every call fails with %HOSTMEM_ERROR_UNSUPPORTED where libvirt is
 * missing, or this library was built without it; the message says which.
 */

/**
 * hostmem_libvirt_load: is libvirt there?
 *
 * Any thread.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_UNSUPPORTED
 */
gboolean hostmem_libvirt_load(GError **error);

G_END_DECLS
