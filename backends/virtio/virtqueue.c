/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * Both sides count chains: the driver in the available ring's idx, we in the
 * used ring's.  An entry is valid once idx has passed it, so idx is read with
 * acquire and written with release order.
 *
 *            flags  idx  entries of the ring                     event
 *   avail      2     2   2 x size: head of a chain                 2
 *   used       2     2   8 x size: head, bytes written             2
 *
 * Each side tells the other when it wants to be notified: by its flags, or
 * with VIRTIO_F_EVENT_IDX by the event behind its ring, which names the entry
 * of the other's ring.  Who writes idx and then reads that must not have the
 * two swapped, nor who writes the event and then looks at idx: else both sides
 * sleep.  So there is a full barrier in between.
 */
#include "backends/virtio/guest-memory.h"
#include "backends/virtio/virtqueue.h"
#include "util/align.h"
#include "util/error.h"

#define X64 "0x%" G_GINT64_MODIFIER "x"

/* virtio 1.2, 2.7: bytes of the parts of a ring */
enum {
    DESCRIPTOR_SIZE = 16,
    AVAILABLE_SIZE = 2,
    USED_SIZE = 8,
    HEADER_SIZE = 4,
    EVENT_SIZE = 2,
    IDX_OFFSET = 2,
};
#define F_NO_INTERRUPT 1 /* in the flags of the available ring */
#define F_NO_NOTIFY    1 /* in the flags of the used ring */

struct _HostmemVirtqueue {
    HostmemGuestMemory *memory; /* owned */
    guint16 size;
    guint64 descriptors;
    guint64 available;
    guint64 used;
    gboolean indirect;
    gboolean event_idx;

    guint16 next_available; /* chains popped */
    guint16 next_used;      /* chains pushed */
    guint32 in_flight;      /* popped and not pushed */
    guint32 unannounced;    /* pushed since should_notify() was asked */
    gboolean notifications; /* the driver is to notify */
    GError *broken;         /* (nullable): why */
    gint stopped;           /* atomic */
};

/* Creation */

typedef struct {
    const char *name;
    guint64 address;
    guint64 length;
    guint64 align;
    gboolean writable;
} Part;

static gboolean check_part(HostmemGuestMemory *memory, const Part *part,
                           GError **error)
{
    if (!hm_is_aligned(part->address, part->align)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "the %s at " X64
                            " is not at a multiple of %" G_GUINT64_FORMAT,
                            part->name, part->address, part->align);
    }
    if (!hm_guest_memory_is_ram(memory, part->address, part->length,
                                part->writable)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "the %s, %" G_GUINT64_FORMAT " bytes at " X64
                            ", is not in %sguest RAM",
                            part->name, part->length, part->address,
                            part->writable ? "writable " : "");
    }
    return TRUE;
}

