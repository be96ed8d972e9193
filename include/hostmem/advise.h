/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/backend.h>

G_BEGIN_DECLS

/**
 * HostmemAdvice: what is going to happen to a range of memory.
 * @HOSTMEM_ADVICE_WILL_NEED: it is used soon: what was swapped out, or lies in
 * a file on storage, may be read already.  Populates nothing that holds no
 *     data; for that there is hostmem_backend_populate_async()
 * @HOSTMEM_ADVICE_COLD: it is not used soon: rather take this than other memory
 * @HOSTMEM_ADVICE_PAGE_OUT: take it now, as far as there is swap or a file
 * @HOSTMEM_ADVICE_COLLAPSE: make huge pages of base pages, in a job
 *
 * The content stays with all of them.
 */
typedef enum {
    HOSTMEM_ADVICE_WILL_NEED,
    HOSTMEM_ADVICE_COLD,
    HOSTMEM_ADVICE_PAGE_OUT,
    HOSTMEM_ADVICE_COLLAPSE,
} HostmemAdvice;
#define HOSTMEM_TYPE_ADVICE (hostmem_advice_get_type())
GType hostmem_advice_get_type(void) G_GNUC_CONST;

/**
 * hostmem_backend_advise: tell the kernel what a range is for.
 * @offset: bytes, multiple of the page size
 * @length: bytes, multiple of the page size or up to the end
 *
 * A hint: TRUE says that the kernel took it, not what it makes of it.  Any
 * thread; nobody who uses the memory has to wait.
 *
 * %HOSTMEM_ADVICE_WILL_NEED returns at once, and fails for no reason but the
 * range.  %HOSTMEM_ADVICE_COLD takes a walk through the page tables, and
 * %HOSTMEM_ADVICE_PAGE_OUT may wait for storage.  Locked memory ("mem-lock")
 * and huge pages of a pool are neither: %HOSTMEM_ERROR_UNSUPPORTED.
 *
 * %HOSTMEM_ADVICE_COLLAPSE starts a job, "ID:collapse" of type "collapse", see
 * hostmem_backend_get_collapse_job(), and returns; it waits while a property of
 * the backend is being changed.  The job goes through the range huge page by
 * huge page; where some of the base pages are there, the others are populated
 * with it.  What it has done stays when it is cancelled.  Who holds the backend
 * and has parts of it unpopulated on purpose collapses only ranges that begin
 * and end at huge pages.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (range, "thp=off", or a backend
 * that is still being created), %HOSTMEM_ERROR_UNSUPPORTED (memory or kernel
 * that cannot), %HOSTMEM_ERROR_BUSY (it is being collapsed),
 * %HOSTMEM_ERROR_LIMIT (no thread), %HOSTMEM_ERROR_SYSTEM; of the range some
 * may be cold, or taken, then
 */
gboolean hostmem_backend_advise(HostmemBackend *self, guint64 offset,
                                guint64 length, HostmemAdvice advice,
                                GError **error);

/**
 * hostmem_backend_get_collapse_job: what %HOSTMEM_ADVICE_COLLAPSE has started.
 *
 * Its progress is in bytes of the range, whole huge pages of it.  Its error is
 * %HOSTMEM_ERROR_NO_HUGE_PAGES when free RAM, or a cgroup, had no huge page for
 * some places, which stay as they were, or %G_IO_ERROR_CANCELLED.  Any thread.
 *
 * Returns: (transfer full) (nullable): the last one, until it is dismissed
 */
HostmemJob *hostmem_backend_get_collapse_job(HostmemBackend *self);

G_END_DECLS
