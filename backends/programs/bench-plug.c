/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include "bench-plug.h"

/*
 * A virtio-mem of ours and one of QEMU get the same requests in turns; what
 * counts is the ratio of their times, pair by pair.  As in the comparison of
 * whole processes, each side does its work twice in its turn, and the second
 * time counts: so both find the free memory that they left themselves.
 *
 * The work begins and ends with nothing plugged.  To measure unplugging, the
 * memory is plugged first, and written when plugging has not populated it.
 *
 * One call per block is what one would write without the library: the memory
 * is the same, of our device, and so is what is left; the device hears of it
 * afterwards.  A thread that runs meanwhile is in the place of a guest's CPU:
 * each call must tell it that pages have gone.
 */

#define QEMU_FILL (2 * BENCH_MIB)

static const BenchPlugMemory memories[] = {
    {"ram", FALSE},
    {"memfd,seal=off", FALSE},
    {"memfd", FALSE},
    {"memfd,hugetlb=on", TRUE},
};

static const BenchPlugWork plug_works[] = {
    {"requests of 2 MiB", BENCH_BLOCK_SIZE, FALSE},
    {"requests of 128 MiB", 128 * BENCH_MIB, FALSE},
};

static const BenchPlugWork unplug_works[] = {
    {"requests of 2 MiB", BENCH_BLOCK_SIZE, FALSE},
    {"requests of 128 MiB", 128 * BENCH_MIB, FALSE},
    {"every second 2 MiB, all at once", BENCH_BLOCK_SIZE, TRUE},
};

static const HostmemVirtioMemRequest unplug_all = {
    .type = HOSTMEM_VIRTIO_MEM_UNPLUG_ALL,
};

/* The list */

static void free_cell(gpointer data)
{
    BenchPlugCell *cell = data;

    g_free(cell->skipped);
    g_free(cell->alone);
    g_free(cell);
}

static void add_cell(GPtrArray *cells, const BenchOptions *options,
                     BenchPlugCell part, BenchPlugOpponent opponent)
{
    BenchPlugCell *cell = g_memdup2(&part, sizeof(part));
    guint64 stride = part.work->length * (part.work->scattered ? 2 : 1);
    guint64 ranges = options->size / stride;

    cell->opponent = opponent;
    cell->size = ranges * part.work->length;
    cell->requests = part.work->scattered ? 1 : ranges;
    if (!ranges) {
        g_autofree char *size = bench_format_size(options->size);
        g_autofree char *least = bench_format_size(stride);
        cell->skipped = g_strdup_printf("%s is less than %s", size, least);
    }
    g_ptr_array_add(cells, cell);
}

static void add_cells(GPtrArray *cells, const BenchOptions *options,
                      const BenchPlugWork *work, gboolean prealloc)
{
    for (guint i = 0; i < G_N_ELEMENTS(memories); i++) {
        const BenchPlugCell part = {
            .memory = &memories[i], .work = work, .prealloc = prealloc};
        add_cell(cells, options, part, BENCH_PLUG_QEMU);
        if (work->scattered) {
            add_cell(cells, options, part, BENCH_PLUG_BY_HAND);
        }
    }
}

static GPtrArray *list_cells(const BenchOptions *options)
{
    GPtrArray *cells = g_ptr_array_new_with_free_func(free_cell);
    gboolean unplug = options->mode == BENCH_UNPLUG;
    const BenchPlugWork *works = unplug ? unplug_works : plug_works;
    guint n = unplug ? G_N_ELEMENTS(unplug_works) : G_N_ELEMENTS(plug_works);

    for (guint i = 0; i < n; i++) {
        add_cells(cells, options, &works[i], TRUE);
        add_cells(cells, options, &works[i], FALSE);
    }
    return cells;
}

/* Requests */

static GArray *requests_new(void)
{
    return g_array_new(FALSE, FALSE, sizeof(HostmemVirtioMemRequest));
}

