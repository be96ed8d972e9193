/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "backends/export/libvirt-reduce.h"
#include "util/error.h"

/*
 * The lists name what is kept: what libvirt decides about memory by, and what
 * it does not go on without.  Of the other elements some need what only the
 * domain's host, or root, has: a bridge, a TPM, a disk, a limit of a cgroup.
 */

typedef struct {
    const char *parent;
    const char *const *kept; /* NULL-terminated */
} Rule;

/* Of the domain itself, whatever its element is called. */
static const char *const kept_of_domain[] = {
    "capabilities", "commandline", /* QEMU's, in a namespace */
    "cpu",          "cputune",     "currentMemory", "devices", "features",
    "maxMemory",    "memory",      "memoryBacking", "name",    "numatune",
    "os",           "uuid",        "vcpu",          "vcpus",   NULL};
static const char *const kept_of_cputune[] = {"emulatorpin", "vcpupin", NULL};
static const char *const kept_of_devices[] = {"controller", "emulator",
                                              "memballoon", "memory", NULL};
static const char *const kept_of_os[] = {"type", NULL};

static const Rule rules[] = {
    {"cputune", kept_of_cputune},
    {"devices", kept_of_devices},
    {"os", kept_of_os},
};

/* Devices have addresses on the first.  The second, and a balloon, are there by
 * default: where none can be, the XML says so. */
static const char *const kept_controllers[] = {"pci", "usb", NULL};

typedef struct {
    GString *xml;
    guint depth;
    guint left_out; /* the depth of what is being left out, or 0 */
} Reduction;

/* Without the prefix of a namespace. */
static const char *local_name(const char *name)
{
    const char *colon = strchr(name, ':');

    return colon ? colon + 1 : name;
}

static gboolean is_kept_child(GMarkupParseContext *context, const char *name)
{
    const GSList *parents =
        g_markup_parse_context_get_element_stack(context)->next;

    for (guint i = 0; i < G_N_ELEMENTS(rules); i++) {
        if (g_str_equal(parents->data, rules[i].parent)) {
            return g_strv_contains(rules[i].kept, name);
        }
    }
    return TRUE;
}

static gboolean is_kept_controller(const char **names, const char **values)
{
    for (guint i = 0; names[i]; i++) {
        if (g_str_equal(names[i], "type")) {
            return g_strv_contains(kept_controllers, values[i]);
        }
    }
    return FALSE;
}

/* Depths count from the domain, which is 1. */
static gboolean is_kept(const Reduction *self, GMarkupParseContext *context,
                        const char *name, const char **names,
                        const char **values)
{
    if (self->depth == 2) {
        return g_strv_contains(kept_of_domain, local_name(name));
    }
    if (self->depth != 3) {
        return TRUE;
    }
    return is_kept_child(context, name) && (!g_str_equal(name, "controller") ||
                                            is_kept_controller(names, values));
}

/* Whoever reads it would take blanks for others that are not written so. */
static void append_text(GString *xml, const char *text, gssize length)
{
    g_autofree char *escaped = g_markup_escape_text(text, length);

    for (const char *p = escaped; *p; p++) {
        if (strchr("\t\n\r", *p)) {
            g_string_append_printf(xml, "&#%d;", *p);
        } else {
            g_string_append_c(xml, *p);
        }
    }
}

static void on_start(GMarkupParseContext *context, const char *name,
                     const char **names, const char **values, gpointer data,
                     G_GNUC_UNUSED GError **error)
{
    Reduction *self = data;
    /* Firmware that is looked for. */
    gboolean bare = ++self->depth == 2 && g_str_equal(name, "os");

    if (self->left_out || !is_kept(self, context, name, names, values)) {
        self->left_out = self->left_out ? self->left_out : self->depth;
        return;
    }
    g_string_append_printf(self->xml, "<%s", name);
    for (guint i = 0; names[i] && !bare; i++) {
        g_string_append_printf(self->xml, " %s=\"", names[i]);
        append_text(self->xml, values[i], -1);
        g_string_append_c(self->xml, '"');
    }
    g_string_append_c(self->xml, '>');
}

static void on_end(G_GNUC_UNUSED GMarkupParseContext *context, const char *name,
                   gpointer data, G_GNUC_UNUSED GError **error)
{
    Reduction *self = data;

    if (!self->left_out) {
        g_string_append_printf(self->xml, "</%s>", name);
    } else if (self->left_out == self->depth) {
        self->left_out = 0;
    }
    self->depth--;
}

static void on_text(G_GNUC_UNUSED GMarkupParseContext *context,
                    const char *text, gsize length, gpointer data,
                    G_GNUC_UNUSED GError **error)
{
    Reduction *self = data;

    if (self->depth && !self->left_out) {
        append_text(self->xml, text, length);
    }
}

static const GMarkupParser parser = {
    .start_element = on_start,
    .end_element = on_end,
    .text = on_text,
};

/* GMarkup goes on behind some errors, and then has two of them, or forgets that
 * it had one: so it gets no more than a character at a time. */
static gboolean parse(GMarkupParseContext *context, const char *xml,
                      GError **error)
{
    g_autoptr(GError) why = NULL;

    for (const char *p = xml; *p && !why; p = g_utf8_next_char(p)) {
        g_markup_parse_context_parse(context, p, g_utf8_next_char(p) - p, &why);
    }
    if (!why) {
        g_markup_parse_context_end_parse(context, &why);
    }
    if (why) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    return TRUE;
}

static gboolean fail(GError **error, const char *why)
{
    g_autofree char *quoted = hm_error_quote(why);

    return hm_set_error(error, HOSTMEM_ERROR_INVALID, "it is no XML: %s",
                        quoted);
}

char *hm_libvirt_reduce(const char *xml, GError **error)
{
    g_autoptr(GString) reduced = g_string_new(NULL);
    Reduction self = {.xml = reduced};
    g_autoptr(GMarkupParseContext) context = g_markup_parse_context_new(
        &parser, G_MARKUP_TREAT_CDATA_AS_TEXT, &self, NULL);
    g_autoptr(GError) why = NULL;

    if (!g_utf8_validate(xml, -1, NULL)) {
        fail(error, "it is no UTF-8");
    } else if (!parse(context, xml, &why)) {
        fail(error, why->message);
    } else if (!reduced->len) {
        fail(error, "it has no element");
    } else {
        return g_strdup(reduced->str);
    }
    return NULL;
}
