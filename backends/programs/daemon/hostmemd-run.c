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
 * one: two guests on the same memory would be the end of both.  For it to know,
 * the command does not begin before a note of it is stored.
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

/* The last process did not get as far as to say that it has begun; if it has,
 * it may have put itself into the background, and somebody has its memory. */
static gboolean may_have_begun(HmRun *self, const HmKept *kept)
{
    const char *const *ids = hm_kept_get_ids(kept);

    for (; !hm_kept_has_begun(kept) && *ids; ids++) {
        HostmemBackend *backend = hostmem_registry_lookup(
            self->registry, *ids, HOSTMEM_TYPE_BACKEND, NULL);
        if (backend && hostmem_backend_may_be_in_use(backend)) {
            return TRUE;
        }
    }
    return hm_kept_has_begun(kept);
}

static void stand_behind(HmRun *self, const char *command)
{
    int pid = hm_kept_get_pid(self->kept);

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

static gboolean leave_note(HmRun *self, const char *command, HmStore *store,
                           GError **error)
{
    g_auto(GStrv) ids = ids_of(self->backends);
    g_autofree char *note = hm_kept_describe(self->captive, command,
                                             (const char *const *)ids, error);

    if (!note) {
        return FALSE;
    }
    hostmem_registry_set_note(self->registry, note);
    return hm_store_save(store, error);
}

/* What cannot be stored now is tried again by the store. */
static gboolean begin(HmRun *self, const char *command, HmStore *store,
                      GError **error)
{
    if (!leave_note(self, command, store, error)) {
        g_prefix_error(error, "--run: the command is not started, as the next "
                              "start could not know of it: ");
        hostmem_registry_set_note(self->registry, NULL);
        return FALSE;
    }
    captive_begin(self->captive);
    leave_note(self, command, store, NULL);
    return TRUE;
}

static gboolean start(HmRun *self, const char *command, HmStore *store,
                      GError **error)
{
    const gboolean survives = hm_store_is_there(store);
    const char *const argv[] = {"/bin/sh", "-c", command, NULL};
    /* Nobody but us is to speak to our service manager. */
    const char *const hidden[] = {"NOTIFY_SOCKET", NULL};
    const CaptiveCommand spec = {
        .argv = argv,
        .hidden = hidden,
        .survives = survives,
        .waits = survives,
    };

    self->captive = captive_new(&spec, hand_over, on_ended, self, error);
    if (!self->captive) {
        g_prefix_error(error, "--run: ");
        return FALSE;
    }
    return !survives || begin(self, command, store, error);
}

HmRun *hm_run_new(HostmemRegistry *registry, const char *command,
                  HmStore *store, HmRunDone done, gpointer user_data,
                  GError **error)
{
    const char *note = hostmem_registry_get_note(registry);
    g_autoptr(HmKept) kept = NULL;
    g_autoptr(HmRun) self = g_new0(HmRun, 1);

    self->registry = registry;
    self->backends = g_ptr_array_new_with_free_func(g_object_unref);
    self->done = done;
    self->user_data = user_data;
    if (note && !(kept = hm_kept_new(note, error))) {
        return NULL;
    }
    if (kept && may_have_begun(self, kept)) {
        self->kept = g_steal_pointer(&kept);
        stand_behind(self, command);
    } else if (!start(self, command, store, error)) {
        return NULL;
    }
    return g_steal_pointer(&self);
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
