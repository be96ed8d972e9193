/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/hostmem.h"
#include "util/align.h"
#include "util/error.h"
#include "util/hostcaps.h"
#include "util/os.h"

typedef struct {
    HostmemBackend parent_instance;

    gboolean hugetlb;
    guint64 hugetlb_size; /* bytes; 0: the kernel's default */
    gboolean seal;
} HostmemBackendMemfd;

typedef struct {
    HostmemBackendClass parent_class;
} HostmemBackendMemfdClass;

G_DEFINE_TYPE(HostmemBackendMemfd, hostmem_backend_memfd, HOSTMEM_TYPE_BACKEND)

#define BACKEND_MEMFD(obj)                                              \
    G_TYPE_CHECK_INSTANCE_CAST((obj), hostmem_backend_memfd_get_type(), \
                               HostmemBackendMemfd)

static const HmProp memfd_props[] = {
    HM_BACKEND_SHARE_ROW(TRUE),
    {
        .name = "hugetlb",
        .kind = HM_PROP_BOOL,
        .offset = HM_PROP_FIELD(HostmemBackendMemfd, hugetlb),
        .description = "Take the memory from a pool of huge pages",
    },
    {
        .name = "hugetlbsize",
        .kind = HM_PROP_SIZE,
        .flags = HM_PROP_NOT_ZERO,
        .offset = HM_PROP_FIELD(HostmemBackendMemfd, hugetlb_size),
        .description = "Which huge pages, for example 2M or 1G (otherwise "
                       "the kernel's default)",
    },
    {
        .name = "seal",
        .kind = HM_PROP_BOOL,
        .offset = HM_PROP_FIELD(HostmemBackendMemfd, seal),
        .def = TRUE,
        .description = "Forbid everybody to resize the memfd",
    },
};

static gsize page_size(const HostmemBackendMemfd *self)
{
    if (!self->hugetlb) {
        return hm_os_page_size();
    }
    return self->hugetlb_size ? self->hugetlb_size
                              : hm_hostcaps_get()->huge_page_size;
}

static gsize backend_memfd_pool_page_size(HostmemBackend *backend)
{
    HostmemBackendMemfd *self = BACKEND_MEMFD(backend);

    return self->hugetlb ? page_size(self) : 0;
}

static gboolean backend_memfd_check_export(HostmemBackend *backend,
                                           GError **error)
{
    if (!backend->export_path || !BACKEND_MEMFD(backend)->seal) {
        return TRUE;
    }
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "property 'export-path' needs 'seal' = 'off': only a "
                        "memfd can be sealed, and a memfd can have no name");
}

static gboolean backend_memfd_check(HostmemBackend *backend, GError **error)
{
    HostmemBackendMemfd *self = BACKEND_MEMFD(backend);

    if (self->hugetlb_size && !hm_is_pow2(self->hugetlb_size)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "Hugepage size must be a power of 2");
    }
    if (!page_size(self)) {
        return hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                            "property 'hugetlb' of memory-backend-memfd: this "
                            "kernel has no huge page pools");
    }
    return hm_backend_check_pool_kind(backend, page_size(self), self->seal,
                                      error) &&
           hm_backend_check_multiple(backend, page_size(self), error);
}

/* A seal can only be had of a memfd. */
static gboolean open_own_tmpfs(HostmemBackendMemfd *self)
{
    HostmemBackend *backend = &self->parent_instance;

    return !self->seal && !self->hugetlb &&
           hm_backend_open_own_tmpfs(backend, backend->size);
}

/*
 * Nobody else sees a private copy, and there is nothing to copy: the file of it
 * would be empty for good.  Anonymous memory reads the same, gets huge pages,
 * and has no page of the file behind each of its own.
 */
static gboolean is_anonymous(const HostmemBackendMemfd *self)
{
    return !self->parent_instance.share && !self->hugetlb;
}

static gboolean backend_memfd_open(HostmemBackend *backend, GError **error)
{
    HostmemBackendMemfd *self = BACKEND_MEMFD(backend);

    if (is_anonymous(self)) {
        return hm_backing_init_anon(&backend->backing, backend->size, error);
    }
    if (open_own_tmpfs(self)) {
        return TRUE;
    }
    /* What is sealed is as long as it may ever have to be. */
    if (!hm_backing_init_memfd(
            &backend->backing, "memory-backend-memfd",
            self->seal ? MAX(backend->size, backend->max_size) : backend->size,
            backend_memfd_pool_page_size(backend), self->seal, backend->share,
            error)) {
        return FALSE;
    }
    backend->backing.length = backend->size;
    return TRUE;
}

static gboolean backend_memfd_adopt(HostmemBackend *backend, GError **error)
{
    HostmemBackendMemfd *self = BACKEND_MEMFD(backend);
    const HmBackingAdoptOptions expected = {
        .kind = self->hugetlb ? HM_MEM_HUGETLB : HM_MEM_SHMEM,
        .page_size = page_size(self),
        .sealed = self->seal,
    };

    return hm_backend_adopt(backend, &expected, error);
}

static void hostmem_backend_memfd_init(HostmemBackendMemfd *self G_GNUC_UNUSED)
{
}

static void hostmem_backend_memfd_class_init(HostmemBackendMemfdClass *klass)
{
    HOSTMEM_OBJECT_CLASS(klass)->type_name = "memory-backend-memfd";
    HOSTMEM_BACKEND_CLASS(klass)->check = backend_memfd_check;
    HOSTMEM_BACKEND_CLASS(klass)->pool_page_size = backend_memfd_pool_page_size;
    HOSTMEM_BACKEND_CLASS(klass)->check_export = backend_memfd_check_export;
    HOSTMEM_BACKEND_CLASS(klass)->open_backing = backend_memfd_open;
    HOSTMEM_BACKEND_CLASS(klass)->adopt_backing = backend_memfd_adopt;
    hm_props_install(G_OBJECT_CLASS(klass), memfd_props,
                     G_N_ELEMENTS(memfd_props));
}
