/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/fdt.h>
#include <libfdt.h>

/* What the tests of device trees have in common. */

#define GIB               (1024ull * 1024 * 1024)
#define HM_TEST_BLOB_SIZE 65536

/** A tree to begin with, made by libfdt alone, of HM_TEST_BLOB_SIZE bytes. */
typedef struct {
    guint8 *blob;
} HmTestTree;

/** One whose root has these cells, and no more. */
HmTestTree hm_test_tree_new(guint32 address_cells, guint32 size_cells);
void hm_test_tree_clear(HmTestTree *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(HmTestTree, hm_test_tree_clear)

/** Returns: the offset of the new node */
int hm_test_tree_add(HmTestTree *self, const char *parent, const char *name);
void hm_test_tree_set_cells(HmTestTree *self, const char *path,
                            const char *property, const guint32 *cells,
                            guint n);
#define HM_TEST_SET_CELLS(tree, path, property, ...)                       \
    hm_test_tree_set_cells(tree, path, property, (guint32[]){__VA_ARGS__}, \
                           sizeof((guint32[]){__VA_ARGS__}) / sizeof(guint32))
void hm_test_tree_set_text(HmTestTree *self, const char *path,
                           const char *property, const char *text);
/** Memory as most blobs have it, in cells of 64 bits. */
void hm_test_tree_add_memory(HmTestTree *self, const char *name, guint32 high,
                             guint32 low, guint32 size);

/** (transfer full): what the library makes of it, which must work. */
HostmemFdt *hm_test_parse_tree(const HmTestTree *tree);

/** All memory in hexadecimal: "40000000+80000000@0 200000000+40000000@-1" */
void hm_test_assert_memory(HostmemFdt *fdt, const char *expected);
/** A call returned FALSE and this error, which has @part; it is cleared. */
void hm_test_assert_refused(gboolean ok, GError **error, HostmemError code,
                            const char *part);
/** The property has these cells, as libfdt sees it. */
void hm_test_assert_cells(HostmemFdt *fdt, const char *path,
                          const char *property, const guint32 *expected,
                          guint n);
#define HM_TEST_ASSERT_CELLS(fdt, path, property, ...)                  \
    hm_test_assert_cells(fdt, path, property, (guint32[]){__VA_ARGS__}, \
                         sizeof((guint32[]){__VA_ARGS__}) / sizeof(guint32))
