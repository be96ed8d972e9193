/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/backend.h>

/* What the tests of resizing have in common. */

/** (transfer none): the first byte. */
guint8 *hm_resize_memory(HostmemBackend *backend);
/** The bytes of a range are all this one, as a look at each 512th tells. */
void hm_resize_assert_bytes(HostmemBackend *backend, guint64 offset,
                            guint64 length, guint8 byte);
void hm_resize_assert_size(HostmemBackend *backend, guint64 size);
/** Bytes. */
gint64 hm_resize_file_length(HostmemBackend *backend);
guint64 hm_resize_file_storage(HostmemBackend *backend);

/** Must succeed, in place. */
void hm_resize_to(HostmemBackend *backend, guint64 size);
/** Must fail in place, and leave the size as it is. */
void hm_resize_assert_refused(HostmemBackend *backend, guint64 size, gint code,
                              const char *part);
