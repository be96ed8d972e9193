/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/libvirt.h>
#include "util/error.h"

/* In place of the files that need libvirt's headers: see libvirt.c. */

gboolean hostmem_libvirt_load(GError **error)
{
    return hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                        "this hostmem was built without libvirt");
}
