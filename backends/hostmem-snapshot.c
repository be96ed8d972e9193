/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * util/snapshot saves memory; here is decided whether that can be, and who has
 * to wait for it.  The start is a call that blocks for a moment, so that the
 * caller knows which moment the image is of; a job does the rest.
 *
 * Who discards is counted.  A snapshot that begins, or ends, lets nobody in and
 * waits for those who are in.
 *
 * Locks: change_lock, what the owner takes (the turn of a virtio-mem), then the
 * lock of this file, which is innermost and never held while memory is
 * protected or saved.  change_lock is only tried: whoever has it may wait.
 */
#include "backends/hostmem-snapshot.h"
#include "util/error.h"
#include "util/numa.h"
#include "util/snapshot.h"

#define MAX_THREADS 8

struct HmShooting {
    GMutex lock; /* guards what follows */
    GCond changed;
    gboolean busy;        /* a snapshot begins or goes on */
    gboolean trusting;    /* that one: others may have the memory */
    gboolean closed;      /* nobody begins to discard */
    guint discards;       /* that go on */
    HmSnapshot *snapshot; /* (nullable): that goes on */
    HostmemJob *job;      /* owned (nullable): the last one */
    HostmemSnapshotReport report;
    HmWithUsedFunc with_used; /* (nullable) */
    gpointer owner;
    guint askers; /* of @with_used, right now */
};

HmShooting *hm_shooting_new(void)
{
    HmShooting *self = g_new0(HmShooting, 1);

    g_mutex_init(&self->lock);
    g_cond_init(&self->changed);
    return self;
}

void hm_shooting_free(HmShooting *self)
{
    g_mutex_clear(&self->lock);
    g_cond_clear(&self->changed);
    g_free(self);
}

/* Discards */

void hm_backend_begin_discard(HostmemBackend *self, const HmRangeList *ranges)
{
    HmShooting *shooting = self->shooting;
    HmSnapshot *snapshot;

    g_mutex_lock(&shooting->lock);
    while (shooting->closed) {
        g_cond_wait(&shooting->changed, &shooting->lock);
    }
    shooting->discards++;
    snapshot = shooting->snapshot;
    g_mutex_unlock(&shooting->lock);
    if (snapshot) {
        hm_snapshot_save(snapshot, ranges);
    }
}

void hm_backend_end_discard(HostmemBackend *self)
{
    HmShooting *shooting = self->shooting;

    g_mutex_lock(&shooting->lock);
    shooting->discards--;
    g_cond_broadcast(&shooting->changed);
    g_mutex_unlock(&shooting->lock);
}

void hm_backend_set_owner(HostmemBackend *self, HmWithUsedFunc with_used,
                          gpointer owner)
{
    HmShooting *shooting = self->shooting;
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&shooting->lock);

    while (shooting->askers) {
        g_cond_wait(&shooting->changed, &shooting->lock);
    }
    shooting->with_used = with_used;
    shooting->owner = owner;
}

/* What can be refused */

static gboolean refuse(HostmemBackend *self, HostmemError code, const char *why,
                       GError **error)
{
    g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(self));

    return hm_set_error(error, code, "cannot take a snapshot of %s: %s", what,
                        why);
}

static gboolean has_name(HostmemBackend *self)
{
    return (self->backing.shared && self->backing.path) ||
           hm_backend_get_export_path(self);
}

static gboolean check_exposed(HostmemBackend *self, GError **error)
{
    if (hm_backend_is_exposed(self)) {
        return refuse(self, HOSTMEM_ERROR_UNSUPPORTED,
                      "its memory was given to another process, which cannot "
                      "be kept from writing; if nobody writes until it is "
                      "taken, say so with 'allow-exposed'",
                      error);
    }
    if (has_name(self)) {
        return refuse(self, HOSTMEM_ERROR_UNSUPPORTED,
                      "others find its memory by name and cannot be kept from "
                      "writing; if nobody writes until it is taken, say so "
                      "with 'allow-exposed'",
                      error);
    }
    return TRUE;
}

static gboolean check(HostmemBackend *self, GError **error)
{
    if (!hm_object_is_complete(HOSTMEM_OBJECT(self))) {
        return refuse(self, HOSTMEM_ERROR_BUSY, "it is still being created",
                      error);
    }
    return self->writable ||
           refuse(self, HOSTMEM_ERROR_UNSUPPORTED,
                  "its memory is read-only: it is what its file is", error);
}

