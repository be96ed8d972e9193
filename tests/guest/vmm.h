/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A small VMM: how a guest runs on the memory of libhostmem.
 *
 * vmm.c       the command line, and the memory it asks for
 * commands.c  what comes and goes by lines on standard input and output
 * machine.c   puts the parts together: life and reset
 * virtio.c    virtio-mem behind virtio-mmio, wired to KVM by eventfds
 * kvm.c       the virtual machine of the kernel and its CPU
 * boot.c      a Linux kernel to start with
 * acpi.c      the tables by which Linux finds the devices
 * serial.c    a serial line
 *
 * A VMM that has the rest wants to read vmm.c, machine.c and virtio.c.
 */
#pragma once

#include <hostmem/hostmem.h>
#include "layout.h"

/* acpi.c */

/* Writes the tables; the root pointer is at VMM_ACPI. */
gboolean vmm_acpi_write(HostmemGuestMemory *memory, GError **error);

/* boot.c */

typedef struct {
    GBytes *kernel;    /* a bzImage */
    GBytes *initramfs; /* or NULL */
    const char *command_line;
} VmmBoot;

/* Puts into RAM what the boot protocol wants there.  Sets @entry to where the
 * CPU begins, in long mode with VMM_PAGE_TABLES, VMM_GDT and VMM_ZERO_PAGE. */
gboolean vmm_boot_load(const VmmBoot *boot, HostmemGuestMemory *memory,
                       guint64 ram_size, guint64 *entry, GError **error);

/* kvm.c */

typedef struct {
    gboolean port; /* of I/O space, else of memory */
    gboolean write;
    guint64 address;
    guint size; /* bytes, 1 to 8 */
    guint64 value;
} VmmAccess;

typedef enum {
    VMM_GO_ON,
    VMM_RESET, /* the guest asks for it, or has run aground */
    VMM_OFF,
    VMM_KICKED, /* vmm_kvm_kick() was called, or a signal came */
    VMM_FAILED,
} VmmAction;

/* What is at an address that is not RAM.  In the CPU's thread. */
typedef VmmAction (*VmmBus)(VmmAccess *access, gpointer user_data);

typedef struct VmmKvm VmmKvm;

VmmKvm *vmm_kvm_new(GError **error);
void vmm_kvm_free(VmmKvm *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VmmKvm, vmm_kvm_free)

gboolean vmm_kvm_add_memory(VmmKvm *self, guint64 address, gpointer host,
                            guint64 size, GError **error);
/* A write to @eventfd is an edge at an input of the I/O APIC. */
gboolean vmm_kvm_add_interrupt(VmmKvm *self, int eventfd, guint input,
                               GError **error);
/* When the guest writes the 32 bits of @value, @eventfd is written. */
gboolean vmm_kvm_add_doorbell(VmmKvm *self, int eventfd, guint64 address,
                              guint32 value, GError **error);
/* The CPU belongs to the calling thread. */
gboolean vmm_kvm_add_cpu(VmmKvm *self, guint64 entry, GError **error);
/* Runs the CPU until the bus or the guest wants something else. */
VmmAction vmm_kvm_run(VmmKvm *self, VmmBus bus, gpointer user_data,
                      GError **error);
/* Makes vmm_kvm_run() return, from now on at once.  Any thread. */
void vmm_kvm_kick(VmmKvm *self);

/* serial.c */

typedef struct VmmSerial VmmSerial;

/* A whole line that the guest has printed.  In the CPU's thread. */
typedef void (*VmmSerialLine)(const char *line, gpointer user_data);

VmmSerial *vmm_serial_new(VmmSerialLine line, gpointer user_data);
void vmm_serial_free(VmmSerial *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VmmSerial, vmm_serial_free)

gboolean vmm_serial_connect(VmmSerial *self, VmmKvm *kvm, GError **error);
void vmm_serial_access(VmmSerial *self, VmmAccess *access);
/* Text for the guest to read.  Any thread. */
void vmm_serial_send(VmmSerial *self, const char *text);
void vmm_serial_reset(VmmSerial *self);

/* virtio.c */

typedef struct VmmVirtio VmmVirtio;

VmmVirtio *vmm_virtio_new(HostmemVirtioMem *mem, HostmemGuestMemory *memory,
                          GError **error);
void vmm_virtio_free(VmmVirtio *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VmmVirtio, vmm_virtio_free)

gboolean vmm_virtio_connect(VmmVirtio *self, VmmKvm *kvm, GError **error);
void vmm_virtio_access(VmmVirtio *self, VmmAccess *access);
void vmm_virtio_reset(VmmVirtio *self);
/* From now on no memory may be plugged, or it may again.  Any thread. */
void vmm_virtio_set_veto(VmmVirtio *self, gboolean veto);

/* machine.c */

typedef struct VmmMachine VmmMachine;

/* The guest has ended: VMM_OFF or VMM_FAILED.  In the CPU's thread. */
typedef void (*VmmMachineEnd)(VmmAction action, const char *why,
                              gpointer user_data);

typedef struct {
    VmmBoot boot;
    HostmemBackend *ram;
    HostmemVirtioMem *mem;
    VmmSerialLine line;
    VmmMachineEnd end;
    gpointer user_data;
} VmmMachineConfig;

/* Keeps @config; the guest starts. */
VmmMachine *vmm_machine_new(const VmmMachineConfig *config, GError **error);
/* Stops the guest wherever it is. */
void vmm_machine_free(VmmMachine *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VmmMachine, vmm_machine_free)

/* As the button of a PC; it happens soon. */
void vmm_machine_reset(VmmMachine *self);
/* A line for the guest to read. */
void vmm_machine_send(VmmMachine *self, const char *line);
void vmm_machine_set_veto(VmmMachine *self, gboolean veto);

/* commands.c */

/* Prints "WHO: TEXT".  Any thread. */
void vmm_say(const char *who, const char *text);
/* Returns: whether to go on */
gboolean vmm_command(VmmMachine *machine, HostmemVirtioMem *mem,
                     const char *line);
