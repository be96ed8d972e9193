/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/guest-memory.h>

/* What rings need besides the public calls. */

/** Whether all of the range is RAM that may be touched, or written to. */
gboolean hm_guest_memory_is_ram(HostmemGuestMemory *self, guint64 address,
                                guint64 length, gboolean writable);
/**
 * hm_guest_memory_load16: one atomic load-acquire of a little endian number.
 * @address: guest physical, even
 * @value: (out): in the host's order
 *
 * Returns: whether it may be read, and was
 */
gboolean hm_guest_memory_load16(HostmemGuestMemory *self, guint64 address,
                                guint16 *value);
/** The opposite: an atomic store-release. */
gboolean hm_guest_memory_store16(HostmemGuestMemory *self, guint64 address,
                                 guint16 value);