/* Nobody changes the backend while it is marked as busy. */
static gboolean become_busy(HostmemBackend *self, gboolean trusting,
                            GError **error)
{
    HmShooting *shooting = self->shooting;
    HostmemObject *object = HOSTMEM_OBJECT(self);
    gboolean was_busy;

    if (!g_mutex_trylock(&object->change_lock)) {
        return refuse(self, HOSTMEM_ERROR_BUSY,
                      "one of its properties is being changed", error);
    }
    g_mutex_lock(&shooting->lock);
    was_busy = shooting->busy;
    shooting->busy = TRUE;
    shooting->trusting = was_busy ? shooting->trusting : trusting;
    g_mutex_unlock(&shooting->lock);
    g_mutex_unlock(&object->change_lock);
    if (was_busy) {
        return refuse(self, HOSTMEM_ERROR_BUSY, "another one is being taken",
                      error);
    }
    hostmem_object_hold(object);
    return TRUE;
}

static void become_idle(HostmemBackend *self)
{
    HmShooting *shooting = self->shooting;

    hostmem_object_release(HOSTMEM_OBJECT(self));
    g_mutex_lock(&shooting->lock);
    shooting->busy = FALSE;
    g_mutex_unlock(&shooting->lock);
}

gboolean hm_backend_is_shot(HostmemBackend *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->shooting->lock);

    return self->shooting->busy;
}

gboolean hm_backend_may_expose(HostmemBackend *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->shooting->lock);

    return !self->shooting->busy || self->shooting->trusting;
}

/* The moment */

typedef struct {
    HmShooting *shooting;
    HmSnapshot *snapshot;
} Start;

static void keep_discards_out(HmShooting *self)
{
    g_mutex_lock(&self->lock);
    self->closed = TRUE;
    while (self->discards) {
        g_cond_wait(&self->changed, &self->lock);
    }
    g_mutex_unlock(&self->lock);
}

/* @snapshot: (nullable): that saves what they take away */
static void let_discards_in(HmShooting *self, HmSnapshot *snapshot)
{
    g_mutex_lock(&self->lock);
    self->snapshot = snapshot;
    self->closed = FALSE;
    g_cond_broadcast(&self->changed);
    g_mutex_unlock(&self->lock);
}

/* An HmUsedFunc. */
static gboolean arm(const HmRangeList *used, gpointer data, GError **error)
{
    const Start *start = data;
    gboolean ok;

    keep_discards_out(start->shooting);
    ok = hm_snapshot_arm(start->snapshot, used, error);
    let_discards_in(start->shooting, ok ? start->snapshot : NULL);
    return ok;
}

static gboolean arm_all(HostmemBackend *self, Start *start, GError **error)
{
    g_autoptr(HmRangeList) all = hm_range_list_new();
    const HmRange range = {0, self->mapping.length};

    hm_range_list_add(all, &range);
    return arm(all, start, error);
}

/* Whoever calls may have what the owner waits for, so it is asked without a
 * lock, and says so. */
static gboolean ask_owner(HostmemBackend *self, Start *start, GError **error)
{
    HmShooting *shooting = self->shooting;
    HmWithUsedFunc with_used;
    gpointer owner;
    gboolean ok;

    g_mutex_lock(&shooting->lock);
    shooting->askers++;
    with_used = shooting->with_used;
    owner = shooting->owner;
    g_mutex_unlock(&shooting->lock);
    ok = with_used ? with_used(owner, arm, start, error)
                   : arm_all(self, start, error);
    g_mutex_lock(&shooting->lock);
    shooting->askers--;
    g_cond_broadcast(&shooting->changed);
    g_mutex_unlock(&shooting->lock);
    return ok;
}

static gboolean arm_used(HostmemBackend *self, HmSnapshot *snapshot,
                         GError **error)
{
    Start start = {self->shooting, snapshot};

    return ask_owner(self, &start, error);
}

/* Whoever uses it has done so. */
static void end_snapshot(HostmemBackend *self, HmSnapshot *snapshot)
{
    HmShooting *shooting = self->shooting;
    HmSnapshotStats stats;

    keep_discards_out(shooting);
    let_discards_in(shooting, NULL);
    hm_snapshot_get_stats(snapshot, &stats);
    g_mutex_lock(&shooting->lock);
    shooting->report = (HostmemSnapshotReport){
        .unit = stats.unit,
        .waits = stats.faults,
        .stored = stats.stored,
        .protect_us = stats.arm_us,
    };
    g_mutex_unlock(&shooting->lock);
    hm_snapshot_free(snapshot);
    become_idle(self);
}

/* The job */

typedef struct {
    HostmemBackend *backend; /* whose end ends the job */
    HmSnapshot *snapshot;
} Shot;

/* An HmJobFunc. */
static gboolean run_job(HostmemJob *job, gpointer data, GError **error)
{
    Shot *shot = data;
    gboolean ok =
        hm_snapshot_run(shot->snapshot, hm_job_get_cancellable(job), error);

    if (!ok && *error && (*error)->domain == HOSTMEM_ERROR) {
        g_autofree char *what =
            hm_object_describe(HOSTMEM_OBJECT(shot->backend));

        g_message("%s: no snapshot: %s", what, (*error)->message);
    }
    end_snapshot(shot->backend, shot->snapshot);
    g_free(shot);
    return ok;
}

