/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include "bench.h"

/*
 * The threads are there before the clock starts: they wait at a gate.  Each
 * works on one share of the memory, and the time goes from the first start to
 * the last end.
 */

/* Steps: a pass over a range */

static int read_each(const BenchMemory *memory, gsize offset, gsize length)
{
    volatile guint8 *page = memory->addr + offset;

    for (gsize done = 0; done < length; done += memory->stride) {
        (void)page[done];
    }
    return 0;
}

static int write_each(const BenchMemory *memory, gsize offset, gsize length)
{
    volatile guint8 *page = memory->addr + offset;

    for (gsize done = 0; done < length; done += memory->stride) {
        page[done] = 0;
    }
    return 0;
}

static int rewrite_each(const BenchMemory *memory, gsize offset, gsize length)
{
    volatile guint8 *page = memory->addr + offset;

    for (gsize done = 0; done < length; done += memory->stride) {
        page[done] = page[done];
    }
    return 0;
}

static int advise(const BenchMemory *memory, gsize offset, gsize length,
                  int advice)
{
    return madvise(memory->addr + offset, length, advice) < 0 ? -errno : 0;
}

static int populate_read(const BenchMemory *memory, gsize offset, gsize length)
{
    return advise(memory, offset, length, MADV_POPULATE_READ);
}

static int populate_write(const BenchMemory *memory, gsize offset, gsize length)
{
    return advise(memory, offset, length, MADV_POPULATE_WRITE);
}

static int allocate(const BenchMemory *memory, gsize offset, gsize length)
{
    return fallocate(memory->fd, 0, offset, length) < 0 ? -errno : 0;
}

static int fill(const BenchMemory *memory, gsize offset, gsize length)
{
    memset(memory->addr + offset, 0x5a, length);
    return 0;
}

static const BenchMethod methods[] = {
    {"Read", {read_each}, BENCH_READABLE, FALSE, FALSE},
    {"Write", {write_each}, BENCH_WRITABLE, TRUE, FALSE},
    {"Read/Write", {rewrite_each}, BENCH_WRITABLE, FALSE, FALSE},
    {"POPULATE_READ", {populate_read}, BENCH_READABLE, TRUE, FALSE},
    {"POPULATE_WRITE", {populate_write}, BENCH_WRITABLE, TRUE, FALSE},
    {"FALLOCATE", {allocate}, BENCH_BACKED, TRUE, TRUE},
    {"FALLOCATE+Read", {allocate, read_each}, BENCH_READABLE, FALSE, TRUE},
    {"FALLOCATE+Write", {allocate, write_each}, BENCH_WRITABLE, FALSE, TRUE},
    {"FALLOCATE+Read/Write",
     {allocate, rewrite_each},
     BENCH_WRITABLE,
     FALSE,
     TRUE},
    {"FALLOCATE+POPULATE_READ",
     {allocate, populate_read},
     BENCH_READABLE,
     FALSE,
     TRUE},
    {"FALLOCATE+POPULATE_WRITE",
     {allocate, populate_write},
     BENCH_WRITABLE,
     TRUE,
     TRUE},
};

static const BenchMethod method_memset = {
    "memset", {fill}, BENCH_FILLED, TRUE, FALSE};

const BenchMethod *bench_methods(guint *n)
{
    *n = G_N_ELEMENTS(methods);
    return methods;
}

const BenchMethod *bench_method_write(void)
{
    return &methods[1];
}

const BenchMethod *bench_method_populate_write(void)
{
    return &methods[4];
}

const BenchMethod *bench_method_memset(void)
{
    return &method_memset;
}

const char *bench_state_name(BenchState state)
{
    static const char *const names[] = {
        [BENCH_BACKED] = "backed",
        [BENCH_READABLE] = "readable",
        [BENCH_WRITABLE] = "writable",
        [BENCH_FILLED] = "filled",
    };

    return names[state];
}

/* Workers */

typedef enum {
    CLOSED,
    OPEN,
    ABANDONED,
} GateState;

