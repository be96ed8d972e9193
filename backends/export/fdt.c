/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "backends/export/fdt.h"
#include "util/error.h"

/*
 * Theory of operation
 *
 * A blob is one piece of memory in which libfdt moves everything behind a
 * change.  It neither allocates nor undoes.  So each change is made in a copy
 * with some room at its end; when that is not enough, the copy is thrown away
 * and the change made again in a larger one; when all is well, the copy takes
 * the place of the tree.  A failure therefore leaves the tree as it was.
 *
 * New nodes are put in by fdt-insert.c, all of one kind at once: a tree may
 * have 16 MiB and get a thousand of them.
 */

#define FIRST_ROOM  1024u /* bytes */
#define PATH_SIZE   512

#define MIN_VERSION 16u /* of a blob; since 2005 */

/* Reading */

char *hm_fdt_path(const void *blob, int node)
{
    char path[PATH_SIZE];

    return fdt_get_path(blob, node, path, sizeof(path)) < 0
               ? g_strdup("a node with a long path")
               : g_strdup(path);
}

static gboolean is_cell_count(int n)
{
    return n == 1 || n == 2;
}

gboolean hm_fdt_get_cells(const void *blob, int node, HmFdtCells *cells,
                          GError **error)
{
    g_autofree char *path = NULL;
    int address = fdt_address_cells(blob, node);
    int size = fdt_size_cells(blob, node);

    if (is_cell_count(address) && is_cell_count(size)) {
        *cells = (HmFdtCells){address, size};
        return TRUE;
    }
    path = hm_fdt_path(blob, node);
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "device tree: #address-cells and #size-cells of %s "
                        "must be 1 or 2",
                        path);
}

static guint64 read_cells(const fdt32_t **at, int n)
{
    guint64 value = 0;

    for (int i = 0; i < n; i++) {
        value = value << 32 | fdt32_ld((*at)++);
    }
    return value;
}

static gboolean set_bad_reg(GError **error, const void *blob, int node,
                            const char *what)
{
    g_autofree char *path = hm_fdt_path(blob, node);
    g_autofree char *quoted = hm_error_quote(path);

    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "device tree: \"reg\" of %s %s", quoted, what);
}

GArray *hm_fdt_read_reg(const void *blob, int node, const HmFdtCells *cells,
                        GError **error)
{
    g_autoptr(GArray) ranges = g_array_new(FALSE, FALSE, sizeof(HmRange));
    int entry = (cells->address + cells->size) * (int)sizeof(fdt32_t);
    int length;
    const fdt32_t *at = fdt_getprop(blob, node, "reg", &length);

    if (!at) {
        set_bad_reg(error, blob, node, "is missing");
        return NULL;
    }
    if (length % entry) {
        set_bad_reg(error, blob, node, "is no list of whole ranges");
        return NULL;
    }
    for (const fdt32_t *end = at + length / sizeof(*at); at < end;) {
        guint64 base = read_cells(&at, cells->address);
        guint64 size = read_cells(&at, cells->size);
        HmRange range;

        if (!size) {
            continue;
        }
        if (!hm_range_init(&range, base, size)) {
            set_bad_reg(error, blob, node, "goes beyond 64 bits");
            return NULL;
        }
        g_array_append_val(ranges, range);
    }
    return g_steal_pointer(&ranges);
}

/* Changing */

static gboolean fits_cells(guint64 last, int cells)
{
    return cells == 2 || last <= G_MAXUINT32;
}

gboolean hm_fdt_check_range(HostmemFdt *self, const char *what, guint64 base,
                            guint64 size, HmRange *range, GError **error)
{
    if (!hm_range_init(range, base, size)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "device tree: %s of 0x%" G_GINT64_MODIFIER
                            "x bytes at 0x%" G_GINT64_MODIFIER
                            "x is empty or goes beyond 64 bits",
                            what, size, base);
    }
    if (!fits_cells(base + (size - 1), self->cells.address) ||
        !fits_cells(size, self->cells.size)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "device tree: %s of 0x%" G_GINT64_MODIFIER
                            "x bytes at 0x%" G_GINT64_MODIFIER
                            "x does not fit the root's cells: #address-cells "
                            "is %d and #size-cells is %d",
                            what, size, base, self->cells.address,
                            self->cells.size);
    }
    return TRUE;
}

