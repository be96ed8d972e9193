/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * Regions stand in a table, sorted, that never changes: who adds or removes a
 * region makes another table, puts it in the place of the old one, and waits
 * until nobody reads that any more.  A reader counts itself into the current
 * table, does its access, and counts itself out:
 *
 *   reader    |in|---- find, copy ----|out|
 *   change    ----- make -----|swap|--- wait -|free|
 *
 * Locks: change_lock (one change at a time), then table_lock, which is held
 * for a pointer and a number.  A reader holds neither while it copies, nor
 * while it asks a source.
 *
 * A sparse region may lose memory between the question whether it is populated
 * and the access: another thread serves the guest's unplug.  Touching it then
 * allocates a page, or raises SIGBUS where that cannot be had.  So does other
 * memory that was never populated, when a pool of huge pages or a disk is
 * short, or whose file somebody makes shorter.  Accesses that may meet that run
 * under the SIGBUS guard, and fail.
 */
#include <string.h>
#include "backends/hostmem.h"
#include "backends/virtio/guest-memory.h"
#include "util/align.h"
#include "util/error.h"
#include "util/os.h"
#include "util/sigbus.h"

#define X64 "0x%" G_GINT64_MODIFIER "x"

typedef struct {
    HmRange range;           /* of guest addresses */
    HostmemBackend *backend; /* owned, held */
    guint64 offset;          /* bytes in @backend */
    guint8 *host;
    gboolean writable;
    gboolean certain;             /* no touch of it raises SIGBUS */
    HostmemDiscardSource *source; /* owned (nullable) */
} Region;

typedef struct {
    guint readers;      /* under table_lock */
    GPtrArray *regions; /* of Region, borrowed, by address */
} Table;

struct _HostmemGuestMemory {
    GObject parent_instance;

    GMutex change_lock;

    GMutex table_lock; /* guards what follows */
    GCond unread;      /* an old table has lost its last reader */
    Table *table;
};

typedef struct {
    GObjectClass parent_class;
} HostmemGuestMemoryClass;

G_DEFINE_FINAL_TYPE(HostmemGuestMemory, hostmem_guest_memory, G_TYPE_OBJECT)

/* Regions */

/* Takes the hold of @backend. */
static Region *region_new(const HmRange *range, HostmemBackend *backend,
                          guint64 offset, HostmemDiscardSource *source)
{
    Region *self = g_new(Region, 1);

    hm_backend_need(backend, offset + range->length);
    *self = (Region){
        .range = *range,
        .backend = g_object_ref(backend),
        .offset = offset,
        .host = (guint8 *)hostmem_backend_get_host_addr(backend) + offset,
        .writable = backend->writable,
        .certain = !source && hm_backing_is_certain(&backend->backing),
        .source = source ? g_object_ref(source) : NULL,
    };
    return self;
}

static void region_free(Region *self)
{
    g_clear_object(&self->source);
    hm_backend_need_no_more(self->backend, self->offset + self->range.length);
    hostmem_object_release(HOSTMEM_OBJECT(self->backend));
    g_object_unref(self->backend);
    g_free(self);
}

/* Whether the part of it may be touched now. */
static gboolean region_allows(const Region *self, const HmRange *part,
                              gboolean writable)
{
    if (writable && !self->writable) {
        return FALSE;
    }
    return !self->source ||
           hostmem_discard_source_is_populated(
               self->source, self->offset + part->offset - self->range.offset,
               part->length);
}

/* Tables */

static Table *table_new(void)
{
    Table *self = g_new0(Table, 1);

    self->regions = g_ptr_array_new();
    return self;
}

static void table_free(Table *self)
{
    g_ptr_array_unref(self->regions);
    g_free(self);
}

static Region *table_get(const Table *self, guint i)
{
    return self->regions->pdata[i];
}

