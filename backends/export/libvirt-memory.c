/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "backends/export/libvirt-memory.h"
#include "backends/object-spec.h"
#include "util/error.h"
#include "util/keyval.h"

/*
 * Theory of operation
 *
 * A command line is read twice: first what holds for all memory and which of it
 * NUMA nodes of the guest have, then the objects and devices one by one.  An
 * object becomes JSON, gets what the first reading has found and it does not
 * say itself, and goes on to the registry, which knows what can be honoured and
 * what not.  RAM that no object has is made last.
 *
 * No libvirt takes part: see libvirt-convert.c for who writes the line.
 */

/* Where the device is in its guest, and how its queue talks: its transport's
 * business. */
static const char *const transport_keys[] = {
    "bus",
    "addr",
    "acpi-index",
    "multifunction",
    "devno",
    "iommu_platform",
    "ats",
    "packed",
    "page_per_vq",
    "disable-legacy",
    "disable-modern",
};

static void reader_clear(HmMemoryReader *self)
{
    g_clear_pointer(&self->cells, g_array_unref);
    g_clear_pointer(&self->nodes, g_hash_table_unref);
    g_clear_pointer(&self->options, g_ptr_array_unref);
    g_free(self->mem_path);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(HmMemoryReader, reader_clear)

/* Objects and devices */

static gboolean is_below(const char *path, const char *prefix)
{
    gsize length = strlen(prefix);

    return strncmp(path, prefix, length) == 0 &&
           (path[length] == '/' || !path[length]);
}

/* (nullable) (transfer none): @path itself when libvirt has no part in it. */
static const char *place_of(const HmMemoryReader *self, const char *path,
                            GError **error)
{
    for (guint i = 0; i < self->n_places; i++) {
        const HostmemLibvirtPlace *place = &self->places[i];

        if (!is_below(path, place->prefix)) {
            continue;
        }
        if (!place->dir) {
            hm_set_error(error, HOSTMEM_ERROR_NOT_FOUND,
                         "libvirt would put it in %s, and there is none",
                         place->what);
        }
        return place->dir;
    }
    return path;
}

static gboolean set_place(const HmMemoryReader *self, json_t *object,
                          GError **error)
{
    const char *path = json_string_value(json_object_get(object, "mem-path"));
    const char *place;

    if (!path) {
        return TRUE;
    }
    place = place_of(self, path, error);
    if (place && place != path) {
        json_object_set_new(object, "mem-path", json_string(place));
    }
    return place != NULL;
}

static void set_default(json_t *object, const char *key, json_t *value)
{
    if (!json_object_get(object, key)) {
        json_object_set(object, key, value);
    }
    json_decref(value);
}

static void set_defaults(const HmMemoryReader *self, json_t *object)
{
    if (self->prealloc) {
        set_default(object, "prealloc", json_true());
    }
    if (self->no_merge) {
        set_default(object, "merge", json_false());
    }
    if (self->no_dump) {
        set_default(object, "dump", json_false());
    }
    if (self->lock) {
        set_default(object, "mem-lock", json_string("on"));
    }
}

/* Whose it is in the guest, if a node or a DIMM says so. */
static void set_guest_node(const HmMemoryReader *self, json_t *object)
{
    const char *id = json_string_value(json_object_get(object, "id"));
    gpointer node;

    if (id && g_hash_table_lookup_extended(self->nodes, id, NULL, &node)) {
        set_default(object, "guest-node", json_integer(GPOINTER_TO_UINT(node)));
    }
}

static void append(HmMemoryReader *self, const char *option, json_t *json)
{
    char *text = json_dumps(json, 0);

    g_ptr_array_add(self->options, g_strdup(option));
    g_ptr_array_add(self->options, g_strdup(text));
    free(text);
}

gboolean hm_memory_append_backend(HmMemoryReader *self, json_t *object,
                                  GError **error)
{
    set_defaults(self, object);
    set_guest_node(self, object);
    if (!set_place(self, object, error)) {
        return FALSE;
    }
    append(self, "-object", object);
    return TRUE;
}

/* A kind of what is created, and which types of it are memory. */
typedef struct {
    HmSpecKind spec;
    const char *type_key;
    gboolean (*is_memory)(const char *type);
} Kind;

/* Sets @json when the text is of a type that is memory; only then must it have
 * nothing but what we know. */
static gboolean parse_keyval(const Kind *kind, const char *text, json_t **json,
                             GError **error)
{
    g_autoptr(HmKeyval) keyval = hm_keyval_parse(text, kind->type_key, error);
    const char *type = keyval ? hm_keyval_get(keyval, kind->type_key) : NULL;

    if (!type || !kind->is_memory(type)) {
        return keyval != NULL;
    }
    *json = hm_object_spec_parse(kind->spec, text, error);
    return *json != NULL;
}

static gboolean parse_json(const Kind *kind, const char *text, json_t **json,
                           GError **error)
{
    json_auto_t *parsed = hm_object_spec_parse(kind->spec, text, error);
    const char *type =
        json_string_value(json_object_get(parsed, kind->type_key));

    if (type && kind->is_memory(type)) {
        *json = json_incref(parsed);
    }
    return parsed != NULL;
}

static gboolean parse(const Kind *kind, const char *text, json_t **json,
                      GError **error)
{
    return *text == '{' ? parse_json(kind, text, json, error)
                        : parse_keyval(kind, text, json, error);
}

static gboolean is_context(const char *type)
{
    return g_str_equal(type, "thread-context");
}

static gboolean is_memory_object(const char *type)
{
    return g_str_has_prefix(type, "memory-") || is_context(type);
}

static const Kind object_kind = {HM_SPEC_OBJECT, "qom-type", is_memory_object};

static gboolean read_object(HmMemoryReader *self, const char *text,
                            GError **error)
{
    json_auto_t *object = NULL;

    if (!parse(&object_kind, text, &object, error)) {
        return FALSE;
    }
    if (!object) {
        return TRUE;
    }
    if (!is_context(json_string_value(json_object_get(object, "qom-type")))) {
        return hm_memory_append_backend(self, object, error);
    }
    append(self, "-object", object);
    return TRUE;
}

static gboolean is_transport_part(const char *part)
{
    gsize length = strcspn(part, "=");

    for (guint i = 0; i < G_N_ELEMENTS(transport_keys); i++) {
        if (strlen(transport_keys[i]) == length &&
            strncmp(part, transport_keys[i], length) == 0) {
            return TRUE;
        }
    }
    return FALSE;
}

/* (transfer full): the text without the parts that are of the transport. */
static char *drop_transport(const char *text)
{
    GString *rest = g_string_new(NULL);

    while (*text) {
        const char *end = text;

        while (*end && (*end != ',' || end[1] == ',')) {
            end += *end == ',' ? 2 : 1;
        }
        if (!is_transport_part(text)) {
            g_string_append_printf(rest, "%s%.*s", rest->len ? "," : "",
                                   (int)(end - text), text);
        }
        text = *end ? end + 1 : end;
    }
    return g_string_free(rest, FALSE);
}

/* DIMMs and persistent memory are the VMM's: here they are their backends. */
static gboolean is_memory_device(const char *type)
{
    return g_str_equal(type, "virtio-mem") ||
           g_str_has_prefix(type, "virtio-mem-");
}

static const Kind device_kind = {HM_SPEC_DEVICE, "driver", is_memory_device};

static gboolean read_device(HmMemoryReader *self, const char *text,
                            GError **error)
{
    g_autofree char *rest =
        *text == '{' ? g_strdup(text) : drop_transport(text);
    json_auto_t *device = NULL;

    if (!parse(&device_kind, rest, &device, error)) {
        return FALSE;
    }
    for (guint i = 0; device && i < G_N_ELEMENTS(transport_keys); i++) {
        json_object_del(device, transport_keys[i]);
    }
    if (device) {
        append(self, "-device", device);
    }
    return TRUE;
}

/* The command line */

typedef gboolean (*Read)(HmMemoryReader *self, const char *value,
                         GError **error);

typedef struct {
    const char *name;
    gboolean is_flag;
    Read first;  /* (nullable) */
    Read second; /* (nullable) */
} Option;

/* Of another option the value is looked at as if it were an option, which it
 * is not: only that of -append can be any text. */
static const Option options[] = {
    {"append", FALSE, NULL, NULL},
    {"device", FALSE, hm_memory_read_dimm, read_device},
    {"m", FALSE, hm_memory_read_ram_size, NULL},
    {"machine", FALSE, hm_memory_read_machine, NULL},
    {"mem-path", FALSE, hm_memory_read_mem_path, NULL},
    {"mem-prealloc", TRUE, hm_memory_read_mem_prealloc, NULL},
    {"numa", FALSE, hm_memory_read_numa, NULL},
    {"object", FALSE, NULL, read_object},
    {"overcommit", FALSE, hm_memory_read_overcommit, NULL},
};

/* (nullable): with one dash or two. */
static const Option *find_option(const char *arg)
{
    const char *name = arg + (arg[0] == '-') + (arg[0] && arg[1] == '-');

    for (guint i = 0; arg[0] == '-' && i < G_N_ELEMENTS(options); i++) {
        if (g_str_equal(options[i].name, name)) {
            return &options[i];
        }
    }
    return NULL;
}

static gboolean read_option(HmMemoryReader *self, const Option *option,
                            gboolean second, const char *value, GError **error)
{
    Read read = second ? option->second : option->first;
    g_autofree char *quoted = NULL;

    if (!read) {
        return TRUE;
    }
    if (!g_utf8_validate(value, -1, NULL)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "-%s: its value is no UTF-8", option->name);
    }
    if (read(self, value, error)) {
        return TRUE;
    }
    quoted = hm_error_quote(value);
    g_prefix_error(error, "-%s %s: ", option->name, quoted);
    return FALSE;
}

static gboolean read_options(HmMemoryReader *self, const char *const *argv,
                             gboolean second, GError **error)
{
    while (*argv) {
        const char *arg = *argv++;
        const Option *option = find_option(arg);
        const char *value = option && option->is_flag ? "" : *argv;

        if (!option) {
            continue;
        }
        if (!value) {
            return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                                "-%s has no value", option->name);
        }
        argv += !option->is_flag;
        if (!read_option(self, option, second, value, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

char **hostmem_libvirt_memory_options(const char *const *argv,
                                      const HostmemLibvirtPlace *places,
                                      guint n_places, GError **error)
{
    g_auto(HmMemoryReader) self = {.places = places, .n_places = n_places};

    g_return_val_if_fail(argv, NULL);
    self.cells = g_array_new(FALSE, FALSE, sizeof(HmMemoryCell));
    self.nodes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    self.options = g_ptr_array_new_with_free_func(g_free);
    if (!read_options(&self, argv, FALSE, error) ||
        !hm_memory_append_plain_ram(&self, error) ||
        !read_options(&self, argv, TRUE, error)) {
        return NULL;
    }
    g_ptr_array_add(self.options, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&self.options), FALSE);
}