/* (transfer full): a request of a type for each range */
static GArray *requests_for(const BenchPlugCell *cell,
                            HostmemVirtioMemRequestType type)
{
    GArray *requests = requests_new();
    guint64 length = cell->work->length;
    guint64 stride = length * (cell->work->scattered ? 2 : 1);

    for (guint64 i = 0; i < cell->size / length; i++) {
        const HostmemVirtioMemRequest request = {
            .type = type,
            .addr = BENCH_MEMADDR + i * stride,
            .nb_blocks = length / BENCH_BLOCK_SIZE,
        };
        g_array_append_val(requests, request);
    }
    return requests;
}

static GArray *unplug_all_request(void)
{
    GArray *requests = requests_new();

    g_array_append_val(requests, unplug_all);
    return requests;
}

/* Sides: what can be done with a device */

typedef struct {
    HostmemBackend *backend;
    HostmemVirtioMem *device;
    BenchQemu *qemu; /* (nullable) */
} Devices;

typedef struct {
    /* Nanoseconds; -1 with @error. */
    gint64 (*serve)(Devices *self, const GArray *requests, GError **error);
    gboolean (*fill)(Devices *self, const HostmemVirtioMemRequest *range,
                     GError **error);
    /* (nullable): unplugging that is measured, in place of serve */
    gint64 (*discard)(Devices *self, const GArray *ranges, GError **error);
} Side;

static guint64 length_of(const HostmemVirtioMemRequest *range)
{
    return range->nb_blocks * BENCH_BLOCK_SIZE;
}

static gboolean request_ours(Devices *self,
                             const HostmemVirtioMemRequest *request,
                             GError **error)
{
    HostmemVirtioMemResponse response;

    hostmem_virtio_mem_request(self->device, request, &response, error);
    return response.answer == HOSTMEM_VIRTIO_MEM_ACK;
}

static gint64 serve_ours(Devices *self, const GArray *requests, GError **error)
{
    gint64 start = bench_now();

    for (guint i = 0; i < requests->len; i++) {
        if (!request_ours(self,
                          &g_array_index(requests, HostmemVirtioMemRequest, i),
                          error)) {
            return -1;
        }
    }
    return bench_now() - start;
}

static guint8 *memory_of(Devices *self, const HostmemVirtioMemRequest *range)
{
    guint8 *memory = hostmem_backend_get_host_addr(self->backend);

    return memory + (range->addr - BENCH_MEMADDR);
}

static gboolean fill_ours(Devices *self, const HostmemVirtioMemRequest *range,
                          G_GNUC_UNUSED GError **error)
{
    memset(memory_of(self, range), 0x5a, length_of(range));
    return TRUE;
}

static int discard_range(Devices *self, const HostmemVirtioMemRequest *range)
{
    int fd = hostmem_backend_get_fd(self->backend);
    guint64 start = hostmem_backend_get_fd_offset(self->backend);

    if (fd < 0) {
        return madvise(memory_of(self, range), length_of(range), MADV_DONTNEED);
    }
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                     start + range->addr - BENCH_MEMADDR, length_of(range));
}

static gint64 discard_by_hand(Devices *self, const GArray *ranges,
                              GError **error)
{
    gint64 start = bench_now();

    for (guint i = 0; i < ranges->len; i++) {
        if (discard_range(
                self, &g_array_index(ranges, HostmemVirtioMemRequest, i)) < 0) {
            bench_set_errno(error, "discarding", errno);
            return -1;
        }
    }
    return bench_now() - start;
}

static gint64 serve_qemu(Devices *self, const GArray *requests, GError **error)
{
    return bench_qemu_serve(self->qemu,
                            (const HostmemVirtioMemRequest *)requests->data,
                            requests->len, error);
}

