/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/libvirt.h>
#include <jansson.h>

/*
 * What libvirt-memory.c, which reads objects and devices, and libvirt-ram.c,
 * which reads what is said of all memory, of RAM and of NUMA nodes, know of a
 * command line.
 */

/** A NUMA node of the guest that has a size and no object. */
typedef struct {
    guint32 node;
    guint64 size;
} HmMemoryCell;

typedef struct {
    const HostmemLibvirtPlace *places;
    guint n_places;

    /* What -m, -numa and -mem-path say. */
    guint64 ram_size;
    gboolean has_ram_size;
    gboolean ram_is_object; /* memory-backend=, or memdev= */
    GArray *cells;          /* (element-type HmMemoryCell) */
    GHashTable *nodes;      /* id of a backend -> NUMA node of the guest */
    char *mem_path;         /* (nullable) */

    /* For every backend that does not say otherwise. */
    gboolean prealloc;
    gboolean no_merge;
    gboolean no_dump;
    gboolean lock;

    GPtrArray *options; /* (element-type utf8): the result */
} HmMemoryReader;

/* Each reads the value of one option, UTF-8; FALSE with an error. */
gboolean hm_memory_read_dimm(HmMemoryReader *self, const char *text,
                             GError **error);
gboolean hm_memory_read_machine(HmMemoryReader *self, const char *text,
                                GError **error);
gboolean hm_memory_read_mem_path(HmMemoryReader *self, const char *text,
                                 GError **error);
gboolean hm_memory_read_mem_prealloc(HmMemoryReader *self, const char *text,
                                     GError **error);
gboolean hm_memory_read_numa(HmMemoryReader *self, const char *text,
                             GError **error);
gboolean hm_memory_read_overcommit(HmMemoryReader *self, const char *text,
                                   GError **error);
gboolean hm_memory_read_ram_size(HmMemoryReader *self, const char *text,
                                 GError **error);

/** Makes objects of RAM that has none, when all of these have been read. */
gboolean hm_memory_append_plain_ram(HmMemoryReader *self, GError **error);

/** @object gets what holds for all backends, and where its file is. */
gboolean hm_memory_append_backend(HmMemoryReader *self, json_t *object,
                                  GError **error);