/* (transfer full) (nullable): the tree and @room bytes behind it, changed. */
static guint8 *change_copy(const guint8 *blob, gsize room, HmFdtChange change,
                           gconstpointer data, int *err)
{
    gsize size = fdt_totalsize(blob) + room;
    g_autofree guint8 *copy = g_malloc(size);

    *err = fdt_open_into(blob, copy, (int)size);
    if (!*err) {
        *err = change(copy, data);
    }
    return *err ? NULL : g_steal_pointer(&copy);
}

gboolean hm_fdt_refuse_size(GError **error)
{
    return hm_set_error(error, HOSTMEM_ERROR_LIMIT,
                        "device tree: it would have more than %u MiB",
                        HM_FDT_MAX_SIZE >> 20);
}

gboolean hm_fdt_change(HostmemFdt *self, gsize room, HmFdtChange change,
                       gconstpointer data, GError **error)
{
    guint8 *copy;
    int err;

    room += FIRST_ROOM;
    while (!(copy = change_copy(self->blob, room, change, data, &err)) &&
           err == -FDT_ERR_NOSPACE && room < HM_FDT_MAX_SIZE) {
        room *= 2;
    }
    if (!copy && err != -FDT_ERR_NOSPACE) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID, "device tree: %s",
                            fdt_strerror(err));
    }
    if (copy) {
        fdt_pack(copy);
    }
    if (!copy || fdt_totalsize(copy) > HM_FDT_MAX_SIZE) {
        g_free(copy);
        return hm_fdt_refuse_size(error);
    }
    g_free(self->blob);
    self->blob = copy;
    return TRUE;
}

/* From and to blobs */

/* Of a place in the structure, where a hex editor finds it. */
static guint byte_of(const void *blob, int offset)
{
    return fdt_off_dt_struct(blob) + (guint)offset;
}

static gboolean check_depth(const void *blob, GError **error)
{
    int depth = 0;

    for (int node = 0; node >= 0; node = fdt_next_node(blob, node, &depth)) {
        if (depth >= HM_FDT_MAX_DEPTH) {
            return hm_set_error(error, HOSTMEM_ERROR_LIMIT,
                                "device tree: it is deeper than %d nodes, at "
                                "byte %u",
                                HM_FDT_MAX_DEPTH, byte_of(blob, node));
        }
    }
    return TRUE;
}

/* Whether a tag may stand there; *@depth counts the nodes that it is in. */
static gboolean is_sound(const void *blob, guint32 tag, int offset, int *depth)
{
    const char *name;

    switch (tag) {
    case FDT_BEGIN_NODE:
        return ++*depth < G_MAXINT;
    case FDT_END_NODE:
        return --*depth >= 0;
    case FDT_PROP:
        return fdt_getprop_by_offset(blob, offset, &name, NULL) != NULL;
    default:
        return TRUE;
    }
}

/* Offset in the structure of what fdt_check_full() stumbles over. */
static int find_flaw(const void *blob)
{
    int depth = 0;
    int offset;
    int next = 0;
    guint32 tag;

    do {
        offset = next;
        tag = fdt_next_tag(blob, offset, &next);
    } while (next >= 0 && tag != FDT_END &&
             is_sound(blob, tag, offset, &depth));
    return offset;
}

