/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/export/libvirt-domain.h"
#include "util/error.h"
#include <hostmem/libvirt.h>
#include <string.h>

/*
 * Theory of operation
 *
 * GMarkup reads the XML without looking back, and calls us for each element; it
 * knows no document type and no entity of anybody's own.  Where we are is a
 * path, and a table has a row for each path that matters.
 *
 * libvirt changes a device when it is given the whole of it with one value
 * changed.  So one device can be written down again while it is read, element
 * by element, with another text in its <requested>.
 */

#define DEPTH_MAX   64
#define DEVICES_MAX 4096
#define DEVICE      "/domain/devices/memory"
#define REQUESTED   DEVICE "/target/requested"

typedef struct {
    HostmemLibvirtDomain *domain;
    GString *path; /* of the element we are in */
    guint depth;
    GString *text; /* of the element we are in */
    char *unit;    /* (nullable): of the size that is being read */

    GString *copy; /* (nullable): of the device to be written down */
    guint index;   /* which one */
    guint64 bytes; /* its request */
    gboolean changed;
} Reader;

typedef struct {
    const char **names;
    const char **values;
} Attributes;

/* Values */

/* (transfer none) (nullable) */
static const char *find(const Attributes *attributes, const char *name)
{
    for (guint i = 0; attributes->names[i]; i++) {
        if (g_str_equal(attributes->names[i], name)) {
            return attributes->values[i];
        }
    }
    return NULL;
}

static gboolean refuse(GError **error, const char *text, const char *what)
{
    g_autofree char *quoted = hm_error_quote(text);

    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "libvirt says %s where %s should be", quoted, what);
}

static gboolean take_size(Reader *self, guint64 *size, GError **error)
{
    return hostmem_libvirt_parse_size(self->text->str, self->unit, size, error);
}

/* The device that is being read. */
static HostmemLibvirtMemory *device(Reader *self)
{
    GPtrArray *devices = self->domain->devices;

    return g_ptr_array_index(devices, devices->len - 1);
}

/* Elements; each may fail */

static gboolean start_domain(Reader *self, const Attributes *attributes,
                             GError **error)
{
    const char *id = find(attributes, "id");
    guint64 number;

    if (!id) {
        return TRUE;
    }
    if (!hostmem_libvirt_parse_number(id, G_MAXINT, &number, error)) {
        return FALSE;
    }
    self->domain->id = (gint)number;
    return TRUE;
}

static gboolean start_size(Reader *self, const Attributes *attributes,
                           GError **error G_GNUC_UNUSED)
{
    g_free(self->unit);
    self->unit = g_strdup(find(attributes, "unit"));
    return TRUE;
}

static gboolean start_device(Reader *self, const Attributes *attributes,
                             GError **error)
{
    const char *model = find(attributes, "model");
    HostmemLibvirtMemory *made;

    if (self->domain->devices->len == DEVICES_MAX) {
        return hm_set_error(error, HOSTMEM_ERROR_LIMIT,
                            "the domain has more than %d memory devices",
                            DEVICES_MAX);
    }
    made = g_new0(HostmemLibvirtMemory, 1);
    made->model = g_strdup(model ? model : "");
    made->node = -1;
    g_ptr_array_add(self->domain->devices, made);
    return TRUE;
}

static gboolean start_alias(Reader *self, const Attributes *attributes,
                            GError **error G_GNUC_UNUSED)
{
    HostmemLibvirtMemory *at = device(self);

    g_free(at->alias);
    at->alias = g_strdup(find(attributes, "name"));
    return TRUE;
}

static gboolean end_name(Reader *self, GError **error G_GNUC_UNUSED)
{
    g_free(self->domain->name);
    self->domain->name = g_strdup(self->text->str);
    return TRUE;
}

static gboolean end_uuid(Reader *self, GError **error G_GNUC_UNUSED)
{
    g_free(self->domain->uuid);
    self->domain->uuid = g_strstrip(g_strdup(self->text->str));
    return TRUE;
}

static gboolean end_memory(Reader *self, GError **error)
{
    return take_size(self, &self->domain->memory, error);
}

