/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/object.h>

G_BEGIN_DECLS

/**
 * HostmemFdt:
 *
 * A flattened device tree (Devicetree Specification 0.4), to which memory is
 * added, or from which it is read.  A blob is checked once, when it comes in;
 * /chosen and all else in it stay as they are.  Addresses are guest physical.
 *
 * Not an object: it has one owner, who uses it from one thread at a time.
 * After any failure the tree is as it was before the call.
 */
typedef struct _HostmemFdt HostmemFdt;

/** Returns: (transfer full): a tree whose root has cells of 64 bits, no more */
HostmemFdt *hostmem_fdt_new(void);

/**
 * hostmem_fdt_parse: take a copy of a blob.
 * @blob: (array length=size): from anywhere, it need not be trusted
 * @size: bytes; what lies behind the tree is ignored
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_INVALID (malformed, of
 * a version before 16, or cells of the root that are neither 1 nor 2) or
 * %HOSTMEM_ERROR_LIMIT (larger than 16 MiB, deeper than 64 nodes, or names of
 * properties of more than 255 bytes)
 */
HostmemFdt *hostmem_fdt_parse(const void *blob, gsize size, GError **error);

/** Frees the tree. */
void hostmem_fdt_free(HostmemFdt *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostmemFdt, hostmem_fdt_free)

/** Returns: (transfer full): the blob, as short as it can be */
GBytes *hostmem_fdt_to_bytes(HostmemFdt *self);

/**
 * hostmem_fdt_load: parse a file.
 *
 * Returns: (transfer full): or NULL with the errors of hostmem_fdt_parse(), the
 * path before them, %HOSTMEM_ERROR_INVALID (no regular file), or what open(2)
 * says
 */
HostmemFdt *hostmem_fdt_load(const char *path, GError **error);

/**
 * hostmem_fdt_save: write the blob to a file, all at once.
 *
 * A regular file of that name, links followed, is replaced when all is written;
 * whoever has the old one open keeps it.  The file has mode 0644, less the
 * umask.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (@path is there, and no regular
 * file, or names a descriptor), or what open(2) and write(2) say; what was
 * there is there still
 */
gboolean hostmem_fdt_save(HostmemFdt *self, const char *path, GError **error);

/** Without a NUMA node: the tree does not say, or shall not. */
#define HOSTMEM_FDT_NO_NODE (-1)

/**
 * HostmemFdtMemory: a range of guest memory.
 * @base: guest physical address
 * @size: bytes
 * @node: NUMA node of the guest, or %HOSTMEM_FDT_NO_NODE
 */
typedef struct {
    guint64 base;
    guint64 size;
    gint64 node;
} HostmemFdtMemory;

/**
 * hostmem_fdt_list_memory: the ranges of all memory nodes, by address.
 *
 * A memory node is a child of the root with device_type "memory"; one that is
 * disabled, or whose size is 0, counts for nothing.
 *
 * Returns: (transfer full) (element-type HostmemFdtMemory): or NULL with
 * %HOSTMEM_ERROR_INVALID: a node without "reg", with one that does not match
 * the cells, with a range that wraps, with a "numa-node-id" that is no cell, or
 * two that overlap; the message names the node
 */
GArray *hostmem_fdt_list_memory(HostmemFdt *self, GError **error);

/**
 * hostmem_fdt_add_memory: add a node memory@BASE.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (@memory is empty, wraps, or does
 * not fit the root's cells), %HOSTMEM_ERROR_EXISTS (it overlaps a memory node,
 * which the message names), or the error of hostmem_fdt_list_memory()
 */
gboolean hostmem_fdt_add_memory(HostmemFdt *self,
                                const HostmemFdtMemory *memory, GError **error);

/**
 * hostmem_fdt_remove_memory: remove all memory nodes, whatever they hold.
 *
 * Those of hostmem_fdt_list_memory(): one that is disabled stays.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (what libfdt says)
 */
gboolean hostmem_fdt_remove_memory(HostmemFdt *self, GError **error);

/**
 * hostmem_fdt_add_reserved: add NAME@BASE to /reserved-memory.
 * @name: of letters, digits and ",._+-", such as "hotplug"
 * @base: guest physical address
 * @size: bytes
 *
 * For a region that the guest shall not use before a device says so.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (as for memory, @name, cells of
 * /reserved-memory other than the root's) or %HOSTMEM_ERROR_EXISTS (it
 * overlaps another one, or there is a node of that name)
 */
gboolean hostmem_fdt_add_reserved(HostmemFdt *self, const char *name,
                                  guint64 base, guint64 size, GError **error);

/** The distance of a node from itself, and the least and the most to others. */
#define HOSTMEM_FDT_LOCAL_DISTANCE 10
#define HOSTMEM_FDT_MAX_DISTANCE   255

/**
 * hostmem_fdt_set_distance: how far one NUMA node is from another.
 * @from: NUMA node of the guest
 * @to: NUMA node of the guest
 * @distance: 10 from a node to itself, 11 to 255 to others; the way back
 *     has the same unless it is set too
 *
 * Goes to /distance-map, in place of what that said of these two.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (@distance, a /distance-map that
 * is none)
 */
gboolean hostmem_fdt_set_distance(HostmemFdt *self, guint32 from, guint32 to,
                                  guint32 distance, GError **error);

/**
 * hostmem_fdt_add_virtio_mmio: add a node virtio_mmio@BASE to the root.
 * @base: guest physical address of the registers
 * @size: bytes of them; 512 hold those of the specification
 * @interrupt: (array length=n_cells): one interrupt in the cells of the root's
 *     interrupt-parent
 * @n_cells: 0 for none
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (range; an interrupt, but no
 * controller to the root, or one of other cells) or %HOSTMEM_ERROR_EXISTS (a
 * node of that name; memory or another transport has an address of it)
 */
gboolean hostmem_fdt_add_virtio_mmio(HostmemFdt *self, guint64 base,
                                     guint64 size, const guint32 *interrupt,
                                     guint n_cells, GError **error);

G_END_DECLS
