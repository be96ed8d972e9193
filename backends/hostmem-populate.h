/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "backends/hostmem.h"

/*
 * One populate of one range of a backend, shared by hostmem-populate.c, which
 * carries it out, and hostmem-populate-room.c, which asks whether it fits.
 */
struct HmPopulate {
    HostmemBackend *backend; /* borrowed: whoever owns it is its creation */
    HmRange range;
    HmPopulateHow how;
    HmProgress own; /* for who does not count elsewhere */
    HmProgress *progress;
    HmPreallocPlan plan;
    gboolean small;
    HmRangeList *holes;   /* (nullable): offsets from the start of @range */
    gboolean rolled_back; /* the holes are empty again */
    gboolean check;
    guint threads;
    gboolean tune;                 /* "threads" is the most, not an order */
    HostmemThreadContext *context; /* (nullable) */
    HmIdset *cpus;                 /* to bind workers to; NULL: do not */
    HmQueuePlace *place;           /* (nullable) */
    HmPreflight *preflight;        /* (nullable): made at need */
    guint64 promised;              /* bytes that there is room for */
    guint64 found;   /* bytes that hm_populate_room() found besides */
    gint64 found_us; /* hm_os_now() of that */
    GError *error;   /* why a run did not do all of it */

    /* what the engine takes */
    HmPreallocRegion region;
    HmPreallocOptions options;
};

/** (transfer full): offsets from the start of the range. */
HmRangeList *hm_populate_find_holes(const HmPopulate *self);
/** Is there room for all of it, beside what others have been promised? */
gboolean hm_populate_ask(HmPopulate *self, GError **error);
/** Whether to ask before each chunk: an HmRoomFunc, and its data is @self. */
gboolean hm_populate_asks_for_room(const HmPopulate *self);
gboolean hm_populate_room(guint64 bytes, gpointer self, GError **error);
/** Replace the kernel's errno by the limit that was hit, where one is found. */
void hm_populate_diagnose(HmPopulate *self, const HmPreallocFailure *failure,
                          GError **error);
