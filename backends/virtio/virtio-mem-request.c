/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * A request is checked, in the order that QEMU has established, against the
 * state of the device; then its memory is made ready or discarded, which may
 * take long; then the block map is changed.  The request lock is held all the
 * way, so that nobody else changes the map in between; the state lock only for
 * a look or a change, so that everybody else may look.
 *
 * A new "requested-size" meanwhile counts from the next request on, as if it
 * had come a little later.  A reset meanwhile cancels what is being populated,
 * and waits for the request to be answered.
 *
 * What is discarded or populated for a request that fails half way has no
 * plugged block in it, so all of it can be discarded.
 */
#include "backends/hostmem.h"
#include "backends/virtio/virtio-mem.h"
#include "util/align.h"
#include "util/error.h"
#include "util/size.h"

/* A guest may plug somewhat beyond "requested-size": its own blocks may be
 * larger than ours, and some of its memory unusable for a while. */
#ifdef __aarch64__
#define USABLE_EXTENT (1024 * HM_MIB)
#else
#define USABLE_EXTENT (256 * HM_MIB)
#endif

/* State, for a look or a change */

static guint64 plugged_size(const HostmemVirtioMem *self)
{
    return hm_block_map_plugged(self->map) * self->block_size;
}

static guint64 first_block(const HostmemVirtioMem *self, const HmRange *range)
{
    return range->offset / self->block_size;
}

static guint64 n_blocks(const HostmemVirtioMem *self, const HmRange *range)
{
    return range->length / self->block_size;
}

static gboolean all_plugged(const HostmemVirtioMem *self, const HmRange *range)
{
    return hm_block_map_all_plugged(self->map, first_block(self, range),
                                    n_blocks(self, range));
}

static gboolean none_plugged(const HostmemVirtioMem *self, const HmRange *range)
{
    return hm_block_map_none_plugged(self->map, first_block(self, range),
                                     n_blocks(self, range));
}

void hm_virtio_mem_resize_usable(HostmemVirtioMem *self, gboolean may_shrink)
{
    guint64 usable = 0;

    /* No overflow: both are far below 2^63, see "size" of a backend. */
    if (self->requested) {
        usable = self->requested + USABLE_EXTENT;
        hm_align_up(usable, self->block_size, &usable);
        usable = MIN(usable, self->region_size);
    }
    if (usable > self->usable || may_shrink) {
        self->usable = usable;
    }
}

static void mark_plugged(HostmemVirtioMem *self, const HmRange *range)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->state_lock);

    hm_block_map_plug(self->map, first_block(self, range),
                      n_blocks(self, range));
    hm_virtio_mem_forget_ahead(self, range);
    self->ahead_rests = FALSE;
    hm_virtio_mem_size_changed(self);
}

static void mark_unplugged(HostmemVirtioMem *self, const HmRange *range)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->state_lock);

    if (range->length == self->region_size) { /* maybe not all of it */
        hm_block_map_unplug_all(self->map);
    } else {
        hm_block_map_unplug(self->map, first_block(self, range),
                            n_blocks(self, range));
    }
    hm_virtio_mem_forget_ahead(self, range);
    hm_virtio_mem_size_changed(self);
}

/* Checks; under state_lock */

static gboolean find_blocks(const HostmemVirtioMem *self,
                            const HostmemVirtioMemRequest *request,
                            HmRange *range, GError **error)
{
    const HmRange usable = {self->memaddr, self->usable};
    guint64 length;

    if (hm_is_aligned(request->addr, self->block_size) &&
        g_uint64_checked_mul(&length, request->nb_blocks, self->block_size) &&
        hm_range_init(range, request->addr, length) &&
        hm_range_contains(&usable, range)) {
        range->offset -= self->memaddr;
        return TRUE;
    }
    return hm_set_error(
        error, HOSTMEM_ERROR_INVALID,
        "%u blocks at 0x%" G_GINT64_MODIFIER
        "x are no blocks of the usable region, 0x%" G_GINT64_MODIFIER
        "x bytes at 0x%" G_GINT64_MODIFIER
        "x in blocks of 0x%" G_GINT64_MODIFIER "x",
        request->nb_blocks, request->addr, self->usable, self->memaddr,
        self->block_size);
}

static HostmemVirtioMemAnswer refuse(const char *what, const HmRange *range,
                                     GError **error)
{
    hm_set_error(error, HOSTMEM_ERROR_INVALID,
                 "some of the blocks at offset 0x%" G_GINT64_MODIFIER
                 "x, 0x%" G_GINT64_MODIFIER "x bytes, are %s",
                 range->offset, range->length, what);
    return HOSTMEM_VIRTIO_MEM_ERROR;
}

