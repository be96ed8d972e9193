/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "backends/object.h"
#include "backends/qmp/call.h"
#include "backends/qmp/qom.h"
#include "util/error.h"

/* A parent comes before its children. */
static const char *const containers[] = {
    "/",        "/machine", "/machine/peripheral", "/machine/peripheral-anon",
    "/objects",
};

/* "/machine/peripheral/ID"; nothing lies deeper. */
#define MAX_PARTS 3

/* All nodes */

/* @object is NULL for a container.  Returns: whether to go on */
typedef gboolean (*Visit)(const char *path, HostmemObject *object,
                          gpointer data);

static gboolean visit_list(GPtrArray *objects, Visit visit, gpointer data)
{
    for (guint i = 0; i < objects->len; i++) {
        HostmemObject *object = g_ptr_array_index(objects, i);
        g_autofree char *path = hm_object_get_path(object);

        if (!visit(path, object, data)) {
            return FALSE;
        }
    }
    return TRUE;
}

static void visit_all(HostmemRegistry *registry, Visit visit, gpointer data)
{
    g_autoptr(GPtrArray) objects = hostmem_registry_list(registry);
    g_autoptr(GPtrArray) devices = hostmem_registry_list_devices(registry);

    for (guint i = 0; i < G_N_ELEMENTS(containers); i++) {
        if (!visit(containers[i], NULL, data)) {
            return;
        }
    }
    if (visit_list(objects, visit, data)) {
        visit_list(devices, visit, data);
    }
}

/* Paths */

/* "/objects/m0" for "//objects/m0/", also when it does not begin with '/'; of
 * a path that leads too deep only enough to see that. */
static char *clean(const char *path)
{
    GString *whole = g_string_new(NULL);

    path += strspn(path, "/");
    for (guint i = 0; *path && i <= MAX_PARTS; i++) {
        gsize length = strcspn(path, "/");

        g_string_append_c(whole, '/');
        g_string_append_len(whole, path, length);
        path += length;
        path += strspn(path, "/");
    }
    return g_string_free(whole, FALSE);
}

static const char *find_container(const char *path)
{
    for (guint i = 0; i < G_N_ELEMENTS(containers); i++) {
        if (g_str_equal(containers[i], path)) {
            return containers[i];
        }
    }
    return NULL;
}

static gboolean find_whole(HostmemRegistry *registry, const char *path,
                           HmQomNode *node)
{
    *node = (HmQomNode){find_container(*path ? path : "/")};
    if (!node->container && g_str_has_prefix(path, "/objects/")) {
        node->object =
            hostmem_registry_lookup(registry, path, HOSTMEM_TYPE_OBJECT, NULL);
    } else if (!node->container) {
        node->object =
            (gpointer)hostmem_registry_lookup_device(registry, path, NULL);
    }
    return node->container || node->object;
}

typedef struct {
    const char *end;
    HmQomNode node;
    guint n;
} Search;

static gboolean visit_end(const char *path, HostmemObject *object,
                          gpointer data)
{
    Search *search = data;

    if (g_str_has_suffix(path, search->end)) {
        search->n++;
        search->node =
            (HmQomNode){object ? NULL : find_container(path), object};
    }
    return search->n < 2;
}

static gboolean find_partial(HostmemRegistry *registry, const char *end,
                             HmQomNode *node)
{
    Search search = {.end = end};

    if (*end) {
        visit_all(registry, visit_end, &search);
    }
    *node = search.node;
    return search.n == 1;
}

gboolean hm_qom_find(HostmemRegistry *registry, const char *path,
                     HmQomNode *node, GError **error)
{
    g_autofree char *whole = clean(path);
    g_autofree char *quoted = NULL;

    if (*path == '/' ? find_whole(registry, whole, node)
                     : find_partial(registry, whole, node)) {
        return TRUE;
    }
    quoted = hm_error_quote(path);
    g_set_error(error, HM_QMP_ERROR, HM_QMP_ERROR_DEVICE_NOT_FOUND,
                "Device %s not found", quoted);
    return FALSE;
}

