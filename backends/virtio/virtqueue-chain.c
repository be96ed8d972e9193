/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * A chain is walked once.  Each descriptor is copied, checked, and becomes a
 * buffer of the element: an address and a length that are known to be guest
 * RAM.  Nobody looks at the descriptors again.  The walk ends, whatever the
 * guest writes meanwhile, because a chain has at most as many descriptors as
 * the queue; so a loop is a chain that is too long.
 */
#include "backends/virtio/guest-memory.h"
#include "backends/virtio/virtqueue.h"
#include "util/error.h"

#define X64 "0x%" G_GINT64_MODIFIER "x"

/* virtio 1.2, 2.7.5 */
#define CHAIN_BYTES_MAX (G_GUINT64_CONSTANT(1) << 32)
enum {
    F_NEXT = 1,
    F_WRITE = 2,
    F_INDIRECT = 4,
};

typedef struct {
    guint64 address; /* guest physical */
    guint32 length;
    guint16 flags;
    guint16 next;
} Descriptor;
G_STATIC_ASSERT(sizeof(Descriptor) == 16);

typedef struct {
    guint64 address; /* guest physical */
    guint32 length;  /* not 0 */
} Buffer;

struct _HostmemVirtqueueElement {
    HostmemGuestMemory *memory; /* owned */
    guint16 head;
    GArray *out; /* of Buffer, to be read */
    GArray *in;  /* of Buffer, to be written to */
    guint64 out_size;
    guint64 in_size;
};

/* One walk. */
typedef struct {
    const HmChainStart *start;
    HostmemVirtqueueElement *element;
    guint64 table; /* the one it is in now */
    guint32 size;
    gboolean in_indirect;
    guint n; /* buffers so far */
} Walk;

static HostmemVirtqueueElement *element_new(const HmChainStart *start)
{
    HostmemVirtqueueElement *self = g_new(HostmemVirtqueueElement, 1);

    *self = (HostmemVirtqueueElement){
        .memory = g_object_ref(start->memory),
        .head = start->head,
        .out = g_array_new(FALSE, FALSE, sizeof(Buffer)),
        .in = g_array_new(FALSE, FALSE, sizeof(Buffer)),
    };
    return self;
}

void hostmem_virtqueue_element_free(HostmemVirtqueueElement *self)
{
    if (!self) {
        return;
    }
    g_array_unref(self->out);
    g_array_unref(self->in);
    g_object_unref(self->memory);
    g_free(self);
}

guint16 hm_virtqueue_element_get_head(const HostmemVirtqueueElement *self)
{
    return self->head;
}

/* Reading */

static gboolean read_descriptor(const Walk *walk, guint16 index,
                                Descriptor *descriptor, GError **error)
{
    guint64 address = walk->table + (guint64)index * sizeof(*descriptor);

    if (!hostmem_guest_memory_read(walk->start->memory, address, descriptor,
                                   sizeof(*descriptor))) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "descriptor %u at " X64 " is not in guest RAM",
                            index, address);
    }
    descriptor->address = GUINT64_FROM_LE(descriptor->address);
    descriptor->length = GUINT32_FROM_LE(descriptor->length);
    descriptor->flags = GUINT16_FROM_LE(descriptor->flags);
    descriptor->next = GUINT16_FROM_LE(descriptor->next);
    return TRUE;
}

static gboolean check_table(const Walk *walk, const Descriptor *descriptor,
                            GError **error)
{
    guint64 end;

    if (!walk->start->indirect) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "a descriptor is indirect, without "
                            "VIRTIO_F_INDIRECT_DESC");
    }
    if (walk->in_indirect) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "a descriptor in an indirect table is indirect");
    }
    if (descriptor->flags & F_NEXT) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "an indirect descriptor has a next one");
    }
    if (!descriptor->length || descriptor->length % sizeof(Descriptor)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "an indirect table has %u bytes, no multiple "
                            "of 16",
                            descriptor->length);
    }
    if (!g_uint64_checked_add(&end, descriptor->address, descriptor->length)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "an indirect table of %u bytes at " X64
                            " exceeds 64 bits",
                            descriptor->length, descriptor->address);
    }
    return TRUE;
}

/* The rest of the chain is in a table of its own; F_WRITE means nothing. */
static gboolean enter_table(Walk *walk, const Descriptor *descriptor,
                            GError **error)
{
    if (!check_table(walk, descriptor, error)) {
        return FALSE;
    }
    walk->table = descriptor->address;
    walk->size = descriptor->length / sizeof(Descriptor);
    walk->in_indirect = TRUE;
    return TRUE;
}

