/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/job-list.h"

struct HmJobList {
    gatomicrefcount refs;
    GMainContext *context;
    HmJobFeedback feedback; /* NULL: closed; of the context's thread */
    gpointer data;
    HmQueue *queue;   /* owned */
    HmKeeper *keeper; /* owned */

    GMutex lock;     /* guards what follows */
    GPtrArray *jobs; /* owned */
};

/* A change on its way to the listener. */
typedef struct {
    HmJobList *list; /* owned */
    HostmemJob *job; /* owned */
    HostmemJobStatus status;
} News;

HmJobList *hm_job_list_new(GMainContext *context, HmKeeper *keeper,
                           HmJobFeedback feedback, gpointer data)
{
    HmJobList *self = g_new0(HmJobList, 1);

    g_atomic_ref_count_init(&self->refs);
    self->context = g_main_context_ref(context);
    self->feedback = feedback;
    self->data = data;
    self->queue = hm_queue_new();
    self->keeper = hm_keeper_ref(keeper);
    self->jobs = g_ptr_array_new_with_free_func(g_object_unref);
    g_mutex_init(&self->lock);
    return self;
}

HmJobList *hm_job_list_ref(HmJobList *self)
{
    g_atomic_ref_count_inc(&self->refs);
    return self;
}

void hm_job_list_unref(HmJobList *self)
{
    if (g_atomic_ref_count_dec(&self->refs)) {
        g_main_context_unref(self->context);
        hm_queue_unref(self->queue);
        hm_keeper_unref(self->keeper);
        g_ptr_array_unref(self->jobs);
        g_mutex_clear(&self->lock);
        g_free(self);
    }
}

HmQueue *hm_job_list_get_queue(HmJobList *self)
{
    return self->queue;
}

void hm_job_list_close(HmJobList *self)
{
    self->feedback = NULL;
}

static gboolean tell(gpointer data)
{
    const News *news = data;

    if (news->list->feedback) {
        news->list->feedback(news->job, news->status, news->list->data);
    }
    return G_SOURCE_REMOVE;
}

static void news_free(gpointer data)
{
    News *news = data;

    hm_job_list_unref(news->list);
    g_object_unref(news->job);
    g_free(news);
}

/* Sources of one priority are served in the order in which they came. */
static void send_news(HmJobList *self, HostmemJob *job, HostmemJobStatus status)
{
    g_autoptr(GSource) source = g_idle_source_new();
    News *news = g_new(News, 1);

    *news = (News){hm_job_list_ref(self), g_object_ref(job), status};
    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, tell, news, news_free);
    g_source_attach(source, self->context);
}

void hm_job_list_changed(HmJobList *self, HostmemJob *job,
                         HostmemJobStatus status)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    hm_keeper_changed(self->keeper); /* ahead of any answer */
    send_news(self, job, status);
    if (status == HOSTMEM_JOB_CREATED) {
        g_ptr_array_add(self->jobs, g_object_ref(job));
    } else if (status == HOSTMEM_JOB_NULL) {
        g_ptr_array_remove(self->jobs, job);
    }
}

void hm_job_list_add(HmJobList *self, HostmemJob *job)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    g_ptr_array_add(self->jobs, g_object_ref(job));
}

GPtrArray *hm_job_list_copy(HmJobList *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);
    GPtrArray *copy = g_ptr_array_new_with_free_func(g_object_unref);

    for (guint i = 0; i < self->jobs->len; i++) {
        g_ptr_array_add(copy, g_object_ref(g_ptr_array_index(self->jobs, i)));
    }
    return copy;
}
