/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/backend.h>
#include <hostmem/export-dir.h>
#include <hostmem/thread-context.h>
#include "backends/job.h"
#include "backends/object.h"
#include "util/export.h"
#include "util/hostcaps.h"
#include "util/mmap.h"
#include "util/preflight.h"
#include "util/prealloc.h"
#include "util/usage.h"

/* Larger sizes would overflow when rounded up, or when offsets are added. */
#define HM_BACKEND_MAX_SIZE (G_GUINT64_CONSTANT(1) << 62)

/*
 * What a populate leaves for the next one, when small ones come in series.
 */
typedef struct {
    HmPreflight *room; /* (nullable): holds the promise */
    guint64 left;      /* atomic; bytes of it that are not taken yet */
    gint64 until;      /* atomic; hm_os_now() microseconds: it ends */
    gint64 looked;     /* hm_os_now() microseconds; 0: never */
    HmThpPolicy thp;
    HmShmemThpPolicy shmem_thp;
} HmSeries;

/*
 * The base of all backends: hostmem.c has the class and its properties;
 * hostmem-get.c what is asked of a ready backend; hostmem-create.c the order of
 * creation and destruction; hostmem-populate.c how memory is populated;
 * hostmem-room.c and hostmem-populate-room.c whether there is room for it;
 * hostmem-prealloc.c when, and how far: "prealloc" and what goes with it;
 * hostmem-place.c on which nodes pages ended up; hostmem-thp.c where
 * transparent huge pages come from; hostmem-secure.c how far memory is made
 * sure without populating; hostmem-lock.c how it is kept in RAM;
 * hostmem-usage.c how much is there; hostmem-pool.c what comes from a
 * memory-pool; hostmem-discard.c how it is given back;
 * hostmem-resize.c how it becomes more or less, and hostmem-need.c who keeps it
 * from that; hostmem-parts.c how others get it; hostmem-export.c the name by
 * which others find it; hostmem-saved.c how it outlives the process;
 * hostmem-snapshot.c how it is saved while it is used, and hostmem-image.c how
 * it is filled from that.
 *
 * Locks, in the order in which they may be taken: change_lock, populate_lock,
 * hold_lock, extent_lock, then value_lock, report_lock or that of @usage, which
 * are innermost.
 */
struct _HostmemBackend {
    HostmemObject parent_instance;

    /* properties, as given; the live ones are behind value_lock */
    guint64 size;
    guint64 max_size; /* 0: it does not grow */
    gboolean merge;
    gboolean dump;
    gboolean prealloc;
    guint32 prealloc_threads;
    GObject *prealloc_context;
    gboolean prealloc_check;
    gboolean prealloc_async;
    gint prealloc_state;
    guint32 prealloc_deadline; /* seconds; 0: none */
    gint prealloc_priority;
    gboolean share;
    gboolean reserve;
    char *host_nodes;
    gint policy;
    gint thp;      /* HostmemOnOffAuto */
    gint mem_lock; /* HostmemMemLock */
    gboolean canonical_path;
    char *export_path;
    char *export_owner;
    char *image;
    gint64 guest_addr;            /* -1: not said */
    gint64 guest_node;            /* -1: not said */
    HostmemExportDir *export_dir; /* (nullable): of the registry; constant */
    GObject *pool;                /* (nullable): HostmemMemoryPool */

    /*
     * What creation made; constant afterwards, but for what a resize changes,
     * under change_lock, populate_lock and extent_lock: the lengths of @backing
     * and @mapping, @parts, and where @mapping is, while nobody holds the
     * backend.  Under any of the three nothing changes.
     */
    GRWLock extent_lock;
    HmBacking backing;
    HmMapping mapping;
    gboolean owned;    /* export_owner is known: */
    HmOwner owner;     /* that one */
    HmExport *export;  /* (nullable) */
    gboolean writable; /* the mapping is */
    gboolean locked;   /* the mapping is, as it comes */
    gint reserved;     /* atomic: huge pages for all of it; until a discard */
    HmIdset *nodes;    /* NULL: not bound */
    HostmemBackendPart *parts; /* NULL: private memory */
    guint n_parts;
    GPtrArray *old_parts; /* (nullable): that somebody may still look at */
    GArray
        *needs; /* (nullable) (element-type guint64): see hm_backend_need() */

