/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/backend.h>
#include <hostmem/fdt-guest.h>
#include <hostmem/device.h>
#include "backends/export/fdt.h"
#include "backends/object.h"
#include "util/error.h"

/* Which objects */

/* What one of the lists of ids is about. */
typedef struct {
    const char *name;
    const char *what;
    GType (*type)(void);
} Kind;

static const Kind backends = {"memdevs", "memory backend",
                              hostmem_backend_get_type};
static const Kind devices = {"devices", "device", hostmem_device_get_type};

static gpointer find(GPtrArray *objects, const Kind *kind, const char *id)
{
    for (guint i = 0; i < objects->len; i++) {
        gpointer object = g_ptr_array_index(objects, i);

        if (G_TYPE_CHECK_INSTANCE_TYPE(object, kind->type()) &&
            g_strcmp0(hostmem_object_get_id(object), id) == 0) {
            return object;
        }
    }
    return NULL;
}

/* A backend that a device has is described by that. */
static gboolean check_free(GPtrArray *objects, gpointer object,
                           const char *quoted, GError **error)
{
    HostmemObject *device = hm_fdt_find_device_of(objects, object);
    g_autofree char *user = device ? hm_object_describe(device) : NULL;

    return !device || hm_set_error(error, HOSTMEM_ERROR_INVALID,
                                   "%s is the memory of %s", quoted, user);
}

static gboolean choose_one(GPtrArray *chosen, GPtrArray *objects,
                           const Kind *kind, const char *id, GError **error)
{
    gpointer object = find(objects, kind, id);
    g_autofree char *quoted = hm_error_quote(id);

    if (!object) {
        return hm_set_error(error, HOSTMEM_ERROR_NOT_FOUND, "there is no %s %s",
                            kind->what, quoted);
    }
    if (g_ptr_array_find(chosen, object, NULL)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID, "%s is there twice",
                            quoted);
    }
    if (!check_free(objects, object, quoted, error)) {
        return FALSE;
    }
    g_ptr_array_add(chosen, object);
    return TRUE;
}

static void choose_all(GPtrArray *chosen, GPtrArray *objects, const Kind *kind)
{
    for (guint i = 0; i < objects->len; i++) {
        gpointer object = g_ptr_array_index(objects, i);

        if (G_TYPE_CHECK_INSTANCE_TYPE(object, kind->type()) &&
            !hm_fdt_find_device_of(objects, object)) {
            g_ptr_array_add(chosen, object);
        }
    }
}

/* Those of @ids, in that order; all without. */
static gboolean choose(GPtrArray *chosen, GPtrArray *objects, const Kind *kind,
                       GPtrArray *ids, GError **error)
{
    if (!ids) {
        choose_all(chosen, objects, kind);
    }
    for (guint i = 0; ids && i < ids->len; i++) {
        if (!choose_one(chosen, objects, kind, g_ptr_array_index(ids, i),
                        error)) {
            g_prefix_error(error, "%s[%u]: ", kind->name, i);
            return FALSE;
        }
    }
    return TRUE;
}

/* What only the options know */

static gboolean add_distances(HostmemFdt *fdt, const HmFdtDump *dump,
                              GError **error)
{
    const HmFdtDistance *distances =
        (const HmFdtDistance *)(gpointer)dump->distances->data;
    guint n = dump->distances->len;
    guint bad = 0;

    if (!n || hm_fdt_set_distances(fdt, distances, n, &bad, error)) {
        return TRUE;
    }
    g_prefix_error(error, "distances[%u]: ", bad);
    return FALSE;
}

static gboolean add_transports(HostmemFdt *fdt, const HmFdtDump *dump,
                               GError **error)
{
    guint n = dump->transports->len;
    g_autofree HmFdtRegisters *new = g_new(HmFdtRegisters, n);
    guint bad = 0;

    for (guint i = 0; i < n; i++) {
        const HmFdtTransport *transport =
            &g_array_index(dump->transports, HmFdtTransport, i);

        new[i] = (HmFdtRegisters){transport->addr, transport->size,
                                  transport->interrupt, transport->n_cells};
    }
    if (!n || hm_fdt_add_transports(fdt, new, n, &bad, error)) {
        return TRUE;
    }
    g_prefix_error(error, "virtio-mmio[%u]: ", bad);
    return FALSE;
}

/* The whole */

static HostmemFdt *begin(const HmFdtDump *dump, GError **error)
{
    g_autoptr(HostmemFdt) fdt =
        dump->dtb ? hostmem_fdt_load(dump->dtb, error) : hostmem_fdt_new();

    return fdt && (!dump->replace || hostmem_fdt_remove_memory(fdt, error))
               ? g_steal_pointer(&fdt)
               : NULL;
}

gboolean hostmem_fdt_dump(GPtrArray *objects, const char *options,
                          GError **error)
{
    g_autoptr(HmFdtDump) dump = NULL;
    g_autoptr(HostmemFdt) fdt = NULL;
    g_autoptr(GPtrArray) chosen = g_ptr_array_new();

    g_return_val_if_fail(objects && options, FALSE);
    dump = hm_fdt_dump_parse(options, error);
    if (!dump || !choose(chosen, objects, &backends, dump->memdevs, error) ||
        !choose(chosen, objects, &devices, dump->devices, error)) {
        return FALSE;
    }
    fdt = begin(dump, error);
    return fdt &&
           hostmem_fdt_add_objects(fdt, chosen, dump->base, dump->reserve,
                                   error) &&
           add_distances(fdt, dump, error) &&
           add_transports(fdt, dump, error) &&
           hostmem_fdt_save(fdt, dump->filename, error);
}
