/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/hostmem.h"
#include "util/align.h"
#include "util/error.h"
#include "util/os.h"

typedef struct {
    HostmemBackend parent_instance;
} HostmemBackendRam;

typedef struct {
    HostmemBackendClass parent_class;
} HostmemBackendRamClass;

G_DEFINE_TYPE(HostmemBackendRam, hostmem_backend_ram, HOSTMEM_TYPE_BACKEND)

/*
 * Shared memory has a descriptor, so that it can be handed over: that of a
 * file on a tmpfs of huge pages, a memfd, or an unnamed POSIX shared memory
 * object where the kernel has no memfd.
 */
static gboolean open_shared(HostmemBackend *self, guint64 length,
                            GError **error)
{
    g_autofree char *name = hm_backend_block_name(self);
    g_autoptr(GError) local = NULL;

    if (hm_backing_init_memfd(&self->backing, name, length, 0, FALSE, TRUE,
                              &local)) {
        return TRUE;
    }
    if (g_error_matches(local, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED)) {
        return hm_backing_init_shm(&self->backing, length, error);
    }
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

static gboolean backend_ram_open(HostmemBackend *self, GError **error)
{
    guint64 length;

    if (!self->share) {
        return hm_backing_init_anon(&self->backing, self->size, error);
    }
    /* A size that is no multiple of the page size is fine here, as in QEMU. */
    if (!hm_align_up(self->size, hm_os_page_size(), &length)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID, "size overflows");
    }
    return hm_backend_open_own_tmpfs(self, length) ||
           open_shared(self, length, error);
}

static gboolean backend_ram_adopt(HostmemBackend *self, GError **error)
{
    const HmBackingAdoptOptions expected = {.kind = HM_MEM_SHMEM};

    return hm_backend_adopt(self, &expected, error);
}

static void hostmem_backend_ram_init(HostmemBackendRam *self G_GNUC_UNUSED)
{
}

static void hostmem_backend_ram_class_init(HostmemBackendRamClass *klass)
{
    HOSTMEM_OBJECT_CLASS(klass)->type_name = "memory-backend-ram";
    HOSTMEM_BACKEND_CLASS(klass)->any_size = TRUE;
    HOSTMEM_BACKEND_CLASS(klass)->open_backing = backend_ram_open;
    HOSTMEM_BACKEND_CLASS(klass)->adopt_backing = backend_ram_adopt;
}
