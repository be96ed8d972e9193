/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>

/**
 * hm_qmp_connect: a connection to a server; blocks, up to 30 seconds.
 * @address: for hm_qmp_address_parse_peer()
 *
 * Returns: (transfer full): or NULL as hostmem_qmp_client_new()
 */
GIOStream *hm_qmp_connect(const char *address, GCancellable *cancellable,
                          GError **error);
