/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/backend.h>
#include <hostmem/device.h>
#include <hostmem/memory-pool.h>
#include <hostmem/registry.h>
#include <hostmem/thread-context.h>
#include <hostmem/virtio-mem.h>
#include "backends/object-types.h"
#include "util/props.h"

/* Descriptions start in this column of the help, as in QEMU. */
#define HELP_COLUMN 24

/* Sorted by name. */
static const HmObjectType types[] = {
    {"device", "object", TRUE, TRUE, hostmem_device_get_type},
    {"memory-backend", "object", TRUE, FALSE, hostmem_backend_get_type},
    {"memory-backend-file", "memory-backend", FALSE, FALSE,
     hostmem_backend_file_get_type},
    {"memory-backend-memfd", "memory-backend", FALSE, FALSE,
     hostmem_backend_memfd_get_type},
    {"memory-backend-ram", "memory-backend", FALSE, FALSE,
     hostmem_backend_ram_get_type},
    {"memory-backend-shm", "memory-backend", FALSE, FALSE,
     hostmem_backend_shm_get_type},
    {"memory-pool", "object", FALSE, FALSE, hostmem_memory_pool_get_type},
    {"object", NULL, TRUE, FALSE, hostmem_object_get_type},
    {"thread-context", "object", FALSE, FALSE, hostmem_thread_context_get_type},
    {"virtio-mem", "device", FALSE, TRUE, hostmem_virtio_mem_get_type},
    {"virtio-mem-device", "virtio-mem", FALSE, TRUE,
     hostmem_virtio_mem_get_type},
    {"virtio-mem-pci", "virtio-mem", FALSE, TRUE, hostmem_virtio_mem_get_type},
};

const HmObjectType *hm_object_types(guint *n)
{
    *n = G_N_ELEMENTS(types);
    return types;
}

const HmObjectType *hm_object_type_find(const char *name)
{
    for (guint i = 0; i < G_N_ELEMENTS(types); i++) {
        if (g_str_equal(types[i].name, name)) {
            return &types[i];
        }
    }
    return NULL;
}

gboolean hm_object_type_is_object(const HmObjectType *type)
{
    return !type->abstract && !type->device;
}

gboolean hm_object_type_is_device(const HmObjectType *type)
{
    return !type->abstract && type->device;
}

const char *hm_object_type_name(GType type)
{
    for (guint i = 0; i < G_N_ELEMENTS(types); i++) {
        if (types[i].get_type() == type) {
            return types[i].name;
        }
    }
    return g_type_name(type);
}

/* Help */

static char *help_list(void)
{
    GString *text = g_string_new("List of user creatable objects:\n");

    for (guint i = 0; i < G_N_ELEMENTS(types); i++) {
        if (hm_object_type_is_object(&types[i])) {
            g_string_append_printf(text, "  %s\n", types[i].name);
        }
    }
    return g_string_free(text, FALSE);
}

/* (nullable): what the property is when it is not given. */
static char *default_text(GObjectClass *klass, const HmProp *row)
{
    GParamSpec *pspec = g_object_class_find_property(klass, row->name);
    const GValue *value = g_param_spec_get_default_value(pspec);

    if (row->alias_of || row->flags & (HM_PROP_REQUIRED | HM_PROP_NOT_ZERO)) {
        return NULL;
    }
    switch (row->kind) {
    case HM_PROP_BOOL:
    case HM_PROP_ENUM:
    case HM_PROP_SIZE:
    case HM_PROP_UINT32:
        return hm_prop_to_text(row, value);
    default:
        return NULL;
    }
}

static void append_property_help(GString *text, GObjectClass *klass,
                                 const HmProp *row)
{
    g_autofree char *type = hm_prop_type_name(row);
    g_autofree char *option = g_strdup_printf("  %s=<%s>", row->name, type);
    g_autofree char *def = default_text(klass, row);

    g_string_append_printf(text, "%-*s - %s", HELP_COLUMN, option,
                           row->description);
    if (def) {
        g_string_append_printf(text, " (default: %s)", def);
    }
    g_string_append_c(text, '\n');
}

/* QEMU names the bus and the alias too. */
static char *help_devices(void)
{
    GString *text = g_string_new("Misc devices:\n");

    for (guint i = 0; i < G_N_ELEMENTS(types); i++) {
        if (hm_object_type_is_device(&types[i])) {
            g_string_append_printf(text, "name \"%s\"\n", types[i].name);
        }
    }
    return g_string_free(text, FALSE);
}

static char *help_type(const HmObjectType *type)
{
    g_autoptr(GTypeClass) klass = g_type_class_ref(type->get_type());
    g_autoptr(GPtrArray) rows = hm_props_list(G_OBJECT_CLASS(klass));
    GString *text = g_string_new(NULL);

    g_string_append_printf(text, "%s options:\n", type->name);
    for (guint i = 0; i < rows->len; i++) {
        const HmProp *row = g_ptr_array_index(rows, i);

        if (!(row->flags & HM_PROP_READ_ONLY)) {
            append_property_help(text, G_OBJECT_CLASS(klass), row);
        }
    }
    return g_string_free(text, FALSE);
}

char *hostmem_object_types_help(const char *type)
{
    const HmObjectType *found;

    if (!type) {
        return help_list();
    }
    found = hm_object_type_find(type);
    return found && hm_object_type_is_object(found) ? help_type(found) : NULL;
}

char *hostmem_device_types_help(const char *type)
{
    const HmObjectType *found;

    if (!type) {
        return help_devices();
    }
    found = hm_object_type_find(type);
    return found && hm_object_type_is_device(found) ? help_type(found) : NULL;
}
