/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "backends/programs/hook/libvirt-hook-blocks.h"
#include "fuzz.h"

/* Files are where libvirt's are, and nowhere else. */
static void check_block(const HookBlock *block, const HookDomain *domain)
{
    const char *entry = block->path ? block->path + strlen(block->base) : "";

    g_assert_cmpuint(block->size, >, 0);
    g_assert_true(g_utf8_validate(block->id, -1, NULL));
    g_assert_true((domain->id >= 0) == (block->path != NULL));
    g_assert_true(!block->path || g_str_has_prefix(block->path, block->base));
    g_assert_true(g_str_equal(block->base, "/m/libvirt/qemu") ||
                  g_str_equal(block->base, "/h/libvirt/qemu"));
    g_assert_true(!strstr(entry, "/../") && !g_str_has_suffix(entry, "/.."));
}

static void find_blocks(const HookDomain *domain)
{
    HookMount mount = {2 << 20, (char *)"/h"};
    g_autoptr(GArray) mounts = g_array_new(FALSE, FALSE, sizeof(HookMount));
    const HookPlaces places = {"/m", mounts, 2 << 20, 4096};
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) blocks = NULL;

    g_array_append_val(mounts, mount);
    blocks = hook_blocks_find(domain, &places, &error);
    fuzz_check_error(blocks != NULL, error);
    for (guint i = 0; blocks && i < blocks->len; i++) {
        check_block(g_ptr_array_index(blocks, i), domain);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HookDomain) domain =
        hook_domain_parse((const char *)data, size, &error);

    fuzz_check_error(domain != NULL, error);
    if (domain) {
        find_blocks(domain);
    }
    return 0;
}
