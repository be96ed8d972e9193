/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/discard.h>

/*
 * A listener that believes nothing: it keeps a map of the blocks that it was
 * told of, without a lock, because a source serves one thread at a time, and
 * asserts that each is told once.  Use from one thread.
 */
typedef struct {
    HostmemDiscardSource *source; /* not owned */
    guint64 block;                /* bytes */
    guint n_blocks;
    guint8 *told;
    guint refuse; /* one in so many; 0: never */
    GRand *rand;
    guint id; /* 0: it does not listen */
    gboolean in_callback;
    gboolean destroyed;
} HmEar;

/** @seed: what it refuses depends on it */
void hm_ear_init(HmEar *self, HostmemDiscardSource *source, guint refuse,
                 guint32 seed);
/** Listens to all; FALSE: it has refused what is there. */
gboolean hm_ear_add(HmEar *self);
/** What it was told is what is populated, no more and no less. */
void hm_ear_compare(HmEar *self);
/** What it hears last is that all is gone. */
void hm_ear_remove(HmEar *self);
/** After it was removed, or refused. */
void hm_ear_clear(HmEar *self);
