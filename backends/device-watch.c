/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/device-watch.h"

/* A resize stalls after seconds; there is no hurry to notice. */
#define INTERVAL_MS 1000

/* Handlers that still run, and looks that wait, have references. */
struct HmDeviceWatch {
    gatomicrefcount refs;
    GMainContext *context;
    gint queued; /* atomic: a look is on its way */

    /* of the registry's thread */
    HostmemRegistry *registry; /* NULL: closed */
    HostmemVirtioMem *device;
    gulong handlers[2];
    GSource *timer; /* (nullable): while a resize goes on */
    /* as told */
    guint64 size;
    guint64 requested;
    HostmemResizeState state;
};

static void watch_unref(gpointer data)
{
    HmDeviceWatch *self = data;

    if (g_atomic_ref_count_dec(&self->refs)) {
        g_main_context_unref(self->context);
        g_free(self);
    }
}

static HmDeviceWatch *watch_ref(HmDeviceWatch *self)
{
    g_atomic_ref_count_inc(&self->refs);
    return self;
}

static void closure_unref(gpointer data, GClosure *closure G_GNUC_UNUSED)
{
    watch_unref(data);
}

/* In the registry's thread */

static gboolean on_tick(gpointer data)
{
    hm_device_watch_look(data);
    return G_SOURCE_CONTINUE;
}

static void set_timer(HmDeviceWatch *self, gboolean on)
{
    if (!on && self->timer) {
        g_source_destroy(self->timer);
        g_clear_pointer(&self->timer, g_source_unref);
    } else if (on && !self->timer) {
        self->timer = g_timeout_source_new(INTERVAL_MS);
        g_source_set_callback(self->timer, on_tick, watch_ref(self),
                              watch_unref);
        g_source_attach(self->timer, self->context);
    }
}

static void tell_size(HmDeviceWatch *self, guint64 size)
{
    if (size != self->size) {
        self->size = size;
        g_signal_emit_by_name(self->registry, "device-size-changed",
                              self->device, size);
    }
}

/* One that was quick, from reached to reached, is told as well. */
static void tell_state(HmDeviceWatch *self,
                       const HostmemVirtioMemStatus *status)
{
    gboolean is_another = status->requested != self->requested;

    if (status->state != self->state ||
        (is_another && status->state == HOSTMEM_RESIZE_REACHED)) {
        self->state = status->state;
        self->requested = status->requested;
        g_signal_emit_by_name(self->registry, "device-resize-changed",
                              self->device, status->state);
    }
}

/* A handler, of the device's signals too, may remove it and close the watch. */
void hm_device_watch_look(HmDeviceWatch *self)
{
    g_autoptr(HostmemVirtioMem) device = g_object_ref(self->device);
    HostmemVirtioMemStatus status;

    watch_ref(self);
    hostmem_virtio_mem_get_status(device, &status);
    if (self->registry) {
        set_timer(self, status.state == HOSTMEM_RESIZE_RUNNING);
        tell_size(self, status.plugged);
    }
    if (self->registry) {
        tell_state(self, &status);
    }
    watch_unref(self);
}

static gboolean on_news(gpointer data)
{
    HmDeviceWatch *self = data;

    g_atomic_int_set(&self->queued, FALSE);
    if (self->registry) {
        hm_device_watch_look(self);
    }
    return G_SOURCE_REMOVE;
}

/* In any thread */

static void queue_look(HmDeviceWatch *self)
{
    g_autoptr(GSource) source = NULL;

    if (!g_atomic_int_compare_and_exchange(&self->queued, FALSE, TRUE)) {
        return;
    }
    source = g_idle_source_new();
    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, on_news, watch_ref(self), watch_unref);
    g_source_attach(source, self->context);
}

static void on_size_changed(HostmemVirtioMem *device G_GNUC_UNUSED,
                            guint64 size G_GNUC_UNUSED, gpointer data)
{
    queue_look(data);
}

static void on_resize_changed(HostmemVirtioMem *device G_GNUC_UNUSED,
                              HostmemResizeState state G_GNUC_UNUSED,
                              gpointer data)
{
    queue_look(data);
}

static gulong connect(HmDeviceWatch *self, const char *name, GCallback handler)
{
    return g_signal_connect_data(self->device, name, handler, watch_ref(self),
                                 closure_unref, 0);
}

/* What has happened before the handlers were there is seen by a first look. */
HmDeviceWatch *hm_device_watch_new(HostmemRegistry *registry,
                                   GMainContext *context,
                                   HostmemVirtioMem *device)
{
    HmDeviceWatch *self = g_new0(HmDeviceWatch, 1);

    g_atomic_ref_count_init(&self->refs);
    self->context = g_main_context_ref(context);
    self->registry = registry;
    self->device = device;
    self->state = HOSTMEM_RESIZE_REACHED;
    self->handlers[0] =
        connect(self, "size-changed", G_CALLBACK(on_size_changed));
    self->handlers[1] =
        connect(self, "resize-changed", G_CALLBACK(on_resize_changed));
    queue_look(self);
    return self;
}

void hm_device_watch_free(HmDeviceWatch *self)
{
    for (guint i = 0; i < G_N_ELEMENTS(self->handlers); i++) {
        g_signal_handler_disconnect(self->device, self->handlers[i]);
    }
    set_timer(self, FALSE);
    self->registry = NULL;
    watch_unref(self);
}
