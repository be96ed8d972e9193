/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/virtio-mem.h>
#include "backends/device.h"
#include "backends/hostmem-snapshot.h"
#include "backends/virtio/block-map.h"
#include "backends/virtio/discard.h"
#include "util/bitmap.h"
#include "util/range.h"

/*
 * The device: virtio-mem.c has the class, its properties and what is asked of
 * it; virtio-mem-create.c what can fail in creation; virtio-mem-request.c the
 * requests; virtio-mem-source.c who is told of them, and the parts of the
 * region; virtio-mem-ahead.c what is made ready before it is asked for;
 * virtio-mem-status.c how a resize goes, and the signals;
 * virtio-mem-saved.c how it outlives the process;
 * virtio-mem-device.c what a transport needs.
 *
 * Locks, in the order in which they may be taken:
 *
 *   change_lock   of the object: one change of "requested-size" at a time
 *   request_lock  one request, reset or step ahead at a time; held while
 *                 memory is populated or discarded
 *   the turn      of the listeners: while the block map changes and they are
 *                 told; not while memory is populated
 *   state_lock    what is behind it below; never held long, innermost
 *
 * The block map is changed under all of the last three, that of what is ready
 * under request_lock and state_lock; each may be read under any of its locks.
 * No lock is held while a signal is emitted.
 */
struct _HostmemVirtioMem {
    HostmemDevice parent_instance;

    /* properties, as given */
    GObject *memdev;
    guint64 given_memaddr;
    guint64 given_block_size;
    guint64 given_requested_size;
    guint32 given_resize_timeout; /* seconds */
    guint32 node;
    gboolean prealloc;
    gint unplugged_inaccessible; /* HostmemOnOffAuto */
    gboolean dynamic_memslots;
    guint64 prealloc_ahead; /* bytes; 0: off */

    /* what creation found out; constant afterwards */
    guint64 memaddr;       /* guest physical */
    guint64 block_size;    /* bytes */
    guint64 region_size;   /* bytes; of the memdev when it was made */
    gboolean inaccessible; /* what is not plugged is */
    guint64 slot_size;     /* bytes */
    gboolean held;         /* the memdev is, by us */
    gboolean needs_region; /* and that much of it */

    GMutex request_lock;

    HmDiscardListeners listeners;
    HostmemVirtioMemSlotFunc slot_func; /* (nullable); of the turn, as the */
    gpointer slot_data;                 /* next two */
    GDestroyNotify slot_destroy;
    HmBitmap *slots; /* that are mapped; of the turn */

    GMutex state_lock; /* guards what follows */
    HmBlockMap *map;
    guint64 requested;     /* bytes */
    gint64 timeout_us;     /* of a resize without progress; 0: never */
    guint64 usable;        /* bytes */
    gboolean busy;         /* see hostmem_virtio_mem_set_busy() */
    gboolean serving;      /* a request, or a reset */
    GCancellable *current; /* (nullable): ends the request at work */
    guint resets;          /* that wait for the request at work */
    guint waiting;         /* requests and resets that have no turn yet */
    GCond none_waits;

    HmBlockMap *ahead;     /* (nullable): unplugged blocks that are ready */
    GThread *ahead_thread; /* (nullable): the last one, maybe at its end */
    gboolean ahead_runs;   /* it has something to do */
    gboolean ahead_rests;  /* until something happens */
    gboolean ahead_quits;

    guint64 answers[HOSTMEM_VIRTIO_MEM_ERROR + 1]; /* since the request */
    char *reason;                                  /* (nullable) */
    gint64 progress_us;           /* hm_os_now() of the last progress */
    HostmemResizeState announced; /* by the last "resize-changed" */
    guint pending;                /* signals to be emitted */
    gboolean emitting;            /* some thread does */
    gint64 logged_us; /* hm_os_now() of the last line in the log; 0 */
    guint unlogged;   /* refusals since then */
};

/** The memory of a region; complete devices only. */
static inline HostmemBackend *hm_virtio_mem_backend(HostmemVirtioMem *self)
{
    return HOSTMEM_BACKEND(self->memdev);
}

/* virtio-mem-create.c */

/** Check the properties, take the memdev and empty it. */
gboolean hm_virtio_mem_complete(HostmemObject *object,
                                GCancellable *cancellable, GError **error);
