/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "backends/export/libvirt-memory.h"
#include "util/error.h"
#include "util/jsonstream.h"
#include "util/keyval.h"
#include "util/size.h"

/* What holds for all */

/* Without a unit it is MiB, unlike everywhere else. */
static gboolean parse_mib(const char *text, guint64 *bytes, GError **error)
{
    gsize length = strlen(text);
    guint64 size;

    if (!hm_size_parse(text, &size, error)) {
        return FALSE;
    }
    if (g_ascii_isdigit(text[length - 1]) &&
        !g_uint64_checked_mul(&size, size, HM_MIB)) {
        g_autofree char *quoted = hm_error_quote(text);

        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "%s MiB do not fit 64 bits", quoted);
    }
    *bytes = size;
    return TRUE;
}

static gboolean is_switched(const HmKeyval *options, const char *key,
                            const char *value)
{
    return g_strcmp0(hm_keyval_get(options, key), value) == 0;
}

gboolean hm_memory_read_ram_size(HmMemoryReader *self, const char *text,
                                 GError **error)
{
    g_autoptr(HmKeyval) options = hm_keyval_parse(text, "size", error);
    const char *size = options ? hm_keyval_get(options, "size") : NULL;

    if (!size) {
        return options != NULL;
    }
    self->has_ram_size = TRUE;
    return parse_mib(size, &self->ram_size, error);
}

/* NUMA nodes of the guest */

static void set_node(HmMemoryReader *self, const char *memdev, guint32 node)
{
    g_hash_table_replace(self->nodes, g_strdup(memdev), GUINT_TO_POINTER(node));
}

static gboolean parse_node(const char *text, guint32 *node, GError **error)
{
    g_autofree char *quoted = NULL;
    guint64 number;

    if (g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT32, &number, NULL)) {
        *node = (guint32)number;
        return TRUE;
    }
    quoted = hm_error_quote(text);
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "%s is no number of a NUMA node", quoted);
}

static gboolean is_dimm(const char *driver)
{
    return g_strcmp0(driver, "pc-dimm") == 0 ||
           g_strcmp0(driver, "nvdimm") == 0;
}

static gboolean read_dimm_json(HmMemoryReader *self, json_t *device,
                               GError **error)
{
    const char *memdev = json_string_value(json_object_get(device, "memdev"));
    json_t *node = json_object_get(device, "node");
    json_int_t number = json_integer_value(node);

    if (!memdev || !node ||
        !is_dimm(json_string_value(json_object_get(device, "driver")))) {
        return TRUE;
    }
    if (!json_is_integer(node) || number < 0 || number > G_MAXUINT32) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "'node' is no number of a NUMA node");
    }
    set_node(self, memdev, (guint32)number);
    return TRUE;
}

static gboolean read_dimm_keyval(HmMemoryReader *self, const HmKeyval *device,
                                 GError **error)
{
    const char *memdev = hm_keyval_get(device, "memdev");
    const char *text = hm_keyval_get(device, "node");
    guint32 node;

    if (!memdev || !text || !is_dimm(hm_keyval_get(device, "driver"))) {
        return TRUE;
    }
    if (!parse_node(text, &node, error)) {
        return FALSE;
    }
    set_node(self, memdev, node);
    return TRUE;
}

/* What is malformed is told when it is read again, as a device. */
gboolean hm_memory_read_dimm(HmMemoryReader *self, const char *text,
                             GError **error)
{
    json_auto_t *json =
        *text == '{' ? hm_json_parse(text, strlen(text), NULL) : NULL;
    g_autoptr(HmKeyval) keyval =
        *text == '{' ? NULL : hm_keyval_parse(text, "driver", NULL);

    return (!json || read_dimm_json(self, json, error)) &&
           (!keyval || read_dimm_keyval(self, keyval, error));
}

gboolean hm_memory_read_numa(HmMemoryReader *self, const char *text,
                             GError **error)
{
    g_autoptr(HmKeyval) options = hm_keyval_parse(text, "type", error);
    const char *size = options ? hm_keyval_get(options, "mem") : NULL;
    const char *memdev = options ? hm_keyval_get(options, "memdev") : NULL;
    const char *node = options ? hm_keyval_get(options, "nodeid") : NULL;
    HmMemoryCell cell = {.node =
                             self->cells->len + g_hash_table_size(self->nodes)};

    if (!size && !memdev) {
        return options != NULL;
    }
    if (node && !parse_node(node, &cell.node, error)) {
        return FALSE;
    }
    if (memdev) {
        self->ram_is_object = TRUE;
        set_node(self, memdev, cell.node);
    }
    if (size && !parse_mib(size, &cell.size, error)) {
        return FALSE;
    }
    if (size) {
        g_array_append_val(self->cells, cell);
    }
    return TRUE;
}

gboolean hm_memory_read_machine(HmMemoryReader *self, const char *text,
                                GError **error)
{
    g_autoptr(HmKeyval) options = hm_keyval_parse(text, "type", error);

    if (!options) {
        return FALSE;
    }
    self->ram_is_object |= hm_keyval_get(options, "memory-backend") != NULL;
    self->no_merge |= is_switched(options, "mem-merge", "off");
    self->no_dump |= is_switched(options, "dump-guest-core", "off");
    return TRUE;
}

gboolean hm_memory_read_overcommit(HmMemoryReader *self, const char *text,
                                   GError **error)
{
    g_autoptr(HmKeyval) options = hm_keyval_parse(text, NULL, error);

    if (!options) {
        return FALSE;
    }
    if (hm_keyval_get(options, "mem-lock")) {
        self->lock = is_switched(options, "mem-lock", "on");
    }
    return TRUE;
}

gboolean hm_memory_read_mem_path(HmMemoryReader *self, const char *text,
                                 G_GNUC_UNUSED GError **error)
{
    g_free(self->mem_path);
    self->mem_path = g_strdup(text);
    return TRUE;
}

gboolean hm_memory_read_mem_prealloc(HmMemoryReader *self,
                                     G_GNUC_UNUSED const char *text,
                                     G_GNUC_UNUSED GError **error)
{
    self->prealloc = TRUE;
    return TRUE;
}

/* RAM that is no object */

static gboolean append_ram(HmMemoryReader *self, const char *id, guint64 size,
                           GError **error)
{
    json_auto_t *object = json_object();

    if (size > G_MAXINT64) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "-m: RAM of more than 2^63 bytes");
    }
    json_object_set_new(object, "qom-type",
                        json_string(self->mem_path ? "memory-backend-file"
                                                   : "memory-backend-ram"));
    json_object_set_new(object, "id", json_string(id));
    json_object_set_new(object, "size", json_integer((json_int_t)size));
    if (self->mem_path) {
        json_object_set_new(object, "mem-path", json_string(self->mem_path));
    }
    return hm_memory_append_backend(self, object, error);
}

static gboolean append_cells(HmMemoryReader *self, GError **error)
{
    for (guint i = 0; i < self->cells->len; i++) {
        const HmMemoryCell *cell = &g_array_index(self->cells, HmMemoryCell, i);
        g_autofree char *id = g_strdup_printf("ram-node%u", cell->node);

        set_node(self, id, cell->node);
        if (!append_ram(self, id, cell->size, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

gboolean hm_memory_append_plain_ram(HmMemoryReader *self, GError **error)
{
    if (self->ram_is_object) {
        return TRUE;
    }
    if (self->cells->len) {
        return append_cells(self, error);
    }
    return !self->has_ram_size ||
           append_ram(self, "ram", self->ram_size, error);
}
