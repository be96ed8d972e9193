/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/fdt-guest.h>
#include <string.h>
#include "backends/fdt-options.h"
#include "util/error.h"
#include "util/jsonstream.h"
#include "util/keyval.h"

#define TRANSPORT_SIZE 512 /* bytes: the registers of the specification */

/* Each one is looked for among all others. */
#define MAX_DISTANCES  (128 * 128) /* of as many nodes as QEMU has */
#define MAX_TRANSPORTS 1024

const HmProp hm_fdt_dump_rows[HM_FDT_N_DUMP_ROWS] = {
    {.name = "filename", .kind = HM_PROP_STRING, .flags = HM_PROP_REQUIRED},
    {.name = "dtb", .kind = HM_PROP_STRING},
    {.name = "memdevs", .kind = HM_PROP_ANY, .type_name = "[str]"},
    {.name = "devices", .kind = HM_PROP_ANY, .type_name = "[str]"},
    {.name = "base", .kind = HM_PROP_SIZE},
    {.name = "replace", .kind = HM_PROP_BOOL},
    {.name = "reserve", .kind = HM_PROP_BOOL},
    {.name = "distances", .kind = HM_PROP_ANY, .type_name = "[FdtDistance]"},
    {.name = "virtio-mmio", .kind = HM_PROP_ANY, .type_name = "[FdtTransport]"},
};

/* The names that QEMU's NumaDistOptions has. */
const HmProp hm_fdt_distance_rows[HM_FDT_N_DISTANCE_ROWS] = {
    {.name = "src", .kind = HM_PROP_UINT32, .flags = HM_PROP_REQUIRED},
    {.name = "dst", .kind = HM_PROP_UINT32, .flags = HM_PROP_REQUIRED},
    {.name = "val", .kind = HM_PROP_UINT32, .flags = HM_PROP_REQUIRED},
};

const HmProp hm_fdt_transport_rows[HM_FDT_N_TRANSPORT_ROWS] = {
    {.name = "addr", .kind = HM_PROP_SIZE, .flags = HM_PROP_REQUIRED},
    {.name = "size", .kind = HM_PROP_SIZE},
    {.name = "interrupt", .kind = HM_PROP_ANY, .type_name = "[int]"},
};

static const HmProp *find_row(const char *key, gpointer data G_GNUC_UNUSED)
{
    for (guint i = 0; i < HM_FDT_N_DUMP_ROWS; i++) {
        if (g_str_equal(hm_fdt_dump_rows[i].name, key)) {
            return &hm_fdt_dump_rows[i];
        }
    }
    return NULL;
}

/* Lists */

/* Add what an element says to @to; its rows have been checked. */
typedef gboolean (*Take)(json_t *element, gpointer to, GError **error);

static gboolean refuse_kind(const char *name, const char *kind, GError **error)
{
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "Invalid parameter type for '%s', expected: %s", name,
                        kind);
}

static gboolean take_id(json_t *element, gpointer to, GError **error)
{
    const char *id = json_string_value(element);

    if (!id) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "Invalid parameter type, expected: string");
    }
    g_ptr_array_add(to, g_strdup(id));
    return TRUE;
}

static gboolean take_distance(json_t *element, gpointer to, GError **error)
{
    HmFdtDistance distance;

    if (!json_is_object(element)) {
        return refuse_kind("distances", "array of objects", error);
    }
    if (!hm_props_check_json(hm_fdt_distance_rows, HM_FDT_N_DISTANCE_ROWS,
                             element, error)) {
        return FALSE;
    }
    distance.src = (guint32)json_integer_value(json_object_get(element, "src"));
    distance.dst = (guint32)json_integer_value(json_object_get(element, "dst"));
    distance.val = (guint32)json_integer_value(json_object_get(element, "val"));
    g_array_append_val((GArray *)to, distance);
    return TRUE;
}

static gboolean take_interrupt(json_t *list, HmFdtTransport *to, GError **error)
{
    json_t *cell;
    gsize i;

    if (!list) {
        return TRUE;
    }
    if (!json_is_array(list)) {
        return refuse_kind("interrupt", "array", error);
    }
    if (json_array_size(list) > HM_FDT_MAX_INTERRUPT_CELLS) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "Parameter 'interrupt' has more than %d cells",
                            HM_FDT_MAX_INTERRUPT_CELLS);
    }
    json_array_foreach(list, i, cell)
    {
        json_int_t value = json_integer_value(cell);

        if (!json_is_integer(cell) || value < 0 || value > G_MAXUINT32) {
            return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                                "Parameter 'interrupt' expects cells of 32 "
                                "bits");
        }
        to->interrupt[to->n_cells++] = (guint32)value;
    }
    return TRUE;
}