/* Children */

typedef struct {
    const char *parent;
    const char *name; /* (nullable): only that child */
    json_t *list;
} Children;

static json_t *describe(const char *name, const char *type,
                        const char *description)
{
    return json_pack("{s:s,s:s,s:s*}", "name", name, "type", type,
                     "description", description);
}

/* (nullable): the name of a child of @parent; @path is not "/". */
static const char *name_in(const char *parent, const char *path)
{
    const char *slash = strrchr(path, '/');
    gsize length = slash - path;

    if (!slash[1]) {
        return NULL;
    }
    if (g_str_equal(parent, "/")) {
        return length == 0 ? slash + 1 : NULL;
    }
    return strlen(parent) == length && strncmp(parent, path, length) == 0
               ? slash + 1
               : NULL;
}

static gboolean visit_child(const char *path, HostmemObject *object,
                            gpointer data)
{
    Children *children = data;
    const char *name = name_in(children->parent, path);
    g_autofree char *type = NULL;

    if (!name || (children->name && !g_str_equal(children->name, name))) {
        return TRUE;
    }
    type = g_strdup_printf("child<%s>",
                           object ? hostmem_object_get_type_name(object)
                                  : "container");
    json_array_append_new(children->list, describe(name, type, NULL));
    return TRUE;
}

static void list_children(json_t *list, HostmemRegistry *registry,
                          const char *parent, const char *name)
{
    Children children = {parent, name, list};

    visit_all(registry, visit_child, &children);
}

/* Lists */

static void list_rows(json_t *list, HostmemObject *object)
{
    g_autoptr(GPtrArray) rows = hm_props_list(G_OBJECT_GET_CLASS(object));

    for (guint i = 0; i < rows->len; i++) {
        const HmProp *row = g_ptr_array_index(rows, i);
        g_autofree char *type = hm_prop_type_name(row);

        if (!g_str_equal(row->name, "type")) {
            json_array_append_new(list, describe(row->name, type, NULL));
        }
    }
}

json_t *hm_qom_list(HostmemRegistry *registry, const HmQomNode *node)
{
    json_t *list = json_array();

    json_array_append_new(list, describe("type", "string", NULL));
    if (node->object) {
        list_rows(list, node->object);
    } else {
        list_children(list, registry, node->container, NULL);
    }
    return list;
}

json_t *hm_qom_list_type(const HmObjectType *type)
{
    g_autoptr(GTypeClass) klass = g_type_class_ref(type->get_type());
    g_autoptr(GPtrArray) rows = hm_props_list(G_OBJECT_CLASS(klass));
    json_t *list = json_array();

    for (guint i = 0; i < rows->len; i++) {
        const HmProp *row = g_ptr_array_index(rows, i);
        g_autofree char *type_name = hm_prop_type_name(row);
        json_t *entry = describe(row->name, type_name, row->description);

        if (g_str_equal(row->name, "type")) {
            json_array_insert_new(list, 0, entry);
        } else {
            json_array_append_new(list, entry);
        }
    }
    return list;
}

static gboolean has_child(HostmemRegistry *registry, const char *parent,
                          const char *name)
{
    json_auto_t *list = json_array();

    list_children(list, registry, parent, name);
    return json_array_size(list) > 0;
}

json_t *hm_qom_get_of_container(HostmemRegistry *registry,
                                const HmQomNode *node, const char *property,
                                GError **error)
{
    const char *parent = node->container;
    g_autofree char *name = NULL;
    g_autofree char *quoted = NULL;

    if (g_str_equal(property, "type")) {
        return json_string("container");
    }
    if (has_child(registry, parent, property)) {
        return json_sprintf("%s/%s", g_str_equal(parent, "/") ? "" : parent,
                            property);
    }
    name = g_strconcat("container.", property, NULL);
    quoted = hm_error_quote(name);
    hm_set_error(error, HOSTMEM_ERROR_NOT_FOUND, "Property %s not found",
                 quoted);
    return NULL;
}