    HmUsage *usage; /* what page tables had */

    struct HmPoolLoan *loan; /* (nullable): what @backing is made of */

    struct HmPopulate *pending; /* (nullable): between prepare and finish */
    gboolean resumes;           /* of creation: a job goes on with it */
    guint64 job_from;           /* where the job begins */
    char *fd_name;              /* (nullable): that its descriptor is kept by */

    GMutex populate_lock;  /* one populate at a time; guards what follows */
    HmSeries series;       /* of small ones */
    gboolean huge_advised; /* MADV_HUGEPAGE, all of the mapping */

    GMutex handover_lock; /* outermost; one is told who has it, and gets it */
    GMutex report_lock;   /* guards what follows */
    HostmemPreallocReport report;
    const HmProgress *progress; /* NULL: nothing runs */
    gint64 started_us;
    HostmemJob *job; /* (nullable): the last one; changed under change_lock */

    struct HmImage *opened_image; /* (nullable): of creation */
    struct HmCollapse *collapse;  /* owned (nullable); under report_lock */
    struct HmShooting *shooting;  /* owned: what snapshots need */
};

/** "guest-addr" or "guest-node" was not given. */
#define HM_GUEST_UNSAID (-1)

/* What differs between the types. */
struct _HostmemBackendClass {
    HostmemObjectClass parent_class;

    /* Checks the type's own properties, before anything is made. */
    gboolean (*check)(HostmemBackend *self, GError **error);
    /* Fill self->backing; the base undoes it, also after a failure. */
    gboolean (*open_backing)(HostmemBackend *self, GError **error);
    /* The same from what another process has left: hm_backend_adopt(). */
    gboolean (*adopt_backing)(HostmemBackend *self, GError **error);
    /* Whether its size may be no multiple of the page size. */
    gboolean any_size;
    /* Bytes of a huge page of the pool that it takes; 0: base pages. */
    gsize (*pool_page_size)(HostmemBackend *self);
    /* Whether its memory can have a name and an owner of its own. */
    gboolean (*check_export)(HostmemBackend *self, GError **error);
    /* Adjust how the backing will be mapped. */
    void (*mapping_options)(HostmemBackend *self, HmMappingOptions *options);
    /* Before the memory of a complete backend is unmapped for good. */
    void (*closing)(HostmemBackend *self);
};

#define HOSTMEM_BACKEND_CLASS(klass)                        \
    (G_TYPE_CHECK_CLASS_CAST((klass), HOSTMEM_TYPE_BACKEND, \
                             HostmemBackendClass))
#define HOSTMEM_BACKEND_GET_CLASS(obj)                      \
    (G_TYPE_INSTANCE_GET_CLASS((obj), HOSTMEM_TYPE_BACKEND, \
                               HostmemBackendClass))

/* The row of "share"; a type with another default has one of its own. */
#define HM_BACKEND_SHARE_ROW(default_value)                              \
    {                                                                    \
        .name = "share", .kind = HM_PROP_BOOL,                           \
        .offset = HM_PROP_FIELD(HostmemBackend, share),                  \
        .def = (default_value),                                          \
        .description = "Let others who map the same backing see writes " \
                       "(off: a private copy)",                          \
    }

/* hostmem.c */

/** "size" must be a multiple of @page_size, in QEMU's words, and "max-size". */
gboolean hm_backend_check_multiple(HostmemBackend *self, gsize page_size,
                                   GError **error);
/**
 * hm_backend_check_range: whole pages within a ready backend.
 * @verb: for the message: "populate"
 * @range: set; one that ends with the memory reaches to the end of its page
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID
 */
gboolean hm_backend_check_range(HostmemBackend *self, const char *verb,
                                guint64 offset, guint64 length, HmRange *range,
                                GError **error);
/** (transfer full): the name QEMU would give its RAM block: id or path. */
char *hm_backend_block_name(HostmemBackend *self);