static HostmemVirtioMemAnswer check_busy(const HostmemVirtioMem *self,
                                         GError **error)
{
    const char *why = self->busy     ? "its memory must stay as it is for now"
                      : self->resets ? "the machine is being reset"
                                     : NULL;

    if (!why) {
        return HOSTMEM_VIRTIO_MEM_ACK;
    }
    hm_set_error(error, HOSTMEM_ERROR_BUSY, "the device is busy: %s", why);
    return HOSTMEM_VIRTIO_MEM_BUSY;
}

static HostmemVirtioMemAnswer check_plug(const HostmemVirtioMem *self,
                                         const HostmemVirtioMemRequest *request,
                                         HmRange *range, GError **error)
{
    if (!find_blocks(self, request, range, error)) {
        return HOSTMEM_VIRTIO_MEM_ERROR;
    }
    if (plugged_size(self) + range->length > self->requested) {
        hm_set_error(error, HOSTMEM_ERROR_LIMIT,
                     "0x%" G_GINT64_MODIFIER
                     "x bytes more than the 0x%" G_GINT64_MODIFIER
                     "x that are plugged would exceed "
                     "'requested-size', 0x%" G_GINT64_MODIFIER "x",
                     range->length, plugged_size(self), self->requested);
        return HOSTMEM_VIRTIO_MEM_NACK;
    }
    if (!none_plugged(self, range)) {
        return refuse("plugged already", range, error);
    }
    return check_busy(self, error);
}

static HostmemVirtioMemAnswer
check_unplug(const HostmemVirtioMem *self,
             const HostmemVirtioMemRequest *request, HmRange *range,
             GError **error)
{
    if (!find_blocks(self, request, range, error)) {
        return HOSTMEM_VIRTIO_MEM_ERROR;
    }
    if (!all_plugged(self, range)) {
        return refuse("not plugged", range, error);
    }
    return check_busy(self, error);
}

/* Memory; without state_lock */

static gboolean discard(HostmemVirtioMem *self, const HmRange *range,
                        GError **error)
{
    return hostmem_backend_discard(hm_virtio_mem_backend(self), range->offset,
                                   range->length, error);
}

/* Blocks that stay unplugged. */
static void drop(HostmemVirtioMem *self, const HmRange *range)
{
    discard(self, range, NULL);
    g_mutex_lock(&self->state_lock);
    hm_virtio_mem_forget_ahead(self, range);
    g_mutex_unlock(&self->state_lock);
}

/* Our hold keeps the backend from giving back what it populated. */
gboolean hm_virtio_mem_make_ready(HostmemVirtioMem *self, const HmRange *range,
                                  GCancellable *cancellable, GError **error)
{
    HostmemBackend *backend = hm_virtio_mem_backend(self);
    gboolean ready =
        self->prealloc
            ? hostmem_backend_populate(backend, range->offset, range->length,
                                       cancellable, error)
            : hm_backend_secure(backend, range, cancellable, error);

    if (!ready) {
        drop(self, range);
    }
    return ready;
}

/* What was made ready ahead may be what is missing. */
static gboolean make_ready(HostmemVirtioMem *self, const HmRange *range,
                           GCancellable *cancellable, GError **error)
{
    g_autoptr(GError) why = NULL;

    if (hm_virtio_mem_make_ready(self, range, cancellable, &why)) {
        return TRUE;
    }
    if (!g_cancellable_is_cancelled(cancellable) &&
        hm_virtio_mem_give_back_ahead(self)) {
        return hm_virtio_mem_make_ready(self, range, cancellable, error);
    }
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
}

/* Blocks enter and leave; memory, map and listeners change in one turn, which
 * can be had: requests in callbacks are refused long before. */

static HostmemVirtioMemAnswer enter(HostmemVirtioMem *self,
                                    const HmRange *range, GError **error)
{
    gboolean agreed;

    hm_discard_listeners_begin(&self->listeners, NULL);
    agreed = hm_virtio_mem_tell_plugged(self, range, error);
    if (agreed) {
        mark_plugged(self, range);
    } else {
        drop(self, range);
    }
    hm_discard_listeners_end(&self->listeners);
    return agreed ? HOSTMEM_VIRTIO_MEM_ACK : HOSTMEM_VIRTIO_MEM_BUSY;
}

