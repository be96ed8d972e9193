/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/fdt-guest.h>
#include "backends/export/fdt.h"
#include "util/error.h"

/* A tree of 16 MiB could ask for a hundred thousand. */
#define MAX_OBJECTS 1024

#define NO_ADDRESS  (-1)

/* A backend to be: one range, or several of a NUMA node. */
typedef struct {
    HmRange range; /* where the first begins, and bytes of all of them */
    gboolean gap;  /* they do not touch each other */
    gint64 node;
} Wish;

static Wish *find_wish(GArray *wishes, gint64 node)
{
    for (guint i = 0; i < wishes->len; i++) {
        Wish *wish = &g_array_index(wishes, Wish, i);

        if (wish->node == node) {
            return wish;
        }
    }
    return NULL;
}

static gboolean check_end(const HmRange *range, GError **error)
{
    if (hm_range_end(range) <= G_MAXINT64) {
        return TRUE;
    }
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "device tree: memory of 0x%" G_GINT64_MODIFIER
                        "x bytes at 0x%" G_GINT64_MODIFIER "x goes beyond 2^63",
                        range->length, range->offset);
}

/* Ranges come by address and do not overlap, so sums stay below 2^63 too. */
static gboolean add_range(GArray *wishes, const HostmemFdtMemory *memory,
                          gboolean per_node, GError **error)
{
    Wish wish = {{memory->base, memory->size}, FALSE, memory->node};
    Wish *same = per_node ? find_wish(wishes, memory->node) : NULL;

    if (!check_end(&wish.range, error)) {
        return FALSE;
    }
    if (same) {
        same->gap |= hm_range_end(&same->range) != memory->base;
        same->range.length += memory->size;
        return TRUE;
    }
    if (wishes->len == MAX_OBJECTS) {
        return hm_set_error(error, HOSTMEM_ERROR_LIMIT,
                            "device tree: it asks for more than %d backends",
                            MAX_OBJECTS);
    }
    g_array_append_val(wishes, wish);
    return TRUE;
}

static GArray *list_wishes(HostmemFdt *fdt, gboolean per_node, GError **error)
{
    g_autoptr(GArray) all = hostmem_fdt_list_memory(fdt, error);
    g_autoptr(GArray) wishes = g_array_new(FALSE, FALSE, sizeof(Wish));

    for (guint i = 0; all && i < all->len; i++) {
        if (!add_range(wishes, &g_array_index(all, HostmemFdtMemory, i),
                       per_node, error)) {
            return NULL;
        }
    }
    if (all && !all->len) {
        hm_set_error(error, HOSTMEM_ERROR_INVALID,
                     "device tree: it has no memory");
    }
    return all && all->len ? g_steal_pointer(&wishes) : NULL;
}

static char *make_id(const HmFdtTemplate *template, const Wish *wish, guint i)
{
    if (!template->per_node) {
        return g_strdup_printf("%s%u", template->prefix, i);
    }
    return wish->node == HOSTMEM_FDT_NO_NODE
               ? g_strdup(template->prefix)
               : g_strdup_printf("%s-node%" G_GINT64_FORMAT, template->prefix,
                                 wish->node);
}

char **hm_fdt_make_lines(HostmemFdt *fdt, const HmFdtTemplate *template,
                         GError **error)
{
    g_autoptr(GArray) wishes = list_wishes(fdt, template->per_node, error);
    GPtrArray *lines;

    if (!wishes) {
        return NULL;
    }
    lines = g_ptr_array_new();
    for (guint i = 0; i < wishes->len; i++) {
        const Wish *wish = &g_array_index(wishes, Wish, i);
        g_autofree char *id = make_id(template, wish, i);
        gint64 address = wish->gap ? NO_ADDRESS : (gint64)wish->range.offset;

        g_ptr_array_add(lines,
                        hm_fdt_template_apply(template, id, wish->range.length,
                                              address, wish->node));
    }
    g_ptr_array_add(lines, NULL);
    return (char **)g_ptr_array_free(lines, FALSE);
}

char **hostmem_fdt_make_objects(const char *options, GError **error)
{
    g_autoptr(HmFdtTemplate) template = NULL;
    g_autoptr(HostmemFdt) fdt = NULL;
    char **lines;

    g_return_val_if_fail(options, NULL);
    template = hm_fdt_template_parse(options, error);
    fdt = template ? hostmem_fdt_load(template->file, error) : NULL;
    lines = fdt ? hm_fdt_make_lines(fdt, template, error) : NULL;
    if (fdt && !lines) {
        g_autofree char *quoted = hm_error_quote(template->file);
        g_prefix_error(error, "%s: ", quoted);
    }
    return lines;
}
