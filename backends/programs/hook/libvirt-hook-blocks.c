/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * For <source type='file'/> libvirt lets QEMU map
 *
 *     MEMORY_BACKING_DIR/libvirt/qemu/ID-NAME/BLOCK
 *
 * where NAME is the beginning of the domain's name.  For huge pages it says
 *
 *     HUGETLBFS/libvirt/qemu/ID-NAME
 *
 * and makes that a folder, in which QEMU makes a nameless file for each block.
 * A file in its place serves one block as well as a folder would, and libvirt
 * leaves what it finds there.  But each further block, and each DIMM that is
 * plugged in later, would be the same memory once more: then we keep away.
 */
#include <string.h>
#include "libvirt-hook-blocks.h"

typedef struct {
    const HookDomain *domain;
    const HookPlaces *places;
    GPtrArray *blocks;
} Search;

static void block_free(gpointer data)
{
    HookBlock *self = data;

    g_free(self->name);
    g_free(self->id);
    g_free(self->own_id);
    g_free(self->base);
    g_free(self->folder);
    g_free(self->path);
    g_free(self->origin);
    g_free(self);
}

/* Names */

/* What QEMU calls the memory of a machine without cells. */
static const char *default_name(const HookDomain *domain, GError **error)
{
    static const struct {
        const char *arch;
        const char *machine; /* its beginning */
        const char *name;
    } rows[] = {
        {"x86_64", "microvm", "microvm.ram"},
        {"x86_64", "", "pc.ram"},
        {"i686", "microvm", "microvm.ram"},
        {"i686", "", "pc.ram"},
        {"aarch64", "virt", "mach-virt.ram"},
        {"armv7l", "virt", "mach-virt.ram"},
        {"riscv64", "virt", "riscv_virt_board.ram"},
        {"riscv32", "virt", "riscv_virt_board.ram"},
        {"s390x", "", "s390.ram"},
        {"ppc64", "pseries", "ppc_spapr.ram"},
        {"ppc64le", "pseries", "ppc_spapr.ram"},
    };
    const char *arch = domain->arch ? domain->arch : "";
    const char *machine = domain->machine ? domain->machine : "";

    for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (g_str_equal(rows[i].arch, arch) &&
            g_str_has_prefix(machine, rows[i].machine)) {
            return rows[i].name;
        }
    }
    hook_refuse(error, HOSTMEM_ERROR_UNSUPPORTED,
                "what QEMU calls the memory of machine '%.40s' (%.40s) is not "
                "known; a NUMA cell has a name",
                machine, arch);
    return NULL;
}

/* (transfer full) (nullable) */
static char *domain_entry(const HookDomain *domain)
{
    glong length = MIN(g_utf8_strlen(domain->name, -1), HOOK_SHORT_NAME);
    g_autofree char *name = g_utf8_substring(domain->name, 0, length);

    return domain->id < 0 ? NULL : g_strdup_printf("%d-%s", domain->id, name);
}

/* Pages */

static gboolean has(const char *nodeset, guint cell, gboolean *result,
                    GError **error)
{
    gboolean ids[HOOK_IDS_MAX];

    if (!hook_nodeset_parse(nodeset, ids, error)) {
        return FALSE;
    }
    *result = ids[cell];
    return TRUE;
}

/* The pages of a cell; without cells there is one, 0. */
static gboolean find_pages(const HookDomain *domain, guint cell,
                           const HookPages **found, GError **error)
{
    const HookPages *others = NULL;

    *found = NULL;
    for (guint i = 0; i < domain->pages->len; i++) {
        const HookPages *pages = &g_array_index(domain->pages, HookPages, i);
        gboolean mine = FALSE;

        if (!pages->nodeset) {
            others = pages;
        } else if (!has(pages->nodeset, cell, &mine, error)) {
            return FALSE;
        } else if (mine) {
            *found = pages;
            return TRUE;
        }
    }
    *found = others;
    return TRUE;
}

/* 0: base pages */
static gboolean find_page_size(const Search *self, guint cell,
                               guint64 *page_size, GError **error)
{
    const HookPages *pages;

    *page_size = 0;
    if (!self->domain->has_hugepages) {
        return TRUE;
    }
    if (!find_pages(self->domain, cell, &pages, error)) {
        return FALSE;
    }
    if (!self->domain->pages->len || (pages && !pages->size)) {
        *page_size = self->places->huge_page_size;
    } else if (pages && pages->size != self->places->base_page_size) {
        *page_size = pages->size;
    }
    return TRUE;
}

static const HookMount *find_mount(const HookPlaces *places, guint64 page_size,
                                   GError **error)
{
    for (guint i = 0; i < places->mounts->len; i++) {
        const HookMount *mount = &g_array_index(places->mounts, HookMount, i);

        if (mount->page_size == page_size) {
            return mount;
        }
    }
    hook_refuse(error, HOSTMEM_ERROR_UNSUPPORTED,
                "there is no hugetlbfs of %" G_GUINT64_FORMAT " KiB pages",
                page_size >> 10);
    return NULL;
}

/* Blocks */

static gboolean place_in_folder(const Search *self, HookBlock *block)
{
    g_autofree char *entry = domain_entry(self->domain);

    block->base =
        g_build_filename(self->places->backing_dir, "libvirt", "qemu", NULL);
    if (entry) {
        block->folder = g_build_filename(block->base, entry, NULL);
        block->path = g_build_filename(block->folder, block->name, NULL);
    }
    return TRUE;
}

