/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * Room is asked for before anything is taken: see util/preflight.  To ask costs
 * as much as to populate some huge pages, which is nothing for all of a
 * backend, but too much for a guest that plugs a block of 2 MiB thousands of
 * times a second.  So the first populate of such a series is promised more than
 * it needs, and the next ones live on that.  The promise counts as taken for
 * everybody else in this process; it lasts a moment, because others take memory
 * meanwhile, and an idle backend should not keep it from them.
 */
#include "backends/hostmem.h"
#include "util/os.h"
#include "util/size.h"

/* A promise for a series, and how long it lasts. */
#define SERIES_BYTES (64 * HM_MIB)
#define SERIES_US    100000

/* A private mapping of a file fills RAM, not the file. */
static gboolean is_private_copy(const HostmemBackend *backend)
{
    return backend->backing.fd >= 0 && !backend->backing.shared;
}

HmPreflight *hm_backend_new_preflight(HostmemBackend *backend,
                                      gboolean reserved)
{
    g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(backend));
    /* Only "bind" is a limit; the other policies fall back to other nodes. */
    gboolean bound = backend->policy == HOSTMEM_POLICY_BIND;
    HmPreflightRequest request = {
        .kind = backend->backing.kind,
        .page_size = backend->backing.page_size,
        .nodes = bound ? backend->nodes : NULL,
        .fd = backend->backing.fd,
        .private_copy = is_private_copy(backend),
        .reserved = reserved,
        .locked = backend->mem_lock != HOSTMEM_MEM_LOCK_OFF,
        .what = what,
        .where = backend->backing.path,
    };

    return hm_preflight_new(&request);
}

gboolean hm_backend_takes_huge_pages(const HostmemBackend *backend)
{
    return backend->backing.kind == HM_MEM_HUGETLB && backend->reserve;
}

gboolean hm_backend_takes_room(const HostmemBackend *backend, gboolean readable)
{
    const HmBacking *backing = &backend->backing;

    return !readable || backing->fd < 0 ||
           (backing->shared && !backing->readonly);
}

gboolean hm_backend_preflight_bytes(HostmemBackend *self, guint64 bytes,
                                    GError **error)
{
    g_autoptr(HmPreflight) room = NULL;

    if (!self->prealloc_check) {
        return TRUE;
    }
    room = hm_backend_new_preflight(self, FALSE);
    if (hm_preflight_check(room, bytes, error)) {
        return TRUE;
    }
    g_prefix_error(error, self->prealloc
                              ? "preallocating memory failed: "
                              : "unable to map backing store for guest RAM: ");
    return FALSE;
}

gboolean hm_backend_preflight(HostmemBackend *self, GError **error)
{
    gboolean readable = self->prealloc_state == HOSTMEM_PREALLOC_STATE_READABLE;
    gboolean populates =
        self->prealloc && hm_backend_takes_room(self, readable);
    guint64 bytes = self->backing.length;

    if (!self->prealloc_check ||
        !(populates || hm_backend_takes_huge_pages(self))) {
        return TRUE;
    }
    bytes -= MIN(bytes, hm_backing_backed_size(&self->backing, NULL));
    return hm_backend_preflight_bytes(self, bytes, error);
}

/* A series of small populates */

/* An HmLeftFunc. */
static guint64 series_left(gpointer data)
{
    const HmSeries *series = data;
    gint64 until = __atomic_load_n(&series->until, __ATOMIC_RELAXED);

    return hm_os_now() < until
               ? __atomic_load_n(&series->left, __ATOMIC_RELAXED)
               : 0;
}

static gboolean series_promise(HmSeries *series, guint64 bytes, GError **error)
{
    __atomic_store_n(&series->left, bytes, __ATOMIC_RELAXED);
    __atomic_store_n(&series->until, hm_os_now() + SERIES_US, __ATOMIC_RELAXED);
    return hm_preflight_promise(series->room, bytes, series_left, series,
                                error);
}

gboolean hm_series_take(HmSeries *series, HostmemBackend *backend,
                        guint64 bytes, GError **error)
{
    if (series_left(series) >= bytes) {
        return TRUE;
    }
    hm_series_end(series);
    series->room = hm_backend_new_preflight(backend, FALSE);
    if ((bytes < SERIES_BYTES && series_promise(series, SERIES_BYTES, NULL)) ||
        series_promise(series, bytes, error)) {
        return TRUE;
    }
    hm_series_end(series);
    return FALSE;
}

void hm_series_spend(HmSeries *series, guint64 bytes)
{
    guint64 left = __atomic_load_n(&series->left, __ATOMIC_RELAXED);

    __atomic_store_n(&series->left, left - MIN(left, bytes), __ATOMIC_RELAXED);
}

void hm_series_end(HmSeries *series)
{
    g_clear_pointer(&series->room, hm_preflight_free);
    __atomic_store_n(&series->left, 0, __ATOMIC_RELAXED);
}

void hm_series_look(HmSeries *series)
{
    gint64 now = hm_os_now();

    if (now < series->looked + SERIES_US && series->looked) {
        return;
    }
    series->looked = now;
    series->thp = hm_hostcaps_thp();
    series->shmem_thp = hm_hostcaps_shmem_thp();
}
