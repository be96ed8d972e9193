/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/job.h>
#include <hostmem/memory-pool.h>
#include <hostmem/object.h>

G_BEGIN_DECLS

/**
 * HostmemBackend:
 *
 * Host RAM that a VM maps as guest RAM; abstract base of -ram, -file, -memfd
 * and -shm.  g_initable_new() checks the properties, maps, advises, binds to
 * NUMA nodes and populates, in that order: a backend you hold is ready.  The
 * last unref unmaps, before it returns.
 *
 * Memory is in one of three states.  Reserved: address space only, a touch
 * may fail.  Backed: storage is guaranteed, a touch cannot fail for lack of
 * it.  Populated: page tables are there, a touch does not fault.  Private
 * anonymous memory has no backed state.
 *
 * Offsets and lengths are bytes from the start of the backend, multiples of
 * the page size.  Every function may be called from any thread.
 *
 * Creation errors: %HOSTMEM_ERROR_INVALID (a property, or two that do not go
 * together), %HOSTMEM_ERROR_NOT_FOUND (file, NUMA node),
 * %HOSTMEM_ERROR_PERMISSION (file mode), %HOSTMEM_ERROR_NO_MEMORY,
 * %HOSTMEM_ERROR_NO_SPACE, %HOSTMEM_ERROR_NO_HUGE_PAGES and
 * %HOSTMEM_ERROR_LIMIT (it does not fit, and where), %HOSTMEM_ERROR_CHANGED
 * (the file shrank meanwhile), %HOSTMEM_ERROR_UNSUPPORTED,
 * %HOSTMEM_ERROR_SYSTEM, %G_IO_ERROR_CANCELLED.  After a failure nothing is
 * left behind: no mapping, no descriptor, no file that creation made.
 */
#define HOSTMEM_TYPE_BACKEND (hostmem_backend_get_type())
typedef struct _HostmemBackend HostmemBackend;
typedef struct _HostmemBackendClass HostmemBackendClass;
#define HOSTMEM_BACKEND(obj) \
    (G_TYPE_CHECK_INSTANCE_CAST((obj), HOSTMEM_TYPE_BACKEND, HostmemBackend))
#define HOSTMEM_IS_BACKEND(obj) \
    (G_TYPE_CHECK_INSTANCE_TYPE((obj), HOSTMEM_TYPE_BACKEND))
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostmemBackend, g_object_unref)

GType hostmem_backend_get_type(void) G_GNUC_CONST;

/** Anonymous memory; with "share" a memfd.  QEMU's memory-backend-ram. */
#define HOSTMEM_TYPE_BACKEND_RAM (hostmem_backend_ram_get_type())
GType hostmem_backend_ram_get_type(void) G_GNUC_CONST;

/** A file, or a temporary file in a directory.  memory-backend-file. */
#define HOSTMEM_TYPE_BACKEND_FILE (hostmem_backend_file_get_type())
GType hostmem_backend_file_get_type(void) G_GNUC_CONST;

/** A sealable memfd, also of huge pages.  memory-backend-memfd. */
#define HOSTMEM_TYPE_BACKEND_MEMFD (hostmem_backend_memfd_get_type())
GType hostmem_backend_memfd_get_type(void) G_GNUC_CONST;

/** An unlinked POSIX shared memory object.  memory-backend-shm. */
#define HOSTMEM_TYPE_BACKEND_SHM (hostmem_backend_shm_get_type())
GType hostmem_backend_shm_get_type(void) G_GNUC_CONST;

/** HostmemPolicy: NUMA memory policy of a backend, as in mbind(2). */
typedef enum {
    HOSTMEM_POLICY_DEFAULT,
    HOSTMEM_POLICY_PREFERRED,
    HOSTMEM_POLICY_BIND,
    HOSTMEM_POLICY_INTERLEAVE,
} HostmemPolicy;
#define HOSTMEM_TYPE_POLICY (hostmem_policy_get_type())
GType hostmem_policy_get_type(void) G_GNUC_CONST;

/** HostmemOnOffAuto: a switch that the library may decide. */
typedef enum {
    HOSTMEM_AUTO,
    HOSTMEM_ON,
    HOSTMEM_OFF,
} HostmemOnOffAuto;
#define HOSTMEM_TYPE_ON_OFF_AUTO (hostmem_on_off_auto_get_type())
GType hostmem_on_off_auto_get_type(void) G_GNUC_CONST;