static gboolean fill_qemu(Devices *self, const HostmemVirtioMemRequest *range,
                          GError **error)
{
    for (guint64 done = 0; done < length_of(range); done += QEMU_FILL) {
        if (!bench_qemu_fill(self->qemu, range->addr + done, QEMU_FILL,
                             error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static const Side ours = {serve_ours, fill_ours, NULL};
static const Side qemu = {serve_qemu, fill_qemu, NULL};
static const Side by_hand = {serve_ours, fill_ours, discard_by_hand};

/* Measuring */

static gboolean fill(Devices *self, const Side *side, const GArray *ranges,
                     GError **error)
{
    for (guint i = 0; i < ranges->len; i++) {
        if (!side->fill(self,
                        &g_array_index(ranges, HostmemVirtioMemRequest, i),
                        error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static gint64 unplug(Devices *self, const Side *side, const BenchPlugCell *cell,
                     const GArray *ranges, GError **error)
{
    g_autoptr(GArray) requests =
        cell->work->scattered ? unplug_all_request()
                              : requests_for(cell, HOSTMEM_VIRTIO_MEM_UNPLUG);

    if (!cell->prealloc && !fill(self, side, ranges, error)) {
        return -1;
    }
    return side->discard ? side->discard(self, ranges, error)
                         : side->serve(self, requests, error);
}

/* What a side takes for its work; nothing is plugged before and afterwards. */
static gint64 work(Devices *self, const Side *side, const BenchOptions *options,
                   const BenchPlugCell *cell, GError **error)
{
    g_autoptr(GArray) plugs = requests_for(cell, HOSTMEM_VIRTIO_MEM_PLUG);
    g_autoptr(GArray) rest = unplug_all_request();
    gint64 ns = side->serve(self, plugs, error);

    if (ns >= 0 && options->mode == BENCH_UNPLUG) {
        ns = unplug(self, side, cell, plugs, error);
    }
    return ns >= 0 && side->serve(self, rest, error) >= 0 ? ns : -1;
}

static gint64 work_warm(Devices *self, const Side *side,
                        const BenchOptions *options, const BenchPlugCell *cell,
                        GError **error)
{
    return work(self, side, options, cell, error) < 0
               ? -1
               : work(self, side, options, cell, error);
}

/* As many requests that do nothing. */
static gint64 measure_protocol(Devices *self, const BenchPlugCell *cell,
                               GError **error)
{
    g_autoptr(GArray) states = requests_for(cell, HOSTMEM_VIRTIO_MEM_STATE);

    g_array_set_size(states, cell->requests);
    return serve_qemu(self, states, error);
}

/* What QEMU itself takes. */
static gboolean measure_qemu(Devices *self, const BenchOptions *options,
                             BenchPlugCell *cell, GError **error)
{
    gint64 ns = work_warm(self, &qemu, options, cell, error);
    gint64 protocol_ns = ns < 0 ? -1 : measure_protocol(self, cell, error);

    if (protocol_ns < 0) {
        return FALSE;
    }
    bench_samples_add(&cell->theirs, MAX(ns - protocol_ns, 0));
    bench_samples_add(&cell->protocol, protocol_ns);
    return TRUE;
}

static gboolean measure_side(Devices *self, const Side *side,
                             const BenchOptions *options,
                             const BenchPlugCell *cell, BenchSamples *samples,
                             GError **error)
{
    gint64 ns = work_warm(self, side, options, cell, error);

    if (ns < 0) {
        return FALSE;
    }
    bench_samples_add(samples, ns);
    return TRUE;
}

static gboolean measure_pair(Devices *self, const BenchOptions *options,
                             BenchPlugCell *cell, GError **error)
{
    if (!measure_side(self, &ours, options, cell, &cell->ours, error)) {
        return FALSE;
    }
    if (cell->opponent == BENCH_PLUG_BY_HAND) {
        return measure_side(self, &by_hand, options, cell, &cell->theirs,
                            error);
    }
    return !self->qemu || measure_qemu(self, options, cell, error);
}

static void measure_cell(Devices *self, const BenchOptions *options,
                         BenchPlugCell *cell)
{
    g_autoptr(GError) error = NULL;

    for (guint i = 0; i < options->runs; i++) {
        if (!measure_pair(self, options, cell, &error)) {
            cell->skipped = g_strdup(error->message);
            return;
        }
    }
}

/* A thread that runs all the time, on another CPU than this one */

typedef struct {
    GThread *thread;
    gint stop;
    int cpu;
    cpu_set_t before; /* what this thread may use */
} Spinner;

static void stay_on(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof(set), &set);
}

static gpointer spin(gpointer data)
{
    Spinner *self = data;

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

static void spinner_start(Spinner *self)
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

static void spinner_clear(Spinner *self)
{
    if (self->thread) {
        g_atomic_int_set(&self->stop, TRUE);
        g_thread_join(self->thread);
        sched_setaffinity(0, sizeof(self->before), &self->before);
    }
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Spinner, spinner_clear)

/* Devices */

/* (transfer full): an -object line that both programs take */
static char *object_line(const BenchOptions *options,
                         const BenchPlugMemory *memory)
{
    return g_strdup_printf("memory-backend-%s,id=m0,size=%" G_GUINT64_FORMAT
                           ",reserve=off,prealloc-threads=%u",
                           memory->line, options->size,
                           g_array_index(options->threads, guint, 0));
}

static void devices_clear(Devices *self)
{
    g_clear_object(&self->device);
    g_clear_object(&self->backend);
    g_clear_pointer(&self->qemu, bench_qemu_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Devices, devices_clear)

static gboolean make_ours(Devices *self, const BenchOptions *options,
                          const char *line, gboolean prealloc, GError **error)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    HostmemObject *backend = hostmem_registry_add(registry, line, NULL, error);

    if (!backend) {
        return FALSE;
    }
    self->backend = HOSTMEM_BACKEND(g_object_ref(backend));
    self->device = g_initable_new(
        HOSTMEM_TYPE_VIRTIO_MEM, NULL, error, "memdev", backend, "memaddr",
        BENCH_MEMADDR, "block-size", BENCH_BLOCK_SIZE, "requested-size",
        options->size, "prealloc", prealloc, NULL);
    return self->device != NULL;
}

static gboolean check_room(const BenchOptions *options,
                           const BenchPlugMemory *memory, GError **error)
{
    return memory->pool ? bench_room_check_huge_pages(options->size, error)
                        : bench_room_check_memory(options->size, error);
}

static gboolean make_devices(Devices *self, const BenchOptions *options,
                             BenchPlugCell *cell, GError **error)
{
    g_autofree char *line = object_line(options, cell->memory);
    g_autoptr(GError) why = NULL;

    if (!check_room(options, cell->memory, error) ||
        !make_ours(self, options, line, cell->prealloc, error)) {
        return FALSE;
    }
    if (cell->opponent == BENCH_PLUG_QEMU) {
        self->qemu = bench_qemu_new(options->qemu, line, options->size,
                                    cell->prealloc, &why);
        cell->alone = why ? g_strdup(why->message) : NULL;
    }
    return TRUE;
}

static void measure(BenchPlugCell *cell, const BenchOptions *options)
{
    g_auto(Devices) devices = {0};
    g_auto(Spinner) spinner = {0};
    g_autoptr(GError) error = NULL;

    if (!make_devices(&devices, options, cell, &error)) {
        cell->skipped = g_strdup(error->message);
        return;
    }
    if (cell->opponent == BENCH_PLUG_BY_HAND) {
        spinner_start(&spinner);
    }
    measure_cell(&devices, options, cell);
}

/* Nanoseconds; 0 when it could not be measured. */
static double measure_roof(const BenchOptions *options)
{
    BenchSamples samples = {0};

    for (guint i = 0; i < options->runs; i++) {
        gint64 ns = bench_measure(
            bench_kind_anonymous(), bench_method_write(), FALSE, options->size,
            g_array_index(options->threads, guint, 0), options, NULL);
        if (ns < 0) {
            return 0;
        }
        bench_samples_add(&samples, ns);
    }
    return bench_samples_least(&samples);
}

BenchReport *bench_plug_run(const BenchOptions *options)
{
    g_autoptr(GPtrArray) cells = list_cells(options);
    g_autoptr(BenchProgress) progress =
        bench_progress_new(options, 1 + cells->len);
    double fault_ns = 0;

    bench_progress_step(progress, "warming up");
    bench_warm_up(options);
    if (options->mode == BENCH_PLUG) {
        fault_ns = measure_roof(options);
    }
    for (guint i = 0; i < cells->len; i++) {
        BenchPlugCell *cell = cells->pdata[i];
        bench_progress_step(progress, "%s, %s, prealloc=%s", cell->memory->line,
                            cell->work->name, cell->prealloc ? "on" : "off");
        if (!cell->skipped) {
            measure(cell, options);
        }
    }
    return bench_plug_report(options, cells, fault_ns);
}
