/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include "backends/object-saved.h"
#include "util/autofd.h"
#include "util/error.h"

/* Names go where a service manager takes 255 characters, and no colon. */
#define NAME_ID_MAX 200

/* Keeper */

struct HmKeeper {
    gatomicrefcount refs;
    GMainContext *context;
    HmKeeperFunc changed; /* NULL: closed; of the context's thread */
    gpointer data;
    gint queued; /* atomic: a call is on its way */
    gint left;   /* atomic */

    GMutex lock; /* guards what follows */
    guint64 serial;
};

HmKeeper *hm_keeper_new(GMainContext *context, HmKeeperFunc changed,
                        gpointer data)
{
    HmKeeper *self = g_new0(HmKeeper, 1);

    g_atomic_ref_count_init(&self->refs);
    self->context = g_main_context_ref(context);
    self->changed = changed;
    self->data = data;
    g_mutex_init(&self->lock);
    return self;
}

HmKeeper *hm_keeper_ref(HmKeeper *self)
{
    g_atomic_ref_count_inc(&self->refs);
    return self;
}

static void keeper_unref(gpointer self)
{
    hm_keeper_unref(self);
}

void hm_keeper_unref(HmKeeper *self)
{
    if (g_atomic_ref_count_dec(&self->refs)) {
        g_main_context_unref(self->context);
        g_mutex_clear(&self->lock);
        g_free(self);
    }
}

void hm_keeper_close(HmKeeper *self)
{
    self->changed = NULL;
}

/* What changes while the listener looks is another change. */
static gboolean tell(gpointer data)
{
    HmKeeper *self = data;

    g_atomic_int_set(&self->queued, FALSE);
    if (self->changed) {
        self->changed(self->data);
    }
    return G_SOURCE_REMOVE;
}

/* Whoever is answered in this turn of the main loop hears after it is saved. */
void hm_keeper_changed(HmKeeper *self)
{
    g_autoptr(GSource) source = NULL;

    if (!g_atomic_int_compare_and_exchange(&self->queued, FALSE, TRUE)) {
        return;
    }
    source = g_idle_source_new();
    g_source_set_priority(source, G_PRIORITY_HIGH);
    g_source_set_callback(source, tell, hm_keeper_ref(self), keeper_unref);
    g_source_attach(source, self->context);
}

void hm_keeper_leave(HmKeeper *self)
{
    g_atomic_int_set(&self->left, TRUE);
}

gboolean hm_keeper_has_left(HmKeeper *self)
{
    return g_atomic_int_get(&self->left);
}

guint64 hm_keeper_get_serial(HmKeeper *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    return self->serial;
}

void hm_keeper_set_serial(HmKeeper *self, guint64 serial)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    self->serial = serial;
}

/* An id may be longer than a name. */
static char *make_name(HmKeeper *self, const char *id)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    return g_strdup_printf("%.*s/%" G_GUINT64_FORMAT, NAME_ID_MAX, id ? id : "",
                           self->serial++);
}

/* Saved */

typedef struct {
    char *name;
    int fd; /* owned; -1: none, or taken */
    guint64 device;
    guint64 inode;
} Descriptor;

struct HmSaved {
    HmKeeper *keeper;  /* borrowed; NULL when it is read */
    GHashTable *known; /* borrowed; the same */
    char *id;          /* (nullable) */
    json_t *options;
    json_t *state;
    GArray *fds; /* Descriptor */
    char *lost;  /* (nullable) */
    GError *error;
};

static void descriptor_clear(gpointer data)
{
    Descriptor *descriptor = data;

    if (descriptor->fd >= 0) {
        hm_os_close(descriptor->fd);
    }
    g_free(descriptor->name);
}

static HmSaved *saved_new(json_t *options, json_t *state)
{
    HmSaved *self = g_new0(HmSaved, 1);

    self->options = options;
    self->state = state;
    self->fds = g_array_new(FALSE, FALSE, sizeof(Descriptor));
    g_array_set_clear_func(self->fds, descriptor_clear);
    return self;
}

void hm_saved_free(HmSaved *self)
{
    g_free(self->id);
    json_decref(self->options);
    json_decref(self->state);
    g_array_unref(self->fds);
    g_free(self->lost);
    g_clear_error(&self->error);
    g_free(self);
}

