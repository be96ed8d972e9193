/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * Memory that was populated in base pages, by a guest's touches or because no
 * huge page was free at the time, is copied into huge pages: MADV_COLLAPSE,
 * whatever the host's policy is.  The kernel stops at the first place where it
 * cannot; so a piece that fails is gone through place by place.  A place that
 * has no pages, or is busy, is passed over; for want of huge pages the others
 * are tried all the same, and the job says how many were without.
 *
 * The memory may shrink meanwhile: extent_lock is held for a piece.
 */
#include <errno.h>
#include <sys/mman.h>
#include "backends/hostmem-advise.h"
#include "util/align.h"
#include "util/error.h"
#include "util/hostcaps.h"
#include "util/linux-compat.h"
#include "util/os.h"
#include "util/size.h"

/* A call copies all of it, and drains the queues of all CPUs first. */
#define PIECE (32 * HM_MIB)
/* What is busy may not be a moment later. */
#define TRIES 3

typedef struct HmCollapse HmCollapse;

struct HmCollapse {
    HostmemBackend *backend; /* borrowed: it ends the job */
    HostmemJob *job;         /* owned */
    guint64 start;           /* bytes; places of huge pages */
    guint64 end;
    guint64 without; /* places that had no huge page */
};

/* The job */

static int try_collapse(guint8 *addr, gsize length)
{
    int ret = -EAGAIN;

    for (guint i = 0; i < TRIES && ret == -EAGAIN; i++) {
        ret = hm_os_advise(addr, length, MADV_COLLAPSE);
    }
    return ret;
}

static void collapse_each(HmCollapse *self, guint8 *addr, gsize length)
{
    const gsize huge_size = hm_hostcaps_get()->thp_size;

    for (gsize at = 0; at < length; at += huge_size) {
        int ret = try_collapse(addr + at, huge_size);

        self->without += ret == -ENOMEM || ret == -EBUSY;
    }
}

static void collapse_piece(HmCollapse *self, guint64 offset, guint64 length)
{
    HostmemBackend *backend = self->backend;
    g_autoptr(GRWLockReaderLocker) locker =
        g_rw_lock_reader_locker_new(&backend->extent_lock);
    guint8 *addr = backend->mapping.addr + offset;

    if (offset + length > backend->mapping.length) {
        return; /* not there any more */
    }
    if (try_collapse(addr, length) < 0) {
        collapse_each(self, addr, length);
    }
}

static gboolean tell_of_missing(const HmCollapse *self, GError **error)
{
    const gsize huge_size = hm_hostcaps_get()->thp_size;
    g_autofree char *size = hm_size_format(huge_size);
    g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(self->backend));

    return !self->without ||
           hm_set_error(error, HOSTMEM_ERROR_NO_HUGE_PAGES,
                        "no huge page of %s could be had for %" G_GUINT64_FORMAT
                        " of %" G_GUINT64_FORMAT " places of %s",
                        size, self->without,
                        (self->end - self->start) / huge_size, what);
}

/* A HmJobFunc. */
static gboolean run_job(HostmemJob *job, gpointer data, GError **error)
{
    HmCollapse *self = data;
    HmProgress *progress = hm_job_get_progress(job);

    for (guint64 at = self->start; at < self->end; at += PIECE) {
        const guint64 length = MIN(PIECE, self->end - at);

        if (g_cancellable_set_error_if_cancelled(hm_job_get_cancellable(job),
                                                 error)) {
            return FALSE;
        }
        collapse_piece(self, at, length);
        __atomic_fetch_add(&progress->done, (gint64)length, __ATOMIC_RELAXED);
    }
    return tell_of_missing(self, error);
}

/* Life */

static void collapse_free(HmCollapse *self)
{
    if (self) {
        hm_job_end(self->job);
        g_object_unref(self->job);
        g_free(self);
    }
}

static HmCollapse *replace(HostmemBackend *self, HmCollapse *collapse)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->report_lock);
    HmCollapse *old = self->collapse;

    self->collapse = collapse;
    return old;
}

