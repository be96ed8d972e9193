/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Embed libhostmem: two backends, ready to become a guest's RAM. */
#include <stdio.h>
#include <hostmem/hostmem.h>

static const char *const objects[] = {
    "memory-backend-memfd,id=ram0,size=64M,prealloc=on,prealloc-threads=2",
    "memory-backend-ram,id=ram1,size=16M",
};

int main(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    g_autoptr(GError) error = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(objects); i++) {
        HostmemObject *object =
            hostmem_registry_add(registry, objects[i], NULL, &error);
        if (!object) {
            fprintf(stderr, "embed: %s\n", error->message);
            return 1;
        }
        HostmemBackend *ram = HOSTMEM_BACKEND(object);
        printf("%s: %" G_GUINT64_FORMAT " bytes at %p, descriptor %d\n",
               hostmem_object_get_id(object), hostmem_backend_get_size(ram),
               hostmem_backend_get_host_addr(ram), hostmem_backend_get_fd(ram));
    }
    return 0;
}
