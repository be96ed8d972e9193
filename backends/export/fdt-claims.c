/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/export/fdt.h"
#include "util/error.h"

/*
 * Whether new nodes may be where they shall be: all of them are compared with
 * each other, and with what is there, in one pass over sorted claims.  What was
 * there before may overlap as it likes.
 */

GArray *hm_fdt_claims_new(void)
{
    return g_array_new(FALSE, FALSE, sizeof(HmFdtClaim));
}

static const HmFdtClaim *claim_at(GArray *claims, guint i)
{
    return &g_array_index(claims, HmFdtClaim, i);
}

static gboolean is_new(const HmFdtClaim *claim)
{
    return claim->node == HM_FDT_NEW;
}

gboolean hm_fdt_claim_new(HostmemFdt *self, GArray *claims,
                          const HmFdtKind *kind, guint index, guint64 base,
                          guint64 size, GError **error)
{
    HmFdtClaim claim = {.node = HM_FDT_NEW, .index = index};

    if (!hm_fdt_check_range(self, kind->what, base, size, &claim.range,
                            error)) {
        return FALSE;
    }
    g_array_append_val(claims, claim);
    return TRUE;
}

gboolean hm_fdt_claim_node(HostmemFdt *self, GArray *claims, int node,
                           const HmFdtCells *cells, GError **error)
{
    g_autoptr(GArray) ranges = hm_fdt_read_reg(self->blob, node, cells, error);

    for (guint i = 0; ranges && i < ranges->len; i++) {
        HmFdtClaim claim = {g_array_index(ranges, HmRange, i), node, 0};

        g_array_append_val(claims, claim);
    }
    return ranges != NULL;
}

/* Overlaps */

static int compare(guint64 a, guint64 b)
{
    return (a > b) - (a < b);
}

/* What is there comes before what is new. */
static int by_address(gconstpointer a, gconstpointer b)
{
    const HmFdtClaim *one = a;
    const HmFdtClaim *other = b;
    int order = compare(one->range.offset, other->range.offset);

    order = order ? order : is_new(one) - is_new(other);
    return order ? order : compare(one->index, other->index);
}

/* (transfer full): "/memory@40000000" */
static char *describe(HostmemFdt *self, const HmFdtKind *kind,
                      const HmFdtClaim *claim)
{
    g_autofree char *path =
        is_new(claim)
            ? g_strdup_printf("%s%s@%" G_GINT64_MODIFIER "x", kind->folder,
                              kind->name, claim->range.offset)
            : hm_fdt_path(self->blob, claim->node);

    return hm_error_quote(path);
}

static gboolean set_overlap(HostmemFdt *self, const HmFdtKind *kind,
                            const HmFdtClaim *new, const HmFdtClaim *other,
                            GError **error)
{
    g_autofree char *quoted = describe(self, kind, other);

    return hm_set_error(error, HOSTMEM_ERROR_EXISTS,
                        "device tree: %s of 0x%" G_GINT64_MODIFIER
                        "x bytes at 0x%" G_GINT64_MODIFIER "x overlaps %s at "
                        "0x%" G_GINT64_MODIFIER "x",
                        kind->what, new->range.length, new->range.offset,
                        quoted, MAX(new->range.offset, other->range.offset));
}

static gboolean blame(HostmemFdt *self, const HmFdtKind *kind,
                      const HmFdtClaim *a, const HmFdtClaim *b, guint *bad,
                      GError **error)
{
    gboolean is_second = is_new(b) && (!is_new(a) || b->index > a->index);
    const HmFdtClaim *new = is_second ? b : a;

    *bad = new->index;
    return set_overlap(self, kind, new, is_second ? a : b, error);
}

gboolean hm_fdt_check_claims(HostmemFdt *self, GArray *claims,
                             const HmFdtKind *kind, guint *bad, GError **error)
{
    const HmFdtClaim *farthest = NULL; /* that reaches, of those before */

    g_array_sort(claims, by_address);
    for (guint i = 0; i < claims->len; i++) {
        const HmFdtClaim *claim = claim_at(claims, i);

        if (farthest && (is_new(farthest) || is_new(claim)) &&
            hm_range_end(&farthest->range) > claim->range.offset) {
            return blame(self, kind, farthest, claim, bad, error);
        }
        if (!farthest ||
            hm_range_end(&claim->range) > hm_range_end(&farthest->range)) {
            farthest = claim;
        }
    }
    return TRUE;
}

/* Names */

/* (transfer full): name of a node -> its claim */
static GHashTable *name_new(GArray *claims, const HmFdtKind *kind)
{
    GHashTable *names =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    for (guint i = 0; i < claims->len; i++) {
        const HmFdtClaim *claim = claim_at(claims, i);

        if (is_new(claim)) {
            g_hash_table_insert(names,
                                g_strdup_printf("%s@%" G_GINT64_MODIFIER "x",
                                                kind->name,
                                                claim->range.offset),
                                (gpointer)claim);
        }
    }
    return names;
}

gboolean hm_fdt_check_names(HostmemFdt *self, GArray *claims,
                            const HmFdtKind *kind, int parent, guint *bad,
                            GError **error)
{
    g_autoptr(GHashTable) names = name_new(claims, kind);
    int node;

    if (parent < 0) {
        return TRUE;
    }
    fdt_for_each_subnode(node, self->blob, parent)
    {
        const char *name = fdt_get_name(self->blob, node, NULL);
        const HmFdtClaim *claim = g_hash_table_lookup(names, name);

        if (claim) {
            *bad = claim->index;
            return hm_set_error(error, HOSTMEM_ERROR_EXISTS,
                                "device tree: there is a node %s%s already",
                                kind->folder, name);
        }
    }
    return TRUE;
}
