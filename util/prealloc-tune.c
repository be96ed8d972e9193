/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/prealloc-tune.h"

/*
 * Theory of operation
 *
 * Memory bandwidth ends before the CPUs do, and beyond that point workers only
 * get in each other's way, and in that of everybody else.  Where it ends
 * cannot be known, but measured: all workers begin; when each has done two
 * chunks, half of them are parked; as long as the other half is as fast, it is
 * halved again; the first half that is not gets the parked ones back, and that
 * is the end of it.
 *
 *   rate of all = workers x bytes / time, over the chunks of a measurement
 *
 * A chunk that began before the last one of a parked worker has ended was
 * measured among too many, and does not count.
 *
 * A wrong try costs little: two chunks and a bit of each worker, of 64.
 */

#define CHUNKS_A_WORKER 2
/* Less throughput than this is too little, to leave room for noise. */
#define ENOUGH 0.95

static void measure_from(HmTuner *self, gint64 clean_from)
{
    self->clean_from = clean_from;
    self->chunks = 0;
    self->bytes = 0;
    self->busy_us = 0;
}

void hm_tuner_init(HmTuner *self, guint workers)
{
    *self = (HmTuner){
        .active = workers,
        .settled = workers < HM_TUNER_MIN_WORKERS,
        .clean_from = G_MININT64,
    };
}

/** A measurement is complete: go on, or back. */
static void decide(HmTuner *self, gint64 now_us)
{
    double rate =
        (double)self->active * (double)self->bytes / (double)self->busy_us;
    gint64 chunk_us = self->busy_us / self->chunks;

    if (rate < ENOUGH * self->best_rate) {
        self->active = self->before;
        self->settled = TRUE;
        return;
    }
    self->best_rate = MAX(rate, self->best_rate);
    if (self->active == 1) {
        self->settled = TRUE;
        return;
    }
    self->before = self->active;
    self->active /= 2;
    measure_from(self, now_us + chunk_us);
}

guint hm_tuner_note(HmTuner *self, guint64 bytes, gint64 start_us,
                    gint64 end_us)
{
    if (self->settled || start_us < self->clean_from) {
        return self->active;
    }
    self->chunks++;
    self->bytes += bytes;
    self->busy_us += MAX(end_us - start_us, 1);
    if (self->chunks >= CHUNKS_A_WORKER * self->active) {
        decide(self, end_us);
    }
    return self->active;
}
