/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * GMarkup reads the XML without looking back, and calls us for each element; it
 * knows no document type and no entity of anybody's own.  Where we are is a
 * path, "/domain/cpu/numa/cell", and a table has a row for each path that
 * matters.  All else, above all <metadata>, may hold what it likes.
 */
#include <string.h>
#include "libvirt-hook-domain.h"

#define DEPTH_MAX 64
#define CELLS_MAX 128

typedef struct {
    HookDomain *domain;
    GString *path; /* of the element we are in */
    guint depth;
    GString *text;  /* of the element we are in */
    char *unit;     /* (nullable): of the size that is being read */
    gboolean owner; /* the label that is being read is one */
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

/* The first one counts. */
static void take(char **field, const char *value)
{
    if (!*field) {
        *field = g_strdup(value);
    }
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

static gboolean start_type(Reader *self, const Attributes *attributes,
                           GError **error G_GNUC_UNUSED)
{
    take(&self->domain->arch, find(attributes, "arch"));
    take(&self->domain->machine, find(attributes, "machine"));
    return TRUE;
}

static gboolean start_source(Reader *self, const Attributes *attributes,
                             GError **error G_GNUC_UNUSED)
{
    take(&self->domain->source, find(attributes, "type"));
    return TRUE;
}

static gboolean start_access(Reader *self, const Attributes *attributes,
                             GError **error G_GNUC_UNUSED)
{
    take(&self->domain->access, find(attributes, "mode"));
    return TRUE;
}

static gboolean start_hugepages(Reader *self,
                                const Attributes *attributes G_GNUC_UNUSED,
                                GError **error G_GNUC_UNUSED)
{
    self->domain->has_hugepages = TRUE;
    return TRUE;
}

static gboolean start_page(Reader *self, const Attributes *attributes,
                           GError **error)
{
    const char *size = find(attributes, "size");
    HookPages pages = {0};

    if (self->domain->pages->len == CELLS_MAX) {
        return hook_refuse(error, HOSTMEM_ERROR_LIMIT,
                           "there are more than %d kinds of pages", CELLS_MAX);
    }
    if (size && !hostmem_libvirt_parse_size(size, find(attributes, "unit"),
                                            &pages.size, error)) {
        return FALSE;
    }
    pages.nodeset = g_strdup(find(attributes, "nodeset"));
    g_array_append_val(self->domain->pages, pages);
    return TRUE;
}

static gboolean start_grows(Reader *self,
                            const Attributes *attributes G_GNUC_UNUSED,
                            GError **error G_GNUC_UNUSED)
{
    self->domain->grows = TRUE;
    return TRUE;
}

static HookCell *find_cell(HookDomain *domain, guint64 id)
{
    for (guint i = 0; i < domain->cells->len; i++) {
        HookCell *cell = &g_array_index(domain->cells, HookCell, i);

        if (cell->id == id) {
            return cell;
        }
    }
    return NULL;
}

/* Cells are told of in <cpu> and in <numatune>, in any order. */
static HookCell *need_cell(Reader *self, guint64 id, GError **error)
{
    HookCell *cell = find_cell(self->domain, id);
    HookCell made = {.id = (guint)id};

    if (cell) {
        return cell;
    }
    if (self->domain->cells->len == CELLS_MAX) {
        hook_refuse(error, HOSTMEM_ERROR_LIMIT,
                    "there are more than %d NUMA cells", CELLS_MAX);
        return NULL;
    }
    g_array_append_val(self->domain->cells, made);
    return &g_array_index(self->domain->cells, HookCell,
                          self->domain->cells->len - 1);
}

/* Without an id they are counted. */
static gboolean start_cell(Reader *self, const Attributes *attributes,
                           GError **error)
{
    const char *id_text = find(attributes, "id");
    const char *size = find(attributes, "memory");
    guint64 id = self->domain->cells->len;
    HookCell *cell;

    if (id_text &&
        !hostmem_libvirt_parse_number(id_text, HOOK_IDS_MAX - 1, &id, error)) {
        return FALSE;
    }
    cell = need_cell(self, id, error);
    if (!cell) {
        return FALSE;
    }
    take(&cell->access, find(attributes, "memAccess"));
    return !size || hostmem_libvirt_parse_size(size, find(attributes, "unit"),
                                               &cell->size, error);
}

static gboolean start_numatune(Reader *self, const Attributes *attributes,
                               GError **error G_GNUC_UNUSED)
{
    take(&self->domain->numatune.mode, find(attributes, "mode"));
    take(&self->domain->numatune.nodeset, find(attributes, "nodeset"));
    return TRUE;
}

static gboolean start_memnode(Reader *self, const Attributes *attributes,
                              GError **error)
{
    const char *text = find(attributes, "cellid");
    HookCell *cell;
    guint64 id;

    if (!text) {
        return hook_refuse(error, HOSTMEM_ERROR_INVALID,
                           "a memnode has no 'cellid'");
    }
    if (!hostmem_libvirt_parse_number(text, HOOK_IDS_MAX - 1, &id, error)) {
        return FALSE;
    }
    cell = need_cell(self, id, error);
    if (!cell) {
        return FALSE;
    }
    take(&cell->numatune.mode, find(attributes, "mode"));
    take(&cell->numatune.nodeset, find(attributes, "nodeset"));
    return TRUE;
}

/* Of models of security that of files and their owners. */
static gboolean start_seclabel(Reader *self, const Attributes *attributes,
                               GError **error G_GNUC_UNUSED)
{
    self->owner = g_strcmp0(find(attributes, "model"), "dac") == 0;
    return TRUE;
}

/* Texts; each may fail */

static gboolean end_name(Reader *self, GError **error G_GNUC_UNUSED)
{
    take(&self->domain->name, self->text->str);
    return TRUE;
}

static gboolean end_uuid(Reader *self, GError **error G_GNUC_UNUSED)
{
    g_autofree char *uuid = g_strstrip(g_strdup(self->text->str));

    take(&self->domain->uuid, uuid);
    return TRUE;
}

static gboolean end_size(Reader *self, GError **error)
{
    return self->domain->size ||
           hostmem_libvirt_parse_size(self->text->str, self->unit,
                                      &self->domain->size, error);
}

static gboolean end_label(Reader *self, GError **error G_GNUC_UNUSED)
{
    g_autofree char *label = g_strstrip(g_strdup(self->text->str));

    if (self->owner) {
        take(&self->domain->owner, label);
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
    {"/domain/memory", start_size, end_size},
    {"/domain/maxMemory", start_grows, NULL},
    {"/domain/os/type", start_type, NULL},
    {"/domain/memoryBacking/source", start_source, NULL},
    {"/domain/memoryBacking/access", start_access, NULL},
    {"/domain/memoryBacking/hugepages", start_hugepages, NULL},
    {"/domain/memoryBacking/hugepages/page", start_page, NULL},
    {"/domain/cpu/numa/cell", start_cell, NULL},
    {"/domain/numatune/memory", start_numatune, NULL},
    {"/domain/numatune/memnode", start_memnode, NULL},
    {"/domain/devices/memory", start_grows, NULL},
    {"/domain/seclabel", start_seclabel, NULL},
    {"/domain/seclabel/label", NULL, end_label},
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
    g_prefix_error(error, "%s: ", row->path);
}

static void on_start(GMarkupParseContext *context G_GNUC_UNUSED,
                     const char *name, const char **names, const char **values,
                     gpointer user_data, GError **error)
{
    Reader *self = user_data;
    const Attributes attributes = {names, values};
    const Row *row;

    if (!self->depth && !g_str_equal(name, "domain")) {
        hook_refuse(error, HOSTMEM_ERROR_INVALID,
                    "this is no domain: it is a '%s'", name);
        return;
    }
    if (++self->depth > DEPTH_MAX) {
        hook_refuse(error, HOSTMEM_ERROR_LIMIT,
                    "elements are more than %d levels deep", DEPTH_MAX);
        return;
    }
    g_string_append_printf(self->path, "/%s", name);
    g_string_truncate(self->text, 0);
    row = find_row(self);
    if (row && row->start && !row->start(self, &attributes, error)) {
        blame(row, error);
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
}

/* The whole */

static gboolean run(Reader *self, const char *xml, gsize length, GError **error)
{
    static const GMarkupParser parser = {
        .start_element = on_start, .end_element = on_end, .text = on_text};
    g_autoptr(GMarkupParseContext) context =
        g_markup_parse_context_new(&parser, 0, self, NULL);
    GError *why = NULL;

    if (g_markup_parse_context_parse(context, xml, (gssize)length, &why) &&
        g_markup_parse_context_end_parse(context, &why)) {
        return TRUE;
    }
    if (why->domain != G_MARKUP_ERROR) {
        g_propagate_error(error, why);
        return FALSE;
    }
    hook_refuse(error, HOSTMEM_ERROR_INVALID, "this is no XML: %s",
                why->message);
    g_error_free(why);
    return FALSE;
}

static gboolean check(const HookDomain *self, GError **error)
{
    if (!self->name || !*self->name || strchr(self->name, '/')) {
        return hook_refuse(error, HOSTMEM_ERROR_INVALID,
                           "the domain has no name that libvirt would take");
    }
    if (!self->uuid || !g_uuid_string_is_valid(self->uuid)) {
        return hook_refuse(error, HOSTMEM_ERROR_INVALID,
                           "the domain has no UUID");
    }
    return TRUE;
}

static void clear_numatune(HookNumatune *numatune)
{
    g_free(numatune->mode);
    g_free(numatune->nodeset);
}

static void clear_cell(gpointer data)
{
    HookCell *cell = data;

    g_free(cell->access);
    clear_numatune(&cell->numatune);
}

static void clear_pages(gpointer data)
{
    g_free(((HookPages *)data)->nodeset);
}

static HookDomain *domain_new(void)
{
    HookDomain *self = g_new0(HookDomain, 1);

    self->id = -1;
    self->cells = g_array_new(FALSE, FALSE, sizeof(HookCell));
    g_array_set_clear_func(self->cells, clear_cell);
    self->pages = g_array_new(FALSE, FALSE, sizeof(HookPages));
    g_array_set_clear_func(self->pages, clear_pages);
    return self;
}

void hook_domain_free(HookDomain *self)
{
    g_free(self->name);
    g_free(self->uuid);
    g_free(self->arch);
    g_free(self->machine);
    g_free(self->source);
    g_free(self->access);
    g_free(self->owner);
    clear_numatune(&self->numatune);
    g_array_unref(self->pages);
    g_array_unref(self->cells);
    g_free(self);
}

HookDomain *hook_domain_parse(const char *xml, gsize length, GError **error)
{
    g_autoptr(HookDomain) domain = domain_new();
    g_autoptr(GString) path = g_string_new(NULL);
    g_autoptr(GString) text = g_string_new(NULL);
    Reader reader = {.domain = domain, .path = path, .text = text};
    gboolean done;

    if (length > HOOK_XML_MAX) {
        hook_refuse(error, HOSTMEM_ERROR_LIMIT, "the XML is larger than %u MiB",
                    HOOK_XML_MAX >> 20);
        return NULL;
    }
    done = run(&reader, xml, length, error);
    g_free(reader.unit);
    if (!done || !check(domain, error)) {
        return NULL;
    }
    return g_steal_pointer(&domain);
}
