/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "backends/export/fdt.h"
#include "util/error.h"

#define RESERVED_NAME     "reserved-memory"
#define DISTANCE_NAME     "distance-map"
#define DISTANCE_PROPERTY "distance-matrix"
#define DISTANCE_TYPE     "numa-distance-map-v1"
#define TRANSPORT_TYPE    "virtio,mmio"

#define NODE_NAME_SIZE    64
#define MAX_NAME          31 /* of a node, without its address */

/* /reserved-memory */

typedef struct {
    const HmFdtCells *cells;
    const char *name;
    HmRange range;
} Reservation;

static int make_reserved(void *blob, const HmFdtCells *cells)
{
    int node = fdt_add_subnode(blob, 0, RESERVED_NAME);
    int err = node < 0 ? node : 0;

    if (!err) {
        err = fdt_setprop_empty(blob, node, "ranges");
    }
    if (!err) {
        err = fdt_setprop_u32(blob, node, "#size-cells", cells->size);
    }
    if (!err) {
        err = fdt_setprop_u32(blob, node, "#address-cells", cells->address);
    }
    return err ? err : node;
}

static int add_reserved_node(void *blob, gconstpointer data)
{
    const Reservation *new = data;
    int parent = fdt_subnode_offset(blob, 0, RESERVED_NAME);
    int node;

    if (parent == -FDT_ERR_NOTFOUND) {
        parent = make_reserved(blob, new->cells);
    }
    node = parent < 0 ? parent : fdt_add_subnode(blob, parent, new->name);
    return node < 0 ? node
                    : hm_fdt_append_reg(blob, node, new->cells,
                                        new->range.offset, new->range.length);
}

static gboolean set_taken(GError **error, const void *blob, int node,
                          guint64 at)
{
    g_autofree char *path = hm_fdt_path(blob, node);
    g_autofree char *quoted = hm_error_quote(path);

    return hm_set_error(error, HOSTMEM_ERROR_EXISTS,
                        "device tree: %s has the addresses from "
                        "0x%" G_GINT64_MODIFIER "x on already",
                        quoted, at);
}

/* Whether no range of "reg" is in @range. */
static gboolean check_apart(const void *blob, int node, const HmFdtCells *cells,
                            const HmRange *range, GError **error)
{
    g_autoptr(GArray) ranges = hm_fdt_read_reg(blob, node, cells, error);
    HmRange common;

    for (guint i = 0; ranges && i < ranges->len; i++) {
        if (hm_range_intersect(&g_array_index(ranges, HmRange, i), range,
                               &common)) {
            return set_taken(error, blob, node, common.offset);
        }
    }
    return ranges != NULL;
}

