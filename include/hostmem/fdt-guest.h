/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/fdt.h>

G_BEGIN_DECLS

/*
 * Backends and devices of a guest in a device tree, and back.
 *
 * A backend says by "guest-addr" and "guest-node" where a guest has it, and a
 * device by its own properties; nobody else knows.  Any thread may call.
 */

/** Where the first backend lies when nothing is said, as in QEMU's Arm "virt":
 * 1 GiB. */
#define HOSTMEM_FDT_DEFAULT_BASE (G_GUINT64_CONSTANT(1) << 30)

/**
 * hostmem_fdt_add_objects: describe what a guest has.
 * @objects: (element-type HostmemObject): complete; what is neither backend
 *     nor virtio-mem counts for nothing
 * @base: guest physical address of the first backend, if it has none
 * @reserve: add hotplug@ADDRESS to /reserved-memory for each device
 *
 * A backend becomes memory@ADDRESS, the lowest one first in the tree.  One
 * without "guest-addr" begins where the one before it in @objects ends.  A
 * backend that a device of @objects has is left out: the guest learns of that
 * memory from the device, whose region must be apart from all memory and from
 * those of other devices.
 *
 * Returns: FALSE with the errors of hostmem_fdt_add_memory() and
 * hostmem_fdt_add_reserved(), the object named before them; the tree is as it
 * was
 */
gboolean hostmem_fdt_add_objects(HostmemFdt *self, GPtrArray *objects,
                                 guint64 base, gboolean reserve,
                                 GError **error);

/**
 * hostmem_fdt_dump: write a file that describes what a guest has.
 * @objects: (element-type HostmemObject): as of hostmem_fdt_add_objects()
 * @options: "filename=FILE[,dtb=FILE][,base=ADDRESS][,replace=on]
 *     [,reserve=on]", or JSON when it starts with '{', with the arguments of
 *     QMP's dump-fdt
 *
 * Reads "dtb" and writes "filename", which may be the same, so it may take as
 * long as files do.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (syntax, key, value, an id of
 * "memdevs" whose memory a device has), %HOSTMEM_ERROR_NOT_FOUND (an id of
 * "memdevs" or "devices" is none of @objects), %HOSTMEM_ERROR_LIMIT (more than
 * 16384 "distances" or 1024 "virtio-mmio"), or the errors of
 * hostmem_fdt_load(), hostmem_fdt_add_objects(), hostmem_fdt_set_distance(),
 * hostmem_fdt_add_virtio_mmio() and hostmem_fdt_save()
 */
gboolean hostmem_fdt_dump(GPtrArray *objects, const char *options,
                          GError **error);

/**
 * hostmem_fdt_make_objects: which backends the memory of a device tree asks
 * for.
 * @options: "file=FILE[,per=range|numa-node][,qom-type=TYPE][,id=PREFIX]
 *     [,PROPERTY=VALUE]...", or the same as JSON when it starts with '{'
 *
 * With "per=range", the default, each range of memory is a backend of its own:
 * PREFIX0, PREFIX1... by address.  With "per=numa-node" all of a NUMA node is
 * one: PREFIX-nodeN, and PREFIX for memory that names no node.  PREFIX is "ram"
 * and TYPE "memory-backend-memfd" when not given.  "size" and "guest-node" are
 * the tree's, and so is "guest-addr" where a backend is one range.  Each
 * further PROPERTY goes to all of them.
 *
 * Nothing is made; hostmem_registry_add_batch() does, and checks the values.
 *
 * Returns: (transfer full): an `-object` in JSON for each, NULL at the end; or
 * NULL with %HOSTMEM_ERROR_INVALID (syntax, key, value, no memory in the tree,
 * memory beyond 2^63), %HOSTMEM_ERROR_LIMIT (more than 1024 backends), or the
 * errors of hostmem_fdt_load() and hostmem_fdt_list_memory()
 */
char **hostmem_fdt_make_objects(const char *options, GError **error);

G_END_DECLS
