/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "backends/export/fdt.h"
#include "util/error.h"

/*
 * Theory of operation
 *
 * To add a node by libfdt moves all that lies behind it, and so does each of
 * its properties: a thousand nodes move a large tree some thousand times.  So
 * new nodes are written one behind the other to a tree of their own, a draft,
 * by the calls that libfdt has for that, and then go into the blob together. On
 * the way one thing in them changes: where the names of properties are, for
 * those lie in the strings of the blob, or are appended there.
 */

#define FIRST_SIZE 1024u /* bytes */

/* Of a draft's structure: in front of the nodes are the root's tag and empty
 * name, behind them its end and that of the structure. */
#define HEAD (2 * FDT_TAGSIZE)
#define TAIL (2 * FDT_TAGSIZE)

/* The draft */

static int write_draft(void *draft, int size, HmFdtWrite write,
                       gconstpointer data)
{
    int err = fdt_create(draft, size);

    if (!err) {
        err = fdt_finish_reservemap(draft);
    }
    if (!err) {
        err = fdt_begin_node(draft, "");
    }
    if (!err) {
        err = write(draft, data);
    }
    if (!err) {
        err = fdt_end_node(draft);
    }
    return err ? err : fdt_finish(draft);
}

/* (transfer full) (nullable): NULL with *@err. */
static guint8 *make_draft(HmFdtWrite write, gconstpointer data, int *err)
{
    guint size = FIRST_SIZE;

    do {
        g_autofree guint8 *draft = g_malloc(size);

        *err = write_draft(draft, (int)size, write, data);
        if (!*err) {
            return g_steal_pointer(&draft);
        }
        size *= 2;
    } while (*err == -FDT_ERR_NOSPACE && size <= 2 * HM_FDT_MAX_SIZE);
    return NULL;
}

static guint nodes_length(const void *draft)
{
    return fdt_size_dt_struct(draft) - HEAD - TAIL;
}

/* Names */

typedef struct {
    const char *strings; /* of the blob */
    gsize length;
    GString *added;     /* behind them */
    GHashTable *places; /* name -> offset of it */
} Names;

static guint find_name(const Names *self, const char *name)
{
    gsize length = strlen(name) + 1;
    const char *found = memmem(self->strings, self->length, name, length);

    return found ? (guint)(found - self->strings)
                 : (guint)(self->length + self->added->len);
}

/* The blob is searched once for each name. */
static guint place_name(Names *self, const char *name)
{
    gpointer known;
    guint place;

    if (g_hash_table_lookup_extended(self->places, name, NULL, &known)) {
        return GPOINTER_TO_UINT(known);
    }
    place = find_name(self, name);
    if (place == self->length + self->added->len) {
        g_string_append_len(self->added, name, (gssize)strlen(name) + 1);
    }
    g_hash_table_insert(self->places, (gpointer)name, GUINT_TO_POINTER(place));
    return place;
}

/* Gives the names in a draft the places that they have in the blob. */
static void place_names(Names *self, void *draft)
{
    guint8 *structure = (guint8 *)draft + fdt_off_dt_struct(draft);
    int offset = 0;
    int next;
    guint32 tag;

    while ((tag = fdt_next_tag(draft, offset, &next)) != FDT_END) {
        if (tag == FDT_PROP) {
            fdt32_t *at =
                (fdt32_t *)(gpointer)(structure + offset +
                                      G_STRUCT_OFFSET(struct fdt_property,
                                                      nameoff));

            fdt32_st(at,
                     place_name(self, fdt_string(draft, (int)fdt32_ld(at))));
        }
        offset = next;
    }
}

/* The blob */

/* Where a node has its first child: behind its properties. */
static int children_of(const void *blob, int node)
{
    int offset;
    int next;
    guint32 tag;

    fdt_next_tag(blob, node, &next);
    do {
        offset = next;
        tag = fdt_next_tag(blob, offset, &next);
    } while (tag == FDT_PROP || tag == FDT_NOP);
    return offset;
}

/* (transfer full): the nodes of @draft and @strings are in it. */
static guint8 *merge(const guint8 *blob, int parent, const void *draft,
                     const GString *strings)
{
    guint length = nodes_length(draft);
    gsize size = fdt_totalsize(blob) + length + strings->len;
    guint8 *copy = g_malloc(size);
    guint8 *at = copy + fdt_off_dt_struct(blob) + children_of(blob, parent);
    guint8 *end = copy + fdt_totalsize(blob);

    memcpy(copy, blob, fdt_totalsize(blob));
    memmove(at + length, at, (gsize)(end - at));
    memcpy(at, (const guint8 *)draft + fdt_off_dt_struct(draft) + HEAD, length);
    memcpy(end + length, strings->str, strings->len);
    fdt_set_size_dt_struct(copy, fdt_size_dt_struct(blob) + length);
    fdt_set_off_dt_strings(copy, fdt_off_dt_strings(blob) + length);
    fdt_set_size_dt_strings(copy,
                            fdt_size_dt_strings(blob) + (guint)strings->len);
    fdt_set_totalsize(copy, (guint)size);
    return copy;
}

static gboolean insert_draft(HostmemFdt *self, int parent, void *draft,
                             GError **error)
{
    g_autoptr(GString) added = g_string_new(NULL);
    g_autoptr(GHashTable) places = g_hash_table_new(g_str_hash, g_str_equal);
    Names names = {(const char *)self->blob + fdt_off_dt_strings(self->blob),
                   fdt_size_dt_strings(self->blob), added, places};
    guint8 *merged;

    place_names(&names, draft);
    if (fdt_totalsize(self->blob) + nodes_length(draft) + added->len >
        HM_FDT_MAX_SIZE) {
        return hm_fdt_refuse_size(error);
    }
    merged = merge(self->blob, parent, draft, added);
    g_free(self->blob);
    self->blob = merged;
    return TRUE;
}

gboolean hm_fdt_insert(HostmemFdt *self, int parent, HmFdtWrite write,
                       gconstpointer data, GError **error)
{
    int err;
    g_autofree guint8 *draft = make_draft(write, data, &err);

    if (draft) {
        return insert_draft(self, parent, draft, error);
    }
    return err == -FDT_ERR_NOSPACE
               ? hm_fdt_refuse_size(error)
               : hm_set_error(error, HOSTMEM_ERROR_INVALID, "device tree: %s",
                              fdt_strerror(err));
}

/* Writing */

int hm_fdt_write_cells(void *draft, const char *name, const guint32 *cells,
                       guint n)
{
    void *value;
    int err = fdt_property_placeholder(draft, name, (int)(n * sizeof(fdt32_t)),
                                       &value);

    for (guint i = 0; !err && i < n; i++) {
        fdt32_st((fdt32_t *)value + i, cells[i]);
    }
    return err;
}

static guint split(guint32 *cells, int n, guint64 value)
{
    if (n == 2) {
        *cells++ = (guint32)(value >> 32);
    }
    *cells = (guint32)value;
    return (guint)n;
}

int hm_fdt_write_reg(void *draft, const HmFdtCells *cells, const HmRange *range)
{
    guint32 reg[4];
    guint n = split(reg, cells->address, range->offset);

    n += split(reg + n, cells->size, range->length);
    return hm_fdt_write_cells(draft, "reg", reg, n);
}
