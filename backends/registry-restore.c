/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * What was saved is made again in the ways by which anything is made: options
 * are checked as those of a command, an entry takes the path, and a thread
 * completes the objects, each with what was saved at hand.  That thread
 * prepares all of them, and populates what is to be populated in one run; the
 * devices come last, for they want backends that are complete.
 *
 * An object comes behind those that it is linked to.  One that fails leaves a
 * reason, and takes along what cannot be without it; a thread-context is not
 * worth anybody's memory, and the link to it is dropped.
 *
 * A client that removes one of them meanwhile gets rid of that one alone, when
 * the others are there.
 */
#include <string.h>
#include "backends/hostmem.h"
#include "backends/memory-pool.h"
#include "backends/object-types.h"
#include "backends/registry-restore.h"
#include "util/autofd.h"
#include "util/error.h"
#include "util/thread.h"

static void item_clear(gpointer data)
{
    HmRestoreItem *item = data;

    g_clear_pointer(&item->saved, hm_saved_free);
    g_clear_error(&item->error);
}

static HmRestore *restore_new(HostmemRegistry *registry)
{
    HmRestore *self = g_new0(HmRestore, 1);

    self->registry = registry;
    self->items = g_array_new(FALSE, TRUE, sizeof(HmRestoreItem));
    g_array_set_clear_func(self->items, item_clear);
    self->by_path = g_hash_table_new(g_str_hash, g_str_equal);
    self->order = g_ptr_array_new();
    self->cancellable = g_cancellable_new();
    return self;
}

/* Waits for a cancel that is just being passed on. */
static void unfollow(HmRestore *self)
{
    if (self->outer) {
        g_cancellable_disconnect(self->outer, self->outer_handler);
        g_clear_object(&self->outer);
    }
}

static void restore_free(HmRestore *self)
{
    unfollow(self);
    g_hash_table_unref(self->by_path);
    g_array_unref(self->items);
    g_clear_pointer(&self->state, hm_state_free);
    g_ptr_array_unref(self->order);
    g_object_unref(self->cancellable);
    g_clear_pointer(&self->done, g_source_unref);
    g_clear_error(&self->error);
    g_free(self);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmRestore, restore_free)

/* Objects: any thread */

static gboolean is_backend(const HmRestoreItem *item)
{
    return HOSTMEM_IS_BACKEND(item->entry->object);
}

/* (nullable): what a row links to, when that could not be completed. */
static const HmRestoreItem *
find_broken_link(HmRestore *self, HostmemObject *object, const HmProp *row)
{
    g_auto(GValue) value = G_VALUE_INIT;
    HostmemObject *target;
    const HmRestoreItem *item;

    if (row->kind != HM_PROP_LINK) {
        return NULL;
    }
    hm_prop_get(row, G_OBJECT(object), &value);
    target = g_value_get_object(&value);
    item = target ? hm_restore_find_item(self, target->path) : NULL;
    return item && item->error ? item : NULL;
}

static void cut_link(HostmemObject *object, const HmProp *row)
{
    g_auto(GValue) nothing = G_VALUE_INIT;

    g_value_init(&nothing, hm_prop_gtype(row));
    hm_prop_set(row, G_OBJECT(object), &nothing);
}

/* What was not completed is of no use to who is linked to it. */
static gboolean check_links(HmRestore *self, HmRestoreItem *item)
{
    HostmemObject *object = item->entry->object;
    g_autoptr(GPtrArray) rows = hm_props_list(G_OBJECT_GET_CLASS(object));

    for (guint i = 0; i < rows->len; i++) {
        const HmProp *row = g_ptr_array_index(rows, i);
        const HmRestoreItem *broken = find_broken_link(self, object, row);

        if (broken && row->type() == HOSTMEM_TYPE_THREAD_CONTEXT) {
            hm_restore_drop_link(item, row->name, broken->path);
            cut_link(object, row);
        } else if (broken) {
            return hm_set_error(&item->error, HOSTMEM_ERROR_NOT_FOUND,
                                "'%s', which it needs, was not restored",
                                broken->path);
        }
    }
    return TRUE;
}

static void complete_object(HmRestore *self, HmRestoreItem *item,
                            GPtrArray *backends)
{
    HostmemObject *object = item->entry->object;

    if (!check_links(self, item)) {
        return;
    }
    if (!is_backend(item)) {
        g_initable_init(G_INITABLE(object), self->cancellable, &item->error);
    } else if (hm_backend_prepare(HOSTMEM_BACKEND(object), self->cancellable,
                                  &item->error)) {
        g_ptr_array_add(backends, object);
    }
}

/* Devices when @devices, else the other ones. */
static void complete_objects(HmRestore *self, GPtrArray *backends,
                             gboolean devices)
{
    for (guint i = 0; i < self->order->len; i++) {
        HmRestoreItem *item = g_ptr_array_index(self->order, i);

        if (item->entry && (item->entry->kind == HM_SPEC_DEVICE) == devices) {
            complete_object(self, item, backends);
        }
    }
}

