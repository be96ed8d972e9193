/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/libvirt-domain.h>
#include <hostmem/libvirt.h>
#include "util/error.h"

/* In place of the files that need libvirt's headers: see libvirt.c. */

static gboolean refuse(GError **error)
{
    return hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                        "this hostmem was built without libvirt");
}

gboolean hostmem_libvirt_load(GError **error)
{
    return refuse(error);
}

char **hostmem_libvirt_domain_to_argv(G_GNUC_UNUSED const char *xml,
                                      G_GNUC_UNUSED const char *root,
                                      GError **error)
{
    refuse(error);
    return NULL;
}

/* Connections, of which there is none */

struct _HostmemLibvirtConnection {
    GObject parent_instance;
};

typedef struct {
    GObjectClass parent_class;
} HostmemLibvirtConnectionClass;

G_DEFINE_TYPE(HostmemLibvirtConnection, hostmem_libvirt_connection,
              G_TYPE_OBJECT)

static void hostmem_libvirt_connection_class_init(
    HostmemLibvirtConnectionClass *klass G_GNUC_UNUSED)
{
}

static void
hostmem_libvirt_connection_init(HostmemLibvirtConnection *self G_GNUC_UNUSED)
{
}

HostmemLibvirtConnection *
hostmem_libvirt_connection_new(const char *uri G_GNUC_UNUSED,
                               gboolean read_only G_GNUC_UNUSED, GError **error)
{
    refuse(error);
    return NULL;
}

const char *
hostmem_libvirt_connection_get_uri(HostmemLibvirtConnection *self G_GNUC_UNUSED)
{
    return "";
}

GPtrArray *
hostmem_libvirt_connection_list(HostmemLibvirtConnection *self G_GNUC_UNUSED,
                                GError **error)
{
    refuse(error);
    return NULL;
}

HostmemLibvirtDomain *
hostmem_libvirt_connection_get(HostmemLibvirtConnection *self G_GNUC_UNUSED,
                               const char *name G_GNUC_UNUSED, GError **error)
{
    refuse(error);
    return NULL;
}

char *
hostmem_libvirt_connection_execute(HostmemLibvirtConnection *self G_GNUC_UNUSED,
                                   const char *name G_GNUC_UNUSED,
                                   const char *command G_GNUC_UNUSED,
                                   GError **error)
{
    refuse(error);
    return NULL;
}

gboolean
hostmem_libvirt_connection_listen(HostmemLibvirtConnection *self G_GNUC_UNUSED,
                                  GError **error)
{
    return refuse(error);
}

HostmemLibvirtEvent *
hostmem_libvirt_connection_wait(HostmemLibvirtConnection *self G_GNUC_UNUSED,
                                gint64 timeout_us G_GNUC_UNUSED,
                                GCancellable *cancellable G_GNUC_UNUSED,
                                GError **error)
{
    refuse(error);
    return NULL;
}

gboolean
hostmem_libvirt_connection_request(HostmemLibvirtConnection *self G_GNUC_UNUSED,
                                   const char *name G_GNUC_UNUSED,
                                   const char *alias G_GNUC_UNUSED,
                                   guint64 bytes G_GNUC_UNUSED, GError **error)
{
    return refuse(error);
}

gboolean hostmem_libvirt_connection_resize(
    HostmemLibvirtConnection *self G_GNUC_UNUSED,
    const char *name G_GNUC_UNUSED, const char *alias G_GNUC_UNUSED,
    guint64 bytes G_GNUC_UNUSED, gint64 stall_us G_GNUC_UNUSED,
    HostmemLibvirtProgressFunc func G_GNUC_UNUSED,
    gpointer user_data G_GNUC_UNUSED, GCancellable *cancellable G_GNUC_UNUSED,
    GError **error)
{
    return refuse(error);
}
