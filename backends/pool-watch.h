/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/memory-pool.h>
#include <hostmem/registry.h>

/**
 * HmPoolWatch: emits the registry's "pool-low" for a memory-pool.
 *
 * A pool tells in any thread; here it is told in the registry's.
 */
typedef struct HmPoolWatch HmPoolWatch;

/** In the registry's thread; @registry and @pool are borrowed. */
HmPoolWatch *hm_pool_watch_new(HostmemRegistry *registry, GMainContext *context,
                               HostmemMemoryPool *pool);
/** In the registry's thread; nothing is emitted any more. */
void hm_pool_watch_free(HmPoolWatch *self);