/* Whoever has not come back by now has lost what a pool has lent. */
static void end_pools(HmRestore *self)
{
    for (guint i = 0; i < self->order->len; i++) {
        const HmRestoreItem *item = g_ptr_array_index(self->order, i);

        if (item->entry && !item->error &&
            HOSTMEM_IS_MEMORY_POOL(item->entry->object)) {
            hm_memory_pool_end_restore(
                HOSTMEM_MEMORY_POOL(item->entry->object));
        }
    }
}

static void create(HmRestore *self)
{
    g_autoptr(GPtrArray) backends = g_ptr_array_new();

    complete_objects(self, backends, FALSE);
    hm_backends_finish_restored(backends, self->cancellable);
    for (guint i = 0; i < backends->len; i++) {
        hm_object_set_complete(g_ptr_array_index(backends, i));
    }
    complete_objects(self, backends, TRUE);
    if (!g_cancellable_set_error_if_cancelled(self->cancellable,
                                              &self->error)) {
        end_pools(self);
    }
}

/* Afterwards: the registry's thread */

static void note_result(HmRestore *self, const HmRestoreItem *item)
{
    HostmemRegistry *registry = self->registry;
    HostmemRestored *restored = g_new0(HostmemRestored, 1);

    restored->path = g_utf8_make_valid(item->path, -1);
    if (item->error) {
        restored->status =
            item->lost ? HOSTMEM_RESTORE_LOST : HOSTMEM_RESTORE_FAILED;
        restored->reason = g_utf8_make_valid(item->error->message, -1);
    }
    g_ptr_array_add(registry->restored, restored);
}

static gint compare_saved(gconstpointer a, gconstpointer b, gpointer data)
{
    GHashTable *places = data;
    gpointer first = g_hash_table_lookup(places, *(gpointer const *)a);
    gpointer second = g_hash_table_lookup(places, *(gpointer const *)b);

    return GPOINTER_TO_INT(first) - GPOINTER_TO_INT(second);
}

/* Lists have them as they were created at first. */
static void sort_entries(HmRestore *self)
{
    g_autoptr(GHashTable) places = g_hash_table_new(NULL, NULL);

    for (guint i = 0; i < self->items->len; i++) {
        const HmRestoreItem *item =
            &g_array_index(self->items, HmRestoreItem, i);

        if (item->entry) {
            g_hash_table_insert(places, item->entry, GINT_TO_POINTER(i));
        }
    }
    g_ptr_array_sort_with_data(self->registry->entries, compare_saved, places);
}

/* What failed goes from the end on: others may point to what comes first. */
static void settle_entries(HmRestore *self)
{
    for (guint i = self->order->len; i-- > 0;) {
        HmRestoreItem *item = g_ptr_array_index(self->order, i);
        const GError *why = self->error ? self->error : item->error;

        if (item->entry && why) {
            hm_object_abandon(item->entry->object);
            item->entry->error = g_error_copy(why);
            hm_entry_created(g_steal_pointer(&item->entry), FALSE);
        }
    }
    for (guint i = 0; i < self->items->len; i++) {
        HmRestoreItem *item = &g_array_index(self->items, HmRestoreItem, i);

        if (item->entry) {
            hm_entry_created(item->entry, hm_entry_is_leaving(item->entry));
        }
    }
}

static void finish(HmRestore *self)
{
    HostmemRegistry *registry = self->registry;

    sort_entries(self);
    if (!self->error) {
        for (guint i = 0; i < self->items->len; i++) {
            note_result(self, &g_array_index(self->items, HmRestoreItem, i));
        }
        registry->state_fd = hm_steal_fd(&self->state->fd);
    } else {
        g_ptr_array_set_size(registry->old_states, 0);
        g_hash_table_remove_all(registry->kept);
    }
    settle_entries(self);
    hm_keeper_changed(registry->keeper);
}

/* Beginning */

/* (element-type utf8 int): descriptors by name; owned. */
static GHashTable *take_fds(GPtrArray *fds, GHashTable *kept)
{
    GHashTable *by_name =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    for (guint i = 0; i < fds->len; i++) {
        HostmemSavedFd *fd = g_ptr_array_index(fds, i);

        g_hash_table_add(kept, g_strdup(fd->name));
        if (fd->fd >= 0 && !g_hash_table_contains(by_name, fd->name)) {
            g_hash_table_insert(by_name, g_strdup(fd->name),
                                GINT_TO_POINTER(fd->fd));
            fd->fd = -1;
        }
    }
    g_ptr_array_set_size(fds, 0);
    return by_name;
}

static void close_rest(GHashTable *fds)
{
    GHashTableIter iter;
    gpointer fd;

    g_hash_table_iter_init(&iter, fds);
    while (g_hash_table_iter_next(&iter, NULL, &fd)) {
        hm_os_close(GPOINTER_TO_INT(fd));
    }
}

