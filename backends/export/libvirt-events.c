/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/export/libvirt-events.h"
#include "util/error.h"

/*
 * Theory of operation
 *
 * libvirt calls in the thread of its event loop, where nothing of ours may
 * block: what it says is put into a queue, and who waits is woken.
 */

#define EVENTS_MAX 1024

struct HmLibvirtEvents {
    gatomicrefcount count;
    const HmLibvirt *lib;

    GMutex registering; /* taken before libvirt's locks; guards @ids */
    GArray *ids;        /* (nullable): int, what libvirt has registered */

    GMutex lock; /* taken last; guards all below */
    GCond changed;
    GQueue queue;     /* HostmemLibvirtEvent */
    guint64 n;        /* there have been */
    const char *lost; /* (nullable): why the connection is no more */
};

HmLibvirtEvents *hm_libvirt_events_new(const HmLibvirt *lib)
{
    HmLibvirtEvents *self = g_new0(HmLibvirtEvents, 1);

    g_atomic_ref_count_init(&self->count);
    self->lib = lib;
    g_mutex_init(&self->registering);
    g_mutex_init(&self->lock);
    g_cond_init(&self->changed);
    g_queue_init(&self->queue);
    return self;
}

HmLibvirtEvents *hm_libvirt_events_ref(HmLibvirtEvents *self)
{
    g_atomic_ref_count_inc(&self->count);
    return self;
}

static void free_event(gpointer event)
{
    hostmem_libvirt_event_free(event);
}

void hm_libvirt_events_unref(HmLibvirtEvents *self)
{
    if (g_atomic_ref_count_dec(&self->count)) {
        g_queue_clear_full(&self->queue, free_event);
        g_mutex_clear(&self->registering);
        g_mutex_clear(&self->lock);
        g_cond_clear(&self->changed);
        g_free(self);
    }
}

/* What libvirt calls, in its thread */

static void push(HmLibvirtEvents *self, const char *kind, virDomainPtr domain,
                 const char *alias, guint64 size)
{
    HostmemLibvirtEvent *event = g_new0(HostmemLibvirtEvent, 1);
    const char *name = self->lib->virDomainGetName(domain);

    event->kind = kind;
    event->domain = g_strdup(name ? name : "");
    event->alias = g_strdup(alias);
    event->size = size;
    event->time_us = g_get_real_time();

    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);
    if (self->queue.length == EVENTS_MAX) {
        hostmem_libvirt_event_free(g_queue_pop_head(&self->queue));
    }
    g_queue_push_tail(&self->queue, event);
    self->n++;
    g_cond_broadcast(&self->changed);
}

static void on_size(G_GNUC_UNUSED virConnectPtr connection, virDomainPtr domain,
                    const char *alias, unsigned long long size, void *opaque)
{
    push(opaque, "size", domain, alias, size);
}

static void on_balloon(G_GNUC_UNUSED virConnectPtr connection,
                       virDomainPtr domain, unsigned long long actual,
                       void *opaque)
{
    push(opaque, "balloon", domain, NULL, MIN(actual, G_MAXUINT64 >> 10) << 10);
}

static void on_added(G_GNUC_UNUSED virConnectPtr connection,
                     virDomainPtr domain, const char *alias, void *opaque)
{
    push(opaque, "device-added", domain, alias, 0);
}

static void on_removed(G_GNUC_UNUSED virConnectPtr connection,
                       virDomainPtr domain, const char *alias, void *opaque)
{
    push(opaque, "device-removed", domain, alias, 0);
}

static void on_lifecycle(G_GNUC_UNUSED virConnectPtr connection,
                         virDomainPtr domain, int event,
                         G_GNUC_UNUSED int detail, void *opaque)
{
    static const char *const kinds[] = {
        [VIR_DOMAIN_EVENT_DEFINED] = "defined",
        [VIR_DOMAIN_EVENT_UNDEFINED] = "undefined",
        [VIR_DOMAIN_EVENT_STARTED] = "started",
        [VIR_DOMAIN_EVENT_SUSPENDED] = "suspended",
        [VIR_DOMAIN_EVENT_RESUMED] = "resumed",
        [VIR_DOMAIN_EVENT_STOPPED] = "stopped",
        [VIR_DOMAIN_EVENT_SHUTDOWN] = "shutdown",
        [VIR_DOMAIN_EVENT_PMSUSPENDED] = "pmsuspended",
        [VIR_DOMAIN_EVENT_CRASHED] = "crashed",
    };

    if (event >= 0 && event < (int)G_N_ELEMENTS(kinds)) {
        push(opaque, kinds[event], domain, NULL, 0);
    }
}

static void on_closed(G_GNUC_UNUSED virConnectPtr connection, int reason,
                      void *opaque)
{
    HmLibvirtEvents *self = opaque;
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    self->lost = reason == VIR_CONNECT_CLOSE_REASON_KEEPALIVE
                     ? "the other side is silent"
                     : "the other side has closed it";
    g_cond_broadcast(&self->changed);
}

