/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hostmemd.h"

static gboolean append_one(HmOptions *options, const char *text, GError **error)
{
    g_auto(GStrv) lines = hostmem_fdt_make_objects(text, error);

    if (!lines) {
        g_prefix_error(error, "-dtb %s: ", text);
        return FALSE;
    }
    for (char **line = lines; *line; line++) {
        g_ptr_array_add(options->objects, g_strdup(*line));
    }
    return TRUE;
}

gboolean hm_fdt_append_objects(HmOptions *options, GError **error)
{
    for (guint i = 0; i < options->dtbs->len; i++) {
        if (!append_one(options, options->dtbs->pdata[i], error)) {
            return FALSE;
        }
    }
    return TRUE;
}

gboolean hm_fdt_dump(HostmemRegistry *registry, const char *text,
                     GError **error)
{
    g_autoptr(GPtrArray) all = hostmem_registry_list(registry);
    g_autoptr(GPtrArray) devices = hostmem_registry_list_devices(registry);

    g_ptr_array_extend(all, devices, NULL, NULL);
    if (!hostmem_fdt_dump(all, text, error)) {
        g_prefix_error(error, "-dumpdtb %s: ", text);
        return FALSE;
    }
    return TRUE;
}
