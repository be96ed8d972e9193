/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/backend.h>
#include <hostmem/device.h>
#include <hostmem/discard.h>
#include <hostmem/virtio-device.h>

G_BEGIN_DECLS

/**
 * HostmemVirtioMem:
 *
 * The device half of virtio-mem (virtio 1.2, section 5.15): a region of guest
 * physical memory whose blocks the guest plugs and unplugs at the host's wish.
 * A HostmemDevice with QEMU's properties and defaults: "memdev", "memaddr",
 * "block-size", "requested-size" (may change at any time), "node", "prealloc",
 * "unplugged-inaccessible", "dynamic-memslots"; and with some of its own, see
 * virtio-mem.rst: "prealloc-ahead", "resize-timeout".  Make one with
 * g_initable_new().  It is a HostmemVirtioDevice, for a transport, and a
 * HostmemDiscardSource whose populated memory are the blocks that are plugged.
 *
 * It holds its memdev (see hostmem_object_hold()) and owns the content: making
 * a device discards all of it, unplugging discards what is unplugged.  A file
 * of which the memdev is a private mapping is never touched.
 *
 * Every function may be called from any thread.  Requests are served one at a
 * time.  Nothing else waits for a request that takes long, because it
 * populates: whoever asks is answered at once, a new "requested-size" counts
 * for the next request, a reset ends it.
 *
 * Creation errors: %HOSTMEM_ERROR_INVALID (a property, or one that does not go
 * with the memdev), %HOSTMEM_ERROR_EXISTS (another device has the addresses),
 * %HOSTMEM_ERROR_BUSY (the memdev is held by somebody else),
 * %HOSTMEM_ERROR_UNSUPPORTED and %HOSTMEM_ERROR_SYSTEM (its memory cannot be
 * discarded).  The memdev is released after a failure; its content may be gone.
 *
 * Signals, emitted by the thread that caused them, no lock held; a handler may
 * call anything.  When causes meet, one emission may stand for several; the
 * last one tells what is true in the end.
 *
 * "size-changed" (guint64): the bytes plugged have changed.
 * "requested-size-changed" (guint64): bytes; also when set to what it was.
 * "resize-changed" (HostmemResizeState): see HostmemVirtioMemStatus.
 */
#define HOSTMEM_TYPE_VIRTIO_MEM (hostmem_virtio_mem_get_type())
typedef struct _HostmemVirtioMem HostmemVirtioMem;
#define HOSTMEM_VIRTIO_MEM(obj)                                 \
    (G_TYPE_CHECK_INSTANCE_CAST((obj), HOSTMEM_TYPE_VIRTIO_MEM, \
                                HostmemVirtioMem))
#define HOSTMEM_IS_VIRTIO_MEM(obj) \
    (G_TYPE_CHECK_INSTANCE_TYPE((obj), HOSTMEM_TYPE_VIRTIO_MEM))
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostmemVirtioMem, g_object_unref)

GType hostmem_virtio_mem_get_type(void) G_GNUC_CONST;

/** HostmemVirtioMemRequestType: values as in the virtio specification. */
typedef enum {
    HOSTMEM_VIRTIO_MEM_PLUG,
    HOSTMEM_VIRTIO_MEM_UNPLUG,
    HOSTMEM_VIRTIO_MEM_UNPLUG_ALL,
    HOSTMEM_VIRTIO_MEM_STATE,
} HostmemVirtioMemRequestType;

/**
 * HostmemVirtioMemAnswer: values as in the virtio specification.
 * @HOSTMEM_VIRTIO_MEM_ACK: it is done
 * @HOSTMEM_VIRTIO_MEM_NACK: the host does not want it
 * @HOSTMEM_VIRTIO_MEM_BUSY: not now; the guest tries again
 * @HOSTMEM_VIRTIO_MEM_ERROR: the request makes no sense
 */
typedef enum {
    HOSTMEM_VIRTIO_MEM_ACK,
    HOSTMEM_VIRTIO_MEM_NACK,
    HOSTMEM_VIRTIO_MEM_BUSY,
    HOSTMEM_VIRTIO_MEM_ERROR,
} HostmemVirtioMemAnswer;

/** HostmemVirtioMemState: of blocks; values as in the specification. */
typedef enum {
    HOSTMEM_VIRTIO_MEM_PLUGGED,
    HOSTMEM_VIRTIO_MEM_UNPLUGGED,
    HOSTMEM_VIRTIO_MEM_MIXED,
} HostmemVirtioMemState;

