/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The machine: what outlives a reset, and the virtual machine of KVM, which
 * does not.  The CPU's thread makes it, runs it, and makes another one when
 * the guest reboots.
 */
#include "vmm.h"

struct VmmMachine {
    const VmmMachineConfig *config;
    HostmemGuestMemory *memory;
    VmmSerial *serial;
    VmmVirtio *virtio;
    GThread *cpu;
    GMutex lock;     /* of all below */
    VmmKvm *kvm;     /* NULL between two lives */
    VmmAction asked; /* of the CPU's thread: VMM_GO_ON, VMM_RESET, VMM_OFF */
};

static gboolean lies_in(const VmmAccess *access, guint64 start, guint64 size)
{
    return access->address >= start && access->address - start < size;
}

static gboolean writes(const VmmAccess *access, guint16 port, guint8 value)
{
    return access->port && access->write && access->address == port &&
           access->value == value;
}

/* Where nothing is, all bits read as one. */
static VmmAction on_access(VmmAccess *access, gpointer user_data)
{
    VmmMachine *self = user_data;

    if (access->port && lies_in(access, VMM_SERIAL_PORT, VMM_SERIAL_PORTS)) {
        vmm_serial_access(self->serial, access);
    } else if (writes(access, VMM_POWER_PORT, VMM_POWER_RESET) ||
               writes(access, VMM_KEYBOARD_PORT, VMM_KEYBOARD_RESET)) {
        return VMM_RESET;
    } else if (writes(access, VMM_POWER_PORT, VMM_POWER_OFF)) {
        return VMM_OFF;
    } else if (!access->port && lies_in(access, VMM_VIRTIO, VMM_VIRTIO_SIZE)) {
        vmm_virtio_access(self->virtio, access);
    } else if (!access->write) {
        access->value = G_MAXUINT64;
    }
    return VMM_GO_ON;
}

static gboolean connect_all(VmmMachine *self, VmmKvm *kvm, GError **error)
{
    HostmemBackend *ram = self->config->ram;

    return vmm_kvm_add_memory(kvm, 0, hostmem_backend_get_host_addr(ram),
                              hostmem_backend_get_size(ram), error) &&
           vmm_serial_connect(self->serial, kvm, error) &&
           vmm_virtio_connect(self->virtio, kvm, error);
}

static VmmKvm *begin_life(VmmMachine *self, GError **error)
{
    guint64 entry;
    g_autoptr(VmmKvm) kvm = vmm_kvm_new(error);

    if (!kvm || !connect_all(self, kvm, error) ||
        !vmm_boot_load(&self->config->boot, self->memory,
                       hostmem_backend_get_size(self->config->ram), &entry,
                       error) ||
        !vmm_acpi_write(self->memory, error) ||
        !vmm_kvm_add_cpu(kvm, entry, error)) {
        return NULL;
    }
    return g_steal_pointer(&kvm);
}

/* Publishes the virtual machine for those who kick; frees the old one. */
static void set_kvm(VmmMachine *self, VmmKvm *kvm)
{
    g_mutex_lock(&self->lock);
    g_clear_pointer(&self->kvm, vmm_kvm_free);
    self->kvm = kvm;
    g_mutex_unlock(&self->lock);
}

static VmmAction take_asked(VmmMachine *self)
{
    g_mutex_lock(&self->lock);
    VmmAction action = self->asked;
    if (action == VMM_RESET) {
        self->asked = VMM_GO_ON;
    }
    g_mutex_unlock(&self->lock);
    return action;
}

static VmmAction live(VmmMachine *self, GError **error)
{
    VmmKvm *kvm = begin_life(self, error);

    if (!kvm) {
        return VMM_FAILED;
    }
    set_kvm(self, kvm);
    VmmAction action = take_asked(self);
    while (action == VMM_GO_ON) {
        action = vmm_kvm_run(kvm, on_access, self, error);
        if (action == VMM_KICKED) {
            action = take_asked(self);
        }
    }
    set_kvm(self, NULL);
    return action;
}

/* What a reset does besides a new virtual machine. */
static void reset_devices(VmmMachine *self)
{
    vmm_serial_reset(self->serial);
    vmm_virtio_reset(self->virtio);
}

static gpointer run_cpu(gpointer data)
{
    VmmMachine *self = data;
    g_autoptr(GError) error = NULL;
    VmmAction action = live(self, &error);

    while (action == VMM_RESET) {
        reset_devices(self);
        action = live(self, &error);
    }
    self->config->end(action, error ? error->message : NULL,
                      self->config->user_data);
    return NULL;
}

static gboolean add_ram(VmmMachine *self, GError **error)
{
    HostmemBackend *ram = self->config->ram;
    guint64 size = hostmem_backend_get_size(ram);

    if (size > VMM_RAM_LIMIT) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "RAM has %" G_GUINT64_FORMAT " bytes, at most %u are "
                    "below the devices",
                    size, VMM_RAM_LIMIT);
        return FALSE;
    }
    return hostmem_guest_memory_add(self->memory, 0, ram, 0, size, NULL, error);
}

VmmMachine *vmm_machine_new(const VmmMachineConfig *config, GError **error)
{
    g_autoptr(VmmMachine) self = g_new0(VmmMachine, 1);

    self->config = config;
    g_mutex_init(&self->lock);
    self->memory = hostmem_guest_memory_new();
    self->serial = vmm_serial_new(config->line, config->user_data);
    if (!add_ram(self, error)) {
        return NULL;
    }
    self->virtio = vmm_virtio_new(config->mem, self->memory, error);
    if (!self->virtio) {
        return NULL;
    }
    self->cpu = g_thread_try_new("cpu", run_cpu, self, error);
    return self->cpu ? g_steal_pointer(&self) : NULL;
}

static void ask(VmmMachine *self, VmmAction action)
{
    g_mutex_lock(&self->lock);
    self->asked = action;
    if (self->kvm) {
        vmm_kvm_kick(self->kvm);
    }
    g_mutex_unlock(&self->lock);
}

void vmm_machine_free(VmmMachine *self)
{
    if (self->cpu) {
        ask(self, VMM_OFF);
        g_thread_join(self->cpu);
    }
    g_clear_pointer(&self->virtio, vmm_virtio_free);
    vmm_serial_free(self->serial);
    g_object_unref(self->memory);
    g_mutex_clear(&self->lock);
    g_free(self);
}

void vmm_machine_reset(VmmMachine *self)
{
    ask(self, VMM_RESET);
}

void vmm_machine_send(VmmMachine *self, const char *line)
{
    g_autofree char *text = g_strconcat(line, "\n", NULL);
    vmm_serial_send(self->serial, text);
}

void vmm_machine_set_veto(VmmMachine *self, gboolean veto)
{
    vmm_virtio_set_veto(self->virtio, veto);
}
