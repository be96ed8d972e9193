/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * What takes longest in reading an image into memory is to make pages one
 * fault at a time.  So memory that is populated writable anyway, or gets its
 * storage first, is filled after that.  Other memory is filled first, which
 * makes the pages that are stored, and no more: to populate it readable before
 * would map zero pages in the place of those.
 *
 * Nobody but us has the memory meanwhile, and a failure undoes its creation.
 */
#include "backends/hostmem-image.h"
#include "util/error.h"
#include "util/image.h"
#include "util/numa.h"
#include "util/os.h"

static gboolean is_wanted(HostmemBackend *self)
{
    return self->image && !hm_backend_is_restored(self);
}

gboolean hm_backend_open_image(HostmemBackend *self, GError **error)
{
    if (is_wanted(self)) {
        self->opened_image = hm_image_open(self->image, self->size, error);
        return self->opened_image != NULL;
    }
    return TRUE;
}

void hm_backend_close_image(HostmemBackend *self)
{
    g_clear_pointer(&self->opened_image, hm_image_free);
}

/* Zeroes are not stored, so there must be nothing else. */
static gboolean check_empty(HostmemBackend *self, GError **error)
{
    const HmBacking *backing = &self->backing;
    struct stat st;

    if (backing->readonly) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "'image' and 'readonly=on' are incompatible");
    }
    if (!backing->path || backing->created || backing->resized ||
        (hm_os_stat(backing->fd, &st) == 0 && st.st_blocks == 0)) {
        return TRUE;
    }
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "'image' needs empty memory, and '%s' has data in it",
                        backing->path);
}

gboolean hm_backend_check_image(HostmemBackend *self, GError **error)
{
    return !self->opened_image ||
           (hm_image_check_page_size(self->opened_image,
                                     self->backing.page_size, error) &&
            check_empty(self, error));
}

/* Filling */

static guint choose_threads(HostmemBackend *self)
{
    g_autoptr(HmIdset) cpus = NULL;

    if (self->prealloc_threads) {
        return self->prealloc_threads;
    }
    cpus = hm_numa_allowed_cpus();
    return MAX(MIN(hm_idset_count(cpus), hm_numa_cpu_quota()), 1);
}

static void report_begin(HostmemBackend *self, const HmProgress *progress,
                         guint threads)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->report_lock);

    self->progress = progress;
    self->started_us = hm_os_now();
    self->report = (HostmemPreallocReport){
        .method = "image",
        .reason = "the memory is filled from an image",
        .threads = threads,
        .total = self->mapping.length,
        .running = TRUE,
    };
}

/* What a populate said of itself counts, if there was one. */
static void report_end(HostmemBackend *self,
                       const HostmemPreallocReport *before)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->report_lock);

    self->report.running = FALSE;
    self->report.done = hm_progress_done(self->progress);
    self->report.elapsed_us = hm_os_now() - self->started_us;
    self->progress = NULL;
    if (before->method) {
        self->report = *before;
    }
}

static gboolean fill(HostmemBackend *self, GCancellable *cancellable,
                     GError **error)
{
    g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(self));
    const guint threads = choose_threads(self);
    HostmemPreallocReport before;
    HmProgress progress;
    gboolean ok;

    hostmem_backend_get_report(self, &before);
    hm_progress_start(&progress, self->mapping.length);
    report_begin(self, &progress, threads);
    ok = hm_image_load(self->opened_image, self->mapping.addr, threads,
                       cancellable, &progress, error);
    report_end(self, &before);
    hm_backend_close_image(self);
    if (!ok && !g_cancellable_is_cancelled(cancellable)) {
        g_prefix_error(error, "cannot fill %s: ", what);
    }
    return ok;
}

static gboolean is_filled_last(HostmemBackend *self)
{
    return self->prealloc &&
           self->prealloc_state != HOSTMEM_PREALLOC_STATE_READABLE;
}

static gboolean check_room(HostmemBackend *self, GError **error)
{
    const guint64 stored = hm_image_get_stored(self->opened_image);
    const gboolean reserved = hm_backend_takes_huge_pages(self);
    g_autoptr(HmPreflight) room = NULL;

    if (!self->prealloc_check || !stored) {
        return TRUE;
    }
    room = hm_backend_new_preflight(self, reserved);
    return hm_preflight_check(room, stored, error);
}

gboolean hm_backend_fill_first(HostmemBackend *self, GCancellable *cancellable,
                               GError **error)
{
    return !self->opened_image || is_filled_last(self) ||
           (check_room(self, error) && fill(self, cancellable, error));
}

gboolean hm_backend_fill_last(HostmemBackend *self, GCancellable *cancellable,
                              GError **error)
{
    return !self->opened_image || fill(self, cancellable, error);
}
