/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * A new thread inherits the CPU affinity of the thread that makes it.  So the
 * object keeps one thread parked that does nothing but make others: whoever
 * moves it, by its properties or from outside with sched_setaffinity(2) on
 * "thread-id", decides where all later ones run.
 *
 * There is room for one request.  A requester waits for that room, leaves its
 * request there, and waits until the parked thread has answered.
 */
#include <hostmem/thread-context.h>
#include "backends/object.h"
#include "util/error.h"
#include "util/numa.h"
#include "util/os.h"
#include "util/thread.h"

/* What a thread begins with. */
typedef struct {
    GThreadFunc func;
    gpointer data;
    sigset_t mask; /* of signals, the requester's */
} Start;

/* A thread to be made; lives on the requester's stack. */
typedef struct {
    const char *name;
    Start start;
    gboolean answered;
    GThread *thread; /* NULL with @error */
    GError *error;
} SpawnRequest;

struct _HostmemThreadContext {
    HostmemObject parent_instance;

    char *cpu_affinity; /* as given; NULL: not given */
    char *node_affinity;

    GThread *parked; /* NULL: never started */
    pid_t thread_id; /* constant once creation is complete */

    GMutex lock; /* guards what follows; innermost */
    GCond changed;
    SpawnRequest *request; /* NULL: there is room for one */
    gboolean quit;
};

struct _HostmemThreadContextClass {
    HostmemObjectClass parent_class;
};
typedef struct _HostmemThreadContextClass HostmemThreadContextClass;

G_DEFINE_TYPE(HostmemThreadContext, hostmem_thread_context, HOSTMEM_TYPE_OBJECT)

/* Computed properties */

static void get_cpu_affinity(gpointer object, GValue *value)
{
    pid_t tid = hostmem_thread_context_get_thread_id(object);
    g_autoptr(HmIdset) cpus = hm_idset_new();

    if (tid && hm_os_get_affinity(tid, cpus) == 0) {
        g_value_take_string(value, hm_idset_to_string(cpus));
    }
}

static void get_thread_id(gpointer object, GValue *value)
{
    g_value_set_int64(value, hostmem_thread_context_get_thread_id(object));
}

static const HmProp thread_context_props[] = {
    {
        .name = "cpu-affinity",
        .kind = HM_PROP_IDS,
        .flags = HM_PROP_LIVE,
        .offset = HM_PROP_FIELD(HostmemThreadContext, cpu_affinity),
        .max = G_MAXUINT16,
        .get = get_cpu_affinity,
        .description = "Host CPUs that new threads may run on",
    },
    {
        .name = "node-affinity",
        .kind = HM_PROP_IDS,
        .flags = HM_PROP_LIVE | HM_PROP_WRITE_ONLY,
        .offset = HM_PROP_FIELD(HostmemThreadContext, node_affinity),
        .max = G_MAXUINT16,
        .description = "Host NUMA nodes whose CPUs new threads may run on",
    },
    {
        .name = "thread-id",
        .kind = HM_PROP_INT64,
        .flags = HM_PROP_READ_ONLY,
        .get = get_thread_id,
        .description = "Kernel id of the thread that others inherit from",
    },
};

/* Affinity */

static gboolean set_cpus(HostmemThreadContext *self, const HmIdset *cpus,
                         GError **error)
{
    int ret = hm_os_set_affinity(self->thread_id, cpus);

    return !ret ||
           hm_set_error_errno(error, -ret, "Setting CPU affinity failed");
}

static gboolean set_cpu_affinity(HostmemThreadContext *self, const char *text,
                                 GError **error)
{
    g_autoptr(HmIdset) cpus = hm_idset_parse(text, error);

    if (!cpus) {
        return FALSE;
    }
    if (hm_idset_is_empty(cpus)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID, "CPU list is empty");
    }
    return set_cpus(self, cpus, error);
}

static gboolean set_node_affinity(HostmemThreadContext *self, const char *text,
                                  GError **error)
{
    g_autoptr(HmIdset) nodes = hm_idset_parse(text, error);
    g_autoptr(HmIdset) cpus = NULL;

    if (!nodes) {
        return FALSE;
    }
    if (hm_idset_is_empty(nodes)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID, "Node list is empty");
    }
    cpus = hm_numa_cpus_of(nodes);
    if (hm_idset_is_empty(cpus)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "The nodes select no CPUs");
    }
    return set_cpus(self, cpus, error);
}

static gboolean set_initial_affinity(HostmemThreadContext *self, GError **error)
{
    if (self->cpu_affinity) {
        return set_cpu_affinity(self, self->cpu_affinity, error);
    }
    if (self->node_affinity) {
        return set_node_affinity(self, self->node_affinity, error);
    }
    return TRUE;
}

/* The last one that was set counts. */
static void forget(HostmemThreadContext *self, char **other)
{
    g_autoptr(GMutexLocker) locker =
        g_mutex_locker_new(&HOSTMEM_OBJECT(self)->value_lock);

    g_clear_pointer(other, g_free);
}

static gboolean thread_context_change(HostmemObject *object, const HmProp *row,
                                      const GValue *value,
                                      GCancellable *cancellable G_GNUC_UNUSED,
                                      GError **error)
{
    HostmemThreadContext *self = HOSTMEM_THREAD_CONTEXT(object);
    gboolean is_cpus = g_str_equal(row->name, "cpu-affinity");
    const char *text = g_value_get_string(value);

    text = text ? text : "";
    if (is_cpus ? !set_cpu_affinity(self, text, error)
                : !set_node_affinity(self, text, error)) {
        return FALSE;
    }
    forget(self, is_cpus ? &self->node_affinity : &self->cpu_affinity);
    return TRUE;
}

