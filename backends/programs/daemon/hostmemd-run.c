/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>
#include "backends/programs/captive.h"
#include "hostmemd.h"

/*
 * The command owns the memory as long as it runs, and hostmemd stands behind
 * it: signals are passed on, and the end of the command ends hostmemd.
 *
 * Where the memory outlives hostmemd the command does so, too: it is a guest on
 * that memory.  The next hostmemd stands behind it then, and starts no other
 * one: two guests on the same memory would be the end of both.
 */

struct HmRun {
    HostmemRegistry *registry; /* borrowed */
    GPtrArray *backends;       /* handed over, held */
    Captive *captive;          /* (nullable): a child */
    HmKept *kept;              /* (nullable): one of an earlier process */
    HmRunDone done;
    gpointer user_data;
};

static char *list_ids(HostmemRegistry *registry)
{
    g_autoptr(GPtrArray) objects = hostmem_registry_list(registry);
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < objects->len; i++) {
        if (HOSTMEM_IS_BACKEND(objects->pdata[i])) {
            g_string_append_printf(text, "%s%s", text->len ? ", " : "",
                                   hostmem_object_get_id(objects->pdata[i]));
        }
    }
    return g_string_free(text, FALSE);
}

static HostmemBackend *find_backend(HostmemRegistry *registry, const char *id,
                                    GError **error)
{
    HostmemBackend *backend =
        hostmem_registry_lookup(registry, id, HOSTMEM_TYPE_BACKEND, NULL);
    if (!backend) {
        g_autofree char *ids = list_ids(registry);
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NOT_FOUND,
                    "{%s} names no memory backend; there is %s", id,
                    *ids ? ids : "none");
    }
    return backend;
}

/* (transfer full) (nullable): the id in the JSON text of a property. */
static char *pool_of(HostmemBackend *backend)
{
    g_autofree char *json =
        hostmem_object_get(HOSTMEM_OBJECT(backend), "pool", NULL);
    const char *slash = json ? strrchr(json, '/') : NULL;
    const char *id = slash ? slash + 1 : json ? json + 1 : "";

    return *id && *id != '"' ? g_strndup(id, strcspn(id, "\"")) : NULL;
}

static gboolean check_shareable(HostmemBackend *backend, const char *id,
                                GError **error)
{
    guint n_parts;

    if (!hostmem_backend_get_parts(backend, &n_parts) || !n_parts ||
        !hostmem_backend_get_share(backend)) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED,
                    "the memory of '%s' is private and cannot be handed over; "
                    "create it with share=on",
                    id);
        return FALSE;
    }
    g_autofree char *pool = pool_of(backend);
    return captive_check_parts(id, n_parts, hostmem_backend_get_size(backend),
                               pool, error);
}

static gboolean hand_over(const char *id, CaptiveMemory *memory, gpointer data,
                          GError **error)
{
    HmRun *self = data;
    HostmemBackend *backend = find_backend(self->registry, id, error);

    if (!backend || !check_shareable(backend, id, error)) {
        return FALSE;
    }
    memory->fd = hostmem_backend_dup_fd(backend, 0, error);
    if (memory->fd < 0) {
        return FALSE;
    }
    memory->offset = hostmem_backend_get_fd_offset(backend);
    memory->size = hostmem_backend_get_size(backend);
    hostmem_object_hold(HOSTMEM_OBJECT(backend));
    g_ptr_array_add(self->backends, g_object_ref(backend));
    return TRUE;
}

static void release_backends(HmRun *self)
{
    for (guint i = 0; i < self->backends->len; i++) {
        hostmem_object_release(self->backends->pdata[i]);
    }
    g_ptr_array_set_size(self->backends, 0);
}

static void on_ended(int status, gpointer data)
{
    HmRun *self = data;

    release_backends(self);
    self->done(status, self->user_data);
}

/* Started by an earlier process */

static void on_kept_ended(gpointer data)
{
    HmRun *self = data;

    fprintf(stderr, "hostmemd: the command of an earlier start has ended; how "
                    "is not known\n");
    on_ended(EXIT_SUCCESS, self);
}

