/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "backends/export/fdt.h"
#include "util/error.h"

#define RESERVED_NAME     "reserved-memory"
#define DISTANCE_NAME     "distance-map"
#define DISTANCE_PROPERTY "distance-matrix"
#define DISTANCE_TYPE     "numa-distance-map-v1"

#define NODE_NAME_SIZE    64
#define MAX_NAME          31 /* of a node, without its address */

/* /reserved-memory */

typedef struct {
    const HmFdtCells *cells;
    gboolean whole; /* /reserved-memory is new as well */
    const char *name;
    const HmRange *ranges;
    guint n;
} Reservations;

static int write_reservation(void *draft, const Reservations *new, guint i)
{
    char name[NODE_NAME_SIZE];
    int err;

    g_snprintf(name, sizeof(name), "%s@%" G_GINT64_MODIFIER "x", new->name,
               new->ranges[i].offset);
    err = fdt_begin_node(draft, name);
    if (!err) {
        err = hm_fdt_write_reg(draft, new->cells, &new->ranges[i]);
    }
    return err ? err : fdt_end_node(draft);
}

static int begin_reserved(void *draft, const HmFdtCells *cells)
{
    const guint32 address = (guint32)cells->address;
    const guint32 size = (guint32)cells->size;
    int err = fdt_begin_node(draft, RESERVED_NAME);

    if (!err) {
        err = hm_fdt_write_cells(draft, "#address-cells", &address, 1);
    }
    if (!err) {
        err = hm_fdt_write_cells(draft, "#size-cells", &size, 1);
    }
    return err ? err : fdt_property(draft, "ranges", NULL, 0);
}

/* A HmFdtWrite */
static int write_reservations(void *draft, gconstpointer data)
{
    const Reservations *new = data;
    int err = new->whole ? begin_reserved(draft, new->cells) : 0;

    for (guint i = 0; !err && i < new->n; i++) {
        err = write_reservation(draft, new, i);
    }
    return err || !new->whole ? err : fdt_end_node(draft);
}

/* What /reserved-memory has, and that its children are like the root's. */
static gboolean claim_reserved(HostmemFdt *self, GArray *claims, int parent,
                               GError **error)
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
            !hm_fdt_claim_node(self, claims, node, &cells, error)) {
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

static gboolean check_node_name(const char *name, GError **error)
{
    g_autofree char *quoted = hm_error_quote(name);

    return is_node_name(name) ||
           hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "device tree: %s cannot be the name of a node", quoted);
}

gboolean hm_fdt_add_reservations(HostmemFdt *self, const char *name,
                                 const HmRange *ranges, guint n, guint *bad,
                                 GError **error)
{
    const HmFdtKind kind = {"reserved memory", "/" RESERVED_NAME "/", name};
    g_autoptr(GArray) claims = hm_fdt_claims_new();
    int parent = fdt_subnode_offset(self->blob, 0, RESERVED_NAME);
    Reservations new = {&self->cells, parent < 0, name, ranges, n};

    *bad = 0;
    if (!check_node_name(name, error) ||
        (parent >= 0 && !claim_reserved(self, claims, parent, error))) {
        return FALSE;
    }
    for (guint i = 0; i < n; i++) {
        *bad = i;
        if (!hm_fdt_claim_new(self, claims, &kind, i, ranges[i].offset,
                              ranges[i].length, error)) {
            return FALSE;
        }
    }
    return hm_fdt_check_claims(self, claims, &kind, bad, error) &&
           hm_fdt_check_names(self, claims, &kind, parent, bad, error) &&
           hm_fdt_insert(self, MAX(parent, 0), write_reservations, &new, error);
}

gboolean hostmem_fdt_add_reserved(HostmemFdt *self, const char *name,
                                  guint64 base, guint64 size, GError **error)
{
    HmRange range = {base, size};
    guint bad;

    return hm_fdt_add_reservations(self, name, &range, 1, &bad, error);
}

/* /distance-map */

typedef struct {
    fdt32_t from;
    fdt32_t to;
    fdt32_t distance;
} DistanceEntry;

/* The entries of a blob, and those that are changed or added. */
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

static gint64 key_of(const DistanceEntry *entry)
{
    return (gint64)((guint64)entry->from << 32 | entry->to);
}

/* Where the entries are; of two for the same way the first counts. */
static void note_entry(GHashTable *places, GArray *entries, guint i)
{
    gint64 key = key_of(&g_array_index(entries, DistanceEntry, i));

    if (!g_hash_table_contains(places, &key)) {
        g_hash_table_insert(places, g_memdup2(&key, sizeof(key)),
                            GUINT_TO_POINTER(i));
    }
}

static void put_distance(GHashTable *places, GArray *entries,
                         const DistanceEntry *new)
{
    gint64 key = key_of(new);
    gpointer place;

    if (g_hash_table_lookup_extended(places, &key, NULL, &place)) {
        g_array_index(entries, DistanceEntry, GPOINTER_TO_UINT(place)) = *new;
        return;
    }
    g_array_append_val(entries, *new);
    note_entry(places, entries, entries->len - 1);
}

static void put_distances(GArray *entries, const HmFdtDistance *distances,
                          guint n)
{
    g_autoptr(GHashTable) places =
        g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);

    for (guint i = 0; i < entries->len; i++) {
        note_entry(places, entries, i);
    }
    for (guint i = 0; i < n; i++) {
        DistanceEntry entry = {cpu_to_fdt32(distances[i].src),
                               cpu_to_fdt32(distances[i].dst),
                               cpu_to_fdt32(distances[i].val)};
        put_distance(places, entries, &entry);
    }
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

gboolean hm_fdt_set_distances(HostmemFdt *self, const HmFdtDistance *distances,
                              guint n, guint *bad, GError **error)
{
    g_autoptr(GArray) entries =
        g_array_new(FALSE, FALSE, sizeof(DistanceEntry));

    *bad = 0;
    if (!read_distances(self, entries, error)) {
        return FALSE;
    }
    for (guint i = 0; i < n; i++) {
        *bad = i;
        if (!check_distance(distances[i].src, distances[i].dst,
                            distances[i].val, error)) {
            return FALSE;
        }
    }
    put_distances(entries, distances, n);
    DistanceMap map = {(DistanceEntry *)(gpointer)entries->data, entries->len};
    return hm_fdt_change(self, map.n * sizeof(*map.entries), write_distances,
                         &map, error);
}

gboolean hostmem_fdt_set_distance(HostmemFdt *self, guint32 from, guint32 to,
                                  guint32 distance, GError **error)
{
    const HmFdtDistance new = {from, to, distance};
    guint bad;

    return hm_fdt_set_distances(self, &new, 1, &bad, error);
}
