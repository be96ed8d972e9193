/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

/** A set of small ids, CPUs or NUMA nodes, written "0-3,8". */
typedef struct HmIdset HmIdset;

/** Largest id a set can hold. */
#define HM_IDSET_MAX 65535u

HmIdset *hm_idset_new(void);
HmIdset *hm_idset_copy(const HmIdset *self);
void hm_idset_free(HmIdset *self);

/**
 * hm_idset_parse: "0-3,8"; blanks around it are ignored, "" is the empty set.
 *
 * Returns: NULL with %HOSTMEM_ERROR_INVALID (syntax, reversed range, id above
 * %HM_IDSET_MAX)
 */
HmIdset *hm_idset_parse(const char *text, GError **error);
/** (transfer full): ascending, runs written as "0-3"; "" when empty. */
char *hm_idset_to_string(const HmIdset *self);

/** Pre: id <= HM_IDSET_MAX */
void hm_idset_add(HmIdset *self, guint id);
void hm_idset_remove(HmIdset *self, guint id);
gboolean hm_idset_contains(const HmIdset *self, guint id);
gboolean hm_idset_is_empty(const HmIdset *self);
guint hm_idset_count(const HmIdset *self);
/** Keep what is in both; add what is in @other. */
void hm_idset_intersect(HmIdset *self, const HmIdset *other);
void hm_idset_union(HmIdset *self, const HmIdset *other);
/** First id at or behind @from in *@id; FALSE when there is none. */
gboolean hm_idset_next(const HmIdset *self, guint from, guint *id);

/** for each id, ascending: HM_IDSET_FOREACH(set, id) { ... } */
#define HM_IDSET_FOREACH(set, id) \
    for (guint id = 0; hm_idset_next((set), id, &id); id++)

G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmIdset, hm_idset_free)
