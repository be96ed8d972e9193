/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <jansson.h>
#include "util/props.h"

/*
 * What `-dumpdtb`, dump-fdt and `-dtb` ask for, checked; of device trees
 * themselves nothing is known here.
 */

/** From one NUMA node to another. */
typedef struct {
    guint32 src;
    guint32 dst;
    guint32 val;
} HmFdtDistance;

#define HM_FDT_MAX_INTERRUPT_CELLS 8

/** Registers of a virtio-mmio transport. */
typedef struct {
    guint64 addr;
    guint64 size; /* bytes */
    guint32 interrupt[HM_FDT_MAX_INTERRUPT_CELLS];
    guint n_cells; /* 0: none */
} HmFdtTransport;

typedef struct {
    char *filename;
    char *dtb;          /* (nullable): the tree to begin with */
    GPtrArray *memdevs; /* (nullable) (element-type utf8): ids; NULL: all */
    GPtrArray *devices; /* the same */
    guint64 base;
    gboolean replace; /* what memory @dtb has */
    gboolean reserve;
    GArray *distances;  /* (element-type HmFdtDistance) */
    GArray *transports; /* (element-type HmFdtTransport) */
} HmFdtDump;

/** The arguments of dump-fdt. */
extern const HmProp hm_fdt_dump_rows[];
#define HM_FDT_N_DUMP_ROWS 9

/** What the elements of "distances" and of "virtio-mmio" have. */
extern const HmProp hm_fdt_distance_rows[];
#define HM_FDT_N_DISTANCE_ROWS 3
extern const HmProp hm_fdt_transport_rows[];
#define HM_FDT_N_TRANSPORT_ROWS 3

/**
 * hm_fdt_dump_parse: read the argument of `-dumpdtb`, in any dialect; lists are
 * for JSON alone.
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_INVALID
 */
HmFdtDump *hm_fdt_dump_parse(const char *text, GError **error);
void hm_fdt_dump_free(HmFdtDump *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmFdtDump, hm_fdt_dump_free)

/* fdt-template.c */

/** Backends that differ in what a tree says, and in nothing else. */
typedef struct {
    char *file;
    gboolean per_node; /* one backend for all ranges of a NUMA node */
    char *prefix;      /* of ids */
    json_t *options;   /* of each of them, with "qom-type" */
} HmFdtTemplate;

/**
 * hm_fdt_template_parse: read the argument of `-dtb`, in any dialect.
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_INVALID
 */
HmFdtTemplate *hm_fdt_template_parse(const char *text, GError **error);
void hm_fdt_template_free(HmFdtTemplate *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmFdtTemplate, hm_fdt_template_free)

/**
 * (transfer full): an `-object` in JSON.
 * @size: bytes, below 2^63
 * @addr: guest physical address below 2^63, or -1
 * @node: NUMA node, or -1
 */
char *hm_fdt_template_apply(const HmFdtTemplate *self, const char *id,
                            guint64 size, gint64 addr, gint64 node);
