/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>
#include "hostmemd.h"

/*
 * Whoever started us may keep descriptors for the next start: the service
 * manager's store.  It takes what it is told, one message after the other, and
 * never answers; we may be killed between any two of them.  So what came is
 * stored first, then the state that needs it, and only then what nothing needs
 * any more is removed.  A message that cannot be sent holds up those behind it,
 * and is tried again: what was stored before stays good.
 *
 * The registry says that its state has changed before anybody is answered: what
 * a client was told is stored.
 */

#define RETRY_S 1

/* The old one goes when the new one is there. */
#define N_STATES 2

struct HmStore {
    HostmemRegistry *registry;
    GPtrArray *found;  /* (element-type HostmemSavedFd): from the last start */
    GHashTable *names; /* what is stored now */
    gulong handler;    /* 0: it does not follow the registry */
    guint retry;
    guint64 room;         /* descriptors the manager keeps; 0: unknown */
    HostmemSave *pending; /* (nullable): not all of it is carried out */
    guint sent;           /* messages of that */
    gboolean is_there;
    gboolean has_state; /* one of @names is that of the last state */
    gboolean warned;    /* of too little room */
    gboolean failed;    /* the last save has */
};

static void saved_fd_free(gpointer data)
{
    hostmem_saved_fd_free(data);
}

/* systemd says how many it keeps from release 254 on. */
static guint64 find_room(void)
{
    const char *text = g_getenv("FDSTORE");

    return text ? g_ascii_strtoull(text, NULL, 10) : 0;
}

HmStore *hm_store_new(HostmemRegistry *registry, GPtrArray *inherited,
                      gboolean expected)
{
    HmStore *self = g_new0(HmStore, 1);

    self->registry = registry;
    self->found = g_ptr_array_new_with_free_func(saved_fd_free);
    self->names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (guint i = 0; i < inherited->len; i++) {
        HmInherited *one = inherited->pdata[i];

        if (!one->listening && one->fd >= 0) {
            g_ptr_array_add(self->found,
                            hostmem_saved_fd_new(one->name, one->fd));
            g_hash_table_add(self->names, g_strdup(one->name));
            self->has_state |= g_str_has_prefix(one->name, HOSTMEM_STATE_NAME);
            one->fd = -1;
        }
    }
    self->room = find_room();
    self->is_there =
        hm_notify_wanted() && (self->room || expected || self->found->len);
    return self;
}

void hm_store_free(HmStore *self)
{
    g_ptr_array_unref(self->found);
    g_hash_table_unref(self->names);
    g_clear_pointer(&self->pending, hostmem_save_free);
    g_free(self);
}

gboolean hm_store_is_there(const HmStore *self)
{
    return self->is_there;
}

gboolean hm_store_has_found(const HmStore *self)
{
    return self->found->len > 0;
}

static gboolean is_taken(GPtrArray *inherited, int fd)
{
    for (guint i = 0; i < inherited->len; i++) {
        const HmInherited *one = inherited->pdata[i];

        if (one->fd == fd) {
            return TRUE;
        }
    }
    return FALSE;
}

/* "NAME=N": a name may have '=' in it, a number has none. */
static HmInherited *parse_fd(const char *text, GPtrArray *inherited,
                             GError **error)
{
    const char *equals = strrchr(text, '=');
    g_autofree char *name = equals ? g_strndup(text, equals - text) : NULL;
    guint64 number;

    if (!name || !*name ||
        !g_ascii_string_to_unsigned(equals + 1, 10, 0, G_MAXINT, &number,
                                    NULL)) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID,
                    "-restore-fds: '%s' is not NAME=N", text);
        return NULL;
    }
    if (is_taken(inherited, (int)number)) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID,
                    "-restore-fds: '%s': descriptor %d has another name "
                    "already",
                    text, (int)number);
        return NULL;
    }
    return hm_inherited_new(name, (int)number, error);
}

gboolean hm_store_parse_fds(const char *text, GPtrArray *inherited,
                            GError **error)
{
    g_auto(GStrv) parts = g_strsplit(text, ",", -1);

    for (char **part = parts; *part && *text; part++) {
        HmInherited *one = parse_fd(*part, inherited, error);

        if (!one) {
            return FALSE;
        }
        g_ptr_array_add(inherited, one);
    }
    return TRUE;
}

/* Restoring */

static void report(HmStore *self)
{
    g_autoptr(GPtrArray) list = hostmem_registry_list_restored(self->registry);
    guint restored = 0;

    for (guint i = 0; i < list->len; i++) {
        const HostmemRestored *one = list->pdata[i];

        if (one->status == HOSTMEM_RESTORE_RESTORED) {
            restored++;
        } else {
            fprintf(stderr, "hostmemd: warning: %s is %s: %s\n", one->path,
                    one->status == HOSTMEM_RESTORE_LOST ? "lost"
                                                        : "not restored",
                    one->reason);
        }
    }
    g_info("%u of %u restored", restored, list->len);
}

/* Whoever was killed before its first state has left nothing to anybody. */
static gboolean is_first_start(HmStore *self, GError *error)
{
    GHashTableIter iter;
    gpointer name;

    if (!g_error_matches(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NOT_FOUND)) {
        return FALSE;
    }
    fprintf(stderr, "hostmemd: warning: descriptors are not used: %s\n",
            error->message);
    g_error_free(error);
    g_hash_table_iter_init(&iter, self->names);
    while (g_hash_table_iter_next(&iter, &name, NULL)) {
        hm_notify_remove_fd(name, NULL);
    }
    g_hash_table_remove_all(self->names);
    return TRUE;
}