/**
 * HostmemVirtioMemRequest: what a guest asks for.
 * @addr: guest physical address of the first block
 * @nb_blocks: how many
 *
 * Both are ignored with %HOSTMEM_VIRTIO_MEM_UNPLUG_ALL.
 */
typedef struct {
    HostmemVirtioMemRequestType type;
    guint64 addr;
    guint16 nb_blocks;
} HostmemVirtioMemRequest;

/**
 * HostmemVirtioMemResponse:
 * @state: of the blocks, when %HOSTMEM_VIRTIO_MEM_STATE was acknowledged; else
 *     0
 */
typedef struct {
    HostmemVirtioMemAnswer answer;
    HostmemVirtioMemState state;
} HostmemVirtioMemResponse;

/**
 * hostmem_virtio_mem_request: serve one request, exactly as the guest's.
 *
 * PLUG is acknowledged when its memory is there: with "prealloc" it has been
 * populated, and huge pages are reserved, or
 * populated, in any case.  It is refused when
 * "requested-size" would be exceeded (NACK), when the memory cannot be had
 * (BUSY, and nothing of it is kept), or when one of the blocks is plugged
 * (ERROR).  UNPLUG wants all its blocks plugged (ERROR) and is not bound to
 * "requested-size".  UNPLUG_ALL also shrinks the usable region to what
 * "requested-size" needs.  All but that want blocks of the usable region
 * (ERROR).
 *
 * A handler of the device that runs within a request, such as a listener,
 * cannot make another one: BUSY.
 *
 * @error: (nullable): why it was not acknowledged, for people;
 *     %HOSTMEM_ERROR_INVALID (ERROR), %HOSTMEM_ERROR_LIMIT (NACK),
 *     %HOSTMEM_ERROR_BUSY or what hostmem_backend_populate() says (BUSY)
 */
void hostmem_virtio_mem_request(HostmemVirtioMem *self,
                                const HostmemVirtioMemRequest *request,
                                HostmemVirtioMemResponse *response,
                                GError **error);

/**
 * hostmem_virtio_mem_request_cancellable: the same, for who may lose patience.
 * @cancellable: (nullable): ends populating within a chunk: BUSY, with
 *     %G_IO_ERROR_CANCELLED
 */
void hostmem_virtio_mem_request_cancellable(
    HostmemVirtioMem *self, const HostmemVirtioMemRequest *request,
    HostmemVirtioMemResponse *response, GCancellable *cancellable,
    GError **error);

/**
 * hostmem_virtio_mem_set_requested_size: how much the guest shall plug.
 * @size: bytes, a multiple of the block size, at most the region's
 *
 * The same as setting "requested-size".  The usable region grows with it.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID
 */
gboolean hostmem_virtio_mem_set_requested_size(HostmemVirtioMem *self,
                                               guint64 size, GError **error);

/** Returns: bytes that the guest shall plug */
guint64 hostmem_virtio_mem_get_requested_size(HostmemVirtioMem *self);
/** Returns: bytes that are plugged */
guint64 hostmem_virtio_mem_get_size(HostmemVirtioMem *self);
/** Returns: bytes of a block, a power of two */
guint64 hostmem_virtio_mem_get_block_size(HostmemVirtioMem *self);
/** Returns: bytes of the region, all of the memdev */
guint64 hostmem_virtio_mem_get_region_size(HostmemVirtioMem *self);
/** Returns: bytes, from the start of the region, that requests may name */
guint64 hostmem_virtio_mem_get_usable_region_size(HostmemVirtioMem *self);
/** Returns: guest physical address of the region */
guint64 hostmem_virtio_mem_get_address(HostmemVirtioMem *self);
/** Returns: the guest's NUMA node */
guint32 hostmem_virtio_mem_get_node(HostmemVirtioMem *self);
/** Returns: (transfer none): the memory; as long as @self */
HostmemBackend *hostmem_virtio_mem_get_memdev(HostmemVirtioMem *self);

/**
 * hostmem_virtio_mem_reset: the machine resets.
 *
 * Unplugs all and shrinks the usable region; what cannot be discarded, or
 * while the device is busy, stays plugged.  A request that another thread has
 * the device serve is ended first: BUSY.  A handler that runs within a request
 * must not call this.  The reset of the device alone, by its driver, is none
 * of this: nothing is unplugged by that.
 */
void hostmem_virtio_mem_reset(HostmemVirtioMem *self);

