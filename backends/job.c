/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * A job is a thread, and a status that everybody can see.  A change of status
 * and the news of it are one step under the job's lock, so that listeners hear
 * of changes in their order, whichever threads make them.
 *
 * Locks: the job's, then that of the list.
 */
#include "backends/job-list.h"
#include "backends/job.h"
#include "util/error.h"
#include "util/thread.h"

struct _HostmemJob {
    GObject parent_instance;

    char *id;
    const char *type; /* static */
    HmJobList *list;  /* owned (nullable) */
    GCancellable *cancellable;
    HmProgress progress; /* atomic */
    HmJobFunc func;
    gpointer data;
    GThread *thread;

    GMutex lock; /* guards what follows */
    HostmemJobStatus status;
    GError *error;
};

typedef struct {
    GObjectClass parent_class;
} HostmemJobClass;

G_DEFINE_TYPE(HostmemJob, hostmem_job, G_TYPE_OBJECT)

GType hostmem_job_status_get_type(void)
{
    static gsize once;
    static const GEnumValue values[] = {
        {HOSTMEM_JOB_CREATED, "HOSTMEM_JOB_CREATED", "created"},
        {HOSTMEM_JOB_RUNNING, "HOSTMEM_JOB_RUNNING", "running"},
        {HOSTMEM_JOB_ABORTING, "HOSTMEM_JOB_ABORTING", "aborting"},
        {HOSTMEM_JOB_CONCLUDED, "HOSTMEM_JOB_CONCLUDED", "concluded"},
        {HOSTMEM_JOB_NULL, "HOSTMEM_JOB_NULL", "null"},
        {0, NULL, NULL},
    };

    if (g_once_init_enter(&once)) {
        g_once_init_leave(&once,
                          g_enum_register_static("HostmemJobStatus", values));
    }
    return once;
}

const char *hm_job_status_name(HostmemJobStatus status)
{
    g_autoptr(GEnumClass) klass = g_type_class_ref(HOSTMEM_TYPE_JOB_STATUS);

    return g_enum_get_value(klass, (gint)status)->value_nick;
}

/* Properties */

static void get_type(gpointer object, GValue *value)
{
    g_value_set_static_string(value, HOSTMEM_JOB(object)->type);
}

static void get_status(gpointer object, GValue *value)
{
    g_value_set_enum(value, (gint)hostmem_job_get_status(object));
}

static void get_done(gpointer object, GValue *value)
{
    guint64 done;

    hostmem_job_get_progress(object, &done, NULL);
    g_value_set_uint64(value, done);
}

static void get_total(gpointer object, GValue *value)
{
    guint64 total;

    hostmem_job_get_progress(object, NULL, &total);
    g_value_set_uint64(value, total);
}

static const HmProp job_props[] = {
    {
        .name = "id",
        .kind = HM_PROP_STRING,
        .offset = HM_PROP_FIELD(HostmemJob, id),
        .description = "Its name: the id of the object that it works for, and "
                       "what it does unless that is prealloc",
    },
    {
        .name = "type",
        .kind = HM_PROP_STRING,
        .flags = HM_PROP_READ_ONLY,
        .get = get_type,
        .description = "What it does",
    },
    {
        .name = "status",
        .kind = HM_PROP_ENUM,
        .flags = HM_PROP_READ_ONLY,
        .get = get_status,
        .type = hostmem_job_status_get_type,
        .type_name = "JobStatus",
        .description = "How far it has come",
    },
    {
        .name = "current-progress",
        .kind = HM_PROP_SIZE,
        .flags = HM_PROP_READ_ONLY,
        .get = get_done,
        .description = "Bytes that are done",
    },
    {
        .name = "total-progress",
        .kind = HM_PROP_SIZE,
        .flags = HM_PROP_READ_ONLY,
        .get = get_total,
        .description = "Bytes to do",
    },
};

/* Status */

/* Under the lock, as all of these. */
static void enter(HostmemJob *self, HostmemJobStatus status)
{
    self->status = status;
    if (self->list) {
        hm_job_list_changed(self->list, self, status);
    }
}

static gboolean may_be_cancelled(const HostmemJob *self)
{
    return self->status == HOSTMEM_JOB_CREATED ||
           self->status == HOSTMEM_JOB_RUNNING;
}

static gboolean refuse(const HostmemJob *self, const char *verb, GError **error)
{
    return hm_set_error(error, HOSTMEM_ERROR_BUSY,
                        "Job '%s' in state '%s' cannot accept command verb "
                        "'%s'",
                        self->id, hm_job_status_name(self->status), verb);
}

static void set_running(HostmemJob *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    enter(self, HOSTMEM_JOB_RUNNING);
}

/* Takes @error. */
static void conclude(HostmemJob *self, GError *error)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    self->error = error;
    if (error &&
        !g_error_matches(error, HOSTMEM_ERROR, HOSTMEM_ERROR_TIMED_OUT)) {
        enter(self, HOSTMEM_JOB_ABORTING);
    }
    enter(self, HOSTMEM_JOB_CONCLUDED);
}

/* Life */

static void hostmem_job_init(HostmemJob *self)
{
    self->cancellable = g_cancellable_new();
    g_mutex_init(&self->lock);
}

