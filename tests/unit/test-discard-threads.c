/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "discard-test.h"

/*
 * Listeners that come and go in threads of their own, while others populate
 * and discard.  Each listener keeps a map of what it was told, without a lock:
 * the source serves one at a time, and ThreadSanitizer looks on.
 */
#define BLOCK    HM_TEST_SOURCE_BLOCK
#define N_BLOCKS 32
#define ROUNDS   400

typedef struct {
    HostmemDiscardSource *source;
    guint8 told[N_BLOCKS];
    gboolean in_callback;
    gboolean destroyed;
    guint refuse; /* one in so many; 0: never */
    GRand *rand;
} Ear;

static void begin_callback(Ear *self)
{
    g_assert_false(self->destroyed);
    g_assert_false(self->in_callback);
    self->in_callback = TRUE;
}

static gboolean ear_populating(HostmemDiscardSource *source, guint64 offset,
                               guint64 length, gpointer user_data,
                               GError **error)
{
    Ear *self = user_data;
    gboolean refuses =
        self->refuse && !g_rand_int_range(self->rand, 0, (gint)self->refuse);

    begin_callback(self);
    hostmem_discard_source_is_populated(source, offset, length);
    for (guint i = offset / BLOCK; i < (offset + length) / BLOCK; i++) {
        g_assert_cmpuint(self->told[i], ==, FALSE);
        self->told[i] = TRUE;
    }
    if (refuses) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED, "no");
    }
    self->in_callback = FALSE;
    return !refuses;
}

static void ear_discarded(HostmemDiscardSource *source G_GNUC_UNUSED,
                          guint64 offset, guint64 length, gpointer user_data)
{
    Ear *self = user_data;

    begin_callback(self);
    memset(self->told + offset / BLOCK, FALSE, length / BLOCK);
    self->in_callback = FALSE;
}

static void ear_destroy(gpointer user_data)
{
    Ear *self = user_data;

    begin_callback(self);
    self->destroyed = TRUE;
}

static guint ear_add(Ear *self, HmTestSource *source)
{
    const HostmemDiscardListener listener = {
        .populating = ear_populating,
        .discarded = ear_discarded,
    };

    self->source = HOSTMEM_DISCARD_SOURCE(source);
    return hostmem_discard_source_add_listener(HOSTMEM_DISCARD_SOURCE(source),
                                               0, N_BLOCKS * BLOCK, &listener,
                                               self, ear_destroy, NULL);
}

/* A HostmemDiscardReplay: in one turn, what it was told is what is there. */
static gboolean compare(guint64 offset G_GNUC_UNUSED,
                        guint64 length G_GNUC_UNUSED, gpointer user_data,
                        GError **error G_GNUC_UNUSED)
{
    const Ear *self = user_data;

    for (guint i = 0; i < N_BLOCKS; i++) {
        g_assert_cmpint(self->told[i], ==,
                        hostmem_discard_source_is_populated(self->source,
                                                            i * BLOCK, BLOCK));
    }
    return FALSE; /* once is enough */
}

static void ear_compare(Ear *self)
{
    hostmem_discard_source_replay_populated(self->source, 0, N_BLOCKS * BLOCK,
                                            compare, self, NULL);
}

static gpointer come_and_go(gpointer data)
{
    for (guint i = 0; i < ROUNDS; i++) {
        Ear ear = {.rand = g_rand_new_with_seed(i), .refuse = i % 5};
        guint id = ear_add(&ear, data);

        if (id) {
            ear_compare(&ear);
            hostmem_discard_source_remove_listener(data, id);
        }
        g_assert_true(ear.destroyed);
        for (guint n = 0; n < N_BLOCKS; n++) {
            g_assert_cmpuint(ear.told[n], ==, FALSE);
        }
        g_rand_free(ear.rand);
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
    Ear ear = {.refuse = 0};
    GThread *threads[4];
    guint id = ear_add(&ear, source);

    g_assert_cmpuint(id, !=, 0);
    threads[0] = g_thread_new("low", plug_and_unplug, &low);
    threads[1] = g_thread_new("high", plug_and_unplug, &high);
    threads[2] = g_thread_new("one", come_and_go, source);
    threads[3] = g_thread_new("two", come_and_go, source);
    for (guint i = 0; i < G_N_ELEMENTS(threads); i++) {
        g_thread_join(threads[i]);
    }
    for (guint n = 0; n < N_BLOCKS; n++) {
        g_assert_cmpuint(ear.told[n], ==, FALSE);
    }
    hostmem_discard_source_remove_listener(HOSTMEM_DISCARD_SOURCE(source), id);
    g_assert_true(ear.destroyed);
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
