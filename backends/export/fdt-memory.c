/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "backends/export/fdt.h"
#include "util/error.h"

#define NODE_NAME_SIZE 64
#define NUMA_PROPERTY  "numa-node-id"

/* A range and the node it comes from. */
typedef struct {
    HmRange range;
    gint64 numa_node;
    int node;
} Found;

static gboolean has_text(const void *blob, int node, const char *property,
                         const char *text)
{
    int length;
    const char *value = fdt_getprop(blob, node, property, &length);

    return value && length > 0 && strnlen(value, length) == strlen(text) &&
           memcmp(value, text, strlen(text)) == 0;
}

static gboolean is_enabled(const void *blob, int node)
{
    return !fdt_getprop(blob, node, "status", NULL) ||
           has_text(blob, node, "status", "okay") ||
           has_text(blob, node, "status", "ok");
}

static gboolean is_memory(const void *blob, int node)
{
    return has_text(blob, node, "device_type", "memory") &&
           is_enabled(blob, node);
}

static gboolean read_numa_node(const void *blob, int node, gint64 *numa_node,
                               GError **error)
{
    int length;
    const fdt32_t *id = fdt_getprop(blob, node, NUMA_PROPERTY, &length);
    g_autofree char *path = NULL;
    g_autofree char *quoted = NULL;

    *numa_node = HOSTMEM_FDT_NO_NODE;
    if (!id) {
        return TRUE;
    }
    if (length == sizeof(*id)) {
        *numa_node = fdt32_ld(id);
        return TRUE;
    }
    path = hm_fdt_path(blob, node);
    quoted = hm_error_quote(path);
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "device tree: \"" NUMA_PROPERTY
                        "\" of %s has %d bytes, not those of one cell",
                        quoted, length);
}

static gboolean collect(HostmemFdt *self, int node, GArray *all, GError **error)
{
    g_autoptr(GArray) ranges =
        hm_fdt_read_reg(self->blob, node, &self->cells, error);
    gint64 numa_node;

    if (!ranges || !read_numa_node(self->blob, node, &numa_node, error)) {
        return FALSE;
    }
    for (guint i = 0; i < ranges->len; i++) {
        Found found = {g_array_index(ranges, HmRange, i), numa_node, node};
        g_array_append_val(all, found);
    }
    return TRUE;
}

static int by_address(gconstpointer a, gconstpointer b)
{
    guint64 first = ((const Found *)a)->range.offset;
    guint64 second = ((const Found *)b)->range.offset;

    return (first > second) - (first < second);
}

static gboolean set_overlap(GError **error, const void *blob, const Found *a,
                            const Found *b)
{
    g_autofree char *first = hm_fdt_path(blob, a->node);
    g_autofree char *second = hm_fdt_path(blob, b->node);
    g_autofree char *quoted_first = hm_error_quote(first);
    g_autofree char *quoted_second = hm_error_quote(second);

    return hm_set_error(
        error, HOSTMEM_ERROR_INVALID,
        "device tree: %s and %s overlap at 0x%" G_GINT64_MODIFIER "x",
        quoted_first, quoted_second, b->range.offset);
}

static gboolean check_overlap(const void *blob, GArray *sorted, GError **error)
{
    for (guint i = 1; i < sorted->len; i++) {
        const Found *before = &g_array_index(sorted, Found, i - 1);
        const Found *found = &g_array_index(sorted, Found, i);

        if (hm_range_end(&before->range) > found->range.offset) {
            return set_overlap(error, blob, before, found);
        }
    }
    return TRUE;
}

/* (transfer full) (nullable): all memory, by address. */
static GArray *find_memory(HostmemFdt *self, GError **error)
{
    g_autoptr(GArray) all = g_array_new(FALSE, FALSE, sizeof(Found));
    int node;

    fdt_for_each_subnode(node, self->blob, 0)
    {
        if (is_memory(self->blob, node) && !collect(self, node, all, error)) {
            return NULL;
        }
    }
    g_array_sort(all, by_address);
    return check_overlap(self->blob, all, error) ? g_steal_pointer(&all) : NULL;
}

GArray *hostmem_fdt_list_memory(HostmemFdt *self, GError **error)
{
    g_autoptr(GArray) all = find_memory(self, error);
    GArray *list;

    if (!all) {
        return NULL;
    }
    list = g_array_new(FALSE, FALSE, sizeof(HostmemFdtMemory));
    for (guint i = 0; i < all->len; i++) {
        const Found *found = &g_array_index(all, Found, i);
        HostmemFdtMemory memory = {found->range.offset, found->range.length,
                                   found->numa_node};
        g_array_append_val(list, memory);
    }
    return list;
}

