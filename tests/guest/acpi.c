/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ACPI 6.4: a hardware-reduced machine (4.1) with one CPU, one I/O APIC and
 * what dsdt.asl says.  Tables are packed and little endian; so is the host.
 */
#include <string.h>
#include "vmm.h"
#include "dsdt.hex"

#define MAKER "HSTMEM"
#define MODEL "VMM     "

#pragma pack(push, 1)
typedef struct {
    char signature[4];
    guint32 length;
    guint8 revision;
    guint8 checksum;
    char maker[6];
    char model[8];
    guint32 model_revision;
    char compiler[4];
    guint32 compiler_revision;
} Header;

typedef struct {
    char signature[8];
    guint8 checksum;
    char maker[6];
    guint8 revision;
    guint32 rsdt;
    guint32 length;
    guint64 xsdt;
    guint8 extended_checksum;
    guint8 reserved[3];
} Root;

typedef struct {
    Header header;
    guint64 fadt;
    guint64 madt;
} Xsdt;

/* A register, 5.2.3.2. */
typedef struct {
    guint8 space;
    guint8 bits;
    guint8 offset;
    guint8 access;
    guint64 address;
} Address;

typedef struct {
    Header header;
    guint8 unused1[73];
    guint16 boot_flags; /* 109 */
    guint8 unused2;
    guint32 flags; /* 112 */
    Address reset_register;
    guint8 reset_value;
    guint8 unused3[2];
    guint8 minor_revision;
    guint64 facs;
    guint64 dsdt; /* 140 */
    guint8 unused4[96];
    Address sleep_control; /* 244 */
    Address sleep_status;
    guint64 hypervisor;
} Fadt;

typedef struct {
    Header header;
    guint32 local_apic;
    guint32 flags;
    struct {
        guint8 type, length, processor, id;
        guint32 flags;
    } cpu;
    struct {
        guint8 type, length, id, reserved;
        guint32 address;
        guint32 first_input;
    } io_apic;
} Madt;

typedef struct {
    Root root;
    Xsdt xsdt;
    Fadt fadt;
    Madt madt;
    guint8 dsdt[sizeof(dsdt_aml_code)];
} Tables;
#pragma pack(pop)

#define GUEST_ADDRESS(member) (VMM_ACPI + G_STRUCT_OFFSET(Tables, member))

G_STATIC_ASSERT(sizeof(Root) == 36);
G_STATIC_ASSERT(G_STRUCT_OFFSET(Fadt, dsdt) == 140);
G_STATIC_ASSERT(sizeof(Fadt) == 276);

#define FADT_NO_VGA      (1 << 2) /* 5.2.9.3 */
#define FADT_NO_CLOCK    (1 << 5)
#define FADT_RESET       (1 << 10) /* 5.2.9 */
#define FADT_REDUCED     (1 << 20)
#define SYSTEM_IO        1
#define BYTE_ACCESS      1
#define MADT_CPU         0 /* 5.2.12 */
#define MADT_CPU_ENABLED 1
#define MADT_IO_APIC     1

static const Address power_port = {
    .space = SYSTEM_IO,
    .bits = 8,
    .access = BYTE_ACCESS,
    .address = VMM_POWER_PORT,
};

/* What makes the sum of all bytes zero. */
static guint8 checksum(gconstpointer table, gsize length)
{
    const guint8 *bytes = table;
    guint8 sum = 0;

    for (gsize i = 0; i < length; i++) {
        sum += bytes[i];
    }
    return -sum;
}

static void finish(Header *header, const char *signature, guint8 revision,
                   guint32 length)
{
    memcpy(header->signature, signature, sizeof(header->signature));
    memcpy(header->maker, MAKER, sizeof(header->maker));
    memcpy(header->model, MODEL, sizeof(header->model));
    header->length = length;
    header->revision = revision;
    header->checksum = checksum(header, length);
}

static void fill_root(Root *root, guint64 xsdt)
{
    memcpy(root->signature, "RSD PTR ", sizeof(root->signature));
    memcpy(root->maker, MAKER, sizeof(root->maker));
    root->revision = 2;
    root->length = sizeof(*root);
    root->xsdt = xsdt;
    root->checksum = checksum(root, 20); /* the part of revision 0 */
    root->extended_checksum = checksum(root, sizeof(*root));
}

static void fill_fadt(Fadt *fadt, guint64 dsdt)
{
    fadt->boot_flags = FADT_NO_VGA | FADT_NO_CLOCK;
    fadt->flags = FADT_RESET | FADT_REDUCED;
    fadt->reset_register = power_port;
    fadt->reset_value = VMM_POWER_RESET;
    fadt->sleep_control = power_port;
    fadt->sleep_status = power_port;
    fadt->minor_revision = 4;
    fadt->dsdt = dsdt;
    finish(&fadt->header, "FACP", 6, sizeof(*fadt));
}

static void fill_madt(Madt *madt)
{
    madt->local_apic = VMM_LOCAL_APIC;
    madt->cpu.type = MADT_CPU;
    madt->cpu.length = sizeof(madt->cpu);
    madt->cpu.flags = MADT_CPU_ENABLED;
    madt->io_apic.type = MADT_IO_APIC;
    madt->io_apic.length = sizeof(madt->io_apic);
    madt->io_apic.address = VMM_IOAPIC;
    finish(&madt->header, "APIC", 5, sizeof(*madt));
}

gboolean vmm_acpi_write(HostmemGuestMemory *memory, GError **error)
{
    Tables tables = {0};

    fill_root(&tables.root, GUEST_ADDRESS(xsdt));
    tables.xsdt.fadt = GUEST_ADDRESS(fadt);
    tables.xsdt.madt = GUEST_ADDRESS(madt);
    finish(&tables.xsdt.header, "XSDT", 1, sizeof(tables.xsdt));
    fill_fadt(&tables.fadt, GUEST_ADDRESS(dsdt));
    fill_madt(&tables.madt);
    memcpy(tables.dsdt, dsdt_aml_code, sizeof(tables.dsdt));
    if (!hostmem_guest_memory_write(memory, VMM_ACPI, &tables,
                                    sizeof(tables))) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE,
                    "RAM has no room for ACPI tables");
        return FALSE;
    }
    return TRUE;
}
