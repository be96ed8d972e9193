/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "discard-ear.h"

static void begin_callback(HmEar *self)
{
    g_assert_false(self->destroyed);
    g_assert_false(self->in_callback);
    self->in_callback = TRUE;
}

static gboolean ear_populating(HostmemDiscardSource *source, guint64 offset,
                               guint64 length, gpointer user_data,
                               GError **error)
{
    HmEar *self = user_data;
    gboolean refuses =
        self->refuse && !g_rand_int_range(self->rand, 0, (gint)self->refuse);

    begin_callback(self);
    hostmem_discard_source_is_populated(source, offset, length);
    for (guint64 i = offset / self->block; i < (offset + length) / self->block;
         i++) {
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
    HmEar *self = user_data;

    begin_callback(self);
    memset(self->told + offset / self->block, FALSE, length / self->block);
    self->in_callback = FALSE;
}

static void ear_destroy(gpointer user_data)
{
    HmEar *self = user_data;

    begin_callback(self);
    self->destroyed = TRUE;
}

void hm_ear_init(HmEar *self, HostmemDiscardSource *source, guint refuse,
                 guint32 seed)
{
    *self = (HmEar){
        .source = source,
        .block = hostmem_discard_source_get_granularity(source),
        .refuse = refuse,
        .rand = g_rand_new_with_seed(seed),
    };
    self->n_blocks = hostmem_discard_source_get_size(source) / self->block;
    self->told = g_new0(guint8, self->n_blocks);
}

gboolean hm_ear_add(HmEar *self)
{
    const HostmemDiscardListener listener = {
        .populating = ear_populating,
        .discarded = ear_discarded,
    };

    self->id = hostmem_discard_source_add_listener(
        self->source, 0, self->n_blocks * self->block, &listener, self,
        ear_destroy, NULL);
    return self->id;
}

/* A HostmemDiscardReplay: nothing changes while it runs. */
static gboolean compare(guint64 offset G_GNUC_UNUSED,
                        guint64 length G_GNUC_UNUSED, gpointer user_data,
                        GError **error G_GNUC_UNUSED)
{
    const HmEar *self = user_data;

    for (guint i = 0; i < self->n_blocks; i++) {
        g_assert_cmpint(self->told[i], ==,
                        hostmem_discard_source_is_populated(
                            self->source, i * self->block, self->block));
    }
    return FALSE; /* once is enough */
}

void hm_ear_compare(HmEar *self)
{
    const guint64 size = self->n_blocks * self->block;

    if (hostmem_discard_source_replay_populated(self->source, 0, size, compare,
                                                self, NULL)) {
        hostmem_discard_source_replay_discarded(self->source, 0, size, compare,
                                                self, NULL);
    }
}

void hm_ear_remove(HmEar *self)
{
    hostmem_discard_source_remove_listener(self->source, self->id);
    self->id = 0;
}

void hm_ear_clear(HmEar *self)
{
    g_assert_cmpuint(self->id, ==, 0);
    g_assert_true(self->destroyed);
    for (guint i = 0; i < self->n_blocks; i++) {
        g_assert_cmpuint(self->told[i], ==, FALSE);
    }
    g_rand_free(self->rand);
    g_free(self->told);
}
