/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>
#include "backends/fdt-options.h"
#include "backends/object-spec.h"
#include "util/error.h"

#define DEFAULT_TYPE   "memory-backend-memfd"
#define DEFAULT_PREFIX "ram"

/* What is about the tree; all other keys are properties of the backends. */
static const HmProp own_rows[] = {
    {.name = "file", .kind = HM_PROP_STRING, .flags = HM_PROP_REQUIRED},
    {.name = "per", .kind = HM_PROP_STRING},
};

/* What the tree says, and nobody else. */
static const char *const taken[] = {"size", "guest-addr", "guest-node"};

void hm_fdt_template_free(HmFdtTemplate *self)
{
    g_free(self->file);
    g_free(self->prefix);
    json_decref(self->options);
    g_free(self);
}

/* @own gets what @options has of our rows, and loses it. */
static void split(json_t *options, json_t *own)
{
    for (guint i = 0; i < G_N_ELEMENTS(own_rows); i++) {
        json_t *value = json_object_get(options, own_rows[i].name);

        if (value) {
            json_object_set(own, own_rows[i].name, value);
            json_object_del(options, own_rows[i].name);
        }
    }
}

static gboolean take_per(HmFdtTemplate *self, json_t *own, GError **error)
{
    const char *per = json_string_value(json_object_get(own, "per"));
    g_autofree char *quoted = NULL;

    self->per_node = g_strcmp0(per, "numa-node") == 0;
    if (!per || self->per_node || g_str_equal(per, "range")) {
        return TRUE;
    }
    quoted = hm_error_quote(per);
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "Parameter 'per' does not accept value %s: it is "
                        "'range' or 'numa-node'",
                        quoted);
}

static gboolean take_prefix(HmFdtTemplate *self, GError **error)
{
    json_t *id = json_object_get(self->options, "id");

    if (id && !json_is_string(id)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "Invalid parameter type for 'id', expected: "
                            "string");
    }
    self->prefix = g_strdup(id ? json_string_value(id) : DEFAULT_PREFIX);
    return TRUE;
}

static gboolean check_taken(const HmFdtTemplate *self, GError **error)
{
    for (guint i = 0; i < G_N_ELEMENTS(taken); i++) {
        if (json_object_get(self->options, taken[i])) {
            return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                                "Parameter '%s' is unexpected: the device tree "
                                "says it",
                                taken[i]);
        }
    }
    return TRUE;
}

HmFdtTemplate *hm_fdt_template_parse(const char *text, GError **error)
{
    json_auto_t *options = hm_object_spec_parse_with(
        text, own_rows, G_N_ELEMENTS(own_rows), DEFAULT_TYPE, error);
    json_auto_t *own = json_object();
    g_autoptr(HmFdtTemplate) self = NULL;

    if (!options) {
        return NULL;
    }
    split(options, own);
    if (!hm_props_check_json(own_rows, G_N_ELEMENTS(own_rows), own, error)) {
        return NULL;
    }
    self = g_new0(HmFdtTemplate, 1);
    self->file = g_strdup(json_string_value(json_object_get(own, "file")));
    self->options = json_incref(options);
    if (!take_per(self, own, error) || !take_prefix(self, error) ||
        !check_taken(self, error)) {
        return NULL;
    }
    return g_steal_pointer(&self);
}

char *hm_fdt_template_apply(const HmFdtTemplate *self, const char *id,
                            guint64 size, gint64 addr, gint64 node)
{
    json_auto_t *options = json_object();
    char *dumped;
    char *line;

    json_object_set(options, "qom-type",
                    json_object_get(self->options, "qom-type"));
    json_object_set_new(options, "id", json_string(id));
    json_object_set_new(options, "size", json_integer((json_int_t)size));
    if (addr >= 0) {
        json_object_set_new(options, "guest-addr", json_integer(addr));
    }
    if (node >= 0) {
        json_object_set_new(options, "guest-node", json_integer(node));
    }
    json_object_update_missing(options, self->options);
    dumped = json_dumps(options, 0);
    line = g_strdup(dumped);
    free(dumped);
    return line;
}
