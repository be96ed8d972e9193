/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/export/libvirt-domain.h"
#include "util/error.h"

/* Values */

static void free_device(gpointer data)
{
    HostmemLibvirtMemory *self = data;

    g_free(self->alias);
    g_free(self->model);
    g_free(self);
}

HostmemLibvirtDomain *hm_domain_new(void)
{
    HostmemLibvirtDomain *self = g_new0(HostmemLibvirtDomain, 1);

    self->id = -1;
    self->devices = g_ptr_array_new_with_free_func(free_device);
    return self;
}

void hostmem_libvirt_domain_free(HostmemLibvirtDomain *self)
{
    g_free(self->name);
    g_free(self->uuid);
    g_ptr_array_unref(self->devices);
    g_free(self);
}

void hostmem_libvirt_event_free(HostmemLibvirtEvent *self)
{
    g_free(self->domain);
    g_free(self->alias);
    g_free(self);
}

/* Devices */

static gboolean is_meant(const HostmemLibvirtMemory *at, const char *alias)
{
    return alias ? g_strcmp0(at->alias, alias) == 0
                 : g_str_equal(at->model, "virtio-mem");
}

/* (transfer full): "ualias0, virtio-mem1" */
static char *list_aliases(const HostmemLibvirtDomain *self)
{
    GString *list = g_string_new(NULL);

    for (guint i = 0; i < self->devices->len; i++) {
        const HostmemLibvirtMemory *at = g_ptr_array_index(self->devices, i);

        if (at->alias && is_meant(at, NULL)) {
            g_autofree char *quoted = hm_error_quote(at->alias);

            g_string_append_printf(list, "%s%s", list->len ? ", " : "", quoted);
        }
    }
    return g_string_free(list, FALSE);
}

gboolean hm_domain_find(const HostmemLibvirtDomain *self, const char *alias,
                        guint *index, GError **error)
{
    guint found = 0;

    for (guint i = self->devices->len; i-- > 0;) {
        if (is_meant(g_ptr_array_index(self->devices, i), alias)) {
            *index = i;
            found++;
        }
    }
    if (found == 1) {
        return TRUE;
    }
    g_autofree char *name = hm_error_quote(self->name);
    g_autofree char *list = list_aliases(self);
    g_autofree char *quoted = alias ? hm_error_quote(alias) : NULL;
    g_autofree char *what =
        quoted  ? g_strdup_printf("has no memory device %s", quoted)
        : found ? g_strdup("has several virtio-mem devices, name one")
                : g_strdup("has no virtio-mem device");
    return hm_set_error(error, HOSTMEM_ERROR_NOT_FOUND, "domain %s %s%s%s%s",
                        name, what, *list ? " (there is " : "", list,
                        *list ? ")" : "");
}