/* hostmem-create.c */

gboolean hm_backend_complete(HostmemObject *object, GCancellable *cancellable,
                             GError **error);
/** All of creation that does not populate; undone when it fails. */
gboolean hm_backend_prepare(HostmemBackend *self, GCancellable *cancellable,
                            GError **error);
/** What every type says of its mapping, and this one. */
HmMappingOptions hm_backend_mapping_options(HostmemBackend *self,
                                            const char *name);
/** The steps of creation for a part of the mapping: "merge", "dump", "thp". */
void hm_backend_advise_range(HostmemBackend *self, const HmRange *range,
                             gboolean huge);
/** And "host-nodes" and "policy". */
gboolean hm_backend_bind_range(HostmemBackend *self, const HmRange *range,
                               GError **error);
/** The same of a mapping that has the policy, but for its file. */
gboolean hm_backend_bind_file(HostmemBackend *self, const HmRange *range,
                              GError **error);
/** Bind it to its nodes, or to none, once more; pages do not move. */
void hm_backend_bind_again(HostmemBackend *self);
/** Give back what creation made; a file it created stays. */
void hm_backend_close(HostmemBackend *self);
/** The same, and leave files as creation found them. */
void hm_backend_undo(HostmemBackend *self);

/** Whether it is made of what another process has left; during creation. */
gboolean hm_backend_is_restored(HostmemBackend *self);

/* hostmem-saved.c */

/** The vfunc save(). */
void hm_backend_save(HostmemObject *object, HmSaved *saved);
/**
 * hm_backend_adopt: take the descriptor that was saved.
 * @expected: but for what every backend knows: names, share, and the size
 *     unless that is another one
 *
 * Returns: FALSE with %HOSTMEM_ERROR_NOT_FOUND (it is not here), or as
 * hm_backing_adopt()
 */
gboolean hm_backend_adopt(HostmemBackend *self,
                          const HmBackingAdoptOptions *expected,
                          GError **error);
/** Have its job as it was, or have it go on when creation ends. */
void hm_backend_read_saved_job(HostmemBackend *self);

/* hostmem-parts.c */

/** Note where the mapped memory lies: for hostmem_backend_get_parts().  What
 * was noted before stays as long as @self: somebody may look at it. */
void hm_backend_set_parts(HostmemBackend *self);
void hm_backend_clear_parts(HostmemBackend *self);
/**
 * hm_backend_expose: somebody outside gets the memory, and nobody can tell for
 * how long.
 *
 * From now on a failing populate discards nothing.  Before the memory is given
 * away; any thread.
 */
void hm_backend_expose(HostmemBackend *self);
gboolean hm_backend_is_exposed(HostmemBackend *self);
/**
 * hm_backend_is_in_use: whether somebody else has it open or mapped now.
 *
 * Returns: 1 when somebody has, 0 when nobody has, or -errno: that cannot be
 * told; EINVAL: of this kind of memory
 */
int hm_backend_is_in_use(HostmemBackend *self);

/* hostmem-room.c */

/**
 * hm_backend_preflight: is there room for what creation is about to take?
 *
 * Before the backing is mapped.  Asks nothing when "prealloc-check" is off, or
 * when nothing is taken.
 */
gboolean hm_backend_preflight(HostmemBackend *self, GError **error);
/** The same for @bytes that are about to be taken, whatever for. */
gboolean hm_backend_preflight_bytes(HostmemBackend *self, guint64 bytes,
                                    GError **error);
/** (transfer full): for its memory; @reserved: huge pages are, by it. */
HmPreflight *hm_backend_new_preflight(HostmemBackend *self, gboolean reserved);
/** Whether mapping it reserves huge pages. */
gboolean hm_backend_takes_huge_pages(const HostmemBackend *self);
/** Whether populating makes pages that stay: to read a file makes none. */
gboolean hm_backend_takes_room(const HostmemBackend *self, gboolean readable);

/**
 * hm_series_take: is there room for @bytes?  Asked of the host now and then.
 *
 * Returns: FALSE with the error of hm_preflight_promise()
 */
