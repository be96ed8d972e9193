/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/fdt.h>
#include <hostmem/registry.h>
#include "backends/export/fdt.h"
#include "fuzz.h"

#define GIB (1024ull * 1024 * 1024)

/* Ascending, and none overlaps the next. */
static void check_list(GArray *list)
{
    guint64 end = 0;

    for (guint i = 0; i < list->len; i++) {
        const HostmemFdtMemory *memory =
            &g_array_index(list, HostmemFdtMemory, i);

        g_assert_cmpuint(memory->size, >, 0);
        g_assert_cmpuint(memory->base, >=, end);
        end = memory->base + memory->size;
        g_assert_true(end > memory->base);
    }
}

static void list(HostmemFdt *fdt)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) found = hostmem_fdt_list_memory(fdt, &error);

    fuzz_check_error(found != NULL, error);
    if (found) {
        check_list(found);
    }
}

/* Each is an object that one could ask for, if there were that much memory. */
static void check_lines(char **lines)
{
    g_assert_nonnull(lines[0]);
    for (char **line = lines; *line; line++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *json = hostmem_object_options_to_json(*line, &error);

        g_assert_no_error(error);
        g_assert_cmpstr(json, ==, *line);
    }
}

static void make_lines(HostmemFdt *fdt, const char *options)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HmFdtTemplate) template = hm_fdt_template_parse(options, NULL);
    g_auto(GStrv) lines = hm_fdt_make_lines(fdt, template, &error);

    fuzz_check_error(lines != NULL, error);
    if (lines) {
        check_lines(lines);
    }
}

/* What was changed is still a tree; what failed has changed nothing. */
static void check_changed(HostmemFdt *fdt, GBytes *before, gboolean ok,
                          GError **error)
{
    g_autoptr(GBytes) after = hostmem_fdt_to_bytes(fdt);
    g_autoptr(GError) why = NULL;
    g_autoptr(HostmemFdt) again = hostmem_fdt_parse(
        g_bytes_get_data(after, NULL), g_bytes_get_size(after), &why);

    fuzz_check_error(ok, *error);
    g_assert_true(ok || g_bytes_equal(before, after));
    g_assert_no_error(why);
    g_assert_nonnull(again);
    g_clear_error(error);
}

static void change(HostmemFdt *fdt)
{
    static const guint32 interrupt[] = {0, 16, 4};
    HostmemFdtMemory memory = {5 * GIB, GIB, 1};
    g_autoptr(GBytes) before = hostmem_fdt_to_bytes(fdt);
    g_autoptr(GError) error = NULL;
    gboolean ok = hostmem_fdt_add_memory(fdt, &memory, &error);
    check_changed(fdt, before, ok, &error);

    g_autoptr(GBytes) second = hostmem_fdt_to_bytes(fdt);
    ok = hostmem_fdt_add_reserved(fdt, "hotplug", 6 * GIB, GIB, &error);
    check_changed(fdt, second, ok, &error);

    g_autoptr(GBytes) third = hostmem_fdt_to_bytes(fdt);
    ok = hostmem_fdt_set_distance(fdt, 0, 1, 20, &error);
    check_changed(fdt, third, ok, &error);

    g_autoptr(GBytes) fourth = hostmem_fdt_to_bytes(fdt);
    ok = hostmem_fdt_add_virtio_mmio(fdt, 0xa000000, 512, interrupt, 3, &error);
    check_changed(fdt, fourth, ok, &error);
}

/* Several at once are as one after the other. */
static void change_many(HostmemFdt *fdt)
{
    static const HostmemFdtMemory memories[] = {{1 << 20, 4096, -1},
                                                {2 << 20, 4096, 1}};
    static const HmFdtRegisters transports[] = {{0x1000, 512, NULL, 0},
                                                {0x2000, 512, NULL, 0}};
    static const HmFdtDistance distances[] = {{1, 0, 30}, {0, 1, 40}};
    g_autoptr(GBytes) before = hostmem_fdt_to_bytes(fdt);
    g_autoptr(GError) error = NULL;
    guint bad = 0;
    gboolean ok = hm_fdt_add_memories(fdt, memories, 2, &bad, &error);
    check_changed(fdt, before, ok, &error);
    g_assert_cmpuint(bad, <, 2);

    g_autoptr(GBytes) second = hostmem_fdt_to_bytes(fdt);
    ok = hm_fdt_add_transports(fdt, transports, 2, &bad, &error);
    check_changed(fdt, second, ok, &error);
    g_assert_cmpuint(bad, <, 2);

    g_autoptr(GBytes) third = hostmem_fdt_to_bytes(fdt);
    ok = hm_fdt_set_distances(fdt, distances, 2, &bad, &error);
    check_changed(fdt, third, ok, &error);
}

static void remove_all(HostmemFdt *fdt)
{
    g_autoptr(GBytes) before = hostmem_fdt_to_bytes(fdt);
    g_autoptr(GError) error = NULL;
    gboolean ok = hostmem_fdt_remove_memory(fdt, &error);
    g_autoptr(GArray) left = NULL;

    check_changed(fdt, before, ok, &error);
    left = hostmem_fdt_list_memory(fdt, NULL);
    g_assert_true(!ok || (left && !left->len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HostmemFdt) fdt = hostmem_fdt_parse(data, size, &error);

    fuzz_check_error(fdt != NULL, error);
    if (fdt) {
        list(fdt);
        make_lines(fdt, "file=x,prealloc=on");
        make_lines(fdt, "file=x,per=numa-node,id=vm");
        change(fdt);
        change_many(fdt);
        list(fdt);
        remove_all(fdt);
    }
    return 0;
}