/* What it says of its size; @blob may lie anywhere. */
static gboolean read_total(const void *blob, gsize size, guint32 *total,
                           GError **error)
{
    struct fdt_header header = {0};

    memcpy(&header, blob, MIN(size, sizeof(header)));
    *total = fdt32_to_cpu(header.totalsize);
    if (size < sizeof(header) || fdt32_to_cpu(header.magic) != FDT_MAGIC) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "device tree: the first bytes of %" G_GSIZE_FORMAT
                            " are not its header",
                            size);
    }
    /* Names of nodes were paths before, and libfdt trusts them to be. */
    if (fdt32_to_cpu(header.version) < MIN_VERSION) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "device tree: it is of version %u; versions from "
                            "%u on are taken",
                            fdt32_to_cpu(header.version), MIN_VERSION);
    }
    if (*total > HM_FDT_MAX_SIZE) {
        return hm_set_error(error, HOSTMEM_ERROR_LIMIT,
                            "device tree: it says that it has %u bytes; at "
                            "most %u MiB are taken",
                            *total, HM_FDT_MAX_SIZE >> 20);
    }
    if (*total < sizeof(header) || *total > size) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "device tree: it is cut: it says that it has "
                            "%u bytes, and there are %" G_GSIZE_FORMAT,
                            *total, size);
    }
    return TRUE;
}

/* libfdt looks for the end of a name whenever it compares it. */
static gboolean check_names(const guint8 *blob, GError **error)
{
    guint start = fdt_off_dt_strings(blob);
    guint end = start + fdt_size_dt_strings(blob);

    while (start < end) {
        gsize left = MIN(end - start, HM_FDT_MAX_NAME + 1);
        const guint8 *nul = memchr(blob + start, '\0', left);

        if (!nul && left > HM_FDT_MAX_NAME) {
            return hm_set_error(error, HOSTMEM_ERROR_LIMIT,
                                "device tree: a name of more than %d bytes "
                                "begins at byte %u",
                                HM_FDT_MAX_NAME, start);
        }
        start = nul ? (guint)(nul - blob) + 1 : end;
    }
    return TRUE;
}

static gboolean check_structure(const void *blob, GError **error)
{
    int err = fdt_check_header(blob);

    if (!err && !check_names(blob, error)) {
        return FALSE;
    }
    err = err ? err : fdt_check_full(blob, fdt_totalsize(blob));
    if (!err) {
        return check_depth(blob, error);
    }
    if (fdt_check_header(blob) || fdt_num_mem_rsv(blob) < 0) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "device tree: it is malformed, in its header or "
                            "its list of reservations: %s",
                            fdt_strerror(err));
    }
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "device tree: it is malformed at byte %u: %s",
                        byte_of(blob, find_flaw(blob)), fdt_strerror(err));
}

static int leave(G_GNUC_UNUSED void *blob, G_GNUC_UNUSED gconstpointer data)
{
    return 0;
}

HostmemFdt *hostmem_fdt_parse(const void *blob, gsize size, GError **error)
{
    g_autoptr(HostmemFdt) self = g_new0(HostmemFdt, 1);
    guint32 total;

    g_return_val_if_fail(blob || !size, NULL);
    if (!read_total(blob, size, &total, error)) {
        return NULL;
    }
    self->blob = g_memdup2(blob, total); /* libfdt wants it aligned */
    if (!check_structure(self->blob, error) ||
        !hm_fdt_get_cells(self->blob, 0, &self->cells, error) ||
        !hm_fdt_change(self, 0, leave, NULL, error)) { /* puts it in order */
        return NULL;
    }
    return g_steal_pointer(&self);
}

static int make_root(void *blob, G_GNUC_UNUSED gconstpointer data)
{
    int err = fdt_setprop_u32(blob, 0, "#size-cells", 2);

    return err ? err : fdt_setprop_u32(blob, 0, "#address-cells", 2);
}

HostmemFdt *hostmem_fdt_new(void)
{
    HostmemFdt *self = g_new0(HostmemFdt, 1);

    self->blob = g_malloc0(FIRST_ROOM);
    self->cells = (HmFdtCells){2, 2};
    fdt_create_empty_tree(self->blob, FIRST_ROOM);
    hm_fdt_change(self, 0, make_root, NULL, NULL);
    return self;
}

void hostmem_fdt_free(HostmemFdt *self)
{
    g_free(self->blob);
    g_free(self);
}

GBytes *hostmem_fdt_to_bytes(HostmemFdt *self)
{
    return g_bytes_new(self->blob, fdt_totalsize(self->blob));
}
