/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/backend.h>
#include <hostmem/discard.h>

G_BEGIN_DECLS

/**
 * HostmemGuestMemory:
 *
 * The guest's physical memory as a device sees it: which addresses are RAM,
 * and where that RAM is in this process.  A region is a part of a backend at a
 * guest address; regions do not overlap.  A region keeps a reference to its
 * backend and holds it, see hostmem_object_hold().
 *
 * Addresses come from the guest, so any of them may be wrong: what is not RAM,
 * what wraps, and what a sparse region has not populated is refused, and
 * nothing is touched.  Memory that is not there when it is touched, for want of
 * huge pages or because its file is shorter now, is refused as well.
 *
 * Every function may be called from any thread.  Readers wait neither for one
 * another's copying nor for who adds and removes regions.
 */
#define HOSTMEM_TYPE_GUEST_MEMORY (hostmem_guest_memory_get_type())
typedef struct _HostmemGuestMemory HostmemGuestMemory;
#define HOSTMEM_GUEST_MEMORY(obj)                                 \
    (G_TYPE_CHECK_INSTANCE_CAST((obj), HOSTMEM_TYPE_GUEST_MEMORY, \
                                HostmemGuestMemory))
#define HOSTMEM_IS_GUEST_MEMORY(obj) \
    (G_TYPE_CHECK_INSTANCE_TYPE((obj), HOSTMEM_TYPE_GUEST_MEMORY))
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostmemGuestMemory, g_object_unref)

GType hostmem_guest_memory_get_type(void) G_GNUC_CONST;

/** Returns: (transfer full): without any region */
HostmemGuestMemory *hostmem_guest_memory_new(void);

/**
 * hostmem_guest_memory_add: let a part of a backend appear to the guest.
 * @address: guest physical, bytes
 * @offset: bytes from the start of @backend
 * @length: bytes, not 0
 * @source: (nullable): who knows which of @backend is populated; only that
 *     may be touched.  Its offsets are those of @backend
 *
 * @address, @offset and @length are multiples of the host's page size.  The
 * region keeps a reference to @source.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (not whole pages, beyond the
 * backend or beyond 64 bits) or %HOSTMEM_ERROR_EXISTS (a region is there)
 */
gboolean hostmem_guest_memory_add(HostmemGuestMemory *self, guint64 address,
                                  HostmemBackend *backend, guint64 offset,
                                  guint64 length, HostmemDiscardSource *source,
                                  GError **error);

/**
 * hostmem_guest_memory_remove: take a region away.
 * @address: guest physical, where the region starts
 *
 * Waits for reads and writes that have begun, which take no longer than
 * copying does.  When it returns, the library does not touch the region any
 * more and the backend is released; a queue whose rings lie in it is broken
 * by its next use.  Not from a callback of the region's source; from one that
 * is told that another region's source goes, it may be called.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_NOT_FOUND (no region starts there)
 */
gboolean hostmem_guest_memory_remove(HostmemGuestMemory *self, guint64 address,
                                     GError **error);

/**
 * hostmem_guest_memory_lookup: where guest memory is in this process.
 * @address: guest physical
 * @length: bytes, not 0
 *
 * The pointer is good until the region is removed, and beyond that as long as
 * the caller has a reference to the backend.  Of a sparse region it says what
 * is populated now: who keeps the pointer listens to the source, who does not
 * uses hostmem_guest_memory_read() and _write(), which bear that the memory
 * goes meanwhile.  Read-only backends give a pointer to read from.
 *
 * Returns: (nullable): NULL unless all of the range lies in one region and
 * may be touched
 */
gpointer hostmem_guest_memory_lookup(HostmemGuestMemory *self, guint64 address,
                                     guint64 length);

/**
 * hostmem_guest_memory_read: copy guest memory; ranges may cross from one
 * region into the next.
 * @address: guest physical
 * @data: (out): @length bytes; undefined after a failure
 *
 * Returns: whether all of the range may be read, and was
 */
gboolean hostmem_guest_memory_read(HostmemGuestMemory *self, guint64 address,
                                   gpointer data, gsize length);

/**
 * hostmem_guest_memory_write: the opposite of hostmem_guest_memory_read().
 *
 * Returns: whether all of the range may be written to, and was.  When it may
 * not, nothing was written; when memory was not there, a part may have been
 */
gboolean hostmem_guest_memory_write(HostmemGuestMemory *self, guint64 address,
                                    gconstpointer data, gsize length);

G_END_DECLS
