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
    GPtrArray *threads;
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
    const HmPreallocOptions *options = crew->work->options;

    if (options->cpus) {
        hm_os_set_affinity(0, options->cpus);
    }
    if (options->priority != HM_PRIORITY_NORMAL) {
        hm_os_lower_priority(options->priority);
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

static void crew_init(Crew *crew, const HmWork *work)
{
    *crew = (Crew){.work = work, .threads = g_ptr_array_new()};
    g_mutex_init(&crew->lock);
    g_cond_init(&crew->moved);
}

/** Waits for all. */
static void crew_clear(Crew *crew)
{
    for (guint i = 0; i < crew->threads->len; i++) {
        g_thread_join(g_ptr_array_index(crew->threads, i));
    }
    g_ptr_array_unref(crew->threads);
    g_cond_clear(&crew->moved);
    g_mutex_clear(&crew->lock);
}

static GThread *spawn(Crew *crew, guint i, GError **error)
{
    GThreadFunc func = i == 0 ? first_worker : other_worker;
    const HmPreallocOptions *options = crew->work->options;

    if (options->spawn) {
        return options->spawn("prealloc", func, crew, options->spawn_data,
                              error);
    }
    return hm_thread_new("prealloc", func, crew, error);
}

/** Returns: FALSE when not all could be created; the crew has the others */
static gboolean spawn_all(Crew *crew, GError **error)
{
    guint n = crew->work->threads;

    for (guint i = 0; i < n; i++) {
        g_autoptr(GError) why = NULL;
        GThread *thread = spawn(crew, i, &why);

        if (!thread) {
            return hm_set_error(error, HOSTMEM_ERROR_LIMIT,
                                "preallocating memory failed: cannot start "
                                "thread %u of %u: %s",
                                i + 1, n, why->message);
        }
        g_ptr_array_add(crew->threads, thread);
    }
    return TRUE;
}

static gboolean run_crews(Crew *crews, guint n, guint *failed, GError **error)
{
    sigset_t old_mask;
    gboolean ok = TRUE;

    hm_thread_block_signals(&old_mask); /* as a thread context inherits them */
    for (guint i = 0; i < n && ok; i++) {
        *failed = i;
        ok = spawn_all(&crews[i], error);
    }
    hm_thread_restore_signals(&old_mask);
    for (guint i = 0; i < n; i++) {
        enter_phase(&crews[i], ok ? FIRST : ABANDONED);
    }
    return ok;
}

/** What a worker sets of itself, the caller would be left with. */
static gboolean can_be_caller(const HmWork *work)
{
    const HmPreallocOptions *options = work->options;

    return work->threads == 1 && !options->spawn && !options->cpus &&
           options->priority == HM_PRIORITY_NORMAL;
}

gboolean hm_workers_run(const HmWork *works, guint n, guint *failed,
                        GError **error)
{
    g_autofree Crew *crews = NULL;
    gboolean ok;

    if (n == 1 && can_be_caller(works)) {
        works->first(works->data);
        works->each(works->data);
        return TRUE;
    }
    crews = g_new(Crew, n);
    for (guint i = 0; i < n; i++) {
        crew_init(&crews[i], &works[i]);
    }
    ok = run_crews(crews, n, failed, error);
    for (guint i = 0; i < n; i++) {
        crew_clear(&crews[i]);
    }
    return ok;
}
