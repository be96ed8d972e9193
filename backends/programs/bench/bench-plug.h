/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sched.h>
#include "bench.h"

/*
 * What 'plug' and 'unplug' tell each other: a QEMU that can be asked, a
 * virtio-mem in it, and what bench-plug.c measures for bench-plug-report.c.
 */

#define BENCH_BLOCK_SIZE (2 * BENCH_MIB)
/* Where a device's memory begins in the guest: above 4 GiB. */
#define BENCH_MEMADDR (5 * BENCH_GIB)

/* A QEMU that runs no guest, over its qtest protocol: bench-qtest.c */

/** bench_peer_new(): @argv is without options for qtest. */
BenchPeer *bench_qtest_new(const char *const *argv, int fd, GError **error);
/**
 * bench_qtest_ask: send a line and wait for the answer.
 * @value: (out) (nullable): the number it holds
 */
gboolean bench_qtest_ask(BenchPeer *self, guint64 *value, GError **error,
                         const char *format, ...) G_GNUC_PRINTF(4, 5);

/* The virtio-mem of a QEMU, through PCI and a ring: bench-qemu.c */

typedef struct BenchQemu BenchQemu;

/**
 * bench_qemu_new: start QEMU with a device that may be plugged completely.
 * @object: (transfer none): -object line of its memory, with id=m0
 * @size: bytes of it
 */
BenchQemu *bench_qemu_new(const char *program, const char *object, guint64 size,
                          gboolean prealloc, GError **error);
void bench_qemu_free(BenchQemu *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BenchQemu, bench_qemu_free)

/**
 * bench_qemu_serve: have requests served, a full queue after the other.
 *
 * Returns: nanoseconds from each notify to its answer; -1 with @error, also
 * when one is not acknowledged
 */
gint64 bench_qemu_serve(BenchQemu *self,
                        const HostmemVirtioMemRequest *requests, guint n,
                        GError **error);
/** Write to guest memory; at most some MiB. */
gboolean bench_qemu_fill(BenchQemu *self, guint64 addr, guint64 length,
                         GError **error);

/* Two devices with the same memory: bench-side.c */

/** The memory of a device. */
typedef struct {
    const char *line; /* without "memory-backend-" */
    gboolean pool;    /* of huge pages */
} BenchPlugMemory;

typedef struct {
    HostmemBackend *backend;
    HostmemVirtioMem *device;
    BenchQemu *qemu; /* (nullable) */
} BenchDevices;

/** Make a device of ours; @self is zeroes. */
gboolean bench_devices_init(BenchDevices *self, const BenchOptions *options,
                            const BenchPlugMemory *memory, gboolean prealloc,
                            GError **error);
/** Make one of QEMU too. */
gboolean bench_devices_add_qemu(BenchDevices *self, const BenchOptions *options,
                                const BenchPlugMemory *memory,
                                gboolean prealloc, GError **error);
void bench_devices_clear(BenchDevices *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BenchDevices, bench_devices_clear)

/** Who does the work; arrays are of HostmemVirtioMemRequest. */
typedef struct {
    /* Nanoseconds that requests take; -1 with @error. */
    gint64 (*serve)(BenchDevices *self, const GArray *requests, GError **error);
    /* Write to all of a range that is plugged. */
    gboolean (*fill)(BenchDevices *self, const HostmemVirtioMemRequest *range,
                     GError **error);
    /* (nullable): gives memory back in place of UNPLUG requests. */
    gint64 (*discard)(BenchDevices *self, const GArray *ranges, GError **error);
} BenchSide;

extern const BenchSide bench_side_ours;
extern const BenchSide bench_side_ours_by_list;
extern const BenchSide bench_side_qemu;
extern const BenchSide bench_side_by_hand;

/* A thread that runs on another CPU than this one: bench-spinner.c */

typedef struct {
    GThread *thread; /* NULL: there is no other CPU */
    gint stop;
    int cpu;
    cpu_set_t before; /* what this thread may use */
} BenchSpinner;

/** Start it, and stay on this CPU until bench_spinner_clear(). */
void bench_spinner_start(BenchSpinner *self);
void bench_spinner_clear(BenchSpinner *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BenchSpinner, bench_spinner_clear)

/* What is measured: bench-plug.c */

typedef enum {
    BENCH_PLUG_QEMU,
    BENCH_PLUG_BY_HAND, /* the same memory, one discarding call per block */
} BenchPlugOpponent;

/** How every second block is given back. */
typedef enum {
    BENCH_PLUG_CONTIGUOUS, /* all blocks are, with a request for each length */
    BENCH_PLUG_ALL,        /* by one UNPLUG_ALL */
    BENCH_PLUG_RANGES,     /* by one call of libhostmem, without the device */
} BenchPlugScatter;

/** What is measured. */
typedef struct {
    const char *name;
    guint64 length; /* bytes that are plugged at once */
    BenchPlugScatter scatter;
} BenchPlugWork;

typedef struct {
    const BenchPlugMemory *memory;
    const BenchPlugWork *work;
    BenchPlugOpponent opponent;
    gboolean prealloc;
    guint64 size;   /* bytes that are plugged or unplugged */
    guint requests; /* that do it */
    BenchSamples ours;
    BenchSamples theirs;   /* of the same pair at the same place; or none */
    BenchSamples protocol; /* what STATE requests cost in place of theirs */
    char *skipped;         /* (nullable): why there are no times */
    char *alone;           /* (nullable): why there are none of theirs */
} BenchPlugCell;

/**
 * @cells: (element-type BenchPlugCell)
 * @fault_ns: the least that populating all of the size took by hand; 0: nothing
 *     is to be populated
 *
 * Returns: (transfer full)
 */
BenchReport *bench_plug_report(const BenchOptions *options, GPtrArray *cells,
                               double fault_ns);
