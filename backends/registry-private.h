/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/registry.h>
#include "backends/object-spec.h"
#include "util/props.h"

/**
 * hostmem_registry_add_async() and hostmem_registry_add_device_async() from the
 * arguments of QMP's object-add and device_add.
 */
void hm_registry_add_json_async(HostmemRegistry *self, HmSpecKind kind,
                                json_t *options, GCancellable *cancellable,
                                GAsyncReadyCallback callback,
                                gpointer user_data);

/** (transfer none): link values are ids or paths in this registry. */
const HmPropLinks *hm_registry_links(HostmemRegistry *self);
