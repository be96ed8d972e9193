/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/backend.h>
#include <hostmem/fdt-guest.h>
#include <stdlib.h>
#include "backends/qmp/call.h"
#include "backends/qmp/server.h"

/* (transfer full): what a guest may have. */
static GPtrArray *list_all(HostmemRegistry *registry)
{
    g_autoptr(GPtrArray) objects = hostmem_registry_list(registry);
    g_autoptr(GPtrArray) devices = hostmem_registry_list_devices(registry);
    GPtrArray *all = g_ptr_array_new_with_free_func(g_object_unref);

    for (guint i = 0; i < objects->len; i++) {
        if (HOSTMEM_IS_BACKEND(g_ptr_array_index(objects, i))) {
            g_ptr_array_add(all, g_object_ref(g_ptr_array_index(objects, i)));
        }
    }
    for (guint i = 0; i < devices->len; i++) {
        g_ptr_array_add(all, g_object_ref(g_ptr_array_index(devices, i)));
    }
    return all;
}

/* A HmQmpWorkFunc: files may be slow. */
static json_t *dump(HmQmpCall *call, GPtrArray *objects,
                    GObject *target G_GNUC_UNUSED, GCancellable *cancellable,
                    GError **error)
{
    char *options = json_dumps(call->arguments, 0);
    gboolean done = !g_cancellable_set_error_if_cancelled(cancellable, error) &&
                    hostmem_fdt_dump(objects, options, error);

    free(options);
    return done ? json_object() : NULL;
}

void hm_qmp_run_dump_fdt(HmQmpCall *call)
{
    hm_qmp_work_start(hm_qmp_server_get_work(call->server), call,
                      list_all(hm_qmp_server_get_registry(call->server)), NULL,
                      dump);
}
