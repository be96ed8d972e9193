/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/bitmap.h"

#define WORD_BITS 64u

struct HmBitmap {
    gsize size;
    guint64 words[];
};

/* The bits of a run that lie in its first word. */
typedef struct {
    gsize word;
    guint n;
    guint64 mask;
} Piece;

static Piece first_piece(gsize first, gsize n)
{
    guint bit = first % WORD_BITS;
    guint taken = MIN(n, WORD_BITS - bit);
    Piece piece = {
        .word = first / WORD_BITS,
        .n = taken,
        .mask = (G_MAXUINT64 >> (WORD_BITS - taken)) << bit,
    };

    return piece;
}

static gboolean holds(const HmBitmap *self, gsize first, gsize n)
{
    return first <= self->size && n <= self->size - first;
}

HmBitmap *hm_bitmap_new(gsize n_bits)
{
    gsize n_words = n_bits / WORD_BITS + (n_bits % WORD_BITS != 0);
    HmBitmap *self =
        g_malloc0(sizeof(HmBitmap) + n_words * sizeof(self->words[0]));

    self->size = n_bits;
    return self;
}

void hm_bitmap_free(HmBitmap *self)
{
    g_free(self);
}

gsize hm_bitmap_size(const HmBitmap *self)
{
    return self->size;
}

void hm_bitmap_set(HmBitmap *self, gsize first, gsize n)
{
    g_return_if_fail(holds(self, first, n));
    while (n) {
        Piece piece = first_piece(first, n);

        self->words[piece.word] |= piece.mask;
        first += piece.n;
        n -= piece.n;
    }
}

void hm_bitmap_clear(HmBitmap *self, gsize first, gsize n)
{
    g_return_if_fail(holds(self, first, n));
    while (n) {
        Piece piece = first_piece(first, n);

        self->words[piece.word] &= ~piece.mask;
        first += piece.n;
        n -= piece.n;
    }
}

gboolean hm_bitmap_test(const HmBitmap *self, gsize bit)
{
    g_return_val_if_fail(bit < self->size, FALSE);
    return self->words[bit / WORD_BITS] >> (bit % WORD_BITS) & 1;
}

gboolean hm_bitmap_all_set(const HmBitmap *self, gsize first, gsize n)
{
    g_return_val_if_fail(holds(self, first, n), FALSE);
    return hm_bitmap_count(self, first, n) == n;
}

gboolean hm_bitmap_all_clear(const HmBitmap *self, gsize first, gsize n)
{
    g_return_val_if_fail(holds(self, first, n), FALSE);
    return hm_bitmap_count(self, first, n) == 0;
}

gsize hm_bitmap_count(const HmBitmap *self, gsize first, gsize n)
{
    gsize count = 0;

    g_return_val_if_fail(holds(self, first, n), 0);
    while (n) {
        Piece piece = first_piece(first, n);

        count += __builtin_popcountll(self->words[piece.word] & piece.mask);
        first += piece.n;
        n -= piece.n;
    }
    return count;
}

/* The first bit at or behind @from that differs from those of @skip. */
static gsize next_other(const HmBitmap *self, gsize from, guint64 skip)
{
    gsize bit;

    for (bit = from; bit < self->size; bit += WORD_BITS - bit % WORD_BITS) {
        guint64 word = self->words[bit / WORD_BITS] ^ skip;

        word >>= bit % WORD_BITS;
        if (word) {
            return MIN(bit + __builtin_ctzll(word), self->size);
        }
    }
    return self->size;
}

gsize hm_bitmap_next_set(const HmBitmap *self, gsize from)
{
    return next_other(self, from, 0);
}

gsize hm_bitmap_next_clear(const HmBitmap *self, gsize from)
{
    return next_other(self, from, G_MAXUINT64);
}
