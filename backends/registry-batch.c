/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * A batch is created in three steps.  All its lines are checked in the
 * registry's thread, which takes their ids; what they say wrong is found before
 * anything is made.  Then, in a thread of the batch, the objects are prepared
 * one after the other, as a link points to one that comes before, and at last
 * all backends are populated in one run.  They become ready together: until
 * then nobody can use one that another's failure would take away again.
 */
#include "backends/hostmem.h"
#include "backends/registry-entry.h"
#include "util/thread.h"

typedef struct {
    HostmemRegistry *registry; /* borrowed */
    GPtrArray *entries;        /* borrowed, in the order of the lines */
    GCancellable *cancellable; /* (nullable) */
    GCancellable *outer;       /* (nullable): the caller's, passed on to it */
    gulong outer_handler;
    HmWaiter waiter;
    GThread *thread; /* NULL: no thread was to be had */
    GSource *done;   /* attached by the thread */
    guint failed;    /* these two are the thread's until it is done */
    GError *error;
    gboolean cancelled; /* all of them, as it is found once, then */
} Batch;

static Batch *batch_new(HostmemRegistry *registry)
{
    Batch *self = g_new0(Batch, 1);

    self->registry = registry;
    self->entries = g_ptr_array_new();
    return self;
}

/* Waits for a cancel that is just being passed on. */
static void unfollow(Batch *self)
{
    if (self->outer) {
        g_cancellable_disconnect(self->outer, self->outer_handler);
        g_clear_object(&self->outer);
    }
}

static void batch_free(Batch *self)
{
    unfollow(self);
    g_ptr_array_unref(self->entries);
    g_clear_object(&self->cancellable);
    g_clear_pointer(&self->done, g_source_unref);
    g_clear_error(&self->error);
    g_free(self);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Batch, batch_free)

/* Lines */

/* What an earlier line makes can be pointed to. */
static GObject *find_link(const char *path, gpointer data, GError **error)
{
    const Batch *self = data;
    const HmPropLinks *links = hm_registry_links(self->registry);

    for (guint i = 0; i < self->entries->len; i++) {
        const HmEntry *entry = g_ptr_array_index(self->entries, i);

        if (g_str_equal(path, entry->id) || g_str_equal(path, entry->path)) {
            return G_OBJECT(entry->object);
        }
    }
    return links->find(path, links->data, error);
}

static gboolean parse(Batch *self, const char *const *options)
{
    HmPropLinks links = *hm_registry_links(self->registry);

    links.find = find_link;
    links.data = self;
    for (; options[self->failed]; self->failed++) {
        g_autoptr(HmObjectSpec) spec = hm_object_spec_from_text(
            HM_SPEC_OBJECT, options[self->failed], &links, &self->error);
        HmEntry *entry =
            hm_registry_add_entry(self->registry, spec, &self->error);

        if (!entry) {
            return FALSE;
        }
        g_ptr_array_add(self->entries, entry);
    }
    self->failed = 0;
    return TRUE;
}

/* Creation: any thread */

static gboolean prepare(Batch *self, GPtrArray *backends)
{
    for (guint i = 0; i < self->entries->len; i++) {
        const HmEntry *entry = g_ptr_array_index(self->entries, i);
        HostmemObject *object = entry->object;
        gboolean ok;

        self->failed = i;
        if (!HOSTMEM_IS_BACKEND(object)) {
            ok = g_initable_init(G_INITABLE(object), self->cancellable,
                                 &self->error);
        } else {
            ok = hm_backend_prepare(HOSTMEM_BACKEND(object), self->cancellable,
                                    &self->error);
            g_ptr_array_add(backends, object);
        }
        if (!ok) {
            return FALSE;
        }
    }
    return TRUE;
}

static guint index_of(const Batch *self, HostmemBackend *backend)
{
    guint i = 0;

    while (i < self->entries->len) {
        const HmEntry *entry = g_ptr_array_index(self->entries, i);

        if (entry->object == HOSTMEM_OBJECT(backend)) {
            break;
        }
        i++;
    }
    return i;
}

static void create(Batch *self)
{
    g_autoptr(GPtrArray) backends = g_ptr_array_new();
    HostmemBackend *culprit = NULL;

    if (!prepare(self, backends)) {
        for (guint i = backends->len; i-- > 0;) {
            hm_backend_undo(g_ptr_array_index(backends, i));
        }
        return;
    }
    if (!hm_backends_finish(backends, self->cancellable, &culprit,
                            &self->error)) {
        self->failed = index_of(self, culprit);
        return;
    }
    for (guint i = 0; i < backends->len; i++) {
        hm_object_set_complete(g_ptr_array_index(backends, i));
    }
}

/* Afterwards: the registry's thread */

/* (transfer full) (nullable): what the caller is told. */
static GError *find_error(const Batch *self)
{
    const HmEntry *entry;

    if (self->error &&
        !g_error_matches(self->error, G_IO_ERROR, G_IO_ERROR_CANCELLED)) {
        return g_error_copy(self->error);
    }
    if (self->failed >= self->entries->len) {
        return NULL; /* no lines */
    }
    entry = g_ptr_array_index(self->entries, self->failed);
    if (self->error || self->cancelled) {
        return hm_entry_cancelled_error(entry);
    }
    return NULL;
}

