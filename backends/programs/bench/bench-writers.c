/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "bench-snapshot.h"

#define PAGE 4096

typedef struct {
    BenchWriters *owner;
    GThread *thread;
    guint8 *addr;
    gsize n_pages;
    guint64 count;  /* atomic: pages written */
    gint64 longest; /* atomic: nanoseconds */
    gint64 began;   /* atomic: bench_now(); 0: between two pages */
    guint resets;   /* seen so far */
} Writer;

struct BenchWriters {
    GPtrArray *writers; /* Writer */
    gint stop;          /* atomic */
    guint resets;       /* atomic */

    GMutex lock; /* guards what follows */
    GCond changed;
    gint paused;  /* atomic, too */
    guint asleep; /* writers that wait */
};

static void sleep_while_paused(BenchWriters *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    self->asleep++;
    g_cond_broadcast(&self->changed);
    while (self->paused) {
        g_cond_wait(&self->changed, &self->lock);
    }
    self->asleep--;
}

static void note(Writer *self, gint64 ns)
{
    const guint resets =
        __atomic_load_n(&self->owner->resets, __ATOMIC_ACQUIRE);
    gint64 longest = __atomic_load_n(&self->longest, __ATOMIC_RELAXED);

    if (resets != self->resets) {
        self->resets = resets;
        longest = 0;
    }
    __atomic_store_n(&self->longest, MAX(longest, ns), __ATOMIC_RELAXED);
}

/* A pause is a wait like any other. */
static void write_page(Writer *self, guint64 n)
{
    const guint64 mixed = n * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15);
    const gsize page = (gsize)((mixed >> 24) % self->n_pages);
    const gint64 began = bench_now();

    __atomic_store_n(&self->began, began, __ATOMIC_RELAXED);
    if (g_atomic_int_get(&self->owner->paused)) {
        sleep_while_paused(self->owner);
    }
    memset(self->addr + page * PAGE, (int)n | 1, PAGE);
    __atomic_store_n(&self->began, 0, __ATOMIC_RELAXED);
    note(self, bench_now() - began);
    __atomic_store_n(&self->count, n, __ATOMIC_RELAXED);
}

static gpointer writer_main(gpointer data)
{
    Writer *self = data;

    for (guint64 n = 1; !g_atomic_int_get(&self->owner->stop); n++) {
        write_page(self, n);
    }
    return NULL;
}

BenchWriters *bench_writers_new(guint8 *addr, gsize length, guint threads)
{
    BenchWriters *self = g_new0(BenchWriters, 1);
    const gsize share = length / threads / PAGE * PAGE;

    self->writers = g_ptr_array_new_with_free_func(g_free);
    g_mutex_init(&self->lock);
    g_cond_init(&self->changed);
    for (guint i = 0; i < threads; i++) {
        Writer *writer = g_new0(Writer, 1);

        writer->owner = self;
        writer->addr = addr + i * share;
        writer->n_pages = share / PAGE;
        writer->thread = g_thread_new("writer", writer_main, writer);
        g_ptr_array_add(self->writers, writer);
    }
    return self;
}

void bench_writers_free(BenchWriters *self)
{
    g_atomic_int_set(&self->stop, TRUE);
    for (guint i = 0; i < self->writers->len; i++) {
        Writer *writer = g_ptr_array_index(self->writers, i);

        g_thread_join(writer->thread);
    }
    g_ptr_array_unref(self->writers);
    g_mutex_clear(&self->lock);
    g_cond_clear(&self->changed);
    g_free(self);
}

guint64 bench_writers_count(BenchWriters *self)
{
    guint64 sum = 0;

    for (guint i = 0; i < self->writers->len; i++) {
        Writer *writer = g_ptr_array_index(self->writers, i);

        sum += __atomic_load_n(&writer->count, __ATOMIC_RELAXED);
    }
    return sum;
}

void bench_writers_reset(BenchWriters *self)
{
    __atomic_fetch_add(&self->resets, 1, __ATOMIC_RELEASE);
}

gint64 bench_writers_longest(BenchWriters *self)
{
    gint64 most = 0;

    for (guint i = 0; i < self->writers->len; i++) {
        Writer *writer = g_ptr_array_index(self->writers, i);
        const gint64 began = __atomic_load_n(&writer->began, __ATOMIC_RELAXED);
        const gint64 open = began ? bench_now() - began : 0;

        most = MAX(most, __atomic_load_n(&writer->longest, __ATOMIC_RELAXED));
        most = MAX(most, open);
    }
    return most;
}

void bench_writers_pause(BenchWriters *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    g_atomic_int_set(&self->paused, TRUE);
    while (self->asleep < self->writers->len) {
        g_cond_wait(&self->changed, &self->lock);
    }
}

void bench_writers_resume(BenchWriters *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    g_atomic_int_set(&self->paused, FALSE);
    g_cond_broadcast(&self->changed);
}
