/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/fdt.h>
#include <libfdt.h>
#include "backends/fdt-options.h"
#include "util/range.h"

/*
 * fdt.c checks a blob and changes it; fdt-insert.c puts new nodes into it, and
 * fdt-claims.c knows whether they may be there.  fdt-memory.c knows the nodes
 * of memory, fdt-transports.c those of virtio-mmio, fdt-nodes.c the others;
 * fdt-file.c has a tree in a file.  fdt-guest.c tells a tree of backends and
 * devices, as fdt-dump.c does for a file; fdt-objects.c says which backends a
 * tree asks for.
 */

/** Linux gives up there as well. */
#define HM_FDT_MAX_DEPTH 64
#define HM_FDT_MAX_SIZE  (16u << 20) /* bytes */
/** Bytes of the name of a property, of which the specification allows 31:
 * libfdt measures it each time that it passes by. */
#define HM_FDT_MAX_NAME 255

/** Cells of 32 bits in an address and in a size of a child of the root. */
typedef struct {
    int address;
    int size;
} HmFdtCells;

struct _HostmemFdt {
    guint8 *blob;     /* its parts in libfdt's order, without gaps */
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
 * @room: bytes that it may add; more is found out
 *
 * Returns: FALSE with %HOSTMEM_ERROR_LIMIT (the tree would be too large) or
 * %HOSTMEM_ERROR_INVALID (what libfdt says), and nothing has changed
 */
gboolean hm_fdt_change(HostmemFdt *self, gsize room, HmFdtChange change,
                       gconstpointer data, GError **error);

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

/* fdt-insert.c */

/**
 * hm_fdt_refuse_size: set %HOSTMEM_ERROR_LIMIT.
 *
 * Returns: FALSE
 */
gboolean hm_fdt_refuse_size(GError **error);

/** Writes new nodes by libfdt's sequential calls; as a HmFdtChange otherwise.
 */
typedef HmFdtChange HmFdtWrite;

/**
 * hm_fdt_insert: put nodes in front of those that a node has.
 *
 * In one go, however many they are.
 *
 * Returns: FALSE with the errors of hm_fdt_change(), and nothing has changed
 */
gboolean hm_fdt_insert(HostmemFdt *self, int parent, HmFdtWrite write,
                       gconstpointer data, GError **error);

/** For a HmFdtWrite: a property of cells, and "reg" of one range. */
int hm_fdt_write_cells(void *draft, const char *name, const guint32 *cells,
                       guint n);
int hm_fdt_write_reg(void *draft, const HmFdtCells *cells,
                     const HmRange *range);

/* fdt-claims.c */

#define HM_FDT_NEW (-1) /* in place of a node */

/** Addresses that somebody has, or is to have. */
typedef struct {
    HmRange range;
    int node;    /* that has it, or HM_FDT_NEW */
    guint index; /* of what is new */
} HmFdtClaim;

/** What is to be added. */
typedef struct {
    const char *what;   /* for messages: "memory" */
    const char *folder; /* its path ends with a slash: "/" */
    const char *name;   /* without the address: "memory" */
} HmFdtKind;

/** (transfer full) (element-type HmFdtClaim) */
GArray *hm_fdt_claims_new(void);

/** Claims of something new.  FALSE as of hm_fdt_check_range(). */
gboolean hm_fdt_claim_new(HostmemFdt *self, GArray *claims,
                          const HmFdtKind *kind, guint index, guint64 base,
                          guint64 size, GError **error);
/** Claims of "reg" of a node.  FALSE as of hm_fdt_read_reg(). */
gboolean hm_fdt_claim_node(HostmemFdt *self, GArray *claims, int node,
                           const HmFdtCells *cells, GError **error);
/** Claims of all memory.  FALSE as of hostmem_fdt_list_memory(). */
gboolean hm_fdt_claim_memory(HostmemFdt *self, GArray *claims, GError **error);

/**
 * hm_fdt_check_claims: does nothing new overlap anything else?
 *
 * Sorts the claims.  Of two that are new the later one is to blame.
 *
 * @bad: (out): the index of the one that does
 *
 * Returns: FALSE with %HOSTMEM_ERROR_EXISTS
 */
gboolean hm_fdt_check_claims(HostmemFdt *self, GArray *claims,
                             const HmFdtKind *kind, guint *bad, GError **error);

/**
 * hm_fdt_check_names: has no child of a node the name of something new?
 * @parent: negative: there is no such node yet
 *
 * Returns: FALSE with %HOSTMEM_ERROR_EXISTS
 */
gboolean hm_fdt_check_names(HostmemFdt *self, GArray *claims,
                            const HmFdtKind *kind, int parent, guint *bad,
                            GError **error);

/*
 * All of an array at once, as the public functions do one; *@bad is the index
 * of the element that an error is about.
 */

/** fdt-memory.c: hostmem_fdt_add_memory(), and the nodes in this order */
gboolean hm_fdt_add_memories(HostmemFdt *self, const HostmemFdtMemory *memories,
                             guint n, guint *bad, GError **error);

/** fdt-nodes.c: hostmem_fdt_add_reserved() */
gboolean hm_fdt_add_reservations(HostmemFdt *self, const char *name,
                                 const HmRange *ranges, guint n, guint *bad,
                                 GError **error);
/** The same, hostmem_fdt_set_distance() */
gboolean hm_fdt_set_distances(HostmemFdt *self, const HmFdtDistance *distances,
                              guint n, guint *bad, GError **error);

/** Registers, and an interrupt of @n_cells cells. */
typedef struct {
    guint64 base;
    guint64 size;
    const guint32 *interrupt;
    guint n_cells;
} HmFdtRegisters;

/** fdt-transports.c: hostmem_fdt_add_virtio_mmio() */
gboolean hm_fdt_add_transports(HostmemFdt *self,
                               const HmFdtRegisters *transports, guint n,
                               guint *bad, GError **error);
