/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/virtio/block-map.h"
#include "util/bitmap.h"

#ifdef HM_DEBUG
#define debug_assert(condition) g_assert(condition)
#else
#define debug_assert(condition) ((void)0)
#endif

struct HmBlockMap {
    HmBitmap *bits;
    guint64 n_plugged; /* bits that are set */
};

HmBlockMap *hm_block_map_new(guint64 n_blocks)
{
    HmBlockMap *self = g_new0(HmBlockMap, 1);

    self->bits = hm_bitmap_new(n_blocks);
    return self;
}

void hm_block_map_free(HmBlockMap *self)
{
    hm_bitmap_free(self->bits);
    g_free(self);
}

guint64 hm_block_map_size(const HmBlockMap *self)
{
    return hm_bitmap_size(self->bits);
}

guint64 hm_block_map_plugged(const HmBlockMap *self)
{
    return self->n_plugged;
}

gboolean hm_block_map_all_plugged(const HmBlockMap *self, guint64 first,
                                  guint64 n)
{
    return hm_bitmap_all_set(self->bits, first, n);
}

gboolean hm_block_map_none_plugged(const HmBlockMap *self, guint64 first,
                                   guint64 n)
{
    return hm_bitmap_all_clear(self->bits, first, n);
}

void hm_block_map_plug(HmBlockMap *self, guint64 first, guint64 n)
{
    debug_assert(hm_block_map_none_plugged(self, first, n));
    hm_bitmap_set(self->bits, first, n);
    self->n_plugged += n;
    debug_assert(self->n_plugged <= hm_block_map_size(self));
}

void hm_block_map_unplug(HmBlockMap *self, guint64 first, guint64 n)
{
    debug_assert(hm_block_map_all_plugged(self, first, n));
    debug_assert(self->n_plugged >= n);
    hm_bitmap_clear(self->bits, first, n);
    self->n_plugged -= n;
}

void hm_block_map_unplug_all(HmBlockMap *self)
{
    debug_assert(hm_block_map_is_consistent(self));
    hm_bitmap_clear(self->bits, 0, hm_block_map_size(self));
    self->n_plugged = 0;
}

gboolean hm_block_map_next(const HmBlockMap *self, guint64 from, guint64 end,
                           gboolean plugged, HmBlockRun *run)
{
    guint64 first, behind;

    first = plugged ? hm_bitmap_next_set(self->bits, from)
                    : hm_bitmap_next_clear(self->bits, from);
    if (first >= end) {
        return FALSE;
    }
    behind = plugged ? hm_bitmap_next_clear(self->bits, first)
                     : hm_bitmap_next_set(self->bits, first);
    run->first = first;
    run->n = MIN(behind, end) - first;
    return TRUE;
}

char *hm_block_map_to_text(const HmBlockMap *self)
{
    GString *text = g_string_new(NULL);
    HmBlockRun run;

    for (guint64 from = 0;
         hm_block_map_next(self, from, hm_block_map_size(self), TRUE, &run);
         from = run.first + run.n) {
        g_string_append_printf(text,
                               "%s%" G_GUINT64_FORMAT "+%" G_GUINT64_FORMAT,
                               text->len ? "," : "", run.first, run.n);
    }
    return g_string_free(text, FALSE);
}

/* Digits, and nothing else; @text moves behind them. */
static gboolean parse_number(const char **text, guint64 *number)
{
    char *end;

    if (!g_ascii_isdigit(**text)) {
        return FALSE;
    }
    *number = g_ascii_strtoull(*text, &end, 10);
    *text = end;
    return TRUE;
}

static gboolean parse_run(const char **text, HmBlockRun *run)
{
    if (!parse_number(text, &run->first) || **text != '+') {
        return FALSE;
    }
    (*text)++;
    return parse_number(text, &run->n);
}

gboolean hm_block_map_plug_text(HmBlockMap *self, const char *text)
{
    const guint64 size = hm_block_map_size(self);
    guint64 behind = 0;
    HmBlockRun run;

    while (*text) {
        if (behind && *text++ != ',') {
            return FALSE;
        }
        if (!parse_run(&text, &run) || run.first < behind || !run.n ||
            run.first >= size || run.n > size - run.first) {
            return FALSE;
        }
        hm_block_map_plug(self, run.first, run.n);
        behind = run.first + run.n;
    }
    return TRUE;
}

gboolean hm_block_map_is_consistent(const HmBlockMap *self)
{
    return hm_bitmap_count(self->bits, 0, hm_block_map_size(self)) ==
           self->n_plugged;
}