/* Adding */

static const HmFdtKind kind = {"memory", "/", "memory"};

gboolean hm_fdt_claim_memory(HostmemFdt *self, GArray *claims, GError **error)
{
    g_autoptr(GArray) all = find_memory(self, error);

    for (guint i = 0; all && i < all->len; i++) {
        const Found *found = &g_array_index(all, Found, i);
        HmFdtClaim claim = {found->range, found->node, 0};

        g_array_append_val(claims, claim);
    }
    return all != NULL;
}

typedef struct {
    const HmFdtCells *cells;
    const HostmemFdtMemory *memories;
    guint n;
} Addition;

static int write_memory(void *draft, const HmFdtCells *cells,
                        const HostmemFdtMemory *memory)
{
    char name[NODE_NAME_SIZE];
    HmRange range = {memory->base, memory->size};
    guint32 numa_node = (guint32)memory->node;
    int err;

    g_snprintf(name, sizeof(name), "memory@%" G_GINT64_MODIFIER "x",
               memory->base);
    err = fdt_begin_node(draft, name);
    if (!err) {
        err = fdt_property_string(draft, "device_type", "memory");
    }
    if (!err) {
        err = hm_fdt_write_reg(draft, cells, &range);
    }
    if (!err && memory->node != HOSTMEM_FDT_NO_NODE) {
        err = hm_fdt_write_cells(draft, NUMA_PROPERTY, &numa_node, 1);
    }
    return err ? err : fdt_end_node(draft);
}

static int write_memories(void *draft, gconstpointer data)
{
    const Addition *new = data;
    int err = 0;

    for (guint i = 0; !err && i < new->n; i++) {
        err = write_memory(draft, new->cells, &new->memories[i]);
    }
    return err;
}

gboolean hm_fdt_add_memories(HostmemFdt *self, const HostmemFdtMemory *memories,
                             guint n, guint *bad, GError **error)
{
    g_autoptr(GArray) claims = hm_fdt_claims_new();
    Addition new = {&self->cells, memories, n};

    *bad = 0;
    if (!hm_fdt_claim_memory(self, claims, error)) {
        return FALSE;
    }
    for (guint i = 0; i < n; i++) {
        *bad = i;
        if (!hm_fdt_claim_new(self, claims, &kind, i, memories[i].base,
                              memories[i].size, error)) {
            return FALSE;
        }
    }
    return hm_fdt_check_claims(self, claims, &kind, bad, error) &&
           hm_fdt_check_names(self, claims, &kind, 0, bad, error) &&
           hm_fdt_insert(self, 0, write_memories, &new, error);
}

gboolean hostmem_fdt_add_memory(HostmemFdt *self,
                                const HostmemFdtMemory *memory, GError **error)
{
    guint bad;

    g_return_val_if_fail(memory->node >= HOSTMEM_FDT_NO_NODE &&
                             memory->node <= G_MAXUINT32,
                         FALSE);
    return hm_fdt_add_memories(self, memory, 1, &bad, error);
}

/* Removing */

/* NOPs in the place of each node. */
static int blank_memory_nodes(void *blob)
{
    int node = fdt_first_subnode(blob, 0);
    int err = 0;

    while (!err && node >= 0) {
        int next = fdt_next_subnode(blob, node);

        if (is_memory(blob, node)) {
            err = fdt_nop_node(blob, node);
        }
        node = next;
    }
    return err;
}

/* All other tags move together; what is behind them does not. */
static void drop_nops(void *blob)
{
    guint8 *structure = (guint8 *)blob + fdt_off_dt_struct(blob);
    guint32 tag;
    int offset = 0;
    int end = 0;
    int next;

    do {
        tag = fdt_next_tag(blob, offset, &next);
        if (tag != FDT_NOP) {
            memmove(structure + end, structure + offset,
                    (gsize)(next - offset));
            end += next - offset;
        }
        offset = next;
    } while (tag != FDT_END);
    fdt_set_size_dt_struct(blob, (guint32)end);
}

/* A HmFdtChange.  To delete one node after the other would move all of a tree
 * as often as it has nodes of memory. */
static int remove_memory_nodes(void *blob, G_GNUC_UNUSED gconstpointer data)
{
    int err = blank_memory_nodes(blob);

    if (!err) {
        drop_nops(blob);
    }
    return err;
}

gboolean hostmem_fdt_remove_memory(HostmemFdt *self, GError **error)
{
    return hm_fdt_change(self, 0, remove_memory_nodes, NULL, error);
}
