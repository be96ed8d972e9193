/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>
#include "bench-plug.h"

/*
 * A driver of virtio-mem-pci (virtio 1.2, 2.7 and 4.1) that does the least.
 *
 * Guest RAM is a memfd that both processes map.  The ring lies there, with
 * requests and replies; registers are reached through the qtest protocol.  An
 * element is one indirect descriptor, so that as many requests fit as the ring
 * has entries.  QEMU answers a notify when it has served them: so the time
 * from there to here is its time, and that of a line each way.
 */

#define RAM_SIZE       (64 * BENCH_MIB)
#define QUEUE_SIZE     128
#define SLOT           4

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA    0xcfc
#define BAR_ADDRESS    G_GUINT64_CONSTANT(0xe0000000) /* the hole for PCI */
#define N_BARS         6

enum {
    PCI_COMMAND = 0x04,
    PCI_BAR = 0x10,
    PCI_CAPABILITIES = 0x34,
    PCI_MEMORY_AND_MASTER = 0x6,
    PCI_CAP_VENDOR = 0x09,
};

enum {
    CAP_COMMON = 1,
    CAP_NOTIFY = 2,
    N_CAPS = 3,
};

/* Of the common configuration. */
enum {
    DRIVER_FEATURE_SELECT = 8,
    DRIVER_FEATURE = 12,
    DEVICE_STATUS = 20,
    QUEUE_SELECT = 22,
    QUEUE_SIZE_REGISTER = 24,
    QUEUE_ENABLE = 28,
    QUEUE_NOTIFY_OFF = 30,
    QUEUE_DESC = 32,
    QUEUE_DRIVER = 40,
    QUEUE_DEVICE = 48,
};

enum {
    STATUS_ACKNOWLEDGE = 1,
    STATUS_DRIVER = 2,
    STATUS_DRIVER_OK = 4,
    STATUS_FEATURES_OK = 8,
};

#define FEATURE_UNPLUGGED_INACCESSIBLE (1u << 1)
#define FEATURE_INDIRECT_DESC          (1u << 28)
#define FEATURE_VERSION_1              (1u << 0) /* of the upper half */

enum {
    DESC_NEXT = 1,
    DESC_WRITE = 2,
    DESC_INDIRECT = 4,
    AVAIL_NO_INTERRUPT = 1,
};

typedef struct {
    guint64 addr;
    guint32 length;
    guint16 flags;
    guint16 next;
} Descriptor;

typedef struct {
    guint16 type;
    guint16 padding[3];
    guint64 addr;
    guint16 nb_blocks;
    guint16 more_padding[3];
} Request;

typedef struct {
    guint16 type;
    guint16 padding[3];
    guint16 state;
} Reply;

/* All little endian. */
typedef struct {
    Descriptor descriptors[QUEUE_SIZE];
    guint16 available_flags;
    guint16 available_index;
    guint16 available[QUEUE_SIZE + 1];
    guint32 used[2 * QUEUE_SIZE + 2]; /* the first: flags and index */
    Descriptor chains[QUEUE_SIZE][2];
    Request requests[QUEUE_SIZE];
    Reply replies[QUEUE_SIZE];
} Ring;

#define RING_ADDRESS       BENCH_MIB
#define ADDRESS_OF(member) (RING_ADDRESS + G_STRUCT_OFFSET(Ring, member))

/* Where a capability of virtio points to. */
typedef struct {
    guint64 bar;
    guint64 offset;
    guint64 multiplier;
} Place;

struct BenchQemu {
    BenchPeer *qtest;
    guint8 *ram;
    guint64 common; /* physical addresses */
    guint64 notify;
    guint16 index;
};

static Ring *ring_of(const BenchQemu *self)
{
    return (Ring *)(self->ram + RING_ADDRESS);
}

/* PCI */

static gboolean pci_select(BenchQemu *self, guint offset, GError **error)
{
    return bench_qtest_ask(self->qtest, NULL, error, "outl 0x%x 0x%x",
                           CONFIG_ADDRESS, 1u << 31 | SLOT << 11 | offset);
}