static gboolean end_current_memory(Reader *self, GError **error)
{
    return take_size(self, &self->domain->current, error);
}

static gboolean end_max_memory(Reader *self, GError **error)
{
    return take_size(self, &self->domain->max, error);
}

static gboolean end_size(Reader *self, GError **error)
{
    return take_size(self, &device(self)->size, error);
}

static gboolean end_block(Reader *self, GError **error)
{
    return take_size(self, &device(self)->block, error);
}

static gboolean end_requested(Reader *self, GError **error)
{
    return take_size(self, &device(self)->requested, error);
}

static gboolean end_current(Reader *self, GError **error)
{
    return take_size(self, &device(self)->current, error);
}

static gboolean end_node(Reader *self, GError **error)
{
    guint64 number;

    if (!hostmem_libvirt_parse_number(self->text->str, G_MAXINT, &number,
                                      error)) {
        return FALSE;
    }
    device(self)->node = (gint)number;
    return TRUE;
}

/* Of others all is there. */
static gboolean end_device(Reader *self, GError **error G_GNUC_UNUSED)
{
    HostmemLibvirtMemory *at = device(self);

    if (!g_str_equal(at->model, "virtio-mem")) {
        at->block = 0;
        at->requested = at->size;
        at->current = at->size;
    }
    return TRUE;
}

/* The table */

typedef struct {
    const char *path;
    gboolean (*start)(Reader *self, const Attributes *attributes,
                      GError **error);
    gboolean (*end)(Reader *self, GError **error);
} Row;

static const Row rows[] = {
    {"/domain", start_domain, NULL},
    {"/domain/name", NULL, end_name},
    {"/domain/uuid", NULL, end_uuid},
    {"/domain/memory", start_size, end_memory},
    {"/domain/currentMemory", start_size, end_current_memory},
    {"/domain/maxMemory", start_size, end_max_memory},
    {DEVICE, start_device, end_device},
    {DEVICE "/alias", start_alias, NULL},
    {DEVICE "/target/size", start_size, end_size},
    {DEVICE "/target/block", start_size, end_block},
    {REQUESTED, start_size, end_requested},
    {DEVICE "/target/current", start_size, end_current},
    {DEVICE "/target/node", NULL, end_node},
};

static const Row *find_row(const Reader *self)
{
    for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (g_str_equal(rows[i].path, self->path->str)) {
            return &rows[i];
        }
    }
    return NULL;
}

static void blame(const Row *row, GError **error)
{
    g_prefix_error(error, "libvirt says of %s: ", row->path);
}

/* A device, written down again */

static gboolean is_at(const Reader *self, const char *path)
{
    return g_str_equal(self->path->str, path);
}

static gboolean is_copied(const Reader *self)
{
    gsize length = strlen(DEVICE);

    return self->copy && self->domain->devices->len == self->index + 1 &&
           g_str_has_prefix(self->path->str, DEVICE) &&
           (!self->path->str[length] || self->path->str[length] == '/');
}

static void copy_start(Reader *self, const char *name,
                       const Attributes *attributes)
{
    if (is_at(self, REQUESTED)) {
        g_string_append_printf(self->copy, "<%s unit='b'>%" G_GUINT64_FORMAT,
                               name, self->bytes);
        self->changed = TRUE;
        return;
    }
    g_string_append_printf(self->copy, "<%s", name);
    for (guint i = 0; attributes->names[i]; i++) {
        g_autofree char *text = g_markup_printf_escaped(
            " %s='%s'", attributes->names[i], attributes->values[i]);

        g_string_append(self->copy, text);
    }
    g_string_append_c(self->copy, '>');
}

static void copy_text(Reader *self, const char *text, gsize length)
{
    g_autofree char *escaped = g_markup_escape_text(text, (gssize)length);

    g_string_append(self->copy, is_at(self, REQUESTED) ? "" : escaped);
}

/* What GMarkup calls */