static gboolean take_transport(json_t *element, gpointer to, GError **error)
{
    HmFdtTransport transport = {.size = TRANSPORT_SIZE};
    json_t *size;

    if (!json_is_object(element)) {
        return refuse_kind("virtio-mmio", "array of objects", error);
    }
    if (!hm_props_check_json(hm_fdt_transport_rows, HM_FDT_N_TRANSPORT_ROWS,
                             element, error) ||
        !take_interrupt(json_object_get(element, "interrupt"), &transport,
                        error)) {
        return FALSE;
    }
    transport.addr =
        (guint64)json_integer_value(json_object_get(element, "addr"));
    size = json_object_get(element, "size");
    if (size) {
        transport.size = (guint64)json_integer_value(size);
    }
    g_array_append_val((GArray *)to, transport);
    return TRUE;
}

static gboolean check_length(json_t *options, const char *name, gsize limit,
                             GError **error)
{
    gsize length = json_array_size(json_object_get(options, name));

    return length <= limit ||
           hm_set_error(error, HOSTMEM_ERROR_LIMIT,
                        "Parameter '%s' has %" G_GSIZE_FORMAT
                        " elements, and at most %" G_GSIZE_FORMAT " are taken",
                        name, length, limit);
}

static gboolean take_list(json_t *options, const char *name, Take take,
                          gpointer to, GError **error)
{
    json_t *list = json_object_get(options, name);
    json_t *element;
    gsize i;

    if (list && !json_is_array(list)) {
        return refuse_kind(name, "array", error);
    }
    json_array_foreach(list, i, element)
    {
        if (!take(element, to, error)) {
            g_prefix_error(error, "%s[%" G_GSIZE_FORMAT "]: ", name, i);
            return FALSE;
        }
    }
    return TRUE;
}

/* The whole */

void hm_fdt_dump_free(HmFdtDump *self)
{
    g_free(self->filename);
    g_free(self->dtb);
    g_clear_pointer(&self->memdevs, g_ptr_array_unref);
    g_clear_pointer(&self->devices, g_ptr_array_unref);
    g_array_unref(self->distances);
    g_array_unref(self->transports);
    g_free(self);
}

static GPtrArray *ids_new(json_t *options, const char *name)
{
    return json_object_get(options, name)
               ? g_ptr_array_new_with_free_func(g_free)
               : NULL;
}

static HmFdtDump *dump_new(json_t *options)
{
    HmFdtDump *self = g_new0(HmFdtDump, 1);
    json_t *base = json_object_get(options, "base");

    self->filename =
        g_strdup(json_string_value(json_object_get(options, "filename")));
    self->dtb = g_strdup(json_string_value(json_object_get(options, "dtb")));
    self->base =
        base ? (guint64)json_integer_value(base) : HOSTMEM_FDT_DEFAULT_BASE;
    self->replace = json_is_true(json_object_get(options, "replace"));
    self->reserve = json_is_true(json_object_get(options, "reserve"));
    self->memdevs = ids_new(options, "memdevs");
    self->devices = ids_new(options, "devices");
    self->distances = g_array_new(FALSE, FALSE, sizeof(HmFdtDistance));
    self->transports = g_array_new(FALSE, FALSE, sizeof(HmFdtTransport));
    return self;
}

static HmFdtDump *dump_from_json(json_t *options, GError **error)
{
    g_autoptr(HmFdtDump) self = NULL;

    if (!hm_props_check_json(hm_fdt_dump_rows, HM_FDT_N_DUMP_ROWS, options,
                             error)) {
        return NULL;
    }
    self = dump_new(options);
    if (!check_length(options, "distances", MAX_DISTANCES, error) ||
        !check_length(options, "virtio-mmio", MAX_TRANSPORTS, error) ||
        !take_list(options, "memdevs", take_id, self->memdevs, error) ||
        !take_list(options, "devices", take_id, self->devices, error) ||
        !take_list(options, "distances", take_distance, self->distances,
                   error) ||
        !take_list(options, "virtio-mmio", take_transport, self->transports,
                   error)) {
        return NULL;
    }
    return g_steal_pointer(&self);
}

static json_t *parse_keyval(const char *text, GError **error)
{
    g_autoptr(HmKeyval) keyval = hm_keyval_parse(text, "filename", error);

    return keyval ? hm_keyval_to_json(keyval, find_row, NULL, error) : NULL;
}

HmFdtDump *hm_fdt_dump_parse(const char *text, GError **error)
{
    json_auto_t *options = *text == '{'
                               ? hm_json_parse(text, strlen(text), error)
                               : parse_keyval(text, error);

    return options ? dump_from_json(options, error) : NULL;
}
