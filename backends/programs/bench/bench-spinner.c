/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench-plug.h"

static void stay_on(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof(set), &set);
}

static gpointer spin(gpointer data)
{
    BenchSpinner *self = data;

    stay_on(self->cpu);
    while (!g_atomic_int_get(&self->stop)) {
    }
    return NULL;
}

/* -1: there is none */
static int other_cpu(const cpu_set_t *set, int cpu)
{
    for (int i = 0; i < CPU_SETSIZE; i++) {
        if (i != cpu && CPU_ISSET(i, set)) {
            return i;
        }
    }
    return -1;
}

void bench_spinner_start(BenchSpinner *self)
{
    int here = sched_getcpu();

    if (sched_getaffinity(0, sizeof(self->before), &self->before) < 0) {
        return;
    }
    self->cpu = other_cpu(&self->before, here);
    if (self->cpu >= 0) {
        stay_on(here);
        self->thread = g_thread_new("spinner", spin, self);
    }
}

void bench_spinner_clear(BenchSpinner *self)
{
    if (self->thread) {
        g_atomic_int_set(&self->stop, TRUE);
        g_thread_join(self->thread);
        sched_setaffinity(0, sizeof(self->before), &self->before);
    }
}