static gboolean place_on_hugetlbfs(const Search *self, HookBlock *block,
                                   GError **error)
{
    g_autofree char *entry = domain_entry(self->domain);
    const HookMount *mount = find_mount(self->places, block->page_size, error);

    if (!mount) {
        return FALSE;
    }
    if (self->domain->grows) {
        return hook_refuse(error, HOSTMEM_ERROR_UNSUPPORTED,
                           "memory in huge pages cannot be told from what is "
                           "plugged in: leave out <hugepages>, and let "
                           "memory_backing_dir be on a hugetlbfs");
    }
    block->base = g_build_filename(mount->folder, "libvirt", "qemu", NULL);
    if (entry) {
        block->path = g_build_filename(block->base, entry, NULL);
    }
    return TRUE;
}

/* Two that QEMU would find in one file. */
static gboolean check_alone(const Search *self, GError **error)
{
    for (guint i = 0; i < self->blocks->len; i++) {
        const HookBlock *one = g_ptr_array_index(self->blocks, i);

        for (guint k = 0; one->page_size && k < i; k++) {
            const HookBlock *other = g_ptr_array_index(self->blocks, k);

            if (g_str_equal(one->base, other->base) && other->page_size) {
                return hook_refuse(
                    error, HOSTMEM_ERROR_UNSUPPORTED,
                    "several NUMA cells in huge pages of one size "
                    "cannot be told apart: leave out <hugepages>, "
                    "and let memory_backing_dir be on a hugetlbfs");
            }
        }
    }
    return TRUE;
}

static gboolean is_from_file(const Search *self, const HookBlock *block,
                             const char *access)
{
    if (!access) {
        access = self->domain->access;
    }
    return g_strcmp0(access, "shared") == 0 &&
           (block->page_size || g_strcmp0(self->domain->source, "file") == 0);
}

/* Takes @block, which is dropped when it is no such memory. */
static gboolean add(Search *self, HookBlock *block, guint cell,
                    const char *access, GError **error)
{
    gboolean ok = (block->size ||
                   hook_refuse(error, HOSTMEM_ERROR_INVALID,
                               "the size of %s is not said", block->name)) &&
                  find_page_size(self, cell, &block->page_size, error);

    if (ok && !is_from_file(self, block, access)) {
        block_free(block);
        return TRUE;
    }
    ok = ok && (block->page_size ? place_on_hugetlbfs(self, block, error)
                                 : place_in_folder(self, block));
    if (!ok) {
        block_free(block);
        return FALSE;
    }
    block->id =
        g_strdup_printf("libvirt-%s-%s", self->domain->uuid, block->name);
    g_ptr_array_add(self->blocks, block);
    return TRUE;
}

static gboolean add_cell(Search *self, const HookCell *cell, gboolean only,
                         GError **error)
{
    HookBlock *block = g_new0(HookBlock, 1);

    block->name = g_strdup_printf("ram-node%u", cell->id);
    block->own_id =
        only ? g_strdup(self->domain->name)
             : g_strdup_printf("%s-node%u", self->domain->name, cell->id);
    block->size = cell->size;
    block->numatune =
        cell->numatune.nodeset ? &cell->numatune : &self->domain->numatune;
    return add(self, block, cell->id, cell->access, error);
}

static gboolean add_all(Search *self, GError **error)
{
    const char *name = default_name(self->domain, error);
    HookBlock *block;

    if (!name) {
        return FALSE;
    }
    block = g_new0(HookBlock, 1);
    block->name = g_strdup(name);
    block->own_id = g_strdup(self->domain->name);
    block->size = self->domain->size;
    block->numatune = &self->domain->numatune;
    return add(self, block, 0, NULL, error);
}

/* <numatune> may tell of cells that there are not. */
static guint count_cells(const HookDomain *domain)
{
    guint count = 0;

    for (guint i = 0; i < domain->cells->len; i++) {
        count += g_array_index(domain->cells, HookCell, i).size > 0;
    }
    return count;
}

static gboolean add_cells(Search *self, guint count, GError **error)
{
    for (guint i = 0; i < self->domain->cells->len; i++) {
        const HookCell *cell = &g_array_index(self->domain->cells, HookCell, i);

        if (cell->size && !add_cell(self, cell, count == 1, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* Whether any of it may be: most domains do not ask, whatever they are. */
static gboolean asks(const HookDomain *domain)
{
    gboolean shared = g_strcmp0(domain->access, "shared") == 0;

    for (guint i = 0; i < domain->cells->len; i++) {
        shared |= g_strcmp0(g_array_index(domain->cells, HookCell, i).access,
                            "shared") == 0;
    }
    return shared &&
           (domain->has_hugepages || g_strcmp0(domain->source, "file") == 0);
}

GPtrArray *hook_blocks_find(const HookDomain *domain, const HookPlaces *places,
                            GError **error)
{
    g_autoptr(GPtrArray) blocks = g_ptr_array_new_with_free_func(block_free);
    Search search = {domain, places, blocks};
    guint cells = count_cells(domain);

    if (!asks(domain)) {
        return g_steal_pointer(&blocks);
    }
    if (!(cells ? add_cells(&search, cells, error) : add_all(&search, error)) ||
        !check_alone(&search, error)) {
        return NULL;
    }
    return g_steal_pointer(&blocks);
}