static gboolean pci_read(BenchQemu *self, guint offset, guint64 *value,
                         GError **error)
{
    return pci_select(self, offset, error) &&
           bench_qtest_ask(self->qtest, value, error, "inl 0x%x", CONFIG_DATA);
}

static gboolean pci_write(BenchQemu *self, guint offset, guint value,
                          GError **error)
{
    return pci_select(self, offset, error) &&
           bench_qtest_ask(self->qtest, NULL, error, "outl 0x%x 0x%x",
                           CONFIG_DATA, value);
}

/* Takes over what a capability says; sets @at to the next one. */
static gboolean read_capability(BenchQemu *self, guint64 *at, Place *places,
                                GError **error)
{
    guint64 head;
    Place place;

    if (!pci_read(self, *at, &head, error) ||
        !pci_read(self, *at + 4, &place.bar, error) ||
        !pci_read(self, *at + 8, &place.offset, error) ||
        !pci_read(self, *at + 16, &place.multiplier, error)) {
        return FALSE;
    }
    guint kind = head >> 24 & 0xff;
    place.bar &= 0xff;
    if ((head & 0xff) == PCI_CAP_VENDOR && kind < N_CAPS &&
        place.bar < N_BARS) {
        places[kind] = place;
    }
    *at = head >> 8 & 0xfc;
    return TRUE;
}

static gboolean find_capabilities(BenchQemu *self, Place *places,
                                  GError **error)
{
    guint64 at;

    if (!pci_read(self, PCI_CAPABILITIES, &at, error)) {
        return FALSE;
    }
    at &= 0xfc;
    for (guint i = 0; at && i < 256 / 4; i++) {
        if (!read_capability(self, &at, places, error)) {
            return FALSE;
        }
    }
    if (!places[CAP_COMMON].bar || !places[CAP_NOTIFY].bar) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED,
                    "QEMU has no virtio-mem-pci where it was put");
        return FALSE;
    }
    return TRUE;
}

/* QEMU has all of it in one BAR, which has 64 bits. */
static gboolean map_bar(BenchQemu *self, const Place *places, GError **error)
{
    guint bar = PCI_BAR + 4 * places[CAP_COMMON].bar;

    self->common = BAR_ADDRESS + places[CAP_COMMON].offset;
    self->notify = BAR_ADDRESS + places[CAP_NOTIFY].offset;
    return pci_write(self, bar, BAR_ADDRESS, error) &&
           pci_write(self, bar + 4, 0, error) &&
           pci_write(self, PCI_COMMAND, PCI_MEMORY_AND_MASTER, error);
}

/* virtio */

static gboolean set(BenchQemu *self, guint offset, char size, guint value,
                    GError **error)
{
    return bench_qtest_ask(self->qtest, NULL, error,
                           "write%c 0x%" G_GINT64_MODIFIER "x 0x%x", size,
                           self->common + offset, value);
}

static gboolean get(BenchQemu *self, guint offset, char size, guint64 *value,
                    GError **error)
{
    return bench_qtest_ask(self->qtest, value, error,
                           "read%c 0x%" G_GINT64_MODIFIER "x", size,
                           self->common + offset);
}

static gboolean set_features(BenchQemu *self, guint half, guint features,
                             GError **error)
{
    return set(self, DRIVER_FEATURE_SELECT, 'l', half, error) &&
           set(self, DRIVER_FEATURE, 'l', features, error);
}

static gboolean negotiate(BenchQemu *self, GError **error)
{
    guint64 status;

    if (!set(self, DEVICE_STATUS, 'b', STATUS_ACKNOWLEDGE | STATUS_DRIVER,
             error) ||
        !set_features(self, 0,
                      FEATURE_UNPLUGGED_INACCESSIBLE | FEATURE_INDIRECT_DESC,
                      error) ||
        !set_features(self, 1, FEATURE_VERSION_1, error) ||
        !set(self, DEVICE_STATUS, 'b',
             STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK, error) ||
        !get(self, DEVICE_STATUS, 'b', &status, error)) {
        return FALSE;
    }
    if (!(status & STATUS_FEATURES_OK)) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED,
                    "QEMU's virtio-mem refuses our features");
        return FALSE;
    }
    return TRUE;
}