/** HostmemPreallocState: "prealloc-state", how far memory is brought. */
typedef enum {
    HOSTMEM_PREALLOC_STATE_BACKED,
    HOSTMEM_PREALLOC_STATE_READABLE,
    HOSTMEM_PREALLOC_STATE_WRITABLE,
} HostmemPreallocState;
#define HOSTMEM_TYPE_PREALLOC_STATE (hostmem_prealloc_state_get_type())
GType hostmem_prealloc_state_get_type(void) G_GNUC_CONST;

/** HostmemPreallocPriority: "prealloc-priority", of the populating threads. */
typedef enum {
    HOSTMEM_PREALLOC_PRIORITY_NORMAL,
    HOSTMEM_PREALLOC_PRIORITY_LOW,
    HOSTMEM_PREALLOC_PRIORITY_IDLE,
} HostmemPreallocPriority;
#define HOSTMEM_TYPE_PREALLOC_PRIORITY (hostmem_prealloc_priority_get_type())
GType hostmem_prealloc_priority_get_type(void) G_GNUC_CONST;

/** HostmemMemLock: "mem-lock", what of the memory is kept from being swapped
 * out or dropped. */
typedef enum {
    HOSTMEM_MEM_LOCK_OFF,
    HOSTMEM_MEM_LOCK_ON,       /* all of it, populated when it is ready */
    HOSTMEM_MEM_LOCK_ON_FAULT, /* what is there, from when it comes */
} HostmemMemLock;
#define HOSTMEM_TYPE_MEM_LOCK (hostmem_mem_lock_get_type())
GType hostmem_mem_lock_get_type(void) G_GNUC_CONST;

/**
 * Returns: (transfer none): the first byte; NULL before creation is complete.
 * Valid until the last unref, or until somebody asks for a resize with
 * %HOSTMEM_RESIZE_MAY_MOVE; what is behind the size is not there.  Hold the
 * backend, and neither changes under you.
 */
gpointer hostmem_backend_get_host_addr(HostmemBackend *self);

/**
 * Returns: bytes, never 0: the "size" property.  It changes only by a resize:
 * ask again after hostmem_object_hold() or hostmem_backend_dup_fd(), which keep
 * the memory from becoming smaller.
 */
guint64 hostmem_backend_get_size(HostmemBackend *self);

/** Returns: guest physical address, the "guest-addr" that was given; or -1 */
gint64 hostmem_backend_get_guest_address(HostmemBackend *self);

/** Returns: NUMA node of the guest, the "guest-node" that was given; or -1 */
gint64 hostmem_backend_get_guest_node(HostmemBackend *self);

/** Returns: bytes: the "max-size" property; 0: the size was to stay. */
guint64 hostmem_backend_get_max_size(HostmemBackend *self);

/**
 * Returns: bytes; page size of what backs it: 4 KiB, 2 MiB, 1 GiB...; 0 before
 * creation is complete.  Ranges are multiples of it.  Transparent huge pages
 * come and go, and do not count.
 */
gsize hostmem_backend_get_page_size(HostmemBackend *self);

/**
 * Returns: borrowed descriptor of the backing, close-on-exec, not to be
 * closed; -1 when the memory is private anonymous, and before creation is
 * complete.
 */
int hostmem_backend_get_fd(HostmemBackend *self);

/** Returns: bytes; where the backend starts in its descriptor. */
guint64 hostmem_backend_get_fd_offset(HostmemBackend *self);

/** Returns: whether others who map the descriptor see the writes. */
gboolean hostmem_backend_get_share(HostmemBackend *self);

/**
 * HostmemBackendPart: a stretch of a backend that lies in one file.
 * @fd: borrowed descriptor of it, close-on-exec, not to be closed
 * @fd_offset: bytes; where the part starts in the file
 * @offset: bytes; where it starts in the backend
 * @length: bytes, whole pages; the last part may end behind the size of the
 *     backend
 */
typedef struct {
    int fd;
    guint64 fd_offset;
    guint64 offset;
    guint64 length;
} HostmemBackendPart;

