/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/advise.h>
#include "backends/hostmem.h"

/** A job that collapses ends, before this returns. */
void hm_backend_end_collapse(HostmemBackend *self);
/** Start one; see hostmem_backend_advise(). */
gboolean hm_backend_collapse(HostmemBackend *self, guint64 offset,
                             guint64 length, GError **error);