static void fill_ring(BenchQemu *self)
{
    Ring *ring = ring_of(self);

    ring->available_flags = GUINT16_TO_LE(AVAIL_NO_INTERRUPT);
    for (guint i = 0; i < QUEUE_SIZE; i++) {
        ring->descriptors[i] = (Descriptor){
            .addr = GUINT64_TO_LE(ADDRESS_OF(chains[i])),
            .length = GUINT32_TO_LE(sizeof(ring->chains[i])),
            .flags = GUINT16_TO_LE(DESC_INDIRECT),
        };
        ring->chains[i][0] = (Descriptor){
            .addr = GUINT64_TO_LE(ADDRESS_OF(requests[i])),
            .length = GUINT32_TO_LE(sizeof(Request)),
            .flags = GUINT16_TO_LE(DESC_NEXT),
            .next = GUINT16_TO_LE(1),
        };
        ring->chains[i][1] = (Descriptor){
            .addr = GUINT64_TO_LE(ADDRESS_OF(replies[i])),
            .length = GUINT32_TO_LE(sizeof(Reply)),
            .flags = GUINT16_TO_LE(DESC_WRITE),
        };
    }
}

static gboolean make_queue(BenchQemu *self, const Place *places, GError **error)
{
    guint64 off;

    fill_ring(self);
    if (!set(self, QUEUE_SELECT, 'w', 0, error) ||
        !set(self, QUEUE_SIZE_REGISTER, 'w', QUEUE_SIZE, error) ||
        !set(self, QUEUE_DESC, 'l', ADDRESS_OF(descriptors), error) ||
        !set(self, QUEUE_DRIVER, 'l', ADDRESS_OF(available_flags), error) ||
        !set(self, QUEUE_DEVICE, 'l', ADDRESS_OF(used), error) ||
        !get(self, QUEUE_NOTIFY_OFF, 'w', &off, error) ||
        !set(self, QUEUE_ENABLE, 'w', 1, error)) {
        return FALSE;
    }
    self->notify += off * places[CAP_NOTIFY].multiplier;
    return set(self, DEVICE_STATUS, 'b',
               STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK |
                   STATUS_DRIVER_OK,
               error);
}

/* The process */

static BenchPeer *start(const char *program, const char *object, guint64 size,
                        gboolean prealloc, int ram, GError **error)
{
    g_autofree char *memory = g_strdup_printf(
        "%" G_GUINT64_FORMAT "B,slots=2,maxmem=%" G_GUINT64_FORMAT "B",
        RAM_SIZE, BENCH_MEMADDR + size);
    g_autofree char *ram_object =
        g_strdup_printf("memory-backend-file,id=ram,size=%" G_GUINT64_FORMAT
                        ",share=on,mem-path=/proc/self/fd/%d",
                        RAM_SIZE, BENCH_PEER_FD);
    g_autofree char *device = g_strdup_printf(
        "virtio-mem-pci,addr=%d,memdev=m0,memaddr=%" G_GUINT64_FORMAT
        ",block-size=%" G_GUINT64_FORMAT ",requested-size=%" G_GUINT64_FORMAT
        ",unplugged-inaccessible=on,prealloc=%s",
        SLOT, BENCH_MEMADDR, BENCH_BLOCK_SIZE, size, prealloc ? "on" : "off");
    const char *argv[] = {
        program,       "-accel",
        "tcg",         "-S",
        "-display",    "none",
        "-nodefaults", "-no-user-config",
        "-machine",    "q35,memory-backend=ram",
        "-m",          memory,
        "-object",     ram_object,
        "-object",     object,
        "-device",     device,
        NULL,
    };

    return bench_qtest_new(argv, ram, error);
}

