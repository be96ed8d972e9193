/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "discard-ear.h"
#include "discard-test.h"

/*
 * Listeners that come and go in threads of their own, while others populate
 * and discard; ThreadSanitizer looks on.
 */
#define BLOCK    HM_TEST_SOURCE_BLOCK
#define N_BLOCKS 32
#define ROUNDS   400

static gpointer come_and_go(gpointer data)
{
    for (guint i = 0; i < ROUNDS; i++) {
        HmEar ear;

        hm_ear_init(&ear, data, i % 5, i);
        if (hm_ear_add(&ear)) {
            hm_ear_compare(&ear);
            hm_ear_remove(&ear);
        }
        hm_ear_clear(&ear);
    }
    return NULL;
}

/* Each of these threads has blocks of its own. */
typedef struct {
    HmTestSource *source;
    guint first;
} Half;

static gpointer plug_and_unplug(gpointer data)
{
    const Half *half = data;
    g_autoptr(GRand) rand = g_rand_new_with_seed(half->first);

    for (guint i = 0; i < ROUNDS; i++) {
        guint n = (guint)g_rand_int_range(rand, 1, N_BLOCKS / 2 + 1);

        if (hm_test_source_plug(half->source, half->first, n, NULL)) {
            hm_test_source_unplug(half->source, half->first, n / 2, NULL);
            hm_test_source_unplug(half->source, half->first, n, NULL);
        }
    }
    return NULL;
}

static void test_everybody_at_once(void)
{
    g_autoptr(HmTestSource) source = hm_test_source_new(N_BLOCKS);
    Half low = {source, 0};
    Half high = {source, N_BLOCKS / 2};
    HmEar ear;
    GThread *threads[4];

    hm_ear_init(&ear, HOSTMEM_DISCARD_SOURCE(source), 0, 0);
    g_assert_true(hm_ear_add(&ear));
    threads[0] = g_thread_new("low", plug_and_unplug, &low);
    threads[1] = g_thread_new("high", plug_and_unplug, &high);
    threads[2] = g_thread_new("one", come_and_go, source);
    threads[3] = g_thread_new("two", come_and_go, source);
    for (guint i = 0; i < G_N_ELEMENTS(threads); i++) {
        g_thread_join(threads[i]);
    }
    hm_ear_compare(&ear);
    hm_ear_remove(&ear);
    hm_ear_clear(&ear);
}

/* Others that come or go while a callback runs wait for its end. */
typedef struct {
    HostmemDiscardSource *source;
    guint id;
    gint inside;   /* atomic: a callback runs */
    gint released; /* atomic: it may end */
    gint removed;  /* atomic: remove_listener has returned */
} Slow;

static gboolean slow_populating(HostmemDiscardSource *source G_GNUC_UNUSED,
                                guint64 offset G_GNUC_UNUSED,
                                guint64 length G_GNUC_UNUSED,
                                gpointer user_data,
                                GError **error G_GNUC_UNUSED)
{
    Slow *self = user_data;

    g_atomic_int_set(&self->inside, TRUE);
    while (!g_atomic_int_get(&self->released)) {
        g_usleep(1000);
    }
    g_usleep(20000);
    g_assert_false(g_atomic_int_get(&self->removed));
    g_atomic_int_set(&self->inside, FALSE);
    return TRUE;
}

static gpointer plug_one(gpointer data)
{
    hm_test_source_plug(data, 0, 1, NULL);
    return NULL;
}

static gpointer remove_slow(gpointer data)
{
    Slow *self = data;

    hostmem_discard_source_remove_listener(self->source, self->id);
    g_assert_false(g_atomic_int_get(&self->inside));
    g_atomic_int_set(&self->removed, TRUE);
    return NULL;
}

static void test_remove_waits_for_a_callback(void)
{
    const HostmemDiscardListener listener = {.populating = slow_populating};
    g_autoptr(HmTestSource) source = hm_test_source_new(N_BLOCKS);
    Slow slow = {.source = HOSTMEM_DISCARD_SOURCE(source)};
    GThread *plugger;
    GThread *remover;

    slow.id = hostmem_discard_source_add_listener(
        slow.source, 0, N_BLOCKS * BLOCK, &listener, &slow, NULL, NULL);
    plugger = g_thread_new("plug", plug_one, source);
    while (!g_atomic_int_get(&slow.inside)) {
        g_usleep(1000);
    }
    remover = g_thread_new("remove", remove_slow, &slow);
    g_atomic_int_set(&slow.released, TRUE);
    g_thread_join(remover);
    g_assert_true(g_atomic_int_get(&slow.removed));
    g_thread_join(plugger);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/discard-threads/everybody-at-once",
                    test_everybody_at_once);
    g_test_add_func("/discard-threads/remove-waits-for-a-callback",
                    test_remove_waits_for_a_callback);
    return g_test_run();
}
