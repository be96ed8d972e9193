/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/export/libvirt-connection.h"
#include "backends/export/libvirt-domain.h"
#include "util/error.h"
#include <hostmem/host.h>

/*
 * Theory of operation
 *
 * libvirt takes a request, and the guest follows it, or not: nobody says that
 * it has stalled.  So we look at each event, and a time or two a second because
 * an event may be of another kind, late, or unknown to the driver, and find out
 * by the clock.
 */

#define POLL_US   (700 * 1000)
#define SETTLE_US (50 * 1000)

typedef struct {
    HostmemLibvirtConnection *connection;
    virDomainPtr domain;
    char *alias; /* (nullable) */
    guint64 wanted;
    gint64 stall_us;
    HostmemLibvirtProgressFunc func;
    gpointer user_data;

    gint id; /* of this run of the domain */
    guint64 first;
    guint64 size;   /* what the guest has */
    gint64 changed; /* when that did, of g_get_monotonic_time() */
} Resize;

static gboolean refuse(Resize *self, HostmemError code, GError **error,
                       const char *format, ...) G_GNUC_PRINTF(4, 5);

static gboolean refuse(Resize *self, HostmemError code, GError **error,
                       const char *format, ...)
{
    const HmLibvirt *lib = hm_libvirt_connection_get_lib(self->connection);
    const char *name = lib->virDomainGetName(self->domain);
    g_autofree char *domain = hm_error_quote(name ? name : "");
    g_autofree char *alias = hm_error_quote(self->alias ? self->alias : "");
    va_list args;

    va_start(args, format);
    g_autofree char *why = g_strdup_vprintf(format, args);
    va_end(args);
    return hm_set_error(error, code, "%s: %s of domain %s: %s",
                        hostmem_libvirt_connection_get_uri(self->connection),
                        alias, domain, why);
}

/* Requesting */

static gboolean check(Resize *self, const HostmemLibvirtMemory *device,
                      GError **error)
{
    g_autofree char *wanted = hostmem_size_to_string(self->wanted);
    g_autofree char *size = hostmem_size_to_string(device->size);
    g_autofree char *block = hostmem_size_to_string(device->block);

    if (!g_str_equal(device->model, "virtio-mem")) {
        g_autofree char *model = hm_error_quote(device->model);

        return refuse(self, HOSTMEM_ERROR_INVALID, error,
                      "it is a %s, and only a virtio-mem changes its size",
                      model);
    }
    if (self->wanted > device->size) {
        return refuse(self, HOSTMEM_ERROR_INVALID, error,
                      "%s are more than its size, %s", wanted, size);
    }
    if (device->block && self->wanted % device->block) {
        return refuse(self, HOSTMEM_ERROR_INVALID, error,
                      "%s are no multiple of its blocks, %s", wanted, block);
    }
    return TRUE;
}

static gboolean send_request(Resize *self, const char *xml, guint index,
                             GError **error)
{
    const HmLibvirt *lib = hm_libvirt_connection_get_lib(self->connection);
    g_autofree char *device = hm_domain_update(xml, index, self->wanted, error);

    if (!device) {
        return FALSE;
    }
    return lib->virDomainUpdateDeviceFlags(self->domain, device,
                                           VIR_DOMAIN_AFFECT_LIVE) == 0 ||
           hm_libvirt_connection_fail(self->connection,
                                      "libvirt does not request it", error);
}

static gboolean request_of(Resize *self, const HostmemLibvirtDomain *domain,
                           const char *xml, const char *alias, GError **error)
{
    const HostmemLibvirtMemory *device;
    guint index;

    if (!hm_domain_find(domain, alias, &index, error)) {
        g_prefix_error(error, "%s: ",
                       hostmem_libvirt_connection_get_uri(self->connection));
        return FALSE;
    }
    device = g_ptr_array_index(domain->devices, index);
    self->alias = g_strdup(device->alias);
    self->id = domain->id;
    self->first = device->current;
    self->size = device->current;
    self->changed = g_get_monotonic_time();
    return check(self, device, error) && send_request(self, xml, index, error);
}

static gboolean request(Resize *self, const char *alias, GError **error)
{
    g_autoptr(HostmemLibvirtDomain) domain = NULL;
    char *xml = NULL;
    gboolean done;

    domain = hm_libvirt_connection_describe(self->connection, self->domain,
                                            &xml, error);
    done = domain && request_of(self, domain, xml, alias, error);
    free(xml);
    return done;
}

static gboolean resize_begin(Resize *self, const char *name, GError **error)
{
    self->domain = hm_libvirt_connection_find(self->connection, name, error);
    return self->domain != NULL;
}

static void resize_end(Resize *self)
{
    hm_libvirt_connection_get_lib(self->connection)
        ->virDomainFree(self->domain);
    g_free(self->alias);
}

