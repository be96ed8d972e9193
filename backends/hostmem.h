/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/backend.h>
#include <hostmem/thread-context.h>
#include "backends/object.h"
#include "util/mmap.h"
#include "util/prealloc.h"

struct _HostmemBackend {
    HostmemObject parent_instance;

    /* properties, as given */
    guint64 size;
    gboolean merge;
    gboolean dump;
    gboolean prealloc;
    guint32 prealloc_threads;
    GObject *prealloc_context;
    gboolean prealloc_check;
    gboolean share;
    gboolean reserve;
    char *host_nodes;
    gint policy;
    gboolean canonical_path;

    /* what creation made; constant afterwards */
    HmBacking backing;
    HmMapping mapping;
    HmIdset *nodes; /* NULL: not bound */

    GMutex populate_lock; /* one populate at a time; after change_lock */
    HmProgress progress;

    GMutex report_lock; /* guards what follows; innermost */
    HostmemPreallocReport report;
    gint64 started_us;
};

/* What differs between the types. */
struct _HostmemBackendClass {
    HostmemObjectClass parent_class;

    /* Checks the type's own properties, before anything is made. */
    gboolean (*check)(HostmemBackend *self, GError **error);
    /* Fill self->backing; nothing is left on failure. */
    gboolean (*open)(HostmemBackend *self, GError **error);
    /* Adjust how the backing will be mapped. */
    void (*mapping_options)(HostmemBackend *self, HmMappingOptions *options);
    /* Before the memory is unmapped for good. */
    void (*closing)(HostmemBackend *self);
};

#define HOSTMEM_BACKEND_GET_CLASS(obj)                      \
    (G_TYPE_INSTANCE_GET_CLASS((obj), HOSTMEM_TYPE_BACKEND, \
                               HostmemBackendClass))