/* Index of the first region that ends behind @address. */
static guint table_find(const Table *self, guint64 address)
{
    guint low = 0;
    guint high = self->regions->len;

    while (low < high) {
        guint middle = low + (high - low) / 2;

        if (hm_range_end(&table_get(self, middle)->range) <= address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The region at the start of @range, and how much of @range lies in it; NULL
 * when none is there. */
static const Region *table_split(const Table *self, const HmRange *range,
                                 HmRange *part)
{
    guint i = table_find(self, range->offset);

    if (i == self->regions->len ||
        table_get(self, i)->range.offset > range->offset) {
        return NULL;
    }
    hm_range_intersect(&table_get(self, i)->range, range, part);
    return table_get(self, i);
}

static gboolean table_allows(const Table *self, HmRange range,
                             gboolean writable)
{
    HmRange part;

    do {
        const Region *region = table_split(self, &range, &part);

        if (!region || !region_allows(region, &part, writable)) {
            return FALSE;
        }
        range.offset += part.length;
        range.length -= part.length;
    } while (range.length);
    return TRUE;
}

static Table *begin_read(HostmemGuestMemory *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->table_lock);

    self->table->readers++;
    return self->table;
}

static void end_read(HostmemGuestMemory *self, Table *table)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->table_lock);

    if (--table->readers == 0 && table != self->table) {
        g_cond_broadcast(&self->unread);
    }
}

/* Takes @table; nobody reads the old one any more on return. */
static void replace_table(HostmemGuestMemory *self, Table *table)
{
    Table *old;

    g_mutex_lock(&self->table_lock);
    old = self->table;
    self->table = table;
    while (old->readers) {
        g_cond_wait(&self->unread, &self->table_lock);
    }
    g_mutex_unlock(&self->table_lock);
    table_free(old);
}

/* Accesses */

typedef enum {
    READ,
    WRITE,
    LOAD16,
    STORE16,
} AccessKind;

typedef struct {
    AccessKind kind;
    guint8 *host;
    guint8 *data; /* ours */
    gsize length; /* bytes */
} Access;

static gboolean is_write(AccessKind kind)
{
    return kind == WRITE || kind == STORE16;
}

static void do_access(gpointer data)
{
    const Access *access = data;

    switch (access->kind) {
    case READ:
        memcpy(access->data, access->host, access->length);
        /* No compiler may look at @host again instead of the copy. */
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        break;
    case WRITE:
        memcpy(access->host, access->data, access->length);
        break;
    case LOAD16:
        *(guint16 *)access->data =
            __atomic_load_n((guint16 *)access->host, __ATOMIC_ACQUIRE);
        break;
    case STORE16:
        __atomic_store_n((guint16 *)access->host, *(guint16 *)access->data,
                         __ATOMIC_RELEASE);
        break;
    }
}

static gboolean access_region(const Region *region, Access *access)
{
    void *fault;

    if (region->certain) {
        do_access(access);
        return TRUE;
    }
    return hm_sigbus_run(do_access, access, access->host, access->length,
                         &fault) == 0;
}

static gboolean access_table(const Table *table, HmRange range, AccessKind kind,
                             guint8 *data)
{
    HmRange part;

    if (!table_allows(table, range, is_write(kind))) {
        return FALSE;
    }
    do {
        const Region *region = table_split(table, &range, &part);
        Access access = {
            .kind = kind,
            .host = region->host + (part.offset - region->range.offset),
            .data = data,
            .length = part.length,
        };

        if (!access_region(region, &access)) {
            return FALSE;
        }
        data += part.length;
        range.offset += part.length;
        range.length -= part.length;
    } while (range.length);
    return TRUE;
}

static gboolean access_memory(HostmemGuestMemory *self, guint64 address,
                              gsize length, AccessKind kind, gpointer data)
{
    HmRange range;
    Table *table;
    gboolean ok;

    if (!hm_range_init(&range, address, length)) {
        return length == 0;
    }
    table = begin_read(self);
    ok = access_table(table, range, kind, data);
    end_read(self, table);
    return ok;
}

