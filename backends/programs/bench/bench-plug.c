/* SPDX-License-Identifier: LGPL-2.1-or-later */
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

static const BenchPlugMemory memories[] = {
    {"ram", FALSE},
    {"memfd,seal=off", FALSE},
    {"memfd", FALSE},
    {"memfd,hugetlb=on", TRUE},
};

static const BenchPlugWork plug_works[] = {
    {"requests of 2 MiB", BENCH_BLOCK_SIZE, BENCH_PLUG_CONTIGUOUS},
    {"requests of 128 MiB", 128 * BENCH_MIB, BENCH_PLUG_CONTIGUOUS},
};

static const BenchPlugWork unplug_works[] = {
    {"requests of 2 MiB", BENCH_BLOCK_SIZE, BENCH_PLUG_CONTIGUOUS},
    {"requests of 128 MiB", 128 * BENCH_MIB, BENCH_PLUG_CONTIGUOUS},
    {"every second 2 MiB by UNPLUG_ALL", BENCH_BLOCK_SIZE, BENCH_PLUG_ALL},
    {"every second 2 MiB by a list", BENCH_BLOCK_SIZE, BENCH_PLUG_RANGES},
};

static const HostmemVirtioMemRequest unplug_all = {
    .type = HOSTMEM_VIRTIO_MEM_UNPLUG_ALL,
};

/* From the start of a range to the next one. */
static guint64 stride_of(const BenchPlugWork *work)
{
    return work->scatter ? 2 * work->length : work->length;
}

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
    guint64 stride = stride_of(part.work);
    guint64 ranges = options->size / stride;

    cell->opponent = opponent;
    cell->size = ranges * part.work->length;
    cell->requests = part.work->scatter ? 1 : ranges;
    if (!ranges) {
        g_autofree char *size = hostmem_size_to_string(options->size);
        g_autofree char *least = hostmem_size_to_string(stride);
        cell->skipped = g_strdup_printf("%s is less than %s", size, least);
    }
    g_ptr_array_add(cells, cell);
}

static void add_cells(GPtrArray *cells, const BenchOptions *options,
                      const BenchPlugWork *work, gboolean prealloc,
                      BenchPlugOpponent opponent)
{
    for (guint i = 0; i < G_N_ELEMENTS(memories); i++) {
        const BenchPlugCell part = {
            .memory = &memories[i], .work = work, .prealloc = prealloc};
        add_cell(cells, options, part, opponent);
    }
}

static void add_work(GPtrArray *cells, const BenchOptions *options,
                     const BenchPlugWork *work, gboolean prealloc)
{
    if (work->scatter != BENCH_PLUG_RANGES) {
        add_cells(cells, options, work, prealloc, BENCH_PLUG_QEMU);
    }
    if (work->scatter) {
        add_cells(cells, options, work, prealloc, BENCH_PLUG_BY_HAND);
    }
}

static GPtrArray *list_cells(const BenchOptions *options)
{
    GPtrArray *cells = g_ptr_array_new_with_free_func(free_cell);
    gboolean unplug = options->mode == BENCH_UNPLUG;
    const BenchPlugWork *works = unplug ? unplug_works : plug_works;
    guint n = unplug ? G_N_ELEMENTS(unplug_works) : G_N_ELEMENTS(plug_works);

    for (guint i = 0; i < n; i++) {
        add_work(cells, options, &works[i], TRUE);
        add_work(cells, options, &works[i], FALSE);
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
    guint64 stride = stride_of(cell->work);

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

/* Measuring */

static gboolean fill(BenchDevices *self, const BenchSide *side,
                     const GArray *ranges, GError **error)
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

static gint64 unplug(BenchDevices *self, const BenchSide *side,
                     const BenchPlugCell *cell, const GArray *ranges,
                     GError **error)
{
    g_autoptr(GArray) requests =
        cell->work->scatter ? unplug_all_request()
                            : requests_for(cell, HOSTMEM_VIRTIO_MEM_UNPLUG);

    if (!cell->prealloc && !fill(self, side, ranges, error)) {
        return -1;
    }
    return side->discard ? side->discard(self, ranges, error)
                         : side->serve(self, requests, error);
}

/* What a side takes for its work; nothing is plugged before and afterwards. */
static gint64 work(BenchDevices *self, const BenchSide *side,
                   const BenchOptions *options, const BenchPlugCell *cell,
                   GError **error)
{
    g_autoptr(GArray) plugs = requests_for(cell, HOSTMEM_VIRTIO_MEM_PLUG);
    g_autoptr(GArray) rest = unplug_all_request();
    gint64 ns = side->serve(self, plugs, error);

    if (ns >= 0 && options->mode == BENCH_UNPLUG) {
        ns = unplug(self, side, cell, plugs, error);
    }
    return ns >= 0 && side->serve(self, rest, error) >= 0 ? ns : -1;
}

static gint64 work_warm(BenchDevices *self, const BenchSide *side,
                        const BenchOptions *options, const BenchPlugCell *cell,
                        GError **error)
{
    return work(self, side, options, cell, error) < 0
               ? -1
               : work(self, side, options, cell, error);
}

/* As many requests that do nothing. */
static gint64 measure_protocol(BenchDevices *self, const BenchPlugCell *cell,
                               GError **error)
{
    g_autoptr(GArray) states = requests_for(cell, HOSTMEM_VIRTIO_MEM_STATE);

    g_array_set_size(states, cell->requests);
    return bench_side_qemu.serve(self, states, error);
}

/* What QEMU itself takes. */
static gboolean measure_qemu(BenchDevices *self, const BenchOptions *options,
                             BenchPlugCell *cell, GError **error)
{
    gint64 ns = work_warm(self, &bench_side_qemu, options, cell, error);
    gint64 protocol_ns = ns < 0 ? -1 : measure_protocol(self, cell, error);

    if (protocol_ns < 0) {
        return FALSE;
    }
    bench_samples_add(&cell->theirs, MAX(ns - protocol_ns, 0));
    bench_samples_add(&cell->protocol, protocol_ns);
    return TRUE;
}

static gboolean measure_side(BenchDevices *self, const BenchSide *side,
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

static gboolean measure_pair(BenchDevices *self, const BenchOptions *options,
                             BenchPlugCell *cell, GError **error)
{
    const BenchSide *side = cell->work->scatter == BENCH_PLUG_RANGES
                                ? &bench_side_ours_by_list
                                : &bench_side_ours;

    if (!measure_side(self, side, options, cell, &cell->ours, error)) {
        return FALSE;
    }
    if (cell->opponent == BENCH_PLUG_BY_HAND) {
        return measure_side(self, &bench_side_by_hand, options, cell,
                            &cell->theirs, error);
    }
    return !self->qemu || measure_qemu(self, options, cell, error);
}

static void measure_cell(BenchDevices *self, const BenchOptions *options,
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

static void measure(BenchPlugCell *cell, const BenchOptions *options)
{
    g_auto(BenchDevices) devices = {0};
    g_auto(BenchSpinner) spinner = {0};
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) why = NULL;

    if (!bench_devices_init(&devices, options, cell->memory, cell->prealloc,
                            &error)) {
        cell->skipped = g_strdup(error->message);
        return;
    }
    if (cell->opponent == BENCH_PLUG_BY_HAND) {
        bench_spinner_start(&spinner);
    } else if (!bench_devices_add_qemu(&devices, options, cell->memory,
                                       cell->prealloc, &why)) {
        cell->alone = g_strdup(why->message);
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