static json_t *ids_to_json(const char *text)
{
    g_autoptr(HmIdset) ids = hm_idset_parse(text, NULL);
    json_t *list = json_array();

    HM_IDSET_FOREACH (ids, id) {
        json_array_append_new(list, json_integer(id));
    }
    return list;
}

static void save_ids(json_t *options, const char *name, const char *text)
{
    if (text) {
        json_object_set_new(options, name, ids_to_json(text));
    } else {
        json_object_del(options, name);
    }
}

/* What reads as "cpu-affinity" is where the thread happens to be. */
static void thread_context_save(HostmemObject *object, HmSaved *saved)
{
    HostmemThreadContext *self = HOSTMEM_THREAD_CONTEXT(object);
    json_t *options = hm_saved_get_options(saved);
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&object->value_lock);

    save_ids(options, "cpu-affinity", self->cpu_affinity);
    save_ids(options, "node-affinity", self->node_affinity);
}

/* The parked thread */

static gpointer start_main(gpointer data)
{
    const Start start = *(Start *)data;

    g_free(data);
    hm_thread_restore_signals(&start.mask);
    return start.func(start.data);
}

static void answer(SpawnRequest *request)
{
    Start *start = g_memdup2(&request->start, sizeof(*start));

    request->thread =
        hm_thread_new(request->name, start_main, start, &request->error);
    if (!request->thread) {
        g_free(start);
    }
    request->answered = TRUE;
}

static gpointer parked_main(gpointer data)
{
    HostmemThreadContext *self = data;
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    self->thread_id = hm_os_thread_id();
    g_cond_broadcast(&self->changed);
    while (!self->quit) {
        if (self->request) {
            answer(self->request);
            self->request = NULL;
            g_cond_broadcast(&self->changed);
        }
        g_cond_wait(&self->changed, &self->lock);
    }
    return NULL;
}

static gboolean park(HostmemThreadContext *self, GError **error)
{
    g_autoptr(GMutexLocker) locker = NULL;

    self->parked = hm_thread_new("thread-context", parked_main, self, error);
    if (!self->parked) {
        return FALSE;
    }
    locker = g_mutex_locker_new(&self->lock);
    while (!self->thread_id) {
        g_cond_wait(&self->changed, &self->lock);
    }
    return TRUE;
}

static void unpark(HostmemThreadContext *self)
{
    g_mutex_lock(&self->lock);
    self->quit = TRUE;
    g_cond_broadcast(&self->changed);
    g_mutex_unlock(&self->lock);
    g_thread_join(self->parked);
}

static gboolean thread_context_complete(HostmemObject *object,
                                        GCancellable *cancellable,
                                        GError **error)
{
    HostmemThreadContext *self = HOSTMEM_THREAD_CONTEXT(object);

    if (g_cancellable_set_error_if_cancelled(cancellable, error)) {
        return FALSE;
    }
    if (self->cpu_affinity && self->node_affinity) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "Mixing CPU and node affinity not supported");
    }
    return park(self, error) && set_initial_affinity(self, error);
}

pid_t hostmem_thread_context_get_thread_id(HostmemThreadContext *self)
{
    g_return_val_if_fail(HOSTMEM_IS_THREAD_CONTEXT(self), 0);

    return hm_object_is_complete(HOSTMEM_OBJECT(self)) ? self->thread_id : 0;
}

GThread *hostmem_thread_context_spawn(HostmemThreadContext *self,
                                      const char *name, GThreadFunc func,
                                      gpointer data, GError **error)
{
    SpawnRequest request = {.name = name, .start = {func, data}};

    g_return_val_if_fail(HOSTMEM_IS_THREAD_CONTEXT(self) && func, NULL);
    g_return_val_if_fail(hm_object_is_complete(HOSTMEM_OBJECT(self)), NULL);

    pthread_sigmask(SIG_SETMASK, NULL, &request.start.mask);
    g_mutex_lock(&self->lock);
    while (self->request) {
        g_cond_wait(&self->changed, &self->lock);
    }
    self->request = &request;
    g_cond_broadcast(&self->changed);
    while (!request.answered) {
        g_cond_wait(&self->changed, &self->lock);
    }
    g_mutex_unlock(&self->lock);
    if (!request.thread) {
        g_propagate_error(error, request.error);
    }
    return request.thread;
}

/* Life */

static void hostmem_thread_context_init(HostmemThreadContext *self)
{
    g_mutex_init(&self->lock);
    g_cond_init(&self->changed);
}

static void hostmem_thread_context_finalize(GObject *object)
{
    HostmemThreadContext *self = HOSTMEM_THREAD_CONTEXT(object);

    if (self->parked) {
        unpark(self);
    }
    g_mutex_clear(&self->lock);
    g_cond_clear(&self->changed);
    G_OBJECT_CLASS(hostmem_thread_context_parent_class)->finalize(object);
}

static void hostmem_thread_context_class_init(HostmemThreadContextClass *klass)
{
    HostmemObjectClass *object_class = HOSTMEM_OBJECT_CLASS(klass);

    object_class->type_name = "thread-context";
    object_class->complete = thread_context_complete;
    object_class->change = thread_context_change;
    object_class->save = thread_context_save;
    G_OBJECT_CLASS(klass)->finalize = hostmem_thread_context_finalize;
    hm_props_install(G_OBJECT_CLASS(klass), thread_context_props,
                     G_N_ELEMENTS(thread_context_props));
}
