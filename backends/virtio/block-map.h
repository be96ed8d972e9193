/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

/**
 * Which blocks of a region are plugged.
 *
 * A bit each, none plugged at first; how many are plugged is kept, so that no
 * question costs more than the blocks it names.  Pure; locks nothing.  With
 * HM_DEBUG, what must hold before a change is asserted.
 */
typedef struct HmBlockMap HmBlockMap;

/** A run of blocks that are alike. */
typedef struct {
    guint64 first;
    guint64 n;
} HmBlockRun;

HmBlockMap *hm_block_map_new(guint64 n_blocks);
void hm_block_map_free(HmBlockMap *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmBlockMap, hm_block_map_free)

guint64 hm_block_map_size(const HmBlockMap *self);
guint64 hm_block_map_plugged(const HmBlockMap *self);

/** Pre: first + n <= size, in all of these. */
gboolean hm_block_map_all_plugged(const HmBlockMap *self, guint64 first,
                                  guint64 n);
gboolean hm_block_map_none_plugged(const HmBlockMap *self, guint64 first,
                                   guint64 n);
/** Pre: none of them is plugged. */
void hm_block_map_plug(HmBlockMap *self, guint64 first, guint64 n);
/** Pre: all of them are plugged. */
void hm_block_map_unplug(HmBlockMap *self, guint64 first, guint64 n);
void hm_block_map_unplug_all(HmBlockMap *self);

/**
 * hm_block_map_next: the first run of plugged (or unplugged) blocks.
 * @from: where to begin looking
 * @end: where to stop; a run that goes on is cut there
 *
 * Returns: FALSE when there is none
 */
gboolean hm_block_map_next(const HmBlockMap *self, guint64 from, guint64 end,
                           gboolean plugged, HmBlockRun *run);

/** (transfer full): the runs that are plugged: "0+32,64+8". */
char *hm_block_map_to_text(const HmBlockMap *self);
/**
 * hm_block_map_plug_text: plug what a text says, of a map with nothing plugged.
 *
 * Returns: FALSE: it is not as hm_block_map_to_text() writes it, ascending and
 * within the map; some may be plugged then
 */
gboolean hm_block_map_plug_text(HmBlockMap *self, const char *text);

/** Whether the count fits the bits; looks at all of them. */
gboolean hm_block_map_is_consistent(const HmBlockMap *self);
