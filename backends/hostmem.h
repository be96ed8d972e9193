/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/backend.h>
#include <hostmem/thread-context.h>
#include "backends/object.h"
#include "util/mmap.h"
#include "util/preflight.h"
#include "util/prealloc.h"

/*
 * The base of all backends, in three files: hostmem.c has the class, its
 * properties and what is asked of a ready backend; hostmem-create.c the order
 * of creation and destruction; hostmem-populate.c everything about populating.
 *
 * Locks, in the order in which they may be taken: change_lock, populate_lock,
 * then value_lock or report_lock, which are innermost.
 */
struct _HostmemBackend {
    HostmemObject parent_instance;

    /* properties, as given; the live ones are behind value_lock */
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
    gboolean writable; /* the mapping is */
    HmIdset *nodes;    /* NULL: not bound */

    GMutex populate_lock; /* one populate at a time */
    HmProgress progress;  /* atomic */

    GMutex report_lock; /* guards what follows */
    HostmemPreallocReport report;
    gint64 started_us;
};

/* What differs between the types. */
struct _HostmemBackendClass {
    HostmemObjectClass parent_class;

    /* Checks the type's own properties, before anything is made. */
    gboolean (*check)(HostmemBackend *self, GError **error);
    /* Fill self->backing; the base undoes it, also after a failure. */
    gboolean (*open_backing)(HostmemBackend *self, GError **error);
    /* Adjust how the backing will be mapped. */
    void (*mapping_options)(HostmemBackend *self, HmMappingOptions *options);
    /* Before the memory of a complete backend is unmapped for good. */
    void (*closing)(HostmemBackend *self);
};

#define HOSTMEM_BACKEND_CLASS(klass)                        \
    (G_TYPE_CHECK_CLASS_CAST((klass), HOSTMEM_TYPE_BACKEND, \
                             HostmemBackendClass))
#define HOSTMEM_BACKEND_GET_CLASS(obj)                      \
    (G_TYPE_INSTANCE_GET_CLASS((obj), HOSTMEM_TYPE_BACKEND, \
                               HostmemBackendClass))

/* The row of "share"; a type with another default has one of its own. */
#define HM_BACKEND_SHARE_ROW(default_value)                              \
    {                                                                    \
        .name = "share", .kind = HM_PROP_BOOL,                           \
        .offset = HM_PROP_FIELD(HostmemBackend, share),                  \
        .def = (default_value),                                          \
        .description = "Let others who map the same backing see writes " \
                       "(off: a private copy)",                          \
    }

/* hostmem.c */

/** "size" must be a multiple of @page_size; QEMU's words. */
gboolean hm_backend_check_multiple(HostmemBackend *self, gsize page_size,
                                   GError **error);
/**
 * hm_backend_check_range: whole pages within a ready backend.
 * @verb: for the message: "populate"
 * @range: set; one that ends with the memory reaches to the end of its page
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID
 */
gboolean hm_backend_check_range(HostmemBackend *self, const char *verb,
                                guint64 offset, guint64 length, HmRange *range,
                                GError **error);
/** (transfer full): the name QEMU would give its RAM block: id or path. */
char *hm_backend_block_name(HostmemBackend *self);

/* hostmem-create.c */

gboolean hm_backend_complete(HostmemObject *object, GCancellable *cancellable,
                             GError **error);
/** Give back what creation made; a file it created stays. */
void hm_backend_close(HostmemBackend *self);
/** The same, and leave files as creation found them. */
void hm_backend_undo(HostmemBackend *self);

/* hostmem-populate.c */

/**
 * hm_backend_preflight: is there room for what creation is about to take?
 *
 * Before the backing is mapped.  Asks nothing when "prealloc-check" is off, or
 * when nothing is taken.
 */
gboolean hm_backend_preflight(HostmemBackend *self, GError **error);
/** Populate all of it for "prealloc". */
gboolean hm_backend_prealloc(HostmemBackend *self, GCancellable *cancellable,
                             GError **error);