gboolean hm_series_take(HmSeries *series, HostmemBackend *backend,
                        guint64 bytes, GError **error);
/** What was taken is there now. */
void hm_series_spend(HmSeries *series, guint64 bytes);
/** Nothing is promised any more. */
void hm_series_end(HmSeries *series);
/** Read the policies anew, if that was a while ago. */
void hm_series_look(HmSeries *series);

/* hostmem-populate.c */

/** What is asked of a populate, besides where. */
typedef struct {
    HmPreallocState state;
    HmPriority priority;
    gint64 time_limit;    /* microseconds from the start; 0: none */
    gboolean background;  /* nobody waits for it: others go first */
    gboolean keep;        /* a failure gives nothing back */
    HmProgress *progress; /* (nullable): counts there */
} HmPopulateHow;

/** A populate of a range that can be carried out: there is room for it. */
typedef struct HmPopulate HmPopulate;

/**
 * @range is checked; errors as of hostmem_backend_populate().  What is a hole
 * now, is given back after a failure: under populate_lock until it is freed, or
 * before anybody knows the backend.
 */
HmPopulate *hm_populate_new(HostmemBackend *backend, const HmRange *range,
                            const HmPopulateHow *how, GError **error);
void hm_populate_free(HmPopulate *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmPopulate, hm_populate_free)

/**
 * hm_populate_run_all: carry out populates of different backends at the same
 * time; blocks.
 * @all: (element-type HmPopulate): each once
 * @failed: index of one that failed, when it returns FALSE
 *
 * A deadline limits the time of one of them, which has an error then, and is no
 * failure.  After a failure none has populated anything.
 *
 * Returns: FALSE when one failed
 */
gboolean hm_populate_run_all(GPtrArray *all, GCancellable *cancellable,
                             guint *failed);
/** (transfer full) (nullable): why not all was populated. */
GError *hm_populate_steal_error(HmPopulate *self);

/** The same for who has populate_lock. */
gboolean hm_backend_populate_locked(HostmemBackend *self, const HmRange *range,
                                    const HmPopulateHow *how,
                                    GCancellable *cancellable, GError **error);
/** One, at once.  Blocks; @range is checked. */
gboolean hm_backend_populate_range(HostmemBackend *self, const HmRange *range,
                                   const HmPopulateHow *how,
                                   GCancellable *cancellable, GError **error);
/** Whether it can be written to; the error says what cannot. */
gboolean hm_backend_check_writable(HostmemBackend *self, GError **error);

/* hostmem-secure.c */

/**
 * hm_backend_secure: make sure that a touch of a range will not fail, without
 * populating it where there is another way.
 *
 * Reserves huge pages where reserve=on says so, and makes storage in files; of
 * memory in a tmpfs it only finds out whether there is room.  What was done
 * stays after a failure.
 *
 * Returns: FALSE as hostmem_backend_populate()
 */
gboolean hm_backend_secure(HostmemBackend *self, const HmRange *range,
                           GCancellable *cancellable, GError **error);

/* hostmem-pool.c */

/**
 * hm_backend_check_pool: do "pool" and the other properties go together?
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID, or %HOSTMEM_ERROR_BUSY (it is
 * still being created)
 */
gboolean hm_backend_check_pool(HostmemBackend *self, GError **error);
/** The same for types that say what their pages are; also without a pool. */
gboolean hm_backend_check_pool_kind(HostmemBackend *self, gsize page_size,
                                    gboolean seal, GError **error);
/** Open what the pool has, and fresh memory for the rest. */
gboolean hm_backend_open_pool(HostmemBackend *self, GError **error);
/**
 * hm_backend_adopt_loan: the same of what was lent by the pool of another
 * process, and was kept.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_NOT_FOUND, or as hm_backend_adopt()
 */
gboolean hm_backend_adopt_loan(HostmemBackend *self, GError **error);
/** Write what it has of a pool; the pool writes the rest. */
void hm_backend_save_loan(HostmemBackend *self, HmSaved *saved);
/**
 * hm_backend_give_pool_to: let a user open what he is given once more, as VMMs
 * do.
 *
 * Segments of a pool can be opened by one user alone, as whoever had them
 * before may still know them; so the last one who asked has them.  As good as
 * this process may; also without a pool.
 */
