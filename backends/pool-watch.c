/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/pool-watch.h"

/* Handlers that still run, and news that wait, have references. */
struct HmPoolWatch {
    gatomicrefcount refs;
    GMainContext *context;

    /* of the registry's thread */
    HostmemRegistry *registry; /* NULL: closed */
    HostmemMemoryPool *pool;
    gulong handler;
};

/* What a pool has told. */
typedef struct {
    HmPoolWatch *watch; /* owned */
    guint64 ready;
    guint64 low_water;
} News;

static void watch_unref(HmPoolWatch *self)
{
    if (g_atomic_ref_count_dec(&self->refs)) {
        g_main_context_unref(self->context);
        g_free(self);
    }
}

static HmPoolWatch *watch_ref(HmPoolWatch *self)
{
    g_atomic_ref_count_inc(&self->refs);
    return self;
}

static void closure_unref(gpointer data, GClosure *closure G_GNUC_UNUSED)
{
    watch_unref(data);
}

static void news_free(gpointer data)
{
    News *news = data;

    watch_unref(news->watch);
    g_free(news);
}

/* In the registry's thread. */
static gboolean tell(gpointer data)
{
    const News *news = data;
    HmPoolWatch *watch = news->watch;

    if (watch->registry) {
        g_signal_emit_by_name(watch->registry, "pool-low", watch->pool,
                              news->ready, news->low_water);
    }
    return G_SOURCE_REMOVE;
}

/* In any thread. */
static void on_low(HostmemMemoryPool *pool G_GNUC_UNUSED, guint64 ready,
                   guint64 low_water, gpointer data)
{
    g_autoptr(GSource) source = g_idle_source_new();
    HmPoolWatch *self = data;
    News *news = g_new(News, 1);

    *news = (News){watch_ref(self), ready, low_water};
    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, tell, news, news_free);
    g_source_attach(source, self->context);
}

HmPoolWatch *hm_pool_watch_new(HostmemRegistry *registry, GMainContext *context,
                               HostmemMemoryPool *pool)
{
    HmPoolWatch *self = g_new0(HmPoolWatch, 1);

    g_atomic_ref_count_init(&self->refs);
    self->context = g_main_context_ref(context);
    self->registry = registry;
    self->pool = pool;
    self->handler = g_signal_connect_data(pool, "low", G_CALLBACK(on_low),
                                          watch_ref(self), closure_unref, 0);
    return self;
}

void hm_pool_watch_free(HmPoolWatch *self)
{
    g_signal_handler_disconnect(self->pool, self->handler);
    self->registry = NULL;
    watch_unref(self);
}