static HostmemVirtioMemAnswer leave(HostmemVirtioMem *self,
                                    const HmRange *range, GError **error)
{
    gboolean gone;

    hm_discard_listeners_begin(&self->listeners, NULL);
    gone = discard(self, range, error);
    if (gone) {
        mark_unplugged(self, range);
        hm_virtio_mem_tell_unplugged(self, range);
    }
    hm_discard_listeners_end(&self->listeners);
    return gone ? HOSTMEM_VIRTIO_MEM_ACK : HOSTMEM_VIRTIO_MEM_BUSY;
}

/* The requests */

static HostmemVirtioMemAnswer plug(HostmemVirtioMem *self,
                                   const HostmemVirtioMemRequest *request,
                                   GCancellable *cancellable, GError **error)
{
    HostmemVirtioMemAnswer answer;
    HmRange range;

    g_mutex_lock(&self->state_lock);
    answer = check_plug(self, request, &range, error);
    g_mutex_unlock(&self->state_lock);
    if (answer != HOSTMEM_VIRTIO_MEM_ACK) {
        return answer;
    }
    return make_ready(self, &range, cancellable, error)
               ? enter(self, &range, error)
               : HOSTMEM_VIRTIO_MEM_BUSY;
}

static HostmemVirtioMemAnswer unplug(HostmemVirtioMem *self,
                                     const HostmemVirtioMemRequest *request,
                                     GError **error)
{
    HostmemVirtioMemAnswer answer;
    HmRange range;

    g_mutex_lock(&self->state_lock);
    answer = check_unplug(self, request, &range, error);
    g_mutex_unlock(&self->state_lock);
    if (answer != HOSTMEM_VIRTIO_MEM_ACK) {
        return answer;
    }
    return leave(self, &range, error);
}

static HostmemVirtioMemAnswer unplug_all(HostmemVirtioMem *self,
                                         gboolean is_reset, GError **error)
{
    /* All of the region, so that what a guest touched without plugging it
     * goes, too. */
    const HmRange all = {0, self->region_size};
    HostmemVirtioMemAnswer answer = HOSTMEM_VIRTIO_MEM_ACK;
    gboolean any;

    g_mutex_lock(&self->state_lock);
    any = plugged_size(self) > 0;
    if (any && (self->busy || !is_reset)) {
        answer = check_busy(self, error);
    }
    g_mutex_unlock(&self->state_lock);
    if (any && answer == HOSTMEM_VIRTIO_MEM_ACK) {
        answer = leave(self, &all, error);
    }
    if (answer == HOSTMEM_VIRTIO_MEM_ACK) {
        hm_virtio_mem_rest_ahead(self);
        g_mutex_lock(&self->state_lock);
        hm_virtio_mem_resize_usable(self, TRUE);
        g_mutex_unlock(&self->state_lock);
    }
    return answer;
}

static HostmemVirtioMemAnswer state(HostmemVirtioMem *self,
                                    const HostmemVirtioMemRequest *request,
                                    HostmemVirtioMemState *result,
                                    GError **error)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->state_lock);
    HmRange range;

    if (!find_blocks(self, request, &range, error)) {
        return HOSTMEM_VIRTIO_MEM_ERROR;
    }
    *result = all_plugged(self, &range)    ? HOSTMEM_VIRTIO_MEM_PLUGGED
              : none_plugged(self, &range) ? HOSTMEM_VIRTIO_MEM_UNPLUGGED
                                           : HOSTMEM_VIRTIO_MEM_MIXED;
    return HOSTMEM_VIRTIO_MEM_ACK;
}

static HostmemVirtioMemAnswer serve(HostmemVirtioMem *self,
                                    const HostmemVirtioMemRequest *request,
                                    HostmemVirtioMemState *result,
                                    GCancellable *cancellable, GError **error)
{
    switch (request->type) {
    case HOSTMEM_VIRTIO_MEM_PLUG:
        return plug(self, request, cancellable, error);
    case HOSTMEM_VIRTIO_MEM_UNPLUG:
        return unplug(self, request, error);
    case HOSTMEM_VIRTIO_MEM_UNPLUG_ALL:
        return unplug_all(self, FALSE, error);
    case HOSTMEM_VIRTIO_MEM_STATE:
        return state(self, request, result, error);
    }
    hm_set_error(error, HOSTMEM_ERROR_INVALID, "unknown request type %u",
                 request->type);
    return HOSTMEM_VIRTIO_MEM_ERROR;
}

/* One at a time */

/* A callback cannot wait for what it runs in. */
static gboolean in_callback(HostmemVirtioMem *self)
{
    return hm_discard_listeners_in_turn(&self->listeners);
}

