/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/export/libvirt-loop.h"
#include "util/thread.h"
#include <glib-unix.h>

/*
 * Theory of operation
 *
 * libvirt has no thread of its own for a connection: it asks for an event loop
 * in which to hear of events, and of a peer that went.  The one that it brings
 * along runs GLib's default main context, that is, all the program has in
 * there.  So it gets another one: a main context that nobody else has, and a
 * thread that does nothing but run it.
 *
 * libvirt adds, changes and removes watches from any thread, and from within
 * their callbacks.  A watch that is removed is freed by that thread when it
 * runs none of them: it may be inside the callback right now.
 */

typedef struct {
    int id;
    int fd;           /* -1: a timer */
    GSource *source;  /* (nullable): NULL while it waits for nothing */
    gboolean removed; /* is to be called no more */
    virEventHandleCallback on_ready;
    virEventTimeoutCallback on_timeout;
    void *opaque;
    virFreeCallback free;
} Watch;

static GMutex lock;         /* guards all below, and watches */
static GHashTable *watches; /* id to Watch, owned by that thread */
static int last_id;
static GMainContext *context;

/* Events of libvirt and of poll */

static GIOCondition condition_of(int events)
{
    return (events & VIR_EVENT_HANDLE_READABLE ? G_IO_IN : 0) |
           (events & VIR_EVENT_HANDLE_WRITABLE ? G_IO_OUT : 0) |
           (events & VIR_EVENT_HANDLE_ERROR ? G_IO_ERR : 0) |
           (events & VIR_EVENT_HANDLE_HANGUP ? G_IO_HUP : 0);
}

static int events_of(GIOCondition condition)
{
    return (condition & G_IO_IN ? VIR_EVENT_HANDLE_READABLE : 0) |
           (condition & G_IO_OUT ? VIR_EVENT_HANDLE_WRITABLE : 0) |
           (condition & (G_IO_ERR | G_IO_NVAL) ? VIR_EVENT_HANDLE_ERROR : 0) |
           (condition & G_IO_HUP ? VIR_EVENT_HANDLE_HANGUP : 0);
}

/* Dispatching, in that thread */

static gboolean is_alive(Watch *self)
{
    g_mutex_lock(&lock);
    gboolean alive = !self->removed;
    g_mutex_unlock(&lock);
    return alive;
}

static gboolean on_ready(int fd, GIOCondition condition, gpointer data)
{
    Watch *self = data;

    if (is_alive(self)) {
        self->on_ready(self->id, fd, events_of(condition), self->opaque);
    }
    return G_SOURCE_CONTINUE;
}

static gboolean on_timeout(gpointer data)
{
    Watch *self = data;

    if (is_alive(self)) {
        self->on_timeout(self->id, self->opaque);
    }
    return G_SOURCE_CONTINUE;
}

static gboolean on_removed(gpointer data)
{
    Watch *self = data;

    if (self->free) {
        self->free(self->opaque);
    }
    g_free(self);
    return G_SOURCE_REMOVE;
}

/* Watches; with the lock held */

static void stop(Watch *self)
{
    if (self->source) {
        g_source_destroy(self->source);
        g_clear_pointer(&self->source, g_source_unref);
    }
}

static void watch_fd(Watch *self, int events)
{
    stop(self);
    if (events) {
        self->source = g_unix_fd_source_new(self->fd, condition_of(events));
        g_source_set_callback(self->source, G_SOURCE_FUNC(on_ready), self,
                              NULL);
        g_source_attach(self->source, context);
    }
}

/* Milliseconds; -1: never. */
static void watch_time(Watch *self, int interval)
{
    stop(self);
    if (interval >= 0) {
        self->source = g_timeout_source_new((guint)interval);
        g_source_set_callback(self->source, on_timeout, self, NULL);
        g_source_attach(self->source, context);
    }
}

static Watch *add(int fd, void *opaque, virFreeCallback free)
{
    Watch *self = g_new0(Watch, 1);

    self->id = ++last_id;
    self->fd = fd;
    self->opaque = opaque;
    self->free = free;
    g_hash_table_insert(watches, GINT_TO_POINTER(self->id), self);
    return self;
}

static void free_later(Watch *self)
{
    GSource *source = g_idle_source_new();

    stop(self);
    self->removed = TRUE;
    g_source_set_callback(source, on_removed, self, NULL);
    g_source_attach(source, context);
    g_source_unref(source);
}

/* What libvirt calls */

static int add_handle(int fd, int events, virEventHandleCallback callback,
                      void *opaque, virFreeCallback free)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&lock);
    Watch *watch = add(fd, opaque, free);

    watch->on_ready = callback;
    watch_fd(watch, events);
    return watch->id;
}

static int add_timeout(int interval, virEventTimeoutCallback callback,
                       void *opaque, virFreeCallback free)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&lock);
    Watch *watch = add(-1, opaque, free);

    watch->on_timeout = callback;
    watch_time(watch, interval);
    return watch->id;
}

static void update_handle(int id, int events)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&lock);
    Watch *watch = g_hash_table_lookup(watches, GINT_TO_POINTER(id));

    if (watch) {
        watch_fd(watch, events);
    }
}

static void update_timeout(int id, int interval)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&lock);
    Watch *watch = g_hash_table_lookup(watches, GINT_TO_POINTER(id));

    if (watch) {
        watch_time(watch, interval);
    }
}

static int remove_watch(int id)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&lock);
    Watch *watch = g_hash_table_lookup(watches, GINT_TO_POINTER(id));

    if (!watch) {
        return -1;
    }
    g_hash_table_remove(watches, GINT_TO_POINTER(id));
    free_later(watch);
    return 0;
}

/* The thread */

static gpointer run(gpointer data G_GNUC_UNUSED)
{
    for (;;) {
        g_main_context_iteration(context, TRUE);
    }
    return NULL;
}

gboolean hm_libvirt_loop_start(const HmLibvirt *lib, GError **error)
{
    static gboolean started;
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&lock);
    GThread *thread;

    if (started) {
        return TRUE;
    }
    if (!context) {
        context = g_main_context_new();
        watches = g_hash_table_new(NULL, NULL);
    }
    thread = hm_thread_new("libvirt-events", run, NULL, error);
    if (!thread) {
        return FALSE;
    }
    g_thread_unref(thread);
    /* When the program has given it another one, that stays. */
    lib->virEventRegisterImpl(add_handle, update_handle, remove_watch,
                              add_timeout, update_timeout, remove_watch);
    started = TRUE;
    return TRUE;
}