/**
 * hostmem_backend_get_parts: where the memory of a backend lies.
 * @n_parts: (out): how many
 *
 * In ascending order, without gaps.  Another process that maps all of them
 * sees what this one writes.
 *
 * Returns: (transfer none) (array length=n_parts) (nullable): valid as long as
 * @self, and as it was when it was asked for: after a resize the last part is
 * longer or shorter; NULL, and 0 parts, when the memory is private (share=off),
 * and before creation is complete
 */
const HostmemBackendPart *hostmem_backend_get_parts(HostmemBackend *self,
                                                    guint *n_parts);

/**
 * hostmem_backend_dup_fd: a descriptor of a part, to give away.
 * @part: index in hostmem_backend_get_parts()
 *
 * The file is opened anew, for reading and writing unless the backend is
 * read-only, so that nothing but the memory is shared with who gets it: give
 * this one away, never hostmem_backend_get_fd().
 *
 * From now on the backend counts as exposed: nobody can tell who uses the
 * memory, and a failing populate leaves pages populated, as of a held object.
 * It can still be removed; the memory is then there for as long as somebody
 * else has it.  It can become larger, and smaller when nobody else has it any
 * more.  May wait while a populate that has failed, or a resize, gives pages
 * back.
 *
 * Returns: descriptor, close-on-exec, owned by the caller; or -1 with
 * %HOSTMEM_ERROR_UNSUPPORTED (private memory, or not ready),
 * %HOSTMEM_ERROR_PERMISSION (mode of the file), %HOSTMEM_ERROR_LIMIT (too many
 * open files), %HOSTMEM_ERROR_NOT_FOUND (no /proc), %HOSTMEM_ERROR_BUSY (a
 * snapshot is being taken, see hostmem_backend_snapshot()),
 * %HOSTMEM_ERROR_SYSTEM
 */
int hostmem_backend_dup_fd(HostmemBackend *self, guint part, GError **error);

/**
 * Returns: FALSE when nobody else has the memory open or mapped at this moment,
 * neither another process nor another backend on the same file; TRUE when
 * somebody has, and where the kernel cannot tell, as of private memory
 */
gboolean hostmem_backend_may_be_in_use(HostmemBackend *self);

/**
 * Returns: bytes that have a page table entry in this process now, asked of
 * the kernel; rounded to pages.  Takes time in proportion to the size.
 */
guint64 hostmem_backend_get_populated_size(HostmemBackend *self);

/**
 * Returns: bytes of these that huge pages map, transparent or of a pool; 0
 * also where the kernel does not tell, before Linux 6.7.
 */
guint64 hostmem_backend_get_populated_huge_size(HostmemBackend *self);

/**
 * Returns: bytes whose storage is guaranteed now, asked of the kernel.
 * Private anonymous memory counts what is populated; huge pages count when
 * they are reserved, until some are given back.
 */
guint64 hostmem_backend_get_backed_size(HostmemBackend *self);

/**
 * HostmemBackendUsage: how much of a backend is there, in bytes.
 * @mapped: of address space; RLIMIT_MEMLOCK counts these when it is locked
 * @backed: as hostmem_backend_get_backed_size()
 * @populated: as hostmem_backend_get_populated_size()
 * @resident: populated and in RAM, neither swapped out nor the zero page
 * @locked: resident and locked ("mem-lock", or mlock(2) by whoever embeds the
 *     library); all that is resident of huge pages of a pool, which are never
 *     swapped out
 * @huge: as hostmem_backend_get_populated_huge_size()
 * @age_us: microseconds since the part of it was looked at that was looked at
 *     longest ago
 *
 * Of this process: what others have mapped of the same file is theirs.
 */
typedef struct {
    guint64 mapped;
    guint64 backed;
    guint64 populated;
    guint64 resident;
    guint64 locked;
    guint64 huge;
    gint64 age_us;
} HostmemBackendUsage;

/**
 * hostmem_backend_get_usage: the same for who asks each second.
 *
 * From the page tables, as all that is said here of what is populated, but not
 * at any cost: the first call looks at all of them, each later one at as much
 * as it can in a twentieth of the time since the last call, and at 4 GiB at
 * least.  So what is said of memory of up to 4 GiB is as it is now, of 1 TiB in
 * huge pages a second old, and of 1 TiB in 4 KiB pages a minute old in parts,
 * for one who asks each second.  @usage is all 0 before creation is complete.
 */
void hostmem_backend_get_usage(HostmemBackend *self,
                               HostmemBackendUsage *usage);