static void begin(HostmemVirtioMem *self, GCancellable *cancellable)
{
    g_mutex_lock(&self->state_lock);
    self->waiting++;
    g_mutex_unlock(&self->state_lock);
    g_mutex_lock(&self->request_lock);
    g_mutex_lock(&self->state_lock);
    self->waiting--;
    if (!self->waiting) {
        g_cond_signal(&self->none_waits);
    }
    self->serving = TRUE;
    self->current = cancellable;
    g_mutex_unlock(&self->state_lock);
}

static void end(HostmemVirtioMem *self)
{
    g_mutex_lock(&self->state_lock);
    self->serving = FALSE;
    self->current = NULL;
    g_mutex_unlock(&self->state_lock);
    g_mutex_unlock(&self->request_lock);
    hm_virtio_mem_look_ahead(self);
}

static void pass_on_cancel(GCancellable *outer G_GNUC_UNUSED, gpointer inner)
{
    g_cancellable_cancel(inner);
}

/* A reset cancels too, and must not cancel what is the caller's. */
static HostmemVirtioMemAnswer
serve_in_turn(HostmemVirtioMem *self, const HostmemVirtioMemRequest *request,
              HostmemVirtioMemState *result, GCancellable *outer,
              GError **error)
{
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    HostmemVirtioMemAnswer answer;
    gulong handler = 0;

    if (in_callback(self)) {
        hm_set_error(error, HOSTMEM_ERROR_BUSY,
                     "the device is busy: a request cannot be made within "
                     "another one");
        return HOSTMEM_VIRTIO_MEM_BUSY;
    }
    if (outer) {
        handler =
            g_cancellable_connect(outer, G_CALLBACK(pass_on_cancel),
                                  g_object_ref(cancellable), g_object_unref);
    }
    begin(self, cancellable);
    answer = serve(self, request, result, cancellable, error);
    end(self);
    g_cancellable_disconnect(outer, handler);
    return answer;
}

void hostmem_virtio_mem_request(HostmemVirtioMem *self,
                                const HostmemVirtioMemRequest *request,
                                HostmemVirtioMemResponse *response,
                                GError **error)
{
    hostmem_virtio_mem_request_cancellable(self, request, response, NULL,
                                           error);
}

void hostmem_virtio_mem_request_cancellable(
    HostmemVirtioMem *self, const HostmemVirtioMemRequest *request,
    HostmemVirtioMemResponse *response, GCancellable *cancellable,
    GError **error)
{
    GError *why = NULL;

    g_return_if_fail(HOSTMEM_IS_VIRTIO_MEM(self) && request && response);
    g_return_if_fail(hm_object_is_complete(HOSTMEM_OBJECT(self)));

    *response = (HostmemVirtioMemResponse){0};
    response->answer =
        serve_in_turn(self, request, &response->state, cancellable, &why);
    hm_virtio_mem_count(self, response->answer, why);
    if (why) {
        g_propagate_error(error, why);
    }
    hm_virtio_mem_emit(self);
}

/* Whoever is served comes to an end soon, and nobody new before us. */
static void cancel_current(HostmemVirtioMem *self)
{
    g_autoptr(GCancellable) cancellable = NULL;

    g_mutex_lock(&self->state_lock);
    self->resets++;
    cancellable = self->current ? g_object_ref(self->current) : NULL;
    g_mutex_unlock(&self->state_lock);
    if (cancellable) {
        g_cancellable_cancel(cancellable);
    }
}

void hostmem_virtio_mem_reset(HostmemVirtioMem *self)
{
    g_autoptr(GError) error = NULL;

    g_return_if_fail(HOSTMEM_IS_VIRTIO_MEM(self));
    g_return_if_fail(hm_object_is_complete(HOSTMEM_OBJECT(self)));
    g_return_if_fail(!in_callback(self));

    cancel_current(self);
    begin(self, NULL);
    unplug_all(self, TRUE, &error);
    g_mutex_lock(&self->state_lock);
    self->resets--;
    g_mutex_unlock(&self->state_lock);
    end(self);
    if (error) {
        g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(self));

        g_message("%s: memory stays plugged over a reset: %s", what,
                  error->message);
    }
    hm_virtio_mem_emit(self);
}

void hostmem_virtio_mem_set_busy(HostmemVirtioMem *self, gboolean busy)
{
    g_return_if_fail(HOSTMEM_IS_VIRTIO_MEM(self));

    g_mutex_lock(&self->state_lock);
    self->busy = busy;
    g_mutex_unlock(&self->state_lock);
    hm_virtio_mem_look_ahead(self);
}