void hm_backend_give_pool_to(HostmemBackend *self, uid_t uid);
/** Once it is not mapped any more; also without a pool. */
void hm_backend_give_back_pool(HostmemBackend *self);

/* hostmem-prealloc.c */

/**
 * hm_backend_prealloc: do for all of it what "prealloc" asks for; of a ready
 * backend.
 *
 * With "prealloc-async" that is to back it, and to start a job.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_TIMED_OUT (the memory stays as far as it
 * was populated), or as hostmem_backend_populate()
 */
gboolean hm_backend_prealloc(HostmemBackend *self, GCancellable *cancellable,
                             GError **error);
/**
 * hm_backend_prealloc_more: the same for what it has grown by; under
 * change_lock and populate_lock.
 * @job: whether hm_backend_start_job() shall do the rest, when all is well
 *
 * Returns: FALSE as hostmem_backend_populate(); what a deadline leaves undone
 * is no failure
 */
gboolean hm_backend_prealloc_more(HostmemBackend *self, const HmRange *range,
                                  gboolean *job, GCancellable *cancellable,
                                  GError **error);
/** A job that populates all from @offset on; under change_lock. */
gboolean hm_backend_start_job(HostmemBackend *self, guint64 offset,
                              GError **error);
/** The last step of hm_backend_prepare(): there is room, and nobody else gets
 * it. */
gboolean hm_backend_prepare_prealloc(HostmemBackend *self, GError **error);
/**
 * hm_backends_finish: populate what "prealloc" asks for, and start jobs.
 * @backends: (element-type HostmemBackend): prepared
 * @culprit: which one failed, when it returns FALSE
 *
 * All at the same time, as one run.  After a failure all are undone.
 *
 * Returns: FALSE as hostmem_backend_populate(), or with %HOSTMEM_ERROR_LIMIT
 */
gboolean hm_backends_finish(GPtrArray *backends, GCancellable *cancellable,
                            HostmemBackend **culprit, GError **error);
/**
 * hm_backends_finish_restored: the same of those that another process has
 * left.
 *
 * What cannot be populated stays as it is; that is no failure, but a message.
 */
void hm_backends_finish_restored(GPtrArray *backends,
                                 GCancellable *cancellable);
/** Whatever runs for "prealloc" ends, before this returns. */
void hm_backend_end_job(HostmemBackend *self);

/* hostmem-place.c */

/** Where a sample of pages lies. */
typedef struct {
    guint sampled;
    guint misplaced; /* not on host-nodes */
} HmPlacement;

/**
 * hm_backend_look_at_placement: did populated pages go to "host-nodes"?
 *
 * Looks at up to 1024 pages, evenly spread.  Those elsewhere are a warning in
 * the log with policy "bind", and information with the others.  Memory that
 * is not bound, or a kernel that does not tell, gives no sample.
 */
HmPlacement hm_backend_look_at_placement(HostmemBackend *self,
                                         const HmRange *range);
/**
 * hm_backend_count_on_nodes: how much of it is populated, by NUMA node.
 * @bytes: HM_NUMA_MAX_NODES of them, added to
 *
 * The page tables say how much there is; where, a sample of up to 1024 pages,
 * evenly spread over what is there: the cost of asking for each would grow with
 * the memory.  With one node there is nothing to ask.
 */
void hm_backend_count_on_nodes(HostmemBackend *self, guint64 *bytes);

/* hostmem-usage.c */

/** Of the properties: "resident-size" and "locked-size". */
void hm_backend_get_resident_size(gpointer object, GValue *value);
void hm_backend_get_locked_size(gpointer object, GValue *value);

/* hostmem-thp.c */

/**
 * hm_backend_open_own_tmpfs: open shared memory on a private tmpfs of huge
 * pages, when "thp" and the host allow it.
 * @length: bytes, multiple of the base page size
 *
 * Returns: FALSE, and nothing is open, when other memory must do
 */
