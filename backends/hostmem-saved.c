/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * The memory of a backend outlives its process when it is a file, with a name
 * or without, that somebody keeps a descriptor of.  What is private to the
 * process is lost with it.  What a pool has lent is kept by the pool.
 *
 * A backend that is made again is mapped, advised and bound as it was, and its
 * page tables are filled as far as they were: what is there is found there, the
 * rest is populated.  Nothing is ever given back on the way: a failure leaves
 * the memory as it was found, and "prealloc" reads as off.
 */
#include "backends/hostmem.h"
#include "util/error.h"
#include "util/os.h"

/* Saving */

/* (nullable): why the memory cannot outlive the process. */
static const char *why_lost(const HostmemBackend *self)
{
    if (self->loan) {
        return NULL;
    }
    if (self->backing.fd < 0) {
        return "its memory was private to the process that ended";
    }
    if (!self->backing.shared && self->writable) {
        return "its memory was a private copy (share=off) of the process that "
               "ended";
    }
    return NULL;
}

static json_t *describe_error(const GError *error)
{
    g_autofree char *message = g_utf8_make_valid(error->message, -1);

    return json_pack("{s:b,s:i,s:s}", "cancelled",
                     error->domain != HOSTMEM_ERROR, "code", error->code,
                     "message", message);
}

/* A job that goes on is done anew, and finds what is there. */
static void save_job(HostmemBackend *self, json_t *state)
{
    g_autoptr(HostmemJob) job = hostmem_backend_get_job(self);
    g_autoptr(GError) error = NULL;
    guint64 done, total;
    json_t *entry;

    if (!job) {
        return;
    }
    hostmem_job_get_progress(job, &done, &total);
    error = hostmem_job_get_error(job);
    entry = json_pack("{s:b,s:I,s:I}", "over", hostmem_job_is_over(job), "done",
                      (json_int_t)done, "total", (json_int_t)total);
    if (error) {
        json_object_set_new(entry, "error", describe_error(error));
    }
    json_object_set_new(state, "job", entry);
}

static void save_export(HostmemBackend *self, json_t *state)
{
    const char *path = hm_backend_get_export_path(self);

    if (path) {
        json_object_set_new(state, HM_SAVED_EXPORT, json_string(path));
    }
}

void hm_backend_save(HostmemObject *object, HmSaved *saved)
{
    HostmemBackend *self = HOSTMEM_BACKEND(object);
    const char *lost = why_lost(self);

    if (lost) {
        hm_saved_set_lost(saved, lost);
        return;
    }
    if (self->loan) {
        hm_backend_save_loan(self, saved);
    } else {
        hm_saved_add_fd(saved, &self->fd_name, self->backing.fd);
    }
    save_job(self, hm_saved_get_state(saved));
    save_export(self, hm_saved_get_state(saved));
}

/* Made again: its memory */

/*
 * A process that ended in the middle of a resize may have saved the size before
 * it, or after it.  What a file has is what there is; of a longer one the rest
 * goes, see hm_backing_trim().
 */
static void follow_file(HostmemBackend *self, int fd, guint64 offset)
{
    g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(self));
    struct stat st;

    if (hm_os_stat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
        (guint64)st.st_size <= offset ||
        (guint64)st.st_size - offset >= self->size) {
        return;
    }
    self->size = (guint64)st.st_size - offset;
    g_message("%s: its file has become smaller, to %" G_GUINT64_FORMAT " bytes",
              what, self->size);
}

gboolean hm_backend_adopt(HostmemBackend *self,
                          const HmBackingAdoptOptions *expected, GError **error)
{
    HmSaved *saved = hm_object_get_saved(HOSTMEM_OBJECT(self));
    HmBackingAdoptOptions options = *expected;
    HmSavedFile file;
    int fd = hm_saved_take_fd(saved, 0, &file, error);

    if (fd < 0) {
        return FALSE;
    }
    self->fd_name = file.name;
    if (self->max_size) {
        options.may_be_longer = TRUE;
        follow_file(self, fd, options.offset);
    }
    options.name = file.name;
    options.device = file.device;
    options.inode = file.inode;
    options.size = expected->size ? expected->size : self->size;
    options.shared = self->share;
    if (!hm_backing_adopt(&self->backing, fd, &options, error)) {
        return FALSE;
    }
    if (self->max_size) {
        hm_backing_trim(&self->backing);
    }
    return TRUE;
}

/* Made again: how far it was populated */

static GError *read_error(json_t *entry)
{
    const char *message = json_string_value(json_object_get(entry, "message"));
    json_int_t code = json_integer_value(json_object_get(entry, "code"));

    if (json_is_true(json_object_get(entry, "cancelled"))) {
        return g_error_new(G_IO_ERROR, G_IO_ERROR_CANCELLED, "%s",
                           message ? message : "Operation was cancelled");
    }
    if (code < 0 || code > HOSTMEM_ERROR_SYSTEM) {
        code = HOSTMEM_ERROR_SYSTEM;
    }
    return g_error_new(HOSTMEM_ERROR, (gint)code, "%s",
                       message ? message : "it is not known why");
}

static guint64 read_size(json_t *entry, const char *key)
{
    return (guint64)MAX(json_integer_value(json_object_get(entry, key)), 0);
}

void hm_backend_read_saved_job(HostmemBackend *self)
{
    HmSaved *saved = hm_object_get_saved(HOSTMEM_OBJECT(self));
    json_t *entry = json_object_get(hm_saved_get_state(saved), "job");
    json_t *error = json_object_get(entry, "error");

    if (!entry) {
        return;
    }
    if (!json_is_true(json_object_get(entry, "over"))) {
        self->resumes = self->prealloc;
        return;
    }
    g_mutex_lock(&self->report_lock);
    self->job = hm_job_new_over(
        HOSTMEM_OBJECT(self), HM_JOB_PREALLOC, read_size(entry, "done"),
        read_size(entry, "total"), error ? read_error(error) : NULL);
    g_mutex_unlock(&self->report_lock);
}