static void hostmem_job_finalize(GObject *object)
{
    HostmemJob *self = HOSTMEM_JOB(object);

    hm_props_clear(object);
    g_clear_pointer(&self->list, hm_job_list_unref);
    g_object_unref(self->cancellable);
    g_clear_error(&self->error);
    g_mutex_clear(&self->lock);
    G_OBJECT_CLASS(hostmem_job_parent_class)->finalize(object);
}

static void hostmem_job_class_init(HostmemJobClass *klass)
{
    GObjectClass *object_class = G_OBJECT_CLASS(klass);

    object_class->finalize = hostmem_job_finalize;
    hm_props_install(object_class, job_props, G_N_ELEMENTS(job_props));
}

HostmemJob *hm_job_new_named(HostmemObject *object, const char *id,
                             const char *type, guint64 total)
{
    HostmemJob *self = g_object_new(HOSTMEM_TYPE_JOB, "id", id, NULL);

    self->type = type;
    self->list = object->jobs ? hm_job_list_ref(object->jobs) : NULL;
    self->progress.total = (gint64)total;
    return self;
}

HostmemJob *hm_job_new(HostmemObject *object, const char *type, guint64 total)
{
    return hm_job_new_named(object, object->id ? object->id : "", type, total);
}

static gpointer job_main(gpointer data)
{
    HostmemJob *self = data;
    GError *error = NULL;

    set_running(self);
    self->func(self, self->data, &error);
    conclude(self, error);
    return NULL;
}

/* The lock keeps the thread from telling before it is told that it exists. */
gboolean hm_job_start(HostmemJob *self, HmJobFunc func, gpointer data,
                      GError **error)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    self->func = func;
    self->data = data;
    self->thread = hm_thread_new("hostmem-job", job_main, self, error);
    if (!self->thread) {
        return FALSE;
    }
    enter(self, HOSTMEM_JOB_CREATED);
    return TRUE;
}

HostmemJob *hm_job_new_over(HostmemObject *object, const char *type,
                            guint64 done, guint64 total, GError *error)
{
    HostmemJob *self = hm_job_new(object, type, total);

    self->progress.done = (gint64)done;
    self->status = HOSTMEM_JOB_CONCLUDED;
    self->error = error;
    if (self->list) {
        hm_job_list_add(self->list, self);
    }
    return self;
}

void hm_job_end(HostmemJob *self)
{
    g_cancellable_cancel(self->cancellable);
    g_clear_pointer(&self->thread, g_thread_join);
    hostmem_job_dismiss(self, NULL);
}

GCancellable *hm_job_get_cancellable(HostmemJob *self)
{
    return self->cancellable;
}

HmProgress *hm_job_get_progress(HostmemJob *self)
{
    return &self->progress;
}

/* What can be asked and said */

const char *hostmem_job_get_id(HostmemJob *self)
{
    g_return_val_if_fail(HOSTMEM_IS_JOB(self), NULL);

    return self->id;
}

HostmemJobStatus hostmem_job_get_status(HostmemJob *self)
{
    g_autoptr(GMutexLocker) locker = NULL;

    g_return_val_if_fail(HOSTMEM_IS_JOB(self), HOSTMEM_JOB_NULL);

    locker = g_mutex_locker_new(&self->lock);
    return self->status;
}

gboolean hostmem_job_is_over(HostmemJob *self)
{
    HostmemJobStatus status = hostmem_job_get_status(self);

    return status == HOSTMEM_JOB_CONCLUDED || status == HOSTMEM_JOB_NULL;
}

void hostmem_job_get_progress(HostmemJob *self, guint64 *done, guint64 *total)
{
    g_return_if_fail(HOSTMEM_IS_JOB(self));

    if (done) {
        *done = hm_progress_done(&self->progress);
    }
    if (total) {
        *total = hm_progress_total(&self->progress);
    }
}

GError *hostmem_job_get_error(HostmemJob *self)
{
    g_autoptr(GMutexLocker) locker = NULL;

    g_return_val_if_fail(HOSTMEM_IS_JOB(self), NULL);

    locker = g_mutex_locker_new(&self->lock);
    return self->error ? g_error_copy(self->error) : NULL;
}

gboolean hostmem_job_cancel(HostmemJob *self, GError **error)
{
    g_autoptr(GMutexLocker) locker = NULL;

    g_return_val_if_fail(HOSTMEM_IS_JOB(self), FALSE);

    locker = g_mutex_locker_new(&self->lock);
    if (!may_be_cancelled(self)) {
        return refuse(self, "cancel", error);
    }
    g_cancellable_cancel(self->cancellable);
    return TRUE;
}

gboolean hostmem_job_dismiss(HostmemJob *self, GError **error)
{
    g_autoptr(GMutexLocker) locker = NULL;

    g_return_val_if_fail(HOSTMEM_IS_JOB(self), FALSE);

    locker = g_mutex_locker_new(&self->lock);
    if (self->status != HOSTMEM_JOB_CONCLUDED) {
        return refuse(self, "dismiss", error);
    }
    enter(self, HOSTMEM_JOB_NULL);
    return TRUE;
}
