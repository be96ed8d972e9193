/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/registry.h>
#include "util/props.h"

/** hostmem_registry_add_async() from QMP's object-add arguments. */
void hm_registry_add_json_async(HostmemRegistry *self, json_t *options,
                                GCancellable *cancellable,
                                GAsyncReadyCallback callback,
                                gpointer user_data);

/** (transfer none): link values are ids or paths in this registry. */
const HmPropLinks *hm_registry_links(HostmemRegistry *self);
