/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "backends/export/libvirt.h"

/**
 * hm_libvirt_loop_start: have libvirt's events dispatched, from now on.
 *
 * Once for a process, before its first connection.  Any thread.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_LIMIT (no thread)
 */
gboolean hm_libvirt_loop_start(const HmLibvirt *lib, GError **error);
