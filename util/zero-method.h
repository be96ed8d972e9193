/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

/** A way to zero memory; see util/zero.h for what its caller sees to. */
typedef struct {
    const char *name;
    gboolean (*is_there)(void); /* NULL: everywhere */
    void (*zero)(void *addr, gsize length);
} HmZeroMethod;

/** (transfer none): all that this build knows, the fastest first. */
const HmZeroMethod *hm_zero_method_table(guint *n);