/* It has the memory already: only what it may not lose is seen to. */
static void hold_again(HmRun *self)
{
    const char *const *ids = hm_kept_get_ids(self->kept);

    for (; *ids; ids++) {
        HostmemBackend *backend = hostmem_registry_lookup(
            self->registry, *ids, HOSTMEM_TYPE_BACKEND, NULL);
        if (backend) {
            hostmem_object_hold(HOSTMEM_OBJECT(backend));
            g_ptr_array_add(self->backends, g_object_ref(backend));
        }
    }
}

static gboolean stand_behind(HmRun *self, const char *note, const char *command,
                             GError **error)
{
    int pid;

    self->kept = hm_kept_new(note, error);
    if (!self->kept) {
        return FALSE;
    }
    pid = hm_kept_get_pid(self->kept);
    if (pid) {
        hold_again(self);
        fprintf(stderr,
                "hostmemd: the command of an earlier start goes on: process "
                "%d%s\n",
                pid,
                hm_kept_is(self->kept, command)
                    ? ""
                    : "; warning: that of --run is another one, and is not "
                      "started");
    }
    hm_kept_watch(self->kept, on_kept_ended, self);
    return TRUE;
}

void hm_run_forget(HostmemRegistry *registry)
{
    const char *note = hostmem_registry_get_note(registry);
    g_autoptr(HmKept) kept = note ? hm_kept_new(note, NULL) : NULL;

    if (kept && hm_kept_get_pid(kept)) {
        fprintf(stderr,
                "hostmemd: warning: the command of an earlier start goes on, "
                "process %d, and is left to itself: there is no --run\n",
                hm_kept_get_pid(kept));
    }
    if (note) {
        hostmem_registry_set_note(registry, NULL);
    }
}

/* Starting */

static char **ids_of(GPtrArray *backends)
{
    g_autoptr(GStrvBuilder) ids = g_strv_builder_new();

    for (guint i = 0; i < backends->len; i++) {
        g_strv_builder_add(ids, hostmem_object_get_id(backends->pdata[i]));
    }
    return g_strv_builder_end(ids);
}

static void leave_note(HmRun *self, const char *command)
{
    g_auto(GStrv) ids = ids_of(self->backends);
    g_autofree char *note = hm_kept_describe(
        captive_get_pid(self->captive), captive_has_own_group(self->captive),
        command, (const char *const *)ids);

    hostmem_registry_set_note(self->registry, note);
}

static gboolean start(HmRun *self, const char *command, gboolean survives,
                      GError **error)
{
    const char *const argv[] = {"/bin/sh", "-c", command, NULL};
    /* Nobody but us is to speak to our service manager. */
    const char *const hidden[] = {"NOTIFY_SOCKET", NULL};
    const CaptiveCommand spec = {
        .argv = argv,
        .hidden = hidden,
        .survives = survives,
    };

    self->captive = captive_new(&spec, hand_over, on_ended, self, error);
    if (!self->captive) {
        g_prefix_error(error, "--run: ");
        return FALSE;
    }
    if (survives) {
        leave_note(self, command);
    }
    return TRUE;
}

HmRun *hm_run_new(HostmemRegistry *registry, const char *command,
                  gboolean survives, HmRunDone done, gpointer user_data,
                  GError **error)
{
    const char *note = hostmem_registry_get_note(registry);
    g_autoptr(HmRun) self = g_new0(HmRun, 1);

    self->registry = registry;
    self->backends = g_ptr_array_new_with_free_func(g_object_unref);
    self->done = done;
    self->user_data = user_data;
    if (note ? stand_behind(self, note, command, error)
             : start(self, command, survives, error)) {
        return g_steal_pointer(&self);
    }
    return NULL;
}

void hm_run_free(HmRun *self)
{
    g_clear_pointer(&self->captive, captive_free);
    g_clear_pointer(&self->kept, hm_kept_free);
    release_backends(self);
    g_ptr_array_unref(self->backends);
    g_free(self);
}

void hm_run_signal(HmRun *self, int signum)
{
    if (self->kept) {
        hm_kept_signal(self->kept, signum);
    } else {
        captive_signal(self->captive, signum);
    }
}
