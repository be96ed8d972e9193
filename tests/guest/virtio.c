/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A virtio-mem behind virtio-mmio, wired to KVM by two eventfds: the guest
 * rings the doorbell, and a thread of the device serves the request, which may
 * have to populate memory, while the CPU goes on; the device interrupts the
 * guest without anybody's help.  Other registers are read and written in the
 * CPU's thread.
 */
#include <sys/eventfd.h>
#include <unistd.h>
#include "vmm.h"

#define QUEUE_NOTIFY 0x50 /* virtio 1.2, 4.2.2 */
#define THE_QUEUE    0    /* virtio 1.2, 5.15.2 */

struct VmmVirtio {
    HostmemVirtioMem *mem;
    HostmemVirtioMmio *mmio;
    HostmemDiscardSource *source;
    guint listener;
    gint veto; /* atomic */
    gint stop; /* atomic */
    int interrupt;
    int doorbell;
    GThread *thread;
};

/* In any thread.  The line's fall is of no interest to an edge. */
static void on_interrupt(gboolean pending, gpointer user_data)
{
    VmmVirtio *self = user_data;

    if (pending) {
        eventfd_write(self->interrupt, 1);
    }
}

static gpointer serve(gpointer data)
{
    VmmVirtio *self = data;
    eventfd_t count;

    while (eventfd_read(self->doorbell, &count) == 0 &&
           !g_atomic_int_get(&self->stop)) {
        hostmem_virtio_mmio_notify(self->mmio, THE_QUEUE);
    }
    return NULL;
}

/* Who maps guest memory elsewhere, in an IOMMU or another process, does it
 * here; and if that fails, the guest does not get the memory. */
static gboolean on_populating(G_GNUC_UNUSED HostmemDiscardSource *source,
                              guint64 offset, guint64 length,
                              gpointer user_data, GError **error)
{
    VmmVirtio *self = user_data;

    if (g_atomic_int_get(&self->veto)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_BUSY,
                    "no more memory is to be mapped, such as %" G_GUINT64_FORMAT
                    " bytes at %" G_GUINT64_FORMAT,
                    length, offset);
        return FALSE;
    }
    return TRUE;
}

static gboolean listen_to_memory(VmmVirtio *self, GError **error)
{
    static const HostmemDiscardListener listener = {
        .populating = on_populating,
    };

    self->source = HOSTMEM_DISCARD_SOURCE(self->mem);
    self->listener = hostmem_discard_source_add_listener(
        self->source, 0, hostmem_virtio_mem_get_region_size(self->mem),
        &listener, self, NULL, error);
    return self->listener != 0;
}

/* The guest's memory is known to devices, of the region what is plugged. */
static gboolean add_region(VmmVirtio *self, HostmemGuestMemory *memory,
                           GError **error)
{
    return hostmem_guest_memory_add(
        memory, hostmem_virtio_mem_get_address(self->mem),
        hostmem_virtio_mem_get_memdev(self->mem), 0,
        hostmem_virtio_mem_get_region_size(self->mem), self->source, error);
}

VmmVirtio *vmm_virtio_new(HostmemVirtioMem *mem, HostmemGuestMemory *memory,
                          GError **error)
{
    g_autoptr(VmmVirtio) self = g_new0(VmmVirtio, 1);

    self->mem = g_object_ref(mem);
    self->interrupt = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    self->doorbell = eventfd(0, EFD_CLOEXEC);
    if (!listen_to_memory(self, error) || !add_region(self, memory, error)) {
        return NULL;
    }
    self->mmio = hostmem_virtio_mmio_new(HOSTMEM_VIRTIO_DEVICE(mem), memory,
                                         on_interrupt, self);
    self->thread = g_thread_try_new("virtio", serve, self, error);
    return self->thread ? g_steal_pointer(&self) : NULL;
}

static void stop(VmmVirtio *self)
{
    g_atomic_int_set(&self->stop, TRUE);
    eventfd_write(self->doorbell, 1);
    g_thread_join(self->thread);
}

void vmm_virtio_free(VmmVirtio *self)
{
    if (self->thread) {
        stop(self);
    }
    g_clear_object(&self->mmio);
    if (self->listener) {
        hostmem_discard_source_remove_listener(self->source, self->listener);
    }
    g_object_unref(self->mem);
    close(self->interrupt);
    close(self->doorbell);
    g_free(self);
}

/* KVM may use all of the region.  What is not plugged has no memory behind it
 * until a guest that breaks the rules touches it. */
gboolean vmm_virtio_connect(VmmVirtio *self, VmmKvm *kvm, GError **error)
{
    HostmemBackend *memdev = hostmem_virtio_mem_get_memdev(self->mem);

    return vmm_kvm_add_memory(kvm, hostmem_virtio_mem_get_address(self->mem),
                              hostmem_backend_get_host_addr(memdev),
                              hostmem_virtio_mem_get_region_size(self->mem),
                              error) &&
           vmm_kvm_add_interrupt(kvm, self->interrupt, VMM_VIRTIO_INPUT,
                                 error) &&
           vmm_kvm_add_doorbell(kvm, self->doorbell, VMM_VIRTIO + QUEUE_NOTIFY,
                                THE_QUEUE, error);
}

void vmm_virtio_access(VmmVirtio *self, VmmAccess *access)
{
    guint64 offset = access->address - VMM_VIRTIO;

    if (access->write) {
        hostmem_virtio_mmio_write(self->mmio, offset, access->value,
                                  access->size);
    } else {
        access->value =
            hostmem_virtio_mmio_read(self->mmio, offset, access->size);
    }
}

/* The guest forgets what was plugged, so nothing is. */
void vmm_virtio_reset(VmmVirtio *self)
{
    hostmem_virtio_mmio_reset(self->mmio);
    hostmem_virtio_mem_reset(self->mem);
}

void vmm_virtio_set_veto(VmmVirtio *self, gboolean veto)
{
    g_atomic_int_set(&self->veto, veto);
}