static gboolean check_buffer(const Walk *walk, const Descriptor *descriptor,
                             gboolean in, GError **error)
{
    const HostmemVirtqueueElement *element = walk->element;

    if (!descriptor->length) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "a buffer at " X64 " is empty",
                            descriptor->address);
    }
    if (!in && element->in->len) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "a readable buffer follows a writable one");
    }
    if (element->out_size + element->in_size + descriptor->length >
        CHAIN_BYTES_MAX) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "a chain has more than 4 GiB");
    }
    if (!hm_guest_memory_is_ram(element->memory, descriptor->address,
                                descriptor->length, in)) {
        return hm_set_error(
            error, HOSTMEM_ERROR_INVALID,
            "a buffer of %u bytes at " X64 " is not in %sguest RAM",
            descriptor->length, descriptor->address, in ? "writable " : "");
    }
    return TRUE;
}

static gboolean add_buffer(Walk *walk, const Descriptor *descriptor,
                           GError **error)
{
    HostmemVirtqueueElement *element = walk->element;
    const gboolean in = (descriptor->flags & F_WRITE) != 0;
    const Buffer buffer = {descriptor->address, descriptor->length};

    if (walk->n++ == walk->start->size) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "a chain has more than %u descriptors, or a loop",
                            walk->start->size);
    }
    if (!check_buffer(walk, descriptor, in, error)) {
        return FALSE;
    }
    g_array_append_val(in ? element->in : element->out, buffer);
    *(in ? &element->in_size : &element->out_size) += buffer.length;
    return TRUE;
}

static gboolean follow(const Walk *walk, const Descriptor *descriptor,
                       guint16 *index, GError **error)
{
    if (descriptor->next >= walk->size) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "the next descriptor is %u, of %u",
                            descriptor->next, walk->size);
    }
    *index = descriptor->next;
    return TRUE;
}

static gboolean walk_chain(Walk *walk, GError **error)
{
    guint16 index = walk->start->head;
    Descriptor descriptor;

    for (;;) {
        if (!read_descriptor(walk, index, &descriptor, error)) {
            return FALSE;
        }
        if (descriptor.flags & F_INDIRECT) {
            if (!enter_table(walk, &descriptor, error)) {
                return FALSE;
            }
            index = 0;
            continue;
        }
        if (!add_buffer(walk, &descriptor, error)) {
            return FALSE;
        }
        if (!(descriptor.flags & F_NEXT)) {
            return TRUE;
        }
        if (!follow(walk, &descriptor, &index, error)) {
            return FALSE;
        }
    }
}

HostmemVirtqueueElement *hm_virtqueue_chain_read(const HmChainStart *start,
                                                 GError **error)
{
    g_autoptr(HostmemVirtqueueElement) element = element_new(start);
    Walk walk = {
        .start = start,
        .element = element,
        .table = start->table,
        .size = start->size,
    };

    return walk_chain(&walk, error) ? g_steal_pointer(&element) : NULL;
}

/* The buffers */

guint64
hostmem_virtqueue_element_get_out_size(const HostmemVirtqueueElement *self)
{
    g_return_val_if_fail(self, 0);

    return self->out_size;
}

guint64
hostmem_virtqueue_element_get_in_size(const HostmemVirtqueueElement *self)
{
    g_return_val_if_fail(self, 0);

    return self->in_size;
}

typedef struct {
    HostmemGuestMemory *memory;
    guint64 skip; /* bytes */
    guint8 *data;
    gsize left; /* bytes */
    gboolean (*copy)(HostmemGuestMemory *memory, guint64 address, guint8 *data,
                     gsize length);
} Copy;

static gboolean copy_in(HostmemGuestMemory *memory, guint64 address,
                        guint8 *data, gsize length)
{
    return hostmem_guest_memory_write(memory, address, data, length);
}

static gboolean copy_out(HostmemGuestMemory *memory, guint64 address,
                         guint8 *data, gsize length)
{
    return hostmem_guest_memory_read(memory, address, data, length);
}

static gboolean copy_buffer(const Buffer *buffer, Copy *copy)
{
    gsize length;

    if (copy->skip >= buffer->length) {
        copy->skip -= buffer->length;
        return TRUE;
    }
    length = MIN(copy->left, buffer->length - copy->skip);
    if (!copy->copy(copy->memory, buffer->address + copy->skip, copy->data,
                    length)) {
        return FALSE;
    }
    copy->skip = 0;
    copy->data += length;
    copy->left -= length;
    return TRUE;
}

static void copy_buffers(const GArray *buffers, Copy *copy)
{
    for (guint i = 0; i < buffers->len && copy->left; i++) {
        if (!copy_buffer(&g_array_index(buffers, Buffer, i), copy)) {
            return;
        }
    }
}

gsize hostmem_virtqueue_element_read(const HostmemVirtqueueElement *self,
                                     guint64 offset, gpointer data,
                                     gsize length)
{
    g_return_val_if_fail(self, 0);

    Copy copy = {self->memory, offset, data, length, copy_out};

    copy_buffers(self->out, &copy);
    return length - copy.left;
}

gsize hostmem_virtqueue_element_write(HostmemVirtqueueElement *self,
                                      guint64 offset, gconstpointer data,
                                      gsize length)
{
    g_return_val_if_fail(self, 0);

    Copy copy = {self->memory, offset, (guint8 *)data, length, copy_in};

    copy_buffers(self->in, &copy);
    return length - copy.left;
}
