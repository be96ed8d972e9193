/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "backends/object.h"
#include "backends/qmp/call.h"
#include "backends/qmp/qom.h"
#include "util/error.h"

/* Paths */

/* "/objects/ID"; nothing lies deeper. */
#define MAX_PARTS 2

/* Components that are empty do not count: "//objects/m0/" is "/objects/m0".
 * Of a path that leads too deep only enough to see that. */
static GPtrArray *split(const char *path)
{
    GPtrArray *parts = g_ptr_array_new_with_free_func(g_free);

    path += strspn(path, "/");
    while (*path && parts->len <= MAX_PARTS) {
        gsize length = strcspn(path, "/");

        g_ptr_array_add(parts, g_strndup(path, length));
        path += length;
        path += strspn(path, "/");
    }
    return parts;
}

static gboolean find_object(HostmemRegistry *registry, const char *id,
                            HmQomNode *node)
{
    node->kind = HM_QOM_OBJECT;
    node->object =
        hostmem_registry_lookup(registry, id, HOSTMEM_TYPE_OBJECT, NULL);
    return node->object != NULL;
}

static gboolean find_parts(HostmemRegistry *registry, gboolean absolute,
                           GPtrArray *parts, HmQomNode *node)
{
    const char *first = parts->len ? g_ptr_array_index(parts, 0) : NULL;

    *node = (HmQomNode){HM_QOM_ROOT};
    if (!first) {
        return absolute;
    }
    if (g_str_equal(first, "objects")) {
        node->kind = HM_QOM_OBJECTS;
        return parts->len == 1 ||
               (parts->len == 2 &&
                find_object(registry, g_ptr_array_index(parts, 1), node));
    }
    return !absolute && parts->len == 1 && find_object(registry, first, node);
}

gboolean hm_qom_find(HostmemRegistry *registry, const char *path,
                     HmQomNode *node, GError **error)
{
    g_autoptr(GPtrArray) parts = split(path);
    g_autofree char *quoted = NULL;

    if (find_parts(registry, *path == '/', parts, node)) {
        return TRUE;
    }
    quoted = hm_error_quote(path);
    g_set_error(error, HM_QMP_ERROR, HM_QMP_ERROR_DEVICE_NOT_FOUND,
                "Device %s not found", quoted);
    return FALSE;
}

/* Lists */

json_t *hm_qom_describe(const char *name, const char *type,
                        const char *description)
{
    return json_pack("{s:s,s:s,s:s*}", "name", name, "type", type,
                     "description", description);
}

static void list_child(json_t *list, const char *name, const char *child)
{
    g_autofree char *type = g_strdup_printf("child<%s>", child);

    json_array_append_new(list, hm_qom_describe(name, type, NULL));
}

static void list_children(json_t *list, HostmemRegistry *registry)
{
    g_autoptr(GPtrArray) objects = hostmem_registry_list(registry);

    for (guint i = 0; i < objects->len; i++) {
        HostmemObject *object = g_ptr_array_index(objects, i);

        list_child(list, hostmem_object_get_id(object),
                   hostmem_object_get_type_name(object));
    }
}

static void list_rows(json_t *list, HostmemObject *object)
{
    g_autoptr(GPtrArray) rows = hm_props_list(G_OBJECT_GET_CLASS(object));

    for (guint i = 0; i < rows->len; i++) {
        const HmProp *row = g_ptr_array_index(rows, i);
        g_autofree char *type = hm_prop_type_name(row);

        if (!g_str_equal(row->name, "type")) {
            json_array_append_new(list, hm_qom_describe(row->name, type, NULL));
        }
    }
}

json_t *hm_qom_list(HostmemRegistry *registry, const HmQomNode *node)
{
    json_t *list = json_array();

    json_array_append_new(list, hm_qom_describe("type", "string", NULL));
    switch (node->kind) {
    case HM_QOM_ROOT:
        list_child(list, "objects", "container");
        break;
    case HM_QOM_OBJECTS:
        list_children(list, registry);
        break;
    case HM_QOM_OBJECT:
        list_rows(list, node->object);
        break;
    }
    return list;
}

json_t *hm_qom_get_of_container(HostmemRegistry *registry,
                                const HmQomNode *node, const char *property,
                                GError **error)
{
    g_autofree char *name = NULL;
    g_autofree char *quoted = NULL;
    HmQomNode child;

    if (g_str_equal(property, "type")) {
        return json_string("container");
    }
    if (node->kind == HM_QOM_ROOT && g_str_equal(property, "objects")) {
        return json_string("/objects");
    }
    if (node->kind == HM_QOM_OBJECTS &&
        find_object(registry, property, &child)) {
        return json_sprintf("/objects/%s", property);
    }
    name = g_strconcat("container.", property, NULL);
    quoted = hm_error_quote(name);
    hm_set_error(error, HOSTMEM_ERROR_NOT_FOUND, "Property %s not found",
                 quoted);
    return NULL;
}