gboolean hostmem_guest_memory_read(HostmemGuestMemory *self, guint64 address,
                                   gpointer data, gsize length)
{
    g_return_val_if_fail(HOSTMEM_IS_GUEST_MEMORY(self), FALSE);

    return access_memory(self, address, length, READ, data);
}

gboolean hostmem_guest_memory_write(HostmemGuestMemory *self, guint64 address,
                                    gconstpointer data, gsize length)
{
    g_return_val_if_fail(HOSTMEM_IS_GUEST_MEMORY(self), FALSE);

    return access_memory(self, address, length, WRITE, (gpointer)data);
}

/* An even address keeps both bytes in one region: they consist of pages. */
gboolean hm_guest_memory_load16(HostmemGuestMemory *self, guint64 address,
                                guint16 *value)
{
    guint16 raw;

    if (!access_memory(self, address, sizeof(raw), LOAD16, &raw)) {
        return FALSE;
    }
    *value = GUINT16_FROM_LE(raw);
    return TRUE;
}

gboolean hm_guest_memory_store16(HostmemGuestMemory *self, guint64 address,
                                 guint16 value)
{
    guint16 raw = GUINT16_TO_LE(value);

    return access_memory(self, address, sizeof(raw), STORE16, &raw);
}

gboolean hm_guest_memory_is_ram(HostmemGuestMemory *self, guint64 address,
                                guint64 length, gboolean writable)
{
    HmRange range;
    Table *table;
    gboolean ok;

    if (!hm_range_init(&range, address, length)) {
        return FALSE;
    }
    table = begin_read(self);
    ok = table_allows(table, range, writable);
    end_read(self, table);
    return ok;
}

static gpointer lookup(const Table *table, const HmRange *range)
{
    HmRange part;
    const Region *region = table_split(table, range, &part);

    if (!region || part.length != range->length ||
        !region_allows(region, &part, FALSE)) {
        return NULL;
    }
    return region->host + (part.offset - region->range.offset);
}

gpointer hostmem_guest_memory_lookup(HostmemGuestMemory *self, guint64 address,
                                     guint64 length)
{
    g_return_val_if_fail(HOSTMEM_IS_GUEST_MEMORY(self), NULL);

    HmRange range;
    Table *table;
    gpointer host;

    if (!hm_range_init(&range, address, length)) {
        return NULL;
    }
    table = begin_read(self);
    host = lookup(table, &range);
    end_read(self, table);
    return host;
}

/* Changes */

static gboolean check_range(HostmemBackend *backend, guint64 address,
                            guint64 offset, guint64 length, HmRange *range,
                            GError **error)
{
    const HmRange all = {0, hostmem_backend_get_size(backend)};
    g_autofree char *what = NULL;
    HmRange part;

    if (hostmem_backend_get_host_addr(backend) &&
        hm_is_aligned(address | offset | length, hm_os_page_size()) &&
        hm_range_init(range, address, length) &&
        hm_range_init(&part, offset, length) &&
        hm_range_contains(&all, &part)) {
        return TRUE;
    }
    what = hm_object_describe(HOSTMEM_OBJECT(backend));
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "cannot place " X64 " bytes at offset " X64
                        " of %s at guest address " X64
                        ": not whole pages of a ready backend of " X64 " bytes",
                        length, offset, what, address, all.length);
}

/* The index for a region at @range. */
static gboolean find_room(const Table *table, const HmRange *range,
                          guint *index, GError **error)
{
    const Region *next;
    g_autofree char *what = NULL;

    *index = table_find(table, range->offset);
    if (*index == table->regions->len) {
        return TRUE;
    }
    next = table_get(table, *index);
    if (next->range.offset >= hm_range_end(range)) {
        return TRUE;
    }
    what = hm_object_describe(HOSTMEM_OBJECT(next->backend));
    return hm_set_error(error, HOSTMEM_ERROR_EXISTS,
                        "cannot place " X64 " bytes at guest address " X64
                        ": %s has " X64 " bytes at " X64,
                        range->length, range->offset, what, next->range.length,
                        next->range.offset);
}

