/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/fdt.h>
#include <libfdt.h>
#include "backends/fdt-options.h"
#include "util/range.h"

/*
 * fdt.c checks a blob and changes it; fdt-memory.c knows the nodes of memory,
 * fdt-nodes.c the others; fdt-file.c has a tree in a file.  fdt-guest.c tells a
 * tree of backends and devices, as fdt-dump.c does for a file; fdt-objects.c
 * says which backends a tree asks for.
 */

/** Linux gives up there as well. */
#define HM_FDT_MAX_DEPTH 64
#define HM_FDT_MAX_SIZE  (16u << 20) /* bytes */

/** Cells of 32 bits in an address and in a size of a child of the root. */
typedef struct {
    int address;
    int size;
} HmFdtCells;

struct _HostmemFdt {
    guint8 *blob;
    HmFdtCells cells; /* of the root: each 1 or 2 */
};

/**
 * A change of a tree: calls of libfdt, which may be made again in a larger
 * copy.
 *
 * Returns: 0, or the error of libfdt, negative
 */
typedef int (*HmFdtChange)(void *blob, gconstpointer data);

/**
 * hm_fdt_change: apply a change to a copy that is large enough, and keep that.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_LIMIT (the tree would be too large) or
 * %HOSTMEM_ERROR_INVALID (what libfdt says), and nothing has changed
 */
gboolean hm_fdt_change(HostmemFdt *self, HmFdtChange change, gconstpointer data,
                       GError **error);

/** The cells that children of a node have; FALSE when they are not 1 or 2. */
gboolean hm_fdt_get_cells(const void *blob, int node, HmFdtCells *cells,
                          GError **error);

/**
 * hm_fdt_check_range: can a child of the root have it?
 * @what: for the message: "memory"
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID
 */
gboolean hm_fdt_check_range(HostmemFdt *self, const char *what, guint64 base,
                            guint64 size, HmRange *range, GError **error);

/**
 * hm_fdt_check_no_memory: is no memory node there?
 * @what: for the message: "memory"
 *
 * Returns: FALSE with %HOSTMEM_ERROR_EXISTS, or the error of
 * hostmem_fdt_list_memory()
 */
gboolean hm_fdt_check_no_memory(HostmemFdt *self, const char *what,
                                const HmRange *range, GError **error);

/** Append a range to "reg"; for a HmFdtChange. */
int hm_fdt_append_reg(void *blob, int node, const HmFdtCells *cells,
                      guint64 base, guint64 size);

/**
 * hm_fdt_read_reg: the ranges of "reg" of a node.
 *
 * Those of no size are left out.
 *
 * Returns: (transfer full) (element-type HmRange): in their order; or NULL with
 * %HOSTMEM_ERROR_INVALID
 */
GArray *hm_fdt_read_reg(const void *blob, int node, const HmFdtCells *cells,
                        GError **error);

/** (transfer full): "/reserved-memory/a@1000", for messages. */
char *hm_fdt_path(const void *blob, int node);

/** (transfer none) (nullable): the one of @objects that has the backend. */
HostmemObject *hm_fdt_find_device_of(GPtrArray *objects, gconstpointer backend);

/** hm_fdt_make_lines: hostmem_fdt_make_objects() of a tree that is there. */
char **hm_fdt_make_lines(HostmemFdt *self, const HmFdtTemplate *template,
                         GError **error);