static gboolean init(BenchQemu *self, const char *program, const char *object,
                     guint64 size, gboolean prealloc, GError **error)
{
    Place places[N_CAPS] = {{0}};
    int ram = memfd_create("hostmem-bench-ram", MFD_CLOEXEC);

    if (ram < 0 || ftruncate(ram, RAM_SIZE) < 0) {
        return bench_set_errno(error, "memfd_create", errno);
    }
    self->ram =
        mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, ram, 0);
    if (self->ram == MAP_FAILED) {
        self->ram = NULL;
        bench_set_errno(error, "mmap", errno);
    } else {
        self->qtest = start(program, object, size, prealloc, ram, error);
    }
    close(ram);
    return self->qtest && find_capabilities(self, places, error) &&
           map_bar(self, places, error) && negotiate(self, error) &&
           make_queue(self, places, error);
}

BenchQemu *bench_qemu_new(const char *program, const char *object, guint64 size,
                          gboolean prealloc, GError **error)
{
    g_autoptr(BenchQemu) self = g_new0(BenchQemu, 1);

    return init(self, program, object, size, prealloc, error)
               ? g_steal_pointer(&self)
               : NULL;
}

void bench_qemu_free(BenchQemu *self)
{
    g_clear_pointer(&self->qtest, bench_peer_free);
    if (self->ram) {
        munmap(self->ram, RAM_SIZE);
    }
    g_free(self);
}

/* Requests */

static void put(BenchQemu *self, guint i,
                const HostmemVirtioMemRequest *request)
{
    Ring *ring = ring_of(self);

    ring->requests[i] = (Request){
        .type = GUINT16_TO_LE(request->type),
        .addr = GUINT64_TO_LE(request->addr),
        .nb_blocks = GUINT16_TO_LE(request->nb_blocks),
    };
    ring->replies[i].type = G_MAXUINT16;
    ring->available[(guint16)(self->index + i) % QUEUE_SIZE] = GUINT16_TO_LE(i);
}

static gboolean check_replies(BenchQemu *self, guint n, GError **error)
{
    const Ring *ring = ring_of(self);
    guint32 used =
        GUINT32_FROM_LE(__atomic_load_n(&ring->used[0], __ATOMIC_ACQUIRE));

    if (used >> 16 != self->index) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM,
                    "QEMU has not served all requests");
        return FALSE;
    }
    for (guint i = 0; i < n; i++) {
        guint16 type = GUINT16_FROM_LE(ring->replies[i].type);
        if (type != HOSTMEM_VIRTIO_MEM_ACK) {
            g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM,
                        "QEMU answers a request with %u instead of 0", type);
            return FALSE;
        }
    }
    return TRUE;
}

static gint64 serve(BenchQemu *self, const HostmemVirtioMemRequest *requests,
                    guint n, GError **error)
{
    Ring *ring = ring_of(self);

    for (guint i = 0; i < n; i++) {
        put(self, i, &requests[i]);
    }
    self->index += n;
    __atomic_store_n(&ring->available_index, GUINT16_TO_LE(self->index),
                     __ATOMIC_RELEASE);
    gint64 start = bench_now();
    if (!bench_qtest_ask(self->qtest, NULL, error,
                         "writew 0x%" G_GINT64_MODIFIER "x 0", self->notify)) {
        return -1;
    }
    gint64 taken = bench_now() - start;
    return check_replies(self, n, error) ? taken : -1;
}

gint64 bench_qemu_serve(BenchQemu *self,
                        const HostmemVirtioMemRequest *requests, guint n,
                        GError **error)
{
    gint64 sum = 0;

    for (guint done = 0; done < n; done += QUEUE_SIZE) {
        gint64 ns =
            serve(self, requests + done, MIN(n - done, QUEUE_SIZE), error);
        if (ns < 0) {
            return -1;
        }
        sum += ns;
    }
    return sum;
}

gboolean bench_qemu_fill(BenchQemu *self, guint64 addr, guint64 length,
                         GError **error)
{
    return bench_qtest_ask(self->qtest, NULL, error,
                           "memset 0x%" G_GINT64_MODIFIER
                           "x 0x%" G_GINT64_MODIFIER "x 0x5a",
                           addr, length);
}