json_t *hm_saved_get_options(HmSaved *self)
{
    return self->options;
}

json_t *hm_saved_get_state(HmSaved *self)
{
    return self->state;
}

/* Writing */

HmSaved *hm_saved_new(HmKeeper *keeper, const char *id, json_t *options,
                      GHashTable *known)
{
    HmSaved *self = saved_new(options, json_object());

    self->keeper = keeper;
    self->known = known;
    self->id = g_strdup(id);
    return self;
}

/* The first failure is the one that is told. */
static void note_error(HmSaved *self, int err, const char *name)
{
    guint64 limit;

    if (self->error) {
        return;
    }
    hm_set_error_errno(&self->error, err, "cannot duplicate descriptor '%s'",
                       name);
    if (err == EMFILE && hm_os_get_limit(RLIMIT_NOFILE, &limit) == 0) {
        g_autofree char *first = self->error->message;

        self->error->message =
            g_strdup_printf("%s; RLIMIT_NOFILE is %" G_GUINT64_FORMAT
                            ", and all that is new needs one more for a moment",
                            first, limit);
    }
}

/* A process that was killed may have handed out names that its state does not
 * know of. */
static char *make_unused_name(HmSaved *self)
{
    char *name = make_name(self->keeper, self->id);

    while (g_hash_table_contains(self->known, name)) {
        g_free(name);
        name = make_name(self->keeper, self->id);
    }
    return name;
}

void hm_saved_add_fd(HmSaved *self, char **name, int fd)
{
    Descriptor descriptor = {.fd = -1};
    struct stat st = {0};
    int ret;

    g_return_if_fail(self->keeper && fd >= 0);

    if (!*name) {
        *name = make_unused_name(self);
    }
    descriptor.name = g_strdup(*name);
    ret = hm_os_stat(fd, &st);
    if (ret == 0 && !g_hash_table_contains(self->known, *name)) {
        ret = descriptor.fd = hm_os_dup(fd);
    }
    if (ret < 0) {
        note_error(self, -ret, *name);
    }
    descriptor.device = st.st_dev;
    descriptor.inode = st.st_ino;
    g_array_append_val(self->fds, descriptor);
}

void hm_saved_set_lost(HmSaved *self, const char *why)
{
    g_free(self->lost);
    self->lost = g_strdup(why);
}

gboolean hm_saved_check(const HmSaved *self, GError **error)
{
    if (self->error) {
        g_propagate_error(error, g_error_copy(self->error));
    }
    return !self->error;
}

static json_t *write_fds(const HmSaved *self)
{
    json_t *list = json_array();

    for (guint i = 0; i < self->fds->len; i++) {
        const Descriptor *fd = &g_array_index(self->fds, Descriptor, i);

        json_array_append_new(list, json_pack("{s:s,s:I,s:I}", "name", fd->name,
                                              "device", (json_int_t)fd->device,
                                              "inode", (json_int_t)fd->inode));
    }
    return list;
}

json_t *hm_saved_write(HmSaved *self)
{
    json_t *entry =
        json_pack("{s:O,s:O,s:o}", "options", self->options, "state",
                  self->state, "descriptors", write_fds(self));

    if (self->lost) {
        json_object_set_new(entry, "lost", json_string(self->lost));
    }
    return entry;
}

const char *hm_saved_get_lost(const HmSaved *self)
{
    return self->lost;
}

const char *hm_saved_get_name(const HmSaved *self, guint i)
{
    return g_array_index(self->fds, Descriptor, i).name;
}

int hm_saved_steal_fd(HmSaved *self, guint i)
{
    return hm_steal_fd(&g_array_index(self->fds, Descriptor, i).fd);
}

/* Reading: anything may come */