static void on_restored(GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr(GTask) task = data;
    HmStore *self = g_task_get_task_data(task);
    GError *error = NULL;

    if (!hostmem_registry_restore_finish(HOSTMEM_REGISTRY(source), result,
                                         &error) &&
        !is_first_start(self, error)) {
        g_prefix_error(&error, "cannot restore what was kept: ");
        g_task_return_error(task, error);
        return;
    }
    report(self);
    g_task_return_boolean(task, TRUE);
}

void hm_store_restore_async(HmStore *self, GCancellable *cancellable,
                            GAsyncReadyCallback callback, gpointer user_data)
{
    GTask *task = g_task_new(self->registry, cancellable, callback, user_data);

    g_task_set_task_data(task, self, NULL);
    hostmem_registry_restore_async(self->registry, self->found, cancellable,
                                   on_restored, task);
}

gboolean hm_store_restore_finish(GAsyncResult *result, GError **error)
{
    return g_task_propagate_boolean(G_TASK(result), error);
}

/* Storing */

static gboolean store(HmStore *self, const char *name, int fd, GError **error)
{
    if (!hm_notify_store_fd(name, fd, error)) {
        return FALSE;
    }
    g_hash_table_add(self->names, g_strdup(name));
    return TRUE;
}

static gboolean forget(HmStore *self, const char *name, GError **error)
{
    if (!hm_notify_remove_fd(name, error)) {
        return FALSE;
    }
    g_hash_table_remove(self->names, name);
    return TRUE;
}

static void warn_of_room(HmStore *self)
{
    if (!self->warned) {
        fprintf(stderr,
                "hostmemd: warning: the service manager keeps "
                "%" G_GUINT64_FORMAT " descriptors, and more are needed, one "
                "for each backend or segment and %d for the state: what is "
                "left out is lost at a restart; raise "
                "FileDescriptorStoreMax=\n",
                self->room, N_STATES);
    }
    self->warned = TRUE;
}

/* The last state is among them. */
static gboolean has_room(const HmStore *self)
{
    guint others = g_hash_table_size(self->names) - self->has_state;

    return !self->room || others + 1 + N_STATES <= self->room;
}

/* Without a state all would be lost: it is never what there is no room for. */
static gboolean store_memory(HmStore *self, const HostmemSavedFd *fd,
                             GError **error)
{
    if (has_room(self)) {
        return store(self, fd->name, fd->fd, error);
    }
    warn_of_room(self);
    return TRUE;
}

static gboolean store_state(HmStore *self, const HostmemSave *save,
                            GError **error)
{
    gboolean ok = store(self, save->state_name, save->state_fd, error);

    self->has_state |= ok;
    return ok;
}

/* Message number @n of a save, in the order that matters. */
static gboolean tell(HmStore *self, const HostmemSave *save, guint n,
                     GError **error)
{
    const guint added = save->added->len;

    if (n == added) {
        return store_state(self, save, error);
    }
    return n < added ? store_memory(self, save->added->pdata[n], error)
                     : forget(self, save->removed->pdata[n - added - 1], error);
}

static gboolean carry_out(HmStore *self, GError **error)
{
    const HostmemSave *save = self->pending;

    for (; save && self->sent <= save->added->len + save->removed->len;
         self->sent++) {
        if (!tell(self, save, self->sent, error)) {
            return FALSE;
        }
    }
    g_clear_pointer(&self->pending, hostmem_save_free);
    self->sent = 0;
    return TRUE;
}

gboolean hm_store_save(HmStore *self, GError **error)
{
    if (!carry_out(self, error)) {
        return FALSE;
    }
    self->pending = hostmem_registry_save(self->registry, error);
    return self->pending && carry_out(self, error);
}

static void save_now(HmStore *self);

static gboolean on_retry(gpointer data)
{
    HmStore *self = data;

    self->retry = 0;
    save_now(self);
    return G_SOURCE_REMOVE;
}

/* What is stored stays good: it is only older. */
static void save_failed(HmStore *self, const GError *error)
{
    if (!self->failed) {
        fprintf(stderr,
                "hostmemd: warning: what has changed would be lost at a "
                "restart now: %s\n",
                error->message);
    }
    self->failed = TRUE;
    if (!self->retry) {
        self->retry = g_timeout_add_seconds(RETRY_S, on_retry, self);
    }
}

static void save_now(HmStore *self)
{
    g_autoptr(GError) error = NULL;

    if (!hm_store_save(self, &error)) {
        save_failed(self, error);
        return;
    }
    self->failed = FALSE;
    g_clear_handle_id(&self->retry, g_source_remove);
}

void hm_store_follow(HmStore *self)
{
    if (!self->is_there) {
        return;
    }
    self->handler = g_signal_connect_swapped(self->registry, "state-changed",
                                             G_CALLBACK(save_now), self);
    save_now(self);
}

/* The end */

void hm_store_unfollow(HmStore *self)
{
    g_clear_signal_handler(&self->handler, self->registry);
    g_clear_handle_id(&self->retry, g_source_remove);
}

void hm_store_leave(HmStore *self)
{
    if (self->is_there) {
        hm_store_unfollow(self);
        carry_out(self, NULL);
        hostmem_registry_leave_behind(self->registry);
    }
}

void hm_store_empty(HmStore *self)
{
    GHashTableIter iter;
    gpointer name;

    if (!self->is_there) {
        return;
    }
    g_hash_table_iter_init(&iter, self->names);
    while (g_hash_table_iter_next(&iter, &name, NULL)) {
        hm_notify_remove_fd(name, NULL);
    }
    g_hash_table_remove_all(self->names);
}
