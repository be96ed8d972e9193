/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dlfcn.h>
#include <gio/gio.h>

/*
 * What ThreadSanitizer has to know about GLib.  Preloaded in its set-up.
 *
 * The distribution's GLib is not instrumented: TSan sees neither that a GMutex
 * orders what happens under it, as it is a futex and no pthread mutex, nor
 * that a GTask or a GSource hands its data from one thread to another, and
 * would call each use a race.  These functions stand before GLib's own, and
 * say so.  Calls inside of GLib do not come by here.
 */

void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
void __tsan_mutex_pre_lock(void *addr, unsigned flags);
void __tsan_mutex_post_lock(void *addr, unsigned flags, int recursion);
int __tsan_mutex_pre_unlock(void *addr, unsigned flags);
void __tsan_mutex_post_unlock(void *addr, unsigned flags);
#pragma weak __tsan_acquire
#pragma weak __tsan_release
#pragma weak __tsan_mutex_pre_lock
#pragma weak __tsan_mutex_post_lock
#pragma weak __tsan_mutex_pre_unlock
#pragma weak __tsan_mutex_post_unlock

enum {
    TRY_LOCK = 1 << 4,
    TRY_LOCK_FAILED = 1 << 5,
};

/* The function behind the one of the same name here. */
#define NEXT(name) ((__typeof__(&name))next(#name))

static gpointer next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

/* Programs that are not instrumented, such as Python, are preloaded too. */
static gboolean instrumented(void)
{
    return __tsan_acquire != NULL;
}

static void acquire(gpointer address)
{
    if (instrumented()) {
        __tsan_acquire(address);
    }
}

static void release(gpointer address)
{
    if (instrumented()) {
        __tsan_release(address);
    }
}

/* locks */

static void before_unlock(GMutex *mutex)
{
    if (instrumented()) {
        __tsan_mutex_pre_unlock(mutex, 0);
        __tsan_mutex_post_unlock(mutex, 0);
    }
}

static void before_lock(GMutex *mutex, unsigned flags)
{
    if (instrumented()) {
        __tsan_mutex_pre_lock(mutex, flags);
    }
}

static void after_lock(GMutex *mutex, unsigned flags)
{
    if (instrumented()) {
        __tsan_mutex_post_lock(mutex, flags, 0);
    }
}

void g_mutex_lock(GMutex *mutex)
{
    before_lock(mutex, 0);
    NEXT(g_mutex_lock)(mutex);
    after_lock(mutex, 0);
}

gboolean g_mutex_trylock(GMutex *mutex)
{
    before_lock(mutex, TRY_LOCK);
    gboolean locked = NEXT(g_mutex_trylock)(mutex);
    after_lock(mutex, locked ? TRY_LOCK : TRY_LOCK | TRY_LOCK_FAILED);
    return locked;
}

void g_mutex_unlock(GMutex *mutex)
{
    before_unlock(mutex);
    NEXT(g_mutex_unlock)(mutex);
}

void g_cond_wait(GCond *cond, GMutex *mutex)
{
    before_unlock(mutex);
    NEXT(g_cond_wait)(cond, mutex);
    before_lock(mutex, 0);
    after_lock(mutex, 0);
}

gboolean g_cond_wait_until(GCond *cond, GMutex *mutex, gint64 end_time)
{
    before_unlock(mutex);
    gboolean signalled = NEXT(g_cond_wait_until)(cond, mutex, end_time);
    before_lock(mutex, 0);
    after_lock(mutex, 0);
    return signalled;
}

gboolean(g_once_init_enter)(volatile void *location)
{
    gboolean first = NEXT(g_once_init_enter)(location);
    acquire((gpointer)location);
    return first;
}

void(g_once_init_leave)(volatile void *location, gsize result)
{
    release((gpointer)location);
    NEXT(g_once_init_leave)(location, result);
}

/* The last reference sees what was done under the others. */
void(g_object_unref)(gpointer object)
{
    release(object);
    acquire(object);
    NEXT(g_object_unref)(object);
}

/* tasks: the GTask stands for all that one thread hands to the other */

static void run_task(GTask *task, gpointer source, gpointer data,
                     GCancellable *cancellable)
{
    GTaskThreadFunc run = g_object_get_data(G_OBJECT(task), "tsan-run");

    acquire(task);
    run(task, source, data, cancellable);
    release(task);
}

void g_task_run_in_thread(GTask *task, GTaskThreadFunc func)
{
    g_object_set_data(G_OBJECT(task), "tsan-run", func);
    release(task);
    NEXT(g_task_run_in_thread)(task, run_task);
}

gpointer g_task_get_task_data(GTask *task)
{
    acquire(task);
    return NEXT(g_task_get_task_data)(task);
}

void g_task_return_boolean(GTask *task, gboolean result)
{
    release(task);
    NEXT(g_task_return_boolean)(task, result);
}

void g_task_return_pointer(GTask *task, gpointer result, GDestroyNotify destroy)
{
    release(task);
    NEXT(g_task_return_pointer)(task, result, destroy);
}

void g_task_return_error(GTask *task, GError *error)
{
    release(task);
    NEXT(g_task_return_error)(task, error);
}

gboolean g_task_propagate_boolean(GTask *task, GError **error)
{
    acquire(task);
    return NEXT(g_task_propagate_boolean)(task, error);
}

gpointer g_task_propagate_pointer(GTask *task, GError **error)
{
    acquire(task);
    return NEXT(g_task_propagate_pointer)(task, error);
}

/* idle and timeout sources, which one thread may attach to another's loop */

typedef struct {
    GSourceFunc func;
    gpointer data;
    GDestroyNotify notify;
} Callback;

static gboolean call(gpointer data)
{
    Callback *callback = data;

    acquire(callback);
    return callback->func(callback->data);
}

static void free_callback(gpointer data)
{
    Callback *callback = data;

    acquire(callback);
    if (callback->notify) {
        callback->notify(callback->data);
    }
    g_free(callback);
}

void g_source_set_callback(GSource *source, GSourceFunc func, gpointer data,
                           GDestroyNotify notify)
{
    if (source->source_funcs != &g_idle_funcs &&
        source->source_funcs != &g_timeout_funcs) {
        NEXT(g_source_set_callback)(source, func, data, notify);
        return;
    }
    Callback *callback = g_new(Callback, 1);
    *callback = (Callback){func, data, notify};
    release(callback);
    NEXT(g_source_set_callback)(source, call, callback, free_callback);
}