gboolean hm_backend_open_own_tmpfs(HostmemBackend *self, guint64 length);
/**
 * hm_backend_check_thp: can "thp=on" be had of the open backing?
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (the kind or size of memory has
 * none) or %HOSTMEM_ERROR_UNSUPPORTED (the host does not give any)
 */
gboolean hm_backend_check_thp(HostmemBackend *self, GError **error);
/** Advise a part of the mapping, which is not populated yet, for "thp"; with
 * @huge also if nothing forbids huge pages. */
void hm_backend_advise_thp(HostmemBackend *self, const HmRange *range,
                           gboolean huge);
/**
 * hm_backend_check_huge_tmpfs: does "thp" go with the tmpfs of "export-path"?
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID ("thp=off" on one that gives huge
 * pages whether one wants them or not)
 */
gboolean hm_backend_check_huge_tmpfs(HostmemBackend *self, GError **error);
/**
 * hm_backend_verify_thp: did "thp=on" get huge pages for a populated range?
 *
 * Before Linux 6.7 there is no telling, and it is taken for granted.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_NO_HUGE_PAGES
 */
gboolean hm_backend_verify_thp(HostmemBackend *self, const HmRange *range,
                               GError **error);

/* hostmem-need.c */

/**
 * hm_backend_need: of what its holders need, @length bytes are all for this
 * one.
 *
 * A holder that does not say so needs all there is.  For who holds it, until
 * hm_backend_need_no_more() with the same length, and before the release.
 */
void hm_backend_need(HostmemBackend *self, guint64 length);
void hm_backend_need_no_more(HostmemBackend *self, guint64 length);
/**
 * hm_backend_begin_shrink: keep everybody from holding or exposing it, if
 * nobody needs more than @size bytes.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_BUSY, and nothing to end
 */
gboolean hm_backend_begin_shrink(HostmemBackend *self, guint64 size,
                                 GError **error);
/** The same, if nobody holds it: its address may change. */
gboolean hm_backend_begin_move(HostmemBackend *self, GError **error);
/** End either; the same thread. */
void hm_backend_end_change(HostmemBackend *self);

/* hostmem-resize.c */

/** The change of "size", and hostmem_backend_resize(): under change_lock. */
gboolean hm_backend_resize(HostmemBackend *self, guint64 size,
                           HostmemResizeFlags flags, GCancellable *cancellable,
                           GError **error);

/* hostmem-export.c */

/** Where an "export-path" that is a name alone lies; before creation. */
void hm_backend_set_export_dir(HostmemBackend *self, HostmemExportDir *dir);
/** Whether "export-path" and "export-owner" can be, as far as one sees. */
gboolean hm_backend_check_export(HostmemBackend *self, GError **error);
/** (transfer full): "export-path" in full; NULL with %HOSTMEM_ERROR_INVALID. */
char *hm_backend_resolve_export(HostmemBackend *self, GError **error);
/** The step of creation: the class's open_backing(), or the named file. */
gboolean hm_backend_open(HostmemBackend *self, GError **error);
/** The same of memory, and its name, that another process has left. */
gboolean hm_backend_open_saved(HostmemBackend *self, GError **error);
/** The key of the name in what is saved. */
#define HM_SAVED_EXPORT "export"
/** All of it is ready: others may find it. */
gboolean hm_backend_publish(HostmemBackend *self, GError **error);
/** Nobody finds it any more. */
void hm_backend_withdraw(HostmemBackend *self);
/**
 * hm_backend_give_to_owner: let "export-owner" open a descriptor of the memory.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_PERMISSION or %HOSTMEM_ERROR_SYSTEM; TRUE,
 * and nothing is done, without "export-owner"
 */
gboolean hm_backend_give_to_owner(HostmemBackend *self, int fd, GError **error);
/** (transfer none) (nullable): absolute; of a complete backend. */
const char *hm_backend_get_export_path(HostmemBackend *self);
/**
 * hm_backend_get_export_uid: the user whom "export-owner" has named.
 *
 * Returns: FALSE when nobody is named, and before creation is complete
 */
gboolean hm_backend_get_export_uid(HostmemBackend *self, uid_t *uid);
