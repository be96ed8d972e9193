/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fdt-test.h"
#include <string.h>

void hm_test_tree_clear(HmTestTree *self)
{
    g_free(self->blob);
}

HmTestTree hm_test_tree_new(guint32 address_cells, guint32 size_cells)
{
    HmTestTree self = {g_malloc0(HM_TEST_BLOB_SIZE)};

    g_assert_cmpint(fdt_create_empty_tree(self.blob, HM_TEST_BLOB_SIZE), ==, 0);
    g_assert_cmpint(
        fdt_setprop_u32(self.blob, 0, "#address-cells", address_cells), ==, 0);
    g_assert_cmpint(fdt_setprop_u32(self.blob, 0, "#size-cells", size_cells),
                    ==, 0);
    return self;
}

int hm_test_tree_add(HmTestTree *self, const char *parent, const char *name)
{
    int at = fdt_path_offset(self->blob, parent);
    int node = fdt_add_subnode(self->blob, at, name);

    g_assert_cmpint(node, >, 0);
    return node;
}

void hm_test_tree_set_cells(HmTestTree *self, const char *path,
                            const char *property, const guint32 *cells, guint n)
{
    int node = fdt_path_offset(self->blob, path);

    fdt_delprop(self->blob, node, property);
    for (guint i = 0; i < n; i++) {
        g_assert_cmpint(
            fdt_appendprop_u32(self->blob, node, property, cells[i]), ==, 0);
    }
}

void hm_test_tree_set_text(HmTestTree *self, const char *path,
                           const char *property, const char *text)
{
    g_assert_cmpint(fdt_setprop_string(self->blob,
                                       fdt_path_offset(self->blob, path),
                                       property, text),
                    ==, 0);
}

void hm_test_tree_add_memory(HmTestTree *self, const char *name, guint32 high,
                             guint32 low, guint32 size)
{
    g_autofree char *path = g_strconcat("/", name, NULL);

    hm_test_tree_add(self, "/", name);
    hm_test_tree_set_text(self, path, "device_type", "memory");
    HM_TEST_SET_CELLS(self, path, "reg", high, low, 0, size);
}

HostmemFdt *hm_test_parse_tree(const HmTestTree *tree)
{
    g_autoptr(GError) error = NULL;
    HostmemFdt *fdt = hostmem_fdt_parse(tree->blob, HM_TEST_BLOB_SIZE, &error);

    g_assert_no_error(error);
    return fdt;
}

void hm_test_assert_memory(HostmemFdt *fdt, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) list = hostmem_fdt_list_memory(fdt, &error);
    g_autoptr(GString) text = g_string_new(NULL);

    g_assert_no_error(error);
    for (guint i = 0; i < list->len; i++) {
        const HostmemFdtMemory *memory =
            &g_array_index(list, HostmemFdtMemory, i);

        g_string_append_printf(text,
                               "%s%" G_GINT64_MODIFIER "x+%" G_GINT64_MODIFIER
                               "x@%" G_GINT64_FORMAT,
                               i ? " " : "", memory->base, memory->size,
                               memory->node);
    }
    g_assert_cmpstr(text->str, ==, expected);
}

void hm_test_assert_refused(gboolean ok, GError **error, HostmemError code,
                            const char *part)
{
    g_assert_false(ok);
    g_assert_error(*error, HOSTMEM_ERROR, (gint)code);
    if (!strstr((*error)->message, part)) {
        g_test_message("'%s' lacks '%s'", (*error)->message, part);
        g_test_fail();
    }
    g_clear_error(error);
}

/* What a blob says, as libfdt sees it. */
static const fdt32_t *cells_at(GBytes *blob, const char *path,
                               const char *property, guint n)
{
    const void *tree = g_bytes_get_data(blob, NULL);
    int length;
    const fdt32_t *cells =
        fdt_getprop(tree, fdt_path_offset(tree, path), property, &length);

    g_assert_nonnull(cells);
    g_assert_cmpint(length, ==, (int)(n * sizeof(*cells)));
    return cells;
}

void hm_test_assert_cells(HostmemFdt *fdt, const char *path,
                          const char *property, const guint32 *expected,
                          guint n)
{
    g_autoptr(GBytes) blob = hostmem_fdt_to_bytes(fdt);
    const fdt32_t *cells = cells_at(blob, path, property, n);

    for (guint i = 0; i < n; i++) {
        g_assert_cmphex(fdt32_ld(&cells[i]), ==, expected[i]);
    }
}
