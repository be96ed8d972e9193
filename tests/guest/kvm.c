/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The virtual machine of the kernel, with interrupt controllers of the kernel
 * and one CPU.  It has no reset: who wants one makes a new one.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "vmm.h"

#define MAX_CPUID        256
#define CPUID_FEATURES   1
#define CPUID_DEADLINE   (1u << 24) /* of ECX: the timer of the local APIC */
#define CPUID_HYPERVISOR (1u << 31)

#define CR0_LONG_MODE    0x80000011 /* PG, ET, PE */
#define CR4_PAE          0x20
#define EFER_LONG_MODE   0x500 /* LMA, LME */
#define FLAGS_RESERVED   0x2   /* always 1 */

#define KICK_SIGNAL      SIGUSR1

struct VmmKvm {
    int kvm;
    int vm;
    int cpu;
    guint n_slots;
    pthread_t thread; /* of the CPU */
    struct kvm_run *run;
    gsize run_size;
};

static gboolean fail(GError **error, const char *what)
{
    int err = errno;
    g_set_error(error, G_IO_ERROR, g_io_error_from_errno(err), "KVM: %s: %s",
                what, g_strerror(err));
    return FALSE;
}

static gboolean call(int fd, unsigned long request, const void *argument,
                     const char *what, GError **error)
{
    return ioctl(fd, request, argument) >= 0 || fail(error, what);
}

static gboolean open_machine(VmmKvm *self, GError **error)
{
    guint64 identity_map = VMM_KVM_PAGES;
    void *task_state = GSIZE_TO_POINTER(VMM_KVM_PAGES + 0x1000);

    self->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (self->kvm < 0) {
        return fail(error, "/dev/kvm");
    }
    self->vm = ioctl(self->kvm, KVM_CREATE_VM, NULL);
    if (self->vm < 0) {
        return fail(error, "no virtual machine");
    }
    return call(self->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity_map,
                "identity map", error) &&
           call(self->vm, KVM_SET_TSS_ADDR, task_state, "task state", error) &&
           call(self->vm, KVM_CREATE_IRQCHIP, NULL, "interrupt controllers",
                error);
}

static void ignore_signal(G_GNUC_UNUSED int number)
{
}

/* It interrupts KVM_RUN because it has a handler. */
static void prepare_kick(void)
{
    struct sigaction action = {.sa_handler = ignore_signal};
    sigaction(KICK_SIGNAL, &action, NULL);
}

VmmKvm *vmm_kvm_new(GError **error)
{
    g_autoptr(VmmKvm) self = g_new0(VmmKvm, 1);

    self->kvm = self->vm = self->cpu = -1;
    prepare_kick();
    return open_machine(self, error) ? g_steal_pointer(&self) : NULL;
}

static void close_if_open(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

void vmm_kvm_free(VmmKvm *self)
{
    if (self->run) {
        munmap(self->run, self->run_size);
    }
    close_if_open(self->cpu);
    close_if_open(self->vm);
    close_if_open(self->kvm);
    g_free(self);
}

/* wiring */

gboolean vmm_kvm_add_memory(VmmKvm *self, guint64 address, gpointer host,
                            guint64 size, GError **error)
{
    struct kvm_userspace_memory_region region = {
        .slot = self->n_slots++,
        .guest_phys_addr = address,
        .memory_size = size,
        .userspace_addr = GPOINTER_TO_SIZE(host),
    };
    return call(self->vm, KVM_SET_USER_MEMORY_REGION, &region, "memory", error);
}

gboolean vmm_kvm_add_interrupt(VmmKvm *self, int eventfd, guint input,
                               GError **error)
{
    struct kvm_irqfd wire = {.fd = eventfd, .gsi = input};

    return call(self->vm, KVM_IRQFD, &wire, "interrupt", error);
}

gboolean vmm_kvm_add_doorbell(VmmKvm *self, int eventfd, guint64 address,
                              guint32 value, GError **error)
{
    struct kvm_ioeventfd bell = {
        .addr = address,
        .datamatch = value,
        .len = sizeof(value),
        .fd = eventfd,
        .flags = KVM_IOEVENTFD_FLAG_DATAMATCH,
    };
    return call(self->vm, KVM_IOEVENTFD, &bell, "doorbell", error);
}

/* the CPU */

/* All that KVM can do, and the timer, which depends on the local APIC. */
static gboolean set_features(VmmKvm *self, GError **error)
{
    g_autofree struct kvm_cpuid2 *cpuid =
        g_malloc0(sizeof(*cpuid) + MAX_CPUID * sizeof(cpuid->entries[0]));

    cpuid->nent = MAX_CPUID;
    if (!call(self->kvm, KVM_GET_SUPPORTED_CPUID, cpuid, "features", error)) {
        return FALSE;
    }
    for (guint i = 0; i < cpuid->nent; i++) {
        if (cpuid->entries[i].function == CPUID_FEATURES) {
            cpuid->entries[i].ecx |= CPUID_HYPERVISOR | CPUID_DEADLINE;
        }
    }
    return call(self->cpu, KVM_SET_CPUID2, cpuid, "set features", error);
}

static gboolean set_long_mode(VmmKvm *self, GError **error)
{
    struct kvm_sregs registers = {0};
    struct kvm_segment code = {
        .limit = G_MAXUINT32,
        .selector = 0x10,
        .type = 11, /* execute, read, accessed */
        .present = 1,
        .s = 1,
        .l = 1,
        .g = 1,
    };
    struct kvm_segment data = code;

    if (!call(self->cpu, KVM_GET_SREGS, &registers, "registers", error)) {
        return FALSE;
    }
    data.selector = 0x18;
    data.type = 3; /* read, write, accessed */
    data.l = 0;
    data.db = 1;
    registers.cs = code;
    registers.ds = registers.es = registers.ss = data;
    registers.fs = registers.gs = data;
    registers.gdt.base = VMM_GDT;
    registers.gdt.limit = 4 * 8 - 1;
    registers.cr0 = CR0_LONG_MODE;
    registers.cr3 = VMM_PAGE_TABLES;
    registers.cr4 = CR4_PAE;
    registers.efer = EFER_LONG_MODE;
    return call(self->cpu, KVM_SET_SREGS, &registers, "long mode", error);
}

static gboolean set_entry(VmmKvm *self, guint64 entry, GError **error)
{
    struct kvm_regs registers = {
        .rip = entry,
        .rsi = VMM_ZERO_PAGE,
        .rflags = FLAGS_RESERVED,
    };
    return call(self->cpu, KVM_SET_REGS, &registers, "entry", error);
}

gboolean vmm_kvm_add_cpu(VmmKvm *self, guint64 entry, GError **error)
{
    int size = ioctl(self->kvm, KVM_GET_VCPU_MMAP_SIZE, NULL);

    self->cpu = ioctl(self->vm, KVM_CREATE_VCPU, NULL);
    if (size < 0 || self->cpu < 0) {
        return fail(error, "no CPU");
    }
    void *run =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, self->cpu, 0);
    if (run == MAP_FAILED) {
        return fail(error, "no CPU state");
    }
    self->thread = pthread_self();
    self->run = run;
    self->run_size = size;
    return set_features(self, error) && set_long_mode(self, error) &&
           set_entry(self, entry, error);
}