/* What failed goes from the end on: others may point to what comes first.  Who
 * hears of one that is ready can cancel no more, but have another one removed.
 */
static void settle_entries(const Batch *self)
{
    for (guint i = 0; i < self->entries->len; i++) {
        guint at = self->error ? self->entries->len - 1 - i : i;
        HmEntry *entry = g_ptr_array_index(self->entries, at);

        entry->error = self->error ? g_error_copy(self->error) : NULL;
        hm_entry_created(entry, self->cancelled || hm_entry_is_leaving(entry));
    }
}

/* Here and now: to cancel when all are made is too late. */
gboolean hostmem_registry_add_batch(HostmemRegistry *self,
                                    const char *const *options,
                                    GCancellable *cancellable, guint *failed,
                                    GError **error)
{
    g_autoptr(Batch) batch = NULL;
    GError *why;

    g_return_val_if_fail(HOSTMEM_IS_REGISTRY(self) && options, FALSE);

    batch = batch_new(self);
    g_set_object(&batch->cancellable, cancellable);
    if (parse(batch, options)) {
        create(batch);
    }
    why = find_error(batch);
    settle_entries(batch);
    if (!why) {
        return TRUE;
    }
    if (failed) {
        *failed = batch->failed;
    }
    g_propagate_error(error, why);
    return FALSE;
}

/* Without waiting */

void hm_batch_settle(gpointer data)
{
    g_autoptr(Batch) self = data;
    g_autoptr(HostmemRegistry) registry = g_object_ref(self->registry);
    g_autoptr(GTask) task = NULL;
    GError *error;

    g_clear_pointer(&self->thread, g_thread_join);
    g_source_destroy(self->done);
    g_ptr_array_remove(registry->batches, self);
    unfollow(self);
    self->cancelled = g_cancellable_is_cancelled(self->cancellable);
    error = find_error(self);
    settle_entries(self);
    task = hm_registry_new_task(registry, &self->waiter,
                                hostmem_registry_add_batch_async);
    g_task_set_task_data(task, g_memdup2(&self->failed, sizeof(self->failed)),
                         g_free);
    if (error) {
        g_task_return_error(task, error);
    } else {
        g_task_return_boolean(task, TRUE);
    }
}

static gboolean on_done(gpointer data)
{
    hm_batch_settle(data);
    return G_SOURCE_REMOVE;
}

static gpointer batch_main(gpointer data)
{
    Batch *self = data;

    create(self);
    g_source_attach(self->done, self->registry->context);
    return NULL;
}

static void pass_on_cancel(GCancellable *outer G_GNUC_UNUSED, gpointer inner)
{
    g_cancellable_cancel(inner);
}

static void follow(Batch *self, GCancellable *outer)
{
    self->outer = g_object_ref(outer);
    self->outer_handler =
        g_cancellable_connect(outer, G_CALLBACK(pass_on_cancel),
                              g_object_ref(self->cancellable), g_object_unref);
}

static void prepare_to_wait(Batch *self, const HmWaiter *waiter)
{
    self->waiter = *waiter;
    self->cancellable = g_cancellable_new();
    self->done = g_idle_source_new();
    g_source_set_priority(self->done, G_PRIORITY_DEFAULT);
    g_source_set_callback(self->done, on_done, self, NULL);
    g_ptr_array_add(self->registry->batches, self);
}

/* Whoever cancels one of them cancels all. */
static gboolean start(Batch *self, const char *const *options)
{
    if (!parse(self, options)) {
        return FALSE;
    }
    for (guint i = 0; i < self->entries->len; i++) {
        HmEntry *entry = g_ptr_array_index(self->entries, i);

        g_set_object(&entry->cancellable, self->cancellable);
    }
    self->thread =
        hm_thread_new("hostmem-batch", batch_main, self, &self->error);
    return self->thread != NULL;
}

void hostmem_registry_add_batch_async(HostmemRegistry *self,
                                      const char *const *options,
                                      GCancellable *cancellable,
                                      GAsyncReadyCallback callback,
                                      gpointer user_data)
{
    const HmWaiter waiter = {callback, user_data};
    Batch *batch;

    g_return_if_fail(HOSTMEM_IS_REGISTRY(self) && options);

    batch = batch_new(self);
    prepare_to_wait(batch, &waiter);
    if (cancellable) {
        follow(batch, cancellable);
    }
    if (!start(batch, options)) {
        g_source_attach(batch->done, self->context);
    }
}

gboolean hostmem_registry_add_batch_finish(HostmemRegistry *self,
                                           GAsyncResult *result, guint *failed,
                                           GError **error)
{
    g_return_val_if_fail(g_task_is_valid(result, self), FALSE);

    if (failed) {
        *failed = *(guint *)g_task_get_task_data(G_TASK(result));
    }
    return g_task_propagate_boolean(G_TASK(result), error);
}
