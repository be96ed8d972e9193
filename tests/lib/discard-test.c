/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "discard-test.h"

struct _HmTestSource {
    GObject parent_instance;

    HmDiscardListeners listeners;
    GMutex lock; /* guards blocks */
    guint8 *blocks;
    guint n_blocks;
};

static void source_init(HostmemDiscardSourceInterface *iface);

G_DEFINE_TYPE_WITH_CODE(HmTestSource, hm_test_source, G_TYPE_OBJECT,
                        G_IMPLEMENT_INTERFACE(HOSTMEM_TYPE_DISCARD_SOURCE,
                                              source_init))

static guint64 get_granularity(HostmemDiscardSource *source G_GNUC_UNUSED)
{
    return HM_TEST_SOURCE_BLOCK;
}

static guint64 get_size(HostmemDiscardSource *source)
{
    return HM_TEST_SOURCE(source)->n_blocks * HM_TEST_SOURCE_BLOCK;
}

static guint64 get_run(HostmemDiscardSource *source, guint64 offset,
                       guint64 end, gboolean *populated)
{
    HmTestSource *self = HM_TEST_SOURCE(source);
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);
    const guint first = offset / HM_TEST_SOURCE_BLOCK;
    const guint behind = end / HM_TEST_SOURCE_BLOCK;
    guint next = first;

    while (next < behind && self->blocks[next] == self->blocks[first]) {
        next++;
    }
    *populated = self->blocks[first];
    return (next - first) * HM_TEST_SOURCE_BLOCK;
}

static HmDiscardListeners *get_listeners(HostmemDiscardSource *source)
{
    return &HM_TEST_SOURCE(source)->listeners;
}

static void source_init(HostmemDiscardSourceInterface *iface)
{
    iface->get_granularity = get_granularity;
    iface->get_size = get_size;
    iface->get_run = get_run;
    iface->get_listeners = get_listeners;
}

static void hm_test_source_init(HmTestSource *self)
{
    g_mutex_init(&self->lock);
    hm_discard_listeners_init(&self->listeners, HOSTMEM_DISCARD_SOURCE(self));
}

static void test_source_dispose(GObject *object)
{
    hm_discard_listeners_remove_all(&HM_TEST_SOURCE(object)->listeners);
    G_OBJECT_CLASS(hm_test_source_parent_class)->dispose(object);
}

static void test_source_finalize(GObject *object)
{
    HmTestSource *self = HM_TEST_SOURCE(object);

    hm_discard_listeners_clear(&self->listeners);
    g_mutex_clear(&self->lock);
    g_free(self->blocks);
    G_OBJECT_CLASS(hm_test_source_parent_class)->finalize(object);
}

static void hm_test_source_class_init(HmTestSourceClass *klass)
{
    G_OBJECT_CLASS(klass)->dispose = test_source_dispose;
    G_OBJECT_CLASS(klass)->finalize = test_source_finalize;
}

HmTestSource *hm_test_source_new(guint n_blocks)
{
    HmTestSource *self = g_object_new(HM_TYPE_TEST_SOURCE, NULL);

    self->n_blocks = n_blocks;
    self->blocks = g_new0(guint8, n_blocks);
    return self;
}

static HmRange range_of(guint first, guint n)
{
    return (HmRange){first * HM_TEST_SOURCE_BLOCK, n * HM_TEST_SOURCE_BLOCK};
}

static void mark(HmTestSource *self, guint first, guint n, guint8 populated)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    memset(self->blocks + first, populated, n);
}

gboolean hm_test_source_plug(HmTestSource *self, guint first, guint n,
                             GError **error)
{
    const HmRange range = range_of(first, n);
    gboolean ok;

    if (!hm_discard_listeners_begin(&self->listeners, error)) {
        return FALSE;
    }
    ok = hm_discard_listeners_populating(&self->listeners, &range, error);
    if (ok) {
        mark(self, first, n, TRUE);
    }
    hm_discard_listeners_end(&self->listeners);
    return ok;
}

gboolean hm_test_source_unplug(HmTestSource *self, guint first, guint n,
                               GError **error)
{
    const HmRange range = range_of(first, n);

    if (!hm_discard_listeners_begin(&self->listeners, error)) {
        return FALSE;
    }
    mark(self, first, n, FALSE);
    hm_discard_listeners_discarded(&self->listeners, &range);
    hm_discard_listeners_end(&self->listeners);
    return TRUE;
}

char *hm_test_source_map(HmTestSource *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);
    char *map = g_new0(char, self->n_blocks + 1);

    for (guint i = 0; i < self->n_blocks; i++) {
        map[i] = self->blocks[i] ? '#' : '.';
    }
    return map;
}
