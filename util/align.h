/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

/** Whether @value is a power of two; 0 is none. */
static inline gboolean hm_is_pow2(guint64 value)
{
    return value && !(value & (value - 1));
}

/** Whether @value is a multiple of @align, a power of two. */
static inline gboolean hm_is_aligned(guint64 value, guint64 align)
{
    return !(value & (align - 1));
}

/** @value rounded down to a multiple of @align, a power of two. */
static inline guint64 hm_align_down(guint64 value, guint64 align)
{
    return value & ~(align - 1);
}

/**
 * hm_align_up: round @value up to a multiple of @align, a power of two.
 *
 * Returns: FALSE, and *@result untouched, when that does not fit 64 bits
 */
static inline gboolean hm_align_up(guint64 value, guint64 align,
                                   guint64 *result)
{
    guint64 sum;

    if (!g_uint64_checked_add(&sum, value, align - 1)) {
        return FALSE;
    }
    *result = hm_align_down(sum, align);
    return TRUE;
}