static Table *copy_table(const Table *table)
{
    Table *copy = table_new();

    for (guint i = 0; i < table->regions->len; i++) {
        g_ptr_array_add(copy->regions, table_get(table, i));
    }
    return copy;
}

/* Takes the hold of @backend when it returns TRUE. */
static gboolean add_held(HostmemGuestMemory *self, guint64 address,
                         HostmemBackend *backend, guint64 offset,
                         guint64 length, HostmemDiscardSource *source,
                         GError **error)
{
    g_autoptr(GMutexLocker) locker = NULL;
    HmRange range;
    Table *table;
    guint index;

    if (!check_range(backend, address, offset, length, &range, error)) {
        return FALSE;
    }
    locker = g_mutex_locker_new(&self->change_lock);
    if (!find_room(self->table, &range, &index, error)) {
        return FALSE;
    }
    table = copy_table(self->table);
    g_ptr_array_insert(table->regions, (gint)index,
                       region_new(&range, backend, offset, source));
    replace_table(self, table);
    return TRUE;
}

gboolean hostmem_guest_memory_add(HostmemGuestMemory *self, guint64 address,
                                  HostmemBackend *backend, guint64 offset,
                                  guint64 length, HostmemDiscardSource *source,
                                  GError **error)
{
    g_return_val_if_fail(HOSTMEM_IS_GUEST_MEMORY(self), FALSE);
    g_return_val_if_fail(HOSTMEM_IS_BACKEND(backend), FALSE);
    g_return_val_if_fail(!source || HOSTMEM_IS_DISCARD_SOURCE(source), FALSE);

    /* First, for the size and the address can change until then. */
    hostmem_object_hold(HOSTMEM_OBJECT(backend));
    if (add_held(self, address, backend, offset, length, source, error)) {
        return TRUE;
    }
    hostmem_object_release(HOSTMEM_OBJECT(backend));
    return FALSE;
}

/* Returns: (transfer full): which nobody reads any more; NULL: none */
static Region *take_region(HostmemGuestMemory *self, guint64 address)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->change_lock);
    guint index = table_find(self->table, address);
    Region *region;
    Table *table;

    if (index == self->table->regions->len ||
        table_get(self->table, index)->range.offset != address) {
        return NULL;
    }
    table = copy_table(self->table);
    region = g_ptr_array_remove_index(table->regions, index);
    replace_table(self, table);
    return region;
}

gboolean hostmem_guest_memory_remove(HostmemGuestMemory *self, guint64 address,
                                     GError **error)
{
    g_return_val_if_fail(HOSTMEM_IS_GUEST_MEMORY(self), FALSE);

    Region *region = take_region(self, address);

    if (!region) {
        return hm_set_error(error, HOSTMEM_ERROR_NOT_FOUND,
                            "no guest memory starts at " X64, address);
    }
    /* Without the lock: listeners of a source that goes with it may come. */
    region_free(region);
    return TRUE;
}

/* Life */

static void hostmem_guest_memory_init(HostmemGuestMemory *self)
{
    g_mutex_init(&self->change_lock);
    g_mutex_init(&self->table_lock);
    g_cond_init(&self->unread);
    self->table = table_new();
}

static void hostmem_guest_memory_finalize(GObject *object)
{
    HostmemGuestMemory *self = HOSTMEM_GUEST_MEMORY(object);

    for (guint i = 0; i < self->table->regions->len; i++) {
        region_free(table_get(self->table, i));
    }
    table_free(self->table);
    g_cond_clear(&self->unread);
    g_mutex_clear(&self->table_lock);
    g_mutex_clear(&self->change_lock);
    G_OBJECT_CLASS(hostmem_guest_memory_parent_class)->finalize(object);
}

static void hostmem_guest_memory_class_init(HostmemGuestMemoryClass *klass)
{
    G_OBJECT_CLASS(klass)->finalize = hostmem_guest_memory_finalize;
}

HostmemGuestMemory *hostmem_guest_memory_new(void)
{
    return g_object_new(HOSTMEM_TYPE_GUEST_MEMORY, NULL);
}