/**
 * hm_virtio_mem_check_requested: may @size be requested?
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID
 */
gboolean hm_virtio_mem_check_requested(HostmemVirtioMem *self, guint64 size,
                                       GError **error);
/** Let go of the memdev, if it is held. */
void hm_virtio_mem_release(HostmemVirtioMem *self);

/* virtio-mem-saved.c */

/** The vfunc save(). */
void hm_virtio_mem_save(HostmemObject *object, HmSaved *saved);
/**
 * hm_virtio_mem_restore: plug what was plugged, and give the rest back; of a
 * device whose state was made.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (no such blocks), or as
 * hostmem_backend_discard()
 */
gboolean hm_virtio_mem_restore(HostmemVirtioMem *self, GError **error);

/* virtio-mem-request.c */

/** Under state_lock: what "requested-size" needs is usable; nothing ceases to
 * be unless @may_shrink. */
void hm_virtio_mem_resize_usable(HostmemVirtioMem *self, gboolean may_shrink);
/**
 * hm_virtio_mem_make_ready: have memory for unplugged blocks, as "prealloc"
 * says.
 *
 * Under request_lock.  After a failure the range is discarded.
 *
 * Returns: FALSE as hostmem_backend_populate()
 */
gboolean hm_virtio_mem_make_ready(HostmemVirtioMem *self, const HmRange *range,
                                  GCancellable *cancellable, GError **error);

/* virtio-mem-device.c */

void hm_virtio_mem_device_iface_init(HostmemVirtioDeviceInterface *iface);

/* virtio-mem-source.c */

void hm_virtio_mem_source_iface_init(HostmemDiscardSourceInterface *iface);
/** Find the size of a slot. */
void hm_virtio_mem_choose_slots(HostmemVirtioMem *self);
/**
 * hm_virtio_mem_tell_plugged: ask whether a range may be plugged.
 *
 * In the turn; nothing of the range is plugged.
 *
 * Returns: FALSE with the error of who does not agree, and all is undone
 */
gboolean hm_virtio_mem_tell_plugged(HostmemVirtioMem *self,
                                    const HmRange *range, GError **error);
/** Who makes a snapshot of the memdev asks what is plugged: an HmWithUsedFunc
 * of a device. */
gboolean hm_virtio_mem_with_plugged(gpointer device, HmUsedFunc func,
                                    gpointer data, GError **error);
/** In the turn; nothing of the range is plugged any more. */
void hm_virtio_mem_tell_unplugged(HostmemVirtioMem *self, const HmRange *range);

/* virtio-mem-ahead.c; all do nothing when "prealloc-ahead" is off */

/** Start the thread when there is something to do; no lock is held. */
void hm_virtio_mem_look_ahead(HostmemVirtioMem *self);
/** Under state_lock: of these none is ready, or it is plugged. */
void hm_virtio_mem_forget_ahead(HostmemVirtioMem *self, const HmRange *range);
/** Under request_lock: give all back.  Returns: whether there was any */
gboolean hm_virtio_mem_give_back_ahead(HostmemVirtioMem *self);
/** The same, and do nothing until a block is plugged or a size requested. */
void hm_virtio_mem_rest_ahead(HostmemVirtioMem *self);
/** Nobody uses the device any more: end the thread, give all back. */
void hm_virtio_mem_end_ahead(HostmemVirtioMem *self);
/** Bytes that are ready. */
guint64 hm_virtio_mem_ahead_size(HostmemVirtioMem *self);

/* virtio-mem-status.c */

typedef enum {
    HM_PENDING_SIZE = 1 << 0,
    HM_PENDING_REQUESTED = 1 << 1,
    HM_PENDING_RESIZE = 1 << 2,
} HmPendingSignal;

/** Under state_lock: "requested-size" was set: a new resize begins. */
void hm_virtio_mem_begin_resize(HostmemVirtioMem *self);
/** Under state_lock: the size has changed. */
void hm_virtio_mem_size_changed(HostmemVirtioMem *self);
/** Count an answer, with a line in the log now and then for a BUSY. */
void hm_virtio_mem_count(HostmemVirtioMem *self, HostmemVirtioMemAnswer answer,
                         const GError *why);
/** Emit what is pending; no lock is held. */
void hm_virtio_mem_emit(HostmemVirtioMem *self);
