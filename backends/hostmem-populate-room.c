/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * Room is asked for before the first page, beside what other populates have
 * been promised, and again before each chunk, because running into a limit of
 * RAM is not an error but a kill.  And where the kernel refuses nevertheless,
 * its errno says nothing ("Bad address" for a full tmpfs): the same question,
 * asked once more, names the limit.
 *
 * What is there already needs no room: only missing bytes are asked for.
 */
#include "backends/hostmem-populate.h"
#include "util/error.h"
#include "util/os.h"
#include "util/size.h"

/* Room that small chunks are found at a time, and how long it is believed. */
#define ROOM_BYTES (64 * HM_MIB)
#define ROOM_US    10000

HmRangeList *hm_populate_find_holes(const HmPopulate *self)
{
    const HostmemBackend *backend = self->backend;
    HmRangeList *holes = hm_backing_holes(&backend->backing,
                                          backend->mapping.addr, &self->range);

    for (guint i = 0; i < holes->len; i++) {
        g_array_index(holes, HmRange, i).offset -= self->range.offset;
    }
    return holes;
}

static HmPreflight *populate_preflight(HmPopulate *self)
{
    if (!self->preflight) {
        self->preflight = hm_backend_new_preflight(
            self->backend, hm_backend_takes_huge_pages(self->backend));
    }
    return self->preflight;
}

/* Bytes of the range without storage; of a part, as far as its holes tell. */
static guint64 missing_bytes(HmPopulate *self)
{
    const HostmemBackend *backend = self->backend;
    const guint64 length = backend->mapping.length;
    guint64 backed =
        hm_backing_backed_size(&backend->backing, backend->mapping.addr);
    guint64 absent = length - MIN(length, backed);

    if (self->range.length < length) {
        if (!self->holes) {
            self->holes = hm_populate_find_holes(self);
        }
        return MIN(absent, hm_range_list_total(self->holes));
    }
    return absent;
}

/* An HmLeftFunc.  The file tells what fallocate has taken ahead of the pages;
 * to ask about private pages would take too long here. */
static guint64 populate_left(gpointer data)
{
    const HmPopulate *self = data;
    const HmBacking *backing = &self->backend->backing;
    guint64 done = hm_progress_done(self->progress);
    guint64 left = self->range.length - MIN(self->range.length, done);

    if (backing->shared) {
        guint64 backed = hm_backing_backed_size(backing, NULL);

        left = MIN(left, backing->length - MIN(backing->length, backed));
    }
    return MIN(left, self->promised);
}

static gboolean promise(HmPopulate *self, guint64 bytes, GError **error)
{
    self->promised = bytes;
    return hm_preflight_promise(populate_preflight(self), bytes, populate_left,
                                self, error);
}

/* What there is to do never needs more than what is missing. */
static gboolean populate_promise(HmPopulate *self, GError **error)
{
    guint64 missing;

    if (promise(self, self->range.length, NULL)) {
        return TRUE;
    }
    missing = MIN(self->range.length, missing_bytes(self));
    if (!missing || promise(self, missing, error)) {
        return TRUE;
    }
    g_prefix_error(error, "preallocating memory failed: ");
    return FALSE;
}

/* Huge pages of a pool are refused by the kernel, exactly, and kill nobody. */
gboolean hm_populate_ask(HmPopulate *self, GError **error)
{
    HostmemBackend *backend = self->backend;

    if (!self->check) {
        return TRUE;
    }
    if (!self->small) {
        hm_series_end(&backend->series); /* its promise is for us, too */
        return populate_promise(self, error);
    }
    return backend->backing.kind == HM_MEM_HUGETLB ||
           hm_series_take(&backend->series, backend, self->range.length,
                          NULL) ||
           populate_promise(self, error);
}

/* For chunks to come; FALSE: they are large, or it is getting tight. */
static gboolean find_more_room(HmPopulate *self, guint64 bytes)
{
    gint64 now = hm_os_now();

    self->found = 0;
    if (bytes >= ROOM_BYTES ||
        !hm_preflight_check(populate_preflight(self), ROOM_BYTES, NULL)) {
        return FALSE;
    }
    self->found = ROOM_BYTES;
    self->found_us = now;
    return TRUE;
}

/*
 * An HmRoomFunc.  The other workers are on their way to as much, which shows
 * nowhere yet; but all together need no more than what is missing.
 */
gboolean hm_populate_room(guint64 bytes, gpointer data, GError **error)
{
    HmPopulate *self = data;
    guint64 all;

    if (bytes <= self->found && hm_os_now() < self->found_us + ROOM_US) {
        self->found -= bytes;
        return TRUE;
    }
    if (!g_uint64_checked_mul(&all, bytes, self->threads) ||
        all > self->range.length) {
        all = self->range.length;
    }
    if (find_more_room(self, all)) {
        self->found -= bytes;
        return TRUE;
    }
    if (hm_preflight_check(populate_preflight(self), all, NULL)) {
        return TRUE;
    }
    all = MIN(all, missing_bytes(self));
    if (!all || hm_preflight_check(populate_preflight(self), all, error)) {
        return TRUE;
    }
    g_prefix_error(error, "preallocating memory failed: ");
    return FALSE;
}

/*
 * The pool of huge pages refuses, and kills nobody.  Its count falls before the
 * page that was taken is seen in the file, so that with an exact pool the other
 * workers' pages would seem to be missing.
 */
gboolean hm_populate_asks_for_room(const HmPopulate *self)
{
    return self->check && !self->small &&
           self->backend->backing.kind != HM_MEM_HUGETLB;
}

/* What was discarded of huge pages has no reservation any more, and where such
 * pages are no file tells: what could not be had is taken for new. */
static gboolean has_room(HmPopulate *self, guint64 bytes, GError **error)
{
    g_autoptr(HmPreflight) pool = NULL;

    if (self->backend->backing.kind != HM_MEM_HUGETLB) {
        return hm_preflight_check(populate_preflight(self), bytes, error);
    }
    pool = hm_backend_new_preflight(self->backend, FALSE);
    return hm_preflight_check(pool, bytes, error);
}

/*
 * Replace the kernel's errno by the limit that was hit, where one can be
 * found.  What the engine gave back has to fit again.
 */
void hm_populate_diagnose(HmPopulate *self, const HmPreallocFailure *failure,
                          GError **error)
{
    guint64 left = self->range.length - failure->done;
    g_autoptr(GError) limit = NULL;

    if (failure->err != EFAULT && failure->err != ENOMEM &&
        failure->err != ENOSPC) {
        return;
    }
    if (self->rolled_back && self->holes) {
        left = MAX(left, hm_range_list_total(self->holes));
    }
    if (self->backend->backing.kind != HM_MEM_HUGETLB) {
        left = MIN(left, missing_bytes(self));
    }
    if (left && !has_room(self, left, &limit)) {
        g_clear_error(error);
        g_propagate_prefixed_error(error, g_steal_pointer(&limit),
                                   "preallocating memory failed: ");
    }
}
