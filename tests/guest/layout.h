/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where the guest finds things.  The C compiler and iasl both read this. */
#ifndef VMM_LAYOUT_H
#define VMM_LAYOUT_H

/* Guest physical addresses.  RAM starts at 0. */
#define VMM_GDT          0x500
#define VMM_ZERO_PAGE    0x7000
#define VMM_PAGE_TABLES  0x9000
#define VMM_COMMAND_LINE 0x20000
#define VMM_LOW_RAM_END  0x9fc00
#define VMM_ACPI         0xe0000
#define VMM_RESET_VECTOR 0xffff0
#define VMM_HIGH_RAM     0x100000
#define VMM_RAM_LIMIT    0xc0000000
#define VMM_VIRTIO       0xd0000000
#define VMM_VIRTIO_SIZE  0x200
#define VMM_IOAPIC       0xfec00000
#define VMM_LOCAL_APIC   0xfee00000
#define VMM_KVM_PAGES    0xfffb9000 /* four of KVM's own */

/* I/O ports */
#define VMM_KEYBOARD_PORT 0x64
#define VMM_SERIAL_PORT   0x3f8
#define VMM_SERIAL_PORTS  8
#define VMM_POWER_PORT    0x600

/* Interrupts: inputs of the I/O APIC */
#define VMM_SERIAL_INPUT 4
#define VMM_VIRTIO_INPUT 16

/* What is written there.  VMM_POWER_OFF is what ACPI 6.4, 4.8.3.7 makes of
 * sleep type 5: SLP_TYPx in bits 2 to 4, SLP_EN in bit 5. */
#define VMM_KEYBOARD_RESET 0xfe
#define VMM_POWER_RESET    1
#define VMM_POWER_OFF      0x34
#define VMM_SLEEP_TYPE_OFF 5

#endif
