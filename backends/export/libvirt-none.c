/* SPDX-License-Identifier: LGPL-2.1-or-later */
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