gboolean hostmem_libvirt_connection_request(HostmemLibvirtConnection *self,
                                            const char *name, const char *alias,
                                            guint64 bytes, GError **error)
{
    Resize resize = {.connection = self, .wanted = bytes};
    gboolean done;

    g_return_val_if_fail(HOSTMEM_IS_LIBVIRT_CONNECTION(self) && name, FALSE);
    if (!resize_begin(&resize, name, error)) {
        return FALSE;
    }
    done = request(&resize, alias, error);
    resize_end(&resize);
    return done;
}

/* Waiting */

static gboolean refuse_stalled(Resize *self, GError **error)
{
    g_autofree char *size = hostmem_size_to_string(self->size);
    g_autofree char *wanted = hostmem_size_to_string(self->wanted);
    const char *why =
        !self->size ? "the guest has not plugged any of it: its virtio_mem "
                      "driver may be missing, or not loaded yet"
        : self->size > self->wanted
            ? "the guest does not release more: what is in use there, and "
              "cannot be moved, stays"
            : "the guest plugs no more of it, or its host has no more";

    return refuse(self, HOSTMEM_ERROR_TIMED_OUT, error,
                  "stalled at %s, and %s are requested: %s", size, wanted, why);
}

static void note(Resize *self, const HostmemLibvirtMemory *device)
{
    if (device->current != self->size) {
        self->size = device->current;
        self->changed = g_get_monotonic_time();
    }
    if (self->func) {
        self->func(device, self->first, self->user_data);
    }
}

static gboolean judge(Resize *self, const HostmemLibvirtMemory *device,
                      gboolean *reached, GError **error)
{
    note(self, device);
    *reached = self->size == self->wanted;
    if (*reached) {
        return TRUE;
    }
    if (device->requested != self->wanted) {
        g_autofree char *other = hostmem_size_to_string(device->requested);

        return refuse(self, HOSTMEM_ERROR_CHANGED, error,
                      "somebody else has requested %s", other);
    }
    return g_get_monotonic_time() - self->changed < self->stall_us ||
           refuse_stalled(self, error);
}

/* A transient domain is unknown to libvirt when it has ended. */
static gboolean refuse_ended(Resize *self, GError *why, GError **error)
{
    if (why && !g_error_matches(why, HOSTMEM_ERROR, HOSTMEM_ERROR_NOT_FOUND)) {
        g_propagate_error(error, why);
        return FALSE;
    }
    g_clear_error(&why);
    return refuse(self, HOSTMEM_ERROR_NOT_FOUND, error,
                  "the domain has ended meanwhile");
}

static gboolean look(Resize *self, gboolean *reached, GError **error)
{
    GError *why = NULL;
    g_autoptr(HostmemLibvirtDomain) domain = hm_libvirt_connection_describe(
        self->connection, self->domain, NULL, &why);
    guint index;

    if (!domain || domain->id != self->id) {
        return refuse_ended(self, why, error);
    }
    if (!hm_domain_find(domain, self->alias, &index, NULL)) {
        return refuse(self, HOSTMEM_ERROR_NOT_FOUND, error,
                      "it was unplugged meanwhile");
    }
    return judge(self, g_ptr_array_index(domain->devices, index), reached,
                 error);
}

static gboolean wait_for_news(Resize *self, guint64 count,
                              GCancellable *cancellable, GError **error)
{
    HmLibvirtEvents *events =
        hm_libvirt_connection_get_events(self->connection);
    gint64 now = g_get_monotonic_time();

    if (!hm_libvirt_events_wait(events, G_MAXUINT64, now + SETTLE_US,
                                cancellable, error) ||
        !hm_libvirt_events_wait(events, count, now + POLL_US, cancellable,
                                error)) {
        g_prefix_error(error, "%s: ",
                       hostmem_libvirt_connection_get_uri(self->connection));
        return FALSE;
    }
    return TRUE;
}

static gboolean wait_until_reached(Resize *self, GCancellable *cancellable,
                                   GError **error)
{
    HmLibvirtEvents *events =
        hm_libvirt_connection_get_events(self->connection);

    for (;;) {
        guint64 count = hm_libvirt_events_count(events);
        gboolean reached;

        if (!look(self, &reached, error)) {
            return FALSE;
        }
        if (reached) {
            return TRUE;
        }
        if (!wait_for_news(self, count, cancellable, error)) {
            return FALSE;
        }
    }
}

gboolean hostmem_libvirt_connection_resize(
    HostmemLibvirtConnection *self, const char *name, const char *alias,
    guint64 bytes, gint64 stall_us, HostmemLibvirtProgressFunc func,
    gpointer user_data, GCancellable *cancellable, GError **error)
{
    Resize resize = {.connection = self,
                     .wanted = bytes,
                     .stall_us = stall_us,
                     .func = func,
                     .user_data = user_data};
    gboolean done;

    g_return_val_if_fail(HOSTMEM_IS_LIBVIRT_CONNECTION(self) && name, FALSE);
    if (!hostmem_libvirt_connection_listen(self, error) ||
        !resize_begin(&resize, name, error)) {
        return FALSE;
    }
    done = request(&resize, alias, error) &&
           wait_until_reached(&resize, cancellable, error);
    resize_end(&resize);
    return done;
}