static void on_forgotten(void *opaque)
{
    hm_libvirt_events_unref(opaque);
}

/* Registering; what a driver does not know it says at once */

void hm_libvirt_events_watch_close(HmLibvirtEvents *self,
                                   virConnectPtr connection)
{
    /* A driver that cannot be lost keeps nothing, and says nothing of that: so
     * nothing can be counted here. */
    self->lib->virConnectRegisterCloseCallback(connection, on_closed, self,
                                               NULL);
    self->lib->virResetLastError();
}

static const struct {
    int id;
    virConnectDomainEventGenericCallback callback;
} kinds[] = {
    {VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle)},
    {VIR_DOMAIN_EVENT_ID_MEMORY_DEVICE_SIZE_CHANGE,
     VIR_DOMAIN_EVENT_CALLBACK(on_size)},
    {VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE, VIR_DOMAIN_EVENT_CALLBACK(on_balloon)},
    {VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, VIR_DOMAIN_EVENT_CALLBACK(on_added)},
    {VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, VIR_DOMAIN_EVENT_CALLBACK(on_removed)},
};

static int add(HmLibvirtEvents *self, virConnectPtr connection, guint kind)
{
    int id = self->lib->virConnectDomainEventRegisterAny(
        connection, NULL, kinds[kind].id, kinds[kind].callback,
        hm_libvirt_events_ref(self), on_forgotten);

    if (id < 0) {
        hm_libvirt_events_unref(self);
    }
    return id;
}

/* A driver that has no events, or an older one at the other end, is no error.
 */
static gboolean is_unknown(const HmLibvirt *lib)
{
    virErrorPtr last = lib->virGetLastError();

    return last && (last->code == VIR_ERR_NO_SUPPORT ||
                    last->code == VIR_ERR_INVALID_ARG ||
                    last->code == VIR_ERR_OPERATION_UNSUPPORTED);
}

/* Of all that was registered. */
static void deregister(HmLibvirtEvents *self, virConnectPtr connection)
{
    for (guint i = 0; self->ids && i < self->ids->len; i++) {
        self->lib->virConnectDomainEventDeregisterAny(
            connection, g_array_index(self->ids, int, i));
    }
    g_clear_pointer(&self->ids, g_array_unref);
}

static gboolean listen_to_all(HmLibvirtEvents *self, virConnectPtr connection,
                              GError **error)
{
    for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
        int id = add(self, connection, i);

        if (id >= 0) {
            g_array_append_val(self->ids, id);
        } else if (!is_unknown(self->lib)) {
            return hm_libvirt_set_error(self->lib, error,
                                        "libvirt tells of no events");
        }
        self->lib->virResetLastError();
    }
    return TRUE;
}

gboolean hm_libvirt_events_listen(HmLibvirtEvents *self,
                                  virConnectPtr connection, GError **error)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->registering);

    if (self->ids) {
        return TRUE;
    }
    self->ids = g_array_new(FALSE, FALSE, sizeof(int));
    if (!listen_to_all(self, connection, error)) {
        deregister(self, connection);
        return FALSE;
    }
    return TRUE;
}

void hm_libvirt_events_forget(HmLibvirtEvents *self, virConnectPtr connection)
{
    deregister(self, connection);
    self->lib->virConnectUnregisterCloseCallback(connection, on_closed);
    self->lib->virResetLastError();
}

/* Taking */

HostmemLibvirtEvent *hm_libvirt_events_take(HmLibvirtEvents *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    return g_queue_pop_head(&self->queue);
}

guint64 hm_libvirt_events_count(HmLibvirtEvents *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    return self->n;
}

/* Waking too often is no harm. */
static void on_cancelled(G_GNUC_UNUSED GCancellable *cancellable, gpointer data)
{
    HmLibvirtEvents *self = data;
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    g_cond_broadcast(&self->changed);
}

static void wait_until(HmLibvirtEvents *self, guint64 count, gint64 until_us,
                       GCancellable *cancellable)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    while (self->n <= count && !self->lost &&
           !g_cancellable_is_cancelled(cancellable) &&
           g_cond_wait_until(&self->changed, &self->lock, until_us)) {
    }
}

static const char *why_lost(HmLibvirtEvents *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    return self->lost;
}

gboolean hm_libvirt_events_wait(HmLibvirtEvents *self, guint64 count,
                                gint64 until_us, GCancellable *cancellable,
                                GError **error)
{
    gulong id = 0;
    const char *why;

    if (cancellable) {
        id = g_cancellable_connect(cancellable, G_CALLBACK(on_cancelled), self,
                                   NULL);
    }
    wait_until(self, count, until_us, cancellable);
    if (cancellable) {
        g_cancellable_disconnect(cancellable, id);
    }
    if (g_cancellable_set_error_if_cancelled(cancellable, error)) {
        return FALSE;
    }
    why = why_lost(self);
    return !why || hm_set_error(error, HOSTMEM_ERROR_SYSTEM,
                                "the connection is lost: %s", why);
}