/* (transfer full) (nullable): the old one; @job is taken. */
static HostmemJob *replace_job(HostmemBackend *self, HostmemJob *job)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->shooting->lock);
    HostmemJob *old = self->shooting->job;

    self->shooting->job = job;
    return old;
}

void hm_backend_end_snapshot(HostmemBackend *self)
{
    g_autoptr(HostmemJob) job = replace_job(self, NULL);

    if (job) {
        hm_job_end(job);
    }
}

static HostmemJob *new_job(HostmemBackend *self)
{
    const char *id = hostmem_object_get_id(HOSTMEM_OBJECT(self));
    g_autofree char *job_id =
        g_strconcat(id ? id : "", ":" HM_JOB_SNAPSHOT, NULL);

    return hm_job_new_named(HOSTMEM_OBJECT(self), job_id, HM_JOB_SNAPSHOT,
                            self->mapping.length);
}

static guint choose_threads(const HostmemSnapshotOptions *options)
{
    g_autoptr(HmIdset) cpus = NULL;

    if (options->threads) {
        return options->threads;
    }
    cpus = hm_numa_allowed_cpus();
    return CLAMP(MIN(hm_idset_count(cpus), hm_numa_cpu_quota()), 1,
                 MAX_THREADS);
}

static HmSnapshot *new_snapshot(HostmemBackend *self, const char *path,
                                const HostmemSnapshotOptions *options,
                                HostmemJob *job, GError **error)
{
    const HmSnapshotOptions how = {
        .backing = &self->backing,
        .addr = self->mapping.addr,
        .size = self->size,
        .path = path,
        .threads = choose_threads(options),
        .max_bandwidth = options->max_bandwidth,
        .progress = hm_job_get_progress(job),
    };

    return hm_snapshot_new(&how, error);
}

/* Returns: FALSE, and @snapshot is gone */
static gboolean start_job(HostmemBackend *self, HostmemJob *job,
                          HmSnapshot *snapshot, GError **error)
{
    Shot *shot = g_new(Shot, 1);

    *shot = (Shot){self, snapshot};
    /* Before it can be over: then the next one may begin. */
    replace_job(self, g_object_ref(job));
    if (hm_job_start(job, run_job, shot, error)) {
        return TRUE;
    }
    g_object_unref(replace_job(self, NULL));
    g_free(shot);
    end_snapshot(self, snapshot);
    return FALSE;
}

/* What is below does not know whose memory it is. */
static void say_of_what(HostmemBackend *self, GError **error)
{
    g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(self));

    g_prefix_error(error, "cannot take a snapshot of %s: ", what);
}

static gboolean start(HostmemBackend *self, HostmemJob *job, const char *path,
                      const HostmemSnapshotOptions *options, GError **error)
{
    HmSnapshot *snapshot = new_snapshot(self, path, options, job, error);

    if (!snapshot) {
        become_idle(self);
        return FALSE;
    }
    if (!arm_used(self, snapshot, error)) {
        end_snapshot(self, snapshot);
        return FALSE;
    }
    return start_job(self, job, snapshot, error);
}

/* The API */

HostmemJob *hostmem_backend_snapshot(HostmemBackend *self, const char *path,
                                     const HostmemSnapshotOptions *options,
                                     GError **error)
{
    const HostmemSnapshotOptions defaults = {0};
    g_autoptr(HostmemJob) job = NULL;

    g_return_val_if_fail(HOSTMEM_IS_BACKEND(self) && path, NULL);

    options = options ? options : &defaults;
    if (!check(self, error) ||
        !become_busy(self, options->allow_exposed, error)) {
        return NULL;
    }
    if (!options->allow_exposed && !check_exposed(self, error)) {
        become_idle(self);
        return NULL;
    }
    hm_backend_end_snapshot(self); /* which is over */
    job = new_job(self);
    if (!start(self, job, path, options, error)) {
        say_of_what(self, error);
        return NULL;
    }
    return g_steal_pointer(&job);
}

HostmemJob *hostmem_backend_get_snapshot_job(HostmemBackend *self)
{
    g_autoptr(GMutexLocker) locker = NULL;
    HostmemJob *job;

    g_return_val_if_fail(HOSTMEM_IS_BACKEND(self), NULL);

    locker = g_mutex_locker_new(&self->shooting->lock);
    job = self->shooting->job;
    return job && hostmem_job_get_status(job) != HOSTMEM_JOB_NULL
               ? g_object_ref(job)
               : NULL;
}

void hostmem_backend_get_snapshot_report(HostmemBackend *self,
                                         HostmemSnapshotReport *report)
{
    g_autoptr(GMutexLocker) locker = NULL;

    g_return_if_fail(HOSTMEM_IS_BACKEND(self) && report);

    locker = g_mutex_locker_new(&self->shooting->lock);
    *report = self->shooting->report;
}