/* The data of a port access is in the page of the CPU's state. */
static VmmAction serve_port(VmmKvm *self, VmmBus bus, gpointer user_data)
{
    guint8 *data = (guint8 *)self->run + self->run->io.data_offset;
    VmmAction action = VMM_GO_ON;
    VmmAccess access = {
        .port = TRUE,
        .write = self->run->io.direction == KVM_EXIT_IO_OUT,
        .address = self->run->io.port,
        .size = self->run->io.size,
    };

    for (guint i = 0; i < self->run->io.count && action == VMM_GO_ON; i++) {
        access.value = 0;
        if (access.write) {
            memcpy(&access.value, data, access.size);
        }
        action = bus(&access, user_data);
        if (!access.write) {
            memcpy(data, &access.value, access.size);
        }
        data += access.size;
    }
    return action;
}

static VmmAction serve_memory(VmmKvm *self, VmmBus bus, gpointer user_data)
{
    VmmAccess access = {
        .write = self->run->mmio.is_write,
        .address = self->run->mmio.phys_addr,
        .size = self->run->mmio.len,
    };

    if (access.write) {
        memcpy(&access.value, self->run->mmio.data, access.size);
        return bus(&access, user_data);
    }
    VmmAction action = bus(&access, user_data);
    memcpy(self->run->mmio.data, &access.value, access.size);
    return action;
}

static VmmAction serve(VmmKvm *self, VmmBus bus, gpointer user_data,
                       GError **error)
{
    switch (self->run->exit_reason) {
    case KVM_EXIT_IO:
        return serve_port(self, bus, user_data);
    case KVM_EXIT_MMIO:
        return serve_memory(self, bus, user_data);
    case KVM_EXIT_INTR:
        return VMM_GO_ON;
    case KVM_EXIT_SHUTDOWN: /* a triple fault */
        return VMM_RESET;
    default:
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED,
                    "KVM: the CPU stopped, exit reason %u, hardware reason "
                    "0x%llx",
                    self->run->exit_reason, self->run->hw.hardware_exit_reason);
        return VMM_FAILED;
    }
}

VmmAction vmm_kvm_run(VmmKvm *self, VmmBus bus, gpointer user_data,
                      GError **error)
{
    VmmAction action = VMM_GO_ON;

    while (action == VMM_GO_ON) {
        if (ioctl(self->cpu, KVM_RUN, NULL) >= 0) {
            action = serve(self, bus, user_data, error);
        } else if (errno == EINTR) {
            action = VMM_KICKED;
        } else if (errno != EAGAIN) {
            fail(error, "run");
            action = VMM_FAILED;
        }
    }
    return action;
}

/* The signal ends a KVM_RUN, the flag one that has not begun. */
void vmm_kvm_kick(VmmKvm *self)
{
    __atomic_store_n(&self->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    pthread_kill(self->thread, KICK_SIGNAL);
}