static gboolean check_reserved(HostmemFdt *self, int parent,
                               const HmRange *range, GError **error)
{
    HmFdtCells cells;
    int node;

    if (!hm_fdt_get_cells(self->blob, parent, &cells, error)) {
        return FALSE;
    }
    if (cells.address != self->cells.address ||
        cells.size != self->cells.size) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "device tree: the cells of /" RESERVED_NAME
                            " are not those of the root");
    }
    /* A child without "reg" is placed by the guest's kernel. */
    fdt_for_each_subnode(node, self->blob, parent)
    {
        if (fdt_getprop(self->blob, node, "reg", NULL) &&
            !check_apart(self->blob, node, &cells, range, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean is_node_name(const char *name)
{
    static const char others[] = ",._+-";

    if (!g_ascii_isalpha(*name) || strlen(name) > MAX_NAME) {
        return FALSE;
    }
    for (; *name; name++) {
        if (!g_ascii_isalnum(*name) && !strchr(others, *name)) {
            return FALSE;
        }
    }
    return TRUE;
}

gboolean hostmem_fdt_add_reserved(HostmemFdt *self, const char *name,
                                  guint64 base, guint64 size, GError **error)
{
    int parent = fdt_subnode_offset(self->blob, 0, RESERVED_NAME);
    char full_name[NODE_NAME_SIZE];
    Reservation new = {&self->cells, full_name, {0, 0}};

    if (!is_node_name(name)) {
        g_autofree char *quoted = hm_error_quote(name);
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "device tree: %s cannot be the name of a node",
                            quoted);
    }
    if (!hm_fdt_check_range(self, "reserved memory", base, size, &new.range,
                            error) ||
        (parent >= 0 && !check_reserved(self, parent, &new.range, error))) {
        return FALSE;
    }
    g_snprintf(full_name, sizeof(full_name), "%s@%" G_GINT64_MODIFIER "x", name,
               base);
    if (parent >= 0 && fdt_subnode_offset(self->blob, parent, full_name) >= 0) {
        return hm_set_error(error, HOSTMEM_ERROR_EXISTS,
                            "device tree: there is a node /" RESERVED_NAME
                            "/%s already",
                            full_name);
    }
    return hm_fdt_change(self, add_reserved_node, &new, error);
}

/* /distance-map */

typedef struct {
    fdt32_t from;
    fdt32_t to;
    fdt32_t distance;
} DistanceEntry;

/* The entries of a blob, and one that is changed or added. */
typedef struct {
    DistanceEntry *entries;
    guint n;
} DistanceMap;

static int write_distances(void *blob, gconstpointer data)
{
    const DistanceMap *map = data;
    int node = fdt_subnode_offset(blob, 0, DISTANCE_NAME);
    int err = 0;

    if (node == -FDT_ERR_NOTFOUND) {
        node = fdt_add_subnode(blob, 0, DISTANCE_NAME);
        err = node < 0
                  ? node
                  : fdt_setprop_string(blob, node, "compatible", DISTANCE_TYPE);
    }
    return err ? err
               : fdt_setprop(blob, node, DISTANCE_PROPERTY, map->entries,
                             (int)(map->n * sizeof(*map->entries)));
}

static gboolean read_distances(HostmemFdt *self, GArray *entries,
                               GError **error)
{
    int node = fdt_subnode_offset(self->blob, 0, DISTANCE_NAME);
    int length;
    const void *matrix;

    if (node < 0) {
        return TRUE;
    }
    matrix = fdt_getprop(self->blob, node, DISTANCE_PROPERTY, &length);
    if (!matrix || length % (int)sizeof(DistanceEntry) ||
        fdt_node_check_compatible(self->blob, node, DISTANCE_TYPE)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "device tree: /" DISTANCE_NAME
                            " is no " DISTANCE_TYPE " with entries of three "
                            "cells");
    }
    g_array_append_vals(entries, matrix,
                        (guint)(length / (int)sizeof(DistanceEntry)));
    return TRUE;
}

static void put_distance(GArray *entries, const DistanceEntry *new)
{
    for (guint i = 0; i < entries->len; i++) {
        DistanceEntry *entry = &g_array_index(entries, DistanceEntry, i);

        if (entry->from == new->from && entry->to == new->to) {
            entry->distance = new->distance;
            return;
        }
    }
    g_array_append_val(entries, *new);
}

static gboolean check_distance(guint32 from, guint32 to, guint32 distance,
                               GError **error)
{
    gboolean is_local = distance == HOSTMEM_FDT_LOCAL_DISTANCE;

    if (distance >= HOSTMEM_FDT_LOCAL_DISTANCE &&
        distance <= HOSTMEM_FDT_MAX_DISTANCE && is_local == (from == to)) {
        return TRUE;
    }
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "device tree: the distance from NUMA node %u to %u "
                        "cannot be %u: it is %d to itself, and %d to %d to "
                        "others",
                        from, to, distance, HOSTMEM_FDT_LOCAL_DISTANCE,
                        HOSTMEM_FDT_LOCAL_DISTANCE + 1,
                        HOSTMEM_FDT_MAX_DISTANCE);
}