/** Returns: (transfer none) (nullable): where its memory comes from: "pool" */
HostmemMemoryPool *hostmem_backend_get_pool(HostmemBackend *self);

/**
 * Returns: bytes of the backend that were ready in its pool; the rest is fresh
 * memory.  0 without a pool, and before creation is complete.
 */
guint64 hostmem_backend_get_pool_size(HostmemBackend *self);

/**
 * HostmemPreallocReport: how the last populate of a backend went.
 * @method: (transfer none): static text, such as "populate-write"; NULL when
 *     there was none
 * @reason: (transfer none): static text, why that method was chosen
 * @threads: workers that ran; of an automatic number those it settled on
 * @done: bytes populated so far; grows while a populate runs
 * @total: bytes to populate; 0 when there was none
 * @elapsed_us: microseconds it has taken
 * @running: whether it runs now
 * @sampled: pages whose NUMA node was looked up afterwards; 0 when the memory
 *     is not bound to host-nodes
 * @misplaced: those of them that lie on another node
 */
typedef struct {
    const char *method;
    const char *reason;
    guint threads;
    guint64 done;
    guint64 total;
    gint64 elapsed_us;
    gboolean running;
    guint sampled;
    guint misplaced;
} HostmemPreallocReport;

/** hostmem_backend_get_report: progress or result of populating @self. */
void hostmem_backend_get_report(HostmemBackend *self,
                                HostmemPreallocReport *report);

/**
 * hostmem_backend_populate: make the pages of a range exist now, writable.
 * @offset: bytes, multiple of the page size
 * @length: bytes, multiple of the page size or up to the end
 *
 * Keeps their content.  Blocks; uses the "prealloc-threads" of @self; one
 * populate of a backend runs at a time.  After a failure, pages that this call
 * populated are given back unless the backend is held (see
 * hostmem_object_hold()) or exposed (see hostmem_backend_dup_fd()); content
 * that was there before always stays.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (range, read-only memory),
 * %HOSTMEM_ERROR_NO_MEMORY, %HOSTMEM_ERROR_NO_SPACE,
 * %HOSTMEM_ERROR_NO_HUGE_PAGES, %HOSTMEM_ERROR_LIMIT, %HOSTMEM_ERROR_CHANGED,
 * %HOSTMEM_ERROR_SYSTEM or %G_IO_ERROR_CANCELLED.
 */
gboolean hostmem_backend_populate(HostmemBackend *self, guint64 offset,
                                  guint64 length, GCancellable *cancellable,
                                  GError **error);

/**
 * hostmem_backend_populate_async: the same, without waiting.
 *
 * @callback runs in the thread-default main context of the caller.  The
 * backend lives until then; cancel to be rid of it earlier.
 */
void hostmem_backend_populate_async(HostmemBackend *self, guint64 offset,
                                    guint64 length, GCancellable *cancellable,
                                    GAsyncReadyCallback callback,
                                    gpointer user_data);
/** Returns: as hostmem_backend_populate(), and %HOSTMEM_ERROR_LIMIT */
gboolean hostmem_backend_populate_finish(HostmemBackend *self,
                                         GAsyncResult *result, GError **error);

/**
 * HostmemResizeFlags: how hostmem_backend_resize() may go about it.
 * @HOSTMEM_RESIZE_IN_PLACE: the memory stays where it is
 * @HOSTMEM_RESIZE_MAY_MOVE: it may go to another address where it cannot grow
 */
typedef enum {
    HOSTMEM_RESIZE_IN_PLACE = 0,
    HOSTMEM_RESIZE_MAY_MOVE = 1 << 0,
} HostmemResizeFlags;

