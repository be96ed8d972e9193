/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/hostmem.h"
#include "util/error.h"
#include "util/os.h"

typedef struct {
    HostmemBackend parent_instance;
} HostmemBackendShm;

typedef struct {
    HostmemBackendClass parent_class;
} HostmemBackendShmClass;

G_DEFINE_TYPE(HostmemBackendShm, hostmem_backend_shm, HOSTMEM_TYPE_BACKEND)

static const HmProp shm_props[] = {
    HM_BACKEND_SHARE_ROW(TRUE),
};

static gboolean backend_shm_check(HostmemBackend *self, GError **error)
{
    if (!self->share) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "can't create shm backend with `share=off`");
    }
    return hm_backend_check_multiple(self, hm_os_page_size(), error);
}

static gboolean backend_shm_open(HostmemBackend *self, GError **error)
{
    return hm_backend_open_own_tmpfs(self, self->size) ||
           hm_backing_init_shm(&self->backing, self->size, error);
}

static gboolean backend_shm_adopt(HostmemBackend *self, GError **error)
{
    const HmBackingAdoptOptions expected = {.kind = HM_MEM_SHMEM};

    return hm_backend_adopt(self, &expected, error);
}

static void hostmem_backend_shm_init(HostmemBackendShm *self G_GNUC_UNUSED)
{
}

static void hostmem_backend_shm_class_init(HostmemBackendShmClass *klass)
{
    HOSTMEM_OBJECT_CLASS(klass)->type_name = "memory-backend-shm";
    HOSTMEM_BACKEND_CLASS(klass)->check = backend_shm_check;
    HOSTMEM_BACKEND_CLASS(klass)->open_backing = backend_shm_open;
    HOSTMEM_BACKEND_CLASS(klass)->adopt_backing = backend_shm_adopt;
    hm_props_install(G_OBJECT_CLASS(klass), shm_props, G_N_ELEMENTS(shm_props));
}