gboolean hostmem_fdt_set_distance(HostmemFdt *self, guint32 from, guint32 to,
                                  guint32 distance, GError **error)
{
    g_autoptr(GArray) entries =
        g_array_new(FALSE, FALSE, sizeof(DistanceEntry));
    DistanceEntry new = {cpu_to_fdt32(from), cpu_to_fdt32(to),
                         cpu_to_fdt32(distance)};

    if (!check_distance(from, to, distance, error) ||
        !read_distances(self, entries, error)) {
        return FALSE;
    }
    put_distance(entries, &new);
    DistanceMap map = {(DistanceEntry *)entries->data, entries->len};
    return hm_fdt_change(self, write_distances, &map, error);
}

/* virtio_mmio */

typedef struct {
    const HmFdtCells *cells;
    const char *name;
    HmRange range;
    const guint32 *interrupt;
    guint n_cells;
} Transport;

static int append_interrupt(void *blob, int node, const Transport *new)
{
    int err = 0;

    for (guint i = 0; !err && i < new->n_cells; i++) {
        err = fdt_appendprop_u32(blob, node, "interrupts", new->interrupt[i]);
    }
    return err;
}

static int add_transport(void *blob, gconstpointer data)
{
    const Transport *new = data;
    int node = fdt_add_subnode(blob, 0, new->name);
    int err = node < 0 ? node : fdt_setprop_empty(blob, node, "dma-coherent");

    if (!err) {
        err = append_interrupt(blob, node, new);
    }
    if (!err) {
        err = hm_fdt_append_reg(blob, node, new->cells, new->range.offset,
                                new->range.length);
    }
    return err ? err
               : fdt_setprop_string(blob, node, "compatible", TRANSPORT_TYPE);
}

/* Cells of an interrupt for children of the root; 0 without a controller. */
static guint interrupt_cells(const void *blob)
{
    int length;
    const fdt32_t *value = fdt_getprop(blob, 0, "interrupt-parent", &length);
    int controller = value && length == sizeof(*value)
                         ? fdt_node_offset_by_phandle(blob, fdt32_ld(value))
                         : -FDT_ERR_NOTFOUND;

    if (controller < 0) {
        return 0;
    }
    value = fdt_getprop(blob, controller, "#interrupt-cells", &length);
    return value && length == sizeof(*value) ? fdt32_ld(value) : 0;
}

static gboolean check_interrupt(HostmemFdt *self, guint n_cells, GError **error)
{
    guint wanted = n_cells ? interrupt_cells(self->blob) : 0;

    if (n_cells && !wanted) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "device tree: the root has no interrupt-parent "
                            "that an interrupt could go to");
    }
    if (n_cells != wanted) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "device tree: an interrupt of %u cells was given, "
                            "and those of the root's interrupt-parent have %u",
                            n_cells, wanted);
    }
    return TRUE;
}

/* Whether no other transport of the root has the registers. */
static gboolean check_registers(HostmemFdt *self, const HmRange *range,
                                GError **error)
{
    int node;

    fdt_for_each_subnode(node, self->blob, 0)
    {
        if (!fdt_node_check_compatible(self->blob, node, TRANSPORT_TYPE) &&
            !check_apart(self->blob, node, &self->cells, range, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

gboolean hostmem_fdt_add_virtio_mmio(HostmemFdt *self, guint64 base,
                                     guint64 size, const guint32 *interrupt,
                                     guint n_cells, GError **error)
{
    char name[NODE_NAME_SIZE];
    Transport new = {&self->cells, name, {0, 0}, interrupt, n_cells};

    g_return_val_if_fail(interrupt || !n_cells, FALSE);
    if (!hm_fdt_check_range(self, "virtio_mmio", base, size, &new.range,
                            error) ||
        !hm_fdt_check_no_memory(self, "virtio_mmio", &new.range, error) ||
        !check_registers(self, &new.range, error) ||
        !check_interrupt(self, n_cells, error)) {
        return FALSE;
    }
    g_snprintf(name, sizeof(name), "virtio_mmio@%" G_GINT64_MODIFIER "x", base);
    if (fdt_subnode_offset(self->blob, 0, name) >= 0) {
        return hm_set_error(error, HOSTMEM_ERROR_EXISTS,
                            "device tree: there is a node /%s already", name);
    }
    return hm_fdt_change(self, add_transport, &new, error);
}