typedef struct {
    GMutex lock;
    GCond changed;
    GateState state;
} Gate;

static void gate_set(Gate *gate, GateState state)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&gate->lock);

    gate->state = state;
    g_cond_broadcast(&gate->changed);
}

static gboolean gate_wait(Gate *gate)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&gate->lock);

    while (gate->state == CLOSED) {
        g_cond_wait(&gate->changed, &gate->lock);
    }
    return gate->state == OPEN;
}

typedef struct {
    const BenchMethod *method;
    const BenchMemory *memory;
    Gate *gate;
    GThread *thread;
    gsize offset;
    gsize length;
    gint64 start;
    gint64 end;
    int result;
} Worker;

static int run_steps(const Worker *self)
{
    int result = 0;

    for (guint i = 0; i < G_N_ELEMENTS(self->method->steps); i++) {
        BenchStep step = self->method->steps[i];
        if (step && self->length && result == 0) {
            result = step(self->memory, self->offset, self->length);
        }
    }
    return result;
}

static gpointer work(gpointer data)
{
    Worker *self = data;

    if (gate_wait(self->gate)) {
        self->start = bench_now();
        self->result = run_steps(self);
        self->end = bench_now();
    }
    return NULL;
}

/* Whole pages; a thread may be left without any. */
static gsize share_start(const BenchMemory *memory, guint i, guint n)
{
    return i == n ? memory->length
                  : memory->length / memory->unit * i / n * memory->unit;
}

static gboolean start_workers(Worker *workers, guint n, GError **error)
{
    for (guint i = 0; i < n; i++) {
        workers[i].thread = g_thread_try_new("bench", work, &workers[i], error);
        if (!workers[i].thread) {
            return FALSE;
        }
    }
    return TRUE;
}

static void join_workers(Worker *workers, guint n)
{
    for (guint i = 0; i < n && workers[i].thread; i++) {
        g_thread_join(workers[i].thread);
    }
}

static gint64 evaluate(const Worker *workers, guint n, GError **error)
{
    gint64 start = workers[0].start;
    gint64 end = workers[0].end;

    for (guint i = 0; i < n; i++) {
        if (workers[i].result < 0) {
            bench_set_errno(error, workers[i].method->name, -workers[i].result);
            return -1;
        }
        start = MIN(start, workers[i].start);
        end = MAX(end, workers[i].end);
    }
    return end - start;
}

static gint64 run_method(const BenchMethod *self, const BenchMemory *memory,
                         guint threads, GError **error)
{
    Gate gate = {.state = CLOSED};
    g_autofree Worker *workers = g_new0(Worker, threads);

    g_mutex_init(&gate.lock);
    g_cond_init(&gate.changed);
    for (guint i = 0; i < threads; i++) {
        gsize offset = share_start(memory, i, threads);
        workers[i] = (Worker){
            .method = self,
            .memory = memory,
            .gate = &gate,
            .offset = offset,
            .length = share_start(memory, i + 1, threads) - offset,
        };
    }
    gboolean started = start_workers(workers, threads, error);
    gate_set(&gate, started ? OPEN : ABANDONED);
    join_workers(workers, threads);
    g_cond_clear(&gate.changed);
    g_mutex_clear(&gate.lock);
    return started ? evaluate(workers, threads, error) : -1;
}

gint64 bench_measure(const BenchKind *kind, const BenchMethod *method,
                     gboolean shared, guint64 size, guint threads,
                     const BenchOptions *options, GError **error)
{
    g_auto(BenchMemory) memory = {.fd = -1};

    if (!bench_memory_init(&memory, kind, shared, size, options, error)) {
        return -1;
    }
    if (method->state == BENCH_FILLED &&
        run_method(bench_method_write(), &memory, threads, error) < 0) {
        return -1;
    }
    return run_method(method, &memory, threads, error);
}

void bench_warm_up(const BenchOptions *options)
{
    bench_measure(bench_kind_anonymous(), bench_method_write(), FALSE,
                  options->size, bench_host_cpus(), options, NULL);
}
