/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hostmemd.h"

struct HmStartup {
    HostmemRegistry *registry; /* borrowed */
    const char *xml;           /* (nullable), borrowed: -libvirt-xml */
    char **domain;             /* (nullable): what that says */
    GPtrArray *objects;        /* in the order of creation; NULL at the end */
    GPtrArray *devices;
    GPtrArray *ids; /* of the objects */
    guint next;     /* device */
};

void hm_startup_free(HmStartup *self)
{
    g_ptr_array_unref(self->objects);
    g_ptr_array_unref(self->devices);
    g_ptr_array_unref(self->ids);
    g_strfreev(self->domain);
    g_free(self);
}

/* What others may link to, in this order; then all the rest. */
static const char *const first_types[] = {"thread-context", "memory-pool"};

/* A guess from the text decides the order only: the registry reads it. */
static gboolean is_of_type(const char *text, const char *type)
{
    g_autofree char *pattern =
        g_strdup_printf("^%s(,|$)|(^|,)qom-type=%s(,|$)|"
                        "^\\s*\\{.*\"qom-type\"\\s*:\\s*\"%s\"",
                        type, type, type);

    return g_regex_match_simple(pattern, text, G_REGEX_DOTALL, 0);
}

/* Index in first_types, or behind its end. */
static guint rank_of(const char *text)
{
    guint rank = 0;

    while (rank < G_N_ELEMENTS(first_types) &&
           !is_of_type(text, first_types[rank])) {
        rank++;
    }
    return rank;
}

typedef gboolean (*Compare)(HostmemRegistry *registry, const char *options,
                            char **difference);

/* Whoever starts again with the same line wants what that line has made.  One
 * that has changed cannot change what is there, and somebody may be using. */
static gboolean is_restored(HostmemRegistry *registry, const char *option,
                            const char *line, Compare compare)
{
    g_autofree char *difference = NULL;

    if (!compare(registry, line, &difference)) {
        return FALSE;
    }
    if (difference) {
        fprintf(stderr,
                "hostmemd: warning: -%s %s: it is there as an earlier start "
                "made it, and stays so until it is deleted: %s\n",
                option, line, difference);
    }
    return TRUE;
}

/* What @option says, in -libvirt-xml and then on the command line; borrowed. */
static GPtrArray *list_lines(char **domain, const char *option,
                             GPtrArray *written)
{
    GPtrArray *lines = g_ptr_array_new();

    for (char **line = domain; line && *line; line += 2) {
        if (g_str_equal(line[0] + 1, option)) {
            g_ptr_array_add(lines, line[1]);
        }
    }
    for (guint i = 0; i < written->len; i++) {
        g_ptr_array_add(lines, written->pdata[i]);
    }
    return lines;
}

static void append_ranked(GPtrArray *to, HostmemRegistry *registry,
                          GPtrArray *from, guint rank)
{
    for (guint i = 0; i < from->len; i++) {
        const char *line = from->pdata[i];

        if (rank_of(line) == rank &&
            !is_restored(registry, "object", line,
                         hostmem_registry_compare_restored)) {
            g_ptr_array_add(to, g_strdup(line));
        }
    }
}

static GPtrArray *new_objects(HostmemRegistry *registry, GPtrArray *lines)
{
    GPtrArray *objects = g_ptr_array_new_with_free_func(g_free);

    for (guint rank = 0; rank <= G_N_ELEMENTS(first_types); rank++) {
        append_ranked(objects, registry, lines, rank);
    }
    g_ptr_array_add(objects, NULL);
    return objects;
}

static GPtrArray *new_devices(HostmemRegistry *registry, GPtrArray *lines)
{
    GPtrArray *devices = g_ptr_array_new_with_free_func(g_free);

    for (guint i = 0; i < lines->len; i++) {
        const char *line = lines->pdata[i];

        if (!is_restored(registry, "device", line,
                         hostmem_registry_compare_restored_device)) {
            g_ptr_array_add(devices, g_strdup(line));
        }
    }
    return devices;
}

HmStartup *hm_startup_new(HostmemRegistry *registry, const HmOptions *options,
                          const char *const *domain)
{
    HmStartup *self = g_new0(HmStartup, 1);

    self->registry = registry;
    self->xml = options->libvirt_xml;
    self->domain = g_strdupv((char **)domain);
    g_autoptr(GPtrArray) objects =
        list_lines(self->domain, "object", options->objects);
    g_autoptr(GPtrArray) devices =
        list_lines(self->domain, "device", options->devices);
    self->objects = new_objects(registry, objects);
    self->devices = new_devices(registry, devices);
    self->ids = g_ptr_array_new_with_free_func(g_free);
    return self;
}

/* Whoever did not write a line wants to know where it comes from. */
static void fail(GTask *task, const char *option, const char *text,
                 GError *error)
{
    HmStartup *self = g_task_get_task_data(task);

    g_prefix_error(&error, "-%s %s: ", option, text);
    if (self->domain &&
        g_strv_contains((const char *const *)self->domain, text)) {
        g_prefix_error(&error, "-libvirt-xml %s: ", self->xml);
    }
    g_task_return_error(task, error);
}

static void create_next_device(GTask *task);

static void on_device(GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr(GTask) task = data;
    HmStartup *self = g_task_get_task_data(task);
    GError *error = NULL;

    if (!hostmem_registry_add_device_finish(HOSTMEM_REGISTRY(source), result,
                                            &error)) {
        fail(task, "device", self->devices->pdata[self->next], error);
        return;
    }
    self->next++;
    create_next_device(g_steal_pointer(&task));
}

/* Takes the reference to @task. */
static void create_next_device(GTask *task)
{
    HmStartup *self = g_task_get_task_data(task);

    if (self->next == self->devices->len) {
        g_task_return_boolean(task, TRUE);
        g_object_unref(task);
        return;
    }
    hostmem_registry_add_device_async(
        g_task_get_source_object(task), self->devices->pdata[self->next],
        g_task_get_cancellable(task), on_device, task);
}

static void on_objects(GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr(GTask) task = data;
    HmStartup *self = g_task_get_task_data(task);
    GError *error = NULL;
    guint failed;

    if (!hostmem_registry_add_batch_finish(HOSTMEM_REGISTRY(source), result,
                                           &failed, &error)) {
        fail(task, "object", self->objects->pdata[failed], error);
        return;
    }
    create_next_device(g_steal_pointer(&task));
}

/* The batch has just taken its ids, and nobody else has begun. */
static void note_ids(HmStartup *self)
{
    g_autoptr(GPtrArray) pending =
        hostmem_registry_list_pending(self->registry);

    for (guint i = 0; i < pending->len; i++) {
        g_ptr_array_add(self->ids,
                        g_strdup(hostmem_object_get_id(pending->pdata[i])));
    }
}

void hm_startup_async(HmStartup *self, GCancellable *cancellable,
                      GAsyncReadyCallback callback, gpointer user_data)
{
    GTask *task = g_task_new(self->registry, cancellable, callback, user_data);

    g_task_set_task_data(task, self, NULL);
    hostmem_registry_add_batch_async(self->registry,
                                     (const char *const *)self->objects->pdata,
                                     cancellable, on_objects, task);
    note_ids(self);
}

gboolean hm_startup_finish(GAsyncResult *result, GError **error)
{
    return g_task_propagate_boolean(G_TASK(result), error);
}

/* Those that failed are not there. */
void hm_startup_abandon(HmStartup *self)
{
    for (guint i = 0; i < self->ids->len; i++) {
        hostmem_registry_abandon(self->registry, self->ids->pdata[i], NULL);
    }
}