static gboolean check_parts(const HostmemVirtqueue *self, GError **error)
{
    const guint64 frame = HEADER_SIZE + (self->event_idx ? EVENT_SIZE : 0);
    const Part parts[] = {
        {"descriptor table", self->descriptors,
         (guint64)self->size * DESCRIPTOR_SIZE, 16, FALSE},
        {"available ring", self->available,
         (guint64)self->size * AVAILABLE_SIZE + frame, 2, FALSE},
        {"used ring", self->used, (guint64)self->size * USED_SIZE + frame, 4,
         TRUE},
    };

    for (guint i = 0; i < G_N_ELEMENTS(parts); i++) {
        if (!check_part(self->memory, &parts[i], error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean check_new(const HostmemVirtqueue *self, guint64 features,
                          GError **error)
{
    if (!(features & HOSTMEM_VIRTIO_F_VERSION_1)) {
        return hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                            "a queue without VIRTIO_F_VERSION_1 is not "
                            "supported");
    }
    if (!hm_is_pow2(self->size) || self->size > HOSTMEM_VIRTQUEUE_SIZE_MAX) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "the size of the queue, %u, is no power of two",
                            self->size);
    }
    return check_parts(self, error);
}

HostmemVirtqueue *hostmem_virtqueue_new(HostmemGuestMemory *memory,
                                        guint16 size, guint64 descriptors,
                                        guint64 available, guint64 used,
                                        guint64 features, GError **error)
{
    g_return_val_if_fail(HOSTMEM_IS_GUEST_MEMORY(memory), NULL);

    g_autoptr(HostmemVirtqueue) self = g_new(HostmemVirtqueue, 1);

    *self = (HostmemVirtqueue){
        .memory = g_object_ref(memory),
        .size = size,
        .descriptors = descriptors,
        .available = available,
        .used = used,
        .indirect = (features & HOSTMEM_VIRTIO_F_INDIRECT_DESC) != 0,
        .event_idx = (features & HOSTMEM_VIRTIO_F_EVENT_IDX) != 0,
        .notifications = TRUE,
    };
    return check_new(self, features, error) ? g_steal_pointer(&self) : NULL;
}

void hostmem_virtqueue_free(HostmemVirtqueue *self)
{
    if (!self) {
        return;
    }
    g_object_unref(self->memory);
    g_clear_error(&self->broken);
    g_free(self);
}

/* Broken queues */

gboolean hostmem_virtqueue_is_broken(HostmemVirtqueue *self)
{
    g_return_val_if_fail(self, TRUE);

    return self->broken != NULL;
}

/* Returns: TRUE; or FALSE with a copy of why it is broken. */
static gboolean check_whole(const HostmemVirtqueue *self, GError **error)
{
    if (!self->broken) {
        return TRUE;
    }
    if (error) {
        *error = g_error_copy(self->broken);
    }
    return FALSE;
}

/* Returns: FALSE */
static gboolean lost_ring(HostmemVirtqueue *self, const char *name)
{
    return hm_set_error(&self->broken, HOSTMEM_ERROR_INVALID,
                        "the %s ring is not in guest RAM any more", name);
}

/* The rings; FALSE: it is broken now. */

static gboolean load_available(HostmemVirtqueue *self, guint64 offset,
                               guint16 *value)
{
    return hm_guest_memory_load16(self->memory, self->available + offset,
                                  value) ||
           lost_ring(self, "available");
}

static gboolean store_used(HostmemVirtqueue *self, guint64 offset,
                           guint16 value)
{
    return hm_guest_memory_store16(self->memory, self->used + offset, value) ||
           lost_ring(self, "used");
}

/* Offsets of entry @index; those of the entry behind the last are the event's.
 */
static guint64 available_entry(guint32 index)
{
    return HEADER_SIZE + (guint64)AVAILABLE_SIZE * index;
}

static guint64 used_entry(guint32 index)
{
    return HEADER_SIZE + (guint64)USED_SIZE * index;
}

/* Full barrier; __atomic_thread_fence() is not known to TSan. */
static void full_barrier(void)
{
    __sync_synchronize();
}

/* The driver is to notify of the chain that will be popped next. */
static gboolean ask_for_next(HostmemVirtqueue *self)
{
    const gboolean ok =
        self->event_idx
            ? store_used(self, used_entry(self->size), self->next_available)
            : store_used(self, 0, 0);

    full_barrier();
    return ok;
}

/* How many chains are available. */
static gboolean count_available(HostmemVirtqueue *self, guint16 *n)
{
    guint16 idx;

    if (!load_available(self, IDX_OFFSET, &idx)) {
        return FALSE;
    }
    *n = (guint16)(idx - self->next_available);
    if (*n > self->size) {
        return hm_set_error(&self->broken, HOSTMEM_ERROR_INVALID,
                            "the available index went from %u to %u, in a "
                            "queue of %u",
                            self->next_available, idx, self->size);
    }
    return TRUE;
}

/* Popping */

static gboolean read_head(HostmemVirtqueue *self, guint16 *head)
{
    const guint16 index = self->next_available & (self->size - 1);

    if (!load_available(self, available_entry(index), head)) {
        return FALSE;
    }
    if (*head >= self->size) {
        return hm_set_error(&self->broken, HOSTMEM_ERROR_INVALID,
                            "a chain begins with descriptor %u, of %u", *head,
                            self->size);
    }
    return TRUE;
}

static gboolean read_chain(HostmemVirtqueue *self,
                           HostmemVirtqueueElement **element)
{
    HmChainStart start = {
        .memory = self->memory,
        .table = self->descriptors,
        .size = self->size,
        .indirect = self->indirect,
    };

    if (self->in_flight == self->size) {
        return hm_set_error(&self->broken, HOSTMEM_ERROR_INVALID,
                            "a chain is available while %u are in use, all "
                            "that the queue can have",
                            self->in_flight);
    }
    if (!read_head(self, &start.head)) {
        return FALSE;
    }
    *element = hm_virtqueue_chain_read(&start, &self->broken);
    return *element != NULL;
}

static gboolean pop(HostmemVirtqueue *self, HostmemVirtqueueElement **element)
{
    guint16 n;

    if (!count_available(self, &n)) {
        return FALSE;
    }
    if (n == 0) {
        return TRUE;
    }
    if (!read_chain(self, element)) {
        return FALSE;
    }
    self->next_available++;
    self->in_flight++;
    return !self->event_idx || !self->notifications || ask_for_next(self);
}

gboolean hostmem_virtqueue_pop(HostmemVirtqueue *self,
                               HostmemVirtqueueElement **element,
                               GError **error)
{
    g_return_val_if_fail(self && element, FALSE);

    *element = NULL;
    if (!self->broken && g_atomic_int_get(&self->stopped)) {
        return TRUE;
    }
    if (!self->broken && !pop(self, element)) {
        g_clear_pointer(element, hostmem_virtqueue_element_free);
    }
    return check_whole(self, error);
}

/* Pushing */

static gboolean write_used(HostmemVirtqueue *self, guint32 head,
                           guint32 written)
{
    const guint16 index = self->next_used & (self->size - 1);
    const guint32 entry[] = {GUINT32_TO_LE(head), GUINT32_TO_LE(written)};

    return hostmem_guest_memory_write(self->memory,
                                      self->used + used_entry(index), entry,
                                      sizeof(entry)) ||
           lost_ring(self, "used");
}

static gboolean push(HostmemVirtqueue *self,
                     const HostmemVirtqueueElement *element, guint32 written)
{
    if (!write_used(self, hm_virtqueue_element_get_head(element), written) ||
        !store_used(self, IDX_OFFSET, (guint16)(self->next_used + 1))) {
        return FALSE;
    }
    self->next_used++;
    self->in_flight--;
    self->unannounced++;
    return TRUE;
}

gboolean hostmem_virtqueue_push(HostmemVirtqueue *self,
                                HostmemVirtqueueElement *element,
                                guint32 written, GError **error)
{
    g_autoptr(HostmemVirtqueueElement) owned = element;

    g_return_val_if_fail(self && element && self->in_flight, FALSE);
    g_return_val_if_fail(
        written <= hostmem_virtqueue_element_get_in_size(element), FALSE);

    if (!self->broken) {
        push(self, element, written);
    }
    return check_whole(self, error);
}

/* Notifications */

/* Has the driver's event been among the last @n entries of the used ring? */
static gboolean passed_event(const HostmemVirtqueue *self, guint16 event,
                             guint32 n)
{
    const guint16 since = (guint16)(self->next_used - event - 1);

    return since < n;
}

gboolean hostmem_virtqueue_should_notify(HostmemVirtqueue *self)
{
    g_return_val_if_fail(self, FALSE);

    const guint32 n = self->unannounced;
    guint16 value;

    if (!n || self->broken) {
        return FALSE;
    }
    self->unannounced = 0;
    full_barrier();
    if (!load_available(self, self->event_idx ? available_entry(self->size) : 0,
                        &value)) {
        return FALSE;
    }
    return self->event_idx ? passed_event(self, value, n)
                           : !(value & F_NO_INTERRUPT);
}

void hostmem_virtqueue_disable_notifications(HostmemVirtqueue *self)
{
    g_return_if_fail(self);

    if (self->broken || !self->notifications) {
        return;
    }
    self->notifications = FALSE;
    if (!self->event_idx) {
        store_used(self, 0, F_NO_NOTIFY);
    }
}

gboolean hostmem_virtqueue_enable_notifications(HostmemVirtqueue *self)
{
    g_return_val_if_fail(self, FALSE);

    guint16 n = 0;

    if (self->broken) {
        return FALSE;
    }
    self->notifications = TRUE;
    if (!ask_for_next(self)) {
        return FALSE;
    }
    return !g_atomic_int_get(&self->stopped) && count_available(self, &n) &&
           n > 0;
}

/* The rest */

void hostmem_virtqueue_stop(HostmemVirtqueue *self)
{
    g_return_if_fail(self);

    g_atomic_int_set(&self->stopped, TRUE);
}

void hostmem_virtqueue_get_indexes(HostmemVirtqueue *self, guint16 *available,
                                   guint16 *used)
{
    g_return_if_fail(self && available && used);

    *available = self->next_available;
    *used = self->next_used;
}

void hostmem_virtqueue_set_indexes(HostmemVirtqueue *self, guint16 available,
                                   guint16 used)
{
    g_return_if_fail(self && !self->in_flight);

    self->next_available = available;
    self->next_used = used;
}
