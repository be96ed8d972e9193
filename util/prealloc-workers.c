/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/error.h"
#include "util/os.h"
#include "util/prealloc-workers.h"
#include "util/thread.h"

/*
 * Theory of operation
 *
 * To create a thread is to map its stack, which needs mmap_lock for writing
 * and would wait behind, and hold up, the workers that populate already.  So
 * all are created first and wait at a gate:
 *
 *   CREATING  --all are there-->  FIRST  --worker 0 is done-->  EACH
 *            \--one is missing--------------------------------> ABANDONED
 */
typedef enum {
    CREATING,
    FIRST,
    EACH,
    ABANDONED,
} Phase;

typedef struct {
    const HmWork *work;
    const HmIdset *cpus;
    HmPriority priority;
    GMutex lock; /* guards phase */
    GCond moved;
    Phase phase;
} Crew;

static void enter_phase(Crew *crew, Phase phase)
{
    g_mutex_lock(&crew->lock);
    crew->phase = phase;
    g_cond_broadcast(&crew->moved);
    g_mutex_unlock(&crew->lock);
}

/** Returns: FALSE when the work is abandoned */
static gboolean wait_for_phase(Crew *crew, Phase phase)
{
    gboolean go;

    g_mutex_lock(&crew->lock);
    while (crew->phase < phase) {
        g_cond_wait(&crew->moved, &crew->lock);
    }
    go = crew->phase != ABANDONED;
    g_mutex_unlock(&crew->lock);
    return go;
}

static void set_up_worker(const Crew *crew)
{
    if (crew->cpus) {
        hm_os_set_affinity(0, crew->cpus);
    }
    if (crew->priority != HM_PRIORITY_NORMAL) {
        hm_os_lower_priority(crew->priority);
    }
}

static gpointer first_worker(gpointer data)
{
    Crew *crew = data;

    set_up_worker(crew);
    if (wait_for_phase(crew, FIRST)) {
        crew->work->first(crew->work->data);
        enter_phase(crew, EACH);
        crew->work->each(crew->work->data);
    }
    return NULL;
}

static gpointer other_worker(gpointer data)
{
    Crew *crew = data;

    set_up_worker(crew);
    if (wait_for_phase(crew, EACH)) {
        crew->work->each(crew->work->data);
    }
    return NULL;
}

static GThread *spawn(Crew *crew, guint i, const HmPreallocOptions *options,
                      GError **error)
{
    GThreadFunc func = i == 0 ? first_worker : other_worker;

    if (options->spawn) {
        return options->spawn("prealloc", func, crew, options->spawn_data,
                              error);
    }
    return hm_thread_new("prealloc", func, crew, error);
}

/** Returns: FALSE when not all @n could be created; @threads has the others */
static gboolean spawn_all(Crew *crew, guint n, const HmPreallocOptions *options,
                          GPtrArray *threads, GError **error)
{
    for (guint i = 0; i < n; i++) {
        g_autoptr(GError) why = NULL;
        GThread *thread = spawn(crew, i, options, &why);

        if (!thread) {
            return hm_set_error(error, HOSTMEM_ERROR_LIMIT,
                                "preallocating memory failed: cannot start "
                                "thread %u of %u: %s",
                                i + 1, n, why->message);
        }
        g_ptr_array_add(threads, thread);
    }
    return TRUE;
}

static gboolean run_crew(const HmWork *work, guint n,
                         const HmPreallocOptions *options, GError **error)
{
    g_autoptr(GPtrArray) threads = g_ptr_array_new();
    Crew crew = {
        .work = work,
        .cpus = options->cpus,
        .priority = options->priority,
    };
    sigset_t old_mask;
    gboolean ok;

    g_mutex_init(&crew.lock);
    g_cond_init(&crew.moved);
    hm_thread_block_signals(&old_mask); /* as a thread context inherits them */
    ok = spawn_all(&crew, n, options, threads, error);
    hm_thread_restore_signals(&old_mask);
    enter_phase(&crew, ok ? FIRST : ABANDONED);
    for (guint i = 0; i < threads->len; i++) {
        g_thread_join(g_ptr_array_index(threads, i));
    }
    g_cond_clear(&crew.moved);
    g_mutex_clear(&crew.lock);
    return ok;
}

/** What a worker sets of itself, the caller would be left with. */
static gboolean can_be_caller(const HmPreallocOptions *options)
{
    return !options->spawn && !options->cpus &&
           options->priority == HM_PRIORITY_NORMAL;
}

gboolean hm_workers_run(const HmWork *work, guint n,
                        const HmPreallocOptions *options, GError **error)
{
    if (n == 1 && can_be_caller(options)) {
        work->first(work->data);
        work->each(work->data);
        return TRUE;
    }
    return run_crew(work, n, options, error);
}
