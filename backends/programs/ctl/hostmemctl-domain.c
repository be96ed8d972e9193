/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hostmemctl-domain.h"

/* What the commands about domains share: what libvirt says of them, as JSON and
 * as tables. */

/* A driver in this process would log to standard error what we say ourselves;
 * those who look into it ask for it. */
static void silence_libvirt(void)
{
    if (!g_getenv("LIBVIRT_DEBUG")) {
        g_setenv("LIBVIRT_LOG_OUTPUTS", "4:file:/dev/null", FALSE);
    }
}

HostmemLibvirtConnection *ctl_domain_connect(const CtlCall *call,
                                             gboolean read_only, GError **error)
{
    silence_libvirt();
    return hostmem_libvirt_connection_new(ctl_call_get(call, "--connect"),
                                          read_only, error);
}

/* JSON */

/* libvirt may say what it likes, JSON holds UTF-8. */
static void set_text(json_t *object, const char *key, const char *text)
{
    g_autofree char *valid = text ? g_utf8_make_valid(text, -1) : NULL;

    if (valid) {
        json_object_set_new(object, key, json_string(valid));
    }
}

static void set_size(json_t *object, const char *key, guint64 bytes)
{
    json_object_set_new(object, key, json_integer((json_int_t)bytes));
}

static json_t *json_of_device(const HostmemLibvirtMemory *device)
{
    json_t *object = json_object();

    set_text(object, "alias", device->alias);
    set_text(object, "model", device->model);
    set_size(object, "size", device->size);
    if (device->block) {
        set_size(object, "block", device->block);
        set_size(object, "requested", device->requested);
        set_size(object, "current", device->current);
    }
    if (device->node >= 0) {
        json_object_set_new(object, "node", json_integer(device->node));
    }
    return object;
}

static json_t *json_of_domain(const HostmemLibvirtDomain *domain)
{
    json_t *object = json_object();
    json_t *devices = json_array();

    set_text(object, "name", domain->name);
    set_text(object, "uuid", domain->uuid);
    json_object_set_new(object, "id", json_integer(domain->id));
    set_size(object, "memory", domain->memory);
    set_size(object, "current", domain->current);
    if (domain->max) {
        set_size(object, "max", domain->max);
    }
    for (guint i = 0; i < domain->devices->len; i++) {
        json_array_append_new(devices,
                              json_of_device(domain->devices->pdata[i]));
    }
    json_object_set_new(object, "devices", devices);
    return object;
}

static json_t *read_all(HostmemLibvirtConnection *connection, GError **error)
{
    g_autoptr(GPtrArray) domains =
        hostmem_libvirt_connection_list(connection, error);
    json_t *list = domains ? json_array() : NULL;

    for (guint i = 0; domains && i < domains->len; i++) {
        json_array_append_new(list, json_of_domain(domains->pdata[i]));
    }
    return list;
}

static json_t *read_one(HostmemLibvirtConnection *connection, const char *name,
                        GError **error)
{
    g_autoptr(HostmemLibvirtDomain) domain =
        hostmem_libvirt_connection_get(connection, name, error);
    json_t *list = domain ? json_array() : NULL;

    if (list) {
        json_array_append_new(list, json_of_domain(domain));
    }
    return list;
}

json_t *ctl_domain_read(HostmemLibvirtConnection *connection, const char *name,
                        GError **error)
{
    json_t *list =
        name ? read_one(connection, name, error) : read_all(connection, error);
    json_t *status = list ? json_object() : NULL;

    if (status) {
        set_text(status, "uri", hostmem_libvirt_connection_get_uri(connection));
        json_object_set_new(status, "domains", list);
    }
    return status;
}

/* Tables */

static const CtlColumn domain_columns[] = {
    {"domain", FALSE},   {"id", TRUE},      {"memory", TRUE},
    {"current", TRUE},   {"max", TRUE},     {"devices", TRUE},
    {"requested", TRUE}, {"plugged", TRUE}, {0},
};

/* (transfer full) (nullable): of all virtio-mem devices; NULL without one. */
static char *sum_of(const json_t *devices, const char *key)
{
    gboolean any = FALSE;
    guint64 sum = 0;
    json_t *device;
    gsize i;

    json_array_foreach(devices, i, device)
    {
        guint64 bytes;

        any |= peer_json_number(device, key, &bytes);
        sum += MIN(bytes, G_MAXUINT64 - sum);
    }
    return any ? hostmem_size_to_string(sum) : NULL;
}

void ctl_domain_view(const json_t *status, GString *text)
{
    g_autoptr(CtlTable) table = ctl_table_new(domain_columns);
    json_t *domain;
    gsize i;

    json_array_foreach(json_object_get(status, "domains"), i, domain)
    {
        const json_t *devices = json_object_get(domain, "devices");

        ctl_table_add(table,
                      (char *[]){
                          ctl_text_member(domain, "name"),
                          ctl_text_member(domain, "id"),
                          ctl_text_size(domain, "memory"),
                          ctl_text_size(domain, "current"),
                          ctl_text_size(domain, "max"),
                          g_strdup_printf("%zu", json_array_size(devices)),
                          sum_of(devices, "requested"),
                          sum_of(devices, "current"),
                      });
    }
    ctl_table_append_to(table, text);
}

static const CtlColumn device_columns[] = {
    {"domain", FALSE}, {"device", FALSE},
    {"model", FALSE},  {"plugged", FALSE},
    {"current", TRUE}, {"requested", TRUE},
    {"size", TRUE},    {"block", TRUE},
    {"node", TRUE},    {0},
};

void ctl_domain_view_devices(const json_t *status, GString *text)
{
    g_autoptr(CtlTable) table = ctl_table_new(device_columns);
    json_t *domain, *device;
    gsize i, j;

    json_array_foreach(json_object_get(status, "domains"), i, domain)
    {
        json_array_foreach(json_object_get(domain, "devices"), j, device)
        {
            ctl_table_add(table,
                          (char *[]){
                              ctl_text_member(domain, "name"),
                              ctl_text_member(device, "alias"),
                              ctl_text_member(device, "model"),
                              ctl_view_bar(device, "current", "requested"),
                              ctl_text_size(device, "current"),
                              ctl_text_size(device, "requested"),
                              ctl_text_size(device, "size"),
                              ctl_text_size(device, "block"),
                              ctl_text_member(device, "node"),
                          });
        }
    }
    ctl_table_append_to(table, text);
}
