/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/types.h>
#include <hostmem/object.h>

G_BEGIN_DECLS

/**
 * HostmemThreadContext:
 *
 * A parked thread whose CPU affinity new threads inherit ("thread-context").
 * A manager may pin that one thread from outside, so this process needs no
 * right to set any affinity.  Construct-only, at most one of "cpu-affinity"
 * and "node-affinity" (host ids as text, "0-3,8"); with neither, the
 * creator's affinity is kept.
 *
 * Creation errors: %HOSTMEM_ERROR_INVALID (both lists, an empty list, nodes
 * without CPUs, no such CPU), %HOSTMEM_ERROR_PERMISSION (affinity refused),
 * %HOSTMEM_ERROR_LIMIT (no thread to be had), %HOSTMEM_ERROR_SYSTEM.
 */
#define HOSTMEM_TYPE_THREAD_CONTEXT (hostmem_thread_context_get_type())
typedef struct _HostmemThreadContext HostmemThreadContext;
#define HOSTMEM_THREAD_CONTEXT(obj)                                 \
    (G_TYPE_CHECK_INSTANCE_CAST((obj), HOSTMEM_TYPE_THREAD_CONTEXT, \
                                HostmemThreadContext))
#define HOSTMEM_IS_THREAD_CONTEXT(obj) \
    (G_TYPE_CHECK_INSTANCE_TYPE((obj), HOSTMEM_TYPE_THREAD_CONTEXT))
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostmemThreadContext, g_object_unref)

GType hostmem_thread_context_get_type(void) G_GNUC_CONST;

/** Returns: kernel id of the parked thread, as in /proc.  Any thread. */
pid_t hostmem_thread_context_get_thread_id(HostmemThreadContext *self);

/**
 * hostmem_thread_context_spawn: g_thread_try_new(), but from the parked thread.
 * @func: runs in the new thread, which has the parked thread's affinity and
 * the signal mask of the caller
 *
 * Any thread may call; calls are served one at a time.
 *
 * Returns: (transfer full): for the caller to g_thread_join(); or NULL with
 * %HOSTMEM_ERROR_LIMIT (no thread to be had)
 */
GThread *hostmem_thread_context_spawn(HostmemThreadContext *self,
                                      const char *name, GThreadFunc func,
                                      gpointer data, GError **error);

G_END_DECLS
