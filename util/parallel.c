/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/parallel.h"
#include "util/thread.h"

typedef struct {
    void (*func)(gpointer data);
    gpointer data;
} Work;

static gpointer worker_main(gpointer data)
{
    const Work *work = data;

    work->func(work->data);
    return NULL;
}

void hm_parallel_run(guint threads, const char *name,
                     void (*func)(gpointer data), gpointer data)
{
    g_autoptr(GPtrArray) others = g_ptr_array_new();
    Work work = {func, data};

    for (guint i = 1; i < threads; i++) {
        GThread *thread = hm_thread_new(name, worker_main, &work, NULL);

        if (!thread) {
            break;
        }
        g_ptr_array_add(others, thread);
    }
    func(data);
    for (guint i = 0; i < others->len; i++) {
        g_thread_join(g_ptr_array_index(others, i));
    }
}
