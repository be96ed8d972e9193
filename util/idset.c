/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/bitmap.h"
#include "util/error.h"
#include "util/idset.h"

/* One bit per possible id: 8 KiB, and every operation is the bitmap's. */
struct HmIdset {
    HmBitmap *bits;
};

HmIdset *hm_idset_new(void)
{
    HmIdset *self = g_new0(HmIdset, 1);

    self->bits = hm_bitmap_new(HM_IDSET_MAX + 1);
    return self;
}

HmIdset *hm_idset_copy(const HmIdset *self)
{
    HmIdset *copy = hm_idset_new();

    hm_idset_union(copy, self);
    return copy;
}

void hm_idset_free(HmIdset *self)
{
    if (self) {
        hm_bitmap_free(self->bits);
        g_free(self);
    }
}

/* Digits at *@text, which moves behind them; FALSE for none or too large. */
static gboolean parse_id(const char **text, guint *id)
{
    if (!g_ascii_isdigit(**text)) {
        return FALSE;
    }
    for (*id = 0; g_ascii_isdigit(**text); (*text)++) {
        *id = *id * 10 + (guint)g_ascii_digit_value(**text);
        if (*id > HM_IDSET_MAX) {
            return FALSE;
        }
    }
    return TRUE;
}

/* "3" or "0-3" at *@text, which moves behind it. */
static gboolean parse_run(HmIdset *self, const char **text)
{
    guint first;
    guint last;

    if (!parse_id(text, &first)) {
        return FALSE;
    }
    last = first;
    if (**text == '-') {
        (*text)++;
        if (!parse_id(text, &last) || last < first) {
            return FALSE;
        }
    }
    hm_bitmap_set(self->bits, first, last - first + 1);
    return TRUE;
}

static gboolean parse_runs(HmIdset *self, const char *text)
{
    if (!parse_run(self, &text)) {
        return FALSE;
    }
    while (*text == ',') {
        text++;
        if (!parse_run(self, &text)) {
            return FALSE;
        }
    }
    return !*text;
}

HmIdset *hm_idset_parse(const char *text, GError **error)
{
    g_autoptr(HmIdset) self = hm_idset_new();
    g_autofree char *stripped = g_strstrip(g_strdup(text));

    if (*stripped && !parse_runs(self, stripped)) {
        g_autofree char *shown = hm_error_quote(stripped);

        hm_set_error(error, HOSTMEM_ERROR_INVALID,
                     "%s is not a list of ids such as 0-3,8 (ascending "
                     "ranges, ids up to %u)",
                     shown, HM_IDSET_MAX);
        return NULL;
    }
    return g_steal_pointer(&self);
}

char *hm_idset_to_string(const HmIdset *self)
{
    GString *text = g_string_new(NULL);
    guint first = 0;

    while (hm_idset_next(self, first, &first)) {
        guint end = (guint)hm_bitmap_next_clear(self->bits, first);

        g_string_append_printf(text, "%s%u", text->len ? "," : "", first);
        if (end - first > 1) {
            g_string_append_printf(text, "-%u", end - 1);
        }
        first = end;
    }
    return g_string_free(text, FALSE);
}

void hm_idset_add(HmIdset *self, guint id)
{
    hm_bitmap_set(self->bits, id, 1);
}

void hm_idset_remove(HmIdset *self, guint id)
{
    hm_bitmap_clear(self->bits, id, 1);
}

gboolean hm_idset_contains(const HmIdset *self, guint id)
{
    return id <= HM_IDSET_MAX && hm_bitmap_test(self->bits, id);
}

gboolean hm_idset_is_empty(const HmIdset *self)
{
    return hm_idset_count(self) == 0;
}

guint hm_idset_count(const HmIdset *self)
{
    return (guint)hm_bitmap_count(self->bits, 0, hm_bitmap_size(self->bits));
}

void hm_idset_intersect(HmIdset *self, const HmIdset *other)
{
    HM_IDSET_FOREACH (self, id) {
        if (!hm_idset_contains(other, id)) {
            hm_idset_remove(self, id);
        }
    }
}

void hm_idset_union(HmIdset *self, const HmIdset *other)
{
    HM_IDSET_FOREACH (other, id) {
        hm_idset_add(self, id);
    }
}

gboolean hm_idset_next(const HmIdset *self, guint from, guint *id)
{
    gsize next = hm_bitmap_next_set(self->bits, from);

    if (next > HM_IDSET_MAX) {
        return FALSE;
    }
    *id = (guint)next;
    return TRUE;
}
