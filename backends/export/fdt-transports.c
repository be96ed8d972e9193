/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/export/fdt.h"
#include "util/error.h"

#define TYPE           "virtio,mmio"
#define NAME           "virtio_mmio"
#define NODE_NAME_SIZE 64

static const HmFdtKind kind = {NAME, "/", NAME};

/* Writing */

typedef struct {
    const HmFdtCells *cells;
    const HmFdtRegisters *transports;
    guint n;
} Transports;

static int write_transport(void *draft, const HmFdtCells *cells,
                           const HmFdtRegisters *new)
{
    char name[NODE_NAME_SIZE];
    HmRange range = {new->base, new->size};
    int err;

    g_snprintf(name, sizeof(name), NAME "@%" G_GINT64_MODIFIER "x", new->base);
    err = fdt_begin_node(draft, name);
    if (!err) {
        err = fdt_property_string(draft, "compatible", TYPE);
    }
    if (!err) {
        err = hm_fdt_write_reg(draft, cells, &range);
    }
    if (!err && new->n_cells) {
        err = hm_fdt_write_cells(draft, "interrupts", new->interrupt,
                                 new->n_cells);
    }
    if (!err) {
        err = fdt_property(draft, "dma-coherent", NULL, 0);
    }
    return err ? err : fdt_end_node(draft);
}

/* A HmFdtWrite */
static int write_transports(void *draft, gconstpointer data)
{
    const Transports *new = data;
    int err = 0;

    for (guint i = 0; !err && i < new->n; i++) {
        err = write_transport(draft, new->cells, &new->transports[i]);
    }
    return err;
}

/* Interrupts */

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

static gboolean check_interrupt(guint n_cells, guint wanted, GError **error)
{
    if (n_cells && !wanted) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "device tree: the root has no interrupt-parent "
                            "that an interrupt could go to");
    }
    return !n_cells || n_cells == wanted ||
           hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "device tree: an interrupt of %u cells was given, and "
                        "those of the root's interrupt-parent have %u",
                        n_cells, wanted);
}

/* Addresses */

static gboolean claim_new(HostmemFdt *self, GArray *claims,
                          const HmFdtRegisters *transports, guint n, guint *bad,
                          GError **error)
{
    guint wanted = interrupt_cells(self->blob);

    for (guint i = 0; i < n; i++) {
        *bad = i;
        if (!hm_fdt_claim_new(self, claims, &kind, i, transports[i].base,
                              transports[i].size, error) ||
            !check_interrupt(transports[i].n_cells, wanted, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* Those that the root has. */
static gboolean claim_others(HostmemFdt *self, GArray *claims, GError **error)
{
    int node;

    fdt_for_each_subnode(node, self->blob, 0)
    {
        if (!fdt_node_check_compatible(self->blob, node, TYPE) &&
            !hm_fdt_claim_node(self, claims, node, &self->cells, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

gboolean hm_fdt_add_transports(HostmemFdt *self,
                               const HmFdtRegisters *transports, guint n,
                               guint *bad, GError **error)
{
    g_autoptr(GArray) claims = hm_fdt_claims_new();
    Transports new = {&self->cells, transports, n};

    *bad = 0;
    return hm_fdt_claim_memory(self, claims, error) &&
           claim_others(self, claims, error) &&
           claim_new(self, claims, transports, n, bad, error) &&
           hm_fdt_check_claims(self, claims, &kind, bad, error) &&
           hm_fdt_check_names(self, claims, &kind, 0, bad, error) &&
           hm_fdt_insert(self, 0, write_transports, &new, error);
}

gboolean hostmem_fdt_add_virtio_mmio(HostmemFdt *self, guint64 base,
                                     guint64 size, const guint32 *interrupt,
                                     guint n_cells, GError **error)
{
    const HmFdtRegisters new = {base, size, interrupt, n_cells};
    guint bad;

    g_return_val_if_fail(interrupt || !n_cells, FALSE);
    return hm_fdt_add_transports(self, &new, 1, &bad, error);
}