static gboolean read_fd(HmSaved *self, json_t *entry, GHashTable *fds)
{
    const char *name = json_string_value(json_object_get(entry, "name"));
    json_t *device = json_object_get(entry, "device");
    json_t *inode = json_object_get(entry, "inode");
    Descriptor descriptor = {.fd = -1};
    gpointer found, key;

    if (!name || !json_is_integer(device) || !json_is_integer(inode)) {
        return FALSE;
    }
    if (g_hash_table_steal_extended(fds, name, &key, &found)) {
        descriptor.fd = GPOINTER_TO_INT(found);
        g_free(key);
    }
    descriptor.name = g_strdup(name);
    descriptor.device = (guint64)json_integer_value(device);
    descriptor.inode = (guint64)json_integer_value(inode);
    g_array_append_val(self->fds, descriptor);
    return TRUE;
}

static gboolean read_fds(HmSaved *self, json_t *list, GHashTable *fds)
{
    json_t *entry;
    gsize i;

    json_array_foreach(list, i, entry)
    {
        if (!read_fd(self, entry, fds)) {
            return FALSE;
        }
    }
    return json_is_array(list);
}

HmSaved *hm_saved_read(json_t *entry, GHashTable *fds, GError **error)
{
    json_t *options = json_object_get(entry, "options");
    json_t *state = json_object_get(entry, "state");
    json_t *lost = json_object_get(entry, "lost");
    g_autoptr(HmSaved) self = NULL;

    if (!json_is_object(options) || !json_is_object(state) ||
        (lost && !json_is_string(lost))) {
        hm_set_error(error, HOSTMEM_ERROR_INVALID,
                     "its entry has no options, no state, or a reason that is "
                     "no text");
        return NULL;
    }
    self = saved_new(json_incref(options), json_incref(state));
    self->id = g_strdup(json_string_value(json_object_get(options, "id")));
    self->lost = g_strdup(json_string_value(lost));
    if (!read_fds(self, json_object_get(entry, "descriptors"), fds)) {
        hm_set_error(error, HOSTMEM_ERROR_INVALID,
                     "its entry has no list of descriptors, each with a name, "
                     "a device and an inode");
        return NULL;
    }
    return g_steal_pointer(&self);
}

guint hm_saved_n_fds(const HmSaved *self)
{
    return self->fds->len;
}

HmSaved *hm_saved_take_part(HmSaved *self, guint i)
{
    Descriptor *fd = &g_array_index(self->fds, Descriptor, i);
    HmSaved *part = saved_new(json_object(), json_object());
    const Descriptor taken = {
        .name = g_strdup(fd->name),
        .fd = hm_steal_fd(&fd->fd),
        .device = fd->device,
        .inode = fd->inode,
    };

    part->id = g_strdup(self->id);
    g_array_append_val(part->fds, taken);
    return part;
}

int hm_saved_take_fd(HmSaved *self, guint i, HmSavedFile *file, GError **error)
{
    Descriptor *fd;

    if (i >= self->fds->len) {
        hm_set_error(error, HOSTMEM_ERROR_NOT_FOUND,
                     "no descriptor of its memory was saved");
        return -1;
    }
    fd = &g_array_index(self->fds, Descriptor, i);
    if (fd->fd < 0) {
        g_autofree char *quoted = hm_error_quote(fd->name);

        hm_set_error(error, HOSTMEM_ERROR_NOT_FOUND,
                     "descriptor %s of its memory is missing", quoted);
        return -1;
    }
    *file = (HmSavedFile){g_strdup(fd->name), fd->device, fd->inode};
    return hm_steal_fd(&fd->fd);
}

static gboolean refuse_state(const char *key, const char *expected,
                             GError **error)
{
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "'%s' of its saved state is no %s", key, expected);
}

gboolean hm_saved_read_size(HmSaved *self, const char *key, guint64 *value,
                            GError **error)
{
    json_t *json = json_object_get(self->state, key);

    if (!json) {
        return TRUE;
    }
    if (!json_is_integer(json) || json_integer_value(json) < 0) {
        return refuse_state(key, "size", error);
    }
    *value = (guint64)json_integer_value(json);
    return TRUE;
}

gboolean hm_saved_read_text(HmSaved *self, const char *key, const char **value,
                            GError **error)
{
    json_t *json = json_object_get(self->state, key);

    if (!json) {
        return TRUE;
    }
    if (!json_is_string(json)) {
        return refuse_state(key, "text", error);
    }
    *value = json_string_value(json);
    return TRUE;
}