void hm_backend_end_collapse(HostmemBackend *self)
{
    collapse_free(replace(self, NULL));
}

HostmemJob *hostmem_backend_get_collapse_job(HostmemBackend *self)
{
    g_autoptr(GMutexLocker) locker = NULL;

    g_return_val_if_fail(HOSTMEM_IS_BACKEND(self), NULL);

    locker = g_mutex_locker_new(&self->report_lock);
    if (!self->collapse ||
        hostmem_job_get_status(self->collapse->job) == HOSTMEM_JOB_NULL) {
        return NULL;
    }
    return g_object_ref(self->collapse->job);
}

/* Beginning */

static gboolean refuse(HostmemBackend *self, HostmemError code, const char *why,
                       GError **error)
{
    g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(self));

    return hm_set_error(error, code, "cannot collapse memory of %s: %s", what,
                        why);
}

static gboolean check(HostmemBackend *self, GError **error)
{
    g_autoptr(HostmemJob) job = hostmem_backend_get_collapse_job(self);

    if (job && !hostmem_job_is_over(job)) {
        return refuse(self, HOSTMEM_ERROR_BUSY, "a job is doing it", error);
    }
    if (self->thp == HOSTMEM_OFF) {
        return refuse(self, HOSTMEM_ERROR_INVALID, "'thp' is 'off'", error);
    }
    if (self->backing.kind != HM_MEM_ANON &&
        self->backing.kind != HM_MEM_SHMEM) {
        return refuse(self, HOSTMEM_ERROR_UNSUPPORTED,
                      "only anonymous and shared memory has transparent huge "
                      "pages",
                      error);
    }
    return (hm_hostcaps_get()->collapse && hm_hostcaps_get()->thp_size) ||
           refuse(self, HOSTMEM_ERROR_UNSUPPORTED,
                  "this kernel has no MADV_COLLAPSE (Linux 6.1)", error);
}

/* The places of huge pages that lie wholly in the range. */
static void choose_places(const HostmemBackend *self, const HmRange *range,
                          HmCollapse *collapse)
{
    const gsize huge_size = hm_hostcaps_get()->thp_size;
    const guint64 base = (guintptr)self->mapping.addr;
    guint64 start = base + range->offset;
    const guint64 end = hm_align_down(base + hm_range_end(range), huge_size);

    /* No overflow: it is mapped. */
    hm_align_up(start, huge_size, &start);
    collapse->start = start - base;
    collapse->end = MAX(start, end) - base;
}

static HmCollapse *collapse_new(HostmemBackend *backend, const HmRange *range)
{
    const char *id = hostmem_object_get_id(HOSTMEM_OBJECT(backend));
    g_autofree char *job_id =
        g_strconcat(id ? id : "", ":" HM_JOB_COLLAPSE, NULL);
    HmCollapse *self = g_new0(HmCollapse, 1);

    self->backend = backend;
    choose_places(backend, range, self);
    self->job = hm_job_new_named(HOSTMEM_OBJECT(backend), job_id,
                                 HM_JOB_COLLAPSE, self->end - self->start);
    return self;
}

static gboolean start(HostmemBackend *self, guint64 offset, guint64 length,
                      GError **error)
{
    HmCollapse *collapse;
    HmRange range;

    if (!hm_backend_check_range(self, "collapse", offset, length, &range,
                                error) ||
        !check(self, error)) {
        return FALSE;
    }
    hm_backend_end_collapse(self); /* which is over */
    collapse = collapse_new(self, &range);
    if (!hm_job_start(collapse->job, run_job, collapse, error)) {
        g_object_unref(collapse->job);
        g_free(collapse);
        return FALSE;
    }
    replace(self, collapse);
    return TRUE;
}

gboolean hm_backend_collapse(HostmemBackend *self, guint64 offset,
                             guint64 length, GError **error)
{
    g_autoptr(GMutexLocker) locker =
        g_mutex_locker_new(&HOSTMEM_OBJECT(self)->change_lock);

    return start(self, offset, length, error);
}
