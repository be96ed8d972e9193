/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <time.h>
#include "bench.h"

gint64 bench_now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * BENCH_NS_PER_S + time.tv_nsec;
}

double bench_rate(guint64 bytes, double ns)
{
    return (double)bytes / BENCH_GIB / MAX(ns, 1) * BENCH_NS_PER_S;
}

void bench_samples_add(BenchSamples *self, double value)
{
    g_return_if_fail(self->n < BENCH_MAX_RUNS);
    self->values[self->n++] = value;
}

static int compare_values(const void *a, const void *b)
{
    double first = *(const double *)a;
    double second = *(const double *)b;

    return (first > second) - (first < second);
}

static BenchSamples sorted(const BenchSamples *self)
{
    BenchSamples samples = *self;

    qsort(samples.values, samples.n, sizeof(samples.values[0]), compare_values);
    return samples;
}

double bench_samples_least(const BenchSamples *self)
{
    return sorted(self).values[0];
}

double bench_samples_median(const BenchSamples *self)
{
    BenchSamples samples = sorted(self);

    return (samples.values[(samples.n - 1) / 2] +
            samples.values[samples.n / 2]) /
           2;
}

double bench_samples_most(const BenchSamples *self)
{
    return sorted(self).values[self->n - 1];
}

BenchSamples bench_samples_ratios(const BenchSamples *theirs,
                                  const BenchSamples *ours)
{
    BenchSamples ratios = {0};

    for (guint i = 0; i < ours->n; i++) {
        bench_samples_add(&ratios, theirs->values[i] / ours->values[i]);
    }
    return ratios;
}

BenchSamples bench_samples_differences(const BenchSamples *ours,
                                       const BenchSamples *theirs)
{
    BenchSamples differences = {0};

    for (guint i = 0; i < ours->n; i++) {
        bench_samples_add(&differences, ours->values[i] - theirs->values[i]);
    }
    return differences;
}