static void on_start(GMarkupParseContext *context G_GNUC_UNUSED,
                     const char *name, const char **names, const char **values,
                     gpointer user_data, GError **error)
{
    Reader *self = user_data;
    const Attributes attributes = {names, values};
    const Row *row;

    if (!self->depth && !g_str_equal(name, "domain")) {
        refuse(error, name, "a domain");
        return;
    }
    if (++self->depth > DEPTH_MAX) {
        hm_set_error(error, HOSTMEM_ERROR_LIMIT,
                     "the XML of the domain is more than %d levels deep",
                     DEPTH_MAX);
        return;
    }
    g_string_append_printf(self->path, "/%s", name);
    g_string_truncate(self->text, 0);
    row = find_row(self);
    if (row && row->start && !row->start(self, &attributes, error)) {
        blame(row, error);
        return;
    }
    if (is_copied(self)) {
        copy_start(self, name, &attributes);
    }
}

static void on_end(GMarkupParseContext *context G_GNUC_UNUSED, const char *name,
                   gpointer user_data, GError **error)
{
    Reader *self = user_data;
    const Row *row = find_row(self);

    if (row && row->end && !row->end(self, error)) {
        blame(row, error);
        return;
    }
    if (is_copied(self)) {
        g_string_append_printf(self->copy, "</%s>", name);
    }
    self->depth--;
    g_string_truncate(self->path, self->path->len - strlen(name) - 1);
    g_string_truncate(self->text, 0);
}

static void on_text(GMarkupParseContext *context G_GNUC_UNUSED,
                    const char *text, gsize length, gpointer user_data,
                    GError **error G_GNUC_UNUSED)
{
    Reader *self = user_data;

    g_string_append_len(self->text, text, (gssize)length);
    if (is_copied(self)) {
        copy_text(self, text, length);
    }
}

/* The whole */

static gboolean run(Reader *self, const char *xml, GError **error)
{
    static const GMarkupParser parser = {
        .start_element = on_start, .end_element = on_end, .text = on_text};
    g_autoptr(GMarkupParseContext) context =
        g_markup_parse_context_new(&parser, 0, self, NULL);
    gsize length = strnlen(xml, HM_DOMAIN_XML_MAX + 1);
    g_autoptr(GError) why = NULL;

    if (length > HM_DOMAIN_XML_MAX) {
        return hm_set_error(error, HOSTMEM_ERROR_LIMIT,
                            "the XML of the domain is larger than %u MiB",
                            HM_DOMAIN_XML_MAX >> 20);
    }
    if (g_markup_parse_context_parse(context, xml, (gssize)length, &why) &&
        g_markup_parse_context_end_parse(context, &why)) {
        return TRUE;
    }
    if (why->domain == HOSTMEM_ERROR) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    g_autofree char *quoted = hm_error_quote(why->message);
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "what libvirt says of the domain is no XML: %s",
                        quoted);
}

static HostmemLibvirtDomain *parse(Reader *self, const char *xml,
                                   GError **error)
{
    g_autoptr(HostmemLibvirtDomain) domain = hm_domain_new();
    g_autoptr(GString) path = g_string_new(NULL);
    g_autoptr(GString) text = g_string_new(NULL);
    gboolean done;

    self->domain = domain;
    self->path = path;
    self->text = text;
    done = run(self, xml, error);
    g_clear_pointer(&self->unit, g_free);
    if (!done) {
        return NULL;
    }
    if (!domain->name || !*domain->name) {
        hm_set_error(error, HOSTMEM_ERROR_INVALID,
                     "libvirt tells of a domain that has no name");
        return NULL;
    }
    return g_steal_pointer(&domain);
}

HostmemLibvirtDomain *hm_domain_parse(const char *xml, GError **error)
{
    Reader reader = {0};

    return parse(&reader, xml, error);
}

char *hm_domain_update(const char *xml, guint index, guint64 bytes,
                       GError **error)
{
    g_autoptr(GString) copy = g_string_new(NULL);
    Reader reader = {.copy = copy, .index = index, .bytes = bytes};
    g_autoptr(HostmemLibvirtDomain) domain = parse(&reader, xml, error);

    if (!domain) {
        return NULL;
    }
    if (!reader.changed) {
        hm_set_error(error, HOSTMEM_ERROR_INVALID,
                     "the device has no size that is requested");
        return NULL;
    }
    return g_string_free(g_steal_pointer(&copy), FALSE);
}