/**
 * hostmem_virtio_mem_set_busy: have PLUG, UNPLUG and UNPLUG_ALL answered with
 * BUSY from the next one on, while memory must stay as it is: for a migration
 * or a snapshot.
 */
void hostmem_virtio_mem_set_busy(HostmemVirtioMem *self, gboolean busy);

/**
 * HostmemResizeState: how a resize goes.
 * @HOSTMEM_RESIZE_REACHED: as much is plugged as was requested
 * @HOSTMEM_RESIZE_RUNNING: not yet
 * @HOSTMEM_RESIZE_STALLED: not yet, and for "resize-timeout" seconds no request
 *     has brought it nearer: the guest does not ask, or cannot be satisfied
 */
typedef enum {
    HOSTMEM_RESIZE_REACHED,
    HOSTMEM_RESIZE_RUNNING,
    HOSTMEM_RESIZE_STALLED,
} HostmemResizeState;
#define HOSTMEM_TYPE_RESIZE_STATE (hostmem_resize_state_get_type())
GType hostmem_resize_state_get_type(void) G_GNUC_CONST;

/**
 * HostmemVirtioMemStatus: how the last resize goes.
 * @state: "resize-state"
 * @requested: bytes that the guest shall plug
 * @plugged: bytes that are plugged
 * @acks: requests acknowledged since "requested-size" was set
 * @nacks: those answered with NACK
 * @busy: those answered with BUSY
 * @errors: those answered with ERROR
 * @since_progress_us: microseconds since the size changed or "requested-size"
 *     was set
 * @reason: why the last one of them that was not acknowledged was not, UTF-8,
 *     maybe cut; "" when all were
 */
typedef struct {
    HostmemResizeState state;
    guint64 requested;
    guint64 plugged;
    guint64 acks;
    guint64 nacks;
    guint64 busy;
    guint64 errors;
    gint64 since_progress_us;
    char reason[256];
} HostmemVirtioMemStatus;

/**
 * hostmem_virtio_mem_get_status: how the last resize goes.
 *
 * The device has no clock that ticks: that a resize has stalled is noticed,
 * and "resize-changed" emitted, when somebody asks or a request comes.  Who
 * wants to be told asks now and then.
 */
void hostmem_virtio_mem_get_status(HostmemVirtioMem *self,
                                   HostmemVirtioMemStatus *status);

/**
 * HostmemVirtioMemSlotFunc: map, or unmap, a part of the region for the guest.
 * @offset: bytes from the start of the region
 * @length: bytes
 * @needed: a block in it is about to be plugged; or none is plugged any more
 * @error: set with FALSE
 *
 * Called by the thread that serves a request, as the callbacks of a listener
 * are (see HostmemDiscardListener), which are told after the memory is mapped
 * and before it is unmapped.
 *
 * Returns: FALSE with @error when it cannot be mapped, and the request is
 * answered with BUSY; ignored when @needed is FALSE
 */
typedef gboolean (*HostmemVirtioMemSlotFunc)(HostmemVirtioMem *self,
                                             guint64 offset, guint64 length,
                                             gboolean needed,
                                             gpointer user_data,
                                             GError **error);

/**
 * hostmem_virtio_mem_set_slot_func: have the region mapped in parts.
 * @func: called at once for the slots that are needed already
 * @destroy: (nullable): called with @user_data when @self goes, which leaves
 *     slots mapped, or after a failure, which leaves none
 *
 * With "dynamic-memslots" an embedder need not map all of the region into the
 * guest (as KVM's memory slots cost memory, and what is not mapped no guest
 * can touch) but the slots that it is told.  Slots have the size that
 * hostmem_virtio_mem_get_slot_size() says, the last one maybe less.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID ("dynamic-memslots" is off),
 * %HOSTMEM_ERROR_EXISTS (set before), %HOSTMEM_ERROR_BUSY (called in a
 * callback) or the error of @func
 */
gboolean hostmem_virtio_mem_set_slot_func(HostmemVirtioMem *self,
                                          HostmemVirtioMemSlotFunc func,
                                          gpointer user_data,
                                          GDestroyNotify destroy,
                                          GError **error);

/**
 * hostmem_virtio_mem_get_slot_size: bytes of a part of the region.
 *
 * With "dynamic-memslots" a 256th of the region, at least 1 GiB, in whole
 * blocks, as in QEMU; otherwise all of the region.
 *
 * Returns: bytes
 */
guint64 hostmem_virtio_mem_get_slot_size(HostmemVirtioMem *self);

G_END_DECLS