static gboolean is_used(HostmemRegistry *registry, guint64 generation)
{
    g_autofree char *name =
        g_strdup_printf(HOSTMEM_STATE_NAME ".%" G_GUINT64_FORMAT, generation);

    return g_ptr_array_find_with_equal_func(registry->old_states, name,
                                            g_str_equal, NULL);
}

/* The name of a state that was of no use will be forgotten, with all that is
 * called so. */
static void set_generation(HostmemRegistry *registry, guint64 generation)
{
    registry->generation = generation;
    while (is_used(registry, registry->generation + 1)) {
        registry->generation++;
    }
}

static gboolean begin(HmRestore *self, GPtrArray *fds)
{
    HostmemRegistry *registry = self->registry;
    g_autoptr(GHashTable) by_name = NULL;
    const char *note;

    self->state = hm_state_find(fds, registry->old_states, &self->error);
    if (!self->state) {
        g_ptr_array_set_size(fds, 0);
        return FALSE;
    }
    by_name = take_fds(fds, registry->kept);
    set_generation(registry, self->state->generation);
    hm_keeper_set_serial(registry->keeper, self->state->serial);
    note = json_string_value(json_object_get(self->state->root, "note"));
    registry->note = g_strdup(note);
    hm_restore_read_items(self, by_name);
    close_rest(by_name);
    hm_restore_make_entries(self);
    return TRUE;
}

gboolean hostmem_registry_restore(HostmemRegistry *self, GPtrArray *fds,
                                  GCancellable *cancellable, GError **error)
{
    g_autoptr(HmRestore) restore = NULL;

    g_return_val_if_fail(HOSTMEM_IS_REGISTRY(self) && fds, FALSE);
    g_return_val_if_fail(!self->entries->len && !self->restored->len, FALSE);

    restore = restore_new(self);
    if (cancellable) {
        g_set_object(&restore->cancellable, cancellable);
    }
    if (begin(restore, fds)) {
        create(restore);
    }
    finish(restore);
    if (restore->error) {
        g_propagate_error(error, g_steal_pointer(&restore->error));
        return FALSE;
    }
    return TRUE;
}

/* Without waiting */

void hm_restore_settle(gpointer data)
{
    g_autoptr(HmRestore) self = data;
    g_autoptr(HostmemRegistry) registry = g_object_ref(self->registry);
    g_autoptr(GTask) task = NULL;

    g_clear_pointer(&self->thread, g_thread_join);
    g_source_destroy(self->done);
    registry->restoring = NULL;
    unfollow(self);
    finish(self);
    task = hm_registry_new_task(registry, &self->waiter,
                                hostmem_registry_restore_async);
    if (self->error) {
        g_task_return_error(task, g_steal_pointer(&self->error));
    } else {
        g_task_return_boolean(task, TRUE);
    }
}

void hm_restore_cancel(gpointer data)
{
    g_cancellable_cancel(((HmRestore *)data)->cancellable);
}

static gboolean on_done(gpointer data)
{
    hm_restore_settle(data);
    return G_SOURCE_REMOVE;
}

static gpointer restore_main(gpointer data)
{
    HmRestore *self = data;

    create(self);
    g_source_attach(self->done, self->registry->context);
    return NULL;
}

static void pass_on_cancel(GCancellable *outer G_GNUC_UNUSED, gpointer inner)
{
    g_cancellable_cancel(inner);
}

static gboolean start(HmRestore *self, GPtrArray *fds)
{
    if (!begin(self, fds)) {
        return FALSE;
    }
    self->thread =
        hm_thread_new("hostmem-restore", restore_main, self, &self->error);
    return self->thread != NULL;
}

void hostmem_registry_restore_async(HostmemRegistry *self, GPtrArray *fds,
                                    GCancellable *cancellable,
                                    GAsyncReadyCallback callback,
                                    gpointer user_data)
{
    HmRestore *restore;

    g_return_if_fail(HOSTMEM_IS_REGISTRY(self) && fds);
    g_return_if_fail(!self->entries->len && !self->restoring);

    restore = restore_new(self);
    restore->waiter = (HmWaiter){callback, user_data};
    restore->done = g_idle_source_new();
    g_source_set_priority(restore->done, G_PRIORITY_DEFAULT);
    g_source_set_callback(restore->done, on_done, restore, NULL);
    self->restoring = restore;
    if (cancellable) {
        restore->outer = g_object_ref(cancellable);
        restore->outer_handler = g_cancellable_connect(
            cancellable, G_CALLBACK(pass_on_cancel),
            g_object_ref(restore->cancellable), g_object_unref);
    }
    if (!start(restore, fds)) {
        g_source_attach(restore->done, self->context);
    }
}

gboolean hostmem_registry_restore_finish(HostmemRegistry *self,
                                         GAsyncResult *result, GError **error)
{
    g_return_val_if_fail(g_task_is_valid(result, self), FALSE);

    return g_task_propagate_boolean(G_TASK(result), error);
}
