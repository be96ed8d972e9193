/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * Memory that somebody uses must not go away under him.  Whoever holds the
 * backend needs all of it, also what it has grown by, unless he says how much;
 * a device needs what it was made for.  Who is outside this process cannot be
 * asked, but the kernel can: whether anybody else has the file open or mapped.
 * Where it cannot tell, and where a name lets others open it at any time,
 * memory that was once exposed is never taken away.
 *
 * Nobody begins to hold or expose it while it is decided, and done: that is
 * under hold_lock, as a rollback is.  Who hands it over has it open before it
 * is exposed, so that the one who comes later sees the other.
 */
#include "backends/hostmem.h"
#include "util/error.h"
#include "util/size.h"

void hm_backend_need(HostmemBackend *self, guint64 length)
{
    g_autoptr(GMutexLocker) locker =
        g_mutex_locker_new(&HOSTMEM_OBJECT(self)->hold_lock);

    if (!self->needs) {
        self->needs = g_array_new(FALSE, FALSE, sizeof(guint64));
    }
    g_array_append_val(self->needs, length);
}

void hm_backend_need_no_more(HostmemBackend *self, guint64 length)
{
    g_autoptr(GMutexLocker) locker =
        g_mutex_locker_new(&HOSTMEM_OBJECT(self)->hold_lock);

    for (guint i = 0; self->needs && i < self->needs->len; i++) {
        if (g_array_index(self->needs, guint64, i) == length) {
            g_array_remove_index_fast(self->needs, i);
            return;
        }
    }
    g_warn_if_reached();
}

static guint64 largest_need(const HostmemBackend *self)
{
    guint64 most = 0;

    for (guint i = 0; self->needs && i < self->needs->len; i++) {
        most = MAX(most, g_array_index(self->needs, guint64, i));
    }
    return most;
}

/* Holders who did not say what they need. */
static gboolean has_other_holders(HostmemBackend *self)
{
    const gint holds = g_atomic_int_get(&HOSTMEM_OBJECT(self)->holds);
    const guint told = self->needs ? self->needs->len : 0;

    return holds > (gint)told;
}

/* (nullable): what stands against it in other processes. */
static const char *foreign_obstacle(HostmemBackend *self)
{
    const int in_use = hm_backend_is_in_use(self);

    if (in_use > 0) {
        return "another process has its memory open or mapped";
    }
    if (!hm_backend_is_exposed(self)) {
        return NULL;
    }
    if (hm_backend_get_export_path(self)) {
        return "other processes may open its memory, which has a name";
    }
    return in_use < 0 ? "other processes may use its memory, and whether any "
                        "does cannot be told"
                      : NULL;
}

/* (transfer full) (nullable): why it cannot have only @size bytes. */
static char *obstacle(HostmemBackend *self, guint64 size)
{
    const guint64 need = largest_need(self);
    const char *foreign = foreign_obstacle(self);
    g_autofree char *text = hm_size_format(need);

    if (foreign) {
        return g_strdup(foreign);
    }
    if (has_other_holders(self)) {
        return g_strdup("it is in use");
    }
    return need > size ? g_strdup_printf("%s of it are in use", text) : NULL;
}

static gboolean refuse(HostmemBackend *self, const char *verb, const char *why,
                       GError **error)
{
    g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(self));

    g_mutex_unlock(&HOSTMEM_OBJECT(self)->hold_lock);
    return hm_set_error(error, HOSTMEM_ERROR_BUSY, "cannot %s %s: %s", verb,
                        what, why);
}

gboolean hm_backend_begin_shrink(HostmemBackend *self, guint64 size,
                                 GError **error)
{
    g_autofree char *why = NULL;

    g_mutex_lock(&HOSTMEM_OBJECT(self)->hold_lock);
    why = obstacle(self, size);
    return !why || refuse(self, "make smaller", why, error);
}

gboolean hm_backend_begin_move(HostmemBackend *self, GError **error)
{
    g_mutex_lock(&HOSTMEM_OBJECT(self)->hold_lock);
    return !hostmem_object_is_held(HOSTMEM_OBJECT(self)) ||
           refuse(self, "move",
                  "it has no room to grow where it is, and whoever uses it "
                  "knows its address",
                  error);
}

void hm_backend_end_change(HostmemBackend *self)
{
    g_mutex_unlock(&HOSTMEM_OBJECT(self)->hold_lock);
}
