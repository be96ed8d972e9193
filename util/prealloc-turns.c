/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/prealloc-turns.h"

void hm_turns_init(HmTurns *self, guint workers)
{
    *self = (HmTurns){0};
    g_mutex_init(&self->lock);
    g_cond_init(&self->moved);
    hm_tuner_init(&self->tuner, workers);
}

guint hm_turns_clear(HmTurns *self)
{
    g_cond_clear(&self->moved);
    g_mutex_clear(&self->lock);
    return self->tuner.active;
}

guint hm_turns_join(HmTurns *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    return self->joined++;
}

gboolean hm_turns_wait(HmTurns *self, guint worker)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    while (!self->over && worker >= self->tuner.active) {
        g_cond_wait(&self->moved, &self->lock);
    }
    return !self->over;
}

gboolean hm_turns_is_next(HmTurns *self, guint worker)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    return self->over || worker < self->tuner.active;
}

void hm_turns_note(HmTurns *self, guint64 bytes, gint64 start_us, gint64 end_us)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);
    guint before = self->tuner.active;

    if (hm_tuner_note(&self->tuner, bytes, start_us, end_us) > before) {
        g_cond_broadcast(&self->moved);
    }
}

void hm_turns_end(HmTurns *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    self->over = TRUE;
    g_cond_broadcast(&self->moved);
}
