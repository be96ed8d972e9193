/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hostmemd.h"

/*
 * A service manager gives a start some time, which nobody can know beforehand:
 * it depends on how much memory there is to populate.  So the time is extended,
 * but only when more is populated than a second ago: what hangs still ends.
 *
 * The clock runs while there is something to tell, and stops when all is ready,
 * until the registry changes.
 */

#define TELL_MS 1000

/* The longest that populating may stand still: some hosts look for huge pages,
 * or write back what is in their way, for a good while. */
#define EXTEND_US (60 * (guint64)G_USEC_PER_SEC)

struct HmService {
    HostmemRegistry *registry;
    guint timer; /* 0 while there is nothing to tell */
    gboolean ready;
    guint64 done; /* the most that was populated so far */
    char *told;
};

static void tell(HmService *self, const char *text)
{
    if (g_strcmp0(self->told, text) == 0) {
        return;
    }
    g_free(self->told);
    self->told = g_strdup(text);
    hm_notify_status(text);
}

static void tell_progress(HmService *self, const HmFigures *figures)
{
    g_autofree char *name = hm_figures_name(figures);
    g_autofree char *progress = hm_figures_describe(figures);
    g_autofree char *text = g_strdup_printf("%s: populated %s", name, progress);

    tell(self, text);
}

static void tell_ready(HmService *self)
{
    g_autoptr(GPtrArray) objects = hostmem_registry_list(self->registry);
    guint64 bytes = 0;
    guint n = 0;

    for (guint i = 0; i < objects->len; i++) {
        if (HOSTMEM_IS_BACKEND(objects->pdata[i])) {
            bytes += hostmem_backend_get_size(objects->pdata[i]);
            n++;
        }
    }
    g_autofree char *size = hostmem_size_to_string(bytes);
    g_autofree char *text =
        g_strdup_printf("ready: %u backend%s, %s", n, n == 1 ? "" : "s", size);
    tell(self, text);
}

static void extend(HmService *self, const HmFigures *figures)
{
    if (figures->done > self->done) {
        self->done = figures->done;
        hm_notify_extend(EXTEND_US);
    }
}

static gboolean on_time(gpointer data)
{
    HmService *self = data;
    HmFigures figures;
    gboolean populating = hm_figures_take(self->registry, &figures);

    if (!self->ready) {
        extend(self, &figures);
    }
    if (populating) {
        tell_progress(self, &figures);
    } else if (self->ready) {
        tell_ready(self);
        self->timer = 0;
        return G_SOURCE_REMOVE;
    }
    return G_SOURCE_CONTINUE;
}

static void on_changed(HmService *self)
{
    if (!self->timer) {
        self->timer = g_timeout_add(TELL_MS, on_time, self);
    }
}

HmService *hm_service_new(HostmemRegistry *registry)
{
    static const char *const changes[] = {"added", "removed", "job-changed"};
    HmService *self = g_new0(HmService, 1);

    self->registry = g_object_ref(registry);
    if (!hm_notify_wanted()) {
        return self;
    }
    for (guint i = 0; i < G_N_ELEMENTS(changes); i++) {
        g_signal_connect_swapped(registry, changes[i], G_CALLBACK(on_changed),
                                 self);
    }
    on_changed(self);
    return self;
}

void hm_service_ready(HmService *self)
{
    HmFigures figures;

    self->ready = TRUE;
    if (!hm_notify_wanted()) {
        return;
    }
    if (!hm_figures_take(self->registry, &figures)) {
        tell_ready(self);
    }
    hm_notify_ready();
}

void hm_service_free(HmService *self)
{
    g_signal_handlers_disconnect_by_data(self->registry, self);
    g_clear_handle_id(&self->timer, g_source_remove);
    g_object_unref(self->registry);
    g_free(self->told);
    g_free(self);
}
