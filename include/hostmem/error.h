/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/**
 * HostmemError: why a call failed, by what the caller can do about it.
 *
 * Every failing function of the library sets a GError of this domain, or
 * %G_IO_ERROR_CANCELLED when its GCancellable was cancelled.  The message
 * names what was asked, what was there, which limit was hit and where.
 *
 * @HOSTMEM_ERROR_INVALID: a value is malformed, out of range, or does not go
 *     with another one.  Change the request.
 * @HOSTMEM_ERROR_EXISTS: the id or name is taken.  Choose another one.
 * @HOSTMEM_ERROR_NOT_FOUND: no such id, type, property, file or node.
 * @HOSTMEM_ERROR_BUSY: somebody holds the object.  Retry after its release.
 * @HOSTMEM_ERROR_NO_MEMORY: the host, or the bound NUMA nodes, lack free RAM.
 * @HOSTMEM_ERROR_NO_SPACE: the filesystem or tmpfs is full.
 * @HOSTMEM_ERROR_NO_HUGE_PAGES: the huge page pool, or its share on the bound
 *     nodes, is too small.  Grow the pool.
 * @HOSTMEM_ERROR_LIMIT: a cgroup limit, rlimit or overcommit rule forbids it.
 * @HOSTMEM_ERROR_PERMISSION: the kernel or a file's mode forbids it.
 * @HOSTMEM_ERROR_UNSUPPORTED: this host, kernel or kind of memory cannot.
 * @HOSTMEM_ERROR_TIMED_OUT: the deadline passed first.
 * @HOSTMEM_ERROR_CHANGED: the backing file was truncated or poisoned
 *     underneath us.
 * @HOSTMEM_ERROR_SYSTEM: any other system call failure; strerror in message.
 * @HOSTMEM_ERROR_REMOTE: a QMP server refused; the message is its own words.
 */
typedef enum {
    HOSTMEM_ERROR_INVALID,
    HOSTMEM_ERROR_EXISTS,
    HOSTMEM_ERROR_NOT_FOUND,
    HOSTMEM_ERROR_BUSY,
    HOSTMEM_ERROR_NO_MEMORY,
    HOSTMEM_ERROR_NO_SPACE,
    HOSTMEM_ERROR_NO_HUGE_PAGES,
    HOSTMEM_ERROR_LIMIT,
    HOSTMEM_ERROR_PERMISSION,
    HOSTMEM_ERROR_UNSUPPORTED,
    HOSTMEM_ERROR_TIMED_OUT,
    HOSTMEM_ERROR_CHANGED,
    HOSTMEM_ERROR_SYSTEM,
    HOSTMEM_ERROR_REMOTE,
} HostmemError;

#define HOSTMEM_ERROR (hostmem_error_quark())

/** Returns: the GError domain of the library.  Any thread. */
GQuark hostmem_error_quark(void);

G_END_DECLS
