/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Linux's 64-bit boot protocol for x86 (Documentation/arch/x86/boot.rst): the
 * kernel where it likes to be, the initramfs at the end of RAM, and a zero
 * page that says so.  The zero page knows no hot-plug memory: its driver adds
 * that.  There is no firmware, but for a jump to where it would begin.
 */
#include <asm/bootparam.h>
#include <string.h>
#include "vmm.h"

#define MAGIC          0x53726448 /* "HdrS" */
#define MIN_VERSION    0x020c     /* the first with a 64-bit entry */
#define SECTOR         512
#define ENTRY_64       0x200
#define LOADER_UNKNOWN 0xff

#define PAGE           0x1000
#define PAGE_PRESENT   0x01
#define PAGE_WRITABLE  0x02
#define PAGE_LARGE     0x80 /* 2 MiB */
#define TABLE_ENTRIES  512

/* Segments of the protocol: __BOOT_CS is 0x10 and __BOOT_DS is 0x18. */
#define CODE_64 0x00af9b000000ffff
#define DATA    0x00cf93000000ffff

enum {
    E820_RAM = 1,
    E820_RESERVED = 2
};

static gboolean put(HostmemGuestMemory *memory, guint64 address,
                    gconstpointer data, gsize length, const char *what,
                    GError **error)
{
    if (!hostmem_guest_memory_write(memory, address, data, length)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE,
                    "RAM has no room for the %s: %zu bytes at "
                    "0x%" G_GINT64_MODIFIER "x",
                    what, length, address);
        return FALSE;
    }
    return TRUE;
}

static gboolean read_header(GBytes *kernel, struct setup_header *header,
                            gsize *setup_size, GError **error)
{
    gsize offset = G_STRUCT_OFFSET(struct boot_params, hdr);
    gsize length;
    const guint8 *data = g_bytes_get_data(kernel, &length);

    if (length >= offset + sizeof(*header)) {
        memcpy(header, data + offset, sizeof(*header));
        *setup_size = (header->setup_sects + 1) * SECTOR;
        if (header->header == MAGIC && header->version >= MIN_VERSION &&
            header->xloadflags & XLF_KERNEL_64 && *setup_size < length) {
            return TRUE;
        }
    }
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                "the kernel is no bzImage with a 64-bit entry");
    return FALSE;
}

/* Linux on a hardware-reduced machine without EFI reboots by a jump there, in
 * real mode: mov $VMM_POWER_RESET, %al; mov $VMM_POWER_PORT, %dx;
 * out %al, %dx; hlt */
static gboolean put_reset_vector(HostmemGuestMemory *memory, GError **error)
{
    const guint8 code[] = {
        0xb0,
        VMM_POWER_RESET,
        0xba,
        VMM_POWER_PORT & 0xff,
        VMM_POWER_PORT >> 8,
        0xee,
        0xf4,
    };
    return put(memory, VMM_RESET_VECTOR, code, sizeof(code), "reset vector",
               error);
}

/* The first GiB, each address where it is, in pages of 2 MiB. */
static gboolean put_page_tables(HostmemGuestMemory *memory, GError **error)
{
    guint64 tables[3][TABLE_ENTRIES] = {0};

    tables[0][0] = (VMM_PAGE_TABLES + PAGE) | PAGE_PRESENT | PAGE_WRITABLE;
    tables[1][0] = (VMM_PAGE_TABLES + 2 * PAGE) | PAGE_PRESENT | PAGE_WRITABLE;
    for (guint64 i = 0; i < TABLE_ENTRIES; i++) {
        tables[2][i] = i << 21 | PAGE_PRESENT | PAGE_WRITABLE | PAGE_LARGE;
    }
    return put(memory, VMM_PAGE_TABLES, tables, sizeof(tables), "page tables",
               error);
}

static gboolean put_segments(HostmemGuestMemory *memory, GError **error)
{
    guint64 segments[] = {0, 0, CODE_64, DATA};

    return put(memory, VMM_GDT, segments, sizeof(segments), "segments", error);
}

static void add_e820(struct boot_params *zero_page, guint64 start, guint64 end,
                     guint32 type)
{
    struct boot_e820_entry *entry =
        &zero_page->e820_table[zero_page->e820_entries++];

    entry->addr = start;
    entry->size = end - start;
    entry->type = type;
}

static gboolean put_zero_page(const struct setup_header *header,
                              guint64 initramfs, gsize initramfs_size,
                              guint64 ram_size, HostmemGuestMemory *memory,
                              GError **error)
{
    g_autofree struct boot_params *zero_page = g_new0(struct boot_params, 1);

    zero_page->hdr = *header;
    zero_page->hdr.type_of_loader = LOADER_UNKNOWN;
    zero_page->hdr.cmd_line_ptr = VMM_COMMAND_LINE;
    zero_page->hdr.ramdisk_image = initramfs;
    zero_page->hdr.ramdisk_size = initramfs_size;
    zero_page->acpi_rsdp_addr = VMM_ACPI;
    add_e820(zero_page, 0, VMM_LOW_RAM_END, E820_RAM);
    add_e820(zero_page, VMM_LOW_RAM_END, VMM_HIGH_RAM, E820_RESERVED);
    add_e820(zero_page, VMM_HIGH_RAM, ram_size, E820_RAM);
    return put(memory, VMM_ZERO_PAGE, zero_page, sizeof(*zero_page),
               "zero page", error);
}

/* At the end of RAM, and in the first GiB; sets @address. */
static gboolean put_initramfs(GBytes *initramfs, HostmemGuestMemory *memory,
                              guint64 ram_size, guint64 *address, gsize *size,
                              GError **error)
{
    const void *data = g_bytes_get_data(initramfs, size);
    guint64 end = MIN(ram_size, 1 << 30);

    if (*size > end - VMM_HIGH_RAM) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE,
                    "RAM has no room for the initramfs: %zu bytes", *size);
        return FALSE;
    }
    *address = (end - *size) & ~(guint64)(PAGE - 1);
    return put(memory, *address, data, *size, "initramfs", error);
}

gboolean vmm_boot_load(const VmmBoot *boot, HostmemGuestMemory *memory,
                       guint64 ram_size, guint64 *entry, GError **error)
{
    struct setup_header header;
    gsize length, setup_size, initramfs_size = 0;
    guint64 initramfs = 0;
    const char *line = boot->command_line;
    const guint8 *kernel = g_bytes_get_data(boot->kernel, &length);

    if (!read_header(boot->kernel, &header, &setup_size, error)) {
        return FALSE;
    }
    if (boot->initramfs && !put_initramfs(boot->initramfs, memory, ram_size,
                                          &initramfs, &initramfs_size, error)) {
        return FALSE;
    }
    *entry = header.pref_address + ENTRY_64;
    if (header.pref_address + header.init_size > (initramfs ?: ram_size)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE,
                    "RAM has no room for the kernel: %u bytes at 0x%llx",
                    header.init_size, header.pref_address);
        return FALSE;
    }
    return put(memory, header.pref_address, kernel + setup_size,
               length - setup_size, "kernel", error) &&
           put(memory, VMM_COMMAND_LINE, line, strlen(line) + 1, "command line",
               error) &&
           put_page_tables(memory, error) && put_segments(memory, error) &&
           put_reset_vector(memory, error) &&
           put_zero_page(&header, initramfs, initramfs_size, ram_size, memory,
                         error);
}
