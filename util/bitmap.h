/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

/** A fixed number of bits, all clear at first. */
typedef struct HmBitmap HmBitmap;

HmBitmap *hm_bitmap_new(gsize n_bits);
void hm_bitmap_free(HmBitmap *self);
gsize hm_bitmap_size(const HmBitmap *self);
/** Pre: first + n <= size, in all of these. */
void hm_bitmap_set(HmBitmap *self, gsize first, gsize n);
void hm_bitmap_clear(HmBitmap *self, gsize first, gsize n);
gboolean hm_bitmap_test(const HmBitmap *self, gsize bit);
gboolean hm_bitmap_all_set(const HmBitmap *self, gsize first, gsize n);
gboolean hm_bitmap_all_clear(const HmBitmap *self, gsize first, gsize n);
gsize hm_bitmap_count(const HmBitmap *self, gsize first, gsize n);
/** First set (clear) bit at or behind @from; size when there is none. */
gsize hm_bitmap_next_set(const HmBitmap *self, gsize from);
gsize hm_bitmap_next_clear(const HmBitmap *self, gsize from);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmBitmap, hm_bitmap_free)