/**
 * hostmem_backend_resize: make a backend larger or smaller.
 * @size: bytes; what the type asks of "size", and at most "max-size" if that
 * was given
 *
 * Content stays, as far as it still has a place.  The new part has all
 * properties of the backend: policy, lock, advice, and with "prealloc" it is
 * brought to "prealloc-state", in a job if "prealloc-async" says so; without,
 * it is as what was never touched.  What is given up is discarded: a file that
 * memory is shared by ends with the memory; a sealed memfd, or a file that was
 * longer than the memory, gets a hole.  A private copy leaves its file alone.
 *
 * In place there is room up to "max-size"; hostmem_object_set() of "size" is
 * this, and refuses a backend without.  With %HOSTMEM_RESIZE_MAY_MOVE memory
 * that has no room, being without "max-size", goes to another address with all
 * its pages, if nobody holds the backend: ask for the address anew.  Locked
 * memory stays locked, and where it is locked on fault, nothing is faulted in.
 * What parts of it were given by mlock(2), mbind(2), madvise(2) or mprotect(2)
 * goes along; the new part has the properties of the backend.
 *
 * A backend does not become smaller than what somebody needs: who holds it, a
 * device, and for good who got a descriptor or can find it by name.
 *
 * Blocks, also until a populate of the backend ends.  After a failure size,
 * content and file are as before; and so is the address, unless another thread
 * has mapped something there meanwhile, or began to hold the backend.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (size; more than "max-size"; a
 * file that is too short and cannot be made longer),
 * %HOSTMEM_ERROR_UNSUPPORTED (no room to grow; memory of a pool; parts that are
 * not mapped any more, and before Linux 5.17 private huge pages, cannot move),
 * %HOSTMEM_ERROR_BUSY (being created, populated by a job, or saved by a
 * snapshot; somebody needs it), or as hostmem_backend_populate()
 */
gboolean hostmem_backend_resize(HostmemBackend *self, guint64 size,
                                HostmemResizeFlags flags,
                                GCancellable *cancellable, GError **error);

/**
 * hostmem_backend_resize_async: the same, without waiting.
 *
 * @callback runs in the thread-default main context of the caller.  The
 * backend lives until then.
 */
void hostmem_backend_resize_async(HostmemBackend *self, guint64 size,
                                  HostmemResizeFlags flags,
                                  GCancellable *cancellable,
                                  GAsyncReadyCallback callback,
                                  gpointer user_data);
/** Returns: as hostmem_backend_resize(), and %HOSTMEM_ERROR_LIMIT */
gboolean hostmem_backend_resize_finish(HostmemBackend *self,
                                       GAsyncResult *result, GError **error);

/**
 * hostmem_backend_get_job: the background population of @self.
 *
 * With "prealloc-async" a backend is ready when its memory is backed, and a
 * job populates it.  The job gives nothing back, because the memory may be in
 * use: what it populated before it failed, was cancelled or met the deadline
 * stays.  "prealloc" then reads as off, and can be set on again to go on.
 *
 * Returns: (transfer full) (nullable): the last job, until it is dismissed
 */
HostmemJob *hostmem_backend_get_job(HostmemBackend *self);

/**
 * hostmem_backend_discard: give the pages of a range back to the host.
 * @offset: bytes, multiple of the page size
 * @length: bytes, multiple of the page size or up to the end
 *
 * Anonymous and shared memory reads as zeroes afterwards, and takes no storage
 * until it is touched or populated again.  A private mapping of a file reads as
 * the file, which is not touched.  Huge pages lose their reservation: to touch
 * them again may be a SIGBUS, to populate them first is at worst an error.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (range),
 * %HOSTMEM_ERROR_UNSUPPORTED (read-only file, or one without holes),
 * %HOSTMEM_ERROR_SYSTEM; of the range some may be discarded then.
 */
gboolean hostmem_backend_discard(HostmemBackend *self, guint64 offset,
                                 guint64 length, GError **error);

/**
 * HostmemRange: a part of a backend.
 * @offset: bytes
 * @length: bytes
 */
typedef struct {
    guint64 offset;
    guint64 length;
} HostmemRange;

/**
 * hostmem_backend_discard_ranges: the same for many ranges at once.
 * @ranges: (array length=n_ranges): in any order; they may touch and overlap
 * @reached: (out) (optional): bytes from the start of the backend, see below
 *
 * Ranges that touch become one, and what the kernel takes in one call is given
 * in one: private memory from Linux 6.13, which is several times faster while
 * other threads of the process run.
 *
 * All ranges are checked before the first is discarded.  They are discarded in
 * ascending order: after a failure what lies below @reached is discarded, of
 * the range that @reached lies in some may be, and the ranges behind it are as
 * they were.  @reached is 0 when a range is invalid.
 *
 * Returns: FALSE as hostmem_backend_discard()
 */
gboolean hostmem_backend_discard_ranges(HostmemBackend *self,
                                        const HostmemRange *ranges,
                                        gsize n_ranges, guint64 *reached,
                                        GError **error);

G_END_DECLS
